//! 2Q: what is asked for again after it has left a short queue is worth keeping.
//!
//! **Source:** T. Johnson, D. Shasha, *2Q: a low overhead high performance buffer management
//! replacement algorithm*, VLDB 1994, the full version. A newcomer goes into *A1in*, first in, first
//! out; a hit there changes nothing, as it may belong to the same use. What leaves A1in leaves its
//! name in *A1out*. What is asked for while its name is there comes back into *Am*, which is least
//! recently used; what leaves Am leaves no name. When room is needed, A1in gives if it holds more
//! than its share, and Am gives otherwise.
//!
//! **Parameters:** those that the paper recommends: A1in 25 % of the bytes; A1out the names of as
//! much as 50 % of the bytes.
//!
//! **Where the paper leaves it open:** a name is taken out of A1out before room is made for its
//! object, so that it takes no place from another. If it is Am's turn to give and Am is empty, A1in
//! gives.
//!
//! **Sizes:** queues are weighed in bytes. Room is made one victim after another, and each time anew
//! by the rule above. An object larger than A1in's share is taken in all the same and makes A1in the
//! next to give; one larger than A1out's share leaves no name.

use super::list::Lists;
use super::share;
use crate::{Cache, ObjectId, Outcome, Request};

const RECENT: usize = 0;
const FREQUENT: usize = 1;
const NAMES: usize = 2;

/// Two queues, and names of what left the first.
#[derive(Debug)]
pub struct TwoQ {
    /// A1in, Am, A1out.
    lists: Lists<3>,
    recent_limit_bytes: u64,
    names_limit_bytes: u64,
    size_bytes: u64,
}

impl TwoQ {
    /// A cache of so many bytes.
    #[must_use]
    pub fn new(size_bytes: u64) -> Self {
        TwoQ {
            lists: Lists::new(),
            recent_limit_bytes: share(size_bytes, 25),
            names_limit_bytes: share(size_bytes, 50),
            size_bytes,
        }
    }

    /// Makes room for so many bytes; `false` if there cannot be.
    fn make_room(&mut self, bytes: u64) -> bool {
        while self.used_bytes() + bytes > self.size_bytes {
            let recent = self.lists.oldest(RECENT);
            let frequent = self.lists.oldest(FREQUENT);
            let over = self.lists.bytes(RECENT) > self.recent_limit_bytes;
            match (recent, frequent) {
                (Some(victim), None) => self.forget_recent(victim),
                (Some(victim), _) if over => self.forget_recent(victim),
                (_, Some(victim)) => self.lists.remove(victim),
                (None, None) => return false,
            }
        }
        true
    }

    fn forget_recent(&mut self, victim: ObjectId) {
        self.lists.remember(NAMES, victim, self.names_limit_bytes);
    }
}

impl Cache for TwoQ {
    fn request(&mut self, request: Request) -> Outcome {
        self.lists.know(request.object);
        let found = self.lists.list_of(request.object);
        match found {
            Some(FREQUENT) => {
                self.lists.renew(FREQUENT, request.object);
                return Outcome::Hit;
            }
            Some(RECENT) => return Outcome::Hit,
            Some(_) => self.lists.remove(request.object),
            None => {}
        }
        if self.make_room(request.size_bytes) {
            let queue = if found.is_some() { FREQUENT } else { RECENT };
            self.lists.put(queue, &request);
        }
        Outcome::Miss
    }

    #[inline]
    fn contains(&self, object: ObjectId) -> bool {
        matches!(self.lists.list_of(object), Some(RECENT | FREQUENT))
    }

    #[inline]
    fn used_bytes(&self) -> u64 {
        self.lists.bytes(RECENT) + self.lists.bytes(FREQUENT)
    }
}
