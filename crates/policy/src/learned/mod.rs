//! The policy that learns: how soon allocations with a like past are taken back, at every age, and
//! so which of them it pays least to hold.

mod ages;
mod gittins;
mod groups;
mod memory;
mod model;
mod profiles;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{Candidate, Policy, Rank, Ranks, Sightings};
use ages::place_in_bucket;
use groups::Group;
use memory::Memory;
use model::{Indices, Model};

/// The few numbers in the rule. Those of [`Tuning::default`] are for every program; others are for
/// finding out how much they matter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tuning {
    /// What is assumed before anything was seen: the chance of a reclaim while the age grows by half
    /// a doubling.
    pub prior_chance: f64,
    /// That counts as if so many had been seen at each age.
    pub prior_at_risk: f64,
    /// A group counts for itself as if so many of the group it is part of had been seen with it.
    pub weight: f64,
    /// What was seen counts half after as many ticks as there are allocations, times this.
    pub half_life: f64,
    /// At most so many allocations are watched; of more, an even sample.
    pub watched: u32,
}

impl Tuning {
    /// The same as a chance while the age grows by a factor of e.
    fn prior_per_fold(&self) -> f64 {
        self.prior_chance / ages::LOG_WIDTH
    }
}

impl Default for Tuning {
    fn default() -> Self {
        Tuning {
            prior_chance: 0.1,
            prior_at_risk: 3000.0,
            weight: 100.0,
            half_life: 4.0,
            watched: 1 << 16,
        }
    }
}

/// Discards first what it pays least to hold: see `docs/policy.md`.
#[derive(Debug)]
pub struct Learned {
    /// When it wants to look next, by the miss clock.
    due_ticks: AtomicU32,
    learner: Mutex<Learner>,
}

/// At least so many ticks lie between two looks that nobody asked for.
const LOOK_TICKS: u32 = 64;
/// Before a list it looks only if as many ticks have passed as there are slots, over this; of a
/// sample, over as much less as is left out, since each one watched then costs a cache miss.
const LIST_LOOK_PART: u32 = 256;
/// The indices are made anew after so many ticks, or half a percent of the allocations.
const FIT_TICKS: u32 = 50;

impl Default for Learned {
    fn default() -> Self {
        Learned::new(Tuning::default())
    }
}

impl Learned {
    /// One that knows nothing yet.
    #[must_use]
    pub fn new(tuning: Tuning) -> Self {
        let model = Model::new();
        let knows = Arc::new(Snapshot {
            indices: model.fit(&tuning),
            bytes_per_ns: 0.0,
        });
        Learned {
            due_ticks: AtomicU32::new(LOOK_TICKS),
            learner: Mutex::new(Learner {
                tuning,
                memory: Memory::new(tuning.watched),
                model,
                knows,
                is_stale: false,
                since_fit_ticks: 0,
                ticks: 0,
            }),
        }
    }

    fn look_with(&self, learner: &mut Learner, now_ticks: u32, sightings: &dyn Sightings) {
        let passed = learner
            .memory
            .look(now_ticks, sightings, &learner.tuning, &mut learner.model);
        learner.since_fit_ticks += u64::from(passed);
        learner.ticks += u64::from(passed);
        learner.is_stale = true;
        let next = LOOK_TICKS.max(learner.memory.end() / 2);
        self.due_ticks
            .store(now_ticks.wrapping_add(next), Ordering::Relaxed);
    }

    fn learner(&self) -> MutexGuard<'_, Learner> {
        // A panic can only have left numbers that are somewhat off.
        self.learner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What it learns with.
#[derive(Debug)]
struct Learner {
    tuning: Tuning,
    memory: Memory,
    model: Model,
    knows: Arc<Snapshot>,
    /// Something was seen that the snapshot does not know.
    is_stale: bool,
    since_fit_ticks: u64,
    /// How many have gone by since the first look.
    ticks: u64,
}

impl Learner {
    fn snapshot(&mut self) -> Arc<Snapshot> {
        let enough = u64::from(FIT_TICKS.max(self.memory.end() / 256));
        if self.is_stale && self.since_fit_ticks >= enough.min(self.ticks / 8) {
            self.knows = Arc::new(Snapshot {
                indices: self.model.fit(&self.tuning),
                bytes_per_ns: self.memory.bytes_per_ns(),
            });
            self.is_stale = false;
            self.since_fit_ticks = 0;
        }
        Arc::clone(&self.knows)
    }
}

impl Policy for Learned {
    fn name(&self) -> &'static str {
        "vidmm"
    }

    fn rank(&self, candidate: &Candidate) -> Rank {
        let knows = Arc::clone(&self.learner().knows);
        knows.rank(candidate)
    }

    fn snapshot(&self, now_ticks: u32, sightings: &dyn Sightings) -> Option<Ranks> {
        let mut learner = self.learner();
        let least = u64::from(sightings.end() / LIST_LOOK_PART) << learner.memory.level();
        if u64::from(learner.memory.ticks_since(now_ticks)) >= least {
            self.look_with(&mut learner, now_ticks, sightings);
        }
        Some(Ranks::learned(learner.snapshot()))
    }

