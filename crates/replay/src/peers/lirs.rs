//! Low inter-reference recency set.

use super::list::Lists;
use super::share;
use crate::{Cache, ObjectId, Outcome, Request};

/// The only list of the stack. What is in it has no weight there.
const S: usize = 0;
/// HIR objects in the cache, the next victim oldest.
const Q: usize = 0;
/// HIR objects that are remembered in the stack, the first to be forgotten oldest.
const NON_RESIDENT: usize = 1;

/// The share of the cache that is not for LIR objects, in percent.
const HIR_PERCENT: u8 = 1;
/// The fewest objects of mean size that it has room for.
const HIR_LEAST_OBJECTS: u128 = 2;

/// LIRS: S. Jiang, X. Zhang, "LIRS: An Efficient Low Inter-reference Recency Set Replacement Policy
/// to Improve Buffer Cache Performance", SIGMETRICS 2002, section 3.
///
/// An object is LIR, and safe, if it was used again after fewer other objects than anything that is
/// not LIR; the others are HIR, and pass through a small queue Q. The stack S has in order of last
/// use all LIR objects and the HIR objects, in the cache or not, used after the last of those. A HIR
/// object that is used while it is in S becomes LIR, and the LIR object at the bottom becomes HIR; S
/// is pruned so that a LIR object is at its bottom.
///
/// **Parameters:** 1 % of the cache is not for LIR objects (the paper's choice), but at least what two
/// objects take (as in the authors' program). Of the objects not in the cache, S remembers those
/// discarded last, worth twice the cache's bytes (the paper leaves this open).
///
/// **Objects of different sizes** (the paper has blocks): all lengths are bytes; two objects take twice
/// the mean size of all seen so far. An object that becomes LIR turns as many at the bottom into HIR
/// as the LIR share asks for, itself too if it is larger than that share. An object that comes in
/// discards from Q until it fits; where Q does not suffice - an object larger than the HIR share - the
/// LIR objects at the bottom are turned into HIR and go as well, so each object is kept at first. Until the first object for which the
/// LIR share has no room, new objects become LIR at once, and again when no LIR object is left; others
/// never do, though with differing sizes there often is a gap that a small one would fit in.
#[derive(Debug)]
pub struct Lirs {
    stack: Lists<1>,
    queues: Lists<2>,
    rows: Vec<Row>,
    lir_bytes: u64,
    seen_bytes: u128,
    seen_objects: u128,
    /// Whether objects become LIR as they come.
    filling: bool,
    size_bytes: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Row {
    is_lir: bool,
    /// 0 until it was seen.
    size_bytes: u64,
}

impl Lirs {
    /// A cache of so many bytes.
    #[must_use]
    pub fn new(size_bytes: u64) -> Self {
        Lirs {
            stack: Lists::new(),
            queues: Lists::new(),
            rows: Vec::new(),
            lir_bytes: 0,
            seen_bytes: 0,
            seen_objects: 0,
            filling: true,
            size_bytes,
        }
    }

    fn lir_max_bytes(&self) -> u64 {
        let least = (HIR_LEAST_OBJECTS * self.seen_bytes).div_ceil(self.seen_objects.max(1));
        let least = u64::try_from(least).unwrap_or(u64::MAX);
        let hir_bytes = share(self.size_bytes, HIR_PERCENT).max(least);
        self.size_bytes.saturating_sub(hir_bytes)
    }

    fn is_lir(&self, object: ObjectId) -> bool {
        self.rows.get(object.index()).is_some_and(|row| row.is_lir)
    }

    fn is_in_stack(&self, object: ObjectId) -> bool {
        self.stack.list_of(object).is_some()
    }

    /// Puts an object on top of the stack, whether or not it is in it.
    fn raise(&mut self, object: ObjectId) {
        if self.is_in_stack(object) {
            self.stack.renew(S, object);
        } else {
            self.stack.insert(S, object, 0);
        }
    }

