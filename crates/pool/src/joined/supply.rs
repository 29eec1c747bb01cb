//! What this process tells of itself: what it could give, by class and rank, and what it holds.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime};

use vidmm_arena::{Extent, Kernel};
use vidmm_machine::Reason;
use vidmm_policy::{PLACES, Rank, Ranks};
use vidmm_table::{Slot, State};
use vidmm_wire::{ClassFigures, Discard, Figures, STEPS_MAX, Step, Supply};

use crate::pool::Pool;
use crate::room::positive;
use crate::stats::{ClassBytes, Stats};
use crate::victims::{Key, age, candidate, key_of, key_of_resource};

/// What is offered in one class, by rank.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    bytes: u64,
    highest_rank: u32,
    idle_ms: u32,
}

/// A class's curve while it is made.
#[derive(Debug, Clone)]
struct Curve {
    /// By place on the policy's scale.
    places: Vec<Place>,
    bytes: u64,
}

impl Curve {
    fn new() -> Self {
        Curve {
            places: vec![Place::default(); PLACES],
            bytes: 0,
        }
    }

    fn add(&mut self, rank: u32, place: usize, bytes: u64, idle_ms: u32) {
        let Some(place) = self.places.get_mut(place) else {
            return;
        };
        place.idle_ms = match place.bytes {
            0 => idle_ms,
            _ => place.idle_ms.min(idle_ms),
        };
        place.highest_rank = place.highest_rank.max(rank);
        place.bytes += bytes;
        self.bytes += bytes;
    }

    /// At most [`STEPS_MAX`] steps of about equal size, lowest ranks first.
    fn steps(&self) -> Vec<Step> {
        // Each but the last has at least so many bytes: there cannot be more than so many.
        let each = self.bytes.div_ceil(STEPS_MAX as u64);
        let mut steps: Vec<Step> = Vec::new();
        let mut is_full = true;
        for place in self.places.iter().filter(|place| place.bytes > 0) {
            let bytes = match steps.last_mut() {
                Some(last) if !is_full => {
                    last.rank = last.rank.max(place.highest_rank);
                    last.idle_ms = last.idle_ms.min(place.idle_ms);
                    last.bytes += place.bytes;
                    last.bytes
                }
                _ => {
                    steps.push(Step {
                        rank: place.highest_rank,
                        idle_ms: place.idle_ms,
                        bytes: place.bytes,
                    });
                    place.bytes
                }
            };
            is_full = bytes >= each;
        }
        steps
    }
}

/// So many points are remembered.
const POINTS_MAX: usize = 64;
/// Points are at least so far apart, in milliseconds.
const POINT_MS: u64 = 10;

/// When the miss clock was where: what turns a stamp into a time, for comparing what different
/// processes have offered. Written on slow paths only.
#[derive(Debug)]
pub(super) struct Times {
    began: Instant,
    /// Ticks, and the microseconds at which the clock had come to them; oldest first.
    points: Vec<(u32, u64)>,
    /// What ranked the newest supplies, by their ticks: an order that names ranks means these.
    told: VecDeque<(u32, Ranks)>,
}

/// An order that is older than so many supplies finds the ranks of now.
const TOLD_MAX: usize = 8;

/// Between points that are at most so far apart, in microseconds, ticks are taken to be even.
const EVEN_US: u64 = 100_000;

impl Default for Times {
    fn default() -> Self {
        Times {
            began: Instant::now(),
            points: Vec::with_capacity(POINTS_MAX),
            told: VecDeque::with_capacity(TOLD_MAX),
        }
    }
}

impl Times {
    fn now_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Whether it is time for another point. Then what the clock says, just ticked, is to be noted:
    /// what was stamped less was offered before now.
    pub(super) fn is_due(&self) -> bool {
        let last = self.points.last();
        last.is_none_or(|&(_, at_us)| self.now_us() >= at_us.saturating_add(POINT_MS * 1000))
    }

    pub(super) fn note(&mut self, now_ticks: u32) {
        if self.points.len() == POINTS_MAX {
            // The far past needs no more than every other point.
            let mut place = 0;
            self.points.retain(|_| {
                place += 1;
                place > POINTS_MAX / 2 || place % 2 == 1
            });
        }
        self.points.push((now_ticks, self.now_us()));
    }

