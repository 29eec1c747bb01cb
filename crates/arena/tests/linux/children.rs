//! Limits, locks and forks concern a whole process: each of these tests runs in one of its own,
//! this same program started again for the one test.

use std::process::Command;

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use vidmm_arena::{Arena, ArenaError, ArenaOptions, Kernel, LinuxKernel};

use crate::help::{MIB, arena, has_huge_pages, len, mappings, take, write};

/// Set for the process that is to do the work.
const MARK: &str = "VIDMM_ARENA_TEST_CHILD";

/// Runs `body` in a process of its own and passes its output on.
fn in_a_child(test: &str, body: fn()) {
    if std::env::var(MARK).is_ok_and(|name| name == test) {
        body();
        return;
    }
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program)
        .args([
            &format!("children::{test}"),
            "--exact",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(MARK, test)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .filter(|line| line.contains("SKIPPED"))
        .for_each(|line| println!("{line}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{}: {text}\n{errors}",
        output.status
    );
    assert!(
        text.contains("1 passed"),
        "the child did not run {test}: {text}"
    );
}

/// Locks the process's memory, or says why the test is skipped.
fn lock_memory(flags: MlockAllFlags) -> bool {
    if let Err(error) = mlockall(flags) {
        println!("SKIPPED: mlockall: {error} (RLIMIT_MEMLOCK, CAP_IPC_LOCK)");
        return false;
    }
    true
}

/// Memory that is locked behaves as other memory does.
fn use_locked(arena: &Arena) {
    for bytes in [64 << 10, 4 * MIB] {
        let extent = take(arena, bytes);
        assert_eq!(
            arena.resident_of(extent).unwrap(),
            0,
            "backed before it was touched"
        );
        write(arena, extent, len(arena, extent), 1);
        assert_eq!(arena.resident_of(extent).unwrap(), bytes);
        assert_eq!(
            arena.return_extents(&mut vec![extent]).returned_bytes,
            bytes
        );
        assert_eq!(
            arena.resident_of(extent).unwrap(),
            0,
            "returned though locked"
        );
    }
    assert_eq!(arena.resident().unwrap().total_bytes(), 0);
    let count = mappings(arena).len();
    assert!(count <= 4, "{count} mappings");
}

#[test]
fn memory_locked_before() {
    in_a_child("memory_locked_before", || {
        if !lock_memory(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE) {
            return;
        }
        match Arena::new(LinuxKernel, ArenaOptions::default()) {
            Ok(arena) => {
                use_locked(&arena);
                let locked = mappings(&arena)
                    .iter()
                    .filter(|mapping| mapping.head.contains(" rw-p "))
                    .all(|mapping| mapping.flags.iter().any(|flag| flag == "lo"));
                assert!(
                    locked,
                    "the program's wish holds for pages that were touched"
                );
            }
            Err(error) => println!("SKIPPED: {error}: {:?}", std::error::Error::source(&error)),
        }
    });
}

#[test]
fn memory_locked_after() {
    in_a_child("memory_locked_after", || {
        let arena = arena();
        let kept = take(&arena, MIB);
        write(&arena, kept, len(&arena, kept), 8);
        let returned = take(&arena, MIB);
        for flags in [
            MlockAllFlags::CURRENT | MlockAllFlags::FUTURE,
            MlockAllFlags::CURRENT,
        ] {
            if !lock_memory(flags) {
                return;
            }
            let backed = arena.resident().unwrap().rss_bytes;
            assert!(
                backed > MIB,
                "mlockall backs open windows: only {backed} bytes"
            );
            arena.return_stray();
            let backed = arena.resident().unwrap().rss_bytes;
            assert_eq!(
                backed,
                2 * MIB,
                "what is taken stays, what is free goes back"
            );
        }
        arena.return_extents(&mut vec![returned]);
        assert!(
            crate::help::bytes(&arena, kept)
                .iter()
                .all(|&byte| byte == 8)
        );
        arena.return_extents(&mut vec![kept]);
        use_locked(&arena);
        // Without being asked: a new window notices.
        if lock_memory(MlockAllFlags::CURRENT) {
            let large = take(&arena, 1000 * MIB);
            assert_eq!(arena.resident_of(large).unwrap(), 0);
            arena.put_clean(large);
            assert_eq!(arena.resident().unwrap().total_bytes(), 0);
        }
    });
}

#[test]
fn limited_locked_memory() {
    in_a_child("limited_locked_memory", || {
        let hard = getrlimit(Resource::Memlock).maximum.unwrap_or(u64::MAX);
        let limit = hard.min(256 * MIB);
        let soft = Rlimit {
            current: Some(limit),
            maximum: Some(limit),
        };
        setrlimit(Resource::Memlock, soft).unwrap();
        let mut sets = rustix::thread::capabilities(None).unwrap();
        sets.effective
            .remove(rustix::thread::CapabilitySet::IPC_LOCK);
        rustix::thread::set_capabilities(None, sets).unwrap();
        if !lock_memory(MlockAllFlags::FUTURE) {
            return;
        }
        match Arena::new(LinuxKernel, ArenaOptions::default()) {
            Ok(arena) => {
                let reserved: u64 = arena.ranges().iter().map(|r| r.end - r.start).sum();
                assert!(reserved <= limit, "{reserved} bytes");
                use_locked(&arena);
            }
            Err(error) => {
                assert!(limit < 64 * MIB, "{error}");
                assert!(error.to_string().contains("RLIMIT_MEMLOCK"), "{error}");
            }
        }
    });
}

#[test]
fn limited_address_space() {
    in_a_child("limited_address_space", || {
        const LEFT: u64 = 2048 * MIB;
        let used = address_space_bytes();
        let hard = getrlimit(Resource::As).maximum;
        setrlimit(
            Resource::As,
            Rlimit {
                current: Some(used + LEFT),
                maximum: hard,
            },
        )
        .unwrap();
        let arena = arena();
        let reserved: u64 = arena
            .ranges()
            .iter()
            .map(|range| range.end - range.start)
            .sum();
        assert!(reserved <= LEFT / 4, "{reserved} bytes");
        assert!(reserved >= LEFT / 8, "{reserved} bytes");
        let extent = take(&arena, 64 * MIB);
        write(&arena, extent, len(&arena, extent), 1);
        // The host program's own memory still works.
        let own = vec![1u8; usize::try_from(LEFT / 2).unwrap()];
        assert_eq!(
            own.iter().map(|&byte| u64::from(byte)).sum::<u64>(),
            LEFT / 2
        );
        drop((own, arena));
        setrlimit(
            Resource::As,
            Rlimit {
                current: Some(used + 8 * MIB),
                maximum: hard,
            },
        )
        .unwrap();
        let error = Arena::new(LinuxKernel, ArenaOptions::default()).unwrap_err();
        assert!(matches!(error, ArenaError::Reserve { .. }), "{error}");
        assert!(error.to_string().contains("RLIMIT_AS"), "{error}");
    });
}

/// How much address space this process uses.
fn address_space_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').next().unwrap().parse().unwrap();
    pages * u64::try_from(LinuxKernel.page_bytes()).unwrap()
}

#[test]
fn a_dropped_arena_gives_its_addresses_back() {
    in_a_child("a_dropped_arena_gives_its_addresses_back", || {
        let before = address_space_bytes();
        let arena = arena();
        write(&arena, take(&arena, MIB), 4096, 1);
        let reserved: u64 = arena
            .ranges()
            .iter()
            .map(|range| range.end - range.start)
            .sum();
        assert!(address_space_bytes() - before >= reserved);
        drop(arena);
        assert!(
            address_space_bytes() - before < MIB,
            "all of it is free again"
        );
    });
}

/// Forks and runs `body` in the child; its answer is the child's exit status.
fn forked(body: impl FnOnce() -> bool) -> bool {
    // SAFETY: this process runs this one test, and the child ends without returning.
    match unsafe { libc::fork() } {
        0 => {
            let status = i32::from(!body());
            // SAFETY: ends the child at once.
            unsafe { libc::_exit(status) }
        }
        child => {
            let mut status = 0;
            // SAFETY: waits for the child made above.
            let ended = unsafe { libc::waitpid(child, &raw mut status, 0) };
            ended == child && libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
        }
    }
}

#[test]
fn a_child_has_its_own_copy() {
    in_a_child("a_child_has_its_own_copy", || {
        let arena = arena();
        let extent = take(&arena, 64 << 10);
        write(&arena, extent, 64 << 10, 4);
        let frozen = arena.freeze();
        let fine = forked(|| {
            drop(frozen);
            let as_it_was = crate::help::bytes(&arena, extent)
                .iter()
                .all(|&byte| byte == 4);
            let returned = arena.return_extents(&mut vec![extent]);
            let again = take(&arena, 64 << 10);
            write(&arena, again, 64 << 10, 5);
            as_it_was && returned.returned_bytes == 64 << 10
        });
        assert!(fine);
        assert!(
            crate::help::bytes(&arena, extent)
                .iter()
                .all(|&byte| byte == 4)
        );
    });
}

#[test]
fn a_child_need_not_get_the_memory() {
    in_a_child("a_child_need_not_get_the_memory", || {
        let options = ArenaOptions {
            keep_out_of_children: true,
            ..Default::default()
        };
        let arena = Arena::new(LinuxKernel, options).unwrap();
        let extent = take(&arena, MIB);
        write(&arena, extent, len(&arena, extent), 4);
        let fine = forked(|| {
            let gone = mappings(&arena).is_empty() && arena.resident().unwrap().rss_bytes == 0;
            // A child's own arena may lie at the same addresses, and survives the other's end.
            let own = Arena::new(LinuxKernel, options).unwrap();
            let fresh = take(&own, MIB);
            write(&own, fresh, len(&own, fresh), 9);
            // SAFETY: the copy is not used again; the parent's is another process's.
            drop(unsafe { std::ptr::read(&raw const arena) });
            gone && crate::help::bytes(&own, fresh)
                .iter()
                .all(|&byte| byte == 9)
        });
        assert!(fine);
        assert!(
            crate::help::bytes(&arena, extent)
                .iter()
                .all(|&byte| byte == 4)
        );
    });
}

#[test]
fn without_huge_pages_there_is_one_region() {
    in_a_child("without_huge_pages_there_is_one_region", || {
        if !has_huge_pages() {
            return;
        }
        rustix::thread::disable_transparent_huge_pages(true).unwrap();
        let arena = arena();
        assert_eq!(arena.ranges().len(), 1);
        let extent = take(&arena, 4 * MIB);
        write(&arena, extent, 64 << 10, 1);
        assert_eq!(arena.resident_of(extent).unwrap(), 64 << 10);
    });
}
