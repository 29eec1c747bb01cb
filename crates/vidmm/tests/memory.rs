//! A pool's memory as the kernel sees it: what is behind it, where it counts, which limits and
//! locks it lives under, and what of it a core dump shows.
#![cfg(target_os = "linux")]
#![allow(unsafe_code, clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;

use common::{
    MIB, alone, command, fill, is_child, is_filled, kib_line, machine_free_bytes, mapping_count,
    mapping_of, own_memory_bytes,
};
use rustix::mm::{MapFlags, MlockAllFlags, ProtFlags, mlockall, mmap_anonymous, munmap};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use vidmm::{Allocation, Builder, Class, Error, Outcome, Pool, PressureMode, State};

fn builder(budget_bytes: u64) -> Builder {
    Pool::builder()
        .budget_bytes(budget_bytes)
        .pressure(PressureMode::Off)
}

fn pool(budget_bytes: u64) -> Pool {
    builder(budget_bytes).build().unwrap()
}

fn filled(pool: &Pool, len_bytes: usize, seed: u64) -> Allocation {
    let mut allocation = pool.options().allocate_shared(len_bytes).unwrap();
    fill(&mut allocation.lock_mut().unwrap(), seed);
    allocation
}

fn holds(allocation: &Allocation, seed: u64) -> bool {
    is_filled(&allocation.lock().unwrap(), seed)
}

fn address(allocation: &Allocation) -> usize {
    allocation.lock().unwrap().as_ptr().addr()
}

/// What else a process has, and may come by while a test runs.
const OWN_SLACK_BYTES: u64 = 8 << 20;

#[test]
fn a_large_allocation_is_backed_as_it_is_written_and_returned_whole() {
    let name = "a_large_allocation_is_backed_as_it_is_written_and_returned_whole";
    alone(name, || {
        let len_bytes = 16 * MIB;
        let pool = pool(64 << 20);
        let before = own_memory_bytes();
        let mut large = pool.options().allocate_shared(len_bytes).unwrap();
        let charge = large.charge_bytes();
        assert_eq!(charge, len_bytes as u64);
        let start = address(&large);
        let behind = || mapping_of(start).unwrap();
        assert_eq!(behind().rss_bytes, 0, "nothing before it is touched");
        large.lock_mut().unwrap()[..64 << 10].fill(1);
        let touched = behind().rss_bytes;
        assert!((64 << 10..=2 << 20).contains(&touched), "{touched} bytes");
        fill(&mut large.lock_mut().unwrap(), 3);
        let full = behind();
        assert_eq!(full.rss_bytes, charge);
        if full.huge_bytes == 0 {
            println!("SKIPPED: this machine gave no huge pages; they are not looked at");
        }
        assert!(own_memory_bytes() - before >= charge);
        large.offer(Class::Normal).unwrap();
        let first = pool.trim(1).unwrap();
        assert_eq!(large.state(), State::Discarded, "whole, never in part");
        assert_eq!(first + pool.trim(u64::MAX).unwrap(), charge);
        assert_eq!(behind().rss_bytes, 0);
        let kept = own_memory_bytes().saturating_sub(before);
        assert!(kept <= OWN_SLACK_BYTES, "{kept} bytes");
        assert_eq!(large.reclaim(), Ok(Outcome::Discarded));
    });
}

#[test]
fn what_is_trimmed_is_free_on_the_machine() {
    alone("what_is_trimmed_is_free_on_the_machine", || {
        let len_bytes = 192 * MIB;
        if kib_line("/proc/meminfo", "MemAvailable") < 4 * len_bytes as u64 {
            println!("SKIPPED: too little memory is available here");
            return;
        }
        let pool = pool(256 << 20);
        // The machine's figure moves with everything that runs on it: one clear answer will do.
        let seen = (0..8).any(|_| {
            let large = filled(&pool, len_bytes, 1);
            large.offer(Class::Normal).unwrap();
            let before = machine_free_bytes();
            assert_eq!(pool.trim(u64::MAX).unwrap(), len_bytes as u64);
            machine_free_bytes() >= before + len_bytes as u64 * 3 / 4
        });
        assert!(seen, "the kernel never had more free memory after a trim");
    });
}

/// Locks the process's memory, or says why the test is skipped.
fn lock_memory() -> bool {
    let locked = mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE);
    if let Err(error) = &locked {
        println!("SKIPPED: mlockall: {error} (RLIMIT_MEMLOCK, CAP_IPC_LOCK)");
    }
    locked.is_ok()
}

