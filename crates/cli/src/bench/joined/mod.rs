//! The rows with a manager: what it costs to share a budget with other processes.
//!
//! The manager is `vidmm serve`, and clients are processes of this program (`worker`), both started
//! here and ended with their row. `raw` speaks with the manager without a pool.

mod process;
mod raw;
mod worker;

use std::thread;
use std::time::{Duration, Instant};

use vidmm::{JoinMode, JoinOptions, Pool, PressureMode};

use crate::bench::joined::process::{Manager, Worker};
pub(crate) use crate::bench::joined::worker::{WorkerArgs, work};
use crate::bench::map::{Map, Pages};
use crate::bench::pair::SIZE_BYTES;
use crate::bench::row::{Row, Target, Unit};
use crate::bench::sample::{Samples, Sorted, TURNS, by_turns, ns_since};
use crate::bench::usage::machine_available_bytes;
use crate::bench::warm_write::write_all;
use crate::output::{Failure, note};

const BUDGET_BYTES: u64 = 64 << 20;
/// What joined must not cost.
const SAME: f64 = 1.05;

pub(crate) fn pair_rust() -> Result<Vec<Row>, Failure> {
    pair_of("pair_rust_joined", "pair-rust")
}

pub(crate) fn pair_c() -> Result<Vec<Row>, Failure> {
    pair_of("pair_c_joined", "pair-c")
}

/// Processes on each side: where memory and code happen to lie in one can double its figures.
const LIVES: usize = 15;
/// Samples of each process, after one that does not count.
const SAMPLES_OF_LIFE: usize = 3;

/// The same program, joined and not, by turns.
fn pair_of(name: &str, role: &str) -> Result<Vec<Row>, Failure> {
    let manager = Manager::start(BUDGET_BYTES)?;
    let (mut ours, mut peer) = (Vec::new(), Vec::new());
    for _ in 0..LIVES {
        let mut joined = Worker::joined(role, &manager)?;
        let mut alone = Worker::alone(role)?;
        joined.figure("pair")?;
        alone.figure("pair")?;
        for _ in 0..SAMPLES_OF_LIFE {
            ours.push(joined.figure("pair")?);
            peer.push(alone.figure("pair")?);
        }
    }
    let samples = Samples::of(ours, peer);
    let peer = "the same code in processes that are not joined";
    Ok(vec![
        Row::new(name, SIZE_BYTES as u64, peer, &samples).judged(Target::OfPeer(SAME)),
    ])
}

/// Round trips of one sample.
const ROUNDS: u32 = 2_000;
/// Joins of one sample.
const JOINS: u32 = 200;

pub(crate) fn credit_and_join() -> Result<Vec<Row>, Failure> {
    let manager = Manager::start(BUDGET_BYTES)?;
    let mut echo = Worker::alone("echo")?;
    let mut client = raw::Client::join(manager.socket())?;
    let peer = "a line to another process and back, through pipes";
    let samples = by_turns(TURNS, || client.round_trips(ROUNDS), || echo.echoes(ROUNDS))?;
    let credit = Row::new("credit", 0, peer, &samples);
    drop(client);
    let samples = by_turns(
        TURNS,
        || raw::joins(manager.socket(), JOINS),
        || echo.echoes(ROUNDS),
    )?;
    Ok(vec![credit, Row::new("join", 0, peer, &samples)])
}

/// The other process's allocations, which it has offered.
const TILE_BYTES: usize = 1 << 20;
const TILES: usize = 512;
/// What one request is for: much more than what may be left of the one before.
const REQUEST_BYTES: usize = 16 << 20;
/// So many requests each time; the rest stays, for the other to be busy with.
const REQUESTS: usize = TILES * TILE_BYTES / REQUEST_BYTES * 3 / 4;
/// Times all of them are made.
const ROUNDS_OF_ALL: usize = 7;

pub(crate) fn make_room_other() -> Result<Vec<Row>, Failure> {
    let wanted_bytes = 3 * (TILES * TILE_BYTES) as u64;
    if machine_available_bytes()? < wanted_bytes {
        return Err(crate::bench::too_little_memory(wanted_bytes));
    }
    let mut rows = other("make_room_other", false)?;
    rows.extend(other("make_room_other_busy", true)?);
    Ok(rows)
}

