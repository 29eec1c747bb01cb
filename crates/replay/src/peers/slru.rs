//! Segmented LRU: what was used once must be used again to be safe from what was not.
//!
//! **Source:** R. Karedla, J. S. Love, B. G. Wherry, *Caching strategies to improve disk system
//! performance*, IEEE Computer 27(3), 1994. Two segments, each least recently used: a newcomer comes
//! into the *probationary* one; a hit in either moves the object to the newer end of the *protected*
//! one; what that one has too much of goes back, oldest first, to the newer end of the probationary
//! one; victims are the oldest on probation.
//!
//! **Parameters:** the protected segment is limited to 80 % of the bytes, the share in common use
//! since; probation has what the protected do not use.
//!
//! **Sizes:** segments are weighed in bytes. The oldest on probation go until there is room, then
//! (a newcomer can be larger than what is on probation) the oldest protected. An object larger than
//! the protected segment stays on probation, and a hit makes it the newest there.

use super::list::Lists;
use super::share;
use crate::{Cache, ObjectId, Outcome, Request};

const PROBATION: usize = 0;
const PROTECTED: usize = 1;

/// Two segments: on probation until used again.
#[derive(Debug)]
pub struct Slru {
    lists: Lists<2>,
    protected_limit_bytes: u64,
    size_bytes: u64,
}

impl Slru {
    /// A cache of so many bytes.
    #[must_use]
    pub fn new(size_bytes: u64) -> Self {
        Slru {
            lists: Lists::new(),
            protected_limit_bytes: share(size_bytes, 80),
            size_bytes,
        }
    }

    fn protect(&mut self, request: &Request) {
        if request.size_bytes > self.protected_limit_bytes {
            self.lists.renew(PROBATION, request.object);
            return;
        }
        self.lists.renew(PROTECTED, request.object);
        while self.lists.bytes(PROTECTED) > self.protected_limit_bytes {
            let Some(oldest) = self.lists.oldest(PROTECTED) else {
                return;
            };
            self.lists.renew(PROBATION, oldest);
        }
    }
}

impl Cache for Slru {
    fn request(&mut self, request: Request) -> Outcome {
        self.lists.know(request.object);
        if self.contains(request.object) {
            self.protect(&request);
            return Outcome::Hit;
        }
        while self.used_bytes() + request.size_bytes > self.size_bytes {
            let oldest = self.lists.oldest(PROBATION);
            let Some(victim) = oldest.or_else(|| self.lists.oldest(PROTECTED)) else {
                return Outcome::Miss;
            };
            self.lists.remove(victim);
        }
        self.lists.put(PROBATION, &request);
        Outcome::Miss
    }

    #[inline]
    fn contains(&self, object: ObjectId) -> bool {
        self.lists.list_of(object).is_some()
    }

    #[inline]
    fn used_bytes(&self) -> u64 {
        self.lists.bytes(PROBATION) + self.lists.bytes(PROTECTED)
    }
}
