//! Least frequently used of those let in, with a window before the door.

use super::list::Lists;
use super::share;
use super::sketch::Sketch;
use crate::mix::Draws;
use crate::{Cache, ObjectId, Outcome, Request};

/// New objects, in order of use.
const WINDOW: usize = 0;
/// Let in, and not used since, in order of coming.
const PROBATION: usize = 1;
/// Used after they were let in, in order of use.
const PROTECTED: usize = 2;

/// A loser asked for at least so often is let in all the same, once in so many times.
const LUCKY_FREQUENCY: u64 = 6;
const LUCKY_ONE_IN: u64 = 128;

/// A step of the climb at first, as a share of the cache.
const STEP: f64 = 0.0625;
/// What each step is of the one before.
const STEP_DECAY: f64 = 0.98;
/// A change of the hit ratio after which steps start anew.
const RESTART: f64 = 0.05;

/// W-TinyLFU: G. Einziger, R. Friedman, B. Manes, "TinyLFU: A Highly Efficient Cache Admission Policy",
/// ACM Transactions on Storage 13(4), 2017; the window's share found by hill climbing as in G. Einziger,
/// O. Eytan, R. Friedman, B. Manes, "Adaptive Software Cache Management", Middleware 2018, with the
/// constants of their library, Caffeine.
///
/// A new object joins the window, which is least recently used. What falls out of it is let into the
/// main part if it was asked for more often, lately, than the main part's victim; else it is
/// discarded. The main part is a segmented LRU. How often anything was asked for, in the cache or not,
/// is counted in a sketch.
///
/// **Parameters:** window 1 % of the cache at first, 80 % of the rest protected; counters of 4 bits,
/// 16 for each object in the cache (the sketch grows with their most), no doorkeeper, halved every 10
/// requests for each object that the sketch is made for. After each such sample of requests the
/// window moves by a step if that helped the hit ratio or back if not; the steps are 6.25 % of the
/// cache at first, each 0.98 of the last, and start anew when the ratio changes by 0.05 or more; what
/// the window gains the protected part loses. Climbing begins when the cache is half full.
/// One in 128 losers that were asked for 6 times or more is let in all the same, as in Caffeine (there
/// against attackers); it matters where the counters of many are full. Those draws are the same for
/// every cache.
///
/// **Objects of different sizes:** all lengths are bytes, and whom a newcomer displaces is as in G.
/// Einziger, O. Eytan, R. Friedman, B. Manes, "Lightweight Robust Size Aware Cache Management", ACM
/// Transactions on Storage 18(3), 2022, called aggregated victims there: the victims that would make
/// room for it, least recently used first and probation before protection, must together have been
/// asked for less often than it. One that loses is discarded and the victims stay where they are. So a
/// large object may be declined, and one larger than the window is judged as soon as it comes. The
/// main part may have what the window does not use; a newcomer to the window takes it back, again from
/// the main part's victims. An object larger than the protected part stays on probation.
#[derive(Debug)]
pub struct WTinyLfu {
    lists: Lists<3>,
    /// In the cache.
    objects: usize,
    sketch: Sketch,
    draws: Draws,
    window_max_bytes: u64,
    protected_max_bytes: u64,
    climb: Climb,
    /// What fell out of the window and is to be judged, and victims; empty between requests.
    candidates: Vec<(ObjectId, u64)>,
    victims: Vec<ObjectId>,
    size_bytes: u64,
}

/// Where the window's share goes.
#[derive(Debug)]
struct Climb {
    requests: u64,
    hits: u64,
    last_hit_ratio: f64,
    /// Bytes; below 0 the window shrinks.
    step: f64,
    /// What the window still is to grow by.
    due: f64,
}

impl WTinyLfu {
    /// A cache of so many bytes.
    #[must_use]
    pub fn new(size_bytes: u64) -> Self {
        let main = share(size_bytes, 99);
        WTinyLfu {
            lists: Lists::new(),
            objects: 0,
            sketch: Sketch::new(),
            draws: Draws::new(0),
            window_max_bytes: size_bytes - main,
            protected_max_bytes: share(main, 80),
            climb: Climb {
                requests: 0,
                hits: 0,
                last_hit_ratio: 0.0,
                step: -STEP * size_bytes as f64,
                due: 0.0,
            },
            candidates: Vec::new(),
            victims: Vec::new(),
            size_bytes,
        }
    }

    fn hit(&mut self, object: ObjectId, list: usize) {
        match list {
            PROBATION if self.lists.size_bytes(object) <= self.protected_max_bytes => {
                self.lists.renew(PROTECTED, object);
                self.demote();
            }
            list => self.lists.renew(list, object),
        }
    }

    /// Puts what is too much in the protected part on probation.
    fn demote(&mut self) {
        while self.lists.bytes(PROTECTED) > self.protected_max_bytes {
            let Some(object) = self.lists.oldest(PROTECTED) else {
                return;
            };
            self.lists.renew(PROBATION, object);
        }
    }

