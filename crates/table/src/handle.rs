//! Handles: 32 bits, an index and a generation.

use std::num::NonZeroU32;

/// Bits of a handle that name the slot.
pub(crate) const INDEX_BITS: u32 = 21;
/// Bits of a handle that name which of the slot's allocations is meant.
pub(crate) const GENERATION_BITS: u32 = 32 - INDEX_BITS;
pub(crate) const INDEX_MASK: u32 = (1 << INDEX_BITS) - 1;
pub(crate) const GENERATION_MASK: u16 = (1 << GENERATION_BITS) - 1;

/// Slot indices end here: three quarters of all indices name allocations. The rest are for other
/// kinds of objects, so that their handles are ones that no allocation ever has.
pub(crate) const INDEX_END: u32 = 3 << (INDEX_BITS - 2);

/// Indices from [`INDEX_END`] to here name resources.
pub(crate) const RESOURCE_INDEX_END: u32 = (1 << INDEX_BITS) - OBJECT_INDICES;

/// So many indices at the very end are for the objects of a face (devices, queues, ...), which
/// makes their handles with [`object_handle`].
pub const OBJECT_INDICES: u32 = 1 << 16;

/// How many generations an index has: a handle comes again after so many objects of its index.
pub const GENERATIONS: u16 = 1 << GENERATION_BITS;

/// How many allocations can live at once. (Index 0 is not used: no handle is 0.)
pub const MAX_ALLOCATIONS: u32 = INDEX_END - 1;

/// How many resources can live at once.
pub const MAX_RESOURCES: u32 = RESOURCE_INDEX_END - INDEX_END;

/// The 32 bits that name object number `number` of a face in its generation `generation`; `None` if
/// one of them is too large. No allocation and no resource ever has that handle.
#[must_use]
pub fn object_handle(number: u32, generation: u16) -> Option<u32> {
    (number < OBJECT_INDICES && generation < GENERATIONS)
        .then(|| u32::from(generation) << INDEX_BITS | (RESOURCE_INDEX_END + number))
}

/// Which object of a face a handle would name, if any.
#[inline]
#[must_use]
pub fn object_number(raw: u32) -> Option<u32> {
    (raw & INDEX_MASK).checked_sub(RESOURCE_INDEX_END)
}

/// A freed slot rests until this many others have been freed after it.
#[cfg(not(any(vidmm_loom, vidmm_shuttle)))]
pub(crate) const REST: u32 = 16_384;
/// Under a checker, recycling at once is the interesting case.
#[cfg(any(vidmm_loom, vidmm_shuttle))]
pub(crate) const REST: u32 = 0;

// A stale handle is caught for 2^25 creates or more: each generation of a slot is followed by a
// rest of `REST` others.
#[cfg(not(any(vidmm_loom, vidmm_shuttle)))]
const _: () = assert!((1 << GENERATION_BITS) * (REST as u64) >= 1 << 25);

/// Names one allocation of one table. Copying it is free; a handle whose allocation was destroyed
/// is refused for at least 2^25 further creates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handle(NonZeroU32);

impl Handle {
    pub(crate) fn new(index: u32, generation: u16) -> Option<Self> {
        NonZeroU32::new(u32::from(generation) << INDEX_BITS | index).map(Handle)
    }

    /// The handle with these 32 bits, whatever they may name. 0 is no handle.
    #[must_use]
    pub fn from_raw(raw: u32) -> Option<Self> {
        NonZeroU32::new(raw).map(Handle)
    }

    /// The 32 bits.
    #[must_use]
    pub fn raw(self) -> u32 {
        self.0.get()
    }

    #[inline]
    pub(crate) fn index(self) -> u32 {
        self.0.get() & INDEX_MASK
    }

    #[inline]
    pub(crate) fn generation(self) -> u16 {
        // The 11 bits left by the shift fit.
        #[allow(clippy::cast_possible_truncation)]
        let generation = (self.0.get() >> INDEX_BITS) as u16;
        generation
    }
}
