//! More threads, slots and operations than loom can exhaust, under schedules drawn at random and
//! by PCT (few preemptions, at places drawn at random). Memory is sequentially consistent here:
//! this is about order, loom about memory.
//!
//! `RUSTFLAGS="--cfg vidmm_shuttle" cargo test --release -p vidmm-table --test shuttle`
//!
//! A failure prints its schedule; `SHUTTLE_ITERATIONS` multiplies the rounds.
#![cfg(vidmm_shuttle)]
// Helpers are tests too.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod stress;

use shuttle::rand::RngCore;
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, MaxSteps, Runner, thread};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use stress::{Size, Tally, members};
use vidmm_table::{Class, ExtentWord, Installed, Lock, New, Reclaim, Table};

/// Few slots, more allocations than extents: everybody meets everybody.
const CROWD: Size = Size {
    threads: 4,
    shared: 2,
    private: 1,
    extents: 4,
    operations: 24,
    seed: 0,
};

/// More of everything, so that slots are recycled under old handles.
const WIDE: Size = Size {
    threads: 6,
    shared: 6,
    private: 2,
    extents: 12,
    operations: 40,
    seed: 0,
};

fn rounds(base: usize) -> usize {
    let factor = std::env::var("SHUTTLE_ITERATIONS").ok();
    base * factor.and_then(|text| text.parse().ok()).unwrap_or(1)
}

fn config() -> Config {
    let mut config = Config::new();
    config.silence_warnings = true;
    config.max_steps = MaxSteps::FailAfter(1_000_000);
    config
}

/// Runs `size` under `scheduler`; everything that can happen must have happened.
fn check(scheduler: impl Scheduler + 'static, size: Size) {
    let total = Arc::new(Mutex::new(Tally::default()));
    let runs = Runner::new(scheduler, config()).run({
        let total = total.clone();
        move || {
            // Drawn from the schedule, so that a replay draws the same.
            let seed = shuttle::rand::thread_rng().next_u64();
            let tally = stress::run(Size { seed, ..size });
            total.lock().unwrap().add(tally);
        }
    });
    let total = *total.lock().unwrap();
    println!("{runs} schedules: {total:?}");
    total.assert_everything_happened();
}

#[test]
fn a_crowd_at_random() {
    check(RandomScheduler::new(rounds(40_000)), CROWD);
}

#[test]
fn a_crowd_by_pct() {
    check(PctScheduler::new(3, rounds(40_000)), CROWD);
}

#[test]
fn a_wide_world_at_random() {
    check(RandomScheduler::new(rounds(8_000)), WIDE);
}

#[test]
fn a_wide_world_by_pct() {
    check(PctScheduler::new(5, rounds(8_000)), WIDE);
}

/// Resources, records and slots used again and again, under names of all ages.
const RESOURCES: members::Size = members::Size {
    threads: 4,
    operations: 32,
    resources: 2,
    allocations: 6,
    seed: 0,
};

/// Runs resources under `scheduler`; everything that can happen must have happened.
fn check_members(scheduler: impl Scheduler + 'static) {
    let total = Arc::new(Mutex::new(members::Tally::default()));
    let runs = Runner::new(scheduler, config()).run({
        let total = total.clone();
        move || {
            let seed = shuttle::rand::thread_rng().next_u64();
            let tally = members::run(members::Size { seed, ..RESOURCES });
            total.lock().unwrap().add(tally);
        }
    });
    let total = *total.lock().unwrap();
    println!("{runs} schedules: {total:?}");
    total.assert_everything_happened();
}

#[test]
fn members_at_random() {
    check_members(RandomScheduler::new(rounds(20_000)));
}

#[test]
fn members_by_pct() {
    check_members(PctScheduler::new(4, rounds(20_000)));
}

fn new(extent: u64, zero_owed: bool) -> New {
    New {
        size_bytes: 1 << 16,
        align_log2: 0,
        extent: ExtentWord(extent),
        zero_owed,
        priority: 0,
        rebuild_cost_ns: 0.0,
        resource: 1,
        device: 0,
        now_ticks: 0,
    }
}

