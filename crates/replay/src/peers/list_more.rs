//! What some policies do with lists besides, made of what lists can do.

use super::list::Lists;
use crate::{ObjectId, Request};

impl<const N: usize> Lists<N> {
    /// Puts an object that is in no list, and need not be the one requested just now, at the newer end
    /// of one.
    #[inline]
    pub(super) fn insert(&mut self, list: usize, object: ObjectId, size_bytes: u64) {
        // Of a request, a list looks at no more than these two.
        self.put(
            list,
            &Request {
                time: 0,
                object,
                size_bytes,
                cost: 0.0,
            },
        );
    }

    /// Takes the oldest object out of a list.
    #[inline]
    pub(super) fn pop(&mut self, list: usize) -> Option<ObjectId> {
        let oldest = self.oldest(list)?;
        self.remove(oldest);
        Some(oldest)
    }

    /// The numbers of the objects of a list, newest first.
    #[cfg(test)]
    pub(super) fn newest_first(&self, list: usize) -> Vec<u32> {
        let next = |object: &ObjectId| self.newer(*object);
        let objects = std::iter::successors(self.oldest(list), next);
        let mut numbers: Vec<_> = objects.map(|object| object.0).collect();
        numbers.reverse();
        numbers
    }
}
