//! Allocations whose type says what they are: the compiler keeps offered memory from being
//! touched, and locked memory from being offered.

use std::time::Duration;

use vidmm_pool::{BatchError, Error, History, OfferMode, Outcome};

use crate::allocation::{Allocation, Item};
use crate::guard::{ReadGuard, WriteGuard};

/// Committed memory with one owner: it keeps its content.
#[derive(Debug)]
pub struct Committed {
    allocation: Allocation,
}

/// Offered memory with one owner: it may have lost its content, and cannot be touched.
#[derive(Debug)]
pub struct Offered {
    allocation: Allocation,
}

/// What became of reclaimed memory. Either way it is committed again.
#[derive(Debug)]
pub enum Reclaimed {
    /// Byte for byte what was there at the offer.
    Intact(Committed),
    /// The content is lost; what is there now is unspecified.
    Discarded(Committed),
}

impl Reclaimed {
    /// Whether the content is what it was.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        matches!(self, Reclaimed::Intact(_))
    }

    /// The memory, whatever became of its content.
    #[must_use]
    pub fn into_inner(self) -> Committed {
        match self {
            Reclaimed::Intact(committed) | Reclaimed::Discarded(committed) => committed,
        }
    }
}

/// A reclaim that was refused, with the allocation as it was.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct ReclaimError {
    /// Why.
    #[source]
    pub error: Error,
    /// Offered, with the class and age it had.
    pub offered: Offered,
}

/// A list reclaim that was refused, with the allocations as they were.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct ReclaimBatchError {
    /// Why, and which item is to blame.
    #[source]
    pub error: BatchError,
    /// All of them, in order.
    pub offered: Vec<Offered>,
}

/// A list offer that was refused, with the allocations as they were.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct OfferBatchError {
    /// Why, and which item is to blame.
    #[source]
    pub error: BatchError,
    /// All of them, in order.
    pub committed: Vec<Committed>,
}

impl Committed {
    pub(crate) fn new(allocation: Allocation) -> Self {
        Committed { allocation }
    }

    /// Offers it: the content may be lost from now on. (If a lock's guard was leaked it cannot be
    /// offered, and stays intact until the reclaim.)
    ///
    /// Two atomic operations with the later reclaim, whatever the size; no system call.
    #[inline(always)] // out of line, the handle and the answer go through memory around the swap
    #[must_use = "dropping what was offered ends the allocation"]
    pub fn offer(self, mode: impl Into<OfferMode>) -> Offered {
        let _ = self.allocation.offer(mode);
        Offered {
            allocation: self.allocation,
        }
    }

    /// Locks it for reading.
    ///
    /// # Errors
    /// [`Error::TooManyLocks`]; [`Error::LeftOut`].
    #[inline]
    pub fn lock(&self) -> Result<ReadGuard<'_>, Error> {
        self.allocation.lock()
    }

    /// Locks it for writing.
    ///
    /// # Errors
    /// As [`Committed::lock`].
    #[inline]
    pub fn lock_mut(&mut self) -> Result<WriteGuard<'_>, Error> {
        self.allocation.lock_mut()
    }

    /// The size that was asked for, in bytes.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.allocation.len_bytes()
    }

    /// What it counts against the budget, in bytes.
    #[must_use]
    pub fn charge_bytes(&self) -> u64 {
        self.allocation.charge_bytes()
    }

    /// What the kernel counts behind it now, in bytes.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn resident_bytes(&self) -> std::io::Result<u64> {
        self.allocation.resident_bytes()
    }

    /// What is remembered of its use.
    #[must_use]
    pub fn history(&self) -> History {
        self.allocation.history()
    }

    /// Says what rebuilding the content costs.
    pub fn set_rebuild_cost(&self, cost: Duration) {
        self.allocation.set_rebuild_cost(cost);
    }

    /// Sets the allocation priority: the class of what is offered [`crate::Class::Auto`].
    pub fn set_priority(&self, priority: u32) {
        self.allocation.set_priority(priority);
    }

    /// The same memory, its state checked at run time from here on.
    #[must_use]
    pub fn into_shared(self) -> Allocation {
        self.allocation
    }
}

impl Offered {
    /// Reclaims it.
    ///
    /// # Errors
    /// [`Error::NoMemory`], [`Error::Kernel`]: it is offered still, with class and age.
    #[inline(always)] // out of line, the handle and the answer go through memory around the swap
    pub fn reclaim(self) -> Result<Reclaimed, ReclaimError> {
        match self.allocation.reclaim() {
            Ok(Outcome::Intact) => Ok(Reclaimed::Intact(committed_of(self))),
            Ok(_) => Ok(Reclaimed::Discarded(committed_of(self))),
            Err(error) => Err(ReclaimError {
                error,
                offered: self,
            }),
        }
    }

    /// Offers it anew: renews class and age.
    #[inline]
    pub fn renew(&self, mode: impl Into<OfferMode>) {
        // What is offered is not locked; only a child without the memory refuses.
        let _ = self.allocation.offer(mode);
    }

    /// The size that was asked for, in bytes.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.allocation.len_bytes()
    }

    /// What it counts against the budget while it has memory, in bytes.
    #[must_use]
    pub fn charge_bytes(&self) -> u64 {
        self.allocation.charge_bytes()
    }

    /// What the kernel counts behind it now, in bytes.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn resident_bytes(&self) -> std::io::Result<u64> {
        self.allocation.resident_bytes()
    }

    /// What is remembered of its use.
    #[must_use]
    pub fn history(&self) -> History {
        self.allocation.history()
    }

    /// Sets the allocation priority: the class of what is offered [`crate::Class::Auto`].
    pub fn set_priority(&self, priority: u32) {
        self.allocation.set_priority(priority);
    }

    /// The same memory, its state checked at run time from here on.
    #[must_use]
    pub fn into_shared(self) -> Allocation {
        self.allocation
    }
}

/// The type after a successful reclaim.
#[inline]
pub(crate) fn committed_of(offered: Offered) -> Committed {
    Committed {
        allocation: offered.allocation,
    }
}

/// The type after a successful offer.
#[inline]
pub(crate) fn offered_of(committed: Committed) -> Offered {
    Offered {
        allocation: committed.allocation,
    }
}

impl Item for Committed {
    #[inline]
    fn allocation(&self) -> &Allocation {
        &self.allocation
    }
}

impl Item for Offered {
    #[inline]
    fn allocation(&self) -> &Allocation {
        &self.allocation
    }
}
