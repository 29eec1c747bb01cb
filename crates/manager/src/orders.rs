//! Orders and polls, what is answered to them, and who is late.

use std::collections::BTreeMap;

use vidmm_wire::{
    Answer, DISCARDS_PER_MESSAGE_MAX, EventRow, Order, Poll, Supply, ToClient, Told, WhyOrdered,
};

use crate::client::{Client, OrderOut, PollOut};
use crate::event::{Action, Millis, ProcessId};
use crate::jobs::JobKind;
use crate::manager::Manager;
use crate::operators::Recorded;
use crate::plan::{Giver, Part};
use crate::shares::{Shares, protected};

/// Nobody is polled more often, in milliseconds.
pub(crate) const POLL_EVERY_MS: u64 = 25;

/// What was told before so much of the budget was granted, one part in so many, is asked for anew:
/// where memory is turned over quickly, what was worth least then has gone or was used since.
const TURNOVER_PART: u64 = 16;

/// What was sent and is waited for.
#[derive(Debug, Default)]
pub(crate) struct Outstanding {
    orders: u64,
    polls: u64,
    /// Orders that may still be answered in time, with their bytes.
    orders_due: BTreeMap<(Millis, u64), (ProcessId, u64)>,
    polls_due: BTreeMap<(Millis, u64), ProcessId>,
    expected: u128,
}

impl Outstanding {
    pub(crate) fn next_due(&self) -> Option<Millis> {
        let orders = self.orders_due.first_key_value().map(|(key, _)| key.0);
        let polls = self.polls_due.first_key_value().map(|(key, _)| key.0);
        [orders, polls].into_iter().flatten().min()
    }

    /// What orders may still bring in time, in bytes.
    pub(crate) fn expected(&self) -> u128 {
        self.expected
    }

    pub(crate) fn polls_are_out(&self) -> bool {
        !self.polls_due.is_empty()
    }

    fn remove_order(&mut self, due: Millis, seq: u64) {
        if let Some((_, bytes)) = self.orders_due.remove(&(due, seq)) {
            self.expected -= u128::from(bytes);
        }
    }

    fn late_order(&mut self, now: Millis) -> Option<ProcessId> {
        let (key, (process, _)) = self.orders_due.first_key_value()?;
        let (key, process) = (*key, *process);
        (key.0 <= now).then(|| self.remove_order(key.0, key.1))?;
        Some(process)
    }

    fn late_poll(&mut self, now: Millis) -> Option<ProcessId> {
        let first = self.polls_due.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }
}

/// Who is to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whom {
    /// Those that answer in time, and in any case the one that asks, if one does.
    Responsive(Option<ProcessId>),
    /// Of these, those that are not being polled, and the one that asks.
    Told(ProcessId),
    /// Those that do not.
    Unresponsive,
}

/// What came of asking everybody who has not said lately what it could give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Polled {
    /// Answers are under way.
    Some,
    /// Nobody, but some were asked so lately that they may only be asked again later.
    Later,
    /// All have said.
    None,
}

/// The number of the nth message of a kind; never 0.
fn number(seq: u64) -> u32 {
    let number = (seq - 1) % u64::from(u32::MAX) + 1;
    u32::try_from(number).unwrap_or(1)
}

