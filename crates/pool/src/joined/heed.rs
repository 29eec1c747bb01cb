//! What the manager says, acted upon: by the agent, or by whoever waits where there is none.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use vidmm_arena::Kernel;
use vidmm_machine::Reason;
use vidmm_wire::{
    Answer, Ask, Credit, MESSAGE_BYTES_MAX, Notice as Told, Order, Poll, Reception, ToClient,
    ToManager, Welcome, WhyOrdered,
};

use crate::demand::Demand;
use crate::gate::Inside;
use crate::joined::connection::{Received, receive_packet};
use crate::joined::notices::Notice;
use crate::joined::seek::{Fate, say};
use crate::joined::supply::{figures_of, reason_of};
use crate::joined::{DEADLINE, Link, Membership, RETRY_MIN, ToldBudget};
use crate::pool::Pool;

/// So many packets are acted upon before whoever reads looks at anything else.
const PACKETS_MAX: usize = 64;

/// What the manager said, by where in the conversation it stands.
enum Said {
    Reception(Reception),
    Message(ToClient),
    /// Nothing that is understood.
    Garbage,
}

impl<K: Kernel> Pool<K> {
    /// Reads what has come from the manager and acts on it. Does not wait.
    pub(crate) fn heed(&self, inside: &Inside<'_>) {
        let Ok(_reading) = self.link.reading.try_lock() else {
            // Another one is at it.
            return;
        };
        let mut buffer = Box::new([0; MESSAGE_BYTES_MAX]);
        for _ in 0..PACKETS_MAX {
            let Some(connection) = self.link.state().connection.clone() else {
                return;
            };
            match receive_packet(&connection, &mut buffer) {
                Received::Nothing => return,
                Received::End => return self.parted(inside),
                Received::Packet(packet) => match self.understand(&packet) {
                    Said::Reception(Reception::Welcome(welcome)) => self.welcomed(&welcome),
                    Said::Reception(Reception::Refused(refusal)) => {
                        self.link.state().refusal = Some(refusal.text);
                        return self.parted(inside);
                    }
                    Said::Message(message) => self.act(inside, &connection, &message),
                    Said::Reception(Reception::Operating) | Said::Garbage => {
                        return self.parted(inside);
                    }
                },
            }
        }
    }

    fn understand(&self, packet: &[u8]) -> Said {
        let opening = self.link.state().membership == Membership::Opening;
        if !opening {
            return vidmm_wire::decode(packet).map_or(Said::Garbage, Said::Message);
        }
        match Reception::decode(packet) {
            Ok((Some(reception), _)) => Said::Reception(reception),
            Ok((None, served)) => {
                self.link.state().refusal = Some(format!(
                    "the manager serves versions {} to {} of the protocol, this program speaks {}",
                    served.oldest,
                    served.newest,
                    vidmm_wire::VERSION
                ));
                Said::Garbage
            }
            Err(_) => Said::Garbage,
        }
    }

    fn welcomed(&self, welcome: &Welcome) {
        let mut state = self.link.state();
        state.membership = Membership::Joined {
            incarnation: welcome.incarnation,
            pid: welcome.pid,
        };
        state.incarnation = welcome.incarnation;
        state.was_joined = true;
        state.is_suspect = false;
        state.refusal = None;
        state.retry_after = RETRY_MIN;
        state.retry_at = None;
        state.licence_until = None;
        state.told = ToldBudget {
            budget_bytes: welcome.budget_bytes,
            whole_bytes: welcome.whole_bytes,
            ..state.told
        };
        let credit = self.room.credit_bytes();
        match welcome.granted_bytes.checked_sub(credit) {
            Some(more) => self.room.raise(more),
            None => {
                self.room.cut(credit - welcome.granted_bytes);
            }
        }
        Link::settle_opening(&mut state, Fate::Served);
        drop(state);
        self.ask_for_debt();
        self.notify_budget();
    }

    /// A debt that came with joining: others may have what can go more easily than ours.
    fn ask_for_debt(&self) {
        let debt = self.room.debt_bytes();
        if debt == 0 {
            return;
        }
        let supply = self.offered_supply();
        let mut state = self.link.state();
        let Some(connection) = state.connection.clone() else {
            return;
        };
        let request = state.next_request();
        let ask = ToManager::Ask(Ask {
            request,
            bytes: debt,
            supply,
        });
        if say(&connection, &ask) {
            state.debt_request = Some(request);
        }
    }

