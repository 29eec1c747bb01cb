//! Measures the peak: a thread, no worker, that asks the kernel again and again how much memory
//! all pools hold together - each time while that memory stands still. How it is made to stand
//! still is for whoever starts it: [`crate::demo::still`] within a process, [`crate::demo::fleet`]
//! among several.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::demo::histogram::nanoseconds;
use crate::output::Failure;

/// The time from one sample to the next, as long as they are cheap.
const INTERVAL: Duration = Duration::from_millis(20);
/// A sample that took so much CPU time is followed by a pause of so many times as much: the
/// sampler takes 5 % of a core at most.
const PAUSE_PER_COST: u32 = 20;

/// What was seen.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Peak {
    /// The most that was resident and swapped out together.
    pub(crate) peak_bytes: u64,
    pub(crate) samples: u64,
    /// The mean time from one sample to the next.
    pub(crate) interval_ns: u64,
}

/// Samples until the other end of `stop` is dropped, and once more then. `look` tells what is
/// resident and swapped out now, in bytes, or `None` where that could not be seen this time.
/// `so_far_bytes` always has the peak up to now.
///
/// # Errors
/// If the kernel does not tell: then nothing can be said of the peak.
pub(crate) fn run(
    mut look: impl FnMut() -> Result<Option<u64>, Failure>,
    so_far_bytes: &AtomicU64,
    stop: &Receiver<()>,
) -> Result<Peak, Failure> {
    let start = Instant::now();
    let mut peak = Peak::default();
    loop {
        let (began, cpu_before) = (Instant::now(), cpu_time());
        if let Some(bytes) = look()? {
            peak.peak_bytes = peak.peak_bytes.max(bytes);
            peak.samples += 1;
            so_far_bytes.store(peak.peak_bytes, Ordering::Relaxed);
        }
        let cost = cpu_time().saturating_sub(cpu_before);
        let pause = INTERVAL
            .saturating_sub(began.elapsed())
            .max(cost * PAUSE_PER_COST);
        match stop.recv_timeout(pause) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    peak.interval_ns = nanoseconds(start.elapsed()) / peak.samples.max(1);
    Ok(peak)
}

/// CPU time of the calling thread.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn the_peak_is_the_most_of_all_looks() {
        let (stop, stopped) = channel::<()>();
        let mut stop = Some(stop);
        let mut looks = vec![None, Some(3), None, Some(7)];
        let so_far_bytes = AtomicU64::new(0);
        let look = || {
            let bytes = looks.pop().flatten();
            if looks.is_empty() {
                stop = None;
            }
            Ok(bytes)
        };
        let peak = run(look, &so_far_bytes, &stopped).unwrap();
        assert_eq!((peak.peak_bytes, peak.samples), (7, 2));
        assert_eq!(so_far_bytes.into_inner(), 7);
    }

    #[test]
    fn a_kernel_that_does_not_tell_is_an_error() {
        let (_stop, stopped) = channel::<()>();
        let look = || Err("no smaps".into());
        assert!(run(look, &AtomicU64::new(0), &stopped).is_err());
    }
}