const MEMBERS: u64 = 4;

/// A group claimed by three while two take it back: no extent is taken twice, each loss is made
/// good by one install, and whatever nobody took is intact.
fn a_group() -> usize {
    let table = Arc::new(Table::new());
    let group: Vec<_> = (1..=MEMBERS)
        .map(|extent| {
            let member = table.create(&new(extent, false)).unwrap();
            let slot = table.get(member).unwrap();
            slot.offer(Class::Normal.into()).unwrap();
            member
        })
        .collect();
    let claimers: Vec<_> = (0..3)
        .map(|_| {
            let (table, group) = (table.clone(), group.clone());
            thread::spawn(move || {
                let claims = group.iter().map(|&member| {
                    let slot = table.get(member).unwrap();
                    slot.claim(slot.slot().word()).map(|taken| taken.extent.0)
                });
                claims
                    .take_while(Option::is_some)
                    .flatten()
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    let reclaimers: Vec<_> = [10, 20]
        .into_iter()
        .map(|first| {
            let (table, group) = (table.clone(), group.clone());
            thread::spawn(move || {
                let brought = group.iter().zip(first..).filter(|&(&member, extent)| {
                    let slot = table.get(member).unwrap();
                    matches!(slot.reclaim().unwrap(), Reclaim::Discarded(_))
                        && slot.install(ExtentWord(extent)).unwrap() == Installed::Here
                });
                brought.count()
            })
        })
        .collect();
    let claimed: Vec<_> = claimers
        .into_iter()
        .flat_map(|claimer| claimer.join().unwrap())
        .collect();
    let installed: usize = reclaimers
        .into_iter()
        .map(|reclaimer| reclaimer.join().unwrap())
        .sum();
    assert_eq!(claimed.iter().collect::<BTreeSet<_>>().len(), claimed.len());
    assert_eq!(installed, claimed.len());
    for (&member, number) in group.iter().zip(1..) {
        let extent = table.get(member).unwrap().slot().extent().0;
        assert_eq!(extent == number, !claimed.contains(&number));
    }
    claimed.len()
}

#[test]
fn a_group_claimed_and_reclaimed() {
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let runner = Runner::new(RandomScheduler::new(rounds(10_000)), config());
    runner.run({
        let seen = seen.clone();
        move || {
            let claimed = a_group();
            seen.lock().unwrap().insert(claimed);
        }
    });
    // Nothing, everything or a part may have been claimed; most of it must have been tried.
    assert!(seen.lock().unwrap().len() >= 3, "{seen:?}");
}

/// Four first locks of one allocation that owes zeroes: the work is done once, before any of them
/// has its lock.
fn first_locks() {
    let table = Arc::new(Table::new());
    let handle = table.create(&new(1, true)).unwrap();
    let worked = Arc::new(AtomicU32::new(0));
    let lockers: Vec<_> = (0..4)
        .map(|_| {
            let (table, worked) = (table.clone(), worked.clone());
            thread::spawn(move || {
                let slot = table.get(handle).unwrap();
                if slot.lock().unwrap() == Lock::Fresh {
                    let work = |_| {
                        thread::yield_now();
                        worked.fetch_add(1, Relaxed);
                    };
                    slot.first_lock(work).unwrap();
                }
                assert_eq!(worked.load(Relaxed), 1);
                slot.unlock().unwrap();
            })
        })
        .collect();
    for locker in lockers {
        locker.join().unwrap();
    }
    let word = table.get(handle).unwrap().load().unwrap();
    assert_eq!((word.is_fresh(), word.locks()), (false, 0));
}

#[test]
fn four_first_locks_at_random() {
    Runner::new(RandomScheduler::new(rounds(10_000)), config()).run(first_locks);
}

#[test]
fn four_first_locks_by_pct() {
    Runner::new(PctScheduler::new(3, rounds(10_000)), config()).run(first_locks);
}
