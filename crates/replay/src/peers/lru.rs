//! Least recently used.
//!
//! **Source:** the stack of R. L. Mattson, J. Gecsei, D. R. Slutz, I. L. Traiger, *Evaluation
//! techniques for storage hierarchies*, IBM Systems Journal 9(2), 1970. No parameters.
//!
//! **Sizes:** the oldest go until there is room, however many that takes. A large object that comes
//! in once thus costs all the small ones that it takes the place of.

use super::list::Lists;
use crate::{Cache, ObjectId, Outcome, Request};

const ALL: usize = 0;

/// The one that has not been used for the longest time goes first.
#[derive(Debug)]
pub struct Lru {
    lists: Lists<1>,
    size_bytes: u64,
}

impl Lru {
    /// A cache of so many bytes.
    #[must_use]
    pub fn new(size_bytes: u64) -> Self {
        Lru {
            lists: Lists::new(),
            size_bytes,
        }
    }
}

impl Cache for Lru {
    fn request(&mut self, request: Request) -> Outcome {
        self.lists.know(request.object);
        if self.contains(request.object) {
            self.lists.renew(ALL, request.object);
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
