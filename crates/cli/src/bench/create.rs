//! `create_destroy_64k`: the life of an allocation that is not used, and of one that is written.

use std::hint::black_box;
use std::time::Instant;

use vidmm::Pool;

use crate::bench::map::{Map, Pages};
use crate::bench::pool_of;
use crate::bench::row::{Row, Target};
use crate::bench::sample::{TURNS, by_turns, ns_each, ns_since};
use crate::bench::warm_write::write_all;
use crate::output::Failure;

const NAME: &str = "create_destroy_64k";
const SIZE_BYTES: usize = 64 << 10;
const BUDGET_BYTES: u64 = 64 << 20;
/// Before that many were created and destroyed, each takes a slot that was never used before.
const WARM_UP: u32 = 40_000;
const COUNT: u32 = 20_000;
/// Of those that are written.
const COUNT_WRITTEN: u32 = 2_000;

const LIMIT_NS: f64 = 150.0;

pub(crate) fn create_destroy() -> Result<Vec<Row>, Failure> {
    let pool = pool_of(BUDGET_BYTES)?;
    untouched(&pool, WARM_UP)?;
    Ok(vec![
        untouched_row(&pool)?,
        written_row(&pool, true)?,
        written_row(&pool, false)?,
    ])
}

fn untouched(pool: &Pool, count: u32) -> Result<f64, Failure> {
    let start = Instant::now();
    for _ in 0..count {
        black_box(pool.allocate(black_box(SIZE_BYTES))?);
    }
    Ok(ns_since(start) / f64::from(count))
}

fn untouched_row(pool: &Pool) -> Result<Row, Failure> {
    let samples = by_turns(
        TURNS,
        || untouched(pool, COUNT),
        || mapped_and_unmapped(COUNT / 10),
    )?;
    let row = Row::new(
        NAME,
        SIZE_BYTES as u64,
        "mmap + munmap, untouched",
        &samples,
    );
    Ok(row.judged(Target::AtMost(LIMIT_NS)))
}

/// Nanoseconds that the kernel takes for as much.
pub(crate) fn mapped_and_unmapped(count: u32) -> Result<f64, Failure> {
    let mut failed = None;
    let ns = ns_each(count, || match Map::fresh(SIZE_BYTES, Pages::Unadvised) {
        Ok(map) => drop(black_box(map)),
        Err(error) => failed = Some(error),
    });
    failed.map_or(Ok(ns), |error| Err(error.into()))
}

/// Create, lock, write all, destroy; beside what a program gets from its allocator.
fn written_row(pool: &Pool, zeroed: bool) -> Result<Row, Failure> {
    let ours = || {
        let start = Instant::now();
        for _ in 0..COUNT_WRITTEN {
            let options = match zeroed {
                true => pool.options(),
                false => pool.options().allow_not_zeroed(),
            };
            let mut tile = options.allocate(black_box(SIZE_BYTES))?;
            write_all(&mut tile.lock_mut()?);
        }
        Ok(ns_since(start) / f64::from(COUNT_WRITTEN))
    };
    let zeroed_peer = || {
        ns_each(COUNT_WRITTEN, || {
            let mut block = black_box(vec![0_u8; black_box(SIZE_BYTES)]);
            write_all(&mut block);
        })
    };
    let peer = || {
        ns_each(COUNT_WRITTEN, || {
            let mut block: Vec<u8> = black_box(Vec::with_capacity(black_box(SIZE_BYTES)));
            block.resize(SIZE_BYTES, black_box(7));
            black_box(block);
        })
    };
    let (suffix, what) = match zeroed {
        true => ("zeroed_write", "calloc + write + free"),
        false => ("not_zeroed_write", "malloc + write + free"),
    };
    let samples = match zeroed {
        true => by_turns(TURNS, ours, || Ok(zeroed_peer()))?,
        false => by_turns(TURNS, ours, || Ok(peer()))?,
    };
    let name = format!("{NAME}_{suffix}");
    Ok(Row::new(&name, SIZE_BYTES as u64, what, &samples))
}
