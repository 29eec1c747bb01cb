//! CLOCK, or second chance: first in, first out, but what was used since the hand last came by
//! stays for another round.
//!
//! **Source:** F. J. Corbató, *A paging experiment with the Multics system*, MIT Project MAC, 1968.
//! One bit per object; it comes in with the bit off, as S. Bansal and D. S. Modha describe CLOCK in
//! *CAR: Clock with Adaptive Replacement*, FAST 2004.
//!
//! The ring of frames with a hand is kept as a list: the hand points at the oldest, and what it
//! passes by becomes the newest. With objects of one size the two are the same; with many, a ring of
//! frames is not defined and the list is.
//!
//! **Sizes:** the hand goes on until there is room. It takes nothing back: an object whose bit it
//! turned off on the way keeps it off.

use super::list::Lists;
use crate::{Cache, ObjectId, Outcome, Request};

const ALL: usize = 0;
const USED: u8 = 1;

/// First in, first out, with a second chance for what was used.
#[derive(Debug)]
pub struct Clock {
    lists: Lists<1>,
    size_bytes: u64,
}

impl Clock {
    /// A cache of so many bytes.
    #[must_use]
    pub fn new(size_bytes: u64) -> Self {
        Clock {
            lists: Lists::new(),
            size_bytes,
        }
    }
}

impl Cache for Clock {
    fn request(&mut self, request: Request) -> Outcome {
        self.lists.know(request.object);
        if self.contains(request.object) {
            self.lists.set_mark(request.object, USED);
            return Outcome::Hit;
        }
        while self.lists.bytes(ALL) + request.size_bytes > self.size_bytes {
            let Some(under_hand) = self.lists.oldest(ALL) else {
                return Outcome::Miss;
            };
            if self.lists.mark(under_hand) == USED {
                self.lists.set_mark(under_hand, 0);
                self.lists.renew(ALL, under_hand);
            } else {
                self.lists.remove(under_hand);
            }
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
