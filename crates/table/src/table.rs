//! The table: finding slots, taking and recycling them.

use crate::chunks::Chunks;
use crate::error::Error;
use crate::handle::{GENERATION_MASK, Handle, REST};
use crate::protocol::{Detached, SlotRef};
use crate::resource::{FreeRecords, Records};
use crate::slot::{ExtentWord, FLAG_ALIGN_SHIFT, FLAG_ZERO_OWED, Slot};
use crate::sync::{AtomicU32, Mutex, Ordering, lock};
use crate::word::{State, Word};

#[cfg(not(any(vidmm_loom, vidmm_shuttle)))]
const SHARDS: u32 = 64;
#[cfg(any(vidmm_loom, vidmm_shuttle))]
const SHARDS: u32 = 2;

/// Slots in a chunk: 256 KiB of them.
#[cfg(not(any(vidmm_loom, vidmm_shuttle)))]
const CHUNK_BITS: u32 = 12;
#[cfg(any(vidmm_loom, vidmm_shuttle))]
const CHUNK_BITS: u32 = 2;

#[cfg(not(any(vidmm_loom, vidmm_shuttle)))]
const CHUNKS: u32 = crate::handle::INDEX_END >> CHUNK_BITS;
#[cfg(vidmm_loom)]
const CHUNKS: u32 = 2;
#[cfg(all(vidmm_shuttle, not(vidmm_loom)))]
const CHUNKS: u32 = 8;

/// Indices below this can have a slot.
const SLOTS_END: u32 = CHUNKS << CHUNK_BITS;

#[cfg(not(any(vidmm_loom, vidmm_shuttle)))]
const _: () = assert!(SLOTS_END == crate::handle::INDEX_END);

/// The place of a slot in its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotIndex(u32);

impl SlotIndex {
    /// The index as a number: below 2^21.
    #[inline]
    #[must_use]
    pub fn raw(self) -> u32 {
        self.0
    }

    /// The slot at this index, if there is one ([`Table::at`] says).
    #[inline]
    #[must_use]
    pub fn from_raw(raw: u32) -> Self {
        SlotIndex(raw)
    }
}

/// What a new allocation starts with.
#[derive(Debug, Clone, Copy)]
pub struct New {
    /// The size asked for, in bytes.
    pub size_bytes: u64,
    /// The base-2 logarithm of the alignment asked for; 0 is "a page".
    pub align_log2: u8,
    /// Its memory.
    pub extent: ExtentWord,
    /// It must read as zero and its memory may not: zeroed at the first lock.
    pub zero_owed: bool,
    /// The allocation priority.
    pub priority: u32,
    /// What a rebuild costs, in nanoseconds; 0 is unknown.
    pub rebuild_cost_ns: f32,
    /// The resource it belongs to; 0 is none.
    pub resource: u32,
    /// The device it belongs to; 0 is none.
    pub device: u32,
    /// When it was created, in ticks of the miss clock.
    pub now_ticks: u32,
}

/// Memory that a table's bookkeeping takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryUse {
    /// Bytes of slots and of what finds them.
    pub bytes: u64,
    /// Allocations alive.
    pub allocations: u32,
}

/// Freed slots, first in first out, linked through the slots themselves.
#[derive(Debug)]
struct FreeSlots {
    head: u32,
    tail: u32,
    resting: u32,
    /// The lowest index that was never used.
    unused: u32,
}

/// All slots of a process.
#[derive(Debug)]
pub struct Table {
    pub(crate) chunks: Chunks<Slot, CHUNK_BITS, { CHUNKS as usize }>,
    /// Copy of `FreeSlots::unused` for scans.
    end: AtomicU32,
    free: Mutex<FreeSlots>,
    shards: [Mutex<()>; SHARDS as usize],
    pub(crate) records: Records,
    pub(crate) free_records: Mutex<FreeRecords>,
}

impl Default for Table {
    fn default() -> Self {
        Self::new()
    }
}

impl Table {
    /// An empty table. It takes a few KiB until the first allocation.
    #[must_use]
    pub fn new() -> Self {
        Table {
            chunks: Chunks::new(),
            end: AtomicU32::new(1),
            free: Mutex::new(FreeSlots {
                head: 0,
                tail: 0,
                resting: 0,
                unused: 1,
            }),
            shards: std::array::from_fn(|_| Mutex::new(())),
            records: Records::new(),
            free_records: Mutex::new(FreeRecords::default()),
        }
    }

