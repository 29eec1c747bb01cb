//! SIEVE: CLOCK whose survivors stay where they are.
//!
//! **Source:** Y. Zhang, J. Yang, Y. Yue, Y. Vigfusson, K. V. Rashmi, *SIEVE is simpler than LRU: an
//! efficient turn-key eviction algorithm for web caches*, NSDI 2024. One queue and one bit per
//! object. A hit sets the bit. A hand walks from the oldest to the newest: what has its bit on stays,
//! in its place, with the bit off; the first with its bit off goes. Past the newest the hand starts
//! over at the oldest. Newcomers come in at the newer end, behind the hand unless it has just gone
//! around, with their bit off. No parameters.
//!
//! **Sizes:** the hand goes on until there is room, however many that takes.

use super::list::Lists;
use crate::{Cache, ObjectId, Outcome, Request};

const ALL: usize = 0;
const VISITED: u8 = 1;

/// One queue and a hand that walks it.
#[derive(Debug)]
pub struct Sieve {
    lists: Lists<1>,
    /// Where the next walk starts; `None` is the oldest.
    hand: Option<ObjectId>,
    size_bytes: u64,
}

impl Sieve {
    /// A cache of so many bytes.
    #[must_use]
    pub fn new(size_bytes: u64) -> Self {
        Sieve {
            lists: Lists::new(),
            hand: None,
            size_bytes,
        }
    }

    /// The object that goes next. The hand moves beyond it.
    fn victim(&mut self) -> Option<ObjectId> {
        let mut under_hand = self.hand.or_else(|| self.lists.oldest(ALL))?;
        while self.lists.mark(under_hand) == VISITED {
            self.lists.set_mark(under_hand, 0);
            let next = self.lists.newer(under_hand);
            under_hand = next.or_else(|| self.lists.oldest(ALL))?;
        }
        self.hand = self.lists.newer(under_hand);
        Some(under_hand)
    }
}

impl Cache for Sieve {
    fn request(&mut self, request: Request) -> Outcome {
        self.lists.know(request.object);
        if self.contains(request.object) {
            self.lists.set_mark(request.object, VISITED);
            return Outcome::Hit;
        }
        while self.lists.bytes(ALL) + request.size_bytes > self.size_bytes {
            let Some(victim) = self.victim() else {
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
