//! `churn`: a pool whose budget is full while 1 GiB a second goes through it - the time that ranking
//! takes, and what another thread feels.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use vidmm::{Allocation, Class, Outcome, Pool};

use crate::bench::cores::TwoCores;
use crate::bench::pair::Bystander;
use crate::bench::pool_of;
use crate::bench::row::{Row, Target, Unit};
use crate::bench::sample::{Samples, Sorted, TURNS_LONG};
use crate::bench::scan::rescan_ns;
use crate::bench::usage::{machine_available_bytes, thread_time};
use crate::bench::warm_write::write_all;
use crate::output::Failure;

const BUDGET_BYTES: usize = 512 << 20;
const TURNOVER_BYTES_PER_SECOND: f64 = (1_u64 << 30) as f64;
/// The allocations together are so many times the budget: with the longest offered going first,
/// each is discarded by the time it is wanted again.
const OVERCOMMIT: usize = 2;

/// One turn: quiet, then with the churn.
const QUIET: Duration = Duration::from_millis(500);
const BUSY: Duration = Duration::from_millis(1000);
/// The churning thread gets up so often when it is ahead of its rate.
const NAP: Duration = Duration::from_micros(500);
/// Scans that are timed for the mean one.
const SCANS: usize = 15;

const LIMIT_PERCENT: f64 = 5.0;
const P99_TIMES: f64 = 2.0;

pub(crate) fn churn() -> Result<Vec<Row>, Failure> {
    let cores = TwoCores::find()?;
    let wanted_bytes = 3 * BUDGET_BYTES as u64;
    if machine_available_bytes()? < wanted_bytes {
        return Err(crate::bench::too_little_memory(wanted_bytes));
    }
    let typical = measure(cores, 64 << 10)?;
    let tiny = measure(cores, 4 << 10)?;
    let (bystander, size_bytes) = (typical.bystander, typical.size_bytes);
    let row = |name, measured: Ranking| {
        let samples = Samples::beside(measured.percent, LIMIT_PERCENT);
        Row::new(name, measured.size_bytes, "the target", &samples)
            .in_unit(Unit::Percent)
            .judged(Target::AtMost(LIMIT_PERCENT))
            .noting(measured.note)
    };
    let peer = "p99 of its pair when it is quiet";
    Ok(vec![
        row("churn", typical.ranking),
        Row::new("churn_bystander", size_bytes, peer, &bystander).judged(Target::OfPeer(P99_TIMES)),
        row("churn_4k", tiny.ranking),
    ])
}

struct Measured {
    size_bytes: u64,
    bystander: Samples,
    ranking: Ranking,
}

struct Ranking {
    size_bytes: u64,
    percent: Vec<f64>,
    note: String,
}

/// What one turn of the churning thread came to.
#[derive(Clone, Copy, Debug, Default)]
struct Turn {
    discarded_bytes: f64,
    seconds: f64,
    cpu_seconds: f64,
    scans: f64,
}

fn measure(cores: TwoCores, size_bytes: usize) -> Result<Measured, Failure> {
    let pool = pool_of(BUDGET_BYTES as u64)?;
    let bystander = Bystander::new(&pool)?;
    let mut ring = Ring::new(&pool, size_bytes)?;
    let (mut quiet, mut busy, mut turns) = (vec![], vec![], vec![]);
    for _ in 0..TURNS_LONG {
        let alone = || bystander.p99_until(Instant::now() + QUIET);
        quiet.push(cores.both(alone, || Ok(()))?.0);
        let (p99, turn) = turn(cores, &pool, &bystander, &mut ring)?;
        busy.push(p99);
        turns.push(turn);
    }
    let ranking = ranking(&pool, size_bytes, &turns)?;
    Ok(Measured {
        size_bytes: size_bytes as u64,
        bystander: Samples::of(busy, quiet),
        ranking,
    })
}

