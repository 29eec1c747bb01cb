//! What was seen last of each watched allocation. Comparing it with what is seen now tells what
//! happened in between; nobody has to report it.

use super::Tuning;
use super::gittins::fallen;
use super::groups::Group;
use super::model::Model;
use crate::{Sighting, Sightings};

/// Of reclaims between two looks, so many are counted at most.
const BETWEEN_MAX: u32 = 8;

/// So many slots are read one right after the other: they are far apart, and the machine fetches
/// several at once if nothing lies between.
const BATCH: usize = 64;

/// A watched slot.
#[derive(Debug, Clone, Copy)]
struct Seen {
    slot: u32,
    /// When the allocation was last offered.
    stamp_ticks: u32,
    reclaims: u32,
    generation: u16,
    /// `None` while nothing is in the slot.
    group: Option<Waits>,
}

/// The group of the allocation in a slot.
#[derive(Debug, Clone, Copy)]
struct Waits {
    group: Group,
    /// It is offered or discarded, and grows older.
    is_waiting: bool,
}

/// All watched slots.
#[derive(Debug)]
pub(super) struct Memory {
    /// In order of slot: one of every `1 << level`.
    seen: Vec<Seen>,
    level: u32,
    most: usize,
    end: u32,
    last_look_ticks: u32,
    /// Watched allocations, at the last look.
    live: u32,
    cost_ns: f64,
    /// Of those whose cost is known.
    cost_bytes: f64,
}