    fn miss(&mut self, request: &Request) {
        self.objects += 1;
        self.lists.put(WINDOW, request);
        let mut candidates = std::mem::take(&mut self.candidates);
        while self.lists.bytes(WINDOW) > self.window_max_bytes {
            let Some(oldest) = self.lists.oldest(WINDOW) else {
                break;
            };
            candidates.push((oldest, self.lists.size_bytes(oldest)));
            self.lists.remove(oldest);
        }
        // The window takes back what the main part had of its share.
        while self.used_bytes() > self.size_bytes {
            let victim = self.lists.pop(PROBATION);
            if victim.or_else(|| self.lists.pop(PROTECTED)).is_none() {
                break;
            }
            self.objects -= 1;
        }
        for (candidate, size_bytes) in candidates.drain(..) {
            if !self.judge(candidate, size_bytes) {
                self.objects -= 1;
            }
        }
        self.candidates = candidates;
        self.sketch.grow(self.objects);
    }

    /// Lets an object that has left the window into the main part, or not; says which.
    fn judge(&mut self, candidate: ObjectId, size_bytes: u64) -> bool {
        let mut room = self.size_bytes - self.used_bytes();
        if room < size_bytes {
            let frequency = self.sketch.frequency(candidate);
            let lucky =
                frequency >= LUCKY_FREQUENCY && self.draws.next().is_multiple_of(LUCKY_ONE_IN);
            let mut of_victims = 0;
            self.victims.clear();
            let mut next = self.lists.oldest(PROBATION);
            let mut protected_too = false;
            while room < size_bytes {
                let Some(victim) = next else {
                    if protected_too {
                        break;
                    }
                    protected_too = true;
                    next = self.lists.oldest(PROTECTED);
                    continue;
                };
                of_victims += self.sketch.frequency(victim);
                if of_victims >= frequency && !lucky {
                    return false;
                }
                self.victims.push(victim);
                room += self.lists.size_bytes(victim);
                next = self.lists.newer(victim);
            }
            // The window alone may be in the way; it was used later and is not for the taking.
            if room < size_bytes {
                return false;
            }
            for &victim in &self.victims {
                self.lists.remove(victim);
            }
            self.objects -= self.victims.len();
        }
        self.lists.insert(PROBATION, candidate, size_bytes);
        true
    }

    /// Counts for the climb, and moves the window if that is due.
    fn climb(&mut self, hit: bool) {
        if self.used_bytes() < self.size_bytes / 2 {
            return;
        }
        let climb = &mut self.climb;
        climb.requests += 1;
        climb.hits += u64::from(hit);
        if climb.requests >= self.sketch.sample() {
            let hit_ratio = climb.hits as f64 / climb.requests as f64;
            let change = hit_ratio - climb.last_hit_ratio;
            let moved = if change >= 0.0 {
                climb.step
            } else {
                -climb.step
            };
            climb.step = if change.abs() >= RESTART {
                (STEP * self.size_bytes as f64).copysign(moved)
            } else {
                STEP_DECAY * moved
            };
            climb.due = moved.trunc();
            climb.last_hit_ratio = hit_ratio;
            (climb.requests, climb.hits) = (0, 0);
        }
        if self.climb.due > 0.0 {
            self.widen();
        } else if self.climb.due < 0.0 {
            self.narrow();
        }
    }

    /// Gives the window what the protected part has to give, in whole objects from the main part.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // above 0, a share of a `u64`
    fn widen(&mut self) {
        let mut quota = (self.climb.due as u64).min(self.protected_max_bytes);
        if quota == 0 {
            return;
        }
        self.protected_max_bytes -= quota;
        self.window_max_bytes += quota;
        self.demote();
        loop {
            let fits = |object: &ObjectId| self.lists.size_bytes(*object) <= quota;
            let probation = self.lists.oldest(PROBATION).filter(fits);
            let Some(object) = probation.or_else(|| self.lists.oldest(PROTECTED).filter(fits))
            else {
                break;
            };
            quota -= self.lists.size_bytes(object);
            self.lists.renew(WINDOW, object);
        }
        self.protected_max_bytes += quota;
        self.window_max_bytes -= quota;
        self.climb.due = quota as f64;
    }

    /// Takes from the window, in whole objects.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // above 0, a share of a `u64`
    fn narrow(&mut self) {
        let mut quota = (-self.climb.due as u64).min(self.window_max_bytes.saturating_sub(1));
        if quota == 0 {
            return;
        }
        self.protected_max_bytes += quota;
        self.window_max_bytes -= quota;
        while let Some(object) = self.lists.oldest(WINDOW) {
            let size_bytes = self.lists.size_bytes(object);
            if size_bytes > quota {
                break;
            }
            quota -= size_bytes;
            self.lists.renew(PROBATION, object);
        }
        self.protected_max_bytes -= quota;
        self.window_max_bytes += quota;
        self.climb.due = -(quota as f64);
    }
}

