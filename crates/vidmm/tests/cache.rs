//! The cache: one rebuild per key at a time, whatever becomes of it, and right contents under
//! pressure.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Barrier, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use vidmm::{Class, Pool, PressureMode, PurgeableCache};
use vidmm_contract::Pattern;

const MIB: u64 = 1 << 20;

fn pool(budget_bytes: u64) -> Pool {
    let builder = Pool::builder().pressure(PressureMode::Off);
    builder.budget_bytes(budget_bytes).build().unwrap()
}

/// The content of a key: its length and bytes follow from it.
fn content(key: u64) -> Vec<u8> {
    let mut bytes = vec![0; 1000 + usize::try_from(key * 3571 % 60_000).unwrap()];
    Pattern(key).fill(&mut bytes);
    bytes
}

#[track_caller]
fn check(key: u64, bytes: &[u8]) {
    assert!(bytes == content(key), "key {key}");
}

#[test]
fn misses_of_one_key_at_once_rebuild_once() {
    const THREADS: usize = 4;
    let pool = pool(16 * MIB);
    let cache = PurgeableCache::new(&pool, Class::Normal);
    for key in 0..200 {
        let rebuilds = AtomicUsize::new(0);
        let inside = AtomicUsize::new(0);
        let start = Barrier::new(THREADS);
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    start.wait();
                    let guard = cache.get_or_rebuild(key, || {
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        rebuilds.fetch_add(1, Ordering::SeqCst);
                        let bytes = content(key);
                        inside.fetch_sub(1, Ordering::SeqCst);
                        bytes
                    });
                    check(key, &guard);
                });
            }
        });
        assert_eq!(rebuilds.into_inner(), 1, "key {key}");
    }
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.first_builds), (600, 200));
}

#[test]
fn a_rebuild_that_panics_leaves_the_key_empty_and_usable() {
    let pool = pool(16 * MIB);
    let cache = PurgeableCache::new(&pool, Class::Normal);
    let panics = |key| {
        let call = || cache.get_or_rebuild(key, || panic!("the rebuild of the test"));
        catch_unwind(AssertUnwindSafe(call)).is_err()
    };
    // Never built before; and once built, then lost.
    assert!(panics(1));
    check(1, &cache.get_or_rebuild(1, || content(1)));
    pool.trim(u64::MAX).unwrap();
    assert!(panics(1));
    check(1, &cache.get_or_rebuild(1, || content(1)));
    // What is there needs no rebuild.
    assert!(!panics(1));
    assert_eq!(
        pool.stats_now().committed.count,
        0,
        "between accesses all is offered"
    );
    // Others waiting for the key are not stuck behind the panic.
    let start = Barrier::new(4);
    thread::scope(|scope| {
        for panicking in [true, false, false, false] {
            let (start, cache) = (&start, &cache);
            scope.spawn(move || {
                start.wait();
                let built = || match panicking {
                    true => panic!("the rebuild of the test"),
                    false => content(2),
                };
                let call = || check(2, &cache.get_or_rebuild(2, built));
                let ended = catch_unwind(AssertUnwindSafe(call));
                assert!(ended.is_ok() || panicking);
            });
        }
    });
    check(
        2,
        &cache.get_or_rebuild(2, || unreachable!("built by another")),
    );
}

#[test]
fn a_rebuild_that_fails_leaves_the_key_empty() {
    let pool = pool(16 * MIB);
    let cache = PurgeableCache::new(&pool, Class::Normal);
    let fails = || Err::<Vec<u8>, _>("no such file");
    for _ in 0..2 {
        let refused = cache.get_or_try_rebuild(7, fails).unwrap_err();
        assert_eq!(refused, "no such file");
    }
    let built: Result<_, &str> = cache.get_or_try_rebuild(7, || Ok(content(7)));
    check(7, &built.unwrap());
    pool.trim(u64::MAX).unwrap();
    assert_eq!(pool.resident().unwrap().total_bytes(), 0);
    assert!(cache.get_or_try_rebuild(7, fails).is_err());
    assert!(cache.get_or_try_rebuild(7, fails).is_err());
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.first_builds, stats.discards), (0, 1, 0));
    check(7, &cache.get_or_rebuild(7, || content(7)));
    assert_eq!(cache.stats().discards, 1);
}

#[test]
fn without_memory_the_content_is_the_callers_own() {
    let pool = pool(MIB);
    let cache = PurgeableCache::new(&pool, Class::Normal);
    let full = pool.allocate(1 << 20).unwrap();
    let guard = cache.get_or_rebuild(3, || content(3));
    assert!(guard.is_private());
    check(3, &guard);
    drop(guard);
    assert_eq!(cache.stats().uncached, 1);
    assert!(cache.get_or_rebuild(3, || content(3)).is_private());
    assert_eq!(cache.stats().uncached, 2);
    drop(full);
    let guard = cache.get_or_rebuild(3, || content(3));
    assert!(!guard.is_private());
    check(3, &guard);
    drop(guard);
    check(3, &cache.get_or_rebuild(3, || unreachable!("it is there")));
    assert_eq!(cache.stats().uncached, 2);
}