/// The contract holds, and memory really goes.
fn expect_to_work(pool: &Pool) {
    let before = own_memory_bytes();
    let kept = filled(pool, MIB, 1);
    let victims: Vec<_> = (2..10).map(|seed| filled(pool, 4 * MIB, seed)).collect();
    assert!(own_memory_bytes() >= before + (32 << 20));
    pool.offer_list(&victims, Class::Normal).unwrap();
    assert_eq!(victims[3].reclaim(), Ok(Outcome::Intact));
    assert!(holds(&victims[3], 5));
    pool.trim(u64::MAX).unwrap();
    let left = own_memory_bytes();
    assert!(left <= before + (5 << 20) + OWN_SLACK_BYTES, "{left} bytes");
    assert_eq!(pool.resident().unwrap().total_bytes(), 5 << 20);
    assert!(holds(&kept, 1) && holds(&victims[3], 5));
    assert_eq!(victims[0].reclaim(), Ok(Outcome::Discarded));
    assert_eq!(pool.stats_now().refused_bytes, 0);
}

#[test]
fn memory_locked_before_the_pool_was_made() {
    alone("memory_locked_before_the_pool_was_made", || {
        if lock_memory() {
            let pool = match builder(128 << 20).build() {
                Ok(pool) => pool,
                Err(error) => return println!("SKIPPED: {error} (RLIMIT_MEMLOCK)"),
            };
            expect_to_work(&pool);
        }
    });
}

#[test]
fn memory_locked_after_the_pool_was_made() {
    alone("memory_locked_after_the_pool_was_made", || {
        let pool = pool(128 << 20);
        let early = filled(&pool, 4 * MIB, 77);
        if lock_memory() {
            // What the lock has backed of the open windows goes at the next look.
            pool.trim(u64::MAX).unwrap();
            assert!(holds(&early, 77));
            early.offer(Class::Low).unwrap();
            pool.trim(u64::MAX).unwrap();
            assert_eq!(early.state(), State::Discarded);
            expect_to_work(&pool);
        }
    });
}

#[test]
fn a_limited_address_space_serves_pool_and_host() {
    alone("a_limited_address_space_serves_pool_and_host", || {
        let limit = 1 << 30;
        let maximum = getrlimit(Resource::As).maximum;
        let current = Some(limit);
        setrlimit(Resource::As, Rlimit { current, maximum }).unwrap();
        let pool = pool(128 << 20);
        expect_to_work(&pool);
        let own = vec![1u8; 512 * MIB];
        assert_eq!(
            own.iter().step_by(4096).filter(|&&b| b == 1).count(),
            131_072
        );
        std::thread::spawn(|| drop(vec![0u8; MIB])).join().unwrap();
    });
}

#[test]
fn used_up_address_space_costs_what_is_offered_not_the_call() {
    alone(
        "used_up_address_space_costs_what_is_offered_not_the_call",
        || {
            let limit = 1 << 30;
            let maximum = getrlimit(Resource::As).maximum;
            let current = Some(limit);
            setrlimit(Resource::As, Rlimit { current, maximum }).unwrap();
            // More than the address space has; so the budget never presses.
            let pool = pool(limit);
            let kept = filled(&pool, MIB, 1);
            let mut offered = Vec::new();
            for seed in 0..300 {
                let mut allocation = pool.allocate(3 * MIB).unwrap();
                fill(&mut allocation.lock_mut().unwrap(), seed);
                offered.push(allocation.offer(Class::Normal));
            }
            assert!(holds(&kept, 1));
            let last = offered.pop().unwrap().reclaim().unwrap();
            assert!(last.is_intact(), "the oldest go first");
            // And what is not offered is not taken: then the call fails.
            drop(offered);
            let mut committed = Vec::new();
            let error = loop {
                match pool.allocate(3 * MIB) {
                    Ok(allocation) => committed.push(allocation),
                    Err(error) => break error,
                }
                assert!(committed.len() < 400);
            };
            assert!(matches!(error, Error::Kernel { .. }), "{error}");
            assert!(holds(&kept, 1));
            committed.pop();
            assert!(pool.allocate(3 * MIB).is_ok());
        },
    );
}

