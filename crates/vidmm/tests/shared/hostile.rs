//! An opener that keeps no rule: it spoils the content, and nothing else.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, SealFlags};
use vidmm::{Class, Error, SharedAllocation, SharedError, SharedResource};

use crate::common::{MIB, alone, fill, is_filled};
use crate::puppet::{LEN, held, pool};

const BUDGET: u64 = 64 << 20;

/// Writes anything anywhere in the first pages for ever, and makes holes.
fn scribble(descriptor: &OwnedFd, seed: u64) -> ! {
    let access = rustix::mm::ProtFlags::READ | rustix::mm::ProtFlags::WRITE;
    // SAFETY: a new mapping of the file.
    let mapped = unsafe {
        rustix::mm::mmap(
            std::ptr::null_mut(),
            8192,
            access,
            rustix::mm::MapFlags::SHARED,
            descriptor,
            0,
        )
    };
    let words = mapped.unwrap().cast::<std::sync::atomic::AtomicU64>();
    let mut random = seed | 1;
    let mut turn = 0_u64;
    loop {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        turn += 1;
        // The state word most of all.
        let place = if turn.is_multiple_of(4) {
            random as usize % 1024
        } else {
            8
        };
        let value = match turn % 3 {
            0 => random,
            1 => random << 33 >> 20,
            _ => (turn % 5) << 33,
        };
        // SAFETY: within the two pages.
        let word = unsafe { &*words.add(place) };
        word.store(value, std::sync::atomic::Ordering::Relaxed);
        if turn.is_multiple_of(10_000) {
            let how =
                rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
            let _ = rustix::fs::fallocate(descriptor, how, 0, 1 << 20);
            let _ = rustix::fs::ftruncate(descriptor, 0);
            let _ = rustix::fs::fcntl_add_seals(descriptor, SealFlags::WRITE);
        }
    }
}

#[test]
fn a_scribbler_spoils_the_content_only() {
    alone("hostile::a_scribbler_spoils_the_content_only", || {
        let pool = pool(BUDGET);
        let mut own = pool.allocate(MIB).unwrap();
        fill(&mut own.lock_mut().unwrap(), 1);
        let good = SharedAllocation::create(&pool, LEN).unwrap();
        crate::puppet::write(&good, 2);
        let bad = SharedResource::create(&pool, &[LEN, 4096]).unwrap();
        let descriptor = bad.share().unwrap();
        // SAFETY: the child scribbles until it is killed.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            // SAFETY: it sets a timer that ends this process.
            unsafe { libc::alarm(30) };
            scribble(&descriptor, 12345);
        }
        let begun = Instant::now();
        let (mut rounds, mut refused, mut discarded) = (0, 0, 0);
        while begun.elapsed() < Duration::from_secs(2) {
            rounds += 1;
            let turn = Instant::now();
            for index in [0, 1] {
                if let Ok(guard) = bad.lock(index) {
                    let mut bytes = [0; 4096];
                    assert_eq!(guard.read_at(&mut bytes, 0), Ok(4096));
                    assert_eq!(guard.write_at(&bytes, 0), Ok(4096));
                    // While it is locked: nothing is taken from under the guard.
                    refused += u32::from(bad.reclaim().is_err());
                    assert_eq!(guard.write_at(&bytes, 0), Ok(4096));
                }
            }
            bad.offer(Class::Low).unwrap();
            assert!(pool.trim(1).unwrap() <= LEN as u64 + 4096);
            match bad.reclaim() {
                Ok(outcome) => discarded += u32::from(outcome != vidmm::Outcome::Intact),
                Err(error) => {
                    let error = error.error;
                    assert!(matches!(error, Error::Shared(_)), "{error}");
                    refused += 1;
                }
            }
            match SharedResource::open(&pool, descriptor.as_fd()) {
                Ok((more, _)) => drop(more),
                Err(error) => assert!(
                    matches!(error, Error::Shared(_) | Error::NoMemory { .. }),
                    "{error}"
                ),
            }
            assert!(held(&pool) <= 4 * LEN as u64);
            assert!(turn.elapsed() < Duration::from_secs(1));
        }
        // SAFETY: the child made above.
        unsafe { libc::kill(pid, libc::SIGKILL) };
        // SAFETY: waits for it.
        unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
        println!("{rounds} rounds, {refused} refused, {discarded} discarded");
        assert!(refused > 0 && discarded > 0, "it was not hostile at all");
        assert!(is_filled(&own.lock().unwrap(), 1));
        assert!(crate::puppet::has(&good, 2));
        drop(bad);
        assert_eq!(held(&pool), MIB as u64 + LEN as u64);
    });
}

