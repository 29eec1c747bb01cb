//! A slot: one cache line of words. The state word is in `protocol`; the rest are plain words,
//! each an atomic only so that a scan may read them while their owner writes.

use crate::sync::{
    AtomicU16, AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed},
};
use crate::word::Word;

/// An extent as this crate sees it: a word that it stores and hands back. 0 says "none".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExtentWord(pub u64);

/// What a slot remembers of its allocation's use. It stays as long as the handle lives, also
/// while the content is discarded.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct History {
    /// When it was last offered, in ticks of the miss clock (which wraps).
    pub stamp_ticks: u32,
    /// How often it was reclaimed.
    pub reclaims: u32,
    /// Ticks from its last offer before the last reclaim to that reclaim; what is longer than
    /// [`INTERVAL_TICKS_MAX`] is remembered as that.
    pub last_interval_ticks: u32,
    /// The interval before the last one, as above.
    pub previous_interval_ticks: u32,
    /// What rebuilding it costs, in nanoseconds; 0 is unknown.
    pub rebuild_cost_ns: f32,
    /// The allocation priority (`D3DDDI_ALLOCATIONPRIORITY_*`, any value in between).
    pub priority: u32,
}

/// Longer intervals are remembered as this, in ticks.
pub const INTERVAL_TICKS_MAX: u32 = (1 << 16) - 1;

/// The word of the last two intervals after another one of so many ticks.
#[inline]
pub(crate) fn next_intervals(word: u32, interval_ticks: u32) -> u32 {
    word << 16 | interval_ticks.min(INTERVAL_TICKS_MAX)
}

/// A zero is owed at the first lock: the allocation promised zeroes and its memory is warm.
pub(crate) const FLAG_ZERO_OWED: u16 = 1;
/// It was discarded and nobody has locked it since: its content is unspecified.
pub(crate) const FLAG_CONTENT_LOST: u16 = 2;
/// The upper byte of the flags keeps the alignment (its logarithm; 0 is a page).
pub(crate) const FLAG_ALIGN_SHIFT: u32 = 8;

/// One slot. Everything of an allocation that vidmm ever writes on its fast path is in this line.
#[derive(Debug)]
#[cfg_attr(not(any(vidmm_loom, vidmm_shuttle)), repr(C, align(64)))]
pub struct Slot {
    pub(crate) state: AtomicU64,
    pub(crate) extent: AtomicU64,
    pub(crate) size_bytes: AtomicU64,
    pub(crate) generation: AtomicU16,
    pub(crate) flags: AtomicU16,
    pub(crate) stamp: AtomicU32,
    pub(crate) reclaims: AtomicU32,
    /// The last interval, and above it the one before.
    pub(crate) intervals: AtomicU32,
    pub(crate) cost: AtomicU32,
    pub(crate) priority: AtomicU32,
    pub(crate) resource: AtomicU32,
    pub(crate) device: AtomicU32,
    /// While it lives: the handle of the next member of its resource, 0 after the last. Then: the
    /// next slot of the queue of freed ones.
    pub(crate) link: AtomicU32,
    /// Submissions that still use the allocation, and how often it was made resident: the WDDM
    /// face's words, here because the line is.
    pub(crate) queue_uses: AtomicU16,
    pub(crate) residency: AtomicU16,
}

#[cfg(not(any(vidmm_loom, vidmm_shuttle)))]
const _: () = assert!(size_of::<Slot>() == 64 && align_of::<Slot>() == 64);

impl Slot {
    pub(crate) fn new() -> Self {
        Slot {
            state: AtomicU64::new(0),
            extent: AtomicU64::new(0),
            size_bytes: AtomicU64::new(0),
            generation: AtomicU16::new(0),
            flags: AtomicU16::new(0),
            stamp: AtomicU32::new(0),
            reclaims: AtomicU32::new(0),
            intervals: AtomicU32::new(0),
            cost: AtomicU32::new(0),
            priority: AtomicU32::new(0),
            resource: AtomicU32::new(0),
            device: AtomicU32::new(0),
            link: AtomicU32::new(0),
            queue_uses: AtomicU16::new(0),
            residency: AtomicU16::new(0),
        }
    }

    /// The state word as it is now. Whoever acts on it swaps from exactly this word.
    #[inline]
    #[must_use]
    pub fn word(&self) -> Word {
        // SeqCst: a scan's look at a slot and an offer's look at the victim list must not miss
        // each other (see `SlotRef::offer`). On x86-64 it is the same load as Acquire.
        Word(self.state.load(crate::sync::Ordering::SeqCst))
    }

    /// Tells the allocations that have had this slot from each other.
    #[inline]
    #[must_use]
    pub fn generation(&self) -> u16 {
        self.generation.load(Relaxed)
    }

    /// The size its owner asked for, in bytes.
    #[inline]
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes.load(Relaxed)
    }

    /// The base-2 logarithm of the alignment its owner asked for; 0 is "a page".
    #[must_use]
    pub fn align_log2(&self) -> u8 {
        self.flags.load(Relaxed).to_be_bytes()[0]
    }

    /// The device it belongs to; 0 is none.
    #[must_use]
    pub fn device(&self) -> u32 {
        self.device.load(Relaxed)
    }

    /// The next member of its resource.
    #[inline]
    pub(crate) fn link(&self) -> u32 {
        self.link.load(Relaxed)
    }

    pub(crate) fn set_link(&self, next: u32) {
        self.link.store(next, Relaxed);
    }

    /// The extent. It is the slot's own while the state is committed or offered.
    #[inline]
    #[must_use]
    pub fn extent(&self) -> ExtentWord {
        ExtentWord(self.extent.load(Relaxed))
    }

    /// The resource (group) it belongs to; 0 is none.
    #[inline]
    #[must_use]
    pub fn resource(&self) -> u32 {
        // Acquire: whoever frees the slot of what has no resource any more comes after the end of
        // that resource (see `SlotRef::set_resource`).
        self.resource.load(Acquire)
    }

    /// What it remembers of its use.
    #[inline]
    #[must_use]
    pub fn history(&self) -> History {
        let intervals = self.intervals.load(Relaxed);
        History {
            stamp_ticks: self.stamp.load(Relaxed),
            reclaims: self.reclaims.load(Relaxed),
            last_interval_ticks: intervals & INTERVAL_TICKS_MAX,
            previous_interval_ticks: intervals >> 16,
            rebuild_cost_ns: f32::from_bits(self.cost.load(Relaxed)),
            priority: self.priority.load(Relaxed),
        }
    }

    /// The allocation priority alone.
    #[inline]
    #[must_use]
    pub fn priority(&self) -> u32 {
        self.priority.load(Relaxed)
    }
}
