//! loom's atomic, with every access made *dependent* on every other: a relaxed store to a companion
//! before each. Without it loom compares an access with the last one alone and leaves out orders of
//! "A loads, B loads, B swaps" (`vidmm-table` has the whole story).

use loom::sync::atomic::{AtomicBool, Ordering};

/// A word that threads share.
#[derive(Debug)]
pub struct AtomicU64 {
    visits: AtomicBool,
    inner: loom::sync::atomic::AtomicU64,
}

impl AtomicU64 {
    /// A word with this value.
    #[must_use]
    pub fn new(value: u64) -> Self {
        AtomicU64 {
            visits: AtomicBool::new(false),
            inner: loom::sync::atomic::AtomicU64::new(value),
        }
    }

    fn visited(&self) -> &loom::sync::atomic::AtomicU64 {
        self.visits.store(true, Ordering::Relaxed);
        &self.inner
    }

    pub(crate) fn load(&self, order: Ordering) -> u64 {
        self.visited().load(order)
    }

    pub(crate) fn fetch_or(&self, bits: u64, order: Ordering) -> u64 {
        self.visited().fetch_or(bits, order)
    }

    pub(crate) fn fetch_and(&self, bits: u64, order: Ordering) -> u64 {
        self.visited().fetch_and(bits, order)
    }

    pub(crate) fn compare_exchange(
        &self,
        from: u64,
        to: u64,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u64, u64> {
        self.visited().compare_exchange(from, to, success, failure)
    }
}
