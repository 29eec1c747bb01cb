//! The budget: whose it is, what it is, what is reserved of it, and giving memory back.

use std::sync::atomic::Ordering;

use vidmm_arena::Kernel;
use vidmm_machine::Reason;

use crate::error::Error;
use crate::joined::Membership;
use crate::pool::Pool;
use crate::room::BYTES_MAX;

impl<K: Kernel> Pool<K> {
    /// The budget in force, in bytes: the pool's own, or what a manager has told this process, at
    /// most what [`Pool::set_budget_bytes`] said last.
    #[must_use]
    pub fn budget_bytes(&self) -> u64 {
        match self.link.told_budget_bytes() {
            Some((told, _)) => told.min(self.cap_bytes()),
            None => self.own_budget_bytes(),
        }
    }

    /// What can never be exceeded, in bytes: what is larger need not even be tried.
    pub(crate) fn ceiling_bytes(&self) -> u64 {
        match self.link.told_budget_bytes() {
            Some((_, whole)) => whole.min(self.cap_bytes()),
            None if self.link.is_alone() => self.own_budget_bytes(),
            None => self.cap_bytes(),
        }
    }

    /// The budget that holds without a manager, in bytes.
    pub(crate) fn own_budget_bytes(&self) -> u64 {
        self.own_budget_bytes.load(Ordering::Relaxed)
    }

    /// What the program allows itself with a manager, in bytes.
    pub(crate) fn cap_bytes(&self) -> u64 {
        self.cap_bytes.load(Ordering::Relaxed)
    }

    /// Changes the budget; with a manager, what this process takes of its budget at most. One below
    /// what is committed is accepted: everything warm and offered goes at once, what needs room is
    /// refused, and the excess only shrinks.
    ///
    /// # Errors
    /// [`Error::LeftOut`].
    pub fn set_budget_bytes(&self, bytes: u64) -> Result<(), Error> {
        let inside = self.enter()?;
        let bytes = bytes.min(BYTES_MAX);
        self.cap_bytes.store(bytes, Ordering::Relaxed);
        let before = self.own_budget_bytes.swap(bytes, Ordering::Relaxed);
        if self.link.is_alone() {
            match bytes.checked_sub(before) {
                Some(more) => self.room.raise(more),
                None => {
                    self.room.cut(before - bytes);
                }
            }
            self.settle_debt(&inside, &Reason::Budget.into());
        } else {
            self.keep_to_cap(&inside, bytes);
        }
        if before != bytes {
            self.notify_budget_set();
        }
        Ok(())
    }

    /// Whether, and to whom, the pool is joined.
    #[must_use]
    pub fn membership(&self) -> Membership {
        let _inside = self.gate.enter();
        self.link.membership()
    }

    /// Why a manager did not serve this process, in its words, if one has said so.
    #[must_use]
    pub fn manager_refusal(&self) -> Option<String> {
        let _inside = self.gate.enter();
        self.link.refusal()
    }

    /// What is reserved for this process and what could be reserved in all, in bytes. Without a
    /// manager half of the budget can be, and means nothing more.
    #[must_use]
    pub fn reservation_bytes(&self) -> (u64, u64) {
        let _inside = self.gate.enter();
        self.link
            .told_reservation_bytes()
            .unwrap_or_else(|| (self.reserved_bytes(), self.own_budget_bytes() / 2))
    }

    fn reserved_bytes(&self) -> u64 {
        let half = self.own_budget_bytes() / 2;
        self.reserved_bytes.load(Ordering::Relaxed).min(half)
    }

    /// Asks that so much be reserved for this process: a hint of what it needs at least, which does
    /// not raise the budget (`D3DKMTChangeVideoMemoryReservation`). With a manager it takes effect
    /// when [`crate::Notice::BudgetChanged`] comes, at the latest.
    ///
    /// # Errors
    /// [`Error::BadReservation`]: more than is available. [`Error::LeftOut`].
    pub fn set_reservation_bytes(&self, bytes: u64) -> Result<(), Error> {
        let (_, available_bytes) = self.reservation_bytes();
        let _inside = self.enter()?;
        if bytes > available_bytes {
            return Err(Error::BadReservation {
                wanted_bytes: bytes,
                available_bytes,
            });
        }
        self.reserved_bytes.store(bytes, Ordering::Relaxed);
        self.ask_reservation(bytes);
        Ok(())
    }

    /// Gives `bytes` back to the kernel, or as much as is warm and offered; says how much it was.
    ///
    /// # Errors
    /// [`Error::LeftOut`].
    pub fn trim(&self, bytes: u64) -> Result<u64, Error> {
        self.trim_because(bytes, Reason::Trim)
    }

    /// As [`Pool::trim`], for a reason that the statistics name.
    ///
    /// # Errors
    /// [`Error::LeftOut`].
    pub fn trim_because(&self, bytes: u64, reason: Reason) -> Result<u64, Error> {
        let inside = self.enter()?;
        Ok(self.give_back(&inside, bytes, &reason.into()))
    }

    /// Gives up to `bytes` of memory that belongs to no allocation back to the kernel; says how
    /// much it was. Nothing is discarded for it.
    ///
    /// # Errors
    /// [`Error::LeftOut`].
    pub fn return_unused(&self, bytes: u64) -> Result<u64, Error> {
        let _inside = self.enter()?;
        Ok(self.return_warm(bytes).returned_bytes)
    }
}
