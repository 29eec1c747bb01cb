//! Measures the peak: a thread, no worker, that asks the kernel again and again how much memory
//! the pool holds - each time while that memory stands still.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use vidmm::Pool;

use crate::demo::histogram::nanoseconds;
use crate::demo::still::Still;
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

/// Samples until the other end of `stop` is dropped, and once more then. `so_far_bytes` always
/// has the peak up to now.
///
/// # Errors
/// If the kernel does not tell: then nothing can be said of the peak.
pub(crate) fn run(
    pool: &Pool,
    still: &Still,
    so_far_bytes: &AtomicU64,
    stop: &Receiver<()>,
) -> Result<Peak, Failure> {
    let start = Instant::now();
    let mut peak = Peak::default();
    loop {
        let (began, cpu_before) = (Instant::now(), cpu_time());
        let looking = still.look();
        let resident = pool.resident()?;
        drop(looking);
        peak.peak_bytes = peak
            .peak_bytes
            .max(resident.rss_bytes.saturating_add(resident.swap_bytes));
        peak.samples += 1;
        so_far_bytes.store(peak.peak_bytes, Ordering::Relaxed);
        let cost = cpu_time().saturating_sub(cpu_before);
        let pause = INTERVAL
            .saturating_sub(began.elapsed())
            .max(cost * PAUSE_PER_COST);
        match stop.recv_timeout(pause) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    peak.interval_ns = nanoseconds(start.elapsed()) / peak.samples;
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
    fn sees_what_is_written_and_no_more_than_the_budget() {
        const BUDGET_BYTES: u64 = 4 << 20;
        let pool = Pool::builder().budget_bytes(BUDGET_BYTES).build().unwrap();
        let mut memory = pool.allocate(1 << 20).unwrap();
        memory.lock_mut().unwrap().fill(1);
        let (stop, stopped) = channel::<()>();
        drop(stop);
        let so_far_bytes = AtomicU64::new(0);
        let peak = run(&pool, &Still::default(), &so_far_bytes, &stopped).unwrap();
        assert!(
            (1 << 20..=BUDGET_BYTES).contains(&peak.peak_bytes),
            "{}",
            peak.peak_bytes
        );
        assert_eq!(so_far_bytes.into_inner(), peak.peak_bytes);
        assert_eq!(peak.samples, 1);
    }
}
