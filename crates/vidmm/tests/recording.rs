//! The recorder in real processes: everything that happens is recorded or counted as lost, whatever
//! threads, forks, kills and hosts do.
#![cfg(target_os = "linux")]
#![allow(unsafe_code, clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use common::{alone, check_passed, command, in_fork, is_child, wait_until};
use vidmm::{
    AgentMode, Allocation, Class, Outcome, Pool, PressureMode, Purgeable, StopReason, TraceOptions,
};
use vidmm_tracefile::{End, Kind, Recorded, Spool, merge};

/// The room for events of one thread (`vidmm_trace::RING_EVENTS`).
const RING_EVENTS: u64 = 8192;

fn traced(directory: &Path, budget_bytes: u64) -> vidmm::Builder {
    Pool::builder()
        .budget_bytes(budget_bytes)
        .pressure(PressureMode::Off)
        .trace(TraceOptions::in_directory(directory))
}

fn spools(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn only_spool(directory: &Path) -> Spool {
    let paths = spools(directory);
    assert_eq!(paths.len(), 1, "{paths:?}");
    Spool::open(&paths[0]).unwrap()
}

fn events(spool: Spool) -> Vec<Recorded> {
    merge(&[spool]).map(Result::unwrap).collect()
}

/// What a thread did, by its own count.
type Counts = BTreeMap<Kind, u64>;

fn count(counts: &mut Counts, kind: Kind) {
    *counts.entry(kind).or_default() += 1;
}

/// A stranger's program: creates, offers, reclaims one by one and in lists, destroys.
fn work(pool: &Pool, seed: u64, steps: u64) -> Counts {
    let mut counts = Counts::new();
    let mut random = seed | 1;
    let mut kept: Vec<Allocation> = Vec::new();
    let mut outcomes = Vec::new();
    for _ in 0..steps {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let choice = random >> 33;
        let chosen = usize::try_from(choice >> 4).unwrap() % kept.len().max(1);
        outcomes.clear();
        match choice % 16 {
            0 | 1 if kept.len() < 24 => {
                let size = 4096 << (choice % 5);
                if let Ok(allocation) = pool.options().allocate_shared(size) {
                    kept.push(allocation);
                    count(&mut counts, Kind::Create);
                }
            }
            2 if kept.len() > 8 => {
                kept.swap_remove(chosen);
                count(&mut counts, Kind::Destroy);
            }
            3 if !kept.is_empty() => {
                let list: Vec<&Allocation> = kept.iter().collect();
                outcomes.resize(list.len(), Outcome::Intact);
                if pool.reclaim_list(&list, &mut outcomes).is_err() {
                    outcomes.clear();
                }
            }
            4..=8 => {
                if let Some(allocation) = kept.get(chosen) {
                    outcomes.extend(allocation.reclaim());
                }
            }
            _ => {
                if let Some(allocation) = kept.get(chosen) {
                    allocation.offer(Class::Normal).unwrap();
                    count(&mut counts, Kind::Offer);
                }
            }
        }
        for outcome in &outcomes {
            count(
                &mut counts,
                match outcome {
                    Outcome::Intact => Kind::ReclaimIntact,
                    _ => Kind::ReclaimDiscarded,
                },
            );
        }
    }
    for _ in kept.drain(..) {
        count(&mut counts, Kind::Destroy);
    }
    counts
}

#[test]
fn recorded_and_lost_is_what_threads_did_and_the_engine_counted() {
    let directory = tempfile::tempdir().unwrap();
    let pool = traced(directory.path(), 1 << 20).build().unwrap();
    let mut counts = Counts::new();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (1..=4)
            .map(|seed| {
                let pool = &pool;
                scope.spawn(move || work(pool, seed, 20_000))
            })
            .collect();
        for thread in threads {
            for (kind, more) in thread.join().unwrap() {
                *counts.entry(kind).or_default() += more;
            }
        }
    });
    let stats = pool.stats_now();
    // What the engine counts by itself.
    assert_eq!(counts[&Kind::ReclaimDiscarded], stats.reclaims_discarded);
    assert_eq!(counts[&Kind::ReclaimIntact], stats.reclaims_intact);
    assert!(stats.discards_total() > 0 && stats.reclaims_discarded > 0);
    counts.insert(Kind::Discard, stats.discards_total());
    let happened: u64 = counts.values().sum();
    drop(pool);

    let spool = only_spool(directory.path());
    assert_eq!(spool.end(), End::Regular);
    assert_eq!(
        (spool.recorded() + spool.lost(), spool.unread_bytes()),
        (happened, 0)
    );
    let lost = spool.lost();
    let recorded = events(spool);
    assert!(recorded.is_sorted_by_key(|r| r.event.time_ns));
    for (kind, happened) in counts {
        let recorded = recorded.iter().filter(|r| r.event.kind == kind).count() as u64;
        assert!(
            recorded <= happened && happened <= recorded + lost,
            "{kind:?}"
        );
    }
}

