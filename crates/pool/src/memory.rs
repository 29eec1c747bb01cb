//! Lock and unlock: the one place where an allocation's memory is reached.
#![allow(unsafe_code)]

use std::ptr::NonNull;

use vidmm_arena::{Extent, Kernel};
use vidmm_table::{Error as SlotError, ExtentWord, FirstLock, Handle, Lock, SlotRef, State};

use crate::error::Error;
use crate::pool::Pool;

/// What `VIDMM_POISON=1` fills memory with that lost its content: not zero, not ASCII, odd.
const POISON: u8 = 0xDB;

/// The memory of a locked allocation. It stays where it is until unlocked as often as locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapping {
    /// Its first byte.
    pub start: NonNull<u8>,
    /// The size that was asked for, in bytes.
    pub len_bytes: usize,
}

impl<K: Kernel> Pool<K> {
    /// Locks an allocation: its memory can be accessed, and it cannot be offered, until unlocked.
    /// Locks nest. Who may read and who may write meanwhile is the caller's business.
    ///
    /// # Errors
    /// [`Error::Offered`], [`Error::NotCommitted`], [`Error::TooManyLocks`],
    /// [`Error::BadHandle`], [`Error::LeftOut`].
    #[inline]
    pub fn lock(&self, handle: Handle) -> Result<Mapping, Error> {
        self.lock_slot(&self.table.get(handle)?)
    }

    /// As [`Pool::lock`], of an allocation of `device`; one of another is as good as none.
    ///
    /// # Errors
    /// As [`Pool::lock`].
    #[inline]
    pub fn lock_of(&self, handle: Handle, device: u32) -> Result<Mapping, Error> {
        self.lock_slot(&self.slot_of(handle, device)?)
    }

    #[inline]
    fn lock_slot(&self, slot: &SlotRef<'_>) -> Result<Mapping, Error> {
        if self.protection.is_some() {
            return self.lock_protected(slot);
        }
        let extent = match slot.lock() {
            Ok(Lock::Locked(extent)) => extent,
            Ok(Lock::Fresh) => self.first_lock(slot)?,
            Err(SlotError::Shared) => return self.lock_shared_entering(slot),
            Err(error) => return Err(error.into()),
        };
        Ok(self.mapping(slot, extent))
    }

    #[inline]
    fn mapping(&self, slot: &SlotRef<'_>, extent: ExtentWord) -> Mapping {
        let start = self.arena.address(Extent::from_word(extent.0));
        // What could be created fits the address space.
        let len_bytes = usize::try_from(slot.slot().size_bytes()).unwrap_or(0);
        Mapping { start, len_bytes }
    }

    #[cold]
    fn first_lock(&self, slot: &SlotRef<'_>) -> Result<ExtentWord, Error> {
        let _inside = self.enter()?;
        Ok(slot.first_lock(|work| self.prepare(work))?)
    }

    /// Brings memory that nobody has locked yet into the state that its owner was promised.
    fn prepare(&self, work: FirstLock) {
        let extent = Extent::from_word(work.extent.0);
        let fill = if work.zero_owed {
            0
        } else if self.options.poison && work.content_lost {
            POISON
        } else {
            return;
        };
        // SAFETY: the slot is locked by this call and still fresh, so that its extent can neither
        // be claimed nor locked by anybody else; in protect mode the caller has made it accessible.
        unsafe { self.arena.fill(extent, fill) };
    }

    /// Undoes one lock.
    ///
    /// # Errors
    /// [`Error::NotLocked`], [`Error::BadHandle`].
    #[inline]
    pub fn unlock(&self, handle: Handle) -> Result<(), Error> {
        self.unlock_slot(&self.table.get(handle)?)
    }

    /// As [`Pool::unlock`], of an allocation of `device`; one of another is as good as none.
    ///
    /// # Errors
    /// As [`Pool::unlock`].
    #[inline]
    pub fn unlock_of(&self, handle: Handle, device: u32) -> Result<(), Error> {
        self.unlock_slot(&self.slot_of(handle, device)?)
    }

    #[inline]
    fn unlock_slot(&self, slot: &SlotRef<'_>) -> Result<(), Error> {
        if self.protection.is_some() {
            return self.unlock_protected(slot);
        }
        match slot.unlock() {
            Ok(_) => Ok(()),
            Err(SlotError::Shared) => self.unlock_shared_entering(slot),
            Err(error) => Err(error.into()),
        }
    }

    #[cold]
    fn lock_protected(&self, slot: &SlotRef<'_>) -> Result<Mapping, Error> {
        let inside = self.enter()?;
        if slot.shared().is_some() {
            // Others use it too: it is accessible as long as it is open.
            return self.lock_shared(&inside, slot);
        }
        let Some(mut protection) = self.protection() else {
            return Err(Error::BadHandle);
        };
        let extent = match slot.lock()? {
            Lock::Locked(extent) => {
                self.unprotect(&mut protection, Extent::from_word(extent.0));
                extent
            }
            Lock::Fresh => slot.first_lock(|work| {
                self.unprotect(&mut protection, Extent::from_word(work.extent.0));
                self.prepare(work);
            })?,
        };
        Ok(self.mapping(slot, extent))
    }

    #[cold]
    fn unlock_protected(&self, slot: &SlotRef<'_>) -> Result<(), Error> {
        let inside = self.enter()?;
        if slot.shared().is_some() {
            return self.unlock_shared(&inside, slot);
        }
        let Some(mut protection) = self.protection() else {
            return Err(Error::BadHandle);
        };
        let extent = Extent::from_word(slot.slot().extent().0);
        // Protected while still locked, so that nobody can take the extent away in between; locks
        // wait for the mutex.
        let word = slot.load()?;
        if word.state() == State::Committed && word.locks() == 1 {
            self.protect(&mut protection, extent);
        }
        slot.unlock()?;
        Ok(())
    }
}
