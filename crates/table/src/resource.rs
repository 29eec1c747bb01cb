//! Resources: which allocations belong together, in order of creation.
//!
//! A record for each resource; its members are chained through their slots' link words. Whoever
//! changes a chain holds the lock of all of them ([`Table::resources`]). Whoever only wants to know
//! the members ([`Table::members`]) takes no lock: it copies the chain and then looks whether the
//! record's version has changed meanwhile.

use std::num::NonZeroU32;

use crate::chunks::Chunks;
use crate::error::Error;
use crate::handle::{GENERATION_MASK, Handle, INDEX_BITS, INDEX_END, INDEX_MASK, MAX_RESOURCES};
use crate::slot::Slot;
use crate::sync::{AtomicU16, AtomicU32, MutexGuard, Ordering, fence, lock};
use crate::table::{New, Table};

#[cfg(not(any(vidmm_loom, vidmm_shuttle)))]
const CHUNK_BITS: u32 = 9;
#[cfg(any(vidmm_loom, vidmm_shuttle))]
const CHUNK_BITS: u32 = 1;

#[cfg(not(any(vidmm_loom, vidmm_shuttle)))]
const CHUNKS: usize = MAX_RESOURCES.div_ceil(1 << CHUNK_BITS) as usize;
#[cfg(any(vidmm_loom, vidmm_shuttle))]
const CHUNKS: usize = 1;

/// A freed record rests until so many others have been freed after it.
#[cfg(not(any(vidmm_loom, vidmm_shuttle)))]
const REST: u32 = 4096;
#[cfg(any(vidmm_loom, vidmm_shuttle))]
const REST: u32 = 0;

// A stale name is caught for 2^23 creates or more.
#[cfg(not(any(vidmm_loom, vidmm_shuttle)))]
const _: () = assert!((1 << crate::handle::GENERATION_BITS) * (REST as u64) >= 1 << 23);

/// A chain that changed so often while it was copied is copied under the lock instead.
const TRIES: u32 = 3;

/// Names one resource of one table, in the form of a [`Handle`]: an index and a generation. No
/// allocation ever has the same 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceId(NonZeroU32);

impl ResourceId {
    /// The name with these 32 bits, whatever it may name. 0 is no name.
    #[must_use]
    pub fn from_raw(raw: u32) -> Option<Self> {
        NonZeroU32::new(raw).map(ResourceId)
    }

    /// The 32 bits.
    #[must_use]
    pub fn raw(self) -> u32 {
        self.0.get()
    }

    /// The place of its record among all; the next resource at this place has the same.
    #[must_use]
    pub fn place(self) -> u32 {
        (self.raw() & INDEX_MASK).wrapping_sub(INDEX_END)
    }
}

/// What is kept of a resource.
#[derive(Debug)]
pub(crate) struct Record {
    /// The name of the resource that lives here; 0 is none.
    name: AtomicU32,
    /// Odd while the chain is being changed.
    version: AtomicU32,
    first: AtomicU32,
    last: AtomicU32,
    count: AtomicU32,
    /// The device it belongs to; 0 is none.
    device: AtomicU32,
    /// The next record of the queue of freed ones.
    link: AtomicU32,
    generation: AtomicU16,
}

impl Record {
    fn new() -> Self {
        Record {
            name: AtomicU32::new(0),
            version: AtomicU32::new(0),
            first: AtomicU32::new(0),
            last: AtomicU32::new(0),
            count: AtomicU32::new(0),
            device: AtomicU32::new(0),
            link: AtomicU32::new(0),
            generation: AtomicU16::new(0),
        }
    }

    /// Changes name or chain, so that whoever copies them meanwhile sees that it was too early.
    fn change(&self, change: impl FnOnce()) {
        let version = self.version.load(Ordering::Relaxed);
        self.version
            .store(version.wrapping_add(1), Ordering::Relaxed);
        // The odd version is seen by whoever sees any part of the change: a copier's own fence
        // meets this one.
        fence(Ordering::Release);
        change();
        self.version
            .store(version.wrapping_add(2), Ordering::Release);
    }
}

/// All records.
pub(crate) type Records = Chunks<Record, CHUNK_BITS, CHUNKS>;

/// What the lock of all resources guards: which records are free.
#[derive(Debug, Default)]
pub(crate) struct FreeRecords {
    head: u32,
    tail: u32,
    resting: u32,
    /// The lowest place that was never used.
    unused: u32,
}

