//! The modes that find bugs: memory that faults unless it is locked, and content that was lost and
//! looks like it.
#![cfg(target_os = "linux")]
#![allow(unsafe_code, clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::fs;
use std::os::unix::process::ExitStatusExt;

use common::{MIB, alone, fill, forked, is_filled, mapping_count, mapping_of};
use vidmm::{Allocation, Builder, Class, Outcome, Pool, PressureMode, State};

fn builder() -> Builder {
    Pool::builder()
        .budget_bytes(256 << 20)
        .pressure(PressureMode::Off)
}

fn filled(pool: &Pool, len_bytes: usize, seed: u64) -> Allocation {
    let mut allocation = pool.options().allocate_shared(len_bytes).unwrap();
    fill(&mut allocation.lock_mut().unwrap(), seed);
    allocation
}

/// A size of each region, and the smallest.
const SIZES: [usize; 3] = [4096, MIB, 4 * MIB];

/// How a process ends that reads a byte there.
fn reads(start: *const u8) -> Option<i32> {
    let read = || {
        // SAFETY: the address was the content's of an allocation; if nothing is there now the
        // process that reads, a child made for it, dies.
        let byte = unsafe { start.read_volatile() };
        std::hint::black_box(byte);
    };
    forked(read).signal()
}

#[test]
fn protected_memory_faults_unless_it_is_locked() {
    alone("protected_memory_faults_unless_it_is_locked", || {
        let pool = builder().protect(true).build().unwrap();
        for len_bytes in SIZES {
            let allocation = filled(&pool, len_bytes, 3);
            let guard = allocation.lock().unwrap();
            let start = guard.as_ptr();
            assert_eq!(reads(start), None, "locked");
            let second = allocation.lock().unwrap();
            drop(guard);
            assert_eq!(reads(start), None, "locked once more");
            drop(second);
            assert_eq!(reads(start), Some(libc::SIGSEGV), "not locked");
            assert_eq!(mapping_of(start.addr()).unwrap().permissions, "---p");
            allocation.offer(Class::Normal).unwrap();
            assert_eq!(reads(start), Some(libc::SIGSEGV), "offered");
            assert_eq!(allocation.reclaim(), Ok(Outcome::Intact));
            assert!(is_filled(&allocation.lock().unwrap(), 3));
            // Its memory goes, and the next that gets it can use it.
            allocation.offer(Class::Normal).unwrap();
            pool.trim(u64::MAX).unwrap();
            assert_eq!(allocation.state(), State::Discarded);
            assert_eq!(pool.resident().unwrap().total_bytes(), 0);
            assert_eq!(allocation.reclaim(), Ok(Outcome::Discarded));
            let next = filled(&pool, len_bytes, 4);
            assert!(is_filled(&next.lock().unwrap(), 4));
            drop(allocation.lock().unwrap());
        }
    });
}

#[test]
fn protection_takes_at_most_a_quarter_of_the_mappings() {
    alone("protection_takes_at_most_a_quarter_of_the_mappings", || {
        let limit: usize = fs::read_to_string("/proc/sys/vm/max_map_count")
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        // More than the quarter would hold, at two mappings each.
        let count = limit / 4;
        if count > 100_000 {
            println!("SKIPPED: vm.max_map_count is {limit}: the quarter is out of reach");
            return;
        }
        let pool = builder().protect(true).build().unwrap();
        let before = mapping_count();
        let allocations: Vec<_> = (0..count as u64)
            .map(|seed| filled(&pool, 4096, seed))
            .collect();
        // Every other one is locked, so that no two neighbours share a mapping.
        let guards: Vec<_> = allocations
            .iter()
            .step_by(2)
            .map(|allocation| allocation.lock().unwrap())
            .collect();
        for allocation in allocations.iter().skip(1).step_by(2) {
            drop(allocation.lock().unwrap());
        }
        let more = mapping_count() - before;
        assert!(more <= limit / 4 + 50, "{more} mappings of {limit}");
        assert!(more >= limit / 8, "{more} mappings: is anything protected?");
        for (guard, seed) in guards.iter().zip((0..).step_by(2)) {
            assert!(is_filled(guard, seed));
        }
        drop(guards);
        for (allocation, seed) in allocations.iter().zip(0..) {
            assert!(is_filled(&allocation.lock().unwrap(), seed));
        }
        drop(allocations);
        pool.trim(u64::MAX).unwrap();
        let more = mapping_count().saturating_sub(before);
        assert!(more <= 50, "{more} mappings stay");
    });
}

#[test]
fn lost_content_shows_the_pattern_and_new_memory_does_not() {
    let pool = builder().poison(true).build().unwrap();
    for len_bytes in SIZES {
        let lost = filled(&pool, len_bytes, 5);
        let kept = filled(&pool, len_bytes, 6);
        lost.offer(Class::Low).unwrap();
        pool.trim(u64::MAX).unwrap();
        assert_eq!(lost.reclaim(), Ok(Outcome::Discarded));
        let bytes = lost.lock().unwrap();
        assert!(bytes.iter().all(|&byte| byte == 0xDB));
        drop(bytes);
        // Intact stays intact, and what was rebuilt is no longer lost.
        let mut lost = lost;
        fill(&mut lost.lock_mut().unwrap(), 7);
        for (allocation, seed) in [(&lost, 7), (&kept, 6)] {
            allocation.offer(Class::Low).unwrap();
            assert_eq!(allocation.reclaim(), Ok(Outcome::Intact));
            assert!(is_filled(&allocation.lock().unwrap(), seed));
        }
        // A new allocation is zeroed, also on memory that another one has used.
        drop(lost);
        let new = pool.allocate(len_bytes).unwrap();
        assert!(new.lock().unwrap().iter().all(|&byte| byte == 0));
    }
}

#[test]
fn content_that_went_to_another_allocation_shows_the_pattern() {
    // No room but what is offered: its memory is reused at once, warm.
    let pool = builder()
        .budget_bytes(4 << 20)
        .poison(true)
        .build()
        .unwrap();
    let lost = filled(&pool, 3 * MIB, 1);
    lost.offer(Class::Normal).unwrap();
    let other = filled(&pool, 3 * MIB, 2);
    assert_eq!(lost.state(), State::Discarded);
    drop(other);
    assert_eq!(lost.reclaim(), Ok(Outcome::Discarded));
    assert!(lost.lock().unwrap().iter().all(|&byte| byte == 0xDB));
}
