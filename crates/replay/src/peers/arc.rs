//! Adaptive replacement.

use super::list::Lists;
use crate::{Cache, ObjectId, Outcome, Request};

/// In the cache, used once lately.
const T1: usize = 0;
/// In the cache, used at least twice lately.
const T2: usize = 1;
/// Discarded from T1, remembered.
const B1: usize = 2;
/// Discarded from T2, remembered.
const B2: usize = 3;

/// ARC: N. Megiddo, D. S. Modha, "ARC: A Self-Tuning, Low Overhead Replacement Cache", FAST 2003,
/// figure 4.
///
/// Two lists in the cache, T1 of what was used once and T2 of what was used again, and two of names
/// only, B1 and B2, of what each has lost. The target `p` of T1's length grows by each request that
/// B1 could have been a hit for, and shrinks by each that B2 could; the list beyond its target gives
/// the victim.
///
/// **Parameters:** none.
///
/// **Objects of different sizes** (the paper has pages): all lengths and `p` are bytes. The step of
/// `p` is `size x max(1, |B2| / |B1|)` for a request found in B1, and likewise for B2; it is not
/// rounded. Victims are taken until the object fits. The paper's bounds hold in bytes:
/// T1 + T2 <= c, T1 + B1 <= c, and all four <= 2c. Where the paper compares T1 with `p` for equality
/// (a request found in B2), T1 at least `p` long will do, as lengths in bytes hardly ever are equal.
/// For equal sizes this is the paper's algorithm.
#[derive(Debug)]
pub struct Arc {
    lists: Lists<4>,
    /// Bytes; at least 0 and at most the cache's size.
    target_t1: f64,
    size_bytes: u64,
}

impl Arc {
    /// A cache of so many bytes.
    #[must_use]
    pub fn new(size_bytes: u64) -> Self {
        Arc {
            lists: Lists::new(),
            target_t1: 0.0,
            size_bytes,
        }
    }

    /// Moves victims to the lists of names until an object of this size fits.
    fn replace(&mut self, size_bytes: u64, found_in_b2: bool) {
        while self.used_bytes() + size_bytes > self.size_bytes {
            let t1_bytes = self.lists.bytes(T1) as f64;
            let beyond_target =
                t1_bytes > self.target_t1 || (found_in_b2 && t1_bytes >= self.target_t1);
            let from_t1 = self.lists.bytes(T1) > 0 && beyond_target;
            // With sizes that differ, T2 may be empty though T1 is within its target.
            let (from, to) = if from_t1 || self.lists.bytes(T2) == 0 {
                (T1, B1)
            } else {
                (T2, B2)
            };
            let Some(victim) = self.lists.oldest(from) else {
                return;
            };
            self.lists.renew(to, victim);
        }
    }

    /// Forgets names, and discards what has none to give up, until a new object may join T1.
    fn forget(&mut self, size_bytes: u64) {
        while self.lists.bytes(T1) + self.lists.bytes(B1) + size_bytes > self.size_bytes {
            if self.lists.pop(B1).is_none() && self.lists.pop(T1).is_none() {
                return;
            }
        }
        let all = |lists: &Lists<4>| (T1..=B2).map(|list| lists.bytes(list)).sum::<u64>();
        while all(&self.lists) + size_bytes > self.size_bytes.saturating_mul(2) {
            if self.lists.pop(B2).is_none() {
                return;
            }
        }
    }
}

impl Cache for Arc {
    fn request(&mut self, request: Request) -> Outcome {
        let size_bytes = request.size_bytes;
        self.lists.know(request.object);
        match self.lists.list_of(request.object) {
            Some(T1 | T2) => {
                self.lists.renew(T2, request.object);
                return Outcome::Hit;
            }
            Some(ghost) => {
                let (b1, b2) = (self.lists.bytes(B1) as f64, self.lists.bytes(B2) as f64);
                let step = size_bytes as f64;
                if ghost == B1 {
                    let target = self.target_t1 + step * (b2 / b1).max(1.0);
                    self.target_t1 = target.min(self.size_bytes as f64);
                } else {
                    let target = self.target_t1 - step * (b1 / b2).max(1.0);
                    self.target_t1 = target.max(0.0);
                }
                // Before it joins T2, or it would be counted twice.
                self.replace(size_bytes, ghost == B2);
                self.lists.renew(T2, request.object);
            }
            None => {
                self.forget(size_bytes);
                self.replace(size_bytes, false);
                self.lists.put(T1, &request);
            }
        }
        Outcome::Miss
    }

    fn contains(&self, object: ObjectId) -> bool {
        matches!(self.lists.list_of(object), Some(T1 | T2))
    }

    fn used_bytes(&self) -> u64 {
        self.lists.bytes(T1) + self.lists.bytes(T2)
    }
}