/// Which half of a block of `1 << level` slots is looked at. By the number of the block, like a lot
/// that is always drawn the same: any fixed place in the block could be in step with a program.
fn upper_half(block: u32, level: u32) -> u32 {
    let mixed = (u64::from(block) << 8 | u64::from(level)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    // One bit.
    #[allow(clippy::cast_possible_truncation)]
    let bit = (mixed >> 63) as u32;
    bit
}

/// The slot that is watched of block number `block`.
fn slot_of(mut block: u32, level: u32) -> u32 {
    for level in (1..=level).rev() {
        block = 2 * block + upper_half(block, level);
    }
    block
}

impl Memory {
    pub(super) fn new(watched: u32) -> Self {
        Memory {
            seen: Vec::new(),
            level: 0,
            most: watched.max(2) as usize,
            end: 0,
            last_look_ticks: 0,
            live: 0,
            cost_ns: 0.0,
            cost_bytes: 0.0,
        }
    }

    /// One above the highest slot at the last look.
    pub(super) fn end(&self) -> u32 {
        self.end
    }

    /// How many ticks have passed since the last look.
    pub(super) fn ticks_since(&self, now_ticks: u32) -> u32 {
        now_ticks.wrapping_sub(self.last_look_ticks)
    }

    /// One of `1 << level` slots is watched.
    pub(super) fn level(&self) -> u32 {
        self.level
    }

    pub(super) fn bytes(&self) -> usize {
        self.seen.capacity() * size_of::<Seen>()
    }

    /// How many bytes cost a nanosecond to rebuild, on average where it is known; 0 if nowhere.
    pub(super) fn bytes_per_ns(&self) -> f64 {
        if self.cost_ns > 0.0 {
            self.cost_bytes / self.cost_ns
        } else {
            0.0
        }
    }

    /// Watches as many slots as there are now, or an even sample.
    fn widen(&mut self, end: u32) {
        self.end = end;
        while (end >> self.level) as usize > self.most {
            self.level += 1;
            let level = self.level;
            let mut place = 0_u32;
            // Of each pair, the one that stands for both; of half a pair, none.
            let pairs = self.seen.len() / 2;
            self.seen.truncate(2 * pairs);
            self.seen.retain(|_| {
                let (block, half) = (place / 2, place % 2);
                place += 1;
                half == upper_half(block, level)
            });
        }
        let blocks = end >> self.level;
        while let Ok(block) = u32::try_from(self.seen.len())
            && block < blocks
        {
            self.seen.push(Seen {
                slot: slot_of(block, self.level),
                stamp_ticks: 0,
                reclaims: 0,
                generation: 0,
                group: None,
            });
        }
    }

    /// Looks at every watched slot and notes what happened since the last look. Says how many ticks
    /// have passed since.
    pub(super) fn look(
        &mut self,
        now_ticks: u32,
        sightings: &dyn Sightings,
        tuning: &Tuning,
        model: &mut Model,
    ) -> u32 {
        self.widen(sightings.end());
        let last_look = std::mem::replace(&mut self.last_look_ticks, now_ticks);
        let passed = now_ticks.wrapping_sub(last_look);
        let allocations = f64::from(self.live.max(1)) * f64::from(1_u32 << self.level);
        let half_lives = f64::from(passed) / (tuning.half_life * allocations);
        model.fade(fallen(half_lives * std::f64::consts::LN_2));
        self.live = 0;
        (self.cost_ns, self.cost_bytes) = (0.0, 0.0);
        let time = Time {
            last_look,
            now: now_ticks,
        };
        let mut sighted = [None; BATCH];
        for batch in self.seen.chunks_mut(BATCH) {
            for (sighted, seen) in sighted.iter_mut().zip(batch.iter()) {
                *sighted = sightings.at(seen.slot);
            }
            for (seen, sighted) in batch.iter_mut().zip(sighted) {
                let Some(sighting) = sighted else {
                    seen.group = None;
                    continue;
                };
                self.live += 1;
                if sighting.past.rebuild_cost_ns > 0.0 {
                    self.cost_ns += f64::from(sighting.past.rebuild_cost_ns);
                    // Of a size, all digits do not matter.
                    #[allow(clippy::cast_precision_loss)]
                    let bytes = sighting.size_bytes as f64;
                    self.cost_bytes += bytes;
                }
                seen.compare(&sighting, time, model);
            }
        }
        passed
    }
}

/// Between which ticks something happened.
#[derive(Debug, Clone, Copy)]
struct Time {
    last_look: u32,
    now: u32,
}

/// From a tick to another; 0 if it is not after it.
fn ticks_between(from: u32, to: u32) -> u32 {
    let ticks = to.wrapping_sub(from);
    if ticks > u32::MAX / 2 { 0 } else { ticks }
}

impl Seen {
    /// Notes what happened to the allocation since it was seen, and that it is seen as this now.
    fn compare(&mut self, sighting: &Sighting, time: Time, model: &mut Model) {
        let past = &sighting.past;
        let before = self
            .group
            .filter(|_| self.generation == sighting.generation);
        let age = ticks_between(sighting.stamp_ticks, time.now);
        let group = match before {
            None => {
                if past.reclaims == 1 {
                    // It came and was reclaimed since the last look.
                    interval(model, Group::NEW, 0, past.last_interval_ticks);
                }
                Group::of(past)
            }
            Some(before) => {
                let reclaims = past.reclaims.wrapping_sub(self.reclaims);
                // How old it was at the last look, if it waited then.
                let from = match before.is_waiting {
                    true => ticks_between(self.stamp_ticks, time.last_look),
                    false => 0,
                };
                // A number that has gone down was taken back by a failed call.
                if reclaims == 0 || reclaims > u32::MAX / 2 {
                    let same_offer = self.stamp_ticks == sighting.stamp_ticks;
                    if sighting.is_waiting {
                        let from = if same_offer { from } else { 0 };
                        model.waited(before.group, from, age);
                    }
                    self.note(sighting, before.group);
                    return;
                }
                self.reclaimed(sighting, before.group, from, reclaims, model);
                Group::of(past)
            }
        };
        if sighting.is_waiting {
            model.waited(group, 0, age);
        }
        self.note(sighting, group);
    }

    fn note(&mut self, sighting: &Sighting, group: Group) {
        self.stamp_ticks = sighting.stamp_ticks;
        self.reclaims = sighting.past.reclaims;
        self.generation = sighting.generation;
        self.group = Some(Waits {
            group,
            is_waiting: sighting.is_waiting,
        });
    }

    /// It was reclaimed since the last look, at least once.
    fn reclaimed(
        &self,
        sighting: &Sighting,
        group: Group,
        from: u32,
        reclaims: u32,
        model: &mut Model,
    ) {
        let past = &sighting.past;
        let last = past.last_interval_ticks;
        if reclaims == 1 {
            interval(model, group, from.min(last), last);
            return;
        }
        // Of the intervals before the last one only the sum is known, and how far the first had
        // come: the rest is taken to be spread evenly.
        let total = ticks_between(self.stamp_ticks, sighting.stamp_ticks);
        let each = total.saturating_sub(last).saturating_sub(from) / (reclaims - 1);
        interval(model, group, from, from.saturating_add(each));
        let then = Group::from_parts(past.reclaims.wrapping_sub(1), each, each);
        let between = (reclaims - 1).min(BETWEEN_MAX);
        for nth in 1..=between {
            interval(model, then, 0, if nth == between { last } else { each });
        }
    }
}

/// A member of the group waited from one age to another and was reclaimed then.
fn interval(model: &mut Model, group: Group, from: u32, to: u32) {
    model.waited(group, from, to);
    model.reclaimed(group, to);
}

#[cfg(test)]
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "all numbers are small"
)]
mod tests {
    use super::*;
    use crate::Past;
    use proptest::prelude::*;

