//! A process as a model: what it holds, what it was granted, what it offers.

use std::collections::VecDeque;

use vidmm_manager::{ConnectionId, ProcessId};
use vidmm_wire::*;

use super::dice::Dice;

/// How a process behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Honest,
    /// Honest, and takes its time over every message.
    Slow,
    /// Says whatever comes to mind.
    Liar,
}

/// A message on its way.
#[derive(Debug, Clone)]
pub struct Sent<M> {
    pub at: u64,
    pub message: M,
}

/// A connection: what is on its way, in order, in each direction.
#[derive(Debug)]
pub struct Link {
    pub id: ConnectionId,
    pub to_manager: VecDeque<Sent<ToManager>>,
    pub to_client: VecDeque<Sent<ToClient>>,
    /// The client has closed it: what is on its way arrives, then the end.
    pub closed: bool,
}

#[derive(Debug)]
pub struct Model {
    pub process: ProcessId,
    pub kind: Kind,
    pub alive: bool,
    /// `None`: not joined.
    pub link: Option<Link>,
    /// It was welcome once.
    pub counted: bool,
    pub stopped_until: u64,
    pub rejoins_at: u64,
    /// All that is backed, or may be.
    pub held: u64,
    /// What it may hold.
    pub granted: u64,
    /// What it was ordered to return for good and has not yet.
    pub unpaid: u64,
    pub offered: [u64; 3],
    /// What it holds beyond what it is counted at, since it joined with too much.
    pub debt: u64,
    /// A need that it asks for.
    pub wants: Option<(u32, u64)>,
    pub requests: u32,
    pub last_order: u32,
    pub credits: u64,
}

impl Model {
    pub fn new(process: ProcessId, kind: Kind, held: u64) -> Self {
        Model {
            process,
            kind,
            alive: true,
            link: None,
            counted: false,
            stopped_until: 0,
            rejoins_at: 0,
            held,
            granted: held,
            unpaid: 0,
            offered: [0; 3],
            debt: 0,
            wants: None,
            requests: 0,
            last_order: 0,
            credits: 0,
        }
    }

    pub fn honest(&self) -> bool {
        self.kind != Kind::Liar
    }

    pub fn connected(&self) -> bool {
        self.link.as_ref().is_some_and(|link| !link.closed)
    }

    fn all_offered(&self) -> u64 {
        self.offered.iter().sum()
    }

    fn room(&self) -> i128 {
        i128::from(self.granted) - i128::from(self.held)
    }

    fn unused(&self) -> u64 {
        u64::try_from(self.room()).unwrap_or(0)
    }

    /// It loses its connection, and with it all that was in it. What it was ordered to return it
    /// may keep until it joins again.
    pub fn cut(&mut self) {
        self.link = None;
        self.wants = None;
        self.granted += self.unpaid;
        self.unpaid = 0;
    }

    /// It keeps nothing but what it holds, and what is not granted of that is its debt.
    pub fn welcome(&mut self, granted: u64) {
        self.debt = self.held.saturating_sub(granted);
        self.granted = granted;
        self.unpaid = 0;
        self.counted = true;
    }

    /// It holds no more than it may, but for a debt that only shrinks.
    pub fn check(&mut self) -> Result<(), String> {
        let beyond = self.held.saturating_sub(self.granted + self.unpaid);
        if self.counted && self.honest() && beyond > self.debt {
            return Err(format!(
                "a debt of {} grew to {beyond}: {self:?}",
                self.debt
            ));
        }
        self.debt = beyond;
        Ok(())
    }

    /// What is on its way: credits to it, and returns from it.
    pub fn in_flight(&self) -> u64 {
        let Some(link) = &self.link else {
            return 0;
        };
        let credits = link.to_client.iter().map(|sent| match &sent.message {
            ToClient::Credit(credit) => credit.granted_bytes,
            _ => 0,
        });
        let returns = link.to_manager.iter().map(|sent| match &sent.message {
            ToManager::Returned { bytes } => *bytes,
            ToManager::Answer(answer) => answer.returned_bytes,
            _ => 0,
        });
        credits.sum::<u64>() + returns.sum::<u64>()
    }

