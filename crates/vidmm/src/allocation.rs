//! An allocation that is used through shared references and checks its state at run time.

use std::time::Duration;

use vidmm_pool::{Error, Handle, HandleList, History, OfferMode, Outcome, State};

use crate::guard::{ReadGuard, WriteGuard};
use crate::pool::{Pool, cost_ns};

/// Memory that can be offered and reclaimed by any thread that has a reference. What it is at the
/// moment is checked at run time; [`crate::Committed`] and [`crate::Offered`] let the compiler
/// check instead. Dropping it ends the allocation, whatever its state.
#[derive(Debug)]
pub struct Allocation {
    pub(crate) pool: Pool,
    pub(crate) handle: Handle,
}

impl Allocation {
    /// Offers it: the content may be lost from now on. Offering it again renews class and age.
    ///
    /// Two atomic operations with the later reclaim, whatever the size; no system call.
    ///
    /// # Errors
    /// [`Error::Locked`]; [`Error::NotCommitted`].
    #[inline(always)] // out of line, the handle and the answer go through memory around the swap
    pub fn offer(&self, mode: impl Into<OfferMode>) -> Result<(), Error> {
        self.pool.engine.offer(self.handle, mode)
    }

    /// Reclaims it: committed again, and the answer says whether the content is what it was.
    /// [`Outcome::NotCommitted`] is answered only if an earlier [`Pool::reclaim_list`] said so.
    ///
    /// # Errors
    /// [`Error::NoMemory`], [`Error::Kernel`]: it is as it was.
    #[inline(always)] // out of line, the handle and the answer go through memory around the swap
    pub fn reclaim(&self) -> Result<Outcome, Error> {
        self.pool.engine.reclaim(self.handle)
    }

    /// Locks it for reading.
    ///
    /// # Errors
    /// [`Error::Offered`], [`Error::NotCommitted`], [`Error::TooManyLocks`],
    /// [`Error::LeftOut`].
    #[inline]
    pub fn lock(&self) -> Result<ReadGuard<'_>, Error> {
        ReadGuard::new(self)
    }

    /// Locks it for writing.
    ///
    /// # Errors
    /// As [`Allocation::lock`].
    #[inline]
    pub fn lock_mut(&mut self) -> Result<WriteGuard<'_>, Error> {
        WriteGuard::new(self)
    }

    /// What it is at this instant; others may change it at once.
    #[must_use]
    pub fn state(&self) -> State {
        self.pool.engine.state(self.handle).unwrap_or(State::Dead)
    }

    /// The size that was asked for, in bytes.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.pool.engine.size_bytes(self.handle).unwrap_or(0)
    }

    /// What it counts against the budget while it has memory, in bytes.
    #[must_use]
    pub fn charge_bytes(&self) -> u64 {
        self.pool.engine.charge_bytes(self.handle).unwrap_or(0)
    }

    /// What the kernel counts behind it now, in bytes.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn resident_bytes(&self) -> std::io::Result<u64> {
        self.pool.engine.resident_of(self.handle)
    }

    /// What is remembered of its use, also while it is discarded.
    #[must_use]
    pub fn history(&self) -> History {
        self.pool.engine.history(self.handle).unwrap_or_default()
    }

    /// Says what rebuilding the content costs; kept with it for the choice of victims.
    pub fn set_rebuild_cost(&self, cost: Duration) {
        // It lives as long as `self`; only a child without the memory has forgotten it.
        let _ = self
            .pool
            .engine
            .set_rebuild_cost_ns(self.handle, cost_ns(cost));
    }

    /// Sets the allocation priority: the class of what is offered [`crate::Class::Auto`].
    pub fn set_priority(&self, priority: u32) {
        // As above.
        let _ = self.pool.engine.set_priority(self.handle, priority);
    }

    /// The pool it is in.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.pool
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        // Refused only for a lock whose guard was leaked: then the memory stays, as it must.
        let _ = self.pool.engine.destroy(self.handle);
    }
}

/// What the calls on lists take: an [`Allocation`], a [`crate::Committed`], an
/// [`crate::Offered`], or a reference to one. It cannot be implemented elsewhere.
pub trait Item {
    #[doc(hidden)]
    fn allocation(&self) -> &Allocation;
}

impl Item for Allocation {
    #[inline]
    fn allocation(&self) -> &Allocation {
        self
    }
}

impl<T: Item + ?Sized> Item for &T {
    #[inline]
    fn allocation(&self) -> &Allocation {
        (**self).allocation()
    }
}

/// Allocations as a list of handles of one pool.
pub(crate) struct Listed<'a, T> {
    pub(crate) pool: &'a Pool,
    pub(crate) list: &'a [T],
}

impl<T: Item> HandleList for Listed<'_, T> {
    #[inline]
    fn count(&self) -> usize {
        self.list.len()
    }

    #[inline]
    fn handle(&self, index: usize) -> Option<Handle> {
        let allocation = self.list.get(index)?.allocation();
        allocation
            .pool
            .is_same(self.pool)
            .then_some(allocation.handle)
    }
}
