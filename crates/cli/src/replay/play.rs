//! The replays: each policy at each size on each part of the trace, on all cores.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use vidmm_replay::{Exact, Misses, Policy, belady, replay};

use crate::progress::Progress;
use crate::replay::load::{PATIENCE, Part};

/// For policies that draw lots: the same in every run.
const SEED: u64 = 1;

/// A policy with a cache of a size, on a part of the trace.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Job<'a> {
    pub(crate) policy: Policy,
    pub(crate) size_bytes: u64,
    pub(crate) part: &'a Part,
}

/// What came of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Played {
    pub(crate) misses: Misses,
    /// Of the clairvoyant bound: whether somebody reaches it.
    pub(crate) exact: Option<Exact>,
    /// Of a processor: what else the machine did does not count.
    pub(crate) took: Duration,
}

/// Plays all of them, on as many threads as there are cores. The results are in the jobs' order and
/// depend on nothing but them, except for the times. `name` says what a job is, for who waits.
pub(crate) fn play_all(jobs: &[Job<'_>], name: impl Fn(usize) -> String + Sync) -> Vec<Played> {
    let stage = Stage::begin(jobs);
    let results: Vec<OnceLock<Played>> = jobs.iter().map(|_| OnceLock::new()).collect();
    let next = AtomicUsize::new(0);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores.min(jobs.len()) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(job) = jobs.get(index) else { break };
                    stage.enter(index);
                    let played = play(job, |new| stage.advance(new, &name));
                    stage.leave(index);
                    // Nobody else has this index.
                    let _ = results[index].set(played);
                }
            });
        }
    });
    // A scope ends when all its threads have ended well, and they end when all jobs are done.
    results
        .into_iter()
        .filter_map(OnceLock::into_inner)
        .collect()
}

/// Plays one; `advance` is told of requests done since it was told last.
fn play(job: &Job<'_>, advance: impl Fn(u64)) -> Played {
    let requests = &job.part.requests;
    let mut told = 0;
    let mut tell = |done: usize| {
        advance((done - told) as u64);
        told = done;
    };
    let (misses, exact, took) = match job.policy {
        Policy::Online(online) => {
            let start = processor_time();
            let mut cache = online.build(job.size_bytes, requests.objects(), SEED);
            let misses = replay(requests, job.size_bytes, &mut *cache, &mut tell);
            (misses, None, processor_time().saturating_sub(start))
        }
        Policy::Belady => {
            // One look at the future serves all sizes.
            let future = job.part.future();
            let start = processor_time();
            let bound = belady(requests, future, job.size_bytes);
            (
                bound.least,
                Some(bound.exact),
                processor_time().saturating_sub(start),
            )
        }
    };
    tell(requests.len());
    Played {
        misses,
        exact,
        took,
    }
}

/// This thread's.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// What all threads together show.
struct Stage {
    done: AtomicU64,
    running: Mutex<Vec<usize>>,
    progress: Mutex<Progress>,
}

impl Stage {
    fn begin(jobs: &[Job<'_>]) -> Self {
        let total = jobs.iter().map(|job| job.part.requests.len() as u64).sum();
        Stage {
            done: AtomicU64::new(0),
            running: Mutex::new(Vec::new()),
            progress: Mutex::new(Progress::begin_long("replaying", total, PATIENCE)),
        }
    }

    fn enter(&self, index: usize) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.push(index);
    }

    fn leave(&self, index: usize) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|&other| other != index);
    }

    fn advance(&self, requests: u64, name: impl Fn(usize) -> String) {
        let done = self.done.fetch_add(requests, Ordering::Relaxed) + requests;
        // Whoever finds another thread at the display has better things to do.
        if let Ok(mut progress) = self.progress.try_lock() {
            progress.show(done, || {
                let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
                let names: Vec<String> = running.iter().map(|&index| name(index)).collect();
                names.join(", ")
            });
        }
    }
}