    fn send(&mut self, now: u64, dice: &mut Dice, message: ToManager) {
        let late = match self.kind {
            Kind::Slow => dice.below(160),
            _ => dice.below(3),
        };
        let Some(link) = self.link.as_mut().filter(|link| !link.closed) else {
            return;
        };
        let after = link.to_manager.back().map_or(0, |sent| sent.at);
        let at = (now + late).max(after);
        link.to_manager.push_back(Sent { at, message });
    }

    fn supply(&self, dice: &mut Dice) -> Supply {
        let mut supply = Supply {
            unused_bytes: self.unused(),
            ..Supply::default()
        };
        for (class, bytes) in self.offered.iter().enumerate() {
            let first = dice.pages(*bytes + 1);
            for (rank, bytes) in [(10, first), (20, bytes - first)] {
                if bytes > 0 {
                    let idle_ms = dice.u32_below(1000);
                    supply.classes[class].push(Step {
                        rank,
                        idle_ms,
                        bytes,
                    });
                }
            }
        }
        supply
    }

    /// Gives up to `most` bytes of what is offered in classes that `may` allows; how much.
    fn discard(&mut self, most: u64, may: impl Fn(usize) -> bool) -> [u64; 3] {
        let mut left = most;
        std::array::from_fn(|class| {
            let taken = if may(class) {
                self.offered[class].min(left)
            } else {
                0
            };
            self.offered[class] -= taken;
            self.held -= taken;
            left -= taken;
            taken
        })
    }

    /// Something happens in the process itself.
    pub fn act(&mut self, now: u64, dice: &mut Dice, budget: u64) {
        let in_use = self.held - self.all_offered();
        match dice.below(8) {
            0 | 1 => {
                let class = usize::try_from(dice.below(3)).expect("small");
                self.offered[class] += dice.pages(in_use + 1);
            }
            2 => {
                let class = usize::try_from(dice.below(3)).expect("small");
                self.offered[class] -= dice.pages(self.offered[class] + 1);
            }
            3 => self.held -= dice.pages(in_use + 1),
            4 if self.connected() => {
                let bytes = dice.pages(self.unused() + 1);
                if bytes > 0 {
                    self.granted -= bytes;
                    self.send(now, dice, ToManager::Returned { bytes });
                }
            }
            5 if self.connected() && dice.chance(100) => {
                let bytes = dice.pages(budget / 2);
                self.send(now, dice, ToManager::Reserve { bytes });
            }
            _ => self.allocate(now, dice, budget),
        }
        self.pay(now, dice);
    }

    fn allocate(&mut self, now: u64, dice: &mut Dice, budget: u64) {
        let most = budget / (2 << dice.below(6));
        let bytes = 4096 + dice.pages(most);
        if self.room() >= i128::from(bytes) {
            self.held += bytes;
            return;
        }
        if !self.connected() {
            return;
        }
        if let Some((request, _)) = self.wants {
            if dice.chance(50) {
                self.send(now, dice, ToManager::Withdraw { request });
                self.wants = None;
            }
            return;
        }
        self.ask(now, dice, bytes);
    }

    /// Asks for what it lacks to hold so much more.
    pub fn ask(&mut self, now: u64, dice: &mut Dice, bytes: u64) {
        let missing = u64::try_from(i128::from(bytes) - self.room()).expect("more than there is");
        self.requests += 1;
        self.wants = Some((self.requests, bytes));
        let ask = Ask {
            request: self.requests,
            bytes: missing,
            supply: self.supply(dice),
        };
        self.send(now, dice, ToManager::Ask(ask));
    }

    /// Returns what it owes, as it comes free.
    fn pay(&mut self, now: u64, dice: &mut Dice) {
        let free = (self.granted + self.unpaid).saturating_sub(self.held);
        let bytes = free.min(self.unpaid);
        if bytes > 0 && self.connected() {
            self.unpaid -= bytes;
            self.send(now, dice, ToManager::Returned { bytes });
        }
    }