#[test]
fn what_finds_no_room_is_counted_exactly() {
    // No thread drains, and nothing slow happens between the offers.
    let directory = tempfile::tempdir().unwrap();
    let pool = traced(directory.path(), 1 << 20)
        .agent(AgentMode::Host)
        .build()
        .unwrap();
    let allocation = pool.options().allocate_shared(4096).unwrap();
    for _ in 0..10_000 {
        allocation.offer(Class::High).unwrap();
        assert_eq!(allocation.reclaim(), Ok(Outcome::Intact));
    }
    let happened = 1 + 20_000;
    assert_eq!(pool.recording().unwrap().recorded, 0);
    assert_eq!(pool.recording().unwrap().lost, happened - RING_EVENTS);
    // A slow call makes room.
    allocation.set_rebuild_cost(std::time::Duration::from_nanos(1500));
    let other = pool.options().allocate_shared(4096).unwrap();
    assert!(pool.recording().unwrap().recorded >= RING_EVENTS);
    drop((allocation, other));
    drop(pool);
    let spool = only_spool(directory.path());
    // The rebuild found no room either; one more creation and two ends did.
    assert_eq!(spool.lost(), happened - RING_EVENTS + 1);
    assert_eq!(spool.recorded(), RING_EVENTS + 3);
}

#[test]
fn what_is_recorded_says_whose_size_class_and_cost() {
    let directory = tempfile::tempdir().unwrap();
    let pool = traced(directory.path(), 1 << 20).build().unwrap();
    let mut content = Purgeable::new(&pool, 10_000, Class::High).unwrap();
    let rebuild = |bytes: &mut [u8]| -> Result<(), std::convert::Infallible> {
        bytes.fill(7);
        Ok(())
    };
    drop(content.get_or_rebuild(rebuild).unwrap());
    pool.trim(u64::MAX).unwrap();
    drop(content.get_or_rebuild(rebuild).unwrap());
    drop(content);
    drop(pool);
    let spool = only_spool(directory.path());
    assert_eq!(spool.header().pid, std::process::id());
    let recorded = events(spool);
    let kinds: Vec<Kind> = recorded.iter().map(|r| r.event.kind).collect();
    let wanted = [
        Kind::Create,
        Kind::Offer,
        Kind::ReclaimIntact,
        Kind::Rebuild,
        Kind::Offer,
        Kind::Discard,
        Kind::ReclaimDiscarded,
        Kind::Rebuild,
        Kind::Offer,
        Kind::Destroy,
    ];
    assert_eq!(kinds, wanted);
    for recorded in &recorded {
        assert_eq!((recorded.event.size_bytes, recorded.id), (10_000, 0));
    }
    for index in [1, 2, 3, 4, 5, 6, 7, 8] {
        let class = recorded[index].event.class;
        assert_eq!(class, vidmm_tracefile::Class::High, "{:?}", kinds[index]);
    }
    assert_eq!(recorded[0].event.cost_ns.to_bits(), 0);
    assert!(recorded[3].event.cost_ns > 0.0, "measured");
    assert_eq!(recorded[5].event.cost_ns, recorded[3].event.cost_ns);
}

