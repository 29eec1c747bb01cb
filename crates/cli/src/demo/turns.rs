//! Keeps the workers loosely in the order of the plan.
//!
//! A worker may run ahead of the oldest unfinished access by [`LEAD`] at most: that leaves room
//! for working at the same time, and makes a mostly idle worker idle for most of the run instead
//! of done at once. The worker whose access is the oldest never waits, so the run always goes on.

use std::sync::{Condvar, Mutex, PoisonError};

/// How many accesses the fastest worker may be ahead of the number of finished ones.
pub(crate) const LEAD: u64 = 64;

/// The common count of finished accesses.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    finished: u64,
    /// A worker has ended before its time: nobody waits any more.
    broken: bool,
}

/// The run ends early because another worker failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Broken;

impl Turns {
    /// Waits until the access at `position` of the plan may begin.
    ///
    /// # Errors
    /// [`Broken`] once [`Turns::break_off`] was called.
    pub(crate) fn begin(&self, position: u64) -> Result<(), Broken> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let too_early = |state: &mut State| !state.broken && position > state.finished + LEAD;
        let state = self
            .changed
            .wait_while(state, too_early)
            .unwrap_or_else(PoisonError::into_inner);
        if state.broken { Err(Broken) } else { Ok(()) }
    }

    /// Counts one finished access.
    pub(crate) fn finish(&self) {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .finished += 1;
        self.changed.notify_all();
    }

    /// Ends all waiting, now and later.
    pub(crate) fn break_off(&self) {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .broken = true;
        self.changed.notify_all();
    }

    /// How many accesses are finished.
    pub(crate) fn finished(&self) -> u64 {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .finished
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn nobody_runs_ahead_by_more_than_the_lead() {
        let turns = Turns::default();
        let positions = 5_000_u64;
        let ahead_max = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let (turns, ahead_max) = (&turns, &ahead_max);
                scope.spawn(move || {
                    for position in (worker..positions).step_by(4) {
                        assert_eq!(turns.begin(position), Ok(()));
                        // Finishing goes on meanwhile, so this can only be too small.
                        let ahead = position.saturating_sub(turns.finished());
                        ahead_max.fetch_max(ahead, Ordering::Relaxed);
                        turns.finish();
                    }
                });
            }
        });
        assert_eq!(turns.finished(), positions);
        assert!(ahead_max.into_inner() <= LEAD);
    }

    #[test]
    fn breaking_off_wakes_the_waiting() {
        let turns = Turns::default();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| turns.begin(LEAD + 1));
            turns.break_off();
            assert_eq!(waiting.join().unwrap(), Err(Broken));
        });
    }
}
