//! Counting the memory that unpacking needs outside vidmm, and bounding it.
//!
//! Owns: one figure - bytes of scratch held now - its peak and its limit. Whoever unpacks takes
//! *one* hold for everything the unpacking needs, so that nobody waits for scratch while holding
//! some. A worker that is a process of its own has a part of the limit to itself ([`Scratch::part`])
//! and tells those outside what it holds, so that the figure is of all together.

use std::fmt;
use std::sync::{Condvar, Mutex, PoisonError};

/// How much scratch the workers hold together before the next one waits. A single hold above the
/// limit is let through alone.
const TOTAL_MAX_BYTES: u64 = 512 << 20;

/// Those who count for several processes.
pub(crate) trait Outside: Send + Sync {
    /// Waits until a hold of more than this process's part may be taken.
    fn wait_for_large(&self);

    /// So much is held now.
    fn holds(&self, bytes: u64);
}

/// The meter. Shared by all threads of a process.
#[derive(Default)]
pub(crate) struct Scratch {
    figures: Mutex<Figures>,
    released: Condvar,
    /// With the part of the limit that this process has to itself, in bytes.
    outside: Option<(Box<dyn Outside>, u64)>,
}

impl fmt::Debug for Scratch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Scratch").field(&self.figures).finish()
    }
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
    /// The meter of one process of `processes`.
    pub(crate) fn part(outside: Box<dyn Outside>, processes: usize) -> Self {
        let processes = u64::try_from(processes.max(1)).unwrap_or(u64::MAX);
        Self {
            outside: Some((outside, TOTAL_MAX_BYTES / processes)),
            ..Self::default()
        }
    }

    fn tell(&self, figures: &Figures) {
        if let Some((outside, _)) = &self.outside {
            outside.holds(figures.held_bytes);
        }
    }

    /// Takes `bytes`, waiting while the others hold too much for it.
    pub(crate) fn hold(&self, bytes: u64) -> Held<'_> {
        if let Some((outside, part_bytes)) = &self.outside
            && bytes > *part_bytes
        {
            outside.wait_for_large();
        }
        let figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        let too_much = |figures: &mut Figures| {
            figures.held_bytes > 0 && figures.held_bytes.saturating_add(bytes) > TOTAL_MAX_BYTES
        };
        let mut figures = self
            .released
            .wait_while(figures, too_much)
            .unwrap_or_else(PoisonError::into_inner);
        figures.add(bytes);
        self.tell(&figures);
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
        let figures = self.scratch.figures.lock();
        let mut figures = figures.unwrap_or_else(PoisonError::into_inner);
        figures.add(more_bytes);
        self.scratch.tell(&figures);
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
        self.scratch.tell(&figures);
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
