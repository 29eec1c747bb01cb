//! Memory comes and goes as the kernel counts it.

use vidmm_arena::{Arena, ArenaOptions, Kernel};
use vidmm_arena::{FailingKernel, LinuxKernel};

use crate::help::{MIB, arena, bytes, has_huge_pages, len, take, write};

#[test]
fn writing_backs_and_returning_frees() {
    let arena = arena();
    assert_eq!(arena.resident().unwrap().total_bytes(), 0);
    let extent = take(&arena, 300_000);
    let charge = arena.charge_bytes(extent);
    assert!((300_000..300_000 + 65_536).contains(&charge));
    assert_eq!(
        arena.resident_of(extent).unwrap(),
        0,
        "nothing is backed before it is touched"
    );
    write(&arena, extent, len(&arena, extent), 7);
    assert_eq!(arena.resident_of(extent).unwrap(), charge);
    assert_eq!(arena.resident().unwrap().total_bytes(), charge);
    let returned = arena.return_extents(&mut vec![extent]);
    assert_eq!(
        (returned.returned_bytes, returned.refused_bytes),
        (charge, 0)
    );
    assert_eq!(arena.resident_of(extent).unwrap(), 0);
    assert_eq!(arena.resident().unwrap().total_bytes(), 0);
    let again = take(&arena, 300_000);
    assert!(
        bytes(&arena, again).iter().all(|&byte| byte == 0),
        "returned memory reads as zero"
    );
}

#[test]
fn warm_memory_stays_backed_until_it_is_returned() {
    let arena = arena();
    let extent = take(&arena, MIB);
    write(&arena, extent, len(&arena, extent), 9);
    arena.put_warm(extent);
    assert_eq!(arena.resident().unwrap().rss_bytes, MIB);
    let shape = arena.shape(MIB / 4, 0).unwrap();
    let part = arena.take_warm(shape).expect("split from the warm extent");
    assert!(part.is_warm());
    assert!(
        bytes(&arena, part).iter().all(|&byte| byte == 9),
        "warm memory is as it was left"
    );
    let returned = arena.return_warm(u64::MAX);
    assert_eq!(returned.returned_bytes, MIB - MIB / 4);
    assert_eq!(arena.resident().unwrap().rss_bytes, MIB / 4);
    arena.put_warm(part);
    assert_eq!(
        arena.return_warm(1).returned_bytes,
        u64::try_from(LinuxKernel.page_bytes()).unwrap()
    );
}

#[test]
fn a_huge_extent_never_backs_more_than_its_charge() {
    if !has_huge_pages() {
        return;
    }
    let arena = arena();
    let unit = u64::try_from(LinuxKernel.huge_bytes().unwrap()).unwrap();
    let (first, second) = (take(&arena, unit), take(&arena, 3 * unit - 4096));
    assert_eq!(arena.charge_bytes(second), 3 * unit, "charged whole");
    for extent in [first, second] {
        assert_eq!(
            u64::try_from(arena.address(extent).addr().get()).unwrap() % unit,
            0
        );
    }
    write(&arena, first, 64 << 10, 1);
    write(&arena, second, 64 << 10, 2);
    let backed = arena.resident_of(first).unwrap();
    assert!(
        (64 << 10..=unit).contains(&backed),
        "{backed} bytes behind 64 KiB"
    );
    assert!(arena.resident_of(second).unwrap() <= 3 * unit);
    arena.return_extents(&mut vec![first]);
    assert_eq!(arena.resident_of(first).unwrap(), 0);
    assert!(
        bytes(&arena, second)[..64 << 10]
            .iter()
            .all(|&byte| byte == 2)
    );
    arena.return_extents(&mut vec![second]);
    assert_eq!(arena.resident().unwrap().total_bytes(), 0);
}

#[test]
fn sizes_that_waste_a_huge_page_use_small_ones() {
    if !has_huge_pages() {
        return;
    }
    let arena = arena();
    let unit = u64::try_from(LinuxKernel.huge_bytes().unwrap()).unwrap();
    let page = u64::try_from(LinuxKernel.page_bytes()).unwrap();
    let charge = |bytes| arena.shape(bytes, 0).unwrap().charge_bytes();
    assert_eq!(charge(1), page);
    assert_eq!(
        charge(unit - 1),
        unit,
        "below a huge page, but whole pages all the same"
    );
    assert_eq!(charge(unit + 1), unit + page);
    assert_eq!(charge(16 * unit), 16 * unit);
    assert_eq!(
        charge(16 * unit + 1),
        17 * unit,
        "one sixteenth of waste is worth it"
    );
    assert_eq!(charge(15 * unit + 1), 15 * unit + page);
}