    /// The slot that `handle` names, if there can be one; whether its allocation still lives is
    /// checked by each operation.
    ///
    /// # Errors
    /// [`Error::BadHandle`].
    #[inline]
    pub fn get(&self, handle: Handle) -> Result<SlotRef<'_>, Error> {
        let index = handle.index();
        let slot = self.chunks.get(index).ok_or(Error::BadHandle)?;
        Ok(SlotRef {
            slot,
            index,
            generation: handle.generation(),
            shard: self.shard(index),
        })
    }

    /// The slot at `index`, whatever allocation it holds now.
    #[inline]
    #[must_use]
    pub fn at(&self, index: SlotIndex) -> Option<SlotRef<'_>> {
        let slot = self.chunks.get(index.0)?;
        let generation = slot.generation.load(Ordering::Relaxed);
        Some(SlotRef {
            slot,
            index: index.0,
            generation,
            shard: self.shard(index.0),
        })
    }

    #[inline]
    fn shard(&self, index: u32) -> &Mutex<()> {
        &self.shards[(index % SHARDS) as usize]
    }

    /// Creates an allocation: committed, fresh.
    ///
    /// # Errors
    /// [`Error::TableFull`]; the extent is the caller's still.
    pub fn create(&self, new: &New) -> Result<Handle, Error> {
        let index = self.take_slot()?;
        let slot = self.chunks.get(index).ok_or(Error::TableFull)?;
        // The slot is empty and off the queue: nobody else writes it, and whoever still holds an
        // old handle is turned away by the generation or by the sequence.
        let relaxed = Ordering::Relaxed;
        slot.extent.store(new.extent.0, relaxed);
        slot.size_bytes.store(new.size_bytes, relaxed);
        let zero_owed = if new.zero_owed { FLAG_ZERO_OWED } else { 0 };
        let align = u16::from(new.align_log2) << FLAG_ALIGN_SHIFT;
        slot.flags.store(align | zero_owed, relaxed);
        slot.stamp.store(new.now_ticks, relaxed);
        slot.reclaims.store(0, relaxed);
        slot.intervals.store(0, relaxed);
        slot.cost.store(new.rebuild_cost_ns.to_bits(), relaxed);
        slot.priority.store(new.priority, relaxed);
        slot.resource.store(new.resource, relaxed);
        slot.device.store(new.device, relaxed);
        slot.queue_uses.store(0, relaxed);
        slot.residency.store(0, relaxed);
        let generation = slot.generation.load(relaxed);
        let word = Word(slot.state.load(relaxed));
        // Release: whoever sees the allocation sees all of the above.
        slot.state
            .store(word.committed_fresh().0, Ordering::Release);
        Handle::new(index, generation).ok_or(Error::TableFull)
    }

    /// Ends an allocation, whatever its state, unless it is locked. Its handle is refused from
    /// here on. The extent, if there was one, is the caller's.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::Shared`], [`Error::BadHandle`].
    pub fn destroy(&self, handle: Handle) -> Result<Option<Detached>, Error> {
        self.destroy_noting(handle, |_| {})
    }

    /// As [`Table::destroy`]; the winner calls `note` with the slot before it can be used again.
    ///
    /// # Errors
    /// As [`Table::destroy`].
    pub fn destroy_noting(
        &self,
        handle: Handle,
        note: impl FnOnce(&Slot),
    ) -> Result<Option<Detached>, Error> {
        let slot = self.get(handle)?;
        let detached = slot.empty()?;
        self.retire(handle, slot.slot, note);
        Ok(detached)
    }

    /// As [`Table::destroy_noting`], also if it is locked: whoever holds a lock on it has nothing
    /// any more. For the end of the device, which it must belong to.
    ///
    /// # Errors
    /// [`Error::BadHandle`], also if it is of another device.
    pub fn destroy_locked(
        &self,
        handle: Handle,
        device: u32,
        note: impl FnOnce(&Slot),
    ) -> Result<Option<Detached>, Error> {
        let slot = self.get(handle)?;
        let detached = slot.empty_locked(device)?;
        self.retire(handle, slot.slot, note);
        Ok(detached)
    }

    /// As [`Table::destroy_noting`], for an allocation that is shared with other processes.
    ///
    /// # Errors
    /// [`Error::BadHandle`], also if it is not shared.
    pub fn destroy_shared(&self, handle: Handle, note: impl FnOnce(&Slot)) -> Result<(), Error> {
        let slot = self.get(handle)?;
        slot.empty_shared()?;
        self.retire(handle, slot.slot, note);
        Ok(())
    }

    /// The rest of a destroy, for the winner of its swap.
    fn retire(&self, handle: Handle, slot: &Slot, note: impl FnOnce(&Slot)) {
        note(slot);
        // Only the winner of the swap comes here, so the generation has one writer.
        let next = handle.generation().wrapping_add(1) & GENERATION_MASK;
        slot.generation.store(next, Ordering::Relaxed);
        self.recycle(handle.index());
    }

    /// A slot that has rested long enough, or one never used.
    fn take_slot(&self) -> Result<u32, Error> {
        let mut free = lock(&self.free);
        if free.resting > REST {
            let index = free.head;
            let slot = self.chunks.get(index).ok_or(Error::TableFull)?;
            free.head = slot.link.load(Ordering::Relaxed);
            free.resting -= 1;
            return Ok(index);
        }
        let index = free.unused;
        if index >= SLOTS_END {
            return Err(Error::TableFull);
        }
        self.chunks.add(index, Slot::new);
        free.unused += 1;
        self.end.store(free.unused, Ordering::Release);
        Ok(index)
    }

    fn recycle(&self, index: u32) {
        let mut free = lock(&self.free);
        if free.resting == 0 {
            free.head = index;
        } else if let Some(last) = self.chunks.get(free.tail) {
            // Release: the last one may have been a member of a resource. Whoever still copies that
            // resource's members and sees this link sees that the resource has changed, too.
            last.link.store(index, Ordering::Release);
        }
        free.tail = index;
        free.resting += 1;
    }

    /// One above the highest index that was ever used.
    #[inline]
    #[must_use]
    pub fn end(&self) -> u32 {
        self.end.load(Ordering::Acquire)
    }

    /// Calls `look` with every slot that was ever used, in order of index.
    #[inline]
    pub fn scan(&self, mut look: impl FnMut(SlotIndex, &Slot)) {
        let end = self.end();
        let mut index = 0;
        while index < end {
            let Some(slots) = self.chunks.chunk(index >> CHUNK_BITS) else {
                return;
            };
            for slot in slots {
                look(SlotIndex(index), slot);
                index += 1;
            }
        }
    }

    /// Ends every allocation at once, without a look at any extent: for a child made by `fork` that
    /// did not inherit the memory. Nobody else may use the table meanwhile.
    pub fn forget_all(&self) {
        self.scan(|index, slot| {
            let word = slot.word();
            if word.state() != State::Empty {
                slot.state.store(word.emptied().0, Ordering::Relaxed);
                let next = slot.generation.load(Ordering::Relaxed).wrapping_add(1);
                slot.generation
                    .store(next & GENERATION_MASK, Ordering::Relaxed);
                self.recycle(index.0);
            }
        });
    }

    /// Calls `each` with the handles of all allocations of `device` that live now; `each` may
    /// destroy them. If slots are used again meanwhile, some may be of other devices:
    /// [`Table::destroy_locked`] looks again.
    pub fn each_of_device(&self, device: u32, mut each: impl FnMut(Handle)) {
        self.scan(|index, slot| {
            if slot.device() == device && slot.word().state() != State::Empty {
                let generation = slot.generation.load(Ordering::Relaxed);
                if let Some(handle) = Handle::new(index.0, generation) {
                    each(handle);
                }
            }
        });
    }

    /// What the table's bookkeeping takes, and for how many allocations.
    #[must_use]
    pub fn memory_use(&self) -> MemoryUse {
        let free = lock(&self.free);
        let bytes = self.chunks.bytes() + self.record_bytes() + size_of::<Self>() as u64;
        MemoryUse {
            bytes,
            allocations: free.unused - 1 - free.resting,
        }
    }
}
