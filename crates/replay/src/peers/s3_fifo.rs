//! S3-FIFO: a small queue that most objects leave before they can do harm.
//!
//! **Source:** J. Yang, Y. Zhang, Z. Qiu, Y. Yue, K. V. Rashmi, *FIFO queues are all you need for
//! cache eviction*, SOSP 2023, algorithm 1. Three queues, first in, first out: *small*, *main* and
//! the *names* of what left the small one. A newcomer goes into the small queue, or into the main one
//! if its name is still there. A hit only counts, up to 3. When room is needed and the small queue
//! holds its share or more, its oldest are moved to the main queue, with their count at 0, if they
//! were used more than once since they came; the first that was not goes and leaves its name. When it
//! holds less, the main queue's oldest come in anew with one count less, and the first without a
//! count goes and leaves no name.
//!
//! **Parameters:** those of the paper: small 10 % of the bytes, main 90 %, names of as much as the
//! main queue may hold; counts up to 3; more than one use moves on.
//!
//! **Where the paper leaves it open:** the main queue is full, when an object is moved to it, if the
//! object does not fit its 90 %; then it gives until it does. A newcomer whose name was remembered
//! may take the main queue above its share for as long as the small one does not need it.
//!
//! **Sizes:** queues are weighed in bytes; the rule above is applied until there is room, and where it
//! is the main queue's turn and that is empty (a large newcomer can need room that both shares
//! together do not use), the small one gives. An object
//! larger than the small queue's share is taken in there all the same and makes it the next to give.
//! One larger than the main queue's share never enters that one: where others are moved, it comes
//! into the small queue anew with its count at 0; and it leaves no name.

use super::list::Lists;
use super::share;
use crate::{Cache, ObjectId, Outcome, Request};

const SMALL: usize = 0;
const MAIN: usize = 1;
const NAMES: usize = 2;
/// The highest count of uses: two bits.
const MOST_USES: u8 = 3;

/// A small queue, a main queue, and names of what left the small one.
#[derive(Debug)]
pub struct S3Fifo {
    lists: Lists<3>,
    small_limit_bytes: u64,
    main_limit_bytes: u64,
    size_bytes: u64,
}

impl S3Fifo {
    /// A cache of so many bytes.
    #[must_use]
    pub fn new(size_bytes: u64) -> Self {
        S3Fifo {
            lists: Lists::new(),
            // rounded up: "its share or more" is then the same for bytes as for the exact share
            small_limit_bytes: size_bytes.div_ceil(10),
            main_limit_bytes: share(size_bytes, 90),
            size_bytes,
        }
    }

    /// Room for at least one object, unless the small queue only moved objects on.
    fn evict(&mut self) {
        if self.lists.bytes(SMALL) >= self.small_limit_bytes || self.lists.bytes(MAIN) == 0 {
            self.evict_small();
        } else {
            self.evict_main();
        }
    }

    fn evict_small(&mut self) {
        while let Some(oldest) = self.lists.oldest(SMALL) {
            if self.lists.mark(oldest) <= 1 {
                self.lists.remember(NAMES, oldest, self.main_limit_bytes);
                return;
            }
            self.lists.set_mark(oldest, 0);
            let size_bytes = self.lists.size_bytes(oldest);
            if size_bytes > self.main_limit_bytes {
                self.lists.renew(SMALL, oldest);
                continue;
            }
            while self.lists.bytes(MAIN) + size_bytes > self.main_limit_bytes {
                self.evict_main();
            }
            self.lists.renew(MAIN, oldest);
        }
    }

    fn evict_main(&mut self) {
        while let Some(oldest) = self.lists.oldest(MAIN) {
            let uses = self.lists.mark(oldest);
            if uses == 0 {
                self.lists.remove(oldest);
                return;
            }
            self.lists.set_mark(oldest, uses - 1);
            self.lists.renew(MAIN, oldest);
        }
    }
}

impl Cache for S3Fifo {
    fn request(&mut self, request: Request) -> Outcome {
        self.lists.know(request.object);
        if self.contains(request.object) {
            let uses = self.lists.mark(request.object);
            self.lists.set_mark(request.object, MOST_USES.min(uses + 1));
            return Outcome::Hit;
        }
        while self.used_bytes() + request.size_bytes > self.size_bytes {
            if self.used_bytes() == 0 {
                return Outcome::Miss;
            }
            self.evict();
        }
        // asked only now, as in the paper: making room may have pushed the name out
        if self.lists.list_of(request.object).is_some() {
            self.lists.renew(MAIN, request.object);
        } else {
            self.lists.put(SMALL, &request);
        }
        Outcome::Miss
    }

    #[inline]
    fn contains(&self, object: ObjectId) -> bool {
        matches!(self.lists.list_of(object), Some(SMALL | MAIN))
    }

    #[inline]
    fn used_bytes(&self) -> u64 {
        self.lists.bytes(SMALL) + self.lists.bytes(MAIN)
    }
}