    /// Takes HIR objects off the bottom of the stack. Those not in the cache are forgotten.
    fn prune(&mut self) {
        while let Some(bottom) = self.stack.oldest(S) {
            if self.is_lir(bottom) {
                return;
            }
            self.stack.remove(bottom);
            if self.queues.list_of(bottom) == Some(NON_RESIDENT) {
                self.queues.remove(bottom);
            }
        }
    }

    /// Turns the LIR object at the bottom of the stack into a HIR object; false if there is none.
    fn demote_bottom(&mut self) -> bool {
        let Some(bottom) = self.stack.pop(S) else {
            return false;
        };
        let row = &mut self.rows[bottom.index()];
        row.is_lir = false;
        self.lir_bytes -= row.size_bytes;
        self.queues.insert(Q, bottom, row.size_bytes);
        self.prune();
        true
    }

    /// Makes an object on top of the stack and in no queue LIR.
    fn promote(&mut self, object: ObjectId) {
        let row = &mut self.rows[object.index()];
        row.is_lir = true;
        self.lir_bytes += row.size_bytes;
        let most = self.lir_max_bytes();
        while self.lir_bytes > most && self.demote_bottom() {}
    }

    /// Discards until an object of this size fits.
    fn make_room(&mut self, size_bytes: u64) {
        while self.used_bytes() + size_bytes > self.size_bytes {
            let Some(victim) = self.queues.oldest(Q) else {
                if self.demote_bottom() {
                    continue;
                }
                return;
            };
            if !self.is_in_stack(victim) {
                self.queues.remove(victim);
                continue;
            }
            self.queues.renew(NON_RESIDENT, victim);
            while self.queues.bytes(NON_RESIDENT) > self.size_bytes.saturating_mul(2) {
                if let Some(forgotten) = self.queues.pop(NON_RESIDENT) {
                    self.stack.remove(forgotten);
                }
            }
        }
    }

    fn hit(&mut self, object: ObjectId) {
        let known = self.is_in_stack(object);
        self.raise(object);
        if !self.is_lir(object) {
            if known {
                self.queues.remove(object);
                self.promote(object);
            } else {
                self.queues.renew(Q, object);
            }
        }
        self.prune();
    }

    fn miss(&mut self, object: ObjectId, size_bytes: u64) {
        let known = self.is_in_stack(object);
        if known {
            // First, so that making room cannot forget it.
            self.queues.remove(object);
        }
        self.make_room(size_bytes);
        // Without any LIR object nothing stays in the stack, and nothing could ever become one.
        self.filling |= self.lir_bytes == 0;
        self.filling &= self.lir_bytes + size_bytes <= self.lir_max_bytes();
        self.raise(object);
        if known || self.filling {
            self.promote(object);
        } else {
            self.queues.insert(Q, object, size_bytes);
        }
        self.prune();
    }
}

impl Cache for Lirs {
    fn request(&mut self, request: Request) -> Outcome {
        if self.contains(request.object) {
            self.hit(request.object);
            return Outcome::Hit;
        }
        let index = request.object.index();
        if index >= self.rows.len() {
            self.rows.resize(index + 1, Row::default());
        }
        if self.rows[index].size_bytes == 0 {
            self.rows[index].size_bytes = request.size_bytes;
            self.seen_bytes += u128::from(request.size_bytes);
            self.seen_objects += 1;
        }
        self.stack.know(request.object);
        self.queues.know(request.object);
        self.miss(request.object, request.size_bytes);
        Outcome::Miss
    }

    fn contains(&self, object: ObjectId) -> bool {
        self.is_lir(object) || self.queues.list_of(object) == Some(Q)
    }

