//! Least recently used.
//!
//! **Source:** the stack of R. L. Mattson, J. Gecsei, D. R. Slutz, I. L. Traiger, *Evaluation
//! techniques for storage hierarchies*, IBM Systems Journal 9(2), 1970. No parameters.
//!
//! **Sizes:** the oldest go until there is room, however many that takes. A large object that comes
//! in once thus costs all the small ones that it takes the place of.
//!
//! **Here** the order is a queue of all uses, of which only the last one of each object counts. A use
//! is then one number written where the object is found and one at the queue's end, where a list
//! would look at three nodes anywhere in the memory: twice as slow, where there are many objects.

use std::collections::VecDeque;

use crate::{Cache, ObjectId, Outcome, Request};

/// Out of the cache.
const ABSENT: u32 = 0;

/// The queue is cleared of uses that do not count when it is twice as long as it need be, and this
/// much longer, lest a short one be cleared all the time.
const LEFT_ALONE: usize = 1_024;

#[derive(Debug, Clone, Copy)]
struct Use {
    object: u32,
    stamp: u32,
}

/// The one that has not been used for the longest time goes first.
#[derive(Debug)]
pub struct Lru {
    /// The oldest first.
    uses: VecDeque<Use>,
    /// By object: that of its last use. They may come again after 2^32 uses; by then no use is left in
    /// the queue that does not count, so no two of one object are ever alike there.
    stamps: Vec<u32>,
    sizes_bytes: Vec<u64>,
    /// In the cache.
    objects: usize,
    used_bytes: u64,
    size_bytes: u64,
    last_stamp: u32,
}

impl Lru {
    /// A cache of so many bytes.
    #[must_use]
    pub fn new(size_bytes: u64) -> Self {
        Lru {
            uses: VecDeque::new(),
            stamps: Vec::new(),
            sizes_bytes: Vec::new(),
            objects: 0,
            used_bytes: 0,
            size_bytes,
            last_stamp: ABSENT,
        }
    }

    #[cold]
    fn grow(&mut self, place: usize) {
        self.stamps.resize(place + 1, ABSENT);
        self.sizes_bytes.resize(place + 1, 0);
    }

    #[inline]
    fn renew(&mut self, object: ObjectId) {
        self.last_stamp = self.last_stamp.wrapping_add(1);
        if self.last_stamp == ABSENT {
            self.last_stamp += 1;
        }
        let stamp = self.last_stamp;
        self.stamps[object.index()] = stamp;
        self.uses.push_back(Use {
            object: object.0,
            stamp,
        });
        if self.uses.len() > 2 * self.objects + LEFT_ALONE {
            self.clear();
        }
    }

    #[cold]
    fn clear(&mut self) {
        let stamps = &self.stamps;
        let counts = |past: &Use| stamps[past.object as usize] == past.stamp;
        self.uses.retain(counts);
    }

    /// Lets the oldest go, if there is one.
    #[inline]
    fn drop_oldest(&mut self) -> Option<()> {
        loop {
            let past = self.uses.pop_front()?;
            let place = past.object as usize;
            if self.stamps[place] == past.stamp {
                self.stamps[place] = ABSENT;
                self.objects -= 1;
                self.used_bytes -= self.sizes_bytes[place];
                return Some(());
            }
        }
    }
}

impl Cache for Lru {
    fn request(&mut self, request: Request) -> Outcome {
        let place = request.object.index();
        if place >= self.stamps.len() {
            self.grow(place);
        }
        if self.stamps[place] != ABSENT {
            self.renew(request.object);
            return Outcome::Hit;
        }
        while self.used_bytes + request.size_bytes > self.size_bytes {
            if self.drop_oldest().is_none() {
                return Outcome::Miss;
            }
        }
        self.objects += 1;
        self.used_bytes += request.size_bytes;
        self.sizes_bytes[place] = request.size_bytes;
        self.renew(request.object);
        Outcome::Miss
    }

    #[inline]
    fn contains(&self, object: ObjectId) -> bool {
        let stamp = self.stamps.get(object.index());
        stamp.is_some_and(|&stamp| stamp != ABSENT)
    }

    fn used_bytes(&self) -> u64 {
        self.used_bytes
    }
}
