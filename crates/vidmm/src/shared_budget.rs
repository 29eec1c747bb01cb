//! What a pool has to do with other processes: whose budget it is, what changes it, and for whom
//! something was discarded.

use std::os::fd::OwnedFd;

use vidmm_pool::{Discard, Error, Membership, Notice, SubscriptionId};

use crate::pool::Pool;

impl Pool {
    /// Whether the budget is the pool's own or shared with other processes, by a manager
    /// (`vidmm serve`).
    #[must_use]
    pub fn membership(&self) -> Membership {
        self.engine.membership()
    }

    /// Why a manager did not serve this process, in its words, if one has said so.
    #[must_use]
    pub fn manager_refusal(&self) -> Option<String> {
        self.engine.manager_refusal()
    }

    /// Calls `callback` when the budget changes or the process should trim, one notice at a time,
    /// on the pool's own thread. It may use the pool, and should be short.
    ///
    /// # Errors
    /// The kernel gives no thread or descriptor.
    pub fn subscribe(
        &self,
        callback: impl Fn(Notice) + Send + Sync + 'static,
    ) -> std::io::Result<SubscriptionId> {
        self.engine.subscribe(callback)
    }

    /// Ends a subscription. When the call returns its callback does not run and never will again
    /// (unless it is the callback itself that calls). Says whether there was such a subscription.
    pub fn unsubscribe(&self, id: SubscriptionId) -> bool {
        self.engine.unsubscribe(id)
    }

    /// A descriptor that is readable while [`Pool::take_notices`] has something to take: for
    /// programs that wait for many things at once.
    ///
    /// # Errors
    /// The kernel gives no descriptor.
    pub fn notice_fd(&self) -> std::io::Result<OwnedFd> {
        self.engine.notice_fd()
    }

    /// The notices since the last call, at most one of each kind: the newest budget, the largest
    /// trim. Nothing is noted before the first [`Pool::notice_fd`].
    pub fn take_notices(&self) -> Vec<Notice> {
        self.engine.take_notices()
    }

    /// The newest discards, oldest first, at most `most` of those remembered: each with its class
    /// and rank, why it was, and for whose demand.
    #[must_use]
    pub fn discards(&self, most: usize) -> Vec<Discard> {
        self.engine.discards(most)
    }

    /// What is reserved for this process and what could be reserved in all, in bytes.
    #[must_use]
    pub fn reservation_bytes(&self) -> (u64, u64) {
        self.engine.reservation_bytes()
    }

    /// Asks that so much be reserved for this process: what it needs at least. A hint to the
    /// manager: what is offered within it is not taken for others.
    ///
    /// # Errors
    /// [`Error::BadReservation`], [`Error::LeftOut`].
    pub fn set_reservation_bytes(&self, bytes: u64) -> Result<(), Error> {
        self.engine.set_reservation_bytes(bytes)
    }
}