/// All resources, while nobody else can change them.
#[derive(Debug)]
pub struct Resources<'t> {
    table: &'t Table,
    free: MutexGuard<'t, FreeRecords>,
}

impl Table {
    /// Locks the resources: to make, change or end one, or to walk its members undisturbed.
    pub fn resources(&self) -> Resources<'_> {
        Resources {
            table: self,
            free: lock(&self.free_records),
        }
    }

    /// Whether the resource lives.
    #[inline]
    #[must_use]
    pub fn has_resource(&self, resource: ResourceId) -> bool {
        self.record(resource).is_some()
    }

    /// The device that a resource was made for; 0 is none.
    ///
    /// # Errors
    /// [`Error::BadHandle`].
    #[inline]
    pub fn device_of(&self, resource: ResourceId) -> Result<u32, Error> {
        let record = self.record(resource).ok_or(Error::BadHandle)?;
        let device = record.device.load(Ordering::Relaxed);
        // What was read above is older than the name read below: still the same resource after the
        // look, so the device was its own.
        fence(Ordering::Acquire);
        match record.name.load(Ordering::Relaxed) == resource.raw() {
            true => Ok(device),
            false => Err(Error::BadHandle),
        }
    }

    /// Copies the names of the resource's members, in order of creation, to the beginning of
    /// `members` and says how many there are. If they are more than fit, what was copied is of no
    /// use. Takes no lock unless others keep changing the resource.
    ///
    /// # Errors
    /// [`Error::BadHandle`].
    #[inline]
    pub fn members(&self, resource: ResourceId, members: &mut [u32]) -> Result<usize, Error> {
        let record = self.records.get(resource.place()).ok_or(Error::BadHandle)?;
        for _ in 0..TRIES {
            let version = record.version.load(Ordering::Acquire);
            if version & 1 != 0 {
                break;
            }
            let copied = self.copy(record, resource, members);
            // What was read above is older than the version read below.
            fence(Ordering::Acquire);
            if record.version.load(Ordering::Relaxed) == version {
                return copied;
            }
        }
        let _undisturbed = self.resources();
        self.copy(record, resource, members)
    }

    /// The members as they are just now; if others change them meanwhile, anything.
    #[inline]
    fn copy(
        &self,
        record: &Record,
        resource: ResourceId,
        members: &mut [u32],
    ) -> Result<usize, Error> {
        if record.name.load(Ordering::Relaxed) != resource.raw() {
            return Err(Error::BadHandle);
        }
        let count = record.count.load(Ordering::Relaxed) as usize;
        let mut next = record.first.load(Ordering::Relaxed);
        for place in members.iter_mut().take(count) {
            *place = next;
            next = self.slot_of(next).map_or(0, Slot::link);
        }
        Ok(count)
    }

    #[inline]
    fn record(&self, resource: ResourceId) -> Option<&Record> {
        let record = self.records.get(resource.place())?;
        (record.name.load(Ordering::Acquire) == resource.raw()).then_some(record)
    }

    fn slot_of(&self, raw: u32) -> Option<&Slot> {
        self.chunks.get(raw & INDEX_MASK)
    }

    fn set_link(&self, raw: u32, next: u32) {
        if let Some(slot) = self.slot_of(raw) {
            slot.set_link(next);
        }
    }

    /// Bytes of all records.
    pub(crate) fn record_bytes(&self) -> u64 {
        self.records.bytes()
    }
}