#[test]
fn hits_discards_and_time_are_counted() {
    const COST: Duration = Duration::from_millis(2);
    let pool = pool(16 * MIB);
    let cache = PurgeableCache::new(&pool, Class::Normal);
    let slow = |key| {
        let begun = Instant::now();
        while begun.elapsed() < COST {
            std::hint::spin_loop();
        }
        content(key)
    };
    for key in 0..10 {
        cache.get_or_rebuild(key, || slow(key));
    }
    for key in 0..10 {
        cache.get_or_rebuild(key, || slow(key));
    }
    pool.trim(u64::MAX).unwrap();
    assert_eq!(pool.resident().unwrap().total_bytes(), 0);
    for key in 0..5 {
        cache.get_or_rebuild(key, || slow(key));
    }
    let stats = cache.stats();
    assert_eq!(
        (stats.hits, stats.first_builds, stats.discards),
        (10, 10, 5)
    );
    assert_eq!((stats.uncached, stats.forgotten, stats.entries), (0, 0, 10));
    assert!(stats.rebuild_time >= 15 * COST, "{:?}", stats.rebuild_time);
    assert!(cache.remove(&0));
    assert!(!cache.remove(&0));
    cache.clear();
    assert_eq!(cache.stats().entries, 0);
    assert_eq!(
        pool.stats_now().offered_bytes(),
        0,
        "forgotten keys hold nothing"
    );
}

#[test]
fn only_so_many_keys_are_remembered() {
    let pool = pool(64 * MIB);
    let cache = PurgeableCache::with_entries_max(&pool, Class::Normal, 64);
    let held = cache.get_or_rebuild(1_000_000, || content(5));
    for key in 0..1000 {
        check(key, &cache.get_or_rebuild(key, || content(key)));
        let entries = cache.stats().entries;
        // Keys in use are not forgotten: one more than its part may hold.
        assert!(entries <= 64 + 1, "{entries} after key {key}");
    }
    check(5, &held);
    let stats = cache.stats();
    assert_eq!(stats.first_builds, 1001);
    assert_eq!(stats.forgotten + stats.entries as u64, 1001);
    let offered: u64 = pool.stats_now().offered.iter().map(|c| c.count).sum();
    assert!(
        offered <= 64,
        "{offered} contents of forgotten keys are kept"
    );
    drop(held);
}

#[test]
fn contents_are_right_under_pressure() {
    const THREADS: u64 = 4;
    const ACCESSES: u64 = 3000;
    const KEYS: u64 = 64;
    // Half of what the keys need: there is a discard for every other access.
    let footprint: u64 = (0..KEYS).map(|key| content(key).len() as u64).sum();
    let pool = pool(footprint / 2);
    let cache = PurgeableCache::new(&pool, Class::Normal);
    let rebuilds = AtomicU64::new(0);
    let uncached = AtomicU64::new(0);
    // Taken for writing to measure: the kernel's list of mappings is no snapshot, memory that moves
    // from one allocation to another meanwhile can be counted twice.
    let moving = RwLock::new(());
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (cache, rebuilds, uncached) = (&cache, &rebuilds, &uncached);
            let (pool, moving) = (&pool, &moving);
            scope.spawn(move || {
                let mut random = thread + 1;
                for access in 0..ACCESSES {
                    random = random
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    let key = (random >> 33) % KEYS;
                    let shared = moving.read().unwrap();
                    let guard = cache.get_or_rebuild(key, || {
                        rebuilds.fetch_add(1, Ordering::Relaxed);
                        content(key)
                    });
                    check(key, &guard);
                    if guard.is_private() {
                        uncached.fetch_add(1, Ordering::Relaxed);
                    }
                    drop(guard);
                    drop(shared);
                    if access % 500 == 0 {
                        let _alone = moving.write().unwrap();
                        let resident = pool.resident().unwrap().total_bytes();
                        assert!(resident <= footprint / 2, "{resident}");
                    }
                }
            });
        }
    });
    let stats = cache.stats();
    let rebuilds = rebuilds.into_inner();
    assert_eq!(stats.hits + rebuilds, THREADS * ACCESSES);
    assert_eq!(stats.first_builds + stats.discards, rebuilds);
    assert_eq!(stats.uncached, uncached.into_inner());
    assert!(stats.hits > 0 && stats.discards > 100, "{stats:?}");
    cache.clear();
    pool.trim(u64::MAX).unwrap();
    assert_eq!(pool.resident().unwrap().total_bytes(), 0);
    assert_eq!(pool.stats_now().room_bytes.unsigned_abs(), footprint / 2);
}
