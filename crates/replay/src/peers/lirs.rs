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
/// the mean size of all seen so far. An object that becomes
/// LIR turns as many at the bottom into HIR as the LIR share asks for, itself too if it is larger
/// than that share. An object that comes in discards from Q until it fits; where Q
/// does not suffice - an object larger than the HIR share - the LIR objects at the bottom are turned
/// into HIR and go as well, so each object is kept at first. Until the first object for which the
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
        let least = HIR_LEAST_OBJECTS * self.seen_bytes / self.seen_objects.max(1);
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
