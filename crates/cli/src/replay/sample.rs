//! A sample of a trace: some of its objects with all their requests, replayed with a cache that is
//! smaller by as much.
//!
//! **Source:** C. Waldspurger, N. Park, A. Garthwaite, I. Ahmad, *Efficient MRC construction with
//! SHARDS*, FAST 2015: objects are chosen by a hash that is below a threshold, which is the rate `R`
//! of all hashes; sizes of caches are scaled by `R`. Chance takes a few too many or too few of the
//! objects that everybody asks for. Its correction (SHARDS-adj) adds the difference between the
//! requests expected, `R` of all, and those sampled to the shortest distance, which is a hit in every
//! cache: what was missed in the sample is thus divided by `R` of all requests. The same is done with
//! bytes and costs.
//!
//! What is hashed is the number that an object has by its first appearance, so that it does not
//! matter how a trace names them.
//!
//! **The error.** The sample is cut, by the same hashes, into [`SLICES`] that have no object in
//! common, and each is replayed by itself as a sample of its own. What they differ among each other is
//! what chance does at their rate; the standard error of their mean is what it does to all of them
//! together. Small caches may do worse than large ones for other reasons than chance (few objects, and
//! large ones, in little room): by how much the mean of the slices is off the whole sample is added, as
//! the root of the sum of squares.

use std::collections::HashMap;

use vidmm_machine::Percent;
use vidmm_replay::{MOST_BYTES, MOST_OBJECTS, Misses, Requests};
use vidmm_tracefile::Access;

use crate::output::Failure;
use crate::replay::load::{Part, Parts, Totals, few_enough};
use crate::replay::report::Ratios;
use crate::replay::size::Rate;

/// Parts of a sample without an object in common.
pub(crate) const SLICES: usize = 8;

/// With `auto`, as many requests are kept at most: a second or so for each policy and size.
pub(crate) const KEPT_MAX: usize = 2_000_000;

/// Of every sample: the same trace gives the same figures.
pub(crate) const SALT: u32 = 1;

/// But with `auto` so many objects are kept at least, if there are as many: few say little.
const OBJECTS_MIN: usize = 4_096;

/// Which objects are in a sample: those whose hash is at most `most`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Threshold {
    most: u64,
    /// Another salt, another sample.
    salt: u32,
}

impl Threshold {
    fn all(salt: u32) -> Self {
        Threshold {
            most: u64::MAX,
            salt,
        }
    }

    fn of(share: Percent, salt: u32) -> Self {
        let below = (u128::from(share.millionths()) << 64) / 1_000_000;
        let most = u64::try_from(below.saturating_sub(1)).unwrap_or(u64::MAX);
        Threshold { most, salt }
    }

    fn is_all(self) -> bool {
        self.most == u64::MAX
    }

    fn half(self) -> Self {
        Threshold {
            most: self.most >> 1,
            ..self
        }
    }

    fn hash(self, object: u32) -> u64 {
        let salted = u64::from(self.salt) << 32 | u64::from(object);
        rapidhash::v3::rapidhash_v3(&salted.to_le_bytes())
    }

    /// The part of all objects.
    pub(crate) fn rate(self) -> f64 {
        self.below() as f64 / 2_f64.powi(64)
    }

    fn below(self) -> u128 {
        u128::from(self.most) + 1
    }

    /// The cache that is to a part's objects what a cache of `size_bytes` is to all; `parts` parts
    /// make up the sample.
    pub(crate) fn scaled(self, size_bytes: u64, parts: usize) -> u64 {
        // At most what came in.
        let scaled = (u128::from(size_bytes) * self.below()) >> 64;
        u64::try_from(scaled).unwrap_or(u64::MAX) / parts as u64
    }

    fn holds(self, object: u32) -> bool {
        self.hash(object) <= self.most
    }

    /// Which of the slices an object is in that is in the sample.
    fn slice(self, object: u32) -> usize {
        let slice = u128::from(self.hash(object)) * SLICES as u128 / self.below();
        usize::try_from(slice).map_or(0, |slice| slice.min(SLICES - 1))
    }
}

/// A sample in memory.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) threshold: Threshold,
    pub(crate) all: Part,
    pub(crate) slices: Vec<Part>,
}

#[derive(Debug, Clone, Copy)]
struct Kept {
    time: u64,
    object: u32,
    cost: Option<f32>,
}

/// Takes a sample out of a trace that it sees once.
#[derive(Debug)]
pub(crate) struct Sampler {
    threshold: Threshold,
    /// Halve the rate when more than so many requests are kept.
    kept_max: usize,
    numbers: HashMap<u64, u32>,
    /// By number.
    sizes_bytes: Vec<u64>,
    /// How many objects are in the sample.
    objects: usize,
    kept: Vec<Kept>,
    totals: Totals,
}