    /// A table of a few slots, and what really happened in it.
    #[derive(Debug, Default)]
    struct Table {
        slots: Vec<Option<Sighting>>,
        now_ticks: u32,
        reclaims: u32,
        waited_ticks: u32,
    }

    impl Sightings for Table {
        fn end(&self) -> u32 {
            self.slots.len() as u32
        }

        fn at(&self, slot: u32) -> Option<Sighting> {
            self.slots[slot as usize]
        }
    }

    #[derive(Debug, Clone, Copy)]
    enum Act {
        /// Creates and offers, or reclaims and offers again.
        Use,
        /// Ends it, and lets another one have the slot.
        Replace,
        /// Reclaims it and keeps it in use, or offers it.
        Turn,
        Look,
    }

    impl Table {
        fn act(&mut self, place: usize, act: Act) {
            let now = self.now_ticks;
            let new = |generation| Sighting {
                generation,
                is_waiting: true,
                stamp_ticks: now,
                past: Past::default(),
                size_bytes: 1,
            };
            let slot = &mut self.slots[place];
            let Some(sighting) = slot else {
                *slot = Some(new(0));
                return;
            };
            if matches!(act, Act::Replace) {
                *slot = Some(new(sighting.generation.wrapping_add(1)));
                return;
            }
            if sighting.is_waiting {
                let interval = now - sighting.stamp_ticks;
                sighting.past = sighting.past.reclaimed_after(interval);
                sighting.is_waiting = false;
                self.reclaims += 1;
            }
            let was_kept = sighting.stamp_ticks != now && matches!(act, Act::Turn);
            if matches!(act, Act::Use) || !was_kept {
                sighting.is_waiting = true;
                sighting.stamp_ticks = now;
            }
        }

        fn pass(&mut self, ticks: u32) {
            self.now_ticks += ticks;
            let waiting = self.slots.iter().flatten().filter(|slot| slot.is_waiting);
            self.waited_ticks += ticks * waiting.count() as u32;
        }
    }

    fn acts() -> impl Strategy<Value = Vec<(Act, usize, u32)>> {
        let act = prop_oneof![Just(Act::Use), Just(Act::Turn), Just(Act::Look)];
        prop::collection::vec((act, 0..4_usize, 0..300_u32), 1..60)
    }

    fn forgets_nothing() -> Tuning {
        Tuning {
            half_life: 1e12,
            ..Tuning::default()
        }
    }

