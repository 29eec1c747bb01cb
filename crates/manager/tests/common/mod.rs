//! A manager at a desk: events are said by hand, actions are looked at.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its own part"
)]

use std::collections::BTreeMap;

use vidmm_manager::*;
use vidmm_wire::*;

/// A mebibyte.
pub const MIB: u64 = 1 << 20;

/// A process by a small number.
pub fn process(n: u32) -> ProcessId {
    ProcessId {
        pid: n,
        started_ticks: 1000 + u64::from(n),
    }
}

/// What the kernel says of it.
pub fn identity(n: u32) -> Identity {
    Identity {
        process: process(n),
        uid: 1000,
        name: format!("p{n}"),
    }
}

/// What a process could give.
#[derive(Default, Clone, Debug)]
pub struct Offers(pub Supply);

impl Offers {
    pub fn unused(mut self, mib: u64) -> Self {
        self.0.unused_bytes = mib * MIB;
        self
    }

    /// A further step of a class.
    pub fn step(mut self, class: usize, rank: u32, idle_ms: u32, mib: u64) -> Self {
        let bytes = mib * MIB;
        self.0.classes[class].push(Step {
            rank,
            idle_ms,
            bytes,
        });
        self
    }
}

pub const LOW: usize = 0;
pub const NORMAL: usize = 1;
pub const HIGH: usize = 2;

/// A manager, its time, and what it did last.
pub struct Desk {
    pub manager: Manager,
    pub now: u64,
    pub actions: Vec<Action>,
    /// What each process would tell if polled; a process that is not in here does not answer.
    pub offers: BTreeMap<u32, Offers>,
    next_request: u32,
}

impl Desk {
    pub fn new(settings: Settings) -> Self {
        Desk {
            manager: Manager::new(settings, 7, Millis(0)),
            now: 0,
            actions: Vec::new(),
            offers: BTreeMap::new(),
            next_request: 0,
        }
    }

    /// A budget without a reserve, in MiB.
    pub fn bare(mib: u64) -> Self {
        let mut settings = Settings::of_budget(mib * MIB);
        settings.reserve_bytes = 0;
        Desk::new(settings)
    }

    /// Says something; what is to be done is kept and returned.
    pub fn say(&mut self, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        self.manager
            .handle(Millis(self.now), 1_000_000 + self.now, event, &mut actions);
        self.actions.extend(actions.iter().cloned());
        actions
    }

    pub fn connection(n: u32) -> ConnectionId {
        ConnectionId(u64::from(n))
    }

    /// A process joins with `held` MiB, which the kernel sees too; on what it is counted at.
    pub fn join_on(&mut self, n: u32, held: u64, terms: Terms) -> u64 {
        self.offers.entry(n).or_default();
        let actions = self.say(Event::Joins {
            connection: Self::connection(n),
            who: identity(n),
            terms,
            join: Join {
                held_bytes: held * MIB,
                ..Join::default()
            },
            resident_bytes: Some(held * MIB),
        });
        self.settle();
        let welcomed = actions.iter().find_map(|action| match action {
            Action::Welcome {
                charged_bytes,
                reception: Reception::Welcome(welcome),
                ..
            } => {
                assert_eq!(*charged_bytes, welcome.granted_bytes);
                Some(welcome.granted_bytes)
            }
            _ => None,
        });
        welcomed.expect("is welcome") / MIB
    }

    pub fn join(&mut self, n: u32, held: u64) -> u64 {
        self.join_on(n, held, Terms::default())
    }

    pub fn message(&mut self, n: u32, message: ToManager) -> Vec<Action> {
        self.say(Event::Said {
            connection: Self::connection(n),
            message,
            cgroup_room_bytes: None,
        })
    }

    /// Asks for so many MiB; the number of the request.
    pub fn ask(&mut self, n: u32, mib: u64) -> u32 {
        self.ask_in(n, mib, None)
    }

    pub fn ask_in(&mut self, n: u32, mib: u64, cgroup_room_bytes: Option<u64>) -> u32 {
        self.next_request += 1;
        let request = self.next_request;
        let ask = Ask {
            request,
            bytes: mib * MIB,
            supply: self.offers.get(&n).cloned().unwrap_or_default().0,
        };
        self.say(Event::Said {
            connection: Self::connection(n),
            message: ToManager::Ask(ask),
            cgroup_room_bytes,
        });
        request
    }

