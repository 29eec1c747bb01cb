//! The few read-mostly words that the fast path looks at: the miss clock, whether an offer could
//! make a cached victim list stale, and whether a trace is recorded. They share a line that is
//! written on misses only.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use vidmm_table::Class;

#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Signals {
    clock_ticks: AtomicU32,
    watch: AtomicU8,
    recording: AtomicBool,
}

/// A set of classes below some class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lower(u8);

impl Lower {
    pub(crate) fn than(class: Class) -> Self {
        Lower((1 << class as u8) - 1)
    }
}

impl Signals {
    /// The miss clock: ticks at every new allocation, every discarded reclaim and every scan; it
    /// wraps.
    #[inline]
    pub(crate) fn now_ticks(&self) -> u32 {
        self.clock_ticks.load(Ordering::Relaxed)
    }

    pub(crate) fn tick(&self) -> u32 {
        self.clock_ticks
            .fetch_add(1, Ordering::Relaxed)
            .wrapping_add(1)
    }

    /// After an offer: does a list under way care about `class`? If so, say that it came.
    ///
    /// SeqCst here and in [`Signals::watch_for`], on the offer's own swap and on a scan's loads:
    /// either the scan sees the offer, or the offer sees the watch.
    #[inline]
    pub(crate) fn offered(&self, class: impl FnOnce() -> Class) {
        let watch = self.watch.load(Ordering::SeqCst);
        if watch != 0 {
            let bit = 1 << class() as u8;
            // Written once per list, not once per offer: others offer beside it.
            if watch & bit != 0 {
                self.watch.fetch_and(!bit, Ordering::SeqCst);
            }
        }
    }

    /// Whether what happens is to be recorded.
    #[inline]
    pub(crate) fn is_recording(&self) -> bool {
        self.recording.load(Ordering::Relaxed)
    }

    pub(crate) fn set_recording(&self, on: bool) {
        self.recording.store(on, Ordering::Relaxed);
    }

    /// From now on, note offers in classes below HIGH. Called before a scan.
    pub(crate) fn watch_for(&self) {
        self.watch
            .store(Lower::than(Class::High).0, Ordering::SeqCst);
    }

    /// The scan gave a list whose victims are all of `class`: only lower ones matter from now on.
    pub(crate) fn narrow_to(&self, class: Class) {
        self.watch.fetch_and(Lower::than(class).0, Ordering::SeqCst);
    }

    /// Whether nothing was offered in a class below `class` since [`Signals::watch_for`].
    pub(crate) fn still_lowest(&self, class: Class) -> bool {
        let lower = Lower::than(class).0;
        self.watch.load(Ordering::SeqCst) & lower == lower
    }

    /// No list is under way, or it is stale whatever comes.
    pub(crate) fn forget(&self) {
        self.watch.store(0, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_in_a_lower_class_is_noted_and_no_other() {
        let signals = Signals::default();
        signals.watch_for();
        signals.offered(|| Class::Normal);
        assert!(signals.still_lowest(Class::Normal), "same class");
        assert!(!signals.still_lowest(Class::High), "lower class");
        signals.watch_for();
        signals.narrow_to(Class::Normal);
        signals.offered(|| Class::High);
        assert!(signals.still_lowest(Class::Normal));
        signals.offered(|| Class::Low);
        assert!(!signals.still_lowest(Class::Normal));
        assert!(signals.still_lowest(Class::Low), "nothing is below LOW");
    }
}
