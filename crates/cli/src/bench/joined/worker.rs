//! A client in a process of its own: it reads what to do, line by line, and answers with a figure.

use std::io::{BufRead, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use clap::ValueEnum;
use vidmm::{Allocation, Class, Outcome, Pool};
use vidmm_abi::BOOL;

use crate::bench::c_face::{backed as backed_c, pairs};
use crate::bench::c_library::Device;
use crate::bench::joined::TILE_BYTES;
use crate::bench::pair::{SIZE_BYTES, backed, typed_pairs};
use crate::bench::warm_write::write_all;
use crate::output::Failure;

// What a process of the benchmark is started with.
#[derive(Debug, clap::Args)]
pub(crate) struct WorkerArgs {
    /// What it is
    role: Role,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Role {
    PairRust,
    PairC,
    Echo,
    Hold,
    Idle,
}

const BUDGET_BYTES: u64 = 16 << 20;
const PAIRS: u32 = 200_000;

/// Does its work until nobody tells it more.
///
/// # Errors
/// Whatever goes wrong; it is said on standard output, too.
pub(crate) fn work(args: &WorkerArgs) -> Result<(), Failure> {
    match args.role {
        Role::PairRust => pair_rust(),
        Role::PairC => pair_c(),
        Role::Echo => each_line(|_| Ok(1.0)),
        Role::Hold => hold(),
        Role::Idle => idle(),
    }
}

fn each_line(mut answer: impl FnMut(&str) -> Result<f64, Failure>) -> Result<(), Failure> {
    let (input, mut output) = (std::io::stdin().lock(), std::io::stdout().lock());
    for line in input.lines() {
        match answer(&line?) {
            Ok(figure) => writeln!(output, "{figure}")?,
            Err(failure) => {
                writeln!(output, "{failure}")?;
                return Err(failure);
            }
        }
        output.flush()?;
    }
    Ok(())
}

fn pool() -> Result<Pool, Failure> {
    Ok(Pool::from_environment()?.build()?)
}

fn pair_rust() -> Result<(), Failure> {
    let pool = pool()?;
    let mut tile = Some(backed(pool.allocate(SIZE_BYTES)?)?);
    each_line(|_| {
        let (intact, ns) = typed_pairs(tile.take().ok_or("the allocation was lost")?)?;
        tile = Some(intact);
        Ok(ns)
    })
}

fn pair_c() -> Result<(), Failure> {
    let device = Device::open(BUDGET_BYTES)?;
    let tile = backed_c(&device, SIZE_BYTES)?;
    let mut discarded = [BOOL::MAX];
    let offer = device.offer_of(&tile);
    let reclaim = device.reclaim_of(&tile, Some(&mut discarded))?;
    each_line(|_| pairs(&offer, &reclaim, PAIRS))
}

/// A cache that others take memory from.
fn hold() -> Result<(), Failure> {
    let pool = pool()?;
    let tiles: Arc<Mutex<Vec<Allocation>>> = Arc::default();
    let busy = Arc::new(AtomicBool::new(false));
    {
        let (tiles, busy) = (Arc::clone(&tiles), Arc::clone(&busy));
        thread::Builder::new().spawn(move || use_them(&tiles, &busy))?;
    }
    each_line(|line| {
        let mut tiles = tiles.lock().unwrap_or_else(PoisonError::into_inner);
        match line.split_once(' ') {
            Some(("fill", count)) => fill(&pool, &mut tiles, count.parse()?),
            _ => {
                busy.store(line == "busy", Ordering::Release);
                Ok(0.0)
            }
        }
    })
}

/// Has `count` tiles, all with a content and offered; says how many of them it holds.
fn fill(pool: &Pool, tiles: &mut Vec<Allocation>, count: usize) -> Result<f64, Failure> {
    while tiles.len() < count {
        tiles.push(pool.options().allocate_shared(TILE_BYTES)?);
    }
    // All at once, so that none is taken for another.
    for tile in tiles.iter_mut() {
        if tile.reclaim()? == Outcome::Discarded {
            write_all(&mut tile.lock_mut()?);
        }
    }
    for tile in tiles.iter() {
        tile.offer(Class::Normal)?;
    }
    let held_bytes = pool.stats_now().offered_bytes();
    Ok((held_bytes / TILE_BYTES as u64) as f64)
}

/// While it is busy: takes and offers its newest tiles, one after the other.
fn use_them(tiles: &Mutex<Vec<Allocation>>, busy: &AtomicBool) {
    const NEWEST: usize = 16;
    loop {
        if !busy.load(Ordering::Acquire) {
            thread::sleep(std::time::Duration::from_millis(1));
            continue;
        }
        let tiles = tiles.lock().unwrap_or_else(PoisonError::into_inner);
        for tile in tiles.iter().rev().take(NEWEST) {
            // Lost or refused: a cache would rebuild or do without.
            let _ = tile.reclaim();
            let _ = tile.offer(Class::Normal);
        }
    }
}

/// Joined, with something offered, and nothing to do.
fn idle() -> Result<(), Failure> {
    let pool = pool()?;
    // When many come at once, the manager may be late for some.
    let tile = loop {
        if let Ok(tile) = pool.allocate(SIZE_BYTES) {
            break tile;
        }
    };
    let idle = backed(tile)?.offer(Class::Normal);
    loop {
        thread::park();
        std::hint::black_box(&idle);
    }
}