impl Cache for WTinyLfu {
    fn request(&mut self, request: Request) -> Outcome {
        self.sketch.record(request.object);
        self.lists.know(request.object);
        let found = self.lists.list_of(request.object);
        match found {
            Some(list) => self.hit(request.object, list),
            None => self.miss(&request),
        }
        self.climb(found.is_some());
        match found {
            Some(_) => Outcome::Hit,
            None => Outcome::Miss,
        }
    }

    fn contains(&self, object: ObjectId) -> bool {
        self.lists.list_of(object).is_some()
    }

    fn used_bytes(&self) -> u64 {
        (WINDOW..=PROTECTED)
            .map(|list| self.lists.bytes(list))
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requests an object, and shows window, probation and protected part, newest first.
    fn step(cache: &mut WTinyLfu, object: u32, size_bytes: u64) -> [Vec<u32>; 3] {
        cache.request(Request {
            time: 0,
            object: ObjectId(object),
            size_bytes,
            cost: 0.0,
        });
        [WINDOW, PROBATION, PROTECTED].map(|list| cache.lists.newest_first(list))
    }

    fn lists<const N: usize>(lists: [&[u32]; N]) -> [Vec<u32>; N] {
        lists.map(<[u32]>::to_vec)
    }

    /// 4 pages: a window of 1, and 3 of which 2 are protected.
    #[test]
    fn pages_are_as_worked_by_hand() {
        let mut cache = WTinyLfu::new(4);
        let steps: [(u32, [&[u32]; 3]); 11] = [
            (1, [&[1], &[], &[]]),
            // While there is room, all that falls out of the window is let in.
            (2, [&[2], &[1], &[]]),
            (3, [&[3], &[2, 1], &[]]),
            (4, [&[4], &[3, 2, 1], &[]]),
            // 4, asked for once, is not asked for more often than 1, the victim.
            (5, [&[5], &[3, 2, 1], &[]]),
            (2, [&[5], &[3, 1], &[2]]),
            // Nor is 5.
            (4, [&[4], &[3, 1], &[2]]),
            // But 4 is now.
            (6, [&[6], &[4, 3], &[2]]),
            (3, [&[6], &[4], &[3, 2]]),
            // 3 are too many to be protected: 2 is on probation again.
            (4, [&[6], &[2], &[4, 3]]),
            (6, [&[6], &[2], &[4, 3]]),
        ];
        for (object, expected) in steps {
            assert_eq!(step(&mut cache, object, 1), lists(expected), "{object}");
        }
    }

    /// 100 bytes: a window of 1, and 99 of which 79 are protected.
    #[test]
    fn a_large_one_must_be_worth_all_that_it_displaces() {
        let mut cache = WTinyLfu::new(100);
        assert_eq!(step(&mut cache, 1, 40), lists([&[], &[1], &[]]));
        assert_eq!(step(&mut cache, 2, 40), lists([&[], &[2, 1], &[]]));
        // It would take the place of 1, as often asked for.
        assert_eq!(step(&mut cache, 3, 60), lists([&[], &[2, 1], &[]]));
        assert_eq!(step(&mut cache, 3, 60), lists([&[], &[3, 2], &[]]));
        // 2 and 3 were asked for three times together.
        for _ in 0..3 {
            assert_eq!(step(&mut cache, 4, 100), lists([&[], &[3, 2], &[]]));
        }
        assert_eq!(step(&mut cache, 4, 100), lists([&[], &[4], &[]]));
        // Too large to be protected.
        assert_eq!(step(&mut cache, 4, 100), lists([&[], &[4], &[]]));
        assert_eq!(cache.used_bytes(), 100);
        // What the window is due it takes.
        assert_eq!(step(&mut cache, 5, 1), lists([&[5], &[], &[]]));
    }

    /// Whole samples of hits or of misses, and where the window goes. 32 pages: a window of 1, and 31 of
    /// which 24 are protected; a step is 2 pages, a sample 320 requests.
    #[test]
    fn the_window_climbs() {
        let mut cache = WTinyLfu::new(32);
        let mut new = 1_000;
        let mut sample = |cache: &mut WTinyLfu, hits: bool| {
            let mut next = 0;
            loop {
                if hits {
                    next = (next + 1) % 32;
                } else {
                    new += 1;
                    next = new;
                }
                step(cache, next, 1);
                if cache.climb.requests == 0 && cache.used_bytes() == 32 {
                    break;
                }
            }
            let in_window = cache.lists.bytes(WINDOW);
            assert_eq!(in_window, cache.window_max_bytes);
            (cache.window_max_bytes, cache.protected_max_bytes)
        };
        // The hit ratio rises, from 0 as it were, so the first direction, down, is right; but the
        // window is as small as can be. It rises again, without the first misses.
        assert_eq!(sample(&mut cache, true), (1, 24));
        assert_eq!(sample(&mut cache, true), (1, 24));
        // It falls by 1: turn, with a full step.
        assert_eq!(sample(&mut cache, false), (3, 22));
        // It does not fall further: on. Steps are 0.98 of the one before, in whole bytes.
        assert_eq!(sample(&mut cache, false), (5, 20));
        assert_eq!(sample(&mut cache, false), (6, 19));
    }
}