/// The bystander's p99 while the ring turns, and what the ring did.
fn turn(
    cores: TwoCores,
    pool: &Pool,
    bystander: &Bystander,
    ring: &mut Ring,
) -> Result<(f64, Turn), Failure> {
    let stop = AtomicBool::new(false);
    let scans = pool.stats_now().scans;
    let beside = || {
        let p99 = bystander.p99_until(Instant::now() + BUSY);
        stop.store(true, Ordering::Relaxed);
        p99
    };
    let (p99, turn) = cores.both(beside, || ring.run(&stop))?;
    let scans = (pool.stats_now().scans - scans) as f64;
    Ok((p99, Turn { scans, ..turn }))
}

/// The share of a core for ranking: scans counted during the run, times what a scan of this very
/// table takes. Scaled to the full rate where the machine did not reach it.
fn ranking(pool: &Pool, size_bytes: usize, turns: &[Turn]) -> Result<Ranking, Failure> {
    let scans = (0..SCANS)
        .map(|_| rescan_ns(pool, size_bytes as u64, || {}))
        .collect::<Result<Vec<_>, _>>()?;
    let scan_ns = Sorted::new(scans).median();
    let median = |of: &dyn Fn(&Turn) -> f64| Sorted::new(turns.iter().map(of).collect()).median();
    let percent = turns
        .iter()
        .map(|turn| {
            let scans_per_byte = turn.scans / turn.discarded_bytes.max(1.0);
            scans_per_byte * TURNOVER_BYTES_PER_SECOND * scan_ns / 1e9 * 100.0
        })
        .collect();
    let note = format!(
        "{:.2} GiB/s turned over, {:.0} scans a second at {:.3} ms each; the churning thread used \
         {:.0} % of a core in all",
        median(&|turn| turn.discarded_bytes / turn.seconds) / TURNOVER_BYTES_PER_SECOND,
        median(&|turn| turn.scans / turn.seconds),
        scan_ns / 1e6,
        median(&|turn| turn.cpu_seconds / turn.seconds * 100.0),
    );
    Ok(Ranking {
        size_bytes: size_bytes as u64,
        percent,
        note,
    })
}

/// Allocations used one after the other, again and again, under a budget that holds a part of them.
#[derive(Debug)]
struct Ring {
    tiles: Vec<Allocation>,
    next: usize,
    size_bytes: usize,
}

impl Ring {
    fn new(pool: &Pool, size_bytes: usize) -> Result<Self, Failure> {
        let mut ring = Self {
            tiles: Vec::new(),
            next: 0,
            size_bytes,
        };
        for _ in 0..OVERCOMMIT * BUDGET_BYTES / size_bytes {
            let mut tile = pool
                .options()
                .allow_not_zeroed()
                .allocate_shared(size_bytes)?;
            write_all(&mut tile.lock_mut()?);
            tile.offer(Class::Normal)?;
            ring.tiles.push(tile);
        }
        Ok(ring)
    }

    /// Uses the next one, and says whether it had to be rebuilt.
    fn step(&mut self) -> Result<bool, Failure> {
        let count = self.tiles.len();
        let tile = &mut self.tiles[self.next];
        self.next = (self.next + 1) % count;
        let discarded = tile.reclaim()? == Outcome::Discarded;
        if discarded {
            write_all(&mut tile.lock_mut()?);
        }
        tile.offer(Class::Normal)?;
        Ok(discarded)
    }

    /// Turns, at the rate or as fast as the machine can, until `stop`.
    fn run(&mut self, stop: &AtomicBool) -> Result<Turn, Failure> {
        let (start, cpu_before) = (Instant::now(), thread_time());
        let mut discarded_bytes = 0.0;
        while !stop.load(Ordering::Relaxed) {
            let due_bytes = start.elapsed().as_secs_f64() * TURNOVER_BYTES_PER_SECOND;
            if discarded_bytes >= due_bytes {
                std::thread::sleep(NAP);
                continue;
            }
            if self.step()? {
                discarded_bytes += self.size_bytes as f64;
            }
        }
        Ok(Turn {
            discarded_bytes,
            seconds: start.elapsed().as_secs_f64(),
            cpu_seconds: (thread_time() - cpu_before).as_secs_f64(),
            scans: 0.0,
        })
    }
}