    /// The connection is of no use any more. What it has granted stays; there is nothing new.
    pub(super) fn parted(&self, _inside: &Inside<'_>) {
        let mut state = self.link.state();
        if let Some(connection) = state.connection.take() {
            self.agent.forget_manager(&connection);
        }
        self.room.cut_unused(u64::MAX);
        state.try_later();
        self.fall_back(&mut state);
        Link::let_go(&mut state);
    }

    fn act(&self, inside: &Inside<'_>, connection: &OwnedFd, message: &ToClient) {
        self.link.state().is_suspect = false;
        match message {
            ToClient::Credit(credit) => self.credited(inside, *credit),
            ToClient::NoCredit(no) => {
                let mut state = self.link.state();
                let ticket = state.asking.remove(&no.request);
                if state.debt_request == Some(no.request) {
                    state.debt_request = None;
                    drop(state);
                    self.settle_debt(inside, &Reason::Budget.into());
                }
                if let Some(ticket) = ticket {
                    ticket.settle(Fate::Refused);
                }
            }
            ToClient::Order(order) => self.obey(inside, connection, *order),
            ToClient::Poll(poll) => self.tell_manager(inside, connection, *poll),
            ToClient::Notice(notice) => self.heed_notice(*notice),
        }
    }

    fn credited(&self, inside: &Inside<'_>, credit: Credit) {
        let mut state = self.link.state();
        self.room.raise(credit.granted_bytes);
        state.licence_bytes = credit.own_bytes;
        state.licence_until =
            Some(Instant::now() + Duration::from_millis(u64::from(credit.own_ms)));
        let is_for_debt = state.debt_request == Some(credit.request);
        if is_for_debt {
            state.debt_request = None;
        }
        let ticket = state.asking.remove(&credit.request);
        drop(state);
        if is_for_debt {
            self.settle_debt(inside, &Reason::Budget.into());
        }
        if let Some(ticket) = ticket {
            ticket.settle(Fate::Served);
        }
    }

    /// Shrinks as ordered, and says what came of it.
    fn obey(&self, inside: &Inside<'_>, connection: &OwnedFd, order: Order) {
        let demand = Demand {
            reason: match order.why {
                WhyOrdered::Need | WhyOrdered::Budget | WhyOrdered::Reserve => Reason::Budget,
                WhyOrdered::Trim => Reason::Trim,
                WhyOrdered::Pressure(reason) => reason_of(reason),
            },
            order: order.order,
            beneficiary_pid: order.beneficiary_pid,
            thresholds: order.thresholds,
            as_of_ticks: order.as_of,
        };
        let before = self.discards_so_far();
        let returned_bytes = match order.why {
            WhyOrdered::Trim | WhyOrdered::Pressure(_) => {
                // The machine is to have memory: that counts, and its credit goes along.
                let given = self.give_back(inside, order.bytes, &demand);
                self.room.cut_unused(given)
            }
            WhyOrdered::Need | WhyOrdered::Budget | WhyOrdered::Reserve => {
                self.shrink(inside, &order, &demand)
            }
        };
        let after = self.discards_so_far();
        let discarded_bytes = std::array::from_fn(|class| after[class].1 - before[class].1);
        let discards: u64 = (0..3).map(|class| after[class].0 - before[class].0).sum();
        let answer = ToManager::Answer(Answer {
            order: order.order,
            returned_bytes,
            discarded_bytes,
            discards: u32::try_from(discards).unwrap_or(u32::MAX),
        });
        self.reply(inside, connection, &answer);
    }

    /// Gives up credit, and the memory behind it; says how much, in bytes.
    fn shrink(&self, inside: &Inside<'_>, order: &Order, demand: &Demand) -> u64 {
        // Unused credit first: it costs nobody anything.
        let unused = self.room.cut_unused(order.bytes);
        let debited = self.room.cut(order.bytes - unused);
        if debited > 0 {
            self.settle_debt(inside, demand);
        }
        let missing = self.room.debt_bytes().min(debited);
        match order.standing {
            true => {
                self.link.state().owed_bytes += missing;
                unused + debited - missing
            }
            // What is not there is not owed; what came free just now goes along.
            false => unused + debited - self.room.forgive(missing),
        }
    }

    /// Says what the manager waits for. If it does not read that much, all there is to say is said
    /// anew, by joining again.
    fn reply(&self, inside: &Inside<'_>, connection: &OwnedFd, message: &ToManager) {
        if !say(connection, message) {
            self.parted(inside);
        }
    }