impl Manager {
    /// Orders one part of a plan. Nothing happens to whoever has an order already.
    pub(crate) fn send_order(
        &mut self,
        part: Part,
        why: WhyOrdered,
        beneficiary: Option<ProcessId>,
        job: Option<JobKind>,
        actions: &mut Vec<Action>,
    ) -> bool {
        let due = self.after_ms(u64::from(self.settings.answer_ms));
        let now = self.now;
        let Some(client) = self.clients.get_mut(part.process) else {
            return false;
        };
        let Some(connection) = client.connection else {
            return false;
        };
        if client.order.is_some() || part.bytes == 0 {
            return false;
        }
        self.out.orders += 1;
        let seq = self.out.orders;
        let order = Order {
            order: number(seq),
            bytes: part.bytes,
            thresholds: part.thresholds,
            as_of: part.as_of,
            standing: why == WhyOrdered::Budget,
            why,
            beneficiary_pid: beneficiary.map_or(0, |process| process.pid),
        };
        client.order = Some(OrderOut {
            seq,
            order,
            due,
            late: false,
            job,
            fresh: client.supply_is_fresh(now, POLL_EVERY_MS - 1),
        });
        let uid = client.who.uid;
        let whose = (part.process, part.bytes);
        self.out.orders_due.insert((due, seq), whose);
        self.out.expected += u128::from(part.bytes);
        self.totals.orders += 1;
        self.record(seq, uid, part.process, beneficiary, order);
        let message = ToClient::Order(order);
        actions.push(Action::Send {
            connection,
            message,
        });
        true
    }

    fn record(
        &mut self,
        seq: u64,
        uid: u32,
        process: ProcessId,
        beneficiary: Option<ProcessId>,
        order: Order,
    ) {
        let beneficiary = beneficiary.and_then(|process| self.clients.get(process));
        let row = EventRow {
            order: order.order,
            at_ms: self.realtime_ms,
            pid: process.pid,
            beneficiary_pid: order.beneficiary_pid,
            why: order.why,
            bytes: order.bytes,
            thresholds: order.thresholds,
            returned_bytes: None,
            discarded_bytes: [0; 3],
        };
        self.remember(Recorded {
            seq,
            uid,
            beneficiary_uid: beneficiary.map(|client| client.who.uid),
            row,
        });
    }

    /// What came of an order. What answers no order, or one that was answered, counts as nothing.
    pub(crate) fn answered(
        &mut self,
        process: ProcessId,
        answer: Answer,
        actions: &mut Vec<Action>,
    ) {
        let now = self.now;
        let Some(client) = self.clients.get_mut(process) else {
            return;
        };
        let out = match client.order {
            Some(out) if out.order.order == answer.order => out,
            _ => {
                let text = format!("answers order {}, which it does not have", answer.order);
                self.warn(process, text, actions);
                return;
            }
        };
        client.order = None;
        client.responsive = true;
        // It answers in order, so an older poll that is not answered never will be.
        if client.poll.is_some_and(|poll| poll.late) {
            client.poll = None;
        }
        let most = out.order.bytes.min(client.charge());
        let credited = answer.returned_bytes.min(most);
        let short = credited < out.order.bytes;
        // A standing order may ask for more than is offered, and what was told a while ago may have
        // come to other uses since: then it is asked anew, and believed.
        if out.order.standing {
            client.owed = client.owed.saturating_add(out.order.bytes - credited);
        } else if out.fresh {
            client.judge(out.order.bytes, credited, now);
        }
        match &mut client.supply {
            Some(supply) if !short => take_from(supply, out.order.why, credited),
            // It has not what it said.
            _ => client.supply = None,
        }
        if answer.returned_bytes > most {
            let text = format!(
                "says it returned {} bytes where {most} could be: the rest is not counted",
                answer.returned_bytes
            );
            self.warn(process, text, actions);
        }
        self.out.remove_order(out.due, out.seq);
        self.totals.ordered_bytes = self.totals.ordered_bytes.saturating_add(credited);
        let discarded = answer.discarded_bytes.map(|bytes| bytes.min(most));
        self.recall(out.seq, credited, discarded);
        self.lower(process, credited, actions);
        self.job_order_resolved(if out.late { None } else { out.job }, credited);
    }

    /// What a client gives back unasked, or pays of a debt.
    pub(crate) fn returned(&mut self, process: ProcessId, bytes: u64, actions: &mut Vec<Action>) {
        let Some(client) = self.clients.get_mut(process) else {
            return;
        };
        let credited = bytes.min(client.charge());
        client.owed -= client.owed.min(credited);
        if bytes > credited {
            let text =
                format!("returns {bytes} bytes and is counted at {credited}: it has 0 from now on");
            self.warn(process, text, actions);
        }
        self.lower(process, credited, actions);
    }