    fn used_bytes(&self) -> u64 {
        self.lir_bytes + self.queues.bytes(Q)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requests an object of a size and shows the stack from its top and the queue from its end, both
    /// the last to go first, and which of the stack are LIR and which not in the cache.
    fn step(lirs: &mut Lirs, object: u32, size_bytes: u64) -> (String, Vec<u32>) {
        lirs.request(Request {
            time: 0,
            object: ObjectId(object),
            size_bytes,
            cost: 0.0,
        });
        let stack = lirs.stack.newest_first(S).into_iter().map(|object| {
            if lirs.is_lir(ObjectId(object)) {
                format!("{object}L")
            } else if lirs.contains(ObjectId(object)) {
                format!("{object}")
            } else {
                format!("({object})")
            }
        });
        let stack = stack.collect::<Vec<_>>().join(" ");
        (stack, lirs.queues.newest_first(Q))
    }

    /// Worked by hand with the rules of the paper's section 3.3: 5 pages, of which 3 are for LIR.
    #[test]
    fn pages_are_where_the_paper_puts_them() {
        let mut lirs = Lirs::new(5);
        let steps: [(u32, &str, &[u32]); 13] = [
            // While there is room, all are LIR.
            (1, "1L", &[]),
            (2, "2L 1L", &[]),
            (3, "3L 2L 1L", &[]),
            (4, "4 3L 2L 1L", &[4]),
            (5, "5 4 3L 2L 1L", &[5, 4]),
            // A LIR page is used: 2 is the bottom.
            (1, "1L 5 4 3L 2L", &[5, 4]),
            // The queue's first, 4, goes, and stays in the stack.
            (6, "6 1L 5 (4) 3L 2L", &[6, 5]),
            // In the stack: 5 goes for it, it is LIR, and the bottom, 2, is no more.
            (4, "4L 6 1L (5) 3L", &[2, 6]),
            // In the cache, not in the stack: still HIR.
            (2, "2 4L 6 1L (5) 3L", &[2, 6]),
            // In both: LIR, and 3 no more; 5 is pruned and so forgotten.
            (2, "2L 4L 6 1L", &[3, 6]),
            // As if never seen: 6 goes.
            (5, "5 2L 4L (6) 1L", &[5, 3]),
            (3, "3 5 2L 4L (6) 1L", &[3, 5]),
            // The bottom is used: pruned down to 4.
            (1, "1L 3 5 2L 4L", &[3, 5]),
        ];
        for (object, stack, queue) in steps {
            let expected = (stack.to_owned(), queue.to_vec());
            assert_eq!(step(&mut lirs, object, 1), expected, "{object}");
        }
    }

    /// 1,000 bytes, of which the HIR share is 1 % or twice the mean size.
    #[test]
    fn what_the_queue_has_no_room_for_takes_from_the_bottom() {
        let mut lirs = Lirs::new(1000);
        step(&mut lirs, 1, 300);
        // 300 + 200 are within 1000 - 2 x 250.
        assert_eq!(step(&mut lirs, 2, 200), ("2L 1L".to_owned(), vec![]));
        // 800 are not within 1000 - 2 x 267.
        assert_eq!(step(&mut lirs, 3, 300), ("3 2L 1L".to_owned(), vec![3]));
        // 3 goes first, then 1 from the bottom.
        let state = step(&mut lirs, 4, 700);
        assert_eq!(state, ("4 (3) 2L".to_owned(), vec![4]));
        // Known: 4 goes, 3 is LIR; the share is 1000 - 2 x 375, so 2 is HIR, and 3 itself.
        let state = step(&mut lirs, 3, 300);
        assert_eq!(state, (String::new(), vec![3, 2]));
        // No LIR object is left, so new ones are LIR at once again: 90 within 1000 - 2 x 318.
        let state = step(&mut lirs, 5, 90);
        assert_eq!(state, ("5L".to_owned(), vec![3, 2]));
    }

    #[test]
    fn names_are_bounded() {
        let mut lirs = Lirs::new(10);
        for object in 0..100 {
            step(&mut lirs, object, 1);
        }
        assert_eq!(lirs.queues.bytes(NON_RESIDENT), 20);
        // 8 LIR, 2 HIR in the cache, 20 not.
        assert_eq!(lirs.stack.newest_first(S).len(), 30);
    }
}
