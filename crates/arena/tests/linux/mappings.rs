//! The arena costs the process few mappings, and they have the right attributes.

use vidmm_arena::{Arena, ArenaError, ArenaOptions, LinuxKernel};

use crate::help::{MIB, arena, has_huge_pages, mappings, take, write};

/// Per region: the windows and the rest.
const MAPPINGS_MAX: usize = 4;

#[test]
fn a_hundred_thousand_extents_need_four_mappings() {
    let arena = arena();
    let extents: Vec<_> = (0..100_000).map(|_| take(&arena, 4096)).collect();
    for &extent in &extents {
        write(&arena, extent, 1, 1);
    }
    if has_huge_pages() {
        write(&arena, take(&arena, 4 * MIB), 1, 1);
    }
    let mut even: Vec<_> = extents.iter().copied().step_by(2).collect();
    let odd = extents.iter().copied().skip(1).step_by(2);
    let charge: u64 = even.iter().map(|&extent| arena.charge_bytes(extent)).sum();
    let before = arena.resident().unwrap().rss_bytes;
    assert_eq!(arena.return_extents(&mut even).returned_bytes, charge);
    assert_eq!(arena.resident().unwrap().rss_bytes, before - charge);
    let count = mappings(&arena).len();
    assert!(count <= MAPPINGS_MAX, "{count} mappings");
    for extent in odd.step_by(10) {
        arena.put_warm(extent);
    }
    arena.return_warm(u64::MAX);
    assert!(mappings(&arena).len() <= MAPPINGS_MAX);
}

#[test]
fn closing_a_window_leaves_no_seam() {
    let arena = arena();
    let extent = take(&arena, 32 * MIB - 4096);
    let kept = take(&arena, 64 << 10);
    let count = mappings(&arena).len();
    arena.return_extents(&mut vec![extent]);
    assert!(arena.close_clean_tops() > 0);
    assert!(mappings(&arena).len() <= count);
    for _ in 0..3 {
        arena.put_clean(take(&arena, MIB));
        assert!(mappings(&arena).len() <= count);
        assert!(arena.close_clean_tops() > 0);
        assert!(mappings(&arena).len() <= count);
    }
    write(&arena, kept, 64 << 10, 1);
}

#[test]
fn memory_is_named_and_left_out_of_core_dumps() {
    let arena = arena();
    take(&arena, MIB);
    let ours = mappings(&arena);
    assert!(ours.len() >= 2);
    for mapping in &ours {
        assert!(
            mapping.flags.iter().any(|flag| flag == "dd"),
            "{}",
            mapping.head
        );
        assert!(
            !mapping.flags.iter().any(|flag| flag == "dc"),
            "{}",
            mapping.head
        );
    }
    let writable: Vec<_> = ours
        .iter()
        .filter(|mapping| mapping.head.contains(" rw-p "))
        .collect();
    assert_eq!(writable.len(), 1, "one window");
    let huge_advice = |name: &str| writable[0].flags.iter().any(|flag| flag == name);
    if has_huge_pages() {
        assert!(huge_advice("nh") && !huge_advice("hg"));
    }
    if !writable[0].head.contains("vidmm small") {
        println!("SKIPPED: this kernel names no anonymous memory");
    }
}

#[test]
fn options_are_honoured() {
    let options = ArenaOptions {
        include_in_core_dumps: true,
        keep_out_of_children: true,
        reserve_bytes: Some(64 * MIB),
    };
    let arena = Arena::new(LinuxKernel, options).unwrap();
    take(&arena, MIB);
    for mapping in mappings(&arena) {
        assert!(
            !mapping.flags.iter().any(|flag| flag == "dd"),
            "{}",
            mapping.head
        );
        assert!(
            mapping.flags.iter().any(|flag| flag == "dc"),
            "{}",
            mapping.head
        );
    }
    let reserved: u64 = arena
        .ranges()
        .iter()
        .map(|range| range.end - range.start)
        .sum();
    assert_eq!(reserved, 64 * MIB);
    let error = arena.shape(64 * MIB, 0).unwrap_err();
    assert!(matches!(error, ArenaError::TooLarge { .. }), "{error}");
}

#[test]
fn used_up_address_space_is_an_error_not_a_crash() {
    let options = ArenaOptions {
        reserve_bytes: Some(16 * MIB),
        ..Default::default()
    };
    let arena = Arena::new(LinuxKernel, options).unwrap();
    let shape = arena.shape(MIB, 0).unwrap();
    let mut taken = Vec::new();
    let error = loop {
        match arena.take_clean(shape, 0) {
            Ok(extent) => taken.push(extent),
            Err(error) => break error,
        }
        assert!(taken.len() <= 16);
    };
    assert!(matches!(error, ArenaError::AddressSpace { .. }), "{error}");
    arena.put_warm(taken.pop().unwrap());
    assert!(arena.take_warm(shape).is_some());
}

#[test]
fn large_alignments_cost_address_space_only() {
    let arena = arena();
    take(&arena, 4096);
    for align in [4096, 2 * MIB, 64 * MIB, 1024 * MIB] {
        for size in [5000, 3 * MIB] {
            let shape = arena.shape(size, align).unwrap();
            assert!(shape.charge_bytes() < size + 65_536);
            let extent = arena.take_clean(shape, MIB).unwrap();
            let address = u64::try_from(arena.address(extent).addr().get()).unwrap();
            assert_eq!(address % align, 0);
            assert_eq!(arena.charge_bytes(extent), shape.charge_bytes());
        }
    }
    assert!(mappings(&arena).len() <= MAPPINGS_MAX);
    assert!(matches!(
        arena.shape(1, 3),
        Err(ArenaError::Alignment { align_bytes: 3 })
    ));
    assert!(matches!(arena.shape(0, 0), Err(ArenaError::ZeroSize)));
    assert!(matches!(
        arena.shape(u64::MAX, 0),
        Err(ArenaError::TooLarge { .. })
    ));
    assert!(matches!(
        arena.shape(1, 1 << 63),
        Err(ArenaError::Alignment { .. })
    ));
}

#[test]
fn protected_memory_keeps_its_content() {
    let arena = arena();
    let extent = take(&arena, 64 << 10);
    write(&arena, extent, 64 << 10, 6);
    arena.protect(extent).unwrap();
    let head = mappings(&arena).into_iter().find(|mapping| {
        mapping
            .addresses
            .contains(&u64::try_from(arena.address(extent).addr().get()).unwrap())
    });
    assert!(head.unwrap().head.contains(" ---p "));
    arena.unprotect(extent).unwrap();
    assert!(
        crate::help::bytes(&arena, extent)
            .iter()
            .all(|&byte| byte == 6)
    );
    assert!(mappings(&arena).len() <= MAPPINGS_MAX);
}