#[test]
fn the_machine_gets_its_memory_back() {
    // Other programs come and go: one clear drop of free memory and its return is enough. MemFree
    // leaves out what lies on the processors' own free lists, up to hundreds of MiB each.
    let free = || {
        let text = std::fs::read_to_string("/proc/zoneinfo").unwrap_or_default();
        let number = |line: &str| {
            let rest = line
                .strip_prefix("nr_free_pages ")
                .or(line.strip_prefix("count:"))?;
            rest.trim().parse::<u64>().ok()
        };
        let pages: u64 = text.lines().filter_map(|line| number(line.trim())).sum();
        pages * u64::try_from(LinuxKernel.page_bytes()).unwrap()
    };
    const BYTES: u64 = 256 * MIB;
    if free() < 4 * BYTES {
        println!("SKIPPED: less than 1 GiB of memory is free, or /proc/zoneinfo unreadable");
        return;
    }
    let arena = arena();
    for size in [64 << 10, 4 * MIB] {
        let seen = (0..10).any(|_| {
            let before = free();
            let mut extents: Vec<_> = (0..BYTES / size).map(|_| take(&arena, size)).collect();
            for &extent in &extents {
                write(&arena, extent, len(&arena, extent), 3);
            }
            let during = free();
            arena.return_extents(&mut extents);
            let after = free();
            let (took, gave) = (before.saturating_sub(during), after.saturating_sub(during));
            took > BYTES / 4 * 3 && gave > BYTES / 4 * 3
        });
        assert!(
            seen,
            "free memory never followed {BYTES} bytes in extents of {size}"
        );
    }
}

#[test]
fn what_the_kernel_refuses_stays_warm_and_is_counted() {
    let options = ArenaOptions::default();
    let arena = Arena::new(FailingKernel::new(LinuxKernel), options).unwrap();
    let shape = arena.shape(128 << 10, 0).unwrap();
    let mut extents: Vec<_> = (0..8)
        .map(|_| arena.take_clean(shape, MIB).unwrap())
        .collect();
    for &extent in &extents {
        // SAFETY: taken just above.
        unsafe { arena.fill(extent, 5) };
    }
    arena.kernel().refuse_returns(Some(1));
    let returned = arena.return_extents(&mut extents);
    assert_eq!((returned.returned_bytes, returned.refused_bytes), (0, MIB));
    assert_eq!(returned.refusal, Some(1));
    assert_eq!(arena.kernel().returns(), 1, "neighbours go in one call");
    let stats = arena.stats();
    assert_eq!((stats.warm_bytes, stats.refused_bytes), (MIB, MIB));
    assert_eq!(arena.resident().unwrap().rss_bytes, MIB);
    let refused = arena.return_warm(MIB);
    assert_eq!((refused.returned_bytes, refused.refused_bytes), (0, MIB));
    let whole = arena
        .take_warm(arena.shape(MIB, 0).unwrap())
        .expect("still there, in one piece");
    arena.put_warm(whole);
    arena.kernel().refuse_returns(None);
    assert_eq!(arena.return_warm(MIB).returned_bytes, MIB);
    assert_eq!(arena.resident().unwrap().total_bytes(), 0);
}

#[test]
fn strict_overcommit_gives_up_clean_windows_then_fails_clearly() {
    let options = ArenaOptions::default();
    let arena = Arena::new(FailingKernel::new(LinuxKernel), options).unwrap();
    arena.kernel().limit_commit(8 * MIB);
    let small = arena.shape(MIB / 2, 0).unwrap();
    // A window step beyond the limit is cut down to what the extent needs.
    let first = arena.take_clean(small, 64 * MIB).unwrap();
    assert_eq!(arena.stats().opened_bytes, MIB / 2);
    let second = arena.take_clean(small, 4 * MIB).unwrap();
    arena.return_extents(&mut vec![second]);
    if has_huge_pages() {
        // Half a MiB is in use: seven and a half are left, when the clean windows are closed.
        let huge = arena.shape(6 * MIB, 0).unwrap();
        let third = arena
            .take_clean(huge, 0)
            .expect("clean windows are given up for it");
        // SAFETY: taken just above.
        unsafe { arena.fill(third, 1) };
        assert_eq!(arena.stats().opened_bytes, 6 * MIB + MIB / 2);
    }
    let error = arena
        .take_clean(arena.shape(8 * MIB, 0).unwrap(), 0)
        .unwrap_err();
    assert!(error.to_string().contains("overcommit"), "{error}");
    let source = std::error::Error::source(&error).expect("the kernel's own words");
    assert!(source.to_string().contains("memory"), "{source}");
    // SAFETY: taken above.
    unsafe { arena.fill(first, 1) };
    arena
        .take_clean(arena.shape(MIB, 0).unwrap(), 0)
        .expect("what fits still works");
}

#[test]
fn a_failed_close_retires_the_space() {
    let arena = Arena::new(FailingKernel::new(LinuxKernel), ArenaOptions::default()).unwrap();
    let shape = arena.shape(MIB, 0).unwrap();
    let extent = arena.take_clean(shape, 4 * MIB).unwrap();
    arena.kernel().refuse_closes(true);
    assert_eq!(arena.close_clean_tops(), 0);
    let stats = arena.stats();
    assert_eq!((stats.opened_bytes, stats.clean_bytes), (MIB, 0));
    assert!(
        arena.take_clean(shape, 0).is_err(),
        "nobody knows what is there"
    );
    arena.put_warm(extent);
    assert!(arena.take_warm(shape).is_some());
}