#[test]
fn children_made_by_fork_record_nothing_and_their_parent_goes_on() {
    alone(
        "children_made_by_fork_record_nothing_and_their_parent_goes_on",
        || {
            let directory = tempfile::tempdir().unwrap();
            let pool = traced(directory.path(), 1 << 20).build().unwrap();
            let allocation = pool.options().allocate_shared(4096).unwrap();
            let stop = std::sync::atomic::AtomicBool::new(false);
            std::thread::scope(|scope| {
                // Rings begin and fill, and the drainer writes, while children are made.
                scope.spawn(|| {
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        std::thread::scope(|scope| {
                            scope.spawn(|| work(&pool, 3, 300));
                        });
                    }
                });
                for _ in 0..50 {
                    allocation.offer(Class::High).unwrap();
                    in_fork(|| {
                        assert_eq!(allocation.reclaim(), Ok(Outcome::Intact));
                        let recording = pool.recording().unwrap();
                        assert_eq!(recording.stopped, Some(StopReason::Forked));
                        drop(pool.options().allocate_shared(4096).unwrap());
                        // A child that exits runs what is to run at exit.
                        in_fork(|| std::process::exit(0));
                    });
                    assert_eq!(allocation.reclaim(), Ok(Outcome::Intact));
                }
                stop.store(true, std::sync::atomic::Ordering::Relaxed);
            });
            let raw = pool.recording().unwrap();
            assert_eq!(raw.stopped, None);
            drop(allocation);
            drop(pool);
            let spool = only_spool(directory.path());
            assert_eq!((spool.end(), spool.unread_bytes()), (End::Regular, 0));
            let kept = spool.lost() == 0;
            let recorded = events(spool);
            let own = recorded.iter().filter(|r| r.id == 0).count();
            assert!(
                !kept || own == 102,
                "{own}: one creation, 50 pairs, one end"
            );
        },
    );
}

#[test]
fn a_process_that_exits_leaves_all_and_one_that_is_killed_what_was_drained() {
    let name = "a_process_that_exits_leaves_all_and_one_that_is_killed_what_was_drained";
    if is_child(name) {
        let pool = Pool::global().unwrap();
        let allocation = pool.options().allocate_shared(4096).unwrap();
        let endless = std::env::var_os("ENDLESS").is_some();
        for round in 0.. {
            allocation.offer(Class::Low).unwrap();
            allocation.reclaim().unwrap();
            if round == 999 && !endless {
                break;
            }
        }
        std::process::exit(0);
    }
    let directory = tempfile::tempdir().unwrap();
    // Not there yet.
    let inner = directory.path().join("traces");
    let status = command(name).env("VIDMM_TRACE", &inner).output().unwrap();
    assert!(status.status.success());
    let spool = only_spool(&inner);
    assert_eq!(spool.end(), End::Regular);
    assert_eq!(
        spool.recorded() + spool.lost(),
        2001,
        "one creation, 1,000 pairs"
    );

    let inner = directory.path().join("killed");
    let mut endless = command(name)
        .env("VIDMM_TRACE", &inner)
        .env("ENDLESS", "1")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let written = || {
        let paths = if inner.is_dir() {
            spools(&inner)
        } else {
            vec![]
        };
        paths
            .iter()
            .map(|path| fs::metadata(path).unwrap().len())
            .sum::<u64>()
    };
    wait_until("something is drained", || written() > 1 << 20);
    endless.kill().unwrap();
    endless.wait().unwrap();
    let spool = only_spool(&inner);
    assert_eq!(spool.end(), End::None);
    assert!(spool.recorded() > 30_000, "{}", spool.recorded());
}

#[test]
fn a_place_that_cannot_be_written_is_an_error_or_a_message() {
    let name = "a_place_that_cannot_be_written_is_an_error_or_a_message";
    if is_child(name) {
        let pool = Pool::global().unwrap();
        assert_eq!(pool.recording(), None);
        drop(pool.allocate(4096).unwrap());
        return;
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = traced(file.path(), 1 << 20)
        .build()
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(&file.path().display().to_string()),
        "{error}"
    );
    let output = command(name)
        .env("VIDMM_TRACE", file.path())
        .output()
        .unwrap();
    check_passed(name, &output);
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("no trace can be recorded"), "{message}");
}