impl Resources<'_> {
    /// A new resource without members, for `device` (0 is none).
    ///
    /// # Errors
    /// [`Error::TooManyResources`].
    pub fn create(&mut self, device: u32) -> Result<ResourceId, Error> {
        let place = self.take_place()?;
        let record = self
            .table
            .records
            .get(place)
            .ok_or(Error::TooManyResources)?;
        let generation = record.generation.load(Ordering::Relaxed);
        let raw = u32::from(generation) << INDEX_BITS | (INDEX_END + place);
        let id = ResourceId::from_raw(raw).ok_or(Error::TooManyResources)?;
        record.change(|| {
            for word in [&record.first, &record.last, &record.count] {
                word.store(0, Ordering::Relaxed);
            }
            record.device.store(device, Ordering::Relaxed);
            // Release: whoever finds the name finds the device.
            record.name.store(raw, Ordering::Release);
        });
        Ok(id)
    }

    fn take_place(&mut self) -> Result<u32, Error> {
        let records = &self.table.records;
        if self.free.resting > REST {
            let place = self.free.head;
            let record = records.get(place).ok_or(Error::TooManyResources)?;
            self.free.head = record.link.load(Ordering::Relaxed);
            self.free.resting -= 1;
            return Ok(place);
        }
        let place = self.free.unused;
        if place >= MAX_RESOURCES || place as usize >= CHUNKS << CHUNK_BITS {
            return Err(Error::TooManyResources);
        }
        records.add(place, Record::new);
        self.free.unused += 1;
        Ok(place)
    }

    /// Ends a resource. Its members live on; `member` is called for each, when nobody finds the
    /// resource any more.
    ///
    /// # Errors
    /// [`Error::BadHandle`].
    pub fn destroy(
        &mut self,
        resource: ResourceId,
        mut member: impl FnMut(Handle),
    ) -> Result<(), Error> {
        let place = resource.place();
        let record = self.table.record(resource).ok_or(Error::BadHandle)?;
        // First of all: a member that is told it has no resource any more can be destroyed, and its
        // slot used for something else, without a wait for this lock.
        record.change(|| record.name.store(0, Ordering::Relaxed));
        self.walk(record, &mut member);
        let next = record.generation.load(Ordering::Relaxed).wrapping_add(1);
        record
            .generation
            .store(next & GENERATION_MASK, Ordering::Relaxed);
        if self.free.resting == 0 {
            self.free.head = place;
        } else if let Some(last) = self.table.records.get(self.free.tail) {
            last.link.store(place, Ordering::Relaxed);
        }
        self.free.tail = place;
        self.free.resting += 1;
        Ok(())
    }

    /// Calls `look` for each member, in order of creation. A member that is just being destroyed
    /// may be among them.
    ///
    /// # Errors
    /// [`Error::BadHandle`].
    pub fn each_member(
        &self,
        resource: ResourceId,
        mut look: impl FnMut(Handle),
    ) -> Result<(), Error> {
        let record = self.table.record(resource).ok_or(Error::BadHandle)?;
        self.walk(record, &mut look);
        Ok(())
    }

    /// The link is read before the member is looked at: afterwards it may be no member any more.
    fn walk(&self, record: &Record, look: &mut impl FnMut(Handle)) {
        let mut next = record.first.load(Ordering::Relaxed);
        for _ in 0..record.count.load(Ordering::Relaxed) {
            let Some(handle) = Handle::from_raw(next) else {
                break;
            };
            next = self.table.slot_of(next).map_or(0, Slot::link);
            look(handle);
        }
    }

    /// The resource that lives at `place`, if one does.
    #[must_use]
    pub fn at(&self, place: u32) -> Option<ResourceId> {
        let record = self.table.records.get(place)?;
        ResourceId::from_raw(record.name.load(Ordering::Relaxed))
    }

    /// The resources of `device`.
    #[must_use]
    pub fn of_device(&self, device: u32) -> Vec<ResourceId> {
        (0..self.free.unused)
            .filter(|&place| {
                let record = self.table.records.get(place);
                record.is_some_and(|record| record.device.load(Ordering::Relaxed) == device)
            })
            .filter_map(|place| self.at(place))
            .collect()
    }

    /// Creates an allocation as the newest member of a resource, whatever `new` says of that. If
    /// somebody who guessed its handle destroys it at once, it never was a member.
    ///
    /// # Errors
    /// [`Error::BadHandle`] if there is no such resource, [`Error::TableFull`]; the extent is the
    /// caller's still.
    pub fn create_member(&mut self, resource: ResourceId, new: &New) -> Result<Handle, Error> {
        if !self.table.has_resource(resource) {
            return Err(Error::BadHandle);
        }
        let handle = self.table.create(&New {
            resource: resource.raw(),
            ..*new
        })?;
        // The resource is there, so only the allocation can be gone already.
        let _ = self.add(resource, handle);
        Ok(handle)
    }

    /// Appends an allocation, which was created for this resource and is in no chain, to the
    /// resource's members.
    ///
    /// # Errors
    /// [`Error::BadHandle`] if there is no such resource or no such allocation.
    pub fn add(&mut self, resource: ResourceId, member: Handle) -> Result<(), Error> {
        let record = self.table.record(resource).ok_or(Error::BadHandle)?;
        // One that is destroyed already must not be chained: its link is the queue's. One that is
        // destroyed from here on is removed before its slot is queued, when this lock is free.
        self.table.get(member)?.load()?;
        record.change(|| {
            self.table.set_link(member.raw(), 0);
            let count = record.count.load(Ordering::Relaxed);
            if count == 0 {
                record.first.store(member.raw(), Ordering::Relaxed);
            } else {
                self.table
                    .set_link(record.last.load(Ordering::Relaxed), member.raw());
            }
            record.last.store(member.raw(), Ordering::Relaxed);
            record.count.store(count + 1, Ordering::Relaxed);
        });
        Ok(())
    }

    /// Takes a member out, if it is one. To be called before its slot can be used again.
    pub fn remove(&mut self, resource: ResourceId, member: Handle) {
        let Some(record) = self.table.record(resource) else {
            return;
        };
        let (mut before, mut next) = (0, record.first.load(Ordering::Relaxed));
        let count = record.count.load(Ordering::Relaxed);
        for _ in 0..count {
            let after = self.table.slot_of(next).map_or(0, Slot::link);
            if next == member.raw() {
                record.change(|| {
                    match before {
                        0 => record.first.store(after, Ordering::Relaxed),
                        _ => self.table.set_link(before, after),
                    }
                    if record.last.load(Ordering::Relaxed) == next {
                        record.last.store(before, Ordering::Relaxed);
                    }
                    record.count.store(count - 1, Ordering::Relaxed);
                });
                return;
            }
            (before, next) = (next, after);
        }
    }
}

