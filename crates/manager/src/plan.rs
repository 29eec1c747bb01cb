//! Who gives how much: a pure function from supplies to parts of a need.
//!
//! Unused bytes of all go first. Then class by class; HIGH of those beyond their share is NORMAL.
//! Within a class those beyond what is guarded of their share give first, down to that; then whoever
//! may, down to what is protected. Among several, what has been idle longest goes first, and of what
//! has been so for as long, that of whoever is furthest beyond its share. Whoever asks is one of the
//! givers; only what is protected of it goes after everything else, since it is its own to decide
//! about.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use vidmm_wire::{Step, Supply, Threshold};

use crate::event::ProcessId;

/// Whole pages only are given.
const PAGE: u64 = 4096;

/// Somebody who could give.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Giver<'a> {
    pub(crate) process: ProcessId,
    pub(crate) supply: &'a Supply,
    pub(crate) charge: u64,
    pub(crate) share: u64,
    /// What of its share is safe while others have more than that.
    pub(crate) guarded: u64,
    /// It is never brought below this.
    pub(crate) protected: u64,
    /// It is the one that asks.
    pub(crate) asks: bool,
}

/// What is needed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wanted {
    /// So many bytes in all.
    pub(crate) bytes: u64,
    /// At least so many from the one that asks.
    pub(crate) own_least: u64,
    /// With so many from the one that asks, nothing else is needed.
    pub(crate) own_enough: u64,
    /// The machine is to have it: credit that nothing is behind is of no use.
    pub(crate) memory_only: bool,
    /// So much more may be taken from the last step, since a message more costs more.
    pub(crate) overshoot_most: u64,
}

/// A part of a need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) process: ProcessId,
    pub(crate) bytes: u64,
    pub(crate) thresholds: [Threshold; 3],
    /// Of which supply the thresholds' ranks are.
    pub(crate) as_of: u32,
}

/// Who gives how much.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// By others.
    pub(crate) parts: Vec<Part>,
    /// By the one that asks.
    pub(crate) own: u64,
    /// What nobody gives, in bytes.
    pub(crate) missing: u64,
}

/// Who of `givers` gives what of `wanted`.
pub(crate) fn plan(givers: &[Giver<'_>], wanted: Wanted) -> Plan {
    let mut planner = Planner {
        takings: givers
            .iter()
            .map(|giver| Taking::new(giver, wanted.memory_only))
            .collect(),
        left: round_up(wanted.bytes),
        own: 0,
        own_enough: wanted.own_enough.max(wanted.own_least),
        memory_only: wanted.memory_only,
        last: None,
    };
    planner.take_own_least(wanted.own_least);
    planner.take_unused();
    for class in 0..3 {
        planner.take_class(class, Bound::Guarded);
        planner.take_class(class, Bound::Protected);
    }
    for class in 0..3 {
        planner.take_class(class, Bound::OwnToTheEnd);
    }
    planner.overshoot(wanted.overshoot_most);
    planner.result()
}

/// Down to what a phase takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    Guarded,
    Protected,
    OwnToTheEnd,
}

/// What is planned to be taken from one giver.
#[derive(Debug)]
struct Taking<'a> {
    giver: &'a Giver<'a>,
    /// What it has of what is wanted, in bytes: its charge; where memory is, without credit that
    /// nothing is behind.
    has: u64,
    unused: u64,
    /// Steps that are used up, by class.
    next: [usize; 3],
    /// Bytes that are taken of the step after those.
    of_next: [u64; 3],
    taken: u64,
    /// The highest class that is touched, with the rank of its last step that is.
    deepest: Option<(usize, u32)>,
}

impl<'a> Taking<'a> {
    fn new(giver: &'a Giver<'a>, memory_only: bool) -> Self {
        let credit = match memory_only {
            true => giver.supply.unused_bytes,
            false => 0,
        };
        Taking {
            giver,
            has: giver.charge.saturating_sub(credit),
            unused: 0,
            next: [0; 3],
            of_next: [0; 3],
            taken: 0,
            deepest: None,
        }
    }

    fn step(&self, class: usize) -> Option<&'a Step> {
        self.giver.supply.classes.get(class)?.get(self.next[class])
    }

    /// The class that would go next in a phase: in NORMAL's first phase, HIGH after NORMAL.
    fn class_in(&self, class: usize, bound: Bound) -> Option<usize> {
        if self.step(class).is_some() {
            return Some(class);
        }
        let high_is_normal = class == 1 && bound == Bound::Guarded;
        (high_is_normal && self.step(2).is_some()).then_some(2)
    }

    /// How much may still be taken in a phase; `lowered`: of HIGH, as NORMAL.
    fn may_give(&self, bound: Bound, lowered: bool) -> u64 {
        let down_to = match bound {
            Bound::Guarded if lowered => self.giver.share.max(self.giver.protected),
            Bound::Guarded => self.giver.guarded.max(self.giver.protected),
            Bound::Protected => self.giver.protected,
            Bound::OwnToTheEnd if self.giver.asks => 0,
            Bound::OwnToTheEnd => return 0,
        };
        let left = self.has.saturating_sub(self.taken);
        left.saturating_sub(down_to)
    }

    /// Takes up to `most` of the next step of a class; how much that was.
    fn take_step(&mut self, class: usize, most: u64) -> u64 {
        let Some(step) = self.step(class) else {
            return 0;
        };
        let there = step.bytes.saturating_sub(self.of_next[class]);
        let taken = there.min(most);
        if taken > 0 {
            self.deepest = Some((class, step.rank));
        }
        self.of_next[class] += taken;
        self.taken += taken;
        if taken == there {
            self.next[class] += 1;
            self.of_next[class] = 0;
        }
        taken
    }

    /// Everything in the classes below the one that is touched last: nothing of a higher class
    /// goes while something in a lower one would do, also if it is offered meanwhile.
    fn thresholds(&self) -> [Threshold; 3] {
        std::array::from_fn(|class| match self.deepest {
            Some((deepest, _)) if class < deepest => Threshold::All,
            Some((deepest, rank)) if class == deepest => Threshold::UpTo(rank),
            _ => Threshold::Nothing,
        })
    }
}

