//! Two threads, each on a core of its own: so that what one feels of the other comes from the memory
//! that they share, not from the scheduler.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::bench::Lacking;
use crate::output::Failure;

/// Two cores that this process may use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TwoCores([usize; 2]);

impl TwoCores {
    /// # Errors
    /// There is only one, which is nobody's fault.
    pub(crate) fn find() -> Result<Self, Failure> {
        let allowed = sched_getaffinity(None)
            .map_err(|error| format!("the kernel does not tell which cores there are: {error}"))?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core));
        match (cores.next(), cores.next()) {
            (Some(one), Some(other)) => Ok(Self([one, other])),
            _ => {
                let reason = "it needs 2 cores, and this process may use 1";
                Err(Lacking(reason.to_owned()).into())
            }
        }
    }

    /// Keeps the calling thread on the first (0) or second (1) of the two from here on. Where that
    /// is forbidden it runs where it may.
    pub(crate) fn stay_on(self, which: usize) {
        let mut set = CpuSet::new();
        set.set(self.0[which]);
        let _ = sched_setaffinity(None, &set);
    }

    /// Does both at once, each in a thread of its own on a core of its own.
    ///
    /// # Errors
    /// The first one's, else the other's.
    pub(crate) fn both<A: Send, B: Send>(
        self,
        one: impl FnOnce() -> Result<A, Failure> + Send,
        other: impl FnOnce() -> Result<B, Failure> + Send,
    ) -> Result<(A, B), Failure> {
        let panicked = || Failure::from("a thread of the measurement panicked");
        let (one, other) = std::thread::scope(|scope| {
            let one = scope.spawn(move || {
                self.stay_on(0);
                one()
            });
            let other = scope.spawn(move || {
                self.stay_on(1);
                other()
            });
            (one.join(), other.join())
        });
        Ok((
            one.map_err(|_| panicked())??,
            other.map_err(|_| panicked())??,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;

    #[test]
    fn both_run_at_once_and_failures_come_through() {
        let Ok(cores) = TwoCores::find() else {
            eprintln!("SKIPPED: this process may use one core only");
            return;
        };
        // Each waits for the other: done one after the other, this would never end.
        let meet = Barrier::new(2);
        let (one, other) = cores
            .both(
                || Ok(meet.wait().is_leader()),
                || Ok(meet.wait().is_leader()),
            )
            .unwrap();
        assert!(one != other);
        let failure = cores.both(|| Ok(()), || Err::<(), _>("no".into()));
        assert_eq!(failure.unwrap_err().to_string(), "no");
    }
}
