//! Counting the memory that unpacking needs outside vidmm, and bounding it.
//!
//! Owns: one figure - bytes of scratch held by all workers now - its peak and its limit.
//! Whoever unpacks takes *one* hold for everything the unpacking needs, so that nobody waits for
//! scratch while holding some.

use std::sync::{Condvar, Mutex, PoisonError};

/// How much scratch the workers hold together before the next one waits. A single hold above the
/// limit is let through alone.
const TOTAL_MAX_BYTES: u64 = 512 << 20;

/// The meter. Shared by all threads of a run.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    figures: Mutex<Figures>,
    released: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    held_bytes: u64,
    peak_bytes: u64,
}

impl Figures {
    fn add(&mut self, bytes: u64) {
        self.held_bytes = self.held_bytes.saturating_add(bytes);
        self.peak_bytes = self.peak_bytes.max(self.held_bytes);
    }
}

impl Scratch {
    /// Takes `bytes`, waiting while the others hold too much for it.
    pub(crate) fn hold(&self, bytes: u64) -> Held<'_> {
        let figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        let too_much = |figures: &mut Figures| {
            figures.held_bytes > 0 && figures.held_bytes.saturating_add(bytes) > TOTAL_MAX_BYTES
        };
        let mut figures = self
            .released
            .wait_while(figures, too_much)
            .unwrap_or_else(PoisonError::into_inner);
        figures.add(bytes);
        Held {
            scratch: self,
            bytes,
        }
    }

    /// The most that was held at once.
    pub(crate) fn peak_bytes(&self) -> u64 {
        self.figures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .peak_bytes
    }
}

/// Scratch that somebody holds; given back on drop.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    scratch: &'a Scratch,
    bytes: u64,
}

impl Held<'_> {
    /// Corrects the hold to at least `bytes`, once more is known. Does not wait.
    pub(crate) fn grow_to(&mut self, bytes: u64) {
        let more_bytes = bytes.saturating_sub(self.bytes);
        self.scratch
            .figures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .add(more_bytes);
        self.bytes += more_bytes;
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut figures = self
            .scratch
            .figures
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        figures.held_bytes = figures.held_bytes.saturating_sub(self.bytes);
        drop(figures);
        self.scratch.released.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_of_what_is_held_together() {
        let scratch = Scratch::default();
        let mut first = scratch.hold(100);
        drop(scratch.hold(50));
        first.grow_to(120);
        first.grow_to(10);
        drop(scratch.hold(20));
        drop(first);
        drop(scratch.hold(140));
        assert_eq!(scratch.peak_bytes(), 150);
    }

    #[test]
    fn a_hold_above_the_limit_goes_alone() {
        let scratch = Scratch::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| drop(scratch.hold(TOTAL_MAX_BYTES + 1)));
            }
        });
        assert_eq!(scratch.peak_bytes(), TOTAL_MAX_BYTES + 1);
    }
}
