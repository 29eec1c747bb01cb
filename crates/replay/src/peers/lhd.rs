//! Least hit density.

use crate::mix::Draws;
use crate::{Cache, ObjectId, Outcome, Request};

mod model;

use model::{AGES, Model, NEW_OBJECT};

/// Candidates drawn for each victim.
const CANDIDATES: usize = 32;
/// Newcomers of low rank that are candidates as well.
const ADMISSIONS: usize = 8;
/// One object in so many becomes an explorer.
const EXPLORE_ONE_IN: u64 = 32;
/// The share of the cache for explorers.
const EXPLORER_SHARE: f64 = 0.01;
/// What an explorer's density is raised by: above all others, as none is above a hit per request.
const EXPLORER_BONUS: f64 = 1.0;
/// What the mean density of victims keeps with each further one.
const VICTIM_DECAY: f64 = 0.9;

/// Not in the cache.
const NOWHERE: u32 = u32::MAX;

/// An object in the cache.
#[derive(Debug, Clone, Copy)]
struct Tag {
    object: u32,
    explorer: bool,
    /// Its age, in the model's units, at its last hit and at the one before.
    last_hit_age: u32,
    last_but_one_hit_age: u32,
    /// The number of the last request for it.
    requested: u64,
    size_bytes: u64,
}

/// LHD: N. Beckmann, H. Chen, A. Cidon, "LHD: Improving Cache Hit Rate by Maximizing Hit Density",
/// NSDI 2018, with what the authors' program adds to the paper.
///
/// The hit density of an object is the number of hits that are expected of it over the room that it
/// is expected to take times how long: from the ages at which objects of its class were hit and
/// discarded. Of some objects drawn at random, the one of the least density goes. An object's class is
/// the logarithm of the sum of the ages at its last two hits.
///
/// **Parameters:** 16 classes of last hit ages, of one application; 20,000 ages, coarsened so that an
/// object lives about 200 of them if all were discarded in order; 32 candidates drawn (with
/// repetition) and the last 8 newcomers that looked worse than the average victim; one object in 32
/// is an explorer, kept until it is hit, as long as explorers take less than 1 % of the cache;
/// histograms decay by 0.9 at each reconfiguration; a seed. These are the authors' program's, which
/// differs in this: it reconfigures every 2^20 requests, for traces of hundreds of millions, here
/// every 2^14, so that shorter ones see a model at all; it coarsens ages at the fifth and the 25th
/// reconfiguration, from 2^10 requests on, here after the first as well and from single requests on; up
/// to the 50th it draws 8 candidates to save time, and after it no explorers, here neither changes.
///
/// **Objects of different sizes** are in the definition: densities are per byte. Each object is kept
/// at first.
#[derive(Debug)]
pub struct Lhd {
    tags: Vec<Tag>,
    /// By object, its place in `tags`.
    places: Vec<u32>,
    model: Model,
    draws: Draws,
    requests: u64,
    newcomers: [u32; ADMISSIONS],
    next_newcomer: usize,
    victim_density: f64,
    explorers_left_bytes: f64,
    used_bytes: u64,
    size_bytes: u64,
}

impl Lhd {
    /// A cache of so many bytes. Equal seeds make equal choices.
    #[must_use]
    pub fn new(size_bytes: u64, seed: u64) -> Self {
        Lhd {
            tags: Vec::new(),
            places: Vec::new(),
            model: Model::new(),
            draws: Draws::new(seed),
            requests: 0,
            newcomers: [NOWHERE; ADMISSIONS],
            next_newcomer: 0,
            victim_density: 0.0,
            explorers_left_bytes: EXPLORER_SHARE * size_bytes as f64,
            used_bytes: 0,
            size_bytes,
        }
    }

    fn place(&self, object: u32) -> Option<usize> {
        self.places
            .get(object as usize)
            .filter(|&&place| place != NOWHERE)
            .map(|&place| place as usize)
    }

    fn class(tag: &Tag) -> usize {
        Model::class(tag.last_hit_age.saturating_add(tag.last_but_one_hit_age))
    }

    /// Hits a request and byte that are to be expected of an object. Below all others if it is too
    /// old to tell.
    fn density(&self, tag: &Tag) -> f64 {
        let age = self.model.age(self.requests - tag.requested);
        if age == AGES - 1 {
            return f64::NEG_INFINITY;
        }
        let of_class = f64::from(self.model.density(Self::class(tag), age));
        let bonus = if tag.explorer { EXPLORER_BONUS } else { 0.0 };
        of_class / tag.size_bytes as f64 + bonus
    }

    /// The place of the next victim; there must be an object.
    fn victim(&mut self) -> usize {
        let mut victim = (f64::INFINITY, 0);
        for _ in 0..CANDIDATES {
            let place = self.draws.below(self.tags.len());
            let density = self.density(&self.tags[place]);
            if density < victim.0 {
                victim = (density, place);
            }
        }
        for newcomer in self.newcomers {
            if let Some(place) = self.place(newcomer) {
                let density = self.density(&self.tags[place]);
                if density < victim.0 {
                    victim = (density, place);
                }
            }
        }
        let (density, place) = victim;
        // One that is too old says nothing of how good victims are.
        if density.is_finite() {
            self.victim_density *= VICTIM_DECAY;
            self.victim_density += (1.0 - VICTIM_DECAY) * density;
        }
        place
    }

