//! Things in chunks that never move and are freed only with their owner: slots, and the records of
//! resources.
#![allow(unsafe_code)]

use crate::sync::{AtomicPtr, Ordering};

/// Up to `CHUNKS` chunks of `1 << BITS` things each.
#[derive(Debug)]
pub(crate) struct Chunks<T, const BITS: u32, const CHUNKS: usize> {
    /// In place, and one for each chunk that an index can name: finding a thing is one load.
    chunks: [AtomicPtr<T>; CHUNKS],
}

impl<T, const BITS: u32, const CHUNKS: usize> Chunks<T, BITS, CHUNKS> {
    /// Things in a chunk.
    pub(crate) const CHUNK: u32 = 1 << BITS;

    pub(crate) fn new() -> Self {
        Chunks {
            chunks: std::array::from_fn(|_| AtomicPtr::new(std::ptr::null_mut())),
        }
    }

    /// The thing at `index`, if its chunk exists.
    #[inline]
    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        // Acquire: the things of a chunk were written before its pointer was.
        let chunk = self
            .chunks
            .get((index >> BITS) as usize)?
            .load(Ordering::Acquire);
        if chunk.is_null() {
            return None;
        }
        // SAFETY: a non-null pointer was stored by `add` and points to CHUNK things.
        let thing = unsafe { chunk.add((index & (Self::CHUNK - 1)) as usize) };
        // SAFETY: the chunk is freed only by `drop`, which has `self` to itself; its things are
        // only ever reached through shared references.
        Some(unsafe { &*thing })
    }

    /// All things of chunk number `chunk`.
    #[inline]
    pub(crate) fn chunk(&self, chunk: u32) -> Option<&[T]> {
        let first = self.chunks.get(chunk as usize)?.load(Ordering::Acquire);
        if first.is_null() {
            return None;
        }
        // SAFETY: as in `get`; a chunk is CHUNK things in a row.
        Some(unsafe { std::slice::from_raw_parts(first, Self::CHUNK as usize) })
    }

    /// Adds the chunk that holds `index`, full of what `make` makes, unless it exists. The caller
    /// holds its owner's lock on free things: two adders would leak one chunk.
    pub(crate) fn add(&self, index: u32, make: fn() -> T) {
        let place = &self.chunks[(index >> BITS) as usize];
        if place.load(Ordering::Relaxed).is_null() {
            let things: Box<[T]> = (0..Self::CHUNK).map(|_| make()).collect();
            place.store(Box::into_raw(things).cast::<T>(), Ordering::Release);
        }
    }

    /// Bytes of all chunks that exist.
    pub(crate) fn bytes(&self) -> u64 {
        let live = self
            .chunks
            .iter()
            .filter(|place| !place.load(Ordering::Relaxed).is_null())
            .count();
        live as u64 * u64::from(Self::CHUNK) * size_of::<T>() as u64
    }
}

impl<T, const BITS: u32, const CHUNKS: usize> Drop for Chunks<T, BITS, CHUNKS> {
    fn drop(&mut self) {
        for place in &self.chunks {
            let first = place.load(Ordering::Relaxed);
            if !first.is_null() {
                let slots = std::ptr::slice_from_raw_parts_mut(first, Self::CHUNK as usize);
                // SAFETY: `add` made the pointer from a box of exactly this slice; `&mut self`
                // says that no reference into it is left.
                drop(unsafe { Box::from_raw(slots) });
            }
        }
    }
}