#[test]
fn a_hundred_thousand_allocations_cost_few_mappings() {
    alone("a_hundred_thousand_allocations_cost_few_mappings", || {
        let before = mapping_count();
        let pool = pool(1 << 30);
        let allocations: Vec<_> = (0..100_000)
            .map(|_| {
                let mut allocation = pool.options().allocate_shared(4096).unwrap();
                allocation.lock_mut().unwrap()[0] = 1;
                allocation
            })
            .collect();
        // Every other page goes.
        for allocation in allocations.iter().step_by(2) {
            allocation.offer(Class::Low).unwrap();
        }
        assert_eq!(pool.trim(u64::MAX).unwrap(), 50_000 * 4096);
        assert_eq!(pool.resident().unwrap().total_bytes(), 50_000 * 4096);
        let more = mapping_count() - before;
        assert!(more <= 100, "{more} mappings more");
        // The host's own mappings and threads still work.
        let own: Vec<_> = (0..1000).map(|_| vec![1u8; 256 << 10]).collect();
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
        // SAFETY: a new mapping at a place the kernel chooses.
        let mapped = unsafe { mmap_anonymous(std::ptr::null_mut(), MIB, protection, flags) };
        // SAFETY: the mapping made above; nobody uses it.
        unsafe { munmap(mapped.unwrap(), MIB) }.unwrap();
        std::thread::spawn(|| ()).join().unwrap();
        drop(own);
        let intact = allocations.iter().skip(1).step_by(2);
        assert!(intact.clone().all(|a| a.lock().unwrap()[0] == 1));
    });
}

#[test]
fn the_memory_is_left_out_of_core_dumps_unless_asked_for() {
    for include in [false, true] {
        let pool = builder(64 << 20)
            .include_in_core_dumps(include)
            .build()
            .unwrap();
        for len_bytes in [MIB, 4 * MIB] {
            let mapping = mapping_of(address(&filled(&pool, len_bytes, 1))).unwrap();
            assert_eq!(mapping.has_flag("dd"), !include, "{mapping:?}");
        }
    }
}

/// So much content is looked for in a core dump.
const DUMPED_BYTES: usize = 6 * MIB;
const DUMPED_SEED: u64 = 0xC0FE;
const INCLUDE: &str = "VIDMM_TEST_INCLUDE";

/// How many pages of the content a core dump holds, and how many bytes it has on the disk.
fn dump(test: &str, include: bool) -> Option<(usize, u64)> {
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    if pattern.starts_with(['|', '/']) || getrlimit(Resource::Core).maximum == Some(0) {
        println!("SKIPPED: core dumps do not come to this process (kernel.core_pattern, limits)");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let status = command(test)
        .env(INCLUDE, if include { "1" } else { "0" })
        .current_dir(folder.path())
        .output()
        .unwrap()
        .status;
    assert_eq!(status.signal(), Some(libc::SIGABRT), "{status}");
    let Some(core) = fs::read_dir(folder.path()).unwrap().next() else {
        println!("SKIPPED: no core file came ({status})");
        return None;
    };
    let file = File::open(core.unwrap().path()).unwrap();
    let mut expected = vec![0; DUMPED_BYTES];
    fill(&mut expected, DUMPED_SEED);
    let pages: std::collections::HashSet<&[u8]> = expected.chunks(4096).collect();
    let mut page = [0; 4096];
    let mut found = 0;
    let metadata = file.metadata().unwrap();
    for offset in (0..metadata.len() / 4096).map(|number| number * 4096) {
        file.read_exact_at(&mut page, offset).unwrap();
        found += usize::from(pages.contains(&page[..]));
    }
    let blocks = std::os::unix::fs::MetadataExt::blocks(&metadata);
    Some((found, blocks * 512))
}

#[test]
fn a_core_dump_holds_the_memory_only_if_asked_for() {
    let name = "a_core_dump_holds_the_memory_only_if_asked_for";
    if is_child(name) {
        let maximum = getrlimit(Resource::Core).maximum;
        let current = maximum;
        setrlimit(Resource::Core, Rlimit { current, maximum }).unwrap();
        let include = std::env::var(INCLUDE).is_ok_and(|value| value == "1");
        let builder = builder(64 << 20).include_in_core_dumps(include);
        let pool = builder.build().unwrap();
        let _dumped = filled(&pool, DUMPED_BYTES, DUMPED_SEED);
        std::process::abort();
    }
    let (Some((without, small_bytes)), Some((with, large_bytes))) =
        (dump(name, false), dump(name, true))
    else {
        return;
    };
    assert_eq!(without, 0, "pages of content in a default dump");
    assert_eq!(with, DUMPED_BYTES / 4096);
    assert!(large_bytes >= small_bytes + DUMPED_BYTES as u64 / 2);
    assert!(large_bytes < 256 << 20, "reserved space is not dumped");
}