fn memory_file(len: u64, seals: SealFlags, content: &[u8]) -> OwnedFd {
    let file = rustix::fs::memfd_create("x", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING);
    let file = file.unwrap();
    rustix::fs::ftruncate(&file, len).unwrap();
    rustix::io::pwrite(&file, content, 0).unwrap();
    rustix::fs::fcntl_add_seals(&file, seals).unwrap();
    file
}

#[test]
fn descriptors_of_anything_else_are_refused() {
    let pool = pool(BUDGET);
    let all = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    let head = |numbers: [u32; 5]| {
        let mut bytes = b"vidmmshr".to_vec();
        bytes.extend(numbers.into_iter().flat_map(u32::to_ne_bytes));
        bytes
    };
    let (reader, _writer) = rustix::pipe::pipe().unwrap();
    let cases: Vec<(&str, OwnedFd)> = vec![
        ("a pipe", reader),
        ("a device", std::fs::File::open("/dev/null").unwrap().into()),
        ("a file", tempfile::tempfile().unwrap().into()),
        (
            "memory without seals",
            memory_file(1 << 20, SealFlags::empty(), &head([1; 5])),
        ),
        (
            "memory that can shrink",
            memory_file(1 << 20, SealFlags::GROW, &head([1; 5])),
        ),
        ("empty", memory_file(0, all, &[])),
        ("zeroes", memory_file(1 << 20, all, &[])),
        (
            "read-only",
            memory_file(1 << 20, all | SealFlags::WRITE, &head([1, 1, 0, 0, 0])),
        ),
        (
            "another format",
            memory_file(1 << 20, all, &head([2, 1, 0, 0, 0])),
        ),
        (
            "no allocations",
            memory_file(1 << 20, all, &head([1, 0, 0, 0, 0])),
        ),
        (
            "too many",
            memory_file(1 << 20, all, &head([1, u32::MAX, 0, 0, 0])),
        ),
        (
            "too much data",
            memory_file(1 << 20, all, &head([1, 1, u32::MAX, u32::MAX, 9])),
        ),
        (
            "an allocation of no bytes",
            memory_file(1 << 20, all, &head([1, 1, 0, 0, 0])),
        ),
        (
            "more data than file",
            memory_file(5000, all, &head([1, 1, 9000, 0, 0])),
        ),
    ];
    for (what, descriptor) in &cases {
        let refused = SharedAllocation::open(&pool, descriptor.as_fd()).map(drop);
        assert!(
            matches!(refused, Err(Error::Shared(_))),
            "{what}: {refused:?}"
        );
    }
    // A size that lies about the file: one page of content, and the file ends in it.
    let mut bytes = head([1, 1, 0, 0, 0]);
    bytes.resize(4096, 0);
    bytes.extend(8192_u64.to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());
    let short = memory_file(3 * 4096, all, &bytes);
    let refused = SharedAllocation::open(&pool, short.as_fd()).map(drop);
    assert_eq!(refused, Err(Error::Shared(SharedError::Damaged)));
    assert_eq!(held(&pool), 0);
    // A number that is no descriptor at all.
    let reader = rustix::pipe::pipe().unwrap().0;
    let number = reader.as_raw_fd();
    drop(reader);
    // SAFETY: it is not; what is asked about it is refused. Never dropped.
    let none = std::mem::ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(number) });
    let refused = SharedAllocation::open(&pool, none.as_fd()).map(drop);
    assert!(matches!(refused, Err(Error::Shared(_))), "{refused:?}");
}

/// Whoever takes all the locks keeps others out, and is told from the dead.
#[test]
fn all_places_taken_by_nobody() {
    let pool = pool(BUDGET);
    let shared = SharedAllocation::create(&pool, LEN).unwrap();
    let descriptor = shared.share().unwrap();
    for number in 1..32 {
        let lock = libc::flock {
            l_type: libc::F_WRLCK as _,
            l_whence: libc::SEEK_SET as _,
            l_start: (1 << 62) + number,
            l_len: 1,
            l_pid: 0,
        };
        // SAFETY: the command reads a lock.
        let taken =
            unsafe { libc::fcntl(descriptor.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) };
        assert_eq!(taken, 0);
    }
    let refused = SharedAllocation::open(&pool, descriptor.as_fd()).map(drop);
    assert_eq!(refused, Err(Error::Shared(SharedError::TooManyOpeners)));
    shared.offer(Class::Low).unwrap();
    assert_eq!(pool.trim(1), Ok(LEN as u64));
}
