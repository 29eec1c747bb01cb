//! `pair_rust`, `two_threads`: what an offer and a reclaim of intact memory cost, beside two bare
//! compare-and-swaps.

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use vidmm::{Allocation, Class, Committed, Outcome, Pool};

use crate::bench::cores::TwoCores;
use crate::bench::pool_of;
use crate::bench::row::{Row, Target};
use crate::bench::sample::{Samples, Sorted, TURNS, by_turns, ns_since};
use crate::output::Failure;

pub(crate) const SIZE_BYTES: usize = 64 << 10;
const BUDGET_BYTES: u64 = 16 << 20;
/// Pairs of one sample, with one thread: about 2 ms.
const PAIRS: u64 = 200_000;
/// With two, long beside the time that the second thread starts later.
const PAIRS_OF_TWO: u64 = 1_000_000;

pub(crate) const PEER: &str = "two bare compare-and-swaps";
const PEER_OF_TWO: &str = "two threads with bare compare-and-swaps";

/// A cache line of its own, as a slot is.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Line(pub(crate) AtomicU64);

pub(crate) fn pair_rust() -> Result<Vec<Row>, Failure> {
    let pool = pool_of(BUDGET_BYTES)?;
    let mut typed = Some(backed(pool.allocate(SIZE_BYTES)?)?);
    let shared = pool.options().allocate_shared(SIZE_BYTES)?;
    let line = Line::default();

    let samples = by_turns(
        TURNS,
        || {
            let tile = typed.take().ok_or("the allocation was lost")?;
            let (tile, ns) = typed_pairs(tile)?;
            typed = Some(tile);
            Ok(ns)
        },
        || bare_pairs(&line, PAIRS),
    )?;
    let row = |name, samples: &Samples| {
        Row::new(name, SIZE_BYTES as u64, PEER, samples).judged(Target::OfPeer(1.2))
    };
    let typed_row = row("pair_rust", &samples);
    let samples = by_turns(
        TURNS,
        || shared_pairs(&shared, PAIRS),
        || bare_pairs(&line, PAIRS),
    )?;
    Ok(vec![typed_row, row("pair_rust_shared", &samples)])
}

pub(crate) fn two_threads() -> Result<Vec<Row>, Failure> {
    let cores = TwoCores::find()?;
    let pool = pool_of(BUDGET_BYTES)?;
    // Created one after the other: neighbours in the table, as the bare lines are in memory.
    let own = [
        pool.options().allocate_shared(SIZE_BYTES)?,
        pool.options().allocate_shared(SIZE_BYTES)?,
    ];
    let lines = [Line::default(), Line::default()];
    let samples = by_turns(
        TURNS,
        || both(cores, |thread| shared_pairs(&own[thread], PAIRS_OF_TWO)),
        || both(cores, |thread| bare_pairs(&lines[thread], PAIRS_OF_TWO)),
    )?;
    let row = Row::new("two_threads", SIZE_BYTES as u64, PEER_OF_TWO, &samples)
        .judged(Target::Ratio(0.9));

    // Does the second thread slow the first one down?
    let one = by_turns(
        TURNS,
        || both(cores, |thread| shared_pairs(&own[thread], PAIRS_OF_TWO)),
        || shared_pairs(&own[0], PAIRS_OF_TWO),
    )?;
    let peer = "one thread alone, through vidmm too";
    let scaling = Row::new("two_threads_scaling", SIZE_BYTES as u64, peer, &one);
    Ok(vec![row, scaling])
}

/// Writes all of it, so that there is something that stays intact.
pub(crate) fn backed(mut tile: Committed) -> Result<Committed, Failure> {
    tile.lock_mut()?.fill(1);
    Ok(tile)
}

/// Nanoseconds per pair where the types say what is offered.
#[inline(never)]
pub(crate) fn typed_pairs(mut tile: Committed) -> Result<(Committed, f64), Failure> {
    let mut intact = true;
    let start = Instant::now();
    for _ in 0..PAIRS {
        // In memory, as in anybody's structure.
        black_box(&tile);
        let answer = tile.offer(Class::Normal).reclaim()?;
        intact &= answer.is_intact();
        tile = answer.into_inner();
    }
    let ns = ns_since(start) / PAIRS as f64;
    require_intact(intact)?;
    Ok((tile, ns))
}

/// Nanoseconds per pair where the state is checked at run time.
#[inline(never)]
fn shared_pairs(tile: &Allocation, pairs: u64) -> Result<f64, Failure> {
    let mut intact = true;
    let start = Instant::now();
    for _ in 0..pairs {
        let tile = black_box(tile);
        tile.offer(Class::Normal)?;
        intact &= tile.reclaim()? == Outcome::Intact;
    }
    let ns = ns_since(start) / pairs as f64;
    require_intact(intact)?;
    Ok(ns)
}

/// Nanoseconds per pair of swaps between values known beforehand. Nothing is loaded, looked up or
/// noted: no protocol can do with less.
#[inline(never)]
pub(crate) fn bare_pairs(line: &Line, pairs: u64) -> Result<f64, Failure> {
    let (committed, offered) = black_box((1, 2));
    line.0.store(committed, Ordering::SeqCst);
    let mut swapped = true;
    let start = Instant::now();
    for _ in 0..pairs {
        let line = black_box(line);
        swapped &= swap(line, committed, offered);
        swapped &= swap(line, offered, committed);
    }
    let ns = ns_since(start) / pairs as f64;
    if swapped {
        Ok(ns)
    } else {
        Err("the bare swaps failed: somebody else wrote their cache line".into())
    }
}

#[inline]
pub(crate) fn swap(line: &Line, from: u64, to: u64) -> bool {
    line.0
        .compare_exchange(from, to, Ordering::SeqCst, Ordering::Relaxed)
        .is_ok()
}

/// What `work` measures in two threads at once: the mean.
fn both(
    cores: TwoCores,
    work: impl Fn(usize) -> Result<f64, Failure> + Sync,
) -> Result<f64, Failure> {
    let start = Barrier::new(2);
    let in_thread = |thread| {
        start.wait();
        work(thread)
    };
    let (one, other) = cores.both(|| in_thread(0), || in_thread(1))?;
    Ok(f64::midpoint(one, other))
}

fn require_intact(intact: bool) -> Result<(), Failure> {
    if intact {
        Ok(())
    } else {
        Err("memory was discarded although nothing needed it".into())
    }
}

/// A thread that offers and reclaims its own allocation and looks at the clock once in a while:
/// what it feels of what others do. For `churn`.
#[derive(Debug)]
pub(crate) struct Bystander {
    tile: Allocation,
}

/// The pairs between two looks at the clock.
const BATCH: u64 = 1_000;

impl Bystander {
    pub(crate) fn new(pool: &Pool) -> Result<Self, Failure> {
        let mut tile = pool.options().allocate_shared(SIZE_BYTES)?;
        tile.lock_mut()?.fill(1);
        Ok(Self { tile })
    }

    /// Of the batches until `end`, the time per pair that 99 of 100 do not exceed, in nanoseconds.
    pub(crate) fn p99_until(&self, end: Instant) -> Result<f64, Failure> {
        let mut figures = Vec::new();
        let mut before = Instant::now();
        while before < end {
            for _ in 0..BATCH {
                let tile = black_box(&self.tile);
                tile.offer(Class::Normal)?;
                tile.reclaim()?;
            }
            let now = Instant::now();
            figures.push((now - before).as_secs_f64() * 1e9 / BATCH as f64);
            before = now;
        }
        Ok(Sorted::new(figures).at(99, 100))
    }
}