    proptest! {
        /// Looked at after every act, or now and then: as many reclaims are found, and as long
        /// waits up to what several reclaims between two looks round away.
        #[test]
        fn what_happened_between_looks_is_found_out(acts in acts(), always: bool) {
            let mut table = Table { slots: vec![None; 4], ..Table::default() };
            let (mut memory, mut model) = (Memory::new(64), Model::new());
            let tuning = forgets_nothing();
            // Of what comes and is reclaimed more than once before it is first seen, nothing is
            // known.
            (0..4).for_each(|place| table.act(place, Act::Use));
            memory.look(0, &table, &tuning, &mut model);
            // Several times between two looks only the sum of waits and uses is known: there, what
            // is reclaimed is offered at once.
            let mut unseen = 0;
            for (act, place, ticks) in acts {
                let act = match act {
                    Act::Turn if !always => Act::Use,
                    act => act,
                };
                table.pass(ticks);
                if !matches!(act, Act::Look) {
                    table.act(place, act);
                    unseen += 1;
                }
                if always || matches!(act, Act::Look) || unseen > BETWEEN_MAX {
                    memory.look(table.now_ticks, &table, &tuning, &mut model);
                    unseen = 0;
                }
            }
            memory.look(table.now_ticks, &table, &tuning, &mut model);
            let (reclaims, ticks) = model.totals();
            prop_assert_eq!(reclaims.round() as u32, table.reclaims);
            let rounded = if always { 0.5 } else { f64::from(BETWEEN_MAX * table.reclaims) + 0.5 };
            prop_assert!((ticks - f64::from(table.waited_ticks)).abs() <= rounded,
                "{ticks} {}", table.waited_ticks);
        }

        /// Of a large table a sample is watched, which does not depend on how the table grew.
        #[test]
        fn a_sample_is_watched(ends in prop::collection::vec(0..5000_u32, 1..6), most in 2..64_u32) {
            let mut ends = ends;
            ends.sort_unstable();
            let end = *ends.last().unwrap();
            let (mut grown, mut at_once) = (Memory::new(most), Memory::new(most));
            for end in ends {
                grown.widen(end);
            }
            at_once.widen(end);
            let slots = |memory: &Memory| memory.seen.iter().map(|s| s.slot).collect::<Vec<_>>();
            prop_assert_eq!(slots(&grown), slots(&at_once));
            prop_assert!(grown.seen.len() <= most as usize);
            prop_assert!(grown.seen.len() >= (most as usize / 2).min(end as usize));
            for (block, seen) in grown.seen.iter().enumerate() {
                prop_assert_eq!((seen.slot >> grown.level()) as usize, block);
            }
        }
    }

    #[test]
    fn another_allocation_in_the_slot_is_no_reclaim() {
        let mut table = Table {
            slots: vec![None],
            ..Table::default()
        };
        let (mut memory, mut model) = (Memory::new(64), Model::new());
        for _ in 0..100 {
            table.pass(10);
            table.act(0, Act::Replace);
            memory.look(table.now_ticks, &table, &forgets_nothing(), &mut model);
        }
        assert_eq!(model.totals().0, 0.0);
    }

    #[test]
    fn what_was_long_ago_counts_less() {
        let mut table = Table {
            slots: vec![None; 2],
            ..Table::default()
        };
        let (mut memory, mut model) = (Memory::new(64), Model::new());
        let tuning = Tuning {
            half_life: 50.0,
            ..Tuning::default()
        };
        // The other slot stays as it is: two allocations, so a half-life is 100 ticks.
        table.act(0, Act::Use);
        table.act(1, Act::Use);
        memory.look(0, &table, &tuning, &mut model);
        table.act(0, Act::Use);
        memory.look(0, &table, &tuning, &mut model);
        let before = model.totals().0;
        table.pass(200);
        memory.look(200, &table, &tuning, &mut model);
        let ratio = model.totals().0 / before;
        assert!((0.24..0.28).contains(&ratio), "{ratio}");
    }
}
