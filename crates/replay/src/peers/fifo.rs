//! First in, first out.
//!
//! **Source:** folklore; measured beside others already by L. A. Belady, *A study of replacement
//! algorithms for a virtual-storage computer*, IBM Systems Journal 5(2), 1966. No parameters.
//!
//! **Sizes:** those that came in first go until there is room, however many that takes.

use super::list::Lists;
use crate::{Cache, ObjectId, Outcome, Request};

const ALL: usize = 0;

/// The one that came in first goes first, used or not.
#[derive(Debug)]
pub struct Fifo {
    lists: Lists<1>,
    size_bytes: u64,
}

impl Fifo {
    /// A cache of so many bytes.
    #[must_use]
    pub fn new(size_bytes: u64) -> Self {
        Fifo {
            lists: Lists::new(),
            size_bytes,
        }
    }
}

impl Cache for Fifo {
    fn request(&mut self, request: Request) -> Outcome {
        self.lists.know(request.object);
        if self.contains(request.object) {
            return Outcome::Hit;
        }
        while self.lists.bytes(ALL) + request.size_bytes > self.size_bytes {
            let Some(victim) = self.lists.oldest(ALL) else {
                return Outcome::Miss;
            };
            self.lists.remove(victim);
        }
        self.lists.put(ALL, &request);
        Outcome::Miss
    }

    #[inline]
    fn contains(&self, object: ObjectId) -> bool {
        self.lists.list_of(object).is_some()
    }

    fn used_bytes(&self) -> u64 {
        self.lists.bytes(ALL)
    }
}