    fn discard(&mut self) {
        let place = self.victim();
        let tag = self.tags.swap_remove(place);
        self.places[tag.object as usize] = NOWHERE;
        if let Some(moved) = self.tags.get(place) {
            // Places are fewer than objects, which are 32-bit numbers.
            self.places[moved.object as usize] = u32::try_from(place).unwrap_or(NOWHERE);
        }
        let age = self.model.age(self.requests - tag.requested);
        self.model.discarded(Self::class(&tag), age);
        self.used_bytes -= tag.size_bytes;
        if tag.explorer {
            self.explorers_left_bytes += tag.size_bytes as f64;
        }
    }

    /// Makes the object at a place an explorer, or not.
    fn explore(&mut self, place: usize) -> bool {
        let drawn = self.draws.next().is_multiple_of(EXPLORE_ONE_IN);
        let tag = &mut self.tags[place];
        tag.explorer = drawn && self.explorers_left_bytes > 0.0;
        if tag.explorer {
            self.explorers_left_bytes -= tag.size_bytes as f64;
        }
        drawn
    }

    fn hit(&mut self, place: usize) {
        let tag = self.tags[place];
        let age = self.model.age(self.requests - tag.requested);
        self.model.hit(Self::class(&tag), age);
        if tag.explorer {
            self.explorers_left_bytes += tag.size_bytes as f64;
        }
        let tag = &mut self.tags[place];
        tag.last_but_one_hit_age = tag.last_hit_age;
        tag.last_hit_age = age;
        tag.requested = self.requests;
        self.explore(place);
    }

    fn miss(&mut self, object: u32, size_bytes: u64) {
        while self.used_bytes + size_bytes > self.size_bytes && !self.tags.is_empty() {
            self.discard();
        }
        let place = self.tags.len();
        self.places[object as usize] = u32::try_from(place).unwrap_or(NOWHERE);
        self.used_bytes += size_bytes;
        self.tags.push(Tag {
            object,
            explorer: false,
            last_hit_age: 0,
            last_but_one_hit_age: NEW_OBJECT,
            requested: self.requests,
            size_bytes,
        });
        if !self.explore(place) && self.density(&self.tags[place]) < self.victim_density {
            self.newcomers[self.next_newcomer] = object;
            self.next_newcomer = (self.next_newcomer + 1) % ADMISSIONS;
        }
    }
}

impl Cache for Lhd {
    fn request(&mut self, request: Request) -> Outcome {
        let ObjectId(object) = request.object;
        let index = request.object.index();
        if index >= self.places.len() {
            self.places.resize(index + 1, NOWHERE);
        }
        let found = self.place(object);
        match found {
            Some(place) => self.hit(place),
            None => self.miss(object, request.size_bytes),
        }
        self.requests += 1;
        self.model.tick(self.tags.len());
        match found {
            Some(_) => Outcome::Hit,
            None => Outcome::Miss,
        }
    }

    fn contains(&self, object: ObjectId) -> bool {
        self.place(object.0).is_some()
    }

    fn used_bytes(&self) -> u64 {
        self.used_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(lhd: &mut Lhd, object: u32, size_bytes: u64) {
        lhd.request(Request {
            time: 0,
            object: ObjectId(object),
            size_bytes,
            cost: 0.0,
        });
    }

    fn step(lhd: &mut Lhd, object: u32, size_bytes: u64) -> Vec<u32> {
        request(lhd, object, size_bytes);
        let mut cached: Vec<_> = lhd.tags.iter().map(|tag| tag.object).collect();
        cached.sort_unstable();
        cached
    }

    /// Before anything is learned the density is (class + 1) / (age + 1) / size. So few objects are all
    /// drawn each time. Each of these seeds, that is, but explorers would stay.
    #[test]
    fn victims_are_as_worked_by_hand() {
        let mut played = 0;
        for seed in 0..10 {
            let mut lhd = Lhd::new(20, seed);
            // At request 0; 1 is hit at age 1 and so is in the last class, 15.
            step(&mut lhd, 1, 4);
            step(&mut lhd, 1, 4);
            step(&mut lhd, 2, 2);
            step(&mut lhd, 3, 14);
            if lhd.tags.iter().any(|tag| tag.explorer) {
                continue;
            }
            played += 1;
            // At request 4 they are 3, 2 and 1 old: 16/4/4 = 1 for 1, 1/3/2 for 2, 1/2/14 for 3.
            assert_eq!(step(&mut lhd, 4, 14), [1, 2, 4]);
            // At request 5: 16/5/4 = 0.8, 1/4/2, and 1/2/14 for 4; then 0.8 and 0.125.
            assert_eq!(step(&mut lhd, 5, 16), [1, 5]);
        }
        assert!(played >= 5, "{played}");
    }

    #[test]
    fn explorers_stay_within_their_share_and_one() {
        let mut lhd = Lhd::new(1000, 3);
        let mut most = 0;
        for object in 0..20_000 {
            request(&mut lhd, object % 2_500, 1);
            let explorers = lhd.tags.iter().filter(|tag| tag.explorer);
            let bytes: u64 = explorers.map(|tag| tag.size_bytes).sum();
            assert!((lhd.explorers_left_bytes - (10.0 - bytes as f64)).abs() < 1e-9);
            most = most.max(bytes);
        }
        assert_eq!(most, 10);
    }
}