    fn tell_manager(&self, inside: &Inside<'_>, connection: &OwnedFd, poll: Poll) {
        let stats = self.stats_inside();
        let told = ToManager::Told(vidmm_wire::Told {
            poll: poll.poll,
            supply: self.offered_supply(),
            figures: figures_of(&stats, self.room.held_bytes()),
            discards: self.told_discards(poll.discards_max),
        });
        self.reply(inside, connection, &told);
    }

    fn heed_notice(&self, notice: Told) {
        match notice {
            Told::Budget {
                budget_bytes,
                reservation_bytes,
                available_for_reservation_bytes,
                whole_bytes,
            } => {
                let before = self.budget_bytes();
                self.link.state().told = ToldBudget {
                    budget_bytes,
                    whole_bytes,
                    reservation_bytes,
                    available_bytes: available_for_reservation_bytes,
                };
                if self.budget_bytes() != before {
                    self.notify_budget();
                }
            }
            Told::Trim { bytes } => self.notify(Notice::PleaseTrim { bytes }),
        }
    }

    /// The agent's part, each tick while something is held: pays what is owed, returns what is not
    /// used, looks for a manager, and finds out one that hangs. `quiet`: no memory was taken since
    /// the last tick.
    pub(crate) fn tend_link(&self, inside: &Inside<'_>, quiet: bool) {
        if self.link.is_alone() {
            return self.try_to_join(inside);
        }
        let mut state = self.link.state();
        match state.membership {
            Membership::Joined { .. } => {
                drop(state);
                self.note_time();
                self.pay_owed();
                if quiet {
                    self.return_unused_credit();
                }
            }
            Membership::Opening if state.opened_at.elapsed() > DEADLINE && !state.is_suspect => {
                state.is_suspect = true;
                Link::settle_opening(&mut state, Fate::LetGo);
                if !state.was_joined {
                    self.lend_own_budget();
                }
            }
            Membership::Apart => {
                drop(state);
                self.try_to_join(inside);
            }
            _ => {}
        }
    }

    /// What is still owed, to orders that stand and to the cap, as far as it has come free.
    fn pay_owed(&self) {
        let mut state = self.link.state();
        let owed = state.owed_bytes.saturating_add(state.owed_to_cap_bytes);
        let paid = owed.saturating_sub(self.room.debt_bytes());
        if let Some(connection) = state.connection.clone()
            && paid > 0
            && say(&connection, &ToManager::Returned { bytes: paid })
        {
            let to_orders = paid.min(state.owed_bytes);
            state.owed_bytes -= to_orders;
            state.owed_to_cap_bytes -= paid - to_orders;
        }
    }

    /// Credit that nothing is behind goes back where others can have it.
    pub(crate) fn return_unused_credit(&self) {
        let state = self.link.state();
        if !matches!(state.membership, Membership::Joined { .. }) || !state.asking.is_empty() {
            return;
        }
        let Some(connection) = state.connection.clone() else {
            return;
        };
        let bytes = self.room.cut_unused(u64::MAX);
        if bytes > 0 && !say(&connection, &ToManager::Returned { bytes }) {
            // Not said, so not returned.
            self.room.raise(bytes);
        }
    }

    /// What the program wants to have reserved, to the manager.
    pub(crate) fn ask_reservation(&self, bytes: u64) {
        let mut state = self.link.state();
        state.wanted_reservation_bytes = bytes;
        if let (Membership::Joined { .. }, Some(connection)) =
            (state.membership, state.connection.clone())
        {
            say(&connection, &ToManager::Reserve { bytes });
        }
    }

    /// A cap below what is granted: the difference goes back, at once or as it comes free. One that
    /// is higher again: what is still owed for the lower one is not owed any more.
    pub(crate) fn keep_to_cap(&self, inside: &Inside<'_>, cap_bytes: u64) {
        let credit = self.room.credit_bytes();
        let excess = credit.saturating_sub(cap_bytes);
        if excess == 0 {
            let mut state = self.link.state();
            let more = state.owed_to_cap_bytes.min(cap_bytes - credit);
            state.owed_to_cap_bytes -= self.room.forgive(more);
        } else {
            let unused = self.room.cut_unused(excess);
            let debited = self.room.cut(excess - unused);
            self.link.state().owed_to_cap_bytes += unused + debited;
        }
        self.settle_debt(inside, &Reason::Budget.into());
        self.pay_owed();
    }
}
