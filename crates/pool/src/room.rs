//! Credit: what this process may still back, as one signed word.
//!
//! Everything that may be backed is charged: committed, offered, warm, in flight. Memory is backed
//! only against room taken before, and room comes back only when the pages are back with the
//! kernel. A cut makes it negative: a debt, which only shrinks.
//!
//! Room is what is left of the credit: the budget, or what a manager has granted.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What may still be backed, and the credit that it is what is left of.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Room {
    room_bytes: AtomicI64,
    /// All that may be backed.
    credit_bytes: AtomicU64,
    /// Held while the credit changes: one at a time. A leaf.
    changing: Mutex<()>,
}

/// As much as can be counted; budgets are capped to it.
pub(crate) const BYTES_MAX: u64 = i64::MAX as u64 / 4;

/// Bytes as the signed number they are counted in. What is charged is bounded by address space.
pub(crate) fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX / 4)
}

/// The part of a signed number of bytes that is above zero.
pub(crate) fn positive(bytes: i64) -> u64 {
    u64::try_from(bytes).unwrap_or(0)
}

impl Room {
    pub(crate) fn new(credit_bytes: u64) -> Self {
        Room {
            room_bytes: AtomicI64::new(signed(credit_bytes)),
            credit_bytes: AtomicU64::new(credit_bytes),
            changing: Mutex::default(),
        }
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is left, in bytes; a debt if negative.
    pub(crate) fn left_bytes(&self) -> i64 {
        self.room_bytes.load(Ordering::SeqCst)
    }

    /// How much less than nothing is left, in bytes.
    pub(crate) fn debt_bytes(&self) -> u64 {
        positive(self.left_bytes().saturating_neg())
    }

    /// All that may be backed, in bytes.
    pub(crate) fn credit_bytes(&self) -> u64 {
        self.credit_bytes.load(Ordering::SeqCst)
    }

    /// Everything that is charged, in bytes. While somebody changes the credit, rather too much.
    pub(crate) fn held_bytes(&self) -> u64 {
        loop {
            let credit = self.credit_bytes();
            let left = self.left_bytes();
            if credit == self.credit_bytes() {
                let held = i128::from(credit) - i128::from(left);
                return u64::try_from(held).unwrap_or(0);
            }
        }
    }

    /// Takes `bytes`, whole or not at all.
    pub(crate) fn take(&self, bytes: u64) -> bool {
        let wanted = signed(bytes);
        let take = |left: i64| (left >= wanted).then(|| left - wanted);
        // At least Acquire and Release, since room that was given back stands for pages that are
        // with the kernel; SeqCst for the agent, see `Agent::something_is_held`.
        self.room_bytes
            .fetch_update(Ordering::SeqCst, Ordering::Relaxed, take)
            .is_ok()
    }

    /// Gives back room for pages that are back with the kernel.
    pub(crate) fn give(&self, bytes: u64) {
        self.room_bytes.fetch_add(signed(bytes), Ordering::SeqCst);
    }

    /// More may be backed.
    pub(crate) fn raise(&self, bytes: u64) {
        let _changing = self.changing();
        self.credit_bytes.fetch_add(bytes, Ordering::SeqCst);
        self.give(bytes);
    }

    /// Less may be backed, whatever is left: at most all of the credit. Says how much less.
    pub(crate) fn cut(&self, bytes: u64) -> u64 {
        let _changing = self.changing();
        let bytes = bytes.min(self.credit_bytes());
        self.room_bytes.fetch_sub(signed(bytes), Ordering::SeqCst);
        self.credit_bytes.fetch_sub(bytes, Ordering::SeqCst);
        bytes
    }

    /// As [`Room::cut`], of what is left only, so that no debt comes of it.
    pub(crate) fn cut_unused(&self, bytes: u64) -> u64 {
        let _changing = self.changing();
        let wanted = signed(bytes);
        let mut cut = 0;
        let take = |left: i64| {
            cut = left.min(wanted).max(0);
            (cut > 0).then(|| left - cut)
        };
        let _ = self
            .room_bytes
            .fetch_update(Ordering::SeqCst, Ordering::Relaxed, take);
        let cut = positive(cut);
        self.credit_bytes.fetch_sub(cut, Ordering::SeqCst);
        cut
    }

    /// Forgives up to `bytes` of a debt: that much may be backed again. Says how much it was.
    pub(crate) fn forgive(&self, bytes: u64) -> u64 {
        let _changing = self.changing();
        let most = signed(bytes);
        let mut forgiven = 0;
        // First the credit, so that held never reads too small; what was not owed is taken off.
        self.credit_bytes.fetch_add(bytes, Ordering::SeqCst);
        let forgive = |left: i64| {
            forgiven = left.saturating_neg().clamp(0, most);
            (forgiven > 0).then(|| left + forgiven)
        };
        let _ = self
            .room_bytes
            .fetch_update(Ordering::SeqCst, Ordering::Relaxed, forgive);
        let forgiven = positive(forgiven);
        self.credit_bytes
            .fetch_sub(bytes - forgiven, Ordering::SeqCst);
        forgiven
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taken_whole_or_not_at_all_and_negative_after_a_cut() {
        let room = Room::new(100);
        assert!(!room.take(101));
        assert!(room.take(60));
        assert_eq!(room.cut(70), 70);
        assert_eq!((room.left_bytes(), room.debt_bytes()), (-30, 30));
        assert_eq!((room.credit_bytes(), room.held_bytes()), (30, 60));
        assert!(
            !room.take(0),
            "in debt nothing is granted, not even nothing"
        );
        room.give(60);
        assert_eq!(room.left_bytes(), 30);
        assert!(room.take(30));
    }

    #[test]
    fn unused_credit_is_cut_without_a_debt_and_debts_are_forgiven() {
        let room = Room::new(100);
        assert!(room.take(60));
        assert_eq!(room.cut_unused(50), 40, "the rest is in use");
        assert_eq!(room.cut_unused(50), 0);
        assert_eq!((room.credit_bytes(), room.held_bytes()), (60, 60));
        assert_eq!(room.cut(20), 20);
        assert_eq!(room.forgive(50), 20, "no more than is owed");
        assert_eq!((room.credit_bytes(), room.left_bytes()), (60, 0));
        assert_eq!(room.cut(1000), 60, "no more than there is");
        assert_eq!(room.held_bytes(), 60);
    }
}
