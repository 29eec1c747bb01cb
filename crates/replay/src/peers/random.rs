//! A victim drawn from all that is there, each as likely as any other.
//!
//! **Source:** folklore; measured beside others already by L. A. Belady, *A study of replacement
//! algorithms for a virtual-storage computer*, IBM Systems Journal 5(2), 1966. The draws are a
//! function of the seed and of how many there were, and not of ids.
//!
//! **Sizes:** victims are drawn until there is room. A draw is by object and not by byte.

use crate::mix::Draws;
use crate::{Cache, ObjectId, Outcome, Request};

/// Not in the cache.
const ABSENT: u32 = u32::MAX;

/// Anyone may go.
#[derive(Debug)]
pub struct Random {
    /// Those in the cache, in no order.
    present: Vec<(ObjectId, u64)>,
    /// By object number: its place in `present`.
    places: Vec<u32>,
    draws: Draws,
    used_bytes: u64,
    size_bytes: u64,
}

impl Random {
    /// A cache of so many bytes.
    #[must_use]
    pub fn new(size_bytes: u64, seed: u64) -> Self {
        Random {
            present: Vec::new(),
            places: Vec::new(),
            draws: Draws::new(seed),
            used_bytes: 0,
            size_bytes,
        }
    }

    fn evict(&mut self) {
        let place = self.draws.below(self.present.len());
        let (victim, size_bytes) = self.present.swap_remove(place);
        if let Some(&(moved, _)) = self.present.get(place) {
            self.places[moved.index()] = self.places[victim.index()];
        }
        self.places[victim.index()] = ABSENT;
        self.used_bytes -= size_bytes;
    }
}

impl Cache for Random {
    fn request(&mut self, request: Request) -> Outcome {
        if self.contains(request.object) {
            return Outcome::Hit;
        }
        let index = request.object.index();
        if index >= self.places.len() {
            self.places.resize(index + 1, ABSENT);
        }
        while self.used_bytes + request.size_bytes > self.size_bytes {
            if self.present.is_empty() {
                return Outcome::Miss;
            }
            self.evict();
        }
        let Ok(place) = u32::try_from(self.present.len()) else {
            return Outcome::Miss;
        };
        self.places[index] = place;
        self.present.push((request.object, request.size_bytes));
        self.used_bytes += request.size_bytes;
        Outcome::Miss
    }

    #[inline]
    fn contains(&self, object: ObjectId) -> bool {
        self.places
            .get(object.index())
            .is_some_and(|&place| place != ABSENT)
    }

    fn used_bytes(&self) -> u64 {
        self.used_bytes
    }
}