#[cfg(all(test, not(any(vidmm_loom, vidmm_shuttle))))]
#[allow(clippy::unwrap_used)] // The helpers below are tests too, which the lint does not see.
mod tests {
    use super::*;
    use crate::ExtentWord;

    fn member(table: &Table, resource: ResourceId) -> Handle {
        let new = New {
            size_bytes: 1,
            align_log2: 0,
            extent: ExtentWord(1),
            zero_owed: false,
            priority: 0,
            rebuild_cost_ns: 0.0,
            resource: 0,
            device: 7,
            now_ticks: 0,
        };
        table.resources().create_member(resource, &new).unwrap()
    }

    fn members(table: &Table, resource: ResourceId) -> Vec<u32> {
        let mut copied = [0; 16];
        let count = table.members(resource, &mut copied).unwrap();
        copied[..count].to_vec()
    }

    fn destroy(table: &Table, resource: ResourceId, handle: Handle) {
        table
            .destroy_noting(handle, |_| table.resources().remove(resource, handle))
            .unwrap();
    }

    #[test]
    fn members_keep_their_order_whoever_goes() {
        let table = Table::new();
        let resource = table.resources().create(7).unwrap();
        assert_eq!(table.device_of(resource), Ok(7));
        assert_eq!(members(&table, resource), []);
        let all: Vec<Handle> = (0..5).map(|_| member(&table, resource)).collect();
        let mut left: Vec<u32> = all.iter().map(|handle| handle.raw()).collect();
        assert_eq!(members(&table, resource), left);
        for gone in [2, 4, 0] {
            destroy(&table, resource, all[gone]);
            left.retain(|&raw| raw != all[gone].raw());
            assert_eq!(members(&table, resource), left);
        }
        left.push(member(&table, resource).raw());
        assert_eq!(members(&table, resource), left);
        for &raw in &left {
            destroy(&table, resource, Handle::from_raw(raw).unwrap());
        }
        assert_eq!(members(&table, resource), []);
        let last = member(&table, resource);
        assert_eq!(members(&table, resource), [last.raw()]);
        assert_eq!(table.members(resource, &mut []), Ok(1), "too many to fit");
    }

    #[test]
    fn a_name_is_dead_after_its_resource_and_no_allocation_has_it() {
        let table = Table::new();
        let resource = table.resources().create(0).unwrap();
        let handle = member(&table, resource);
        assert!(
            table
                .get(Handle::from_raw(resource.raw()).unwrap())
                .is_err()
        );
        assert!(!table.has_resource(ResourceId::from_raw(handle.raw()).unwrap()));
        let mut seen = Vec::new();
        let ended = table
            .resources()
            .destroy(resource, |member| seen.push(member));
        assert_eq!((ended, seen), (Ok(()), vec![handle]));
        assert!(!table.has_resource(resource));
        assert_eq!(table.members(resource, &mut [0]), Err(Error::BadHandle));
        assert_eq!(table.device_of(resource), Err(Error::BadHandle));
        for _ in 0..3 * REST {
            let other = table.resources().create(0).unwrap();
            assert_ne!(other, resource);
            table.resources().destroy(other, |_| {}).unwrap();
        }
        assert!(
            !table.has_resource(resource),
            "the place is somebody else's"
        );
    }
}
