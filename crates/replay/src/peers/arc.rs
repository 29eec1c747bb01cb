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

#[cfg(test)]
mod tests {
    use super::*;

    /// Requests an object, and shows T1, T2, B1, B2, newest first, and the target.
    fn step(arc: &mut Arc, object: u32, size_bytes: u64) -> ([Vec<u32>; 4], f64) {
        let request = Request {
            time: 0,
            object: ObjectId(object),
            size_bytes,
            cost: 0.0,
        };
        arc.request(request);
        let lists = [T1, T2, B1, B2].map(|list| arc.lists.newest_first(list));
        (lists, arc.target_t1)
    }

    fn lists<const N: usize>(lists: [&[u32]; N]) -> [Vec<u32>; N] {
        lists.map(<[u32]>::to_vec)
    }

    /// Worked by hand with the cases of the paper's figure 4, for c = 4 pages.
    #[test]
    fn pages_are_where_the_paper_puts_them() {
        let mut arc = Arc::new(4);
        let steps: [(u32, [&[u32]; 4], f64); 15] = [
            // Not known, and there is room: T1.
            (1, [&[1], &[], &[], &[]], 0.0),
            (2, [&[2, 1], &[], &[], &[]], 0.0),
            // Case I, a hit: T2.
            (1, [&[2], &[1], &[], &[]], 0.0),
            (3, [&[3, 2], &[1], &[], &[]], 0.0),
            (4, [&[4, 3, 2], &[1], &[], &[]], 0.0),
            // Case IV (ii): L1 has 3, all have 4. |T1| = 3 > p = 0, so 2 goes to B1.
            (5, [&[5, 4, 3], &[1], &[2], &[]], 0.0),
            // Case II, in B1: p = 0 + 1. |T1| = 3 > 1, so 3 goes to B1.
            (2, [&[5, 4], &[2, 1], &[3], &[]], 1.0),
            // Case IV (ii) again: |T1| = 2 > 1, so 4 goes.
            (6, [&[6, 5], &[2, 1], &[4, 3], &[]], 1.0),
            (5, [&[6], &[5, 2, 1], &[4, 3], &[]], 1.0),
            // |T1| = 1 is not > 1: T2's oldest, 1, goes to B2.
            (7, [&[7, 6], &[5, 2], &[4, 3], &[1]], 1.0),
            // Case IV (i): L1 has 4. B1 forgets 3, then |T1| = 2 > 1: 6 goes.
            (8, [&[8, 7], &[5, 2], &[6, 4], &[1]], 1.0),
            // Case III, in B2: p = 1 - |B1| / |B2| = 1 - 2, not below 0. |T1| = 2 > 0: 7 goes.
            (1, [&[8], &[1, 5, 2], &[7, 6, 4], &[]], 0.0),
            // Case II: p = 1, |T1| = 1 is not > 1: 2 goes to B2.
            (4, [&[8], &[4, 1, 5], &[7, 6], &[2]], 1.0),
            // Case III: p = 1 - 2 / 1, not below 0. |T1| = 1 > 0: 8 goes.
            (2, [&[], &[2, 4, 1, 5], &[8, 7, 6], &[]], 0.0),
            // Case IV (ii): T1 is empty, so 5 goes to B2.
            (9, [&[9], &[2, 4, 1], &[8, 7, 6], &[5]], 0.0),
        ];
        for (object, expected, target) in steps {
            assert_eq!(
                step(&mut arc, object, 1),
                (lists(expected), target),
                "{object}"
            );
        }
    }

    /// Case IV (i) with T1 as long as the cache: what goes is not remembered.
    #[test]
    fn a_scan_leaves_no_names() {
        let mut arc = Arc::new(3);
        for object in 1..=9 {
            step(&mut arc, object, 1);
        }
        assert_eq!(step(&mut arc, 10, 1).0, lists([&[10, 9, 8], &[], &[], &[]]));
    }

    /// c = 100 bytes.
    #[test]
    fn sizes_weigh() {
        let mut arc = Arc::new(100);
        step(&mut arc, 1, 60);
        step(&mut arc, 1, 60);
        step(&mut arc, 2, 10);
        // 60 + 10 + 50 is too much: T1 is beyond its target 0 and loses 2, then has nothing; then T2.
        let state = step(&mut arc, 3, 50);
        assert_eq!(state, (lists([&[3], &[], &[2], &[1]]), 0.0));
        // In B1: the step is 10 bytes times |B2| / |B1| = 60 / 10. T1's 50 are within 60, and no
        // more room is needed.
        let state = step(&mut arc, 2, 10);
        assert_eq!(state, (lists([&[3], &[2], &[], &[1]]), 60.0));
        // In B2: 60 x 1 down to 0. 3 goes, for 50 + 10 + 60 is too much.
        let state = step(&mut arc, 1, 60);
        assert_eq!(state, (lists([&[], &[1, 2], &[3], &[]]), 0.0));
        // As large as the cache: 3's name must go for L1, all of T2 for room; B2 keeps its names, as
        // all four have 170 of 200 bytes.
        let state = step(&mut arc, 4, 100);
        assert_eq!(state, (lists([&[4], &[], &[], &[1, 2]]), 0.0));
    }
}
