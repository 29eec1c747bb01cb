//! Credit: what this process may still back, as one signed word.
//!
//! Everything that may be backed is charged: committed, offered, warm, in flight. Memory is backed
//! only against room taken before, and room comes back only when the pages are back with the
//! kernel. A cut makes it negative: a debt, which only shrinks.

use std::sync::atomic::{AtomicI64, Ordering};

#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Room {
    room_bytes: AtomicI64,
}

/// As much as can be counted; budgets are capped to it.
pub(crate) const BYTES_MAX: u64 = i64::MAX as u64 / 4;

/// Bytes as the signed number they are counted in. What is charged is bounded by address space.
pub(crate) fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX / 4)
}

impl Room {
    pub(crate) fn new(budget_bytes: u64) -> Self {
        Room {
            room_bytes: AtomicI64::new(signed(budget_bytes)),
        }
    }

    /// What is left, in bytes; a debt if negative.
    pub(crate) fn left_bytes(&self) -> i64 {
        self.room_bytes.load(Ordering::SeqCst)
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

    /// Adds what a change of the budget adds; takes away, whatever is left, what it cuts.
    pub(crate) fn adjust(&self, from_bytes: u64, to_bytes: u64) {
        self.room_bytes
            .fetch_add(signed(to_bytes) - signed(from_bytes), Ordering::SeqCst);
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
        room.adjust(100, 30);
        assert_eq!(room.left_bytes(), -30);
        assert!(
            !room.take(0),
            "in debt nothing is granted, not even nothing"
        );
        room.give(60);
        assert_eq!(room.left_bytes(), 30);
        assert!(room.take(30));
    }
}
