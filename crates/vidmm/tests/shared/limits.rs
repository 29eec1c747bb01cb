//! The limits of openers, descriptors, files and generations.

use std::os::fd::AsFd;

use rustix::process::{Resource, Rlimit};
use vidmm::{Class, Error, Outcome, SharedAllocation, SharedError, SharedResource};

use crate::common::{MIB, alone, descriptor_count};
use crate::puppet::{LEN, has, held, pool, write};

const BUDGET: u64 = 64 << 20;

#[test]
fn as_many_openers_as_there_are_places() {
    let pool = pool(BUDGET);
    let shared = SharedAllocation::create(&pool, LEN).unwrap();
    let descriptor = shared.share().unwrap();
    let open = || SharedAllocation::open(&pool, descriptor.as_fd());
    let mut others: Vec<_> = (1..32).map(|_| open().unwrap()).collect();
    let too_many = Error::Shared(SharedError::TooManyOpeners);
    assert_eq!(open().map(drop), Err(too_many));
    assert_eq!(held(&pool), 32 * LEN as u64, "the refused one paid nothing");
    drop(others.remove(7));
    others.push(open().unwrap());
    assert_eq!(open().map(drop), Err(too_many));
}

#[test]
fn sizes_and_counts() {
    let pool = pool(BUDGET);
    let create = |lens: &[usize]| SharedResource::create(&pool, lens).map(drop);
    let refused = |lens: &[usize]| matches!(create(lens), Err(Error::Shared(_)));
    assert!(refused(&[]) && refused(&[0]) && refused(&[4096, 0]));
    assert!(refused(&[usize::MAX]) && refused(&[usize::MAX / 2, usize::MAX / 2]));
    assert!(refused(&vec![1; 1025]));
    assert_eq!(create(&vec![1; 1024]), Ok(()));
    assert!(matches!(create(&[1 << 40]), Err(Error::NoMemory { .. })));
    assert_eq!(held(&pool), 0);
}

#[test]
fn no_descriptor_left() {
    alone("limits::no_descriptor_left", || {
        let pool = pool(BUDGET);
        let shared = SharedAllocation::create(&pool, LEN).unwrap();
        write(&shared, 1);
        let descriptor = shared.share().unwrap();
        let before = held(&pool);
        let used = descriptor_count() as u64;
        for more in 0..4 {
            let limit = Rlimit {
                current: Some(used + more),
                maximum: rustix::process::getrlimit(Resource::Nofile).maximum,
            };
            rustix::process::setrlimit(Resource::Nofile, limit).unwrap();
            let none_left = Error::Shared(SharedError::Descriptors);
            let mut all = Vec::new();
            let refused = loop {
                match SharedAllocation::open(&pool, descriptor.as_fd()) {
                    Ok((open, _)) => all.push(open),
                    Err(error) => break error,
                }
            };
            assert_eq!(refused, none_left);
            assert_eq!(
                SharedAllocation::create(&pool, LEN).map(drop),
                Err(none_left)
            );
            assert_eq!(shared.share().map(drop), Err(none_left));
            all.clear();
            assert_eq!(held(&pool), before);
            assert!(has(&shared, 1));
        }
    });
}

#[test]
fn nothing_is_left_behind() {
    alone("limits::nothing_is_left_behind", || {
        let pool = pool(BUDGET);
        let life = || {
            let shared = SharedResource::create(&pool, &[MIB, 1, 4096]).unwrap();
            let descriptor = shared.share().unwrap();
            let (other, _) = SharedResource::open(&pool, descriptor.as_fd()).unwrap();
            shared.offer(Class::Low).unwrap();
            other.offer(Class::Low).unwrap();
            pool.trim(u64::MAX).unwrap();
            assert_eq!(other.reclaim(), Ok(Outcome::Discarded));
        };
        life();
        let descriptors = descriptor_count();
        for _ in 0..300 {
            life();
        }
        assert_eq!((descriptor_count(), held(&pool)), (descriptors, 0));
        let mappings = std::fs::read_to_string("/proc/self/maps").unwrap();
        assert!(!mappings.contains("vidmm-shared"), "{mappings}");
    });
}

/// A limit of file sizes is no signal that kills; and with few generations the content is safe when
/// they have run out.
#[test]
fn files_that_must_be_short() {
    alone("limits::files_that_must_be_short", || {
        let pool = pool(BUDGET);
        let limit_to = |bytes| {
            let limit = Rlimit {
                current: Some(bytes),
                maximum: rustix::process::getrlimit(Resource::Fsize).maximum,
            };
            rustix::process::setrlimit(Resource::Fsize, limit).unwrap();
        };
        // Header and data take a page each.
        let with_generations = |count: u64| 2 * 4096 + count * LEN as u64;
        limit_to(with_generations(1) - 1);
        let refused = SharedAllocation::create(&pool, LEN).unwrap_err();
        assert_eq!(
            refused,
            Error::Shared(SharedError::FileLimit {
                wanted_bytes: with_generations(1)
            })
        );
        assert_eq!(held(&pool), 0);
        limit_to(with_generations(3));
        let shared = SharedAllocation::create(&pool, LEN).unwrap();
        for seed in 0..5 {
            write(&shared, seed);
            shared.offer(Class::Low).unwrap();
            let left = seed < 2;
            assert_eq!(pool.trim(1).unwrap() > 0, left, "{seed}");
            let outcome = shared.reclaim().unwrap();
            assert_eq!(outcome == Outcome::Discarded, left);
            assert!(left || has(&shared, seed));
        }
    });
}

#[test]
fn without_proc() {
    alone("limits::without_proc", || {
        let pool = pool(BUDGET);
        let shared = SharedAllocation::create(&pool, LEN).unwrap();
        write(&shared, 1);
        let descriptor = shared.share().unwrap();
        let empty = tempfile::tempdir().unwrap();
        if std::os::unix::fs::chroot(empty.path()).is_err() {
            println!("SKIPPED: no right to change the root directory");
            return;
        }
        let no_proc = Error::Shared(SharedError::NoProc);
        assert_eq!(SharedAllocation::create(&pool, LEN).map(drop), Err(no_proc));
        let refused = SharedAllocation::open(&pool, descriptor.as_fd()).map(drop);
        assert_eq!(refused, Err(no_proc));
        assert_eq!(shared.share().map(drop), Err(no_proc));
        // What is open works on.
        shared.offer(Class::Low).unwrap();
        assert_eq!(pool.trim(1), Ok(LEN as u64));
        assert_eq!(shared.reclaim(), Ok(Outcome::Discarded));
        assert_eq!(held(&pool), LEN as u64);
    });
}
