//! `scan_1m` and `bytes_per_allocation`: a pool with 1,048,576 offered allocations - what ranking
//! them takes, and what keeping them takes.

use std::hint::black_box;
use std::time::Instant;

use vidmm::{Allocation, Class, Pool};

use crate::bench::heap::give_back_freed;
use crate::bench::map::{Map, Pages};
use crate::bench::pool_of;
use crate::bench::row::{Row, Target, Unit};
use crate::bench::sample::{Samples, TURNS_LONG, ns_since, random, shuffled};
use crate::bench::usage::{anonymous_bytes, machine_available_bytes};
use crate::output::Failure;

const COUNT: usize = 1 << 20;
/// Nobody locks them, so nothing is behind them: they only count.
const SIZE_BYTES: usize = 4096;
/// All of it is offered: the time when victims are looked for. Two pages more, for the rescans.
const BUDGET_BYTES: u64 = ((COUNT + 2) * SIZE_BYTES) as u64;
const LINE_BYTES: usize = 64;
/// One miss in so many offers: ages differ, and several offers share one.
const OFFERS_PER_MISS: usize = 4;
/// Looks at each pool after the first.
const LATER: usize = 3;

const FIRST_LIMIT_NS: f64 = 20e6;
const LATER_LIMIT_NS: f64 = 10e6;
const BYTES_LIMIT: f64 = 96.0;

const PEER: &str = "a bare read of as many cache lines";

pub(crate) fn scan_and_bytes() -> Result<Vec<Row>, Failure> {
    let wanted_bytes = 1 << 30;
    if machine_available_bytes()? < wanted_bytes {
        return Err(crate::bench::too_little_memory(wanted_bytes));
    }
    let mut random = random();
    let mut lines = Lines::new()?;
    let (mut first, mut later, mut reads, mut bytes) = (vec![], vec![], vec![], vec![]);
    let mut claimed_bytes = 0;
    for _ in 0..TURNS_LONG {
        let order = shuffled(&mut random, COUNT);
        give_back_freed();
        let before_bytes = anonymous_bytes()?;
        let full = Full::new(&order)?;
        first.push(trim_one(&full.pool, SIZE_BYTES as u64)?);
        reads.push(lines.read_ns());
        for _ in 0..LATER {
            // Reading the lines in between drives the table out of the caches, and the scans drive
            // the lines out: neither side finds its memory there.
            let between = || reads.push(lines.read_ns());
            later.push(rescan_ns(&full.pool, SIZE_BYTES as u64, between)?);
        }
        let held_bytes = anonymous_bytes()?.saturating_sub(before_bytes);
        let own_bytes = held_bytes.saturating_sub(full.pool.resident()?.rss_bytes);
        bytes.push(own_bytes as f64 / COUNT as f64);
        claimed_bytes = full.pool.stats_now().bookkeeping_bytes;
    }
    let row = |name, figures: Vec<f64>, limit_ns| {
        let samples = Samples::of(figures, reads.clone());
        Row::new(name, SIZE_BYTES as u64, PEER, &samples).judged(Target::AtMost(limit_ns))
    };
    let note = format!(
        "as the kernel counts it, with handles and the victim list; by vidmm's own books, which \
         leave out the handles, {:.1} bytes",
        claimed_bytes as f64 / COUNT as f64
    );
    let per_allocation = Row::new(
        "bytes_per_allocation",
        SIZE_BYTES as u64,
        "the target",
        &Samples::beside(bytes, BYTES_LIMIT),
    )
    .in_unit(Unit::Bytes)
    .judged(Target::AtMost(BYTES_LIMIT))
    .noting(note);
    Ok(vec![
        row("scan_1m", later, LATER_LIMIT_NS),
        row("scan_1m_first", first, FIRST_LIMIT_NS),
        per_allocation,
    ])
}

/// A pool whose whole budget is offered.
#[derive(Debug)]
struct Full {
    pool: Pool,
    /// Kept for their drop.
    _tiles: Vec<Allocation>,
}

impl Full {
    /// Offered in `order`, with misses in between, so that age and place have nothing to do with
    /// each other.
    fn new(order: &[usize]) -> Result<Self, Failure> {
        let pool = pool_of(BUDGET_BYTES)?;
        let mut tiles = Vec::with_capacity(order.len());
        for _ in order {
            tiles.push(pool.options().allocate_shared(SIZE_BYTES)?);
        }
        for (turn, &index) in order.iter().enumerate() {
            if turn % OFFERS_PER_MISS == 0 {
                // A new allocation is what advances the clock of ages.
                drop(pool.allocate(SIZE_BYTES)?);
            }
            tiles[index].offer(Class::Normal)?;
        }
        Ok(Self {
            pool,
            _tiles: tiles,
        })
    }
}

/// Nanoseconds to give `bytes` back.
fn trim_one(pool: &Pool, bytes: u64) -> Result<f64, Failure> {
    let start = Instant::now();
    let given_bytes = pool.trim(bytes)?;
    let ns = ns_since(start);
    if given_bytes < bytes {
        return Err(format!("asked to give back {bytes} bytes, vidmm gave {given_bytes}").into());
    }
    Ok(ns)
}

/// Nanoseconds to rank everything in `pool` anew and to give the first victim, of `bytes`, back.
/// What makes the list of victims stale is an offer in a lower class than the list's; `between` is
/// done when it is.
pub(crate) fn rescan_ns(pool: &Pool, bytes: u64, between: impl FnOnce()) -> Result<f64, Failure> {
    let scans = pool.stats_now().scans;
    let low = pool.options().allocate_shared(SIZE_BYTES)?;
    low.offer(Class::Low)?;
    // Its own page goes first: by a scan that finds a list of one, which is used up with it.
    trim_one(pool, low.charge_bytes())?;
    between();
    let ns = trim_one(pool, bytes)?;
    match pool.stats_now().scans - scans {
        2 => Ok(ns),
        other => Err(format!(
            "giving back a victim of class LOW and another one took {other} scans instead of 2: \
             the benchmark does not measure what it says; please report it"
        )
        .into()),
    }
}

/// As many cache lines as there are slots.
#[derive(Debug)]
struct Lines(Map);

impl Lines {
    fn new() -> Result<Self, Failure> {
        let mut map = Map::fresh((COUNT + 1) * LINE_BYTES, Pages::Unadvised)?;
        map.bytes_mut().fill(1);
        // What the order looks like is no secret to the compiler; what is in there is.
        black_box(map.bytes_mut());
        Ok(Self(map))
    }

    /// Nanoseconds to read a word of each.
    fn read_ns(&mut self) -> f64 {
        let bytes = black_box(self.0.bytes_mut());
        let start = Instant::now();
        let mut sum = 0_u64;
        for line in bytes.chunks_exact(LINE_BYTES) {
            if let Some((word, _)) = line.split_first_chunk::<8>() {
                sum = sum.wrapping_add(u64::from_ne_bytes(*word));
            }
        }
        black_box(sum);
        ns_since(start)
    }
}
