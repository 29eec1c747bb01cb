//! A run in this process: one worker, the sampler beside it, and the caller, who shows progress.
//! Several workers are processes: [`crate::demo::fleet`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use vidmm::Pool;
use vidmm_machine::ByteSize;

use crate::demo::histogram::clock_cost_ns;
use crate::demo::sampler::{self, Peak};
use crate::demo::store::Store;
use crate::demo::tally::{Live, Tally};
use crate::demo::unpack::size_u64;
use crate::demo::worker::{self, Shared};
use crate::output::Failure;
use crate::progress::Progress;

/// How often the display is brought up to date.
pub(crate) const SHOW_INTERVAL: Duration = Duration::from_millis(100);

/// What a run brought, beside what it began with.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) tally: Tally,
    pub(crate) peak: Peak,
    pub(crate) scratch_peak_bytes: u64,
    pub(crate) clock_ns: u64,
    /// From the first worker's start to the last one's end.
    pub(crate) elapsed: Duration,
    pub(crate) casualties: Casualties,
}

/// What was done to the processes of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Casualties {
    /// Workers that were started, the successors of killed ones too.
    pub(crate) workers_started: u64,
    pub(crate) workers_killed: u64,
    /// How often a worker was stopped for a while.
    pub(crate) workers_stopped: u64,
    pub(crate) managers_killed: u64,
}

/// Runs the plan's one worker to its end, with the sampler beside it.
///
/// # Errors
/// The worker's failure, the sampler's, or a thread that cannot be started.
pub(crate) fn carry_out(
    shared: &Shared,
    pool: &Pool,
    budget_bytes: u64,
) -> Result<Outcome, Failure> {
    let clock_ns = clock_cost_ns();
    let (peak_so_far_bytes, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let began = Instant::now();
    thread::scope(|scope| {
        let (stop_sampler, stopped) = channel::<()>();
        let (peak_so_far_bytes, done) = (&peak_so_far_bytes, &done);
        let look = || {
            let _looking = shared.still.look();
            Ok(Some(
                pool.resident().map(|resident| resident.total_bytes())?,
            ))
        };
        let sampler = thread::Builder::new()
            .name("sampler".to_owned())
            .spawn_scoped(scope, move || {
                sampler::run(look, peak_so_far_bytes, &stopped)
            })?;
        let (running, ended) = channel::<()>();
        let store = Store::new(pool.clone(), shared.items.len(), clock_ns);
        let worker = thread::Builder::new()
            .name("worker".to_owned())
            .spawn_scoped(scope, move || {
                let _running = running;
                worker::run(shared, store, done)
            })?;
        let mut progress = Progress::begin("reading:", size_u64(shared.plan.accesses.len()));
        while ended.recv_timeout(SHOW_INTERVAL) == Err(RecvTimeoutError::Timeout) {
            let peak_bytes = peak_so_far_bytes.load(Ordering::Relaxed);
            progress.show(done.load(Ordering::Relaxed), || {
                so_far(&shared.live, peak_bytes, budget_bytes)
            });
        }
        let tally = worker.join().map_err(|_| "the worker panicked")?;
        let elapsed = began.elapsed();
        drop(stop_sampler);
        let peak = sampler
            .join()
            .map_err(|_| "the sampler of the peak panicked")??;
        Ok(Outcome {
            tally: tally?,
            peak,
            scratch_peak_bytes: shared.scratch.peak_bytes(),
            clock_ns,
            elapsed,
            casualties: Casualties {
                workers_started: 1,
                ..Casualties::default()
            },
        })
    })
}

/// The progress line of a run.
pub(crate) fn so_far(live: &Live, peak_bytes: u64, budget_bytes: u64) -> String {
    format!(
        "{}; peak {} of {}",
        live.in_words(),
        ByteSize(peak_bytes),
        ByteSize(budget_bytes)
    )
}
