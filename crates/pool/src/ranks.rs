//! What the policy is shown, when, and what it knows for a list. It says who should go first and
//! decides nothing.

use std::sync::Arc;

use vidmm_arena::Kernel;
use vidmm_policy::{Past, Ranks, Sighting, Sightings};
use vidmm_table::{History, SlotIndex, State, Table};

use crate::gate::Inside;
use crate::pool::Pool;

/// The table as a policy sees it.
struct Shown<'t>(&'t Table);

impl Sightings for Shown<'_> {
    fn end(&self) -> u32 {
        self.0.end()
    }

    fn at(&self, slot: u32) -> Option<Sighting> {
        let slot = self.0.at(SlotIndex::from_raw(slot))?;
        let slot = slot.slot();
        let is_waiting = match slot.word().state() {
            State::Empty | State::Dead | State::Shared => return None,
            State::Committed => false,
            State::Offered | State::Discarded => true,
        };
        let history = slot.history();
        Some(Sighting {
            generation: slot.generation(),
            is_waiting,
            stamp_ticks: history.stamp_ticks,
            past: past_of(&history),
            size_bytes: slot.size_bytes(),
        })
    }
}

/// What a policy may know of what a slot remembers.
#[inline]
pub(crate) fn past_of(history: &History) -> Past {
    Past {
        reclaims: history.reclaims,
        last_interval_ticks: history.last_interval_ticks,
        previous_interval_ticks: history.previous_interval_ticks,
        rebuild_cost_ns: history.rebuild_cost_ns,
    }
}

impl<K: Kernel> Pool<K> {
    /// At the beginning of slow calls: lets the policy look at the table if it is time. Inside the
    /// gate, as all that may wait for what a policy locks: no child is made meanwhile, in which
    /// nobody would unlock it.
    #[inline]
    pub(crate) fn tend_policy(&self, _inside: &Inside<'_>) {
        let now_ticks = self.signals.now_ticks();
        if self.policy.wants_to_look(now_ticks) {
            self.policy.look(now_ticks, &Shown(&self.table));
        }
    }

    /// What the policy knows now, for a list. Inside the gate.
    pub(crate) fn ranks(&self, now_ticks: u32) -> Ranks {
        let known = self.policy.snapshot(now_ticks, &Shown(&self.table));
        known.unwrap_or_else(|| Arc::clone(&self.policy).into())
    }
}
