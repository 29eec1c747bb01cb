//! How soon allocations come back, measured by their own last interval instead of ticks. Seen this
//! way groups of short and of long intervals are alike, so that what is learned of any serves all:
//! it tells, long before each group has seen enough of its own, how those that were reclaimed
//! often differ from those reclaimed once.

use super::Tuning;
use super::ages::{BUCKETS, ByAge, LOG_WIDTH, middle_of};
use super::groups::{COUNTS, Group, INTERVALS};
use super::model::Tally;

/// Buckets of the ratio of an age to an interval, like those of ages.
const RATIOS: usize = BUCKETS + 2 * (INTERVALS - 1);

/// The bucket for an age bucket and the binary digits of an interval.
fn ratio(age: usize, interval: usize) -> usize {
    age + 2 * (INTERVALS - 1 - interval)
}

/// The chance of a reclaim while the age grows by a factor of e.
type ByRatio = [f64; RATIOS];

/// Of those reclaimed as often as each count says, and of all.
#[derive(Debug)]
pub(super) struct Profiles {
    of_count: [ByRatio; COUNTS],
    of_all: ByRatio,
}

/// What is assumed of counts before anything was seen: each step makes a reclaim so much likelier.
const LIKELIER_BY_STEP: f64 = 1.1;
/// That counts as if so many had been seen, and more than for a group: a profile is seen by far more.
const COUNT_WEIGHT: f64 = 200.0;
/// The prior counts in the profile of all as if so many had been seen.
const ALL_WEIGHT: f64 = 40.0;

/// What was seen by ratio.
#[derive(Debug, Clone, Copy)]
struct Seen {
    reclaims: ByRatio,
    /// How many passed through, times how much of a factor of e each bucket is.
    folds: ByRatio,
}

impl Seen {
    const NOTHING: Seen = Seen {
        reclaims: [0.0; RATIOS],
        folds: [0.0; RATIOS],
    };

    fn add(&mut self, tally: &Tally, interval: usize) {
        for age in 0..BUCKETS {
            let ratio = ratio(age, interval);
            self.reclaims[ratio] += tally.reclaims[age];
            self.folds[ratio] += tally.ticks[age] / middle_of(age);
        }
    }

    fn towards(&self, assumed: impl Fn(usize) -> f64, weight: f64) -> ByRatio {
        let weight = weight * LOG_WIDTH;
        std::array::from_fn(|ratio| {
            (self.reclaims[ratio] + assumed(ratio) * weight) / (self.folds[ratio] + weight)
        })
    }
}

impl Profiles {
    pub(super) fn of<'t>(tally: impl Fn(Group) -> Option<&'t Tally>, tuning: &Tuning) -> Self {
        let mut of_count = [Seen::NOTHING; COUNTS];
        let mut of_all = Seen::NOTHING;
        for (count, seen) in of_count.iter_mut().enumerate() {
            for interval in 0..INTERVALS {
                for tally in Group::alike(count, interval).into_iter().filter_map(&tally) {
                    seen.add(tally, interval);
                    of_all.add(tally, interval);
                }
            }
        }
        let of_all = of_all.towards(|_| tuning.prior_per_fold(), ALL_WEIGHT);
        let mut likelier = 1.0;
        let of_count = of_count.map(|seen| {
            likelier *= LIKELIER_BY_STEP;
            seen.towards(|ratio| of_all[ratio] * likelier, COUNT_WEIGHT)
        });
        Profiles { of_count, of_all }
    }

    /// What hazards of all with an interval say of those reclaimed as often.
    pub(super) fn bend(&self, hazards: &ByAge, count: usize, interval: usize) -> ByAge {
        std::array::from_fn(|age| {
            let ratio = ratio(age, interval);
            hazards[age] * self.of_count[count][ratio] / self.of_all[ratio]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::ages::{bucket_of, width_of};
    use super::*;

    /// What was seen of those reclaimed twice, with a last interval of `bits` digits: so many came
    /// back, each when it was as old as `times` its interval.
    fn seen(bits: usize, reclaims: f64, times: u32) -> (Group, Tally) {
        let age = bucket_of((1 << (bits - 1)) * times);
        let mut tally = Tally::EMPTY;
        for earlier in 0..=age {
            tally.ticks[earlier] = width_of(earlier) * reclaims;
        }
        tally.reclaims[age] = reclaims;
        (Group::alike(1, bits)[0], tally)
    }

    #[test]
    fn what_is_seen_of_short_intervals_tells_of_long_ones() {
        let (group, tally) = seen(4, 10_000.0, 2);
        let profiles = Profiles::of(|g| (g == group).then_some(&tally), &Tuning::default());
        for bits in [4, 8, 12] {
            let age = bucket_of(2 << (bits - 1));
            assert!(profiles.of_all[ratio(age, bits)] > 1.0, "all know it");
            let bent = |count: usize| profiles.bend(&[1.0; BUCKETS], count, bits)[age];
            // All that was seen is of this count; of others only what is assumed anyway.
            assert!((bent(1) - 1.0).abs() < 0.1, "{}", bent(1));
            let assumed = LIKELIER_BY_STEP.powi(4);
            assert!((bent(3) / assumed - 1.0).abs() < 0.01, "{}", bent(3));
        }
    }

    #[test]
    fn with_nothing_seen_each_step_is_likelier() {
        let profiles = Profiles::of(|_| None, &Tuning::default());
        let mut before = 1.0;
        for count in 0..COUNTS {
            let bent = profiles.bend(&[1.0; BUCKETS], count, 9);
            assert!(bent.iter().all(|h| (h / bent[0] - 1.0).abs() < 1e-9));
            assert!((bent[0] / before - LIKELIER_BY_STEP).abs() < 1e-9);
            before = bent[0];
        }
    }
}