impl Sampler {
    /// One that keeps `kept_max` requests at most, if the rate is its own to choose.
    pub(crate) fn new(rate: Rate, kept_max: usize, salt: u32) -> Self {
        let (threshold, kept_max) = match rate {
            Rate::Share(share) => (Threshold::of(share, salt), usize::MAX),
            Rate::Auto => (Threshold::all(salt), kept_max),
        };
        Sampler {
            threshold,
            kept_max,
            numbers: HashMap::new(),
            sizes_bytes: Vec::new(),
            objects: 0,
            kept: Vec::new(),
            totals: Totals::default(),
        }
    }

    /// Sees an access.
    ///
    /// # Errors
    /// There are too many objects.
    pub(crate) fn see(&mut self, access: &Access) -> Result<(), Failure> {
        let sizes = &mut self.sizes_bytes;
        let known = sizes.len();
        let object = *self.numbers.entry(access.id).or_insert_with(|| {
            sizes.push(access.size_bytes.clamp(1, MOST_BYTES));
            // Room for it was seen to when the one before came.
            u32::try_from(known).unwrap_or(u32::MAX)
        });
        let is_new = sizes.len() > known;
        few_enough(sizes.len(), MOST_OBJECTS)?;
        self.totals.count(sizes[object as usize], access.cost);
        if self.threshold.holds(object) {
            self.objects += usize::from(is_new);
            self.kept.push(Kept {
                time: access.time,
                object,
                cost: access.cost,
            });
            while self.kept.len() > self.kept_max && self.objects >= 2 * OBJECTS_MIN {
                self.halve();
            }
        }
        Ok(())
    }

    fn halve(&mut self) {
        let threshold = self.threshold.half();
        self.threshold = threshold;
        self.kept.retain(|kept| threshold.holds(kept.object));
        let objects = 0..u32::try_from(self.sizes_bytes.len()).unwrap_or(u32::MAX);
        self.objects = objects.filter(|&object| threshold.holds(object)).count();
    }

    /// What is known of all, and the sample; all there is if that was little enough.
    pub(crate) fn finish(mut self) -> (Totals, Parts) {
        // not needed any more, and large
        self.numbers = HashMap::new();
        let add = |sum: u64, &size: &u64| sum.saturating_add(size);
        self.totals.objects = self.sizes_bytes.len() as u64;
        self.totals.footprint_bytes = self.sizes_bytes.iter().fold(0, add);
        self.totals.all_of_one_byte = self.totals.footprint_bytes == self.totals.objects;
        let mut all = Requests::default();
        let mut slices: Vec<Requests> = (0..SLICES).map(|_| Requests::default()).collect();
        for kept in &self.kept {
            let size_bytes = self.sizes_bytes[kept.object as usize];
            let id = u64::from(kept.object);
            all.push(kept.time, id, size_bytes, kept.cost);
            if !self.threshold.is_all() {
                let slice = self.threshold.slice(kept.object);
                slices[slice].push(kept.time, id, size_bytes, kept.cost);
            }
        }
        let parts = match self.threshold.is_all() {
            true => Parts::Whole(Part::new(all)),
            false => Parts::Sample(Sample {
                threshold: self.threshold,
                all: Part::new(all),
                slices: slices.into_iter().map(Part::new).collect(),
            }),
        };
        (self.totals, parts)
    }
}

/// An estimate and how far it may be off: one standard error.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Estimate {
    pub(crate) missed: Ratios,
    pub(crate) error: Ratios,
}

impl Estimate {
    /// From what the sample missed and what each of its slices missed.
    pub(crate) fn new(
        threshold: Threshold,
        totals: &Totals,
        all: &Misses,
        slices: &[Misses],
    ) -> Self {
        let rate = threshold.rate();
        let of = |total: f64, missed: fn(&Misses) -> f64| {
            let share = |misses: &Misses, rate: f64| missed(misses) / (rate * total);
            let estimate = share(all, rate);
            let slices: Vec<f64> = slices
                .iter()
                .map(|misses| share(misses, rate / SLICES as f64))
                .collect();
            (estimate.min(1.0), error(estimate, &slices, rate))
        };
        let requests = of(totals.requests as f64, |misses| misses.missed as f64);
        let bytes = of(totals.bytes as f64, |misses| misses.missed_bytes as f64);
        let cost = (totals.cost > 0.0).then(|| of(totals.cost, |misses| misses.missed_cost));
        Estimate {
            missed: Ratios {
                requests: requests.0,
                bytes: bytes.0,
                cost: cost.map(|(estimate, _)| estimate),
            },
            error: Ratios {
                requests: requests.1,
                bytes: bytes.1,
                cost: cost.map(|(_, error)| error),
            },
        }
    }
}

/// See the head of this module.
fn error(estimate: f64, slices: &[f64], rate: f64) -> f64 {
    let count = slices.len() as f64;
    let mean = slices.iter().sum::<f64>() / count;
    let squares: f64 = slices.iter().map(|slice| (slice - mean).powi(2)).sum();
    // What is not left to chance, because it is in the sample, cannot be off by chance.
    let by_chance = squares / (count - 1.0) / count * (1.0 - rate);
    (by_chance + (mean - estimate).powi(2)).sqrt()
}

#[cfg(test)]
#[path = "sample_tests.rs"]
mod tests;
