//! Guards: the bytes of a locked allocation. The only place that makes slices of its memory.
#![allow(unsafe_code)]

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use vidmm_pool::{Error, Mapping};

use crate::allocation::Allocation;

/// The bytes of an allocation that is locked for reading. Unlocked when dropped.
#[derive(Debug)]
pub struct ReadGuard<'a> {
    allocation: &'a Allocation,
    mapping: Mapping,
}

// SAFETY: it is a shared reference to bytes and to an allocation, both of which may be used and
// given up by any thread.
unsafe impl Send for ReadGuard<'_> {}
// SAFETY: as above.
unsafe impl Sync for ReadGuard<'_> {}

impl<'a> ReadGuard<'a> {
    #[inline]
    pub(crate) fn new(allocation: &'a Allocation) -> Result<Self, Error> {
        let mapping = allocation.pool.engine.lock(allocation.handle)?;
        Ok(ReadGuard {
            allocation,
            mapping,
        })
    }
}

impl Deref for ReadGuard<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: the memory is the allocation's as long as it is locked, which it is until this
        // guard is dropped; all of it is initialised (zeroes, or what was written). Nobody writes
        // it: that takes a `WriteGuard`, which borrows the allocation exclusively.
        unsafe { std::slice::from_raw_parts(self.mapping.start.as_ptr(), self.mapping.len_bytes) }
    }
}

impl Drop for ReadGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        // Cannot fail but in a child that did not inherit the memory.
        let _ = self.allocation.pool.engine.unlock(self.allocation.handle);
    }
}

/// The bytes of an allocation that is locked for writing. Unlocked when dropped.
#[derive(Debug)]
pub struct WriteGuard<'a> {
    allocation: &'a mut Allocation,
    mapping: Mapping,
}

// SAFETY: it is an exclusive reference to bytes and to an allocation, which may move to another
// thread.
unsafe impl Send for WriteGuard<'_> {}
// SAFETY: shared, it only gives shared references to its bytes.
unsafe impl Sync for WriteGuard<'_> {}

impl<'a> WriteGuard<'a> {
    #[inline]
    pub(crate) fn new(allocation: &'a mut Allocation) -> Result<Self, Error> {
        let mapping = allocation.pool.engine.lock(allocation.handle)?;
        Ok(WriteGuard {
            allocation,
            mapping,
        })
    }
}

impl Deref for WriteGuard<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: as for `ReadGuard`; this guard borrows the allocation exclusively.
        unsafe { std::slice::from_raw_parts(self.mapping.start.as_ptr(), self.mapping.len_bytes) }
    }
}

impl DerefMut for WriteGuard<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        let (start, len) = (self.mapping.start.as_ptr(), self.mapping.len_bytes);
        // SAFETY: as above, and nobody else can have a slice of it: that takes a guard.
        unsafe { std::slice::from_raw_parts_mut(start, len) }
    }
}

impl Drop for WriteGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        // As for `ReadGuard`.
        let _ = self.allocation.pool.engine.unlock(self.allocation.handle);
    }
}

/// The bytes of an allocation that several owners share, locked for reading. Writing takes
/// exclusive access to the allocation, which nobody has while this value keeps a reference.
#[derive(Debug)]
pub(crate) struct Pinned {
    allocation: Arc<Allocation>,
    mapping: Mapping,
}

// SAFETY: as for `ReadGuard`.
unsafe impl Send for Pinned {}
// SAFETY: as for `ReadGuard`.
unsafe impl Sync for Pinned {}

impl Pinned {
    pub(crate) fn new(allocation: &Arc<Allocation>) -> Result<Self, Error> {
        let mapping = allocation.pool.engine.lock(allocation.handle)?;
        Ok(Pinned {
            allocation: Arc::clone(allocation),
            mapping,
        })
    }
}

impl Deref for Pinned {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: locked until this value is dropped; nobody writes, since a `WriteGuard` needs
        // the allocation exclusively and this value has a share of it.
        unsafe { std::slice::from_raw_parts(self.mapping.start.as_ptr(), self.mapping.len_bytes) }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // As for `ReadGuard`.
        let _ = self.allocation.pool.engine.unlock(self.allocation.handle);
    }
}
