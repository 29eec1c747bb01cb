//! Least frequently used of those let in, with a window before the door.

use super::list::Lists;
use super::share;
use super::sketch::Sketch;
use crate::{Cache, ObjectId, Outcome, Request};

/// New objects, in order of use.
const WINDOW: usize = 0;
/// Let in, and not used since, in order of coming.
const PROBATION: usize = 1;
/// Used after they were let in, in order of use.
const PROTECTED: usize = 2;

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
/// Caffeine also lets in one loser in 128 against attackers; that is left out.
///
/// **Objects of different sizes:** all lengths are bytes, and whom a newcomer displaces is as in G.
/// Einziger, O. Eytan, R. Friedman, B. Manes, "Lightweight Robust Size Aware Cache Management", ACM
/// Transactions on Storage 18(3), 2022, called aggregated victims there: the victims that would make
/// room for it, least recently used first and probation before protection, must together have been
/// asked for less often than it. One
/// that loses is discarded and the victims stay where they are. The main part may have what the window
/// does not use; a newcomer to the window takes it back, again from the main part's victims. So a large object may be declined,
/// and one larger than the window is judged as soon as it comes. An object larger than the protected
/// part stays on probation.
#[derive(Debug)]
pub struct WTinyLfu {
    lists: Lists<3>,
    /// In the cache.
    objects: usize,
    sketch: Sketch,
    window_max_bytes: u64,
    protected_max_bytes: u64,
    climb: Climb,
    /// What fell out of the window and is to be judged, and victims; empty between requests.
    candidates: Vec<ObjectId>,
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
            candidates.extend(self.lists.pop(WINDOW));
        }
        // The window takes back what the main part had of its share.
        while self.used_bytes() > self.size_bytes {
            let victim = self.lists.pop(PROBATION);
            if victim.or_else(|| self.lists.pop(PROTECTED)).is_none() {
                break;
            }
            self.objects -= 1;
        }
        for candidate in candidates.drain(..) {
            if !self.judge(candidate) {
                self.objects -= 1;
            }
        }
        self.candidates = candidates;
        self.sketch.grow(self.objects);
    }

    /// Lets an object that has left the window into the main part, or not; says which.
    fn judge(&mut self, candidate: ObjectId) -> bool {
        // What was taken out of its list still has its size.
        let size_bytes = self.lists.size_bytes(candidate);
        let mut room = self.size_bytes - self.used_bytes();
        if room < size_bytes {
            let frequency = self.sketch.frequency(candidate);
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
                if of_victims >= frequency {
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
