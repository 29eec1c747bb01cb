//! What a client says of itself: what it could give, what it holds and has done, what it discarded.

use serde::{Deserialize, Serialize};

use crate::codec::{DecodeError, at_most};

/// A class's supply has at most so many steps.
pub const STEPS_MAX: usize = 16;

/// The names of the reasons for a discard, by their number in [`Discard::reason`].
pub const REASONS: [&str; 7] = [
    "budget",
    "trim",
    "psi_machine",
    "psi_cgroup",
    "cgroup_limit",
    "low_available",
    "systemd",
];

/// Some of what is offered in one class: what would go next after the step before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The highest rank in the step, in the client's own measure.
    pub rank: u32,
    /// For how long the youngest in the step has been offered, in milliseconds, about.
    pub idle_ms: u32,
    /// What is offered in the step, in bytes.
    pub bytes: u64,
}

/// What a client could give back: its supply curve. Ranks rise from step to step.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Supply {
    /// When its ranks were so, in the client's own measure; comes back in an order that names ranks.
    pub as_of: u32,
    /// Credit that nothing is behind, in bytes.
    pub unused_bytes: u64,
    /// Memory that belongs to no allocation, in bytes.
    pub warm_bytes: u64,
    /// What is offered LOW, NORMAL, HIGH (AUTO counts as what it comes to).
    pub classes: [Vec<Step>; 3],
}

impl Supply {
    /// All that is offered in a class (0 LOW, 1 NORMAL, 2 HIGH), in bytes.
    #[must_use]
    pub fn class_bytes(&self, class: usize) -> u64 {
        let steps = self.classes.get(class).map_or(&[][..], Vec::as_slice);
        steps
            .iter()
            .fold(0, |sum: u64, step| sum.saturating_add(step.bytes))
    }

    /// All that is offered, in bytes.
    #[must_use]
    pub fn offered_bytes(&self) -> u64 {
        (0..3).fold(0, |sum: u64, class| {
            sum.saturating_add(self.class_bytes(class))
        })
    }

    pub(crate) fn check(&self) -> Result<(), DecodeError> {
        self.classes
            .iter()
            .try_for_each(|steps| at_most("steps of a supply", steps.len(), STEPS_MAX))
    }
}

/// Cuts a supply down to `most_bytes` in all, the last classes first: nobody can give more than it
/// is counted at.
pub fn clamp_supply(supply: &mut Supply, most_bytes: u64) {
    let mut left = most_bytes;
    let mut cut = |bytes: &mut u64| {
        *bytes = (*bytes).min(left);
        left -= *bytes;
    };
    cut(&mut supply.unused_bytes);
    cut(&mut supply.warm_bytes);
    for steps in &mut supply.classes {
        steps.iter_mut().for_each(|step| cut(&mut step.bytes));
        steps.retain(|step| step.bytes > 0);
    }
}

/// A number of allocations and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassFigures {
    /// How many.
    pub count: u64,
    /// Their charge, in bytes.
    pub bytes: u64,
}

/// What a client holds and has done. "So far" is since its pool was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// All that is charged, in bytes.
    pub held_bytes: u64,
    /// In use.
    pub committed: ClassFigures,
    /// Of these, locked now.
    pub locked: ClassFigures,
    /// Offered: LOW, NORMAL, HIGH.
    pub offered: [ClassFigures; 3],
    /// Without memory: discarded and not reclaimed yet.
    pub discarded_now: ClassFigures,
    /// Backed memory that belongs to no allocation, in bytes.
    pub warm_bytes: u64,
    /// What the kernel refused to take back so far, in bytes.
    pub refused_bytes: u64,
    /// Discarded so far: LOW, NORMAL, HIGH.
    pub discards: [ClassFigures; 3],
    /// Reclaims so far that found the content.
    pub reclaims_intact: u64,
    /// Reclaims so far that did not.
    pub reclaims_discarded: u64,
}

/// One discard, for whoever asks why.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discard {
    /// Which discard of the process it was, counted from 1.
    pub number: u64,
    /// When, in milliseconds of the realtime clock since 1970.
    pub at_ms: u64,
    /// The allocation, by the handle it had in its process.
    pub allocation: u32,
    /// Its charge, in bytes.
    pub bytes: u64,
    /// LOW 0, NORMAL 1, HIGH 2.
    pub class: u8,
    /// Its rank in its class when it was claimed, in the process's own measure; the lower goes first.
    pub rank: u32,
    /// Why, by its place in [`REASONS`].
    pub reason: u8,
    /// For whose demand: a process as the manager sees it; 0 is nobody's in particular.
    pub beneficiary_pid: u32,
    /// The order that asked for it; 0 is none: the process itself needed room.
    pub order: u32,
}