    /// Answers all polls that are out, and lets ticks that are due now happen.
    pub fn settle(&mut self) {
        for _ in 0..100_000 {
            let polls = self.take(|action| match action {
                Action::Send {
                    connection,
                    message: ToClient::Poll(poll),
                } => Some((u32::try_from(connection.0).expect("small"), *poll)),
                _ => None,
            });
            let mut said = false;
            for (n, poll) in polls {
                if let Some(offers) = self.offers.get(&n).cloned() {
                    self.tell(n, poll, offers);
                    said = true;
                }
            }
            let due = self.manager.deadline();
            if due.is_some_and(|due| due.0 <= self.now) {
                self.say(Event::Tick);
                said = true;
            }
            if !said {
                return;
            }
        }
        panic!("ticks for ever");
    }

    pub fn tell(&mut self, n: u32, poll: Poll, offers: Offers) {
        let told = Told {
            poll: poll.poll,
            supply: offers.0,
            figures: Figures::default(),
            discards: Vec::new(),
        };
        self.message(n, ToManager::Told(told));
    }

    /// Goes on to a time, tick by tick.
    pub fn until(&mut self, now: u64) {
        self.settle();
        let mut ticks = 0;
        while let Some(due) = self.manager.deadline().filter(|due| due.0 <= now) {
            self.now = self.now.max(due.0);
            self.say(Event::Tick);
            self.settle();
            ticks += 1;
            assert!(ticks < 100_000, "ticks for ever");
        }
        self.now = now;
    }

    /// Takes those actions out of what is kept that `pick` picks.
    pub fn take<T>(&mut self, pick: impl Fn(&Action) -> Option<T>) -> Vec<T> {
        let mut picked = Vec::new();
        self.actions.retain(|action| match pick(action) {
            Some(what) => {
                picked.push(what);
                false
            }
            None => true,
        });
        picked
    }

    /// Orders that were sent: to whom, what.
    pub fn orders(&mut self) -> Vec<(u32, Order)> {
        self.settle();
        self.take(|action| match action {
            Action::Send {
                connection,
                message: ToClient::Order(order),
            } => Some((u32::try_from(connection.0).expect("small"), *order)),
            _ => None,
        })
    }

    /// Orders as far as one mostly cares: to whom, MiB.
    pub fn ordered(&mut self) -> Vec<(u32, u64)> {
        let orders = self.orders();
        orders
            .iter()
            .map(|(n, order)| (*n, order.bytes / MIB))
            .collect()
    }

    /// Credits that were sent.
    pub fn credits(&mut self) -> Vec<Credit> {
        self.settle();
        self.take(|action| match action {
            Action::Grant {
                message: ToClient::Credit(credit),
                ..
            }
            | Action::Send {
                message: ToClient::Credit(credit),
                ..
            } => Some(*credit),
            _ => None,
        })
    }

    pub fn refusals(&mut self) -> Vec<(u32, WhyNot)> {
        self.settle();
        self.take(|action| match action {
            Action::Send {
                message: ToClient::NoCredit(no),
                ..
            } => Some((no.request, no.why)),
            _ => None,
        })
    }

    pub fn notices(&mut self) -> Vec<(u32, Notice)> {
        self.settle();
        self.take(|action| match action {
            Action::Send {
                connection,
                message: ToClient::Notice(notice),
            } => Some((u32::try_from(connection.0).expect("small"), *notice)),
            _ => None,
        })
    }

    /// Answers an order with so many MiB.
    pub fn answer(&mut self, n: u32, order: u32, mib: u64) -> Vec<Action> {
        self.answer_bytes(n, order, mib * MIB)
    }

    pub fn answer_bytes(&mut self, n: u32, order: u32, returned_bytes: u64) -> Vec<Action> {
        let answer = Answer {
            order,
            returned_bytes,
            discarded_bytes: [0, returned_bytes, 0],
            discards: 1,
        };
        self.message(n, ToManager::Answer(answer))
    }

    /// Gives all that is ordered, until nothing more is.
    pub fn obey(&mut self) {
        loop {
            let orders = self.orders();
            if orders.is_empty() {
                return;
            }
            for (n, order) in orders {
                self.answer_bytes(n, order.order, order.bytes);
            }
        }
    }

    /// What a process is counted at, in MiB.
    pub fn charge(&self, n: u32) -> u64 {
        self.manager.charge_of(process(n)).expect("is counted") / MIB
    }

    pub fn operate(&mut self, n: u32, request: OperatorRequest) -> Vec<Action> {
        let rights = Rights {
            sees_all: true,
            commands: true,
            uid: 0,
        };
        self.operate_as(n, rights, request)
    }

    pub fn operate_as(&mut self, n: u32, rights: Rights, request: OperatorRequest) -> Vec<Action> {
        self.say(Event::Asks {
            connection: ConnectionId(1_000_000 + u64::from(n)),
            rights,
            request,
        })
    }

    /// What operators were told.
    pub fn told(&mut self) -> Vec<ToOperator> {
        self.settle();
        self.take(|action| match action {
            Action::Tell { message, .. } => Some((**message).clone()),
            _ => None,
        })
    }
}
