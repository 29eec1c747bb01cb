//! The threads of a run: workers, the sampler beside them, and the caller, who shows progress.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use vidmm::Pool;
use vidmm_machine::ByteSize;

use crate::demo::histogram::clock_cost_ns;
use crate::demo::progress::Progress;
use crate::demo::sampler::{self, Peak};
use crate::demo::store::Store;
use crate::demo::unpack::size_u64;
use crate::demo::worker::{self, Shared, Tally};
use crate::output::Failure;

/// How often the display is brought up to date.
const SHOW_INTERVAL: Duration = Duration::from_millis(100);

/// What a run brought, beside what it began with.
pub(crate) struct Outcome {
    pub(crate) tally: Tally,
    pub(crate) peak: Peak,
    pub(crate) clock_ns: u64,
    /// From the first worker's start to the last one's end.
    pub(crate) elapsed: Duration,
}

/// Runs all workers to their end, with the sampler beside them.
///
/// # Errors
/// The first worker's failure, the sampler's, or a thread that cannot be started.
pub(crate) fn carry_out(
    shared: &Shared,
    pool: &Pool,
    budget_bytes: u64,
) -> Result<Outcome, Failure> {
    let clock_ns = clock_cost_ns();
    let peak_so_far_bytes = AtomicU64::new(0);
    let began = Instant::now();
    thread::scope(|scope| {
        let (stop_sampler, stopped) = channel::<()>();
        let peak_so_far_bytes = &peak_so_far_bytes;
        let sampler = thread::Builder::new()
            .name("sampler".to_owned())
            .spawn_scoped(scope, move || {
                sampler::run(pool, &shared.still, peak_so_far_bytes, &stopped)
            })?;
        let tally = start_workers(scope, shared, pool, clock_ns).and_then(|started| {
            watch(shared, &started.ended, budget_bytes, peak_so_far_bytes);
            join_workers(started.workers)
        });
        let elapsed = began.elapsed();
        drop(stop_sampler);
        let peak = sampler
            .join()
            .map_err(|_| "the sampler of the peak panicked")??;
        Ok(Outcome {
            tally: tally?,
            peak,
            clock_ns,
            elapsed,
        })
    })
}

type WorkerHandle<'scope> = ScopedJoinHandle<'scope, Result<Tally, vidmm::Error>>;

struct Started<'scope> {
    workers: Vec<WorkerHandle<'scope>>,
    /// Disconnected once all workers have ended, however they ended.
    ended: Receiver<()>,
}

fn start_workers<'scope>(
    scope: &'scope Scope<'scope, '_>,
    shared: &'scope Shared,
    pool: &Pool,
    clock_ns: u64,
) -> Result<Started<'scope>, Failure> {
    let (running, ended) = channel::<()>();
    let mut workers = Vec::new();
    for worker in 0..shared.plan.workers {
        let store = Store::new(pool.clone(), shared.items.len(), clock_ns);
        let running = running.clone();
        let handle = thread::Builder::new()
            .name(format!("worker {worker}"))
            .spawn_scoped(scope, move || {
                let _running = running;
                worker::run(shared, worker, store)
            });
        match handle {
            Ok(handle) => workers.push(handle),
            Err(error) => {
                shared.turns.break_off();
                return Err(format!(
                    "cannot start worker {worker} of {}: {error}; try fewer --workers",
                    shared.plan.workers
                )
                .into());
            }
        }
    }
    Ok(Started { workers, ended })
}

/// Shows how far the run is until it ends.
fn watch(shared: &Shared, ended: &Receiver<()>, budget_bytes: u64, peak_bytes: &AtomicU64) {
    let mut progress = Progress::begin("reading:", size_u64(shared.plan.accesses.len()));
    while ended.recv_timeout(SHOW_INTERVAL) == Err(RecvTimeoutError::Timeout) {
        progress.show(shared.turns.finished(), || {
            format!(
                "{} first, {} intact, {} discarded; peak {} of {}",
                shared.live.first_use.load(Ordering::Relaxed),
                shared.live.intact.load(Ordering::Relaxed),
                shared.live.discarded.load(Ordering::Relaxed),
                ByteSize(peak_bytes.load(Ordering::Relaxed)),
                ByteSize(budget_bytes),
            )
        });
    }
}

/// All workers' figures together; the first failure if one failed.
fn join_workers(workers: Vec<WorkerHandle<'_>>) -> Result<Tally, Failure> {
    let ends: Vec<_> = workers.into_iter().map(ScopedJoinHandle::join).collect();
    let mut sum = Tally::default();
    for (worker, end) in ends.into_iter().enumerate() {
        sum.add(end.map_err(|_| format!("worker {worker} panicked"))??);
    }
    Ok(sum)
}
