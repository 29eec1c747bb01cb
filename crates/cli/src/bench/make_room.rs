//! `make_room`: the whole walk from "give back so much" to memory that the kernel has again, beside
//! the kernel's bare rate for ranges like those.

use std::time::Instant;

use rand_pcg::Pcg64;
use vidmm::{Allocation, Class, Outcome, Pool};

use crate::bench::map::{Map, Pages};
use crate::bench::pool_of;
use crate::bench::row::{Row, Target};
use crate::bench::sample::{Samples, Sorted, TURNS_LONG, by_turns, ns_since, random, shuffled};
use crate::bench::usage::{machine_available_bytes, machine_free_bytes};
use crate::bench::warm_write::write_all;
use crate::output::Failure;

/// What each side holds.
const TOTAL_BYTES: usize = 512 << 20;
/// What each gives back in a turn.
const HALF_BYTES: usize = TOTAL_BYTES / 2;
const SIZES: [(&str, usize, Pages); 3] = [
    ("make_room_64k", 64 << 10, Pages::Small),
    ("make_room_1m", 1 << 20, Pages::Small),
    ("make_room_16m", 16 << 20, Pages::Huge),
];
const SMALL: &str = "madvise(MADV_DONTNEED) alone, small pages";
const HUGE: &str = "madvise(MADV_DONTNEED) alone, huge pages";
const RATIO: f64 = 0.9;

pub(crate) fn make_room() -> Result<Vec<Row>, Failure> {
    let wanted_bytes = 3 * TOTAL_BYTES as u64;
    if machine_available_bytes()? < wanted_bytes {
        return Err(crate::bench::too_little_memory(wanted_bytes));
    }
    let mut rows = Vec::new();
    for (name, size_bytes, pages) in SIZES {
        let (samples, note) = measure(size_bytes, pages)?;
        let peer = if pages == Pages::Huge { HUGE } else { SMALL };
        let row = Row::new(name, size_bytes as u64, peer, &samples);
        rows.push(row.judged(Target::Ratio(RATIO)).noting(note));
    }
    // The contract's own row is the worst of the three.
    let worst = rows.iter().min_by(|a, b| a.ratio.total_cmp(&b.ratio));
    if let Some(worst) = worst.cloned() {
        let note = format!("the worst of the three sizes: {}", worst.name);
        let name = "make_room".to_owned();
        rows.insert(0, Row { name, ..worst }.noting(note));
    }
    Ok(rows)
}

fn measure(size_bytes: usize, pages: Pages) -> Result<(Samples, String), Failure> {
    let mut ours = Ours::new(size_bytes)?;
    let mut peer = Peer::new(size_bytes, pages)?;
    let samples = by_turns(TURNS_LONG, || ours.turn(), || peer.turn())?;
    let note = format!(
        "each turn gave back {} MiB: the pool's resident memory fell by {:.1} MiB, the machine's \
         free memory rose by {:.1} MiB (medians)",
        HALF_BYTES >> 20,
        Sorted::new(ours.resident_fell_mib).median(),
        Sorted::new(ours.free_rose_mib).median(),
    );
    Ok((samples, note))
}

/// A pool full of offered memory.
#[derive(Debug)]
struct Ours {
    pool: Pool,
    tiles: Vec<Allocation>,
    random: Pcg64,
    resident_fell_mib: Vec<f64>,
    free_rose_mib: Vec<f64>,
}

impl Ours {
    fn new(size_bytes: usize) -> Result<Self, Failure> {
        let pool = pool_of(TOTAL_BYTES as u64)?;
        let tiles = (0..TOTAL_BYTES / size_bytes)
            .map(|_| pool.options().allocate_shared(size_bytes))
            .collect::<Result<Vec<_>, _>>()?;
        let mut ours = Self {
            pool,
            tiles,
            random: random(),
            resident_fell_mib: Vec::new(),
            free_rose_mib: Vec::new(),
        };
        for tile in &mut ours.tiles {
            write_all(&mut tile.lock_mut()?);
            tile.offer(Class::Normal)?;
        }
        Ok(ours)
    }

    /// Nanoseconds to give half of it back.
    fn turn(&mut self) -> Result<f64, Failure> {
        self.use_all()?;
        let (resident, free) = (self.pool.resident()?, machine_free_bytes()?);
        let start = Instant::now();
        let given_bytes = self.pool.trim(HALF_BYTES as u64)?;
        let ns = ns_since(start);
        let (resident_now, free_now) = (self.pool.resident()?, machine_free_bytes()?);
        let fell_bytes = resident.rss_bytes.saturating_sub(resident_now.rss_bytes);
        if given_bytes < HALF_BYTES as u64 || fell_bytes < given_bytes {
            return Err(format!(
                "asked to give back {HALF_BYTES} bytes, vidmm said {given_bytes}, and the \
                 kernel has {fell_bytes} more: this is a defect of vidmm; please report it"
            )
            .into());
        }
        self.resident_fell_mib.push(mib(fell_bytes));
        self.free_rose_mib.push(mib(free_now) - mib(free));
        Ok(ns)
    }

    /// Reclaims all in a new order, so that what is given back next lies scattered, rebuilds what
    /// was discarded, and offers it again.
    fn use_all(&mut self) -> Result<(), Failure> {
        for index in shuffled(&mut self.random, self.tiles.len()) {
            let tile = &mut self.tiles[index];
            if tile.reclaim()? == Outcome::Discarded {
                write_all(&mut tile.lock_mut()?);
            }
            tile.offer(Class::Normal)?;
        }
        Ok(())
    }
}

/// A mapping of as much, used in the same way.
#[derive(Debug)]
struct Peer {
    map: Map,
    size_bytes: usize,
    random: Pcg64,
    order: Vec<usize>,
}

impl Peer {
    fn new(size_bytes: usize, pages: Pages) -> Result<Self, Failure> {
        let mut map = Map::fresh(TOTAL_BYTES, pages)?;
        write_all(map.bytes_mut());
        let mut random = random();
        let order = shuffled(&mut random, TOTAL_BYTES / size_bytes);
        Ok(Self {
            map,
            size_bytes,
            random,
            order,
        })
    }

    /// Nanoseconds of the bare system calls for half of the ranges.
    fn turn(&mut self) -> Result<f64, Failure> {
        let half = &self.order[..self.order.len() / 2];
        let start = Instant::now();
        for index in half {
            self.map
                .return_pages(index * self.size_bytes, self.size_bytes)?;
        }
        let ns = ns_since(start);
        for index in half {
            let offset = index * self.size_bytes;
            write_all(&mut self.map.bytes_mut()[offset..offset + self.size_bytes]);
        }
        self.order = shuffled(&mut self.random, self.order.len());
        Ok(ns)
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
