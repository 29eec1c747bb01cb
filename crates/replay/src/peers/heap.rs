//! Objects by key, least first, whose keys change.

use crate::ObjectId;

/// Not in the heap.
const NOWHERE: u32 = u32::MAX;

/// A binary heap that knows where each object is. Finding the least takes no time, anything else
/// logarithmic time. Keys that compare equal come out in an order that depends on the past only.
#[derive(Debug, Clone)]
pub(super) struct Heap<K> {
    heap: Vec<(K, ObjectId)>,
    /// By object, its place in `heap`.
    places: Vec<u32>,
}

impl<K: Copy + PartialOrd> Heap<K> {
    pub(super) fn new() -> Self {
        Heap {
            heap: Vec::new(),
            places: Vec::new(),
        }
    }

    #[inline]
    fn place(&self, object: ObjectId) -> Option<usize> {
        self.places
            .get(object.index())
            .filter(|&&place| place != NOWHERE)
            .map(|&place| place as usize)
    }

    /// How many objects are in.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }

    #[inline]
    pub(super) fn least(&self) -> Option<(K, ObjectId)> {
        self.heap.first().copied()
    }

    /// Puts an object in, or changes its key.
    pub(super) fn set(&mut self, object: ObjectId, key: K) {
        if object.index() >= self.places.len() {
            self.places.resize(object.index() + 1, NOWHERE);
        }
        let place = self.place(object).unwrap_or(self.heap.len());
        if place == self.heap.len() {
            self.heap.push((key, object));
            self.keep(place);
        } else {
            self.heap[place].0 = key;
        }
        self.sift(place);
    }

    /// Takes an object out, if it is in.
    pub(super) fn remove(&mut self, object: ObjectId) {
        let Some(place) = self.place(object) else {
            return;
        };
        self.places[object.index()] = NOWHERE;
        self.heap.swap_remove(place);
        if place < self.heap.len() {
            self.keep(place);
            self.sift(place);
        }
    }

    /// Notes where the object at this place is.
    #[inline]
    #[allow(
        clippy::cast_possible_truncation,
        reason = "no more places than objects"
    )]
    fn keep(&mut self, place: usize) {
        self.places[self.heap[place].1.index()] = place as u32;
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        self.keep(a);
        self.keep(b);
    }

    /// Moves what is at this place to where it belongs.
    fn sift(&mut self, mut place: usize) {
        while place > 0 {
            let parent = (place - 1) / 2;
            if self.heap[parent].0 <= self.heap[place].0 {
                break;
            }
            self.swap(parent, place);
            place = parent;
        }
        loop {
            let mut least = place;
            for child in [2 * place + 1, 2 * place + 2] {
                if child < self.heap.len() && self.heap[child].0 < self.heap[least].0 {
                    least = child;
                }
            }
            if least == place {
                return;
            }
            self.swap(least, place);
            place = least;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against looking through all of them.
        #[test]
        fn the_least_is_the_least(steps in prop::collection::vec((0..20_u32, 0..50_u32), 1..200)) {
            let mut heap = Heap::new();
            let mut keys = [None; 20];
            for (object, key) in steps {
                // A fifth of the steps take out.
                if key < 10 {
                    heap.remove(ObjectId(object));
                    keys[object as usize] = None;
                } else {
                    heap.set(ObjectId(object), (key, object));
                    keys[object as usize] = Some((key, object));
                }
                let least = keys.iter().flatten().min().copied();
                prop_assert_eq!(heap.least().map(|(key, object)| (key.0, object.0)), least);
                prop_assert_eq!(heap.len(), keys.iter().flatten().count());
            }
        }
    }
}
