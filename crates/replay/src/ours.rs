//! vidmm's own policy, as a pool runs it: the same code, shown the same things.
//!
//! Every object is an allocation, offered from its last request on; a request for one that is there
//! is an intact reclaim, and for one that is not a discarded reclaim, or its creation. The miss clock
//! ticks on these and on scans, and on nothing else; ranks are made by scans, for lists of a tenth of
//! the budget, whose entries are checked again when their turn comes.

use vidmm_policy::{Candidate, Learned, Past, Policy, Rank, Ranks, Sighting, Sightings, Tuning};

use crate::{Cache, ObjectId, Outcome, Request};

/// What a slot of the table remembers.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    size_bytes: u64,
    stamp_ticks: u32,
    past: Past,
    /// It has been requested at least once.
    exists: bool,
    is_intact: bool,
}

#[derive(Debug, Default)]
struct Slots(Vec<Slot>);

impl Sightings for Slots {
    fn end(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    fn at(&self, slot: u32) -> Option<Sighting> {
        let slot = self.0.get(slot as usize).filter(|slot| slot.exists)?;
        Some(Sighting {
            generation: 0,
            is_waiting: true,
            stamp_ticks: slot.stamp_ticks,
            past: slot.past,
            size_bytes: slot.size_bytes,
        })
    }
}

impl Slot {
    fn candidate(&self, now_ticks: u32) -> Candidate {
        Candidate {
            age_ticks: now_ticks.wrapping_sub(self.stamp_ticks),
            past: self.past,
            charge_bytes: self.size_bytes,
        }
    }
}

/// A victim in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Victim {
    rank: Rank,
    slot: usize,
}

/// The policy of a pool, and a pool's way to ask it.
#[derive(Debug)]
pub struct Vidmm {
    policy: Learned,
    slots: Slots,
    size_bytes: u64,
    used_bytes: u64,
    clock_ticks: u32,
    /// What the list was ranked by, and when.
    knows: Option<Ranks>,
    list_ticks: u32,
    /// The next one is the last.
    list: Vec<Victim>,
}

impl Vidmm {
    /// A pool with a budget of so many bytes.
    #[must_use]
    pub fn new(size_bytes: u64) -> Self {
        Vidmm::with(size_bytes, Tuning::default())
    }

    /// A pool with a budget of so many bytes and with other numbers in its policy's rule.
    #[must_use]
    pub fn with(size_bytes: u64, tuning: Tuning) -> Self {
        Vidmm {
            policy: Learned::new(tuning),
            slots: Slots::default(),
            size_bytes,
            used_bytes: 0,
            clock_ticks: 0,
            knows: None,
            list_ticks: 0,
            list: Vec::new(),
        }
    }

    fn tick(&mut self) -> u32 {
        self.clock_ticks = self.clock_ticks.wrapping_add(1);
        self.clock_ticks
    }

    fn rank(&self, slot: &Slot) -> Rank {
        let candidate = slot.candidate(self.list_ticks);
        match &self.knows {
            Some(knows) => knows.rank(&candidate),
            None => self.policy.rank(&candidate),
        }
    }

    /// Makes a list of what goes first: so many bytes, and a tenth of the budget at least.
    fn scan(&mut self, wanted_bytes: u64) {
        self.list_ticks = self.tick();
        self.knows = self.policy.snapshot(self.list_ticks, &self.slots);
        let mut list = std::mem::take(&mut self.list);
        list.clear();
        list.extend(
            self.slots
                .0
                .iter()
                .enumerate()
                .filter(|(_, slot)| slot.is_intact)
                .map(|(place, slot)| Victim {
                    rank: self.rank(slot),
                    slot: place,
                }),
        );
        list.sort_unstable();
        let mut left = wanted_bytes.max(self.size_bytes / 10);
        let keep = list.iter().position(|victim| {
            left = left.saturating_sub(self.slots.0[victim.slot].size_bytes);
            left == 0
        });
        list.truncate(keep.map_or(list.len(), |last| last + 1));
        list.reverse();
        self.list = list;
    }

    fn make_room(&mut self, wanted_bytes: u64) {
        while self.size_bytes - self.used_bytes < wanted_bytes {
            let Some(victim) = self.list.pop() else {
                self.scan(wanted_bytes - (self.size_bytes - self.used_bytes));
                continue;
            };
            let slot = self.slots.0[victim.slot];
            if slot.is_intact && self.rank(&slot) == victim.rank {
                self.slots.0[victim.slot].is_intact = false;
                self.used_bytes -= slot.size_bytes;
            }
        }
    }
}

impl Cache for Vidmm {
    fn request(&mut self, request: Request) -> Outcome {
        let place = request.object.index();
        if self.slots.0.len() <= place {
            self.slots.0.resize(place + 1, Slot::default());
        }
        let slot = &mut self.slots.0[place];
        let is_intact = slot.is_intact;
        if is_intact {
            slot.past = slot
                .past
                .reclaimed_after(self.clock_ticks.wrapping_sub(slot.stamp_ticks));
            slot.stamp_ticks = self.clock_ticks;
            return Outcome::Hit;
        }
        self.make_room(request.size_bytes);
        let now_ticks = self.tick();
        let slot = &mut self.slots.0[place];
        if slot.exists {
            slot.past = slot
                .past
                .reclaimed_after(now_ticks.wrapping_sub(slot.stamp_ticks));
        }
        slot.exists = true;
        slot.is_intact = true;
        slot.size_bytes = request.size_bytes;
        slot.stamp_ticks = now_ticks;
        slot.past.rebuild_cost_ns = request.cost;
        self.used_bytes += request.size_bytes;
        if self.policy.wants_to_look(now_ticks) {
            self.policy.look(now_ticks, &self.slots);
        }
        Outcome::Miss
    }

    fn contains(&self, object: ObjectId) -> bool {
        let slot = self.slots.0.get(object.index());
        slot.is_some_and(|slot| slot.is_intact)
    }

    fn used_bytes(&self) -> u64 {
        self.used_bytes
    }
}