/// Another process holds the whole budget, offered; this one asks for it, bit by bit.
fn other(name: &str, busy: bool) -> Result<Vec<Row>, Failure> {
    let manager = Manager::start((TILES * TILE_BYTES) as u64)?;
    let mut owner = Worker::joined("hold", &manager)?;
    let pool = Pool::builder()
        .pressure(PressureMode::Off)
        .join(JoinOptions {
            mode: JoinMode::Shared,
            sockets: vec![manager.socket().to_owned()],
        })
        .build()?;
    let mut map = Map::fresh(REQUEST_BYTES, Pages::Small)?;
    let (mut ours, mut peer) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS_OF_ALL {
        let filled = owner.figure(&format!("fill {TILES}"))?;
        if filled < TILES as f64 {
            return Err(format!("the other process has only {filled} of {TILES} tiles").into());
        }
        owner.figure(if busy { "busy" } else { "quiet" })?;
        let mut taken = Vec::new();
        for _ in 0..REQUESTS {
            let start = Instant::now();
            let tile = pool.options().allow_not_zeroed().allocate(REQUEST_BYTES);
            ours.push(ns_since(start));
            taken.push(tile.map_err(|error| {
                format!(
                    "{error} - after {} of {REQUESTS} requests, though the other process has \
                     offered all: this is a defect of vidmm; please report it",
                    taken.len()
                )
            })?);
            write_all(map.bytes_mut());
            let start = Instant::now();
            for offset in (0..REQUEST_BYTES).step_by(TILE_BYTES) {
                map.return_pages(offset, TILE_BYTES)?;
            }
            peer.push(ns_since(start));
        }
        owner.figure("quiet")?;
        drop(taken);
        // Memory and credit go back at once: a budget of nothing for a moment.
        pool.set_budget_bytes(0)?;
        pool.set_budget_bytes(u64::MAX)?;
    }
    let samples = Samples::of(ours, peer);
    let peer = "madvise(MADV_DONTNEED) alone on as many ranges of 1 MiB, small pages";
    let p99 = Samples::of(
        vec![samples.ours.at(99, 100)],
        vec![samples.peer.at(99, 100)],
    );
    let size_bytes = REQUEST_BYTES as u64;
    let p50 = Row::new(name, size_bytes, peer, &samples);
    let p99 = Row::new(&format!("{name}_p99"), size_bytes, peer, &p99);
    Ok(vec![p50, p99])
}

const CROWD: u32 = 1_000;
const WINDOW: Duration = Duration::from_secs(10);
/// What a client of the crowd takes of the machine, with its program's pages.
const CLIENT_BYTES: u64 = 4 << 20;

pub(crate) fn manager_idle() -> Result<Vec<Row>, Failure> {
    let wanted_bytes = u64::from(CROWD) * CLIENT_BYTES;
    if machine_available_bytes()? < wanted_bytes {
        return Err(crate::bench::too_little_memory(wanted_bytes));
    }
    let manager = Manager::start(1 << 30)?;
    let before_bytes = manager.anonymous_bytes()?;
    let crowd = process::Crowd::start(&manager, CROWD)?;
    manager.wait_for_clients(CROWD)?;
    note(&format!("  manager_idle: {CROWD} clients have joined"));
    let held_bytes = manager.anonymous_bytes()?.saturating_sub(before_bytes);
    // What is left of their coming settles: credit that nobody used, and looks at what the machine has
    // left, which go on for ten seconds after a grant.
    thread::sleep(Duration::from_secs(13));
    let (wakeups, time) = (manager.switches()?, manager.cpu_time()?);
    thread::sleep(WINDOW);
    let wakeups = manager.switches()? - wakeups;
    let time = manager.cpu_time()? - time;
    manager.wait_for_clients(CROWD)?;
    drop(crowd);
    let samples = Samples::beside(vec![wakeups as f64], 0.0);
    let idle = Row::new("manager_idle", 0, "the target", &samples)
        .in_unit(Unit::Wakeups)
        .judged(Target::AtMost(0.0))
        .noting(format!(
            "{CROWD} joined idle clients, watched for {} s: {time:?} of CPU time",
            WINDOW.as_secs()
        ));
    let each = Sorted::new(vec![held_bytes as f64 / f64::from(CROWD)]);
    let samples = Samples {
        ours: each,
        peer: Sorted::new(vec![0.0]),
    };
    let name = "manager_bytes_per_client";
    let each = Row::new(name, 0, "nothing", &samples).in_unit(Unit::Bytes);
    Ok(vec![idle, each])
}