    /// What the manager says arrives.
    pub fn hear(&mut self, now: u64, dice: &mut Dice, message: &ToClient) {
        match *message {
            ToClient::Credit(credit) => self.credit(credit),
            ToClient::NoCredit(no) => {
                self.wants = self.wants.filter(|(request, _)| *request != no.request);
            }
            ToClient::Order(order) => self.obey(now, dice, order),
            ToClient::Poll(poll) => {
                let told = Told {
                    poll: poll.poll,
                    supply: self.supply(dice),
                    figures: Figures {
                        held_bytes: self.held,
                        ..Figures::default()
                    },
                    discards: Vec::new(),
                };
                self.send(now, dice, ToManager::Told(told));
            }
            ToClient::Notice(_) => {}
        }
    }

    fn credit(&mut self, credit: Credit) {
        self.granted += credit.granted_bytes;
        self.credits += 1;
        let wanted = self.wants.filter(|(request, _)| *request == credit.request);
        let Some((_, bytes)) = wanted else {
            return;
        };
        self.wants = None;
        let missing = u64::try_from(i128::from(bytes) - self.room()).unwrap_or(0);
        if missing <= credit.own_bytes.min(self.all_offered()) {
            self.discard(missing, |_| true);
            self.held += bytes;
        }
    }

    fn obey(&mut self, now: u64, dice: &mut Dice, order: Order) {
        self.last_order = order.order;
        let unused = self.unused().min(order.bytes);
        let may = |class: usize| order.thresholds[class] != Threshold::Nothing;
        let discarded = self.discard(order.bytes - unused, may);
        // What it has returned already may be ordered again while that is on its way.
        let returned_bytes = (unused + discarded.iter().sum::<u64>()).min(self.granted);
        let debit = match order.standing {
            true => order.bytes.min(self.granted),
            false => returned_bytes,
        };
        self.granted -= debit;
        self.unpaid += debit - returned_bytes;
        let answer = Answer {
            order: order.order,
            returned_bytes,
            discarded_bytes: discarded,
            discards: 1,
        };
        self.send(now, dice, ToManager::Answer(answer));
    }

    /// Whatever comes to a liar's mind.
    pub fn lie(&mut self, now: u64, dice: &mut Dice, budget: u64) {
        let any = |dice: &mut Dice| match dice.below(4) {
            0 => u64::MAX - dice.below(2),
            1 => dice.word(),
            _ => dice.pages(budget * 2),
        };
        let forged = Supply {
            as_of: 0,
            unused_bytes: any(dice),
            warm_bytes: any(dice),
            classes: std::array::from_fn(|_| {
                (0..dice.below(17))
                    .map(|_| Step {
                        rank: dice.u32_below(100),
                        idle_ms: dice.u32_below(u32::MAX),
                        bytes: any(dice),
                    })
                    .collect()
            }),
        };
        self.requests += 1;
        let message = match dice.below(7) {
            0 => ToManager::Returned { bytes: any(dice) },
            1 | 2 => ToManager::Answer(Answer {
                order: match dice.below(3) {
                    0 => dice.u32_below(u32::MAX),
                    _ => self.last_order,
                },
                returned_bytes: any(dice),
                discarded_bytes: std::array::from_fn(|_| any(dice)),
                discards: dice.u32_below(9),
            }),
            3 => ToManager::Told(Told {
                poll: dice.u32_below(200),
                supply: forged,
                figures: Figures::default(),
                discards: vec![Discard::default(); 64],
            }),
            4 => ToManager::Reserve { bytes: any(dice) },
            5 => ToManager::Withdraw {
                request: dice.u32_below(1 + self.requests),
            },
            _ => ToManager::Ask(Ask {
                request: self.requests,
                bytes: any(dice),
                supply: forged,
            }),
        };
        self.send(now, dice, message);
    }

    /// What a liar notes of what it is told: which order it has, to misuse it.
    pub fn note(&mut self, now: u64, dice: &mut Dice, message: &ToClient) {
        match message {
            ToClient::Order(order) => self.last_order = order.order,
            ToClient::Poll(poll) if dice.chance(700) => {
                let supply = Supply {
                    unused_bytes: dice.word(),
                    ..Supply::default()
                };
                let told = Told {
                    poll: poll.poll,
                    supply,
                    figures: Figures::default(),
                    discards: Vec::new(),
                };
                self.send(now, dice, ToManager::Told(told));
            }
            _ => {}
        }
    }
}