    /// For how many milliseconds something has been offered that was stamped so many ticks before
    /// now: since the clock went on from its stamp, at the latest.
    fn idle_ms(&self, age_ticks: u32, now: (u32, u64)) -> f64 {
        let (now_ticks, now_us) = now;
        let since = |ticks: u32| age(now_ticks, ticks);
        let passed = age_ticks.saturating_sub(1);
        // From some point on all are later than that.
        let later = self
            .points
            .partition_point(|&(ticks, _)| since(ticks) >= passed);
        let earlier = later.checked_sub(1).and_then(|at| self.points.get(at));
        let later = self.points.get(later).copied().unwrap_or(now);
        let gone_us = match earlier {
            Some(&(ticks, at_us)) if since(ticks) == passed => at_us,
            Some(&(ticks, at_us)) if later.1.saturating_sub(at_us) <= EVEN_US => {
                let all = u64::from(since(ticks) - since(later.0)).max(1);
                let part = u64::from(since(ticks) - passed);
                at_us + (later.1 - at_us) * part / all
            }
            _ => later.1,
        };
        // Of a time, all digits do not matter.
        #[allow(clippy::cast_precision_loss)]
        let idle_ms = now_us.saturating_sub(gone_us) as f64 / 1000.0;
        idle_ms
    }
}

impl<K: Kernel> Pool<K> {
    /// Ticks the miss clock, so that what is touched from now on can be told from what was before,
    /// and says what it shows now. At times it is noted when that was.
    pub(super) fn note_time(&self) -> u32 {
        let mut times = self.link.times();
        let now_ticks = self.signals.tick();
        self.link.own_ticks.fetch_add(1, Ordering::Relaxed);
        if times.is_due() {
            times.note(now_ticks);
        }
        now_ticks
    }

    /// What ranked the supply of that time.
    pub(crate) fn told_ranks(&self, as_of_ticks: u32) -> Ranks {
        let told = {
            let times = self.link.times();
            let told = times.told.iter().rev().find(|told| told.0 == as_of_ticks);
            told.map(|(_, ranks)| ranks.clone())
        };
        told.unwrap_or_else(|| self.ranks(as_of_ticks))
    }

    /// What could be given back, by a scan of the table.
    pub(super) fn offered_supply(&self) -> Supply {
        let mut supply = Supply {
            as_of: self.note_time(),
            unused_bytes: positive(self.room.left_bytes()),
            warm_bytes: self.arena.stats().warm_bytes,
            ..Supply::default()
        };
        if self.discards_forbidden.load(Ordering::Relaxed) {
            return supply;
        }
        let mut curves = [Curve::new(), Curve::new(), Curve::new()];
        let mut groups: BTreeMap<u32, (Key, u64, u32)> = BTreeMap::new();
        let shared = self.look_at_shared();
        let now_ticks = supply.as_of;
        let ranks = self.ranks(now_ticks);
        let mut times = self.link.times();
        if times.told.len() == TOLD_MAX {
            times.told.pop_front();
        }
        times.told.push_back((now_ticks, ranks.clone()));
        let (times, ranks) = (&*times, &ranks);
        let now = (now_ticks, times.now_us());
        let since = |ticks| times.idle_ms(ticks, now);
        let idle_ms = |slot: &Slot, bytes| {
            let idle_ms = ranks.idle_ms(&candidate(slot, now_ticks, bytes), &since);
            // As much as fits.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let idle_ms = idle_ms as u32;
            idle_ms
        };
        let mut add = |key: Key, bytes, idle_ms| {
            let place = ranks.place(Rank(key.rank()));
            if let Some(curve) = curves.get_mut(key.class() as usize) {
                curve.add(key.rank(), place, bytes, idle_ms);
            }
        };
        for victim in &shared.victims {
            let (class, bytes) = (victim.class, victim.bytes);
            let key = key_of_resource(class, &victim.slots, ranks, now_ticks, bytes);
            let youngest = victim.slots.iter().map(|slot| idle_ms(slot.slot(), bytes));
            add(key, bytes, youngest.min().unwrap_or(0));
        }
        self.table.scan(|_, slot| {
            let word = slot.word();
            if word.state() != State::Offered {
                return;
            }
            let extent = Extent::from_word(slot.extent().0);
            if extent.is_foreign() {
                return;
            }
            let bytes = self.arena.charge_bytes(extent);
            let key = key_of(word, slot, ranks, now_ticks, bytes);
            let idle_ms = idle_ms(slot, bytes);
            if slot.resource() != 0 {
                // One victim, in the highest class of its members.
                let (highest, sum, youngest_ms) =
                    groups.entry(slot.resource()).or_insert((key, 0, idle_ms));
                *highest = (*highest).max(key);
                *sum += bytes;
                *youngest_ms = (*youngest_ms).min(idle_ms);
            } else {
                add(key, bytes, idle_ms);
            }
        });
        for (key, bytes, idle_ms) in groups.into_values() {
            add(key, bytes, idle_ms);
        }
        supply.classes = curves.each_ref().map(Curve::steps);
        supply
    }