/// For how long what a giver would give next has been idle, in milliseconds; how far beyond its share
/// it is, in bytes, since programs that use all they have every other millisecond are idle for none;
/// who. The greatest is next.
type Candidate = (u32, i128, Reverse<usize>);

#[derive(Debug)]
struct Planner<'a> {
    takings: Vec<Taking<'a>>,
    left: u64,
    own: u64,
    own_enough: u64,
    memory_only: bool,
    /// Who was the last to give, and of which class.
    last: Option<(usize, usize)>,
}

impl Planner<'_> {
    fn done(&self) -> bool {
        self.left == 0 || self.own_is_enough()
    }

    fn own_is_enough(&self) -> bool {
        self.own_enough > 0 && self.own >= self.own_enough
    }

    /// Takes up to `most` from a giver's next step of a class.
    fn take(&mut self, index: usize, class: usize, most: u64) {
        let taking = &mut self.takings[index];
        let most = match taking.giver.asks {
            true => most.min(self.own_enough.saturating_sub(self.own)),
            false => most,
        };
        let taken = taking.take_step(class, most);
        if taking.giver.asks {
            self.own += taken;
        }
        self.left = self.left.saturating_sub(taken);
        self.last = Some((index, class));
    }

    fn take_own_least(&mut self, own_least: u64) {
        let Some(index) = self.takings.iter().position(|taking| taking.giver.asks) else {
            return;
        };
        for class in 0..3 {
            while self.own < own_least && self.takings[index].step(class).is_some() {
                self.take(index, class, own_least - self.own);
            }
        }
    }

    fn take_unused(&mut self) {
        for bound in [Bound::Guarded, Bound::Protected] {
            let unused = |taking: &Taking<'_>| {
                let supply = taking.giver.supply;
                let there = match self.memory_only {
                    true => supply.warm_bytes,
                    false => supply.unused_bytes.saturating_add(supply.warm_bytes),
                };
                let left = there.saturating_sub(taking.unused);
                left.min(taking.may_give(bound, false))
            };
            let mut most_first: Vec<(u64, usize)> = (self.takings.iter().enumerate())
                .filter(|(_, taking)| !taking.giver.asks)
                .map(|(index, taking)| (unused(taking), index))
                .filter(|(bytes, _)| *bytes > 0)
                .collect();
            most_first.sort_by_key(|(bytes, index)| (Reverse(*bytes), *index));
            for (bytes, index) in most_first {
                let taken = bytes.min(self.left);
                self.takings[index].unused += taken;
                self.takings[index].taken += taken;
                self.left -= taken;
                if self.left == 0 {
                    return;
                }
            }
        }
    }

    fn take_class(&mut self, class: usize, bound: Bound) {
        if self.done() {
            return;
        }
        let mut longest_idle: BinaryHeap<Candidate> = (0..self.takings.len())
            .filter_map(|index| self.candidate(index, class, bound))
            .collect();
        while let Some((_, _, Reverse(index))) = longest_idle.pop() {
            let taking = &self.takings[index];
            let Some(of_class) = taking.class_in(class, bound) else {
                continue;
            };
            let most = taking.may_give(bound, of_class != class).min(self.left);
            self.take(index, of_class, most);
            if self.done() {
                return;
            }
            longest_idle.extend(self.candidate(index, class, bound));
        }
    }

    /// A giver that could give more in a phase.
    fn candidate(&self, index: usize, class: usize, bound: Bound) -> Option<Candidate> {
        let taking = &self.takings[index];
        let of_class = taking.class_in(class, bound)?;
        let own_will_do = taking.giver.asks && self.own >= self.own_enough;
        if own_will_do || taking.may_give(bound, of_class != class) == 0 {
            return None;
        }
        let step = taking.step(of_class)?;
        let left = i128::from(taking.has.saturating_sub(taking.taken));
        let beyond_share = left - i128::from(taking.giver.share);
        Some((step.idle_ms, beyond_share, Reverse(index)))
    }

    fn overshoot(&mut self, most: u64) {
        let Some((index, class)) = self.last else {
            return;
        };
        let taking = &mut self.takings[index];
        if self.left > 0 || taking.giver.asks || taking.of_next[class] == 0 {
            return;
        }
        let most = most.min(taking.may_give(Bound::Protected, false));
        taking.take_step(class, most);
    }

    fn result(self) -> Plan {
        let missing = if self.done() { 0 } else { self.left };
        // What others would give is not needed if the one that asks has enough.
        let others = match self.own_is_enough() {
            true => &[][..],
            false => &self.takings,
        };
        let parts = others
            .iter()
            .filter(|taking| taking.taken > 0 && !taking.giver.asks)
            .map(|taking| Part {
                process: taking.giver.process,
                bytes: taking.taken,
                thresholds: taking.thresholds(),
                as_of: taking.giver.supply.as_of,
            });
        Plan {
            parts: parts.collect(),
            own: self.own,
            missing,
        }
    }
}

fn round_up(bytes: u64) -> u64 {
    bytes.checked_next_multiple_of(PAGE).unwrap_or(bytes)
}

#[cfg(test)]
mod tests;