    fn lower(&mut self, process: ProcessId, bytes: u64, actions: &mut Vec<Action>) {
        let Some(charge) = self.charge_of(process) else {
            return;
        };
        if bytes == 0 {
            return;
        }
        let charged_bytes = charge.saturating_sub(bytes);
        self.clients.set_charge(process, charged_bytes);
        self.charges_changed();
        actions.push(Action::Lower {
            process,
            charged_bytes,
        });
    }

    /// The order of a client that is gone brings nothing.
    pub(crate) fn resolve_order_unanswered(&mut self, process: ProcessId) {
        let Some(client) = self.clients.get_mut(process) else {
            return;
        };
        let Some(out) = client.order.take() else {
            return;
        };
        self.out.remove_order(out.due, out.seq);
        if !out.late {
            self.job_order_resolved(out.job, 0);
        }
    }

    /// Asks a client for its figures, unless it is being asked.
    pub(crate) fn send_poll(
        &mut self,
        process: ProcessId,
        discards_max: u32,
        actions: &mut Vec<Action>,
    ) -> bool {
        let due = self.after_ms(u64::from(self.settings.answer_ms));
        let now = self.now;
        let Some(client) = self.clients.get_mut(process) else {
            return false;
        };
        let (Some(connection), None) = (client.connection, client.poll) else {
            return false;
        };
        self.out.polls += 1;
        let seq = self.out.polls;
        let poll = Poll {
            poll: number(seq),
            discards_max: discards_max.min(discards_most()),
        };
        client.poll = Some(PollOut {
            seq,
            number: poll.poll,
            discards_max: poll.discards_max,
            due,
            late: false,
        });
        client.polled_at = Some(now);
        self.out.polls_due.insert((due, seq), process);
        let message = ToClient::Poll(poll);
        actions.push(Action::Send {
            connection,
            message,
        });
        true
    }

    /// Polls all who hold something, answer in time, and said what they could give before `since`
    /// or before much was granted.
    pub(crate) fn poll_all(&mut self, since: Millis, actions: &mut Vec<Action>) -> Polled {
        let now = self.now;
        let turnover = self.totals.granted_bytes;
        let turnover_most = self.settings.budget_bytes / TURNOVER_PART;
        let (mut under_way, mut later) = (false, false);
        let mut old = Vec::new();
        for (process, client) in self.clients.iter() {
            if !tells(client) || client.supply_serves(since, turnover, turnover_most) {
                continue;
            }
            let recent = client
                .polled_at
                .is_some_and(|at| now.0.saturating_sub(at.0) < POLL_EVERY_MS);
            match (client.poll.is_some(), recent) {
                (true, _) => under_way = true,
                (false, true) => later = true,
                (false, false) => old.push(process),
            }
        }
        for process in &old {
            self.send_poll(*process, 0, actions);
        }
        match (under_way || !old.is_empty(), later) {
            (true, _) => Polled::Some,
            (false, true) => Polled::Later,
            (false, false) => Polled::None,
        }
    }

    /// What was polled. What was not is not heard.
    pub(crate) fn told(&mut self, process: ProcessId, told: Told, actions: &mut Vec<Action>) {
        let now = self.now;
        let turnover = self.totals.granted_bytes;
        let Some(client) = self.clients.get_mut(process) else {
            return;
        };
        let Some(poll) = client.poll.filter(|poll| poll.number == told.poll) else {
            return;
        };
        client.poll = None;
        client.set_supply(told.supply, now, turnover);
        client.figures = told.figures;
        client.figures_at = Some(now);
        // An order is older than the poll if it is late: that is still owed an answer.
        client.responsive |= !client.order.is_some_and(|order| order.late);
        self.out.polls_due.remove(&(poll.due, poll.seq));
        self.notices_wanted();
        self.operators_hear(process, poll.discards_max, told.discards, actions);
        self.serve_own(process, actions);
    }