    /// The newest discards as the manager hears of them.
    pub(super) fn told_discards(&self, most: u32) -> Vec<Discard> {
        let most = (most as usize).min(vidmm_wire::DISCARDS_PER_MESSAGE_MAX);
        let newest = self.newest_discards(most);
        newest
            .iter()
            .map(|discard| Discard {
                number: discard.number,
                at_ms: discard
                    .at
                    .duration_since(SystemTime::UNIX_EPOCH)
                    .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0)),
                allocation: discard.allocation.raw(),
                bytes: discard.bytes,
                class: discard.class as u8,
                rank: discard.rank,
                reason: reason_number(discard.reason),
                beneficiary_pid: discard.beneficiary_pid,
                order: discard.order,
            })
            .collect()
    }
}

/// A reason by its place in [`vidmm_wire::REASONS`].
fn reason_number(reason: Reason) -> u8 {
    let place = vidmm_wire::REASONS
        .iter()
        .position(|&name| name == reason.name());
    place
        .and_then(|place| u8::try_from(place).ok())
        .unwrap_or(0)
}

/// The reason of a number.
pub(super) fn reason_of(number: u8) -> Reason {
    let name = vidmm_wire::REASONS.get(usize::from(number));
    let is_it = |reason: &&Reason| name == Some(&reason.name());
    Reason::ALL
        .iter()
        .find(is_it)
        .copied()
        .unwrap_or(Reason::Budget)
}

fn told(class: ClassBytes) -> ClassFigures {
    ClassFigures {
        count: class.count,
        bytes: class.bytes,
    }
}

/// Statistics as the manager hears of them.
pub(super) fn figures_of(stats: &Stats, held_bytes: u64) -> Figures {
    Figures {
        held_bytes,
        committed: told(stats.committed),
        locked: told(stats.locked),
        offered: stats.offered.map(told),
        discarded_now: told(stats.discarded_now),
        warm_bytes: stats.warm_bytes,
        refused_bytes: stats.refused_bytes,
        discards: stats.discards.map(told),
        reclaims_intact: stats.reclaims_intact,
        reclaims_discarded: stats.reclaims_discarded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_has_all_bytes_in_few_steps_of_rising_rank() {
        let mut curve = Curve::new();
        for n in 0..1000_u32 {
            let rank = Rank(u32::MAX - n * n);
            let place = vidmm_policy::Policy::place(&vidmm_policy::OldestFirst, rank);
            curve.add(rank.0, place, 4096 * u64::from(n % 7 + 1), n);
        }
        let steps = curve.steps();
        assert!(steps.len() <= STEPS_MAX && steps.len() > STEPS_MAX / 2);
        assert_eq!(
            steps.iter().map(|step| step.bytes).sum::<u64>(),
            curve.bytes
        );
        assert!(steps.is_sorted_by(|a, b| a.rank < b.rank && a.idle_ms > b.idle_ms));
    }

    #[test]
    fn stamps_are_as_old_as_the_clock_says() {
        let times = Times {
            began: Instant::now(),
            points: vec![(10, 100_000), (20, 200_000), (30, 300_000)],
            ..Times::default()
        };
        let idle = |stamp: u32| times.idle_ms(35 - stamp, (35, 1_000_000));
        assert_eq!(idle(5), 900.0, "before the first point");
        assert_eq!(idle(9), 900.0, "until the clock came to 10");
        assert_eq!((idle(10), idle(14), idle(18)), (890.0, 850.0, 810.0));
        assert_eq!((idle(19), idle(29)), (800.0, 700.0));
        assert_eq!(idle(30), 0.0, "nothing is known since, for long");
        assert_eq!((idle(34), idle(35)), (0.0, 0.0));
        // Lately, ticks are taken to be even up to now.
        let lately = |stamp: u32| times.idle_ms(35 - stamp, (35, 350_000));
        assert_eq!((lately(29), lately(30), lately(33)), (50.0, 40.0, 10.0));
    }

    #[test]
    fn points_are_thinned_and_stay_in_order() {
        let mut times = Times::default();
        for ticks in 0..1000 {
            times.note(ticks);
            assert!(times.points.len() <= POINTS_MAX);
        }
        assert!(times.points.is_sorted());
        assert_eq!(times.points[0].0, 0);
    }

    #[test]
    fn reasons_have_the_numbers_of_the_messages() {
        for reason in Reason::ALL {
            assert_eq!(reason_of(reason_number(reason)), reason);
        }
        assert_eq!(vidmm_wire::REASONS.len(), Reason::ALL.len());
    }
}
