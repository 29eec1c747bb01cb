//! Slots in chunks that never move and are freed only with the table.
#![allow(unsafe_code)]

use crate::slot::Slot;
use crate::sync::{AtomicPtr, Ordering};

#[cfg(not(any(vidmm_loom, vidmm_shuttle)))]
const CHUNK_BITS: u32 = 12;
#[cfg(any(vidmm_loom, vidmm_shuttle))]
const CHUNK_BITS: u32 = 2;

/// Slots in a chunk: 256 KiB of them.
pub(crate) const CHUNK_SLOTS: u32 = 1 << CHUNK_BITS;

#[cfg(not(any(vidmm_loom, vidmm_shuttle)))]
const CHUNKS: u32 = (crate::handle::INDEX_MASK + 1) / CHUNK_SLOTS;
#[cfg(vidmm_loom)]
const CHUNKS: u32 = 2;
#[cfg(all(vidmm_shuttle, not(vidmm_loom)))]
const CHUNKS: u32 = 8;

/// Indices below this can have a slot.
#[cfg(not(any(vidmm_loom, vidmm_shuttle)))]
pub(crate) const SLOTS_END: u32 = crate::handle::INDEX_END;
#[cfg(any(vidmm_loom, vidmm_shuttle))]
pub(crate) const SLOTS_END: u32 = CHUNKS * CHUNK_SLOTS;

const _: () = assert!(SLOTS_END <= CHUNKS * CHUNK_SLOTS);

#[derive(Debug)]
pub(crate) struct Chunks {
    /// In place, and one for each chunk that an index can name: finding a slot is one load.
    chunks: [AtomicPtr<Slot>; CHUNKS as usize],
}

impl Chunks {
    pub(crate) fn new() -> Self {
        Chunks {
            chunks: std::array::from_fn(|_| AtomicPtr::new(std::ptr::null_mut())),
        }
    }

    /// The slot at `index`, if its chunk exists.
    #[inline]
    pub(crate) fn get(&self, index: u32) -> Option<&Slot> {
        // Acquire: the slots of a chunk were written before its pointer was.
        let chunk = self
            .chunks
            .get((index >> CHUNK_BITS) as usize)?
            .load(Ordering::Acquire);
        if chunk.is_null() {
            return None;
        }
        // SAFETY: a non-null pointer was stored by `add` and points to CHUNK_SLOTS slots.
        let slot = unsafe { chunk.add((index & (CHUNK_SLOTS - 1)) as usize) };
        // SAFETY: the chunk is freed only by `drop`, which has `self` to itself; slots are only
        // ever reached through shared references.
        Some(unsafe { &*slot })
    }

    /// All slots of chunk number `chunk`.
    #[inline]
    pub(crate) fn chunk(&self, chunk: u32) -> Option<&[Slot]> {
        let first = self.chunks.get(chunk as usize)?.load(Ordering::Acquire);
        if first.is_null() {
            return None;
        }
        // SAFETY: as in `get`; a chunk is CHUNK_SLOTS slots in a row.
        Some(unsafe { std::slice::from_raw_parts(first, CHUNK_SLOTS as usize) })
    }

    /// Adds the chunk that holds `index`, unless it exists. The caller holds the table's lock on
    /// free slots: two adders would leak one chunk.
    pub(crate) fn add(&self, index: u32) {
        let place = &self.chunks[(index >> CHUNK_BITS) as usize];
        if place.load(Ordering::Relaxed).is_null() {
            let slots: Box<[Slot]> = (0..CHUNK_SLOTS).map(|_| Slot::new()).collect();
            place.store(Box::into_raw(slots).cast::<Slot>(), Ordering::Release);
        }
    }

    /// Bytes of all chunks that exist.
    pub(crate) fn bytes(&self) -> u64 {
        let live = self
            .chunks
            .iter()
            .filter(|place| !place.load(Ordering::Relaxed).is_null())
            .count();
        live as u64 * u64::from(CHUNK_SLOTS) * size_of::<Slot>() as u64
    }
}

impl Drop for Chunks {
    fn drop(&mut self) {
        for place in &self.chunks {
            let first = place.load(Ordering::Relaxed);
            if !first.is_null() {
                let slots = std::ptr::slice_from_raw_parts_mut(first, CHUNK_SLOTS as usize);
                // SAFETY: `add` made the pointer from a box of exactly this slice; `&mut self`
                // says that no reference into it is left.
                drop(unsafe { Box::from_raw(slots) });
            }
        }
    }
}