    #[inline]
    fn wants_to_look(&self, now_ticks: u32) -> bool {
        let late = now_ticks.wrapping_sub(self.due_ticks.load(Ordering::Relaxed));
        late < u32::MAX / 2
    }

    fn look(&self, now_ticks: u32, sightings: &dyn Sightings) {
        self.look_with(&mut self.learner(), now_ticks, sightings);
    }

    fn bookkeeping_bytes(&self) -> u64 {
        let learner = self.learner();
        let bytes = learner.memory.bytes() + learner.model.bytes() + learner.knows.indices.bytes();
        bytes as u64
    }
}

/// What is known at one time.
#[derive(Debug)]
pub(crate) struct Snapshot {
    indices: Indices,
    /// How many bytes cost a nanosecond to rebuild, on average where it is known; 0 if nowhere.
    bytes_per_ns: f64,
}

/// The miss clock's pace is taken over at least so many ticks.
const PACE_TICKS: u32 = 8;
/// What is idle counts as idle for so many times longer, or shorter, at most.
const IDLE_FACTOR_MAX: f64 = 1024.0;

/// How dear a rebuild is, in nanoseconds a byte, where nothing is known of any: it only matters
/// beside processes where something is.
const USUAL_NS_PER_BYTE: f64 = 1.0;

impl Snapshot {
    /// Reclaims per tick held that an allocation is worth.
    #[inline]
    fn index(&self, candidate: &Candidate) -> f32 {
        let group = Group::of(&candidate.past);
        self.indices.of(group, candidate.age_ticks)
    }

    /// How dear a rebuild is, against the average of those here whose cost is known.
    #[inline]
    fn dearness(&self, candidate: &Candidate) -> f32 {
        let cost_ns = candidate.past.rebuild_cost_ns;
        if cost_ns > 0.0 && self.bytes_per_ns > 0.0 {
            // Of a size, all digits do not matter.
            #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
            let dearness = (f64::from(cost_ns) / candidate.charge_bytes.max(1) as f64
                * self.bytes_per_ns) as f32;
            dearness
        } else {
            1.0
        }
    }
}

impl Policy for Snapshot {
    fn name(&self) -> &'static str {
        "vidmm"
    }

    /// The time in which it can be expected to pay, as if the chance of a reclaim were the inverse of
    /// the age everywhere: then it is the age.
    fn idle_ms(&self, candidate: &Candidate, since: &dyn Fn(u32) -> f64) -> f64 {
        let ns_per_byte = if self.bytes_per_ns > 0.0 {
            1.0 / self.bytes_per_ns
        } else {
            USUAL_NS_PER_BYTE
        };
        let worth = f64::from(self.index(candidate))
            * f64::from(self.dearness(candidate))
            * (ns_per_byte / USUAL_NS_PER_BYTE);
        // Fewer ticks do not tell how long a tick takes.
        let ticks = candidate.age_ticks.max(PACE_TICKS);
        let factor = 1.0 / (worth * f64::from(ticks));
        since(ticks) * factor.clamp(1.0 / IDLE_FACTOR_MAX, IDLE_FACTOR_MAX)
    }

    #[inline]
    fn rank(&self, candidate: &Candidate) -> Rank {
        if candidate.age_ticks == 0 {
            // Offered since the list was made, or anew.
            return Rank(u32::MAX);
        }
        let index = self.index(candidate);
        let worth = if candidate.past.rebuild_cost_ns > 0.0 {
            (index * self.dearness(candidate)).min(f32::MAX)
        } else {
            index
        };
        // Not below 0, so its bits are in the order of numbers, and the first of them is 0. The
        // last bits tell apart what is worth the same: the older goes first.
        let bits = worth.to_bits() >> 7;
        Rank(bits << 8 | (255 - place_in_bucket(candidate.age_ticks)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Past;

    #[test]
    fn idle_times_compare_whatever_the_pace_of_a_clock_is() {
        let knows = Learned::default().learner().snapshot();
        let idle_ms = |age_ticks, tick_ms: f64| {
            let candidate = Candidate {
                age_ticks,
                past: Past::default(),
                charge_bytes: 4096,
            };
            knows.idle_ms(&candidate, &|ticks| f64::from(ticks) * tick_ms)
        };
        // Nothing is known, so it goes with the age, in milliseconds and not in ticks: to the size of
        // a bucket, half a doubling, so doublings are compared.
        let (slow, fast) = (idle_ms(128, 1.0), idle_ms(1024, 0.125));
        assert!((0.9..1.1).contains(&(slow / fast)), "{slow} {fast}");
        let older = idle_ms(4096, 0.125);
        assert!((3.6..4.4).contains(&(older / fast)), "{older} {fast}");
        // Also what was offered just now counts for something: it may never pay.
        assert!(idle_ms(1, 0.125) > 0.0);
    }
}