    pub(crate) fn forget_poll(&mut self, process: ProcessId) {
        let Some(client) = self.clients.get_mut(process) else {
            return;
        };
        if let Some(poll) = client.poll.take() {
            self.out.polls_due.remove(&(poll.due, poll.seq));
        }
        self.operators_do_not_hear(process);
    }

    /// Whoever has not answered in time is unresponsive.
    pub(crate) fn mark_late(&mut self, actions: &mut Vec<Action>) {
        while let Some(process) = self.out.late_order(self.now) {
            let Some(client) = self.clients.get_mut(process) else {
                continue;
            };
            let job = client.order.as_mut().and_then(|order| {
                order.late = true;
                order.job
            });
            self.job_order_resolved(job, 0);
            self.jobs.something_changed();
            self.is_unresponsive(process, "an order", actions);
        }
        while let Some(process) = self.out.late_poll(self.now) {
            if let Some(poll) = self
                .clients
                .get_mut(process)
                .and_then(|client| client.poll.as_mut())
            {
                poll.late = true;
            }
            self.operators_do_not_hear(process);
            self.is_unresponsive(process, "a poll", actions);
        }
    }

    fn is_unresponsive(&mut self, process: ProcessId, to: &str, actions: &mut Vec<Action>) {
        let answer_ms = self.settings.answer_ms;
        let Some(client) = self.clients.get_mut(process) else {
            return;
        };
        if !client.responsive {
            return;
        }
        client.responsive = false;
        let text = format!("does not answer {to} within {answer_ms} ms: it is asked last");
        self.warn(process, text, actions);
        self.refuse_unanswered(process, actions);
    }

    /// Who could give, as far as is known.
    pub(crate) fn givers(&self, whom: Whom) -> Vec<Giver<'_>> {
        let shares = Shares::of(&self.settings, &self.clients);
        let count = self.clients.len();
        let mut givers = Vec::new();
        for (process, client) in self.clients.iter() {
            let (asks, asked) = match whom {
                Whom::Responsive(asker) => (asker == Some(process), client.responsive),
                Whom::Told(asker) => {
                    let told = client.responsive && client.poll.is_none();
                    (asker == process, told)
                }
                Whom::Unresponsive => (false, !client.responsive),
            };
            let believed = client.doubted_until <= self.now;
            let can = asked && believed && client.connection.is_some() && client.order.is_none();
            let Some(supply) = client.supply.as_ref().filter(|_| asks || can) else {
                continue;
            };
            givers.push(Giver {
                process,
                supply,
                charge: client.charge(),
                share: shares.share(client),
                guarded: shares.guarded(client),
                protected: protected(&self.settings, count, client),
                asks,
            });
        }
        givers
    }
}

/// It could be asked what it could give.
fn tells(client: &Client) -> bool {
    client.connection.is_some() && client.responsive && client.charge() > 0
}

/// As many discards as fit a message.
pub(crate) fn discards_most() -> u32 {
    u32::try_from(DISCARDS_PER_MESSAGE_MAX).unwrap_or(u32::MAX)
}

/// Takes what an order brought from what could be given, in the order in which it goes.
fn take_from(supply: &mut Supply, why: WhyOrdered, bytes: u64) {
    let mut left = bytes;
    let mut take = |from: &mut u64| {
        let taken = left.min(*from);
        *from -= taken;
        left -= taken;
    };
    if !matches!(why, WhyOrdered::Trim | WhyOrdered::Pressure(_)) {
        take(&mut supply.unused_bytes);
    }
    take(&mut supply.warm_bytes);
    for steps in &mut supply.classes {
        steps.iter_mut().for_each(|step| take(&mut step.bytes));
        steps.retain(|step| step.bytes > 0);
    }
}
