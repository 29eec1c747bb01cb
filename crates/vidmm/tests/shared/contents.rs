//! What is in it, and who is told when it is lost.

use std::os::fd::AsFd;

use vidmm::{BatchError, Class, Error, Outcome, SharedAllocation, SharedResource, State};

use crate::common::alone;
use crate::puppet::{DISCARDED, Do, INTACT, LEN, Puppet, backed_bytes, has, pool, write};

const BUDGET: u64 = 64 << 20;

/// What the file keeps beside the content: header and data.
const BESIDE: u64 = 16 << 10;

#[test]
fn content_crosses_processes_and_is_discarded_only_by_all() {
    alone(
        "contents::content_crosses_processes_and_is_discarded_only_by_all",
        || {
            let pool = pool(BUDGET);
            let ours = SharedAllocation::create(&pool, LEN).unwrap();
            write(&ours, 1);
            let descriptor = ours.share().unwrap();
            let mut others: Vec<Puppet> = (0..3)
                .map(|_| {
                    let (puppet, opened) = Puppet::with(BUDGET, &descriptor);
                    assert_eq!(opened, INTACT);
                    puppet
                })
                .collect();
            for other in &mut others {
                assert_eq!(other.go(Do::Check, 1), Ok(1));
            }
            assert_eq!(others[0].go(Do::Write, 2), Ok(0));
            assert!(has(&ours, 2), "written by another");
            // All but one have offered it, whoever that one is.
            ours.offer(Class::Low).unwrap();
            for _ in 0..4 {
                assert_eq!(pool.trim(u64::MAX), Ok(0));
                assert_eq!(ours.reclaim(), Ok(Outcome::Intact));
                for other in &mut others {
                    assert_eq!(other.go(Do::Offer, 0), Ok(0));
                    assert_eq!(other.go(Do::Trim, u64::MAX), Ok(0), "we hold it");
                }
                let mut last = others.remove(0);
                assert_eq!(last.go(Do::Reclaim, 0), INTACT);
                ours.offer(Class::Low).unwrap();
                assert_eq!(pool.trim(u64::MAX), Ok(0), "one holds it");
                others.push(last);
            }
            // A lock keeps it from being offered, and so from being discarded.
            let last = others.len() - 1;
            assert_eq!(others[last].go(Do::Check, 2), Ok(1));
            assert_eq!(others[last].go(Do::Offer, 0), Ok(0));
            // Ours has not been told anything yet: its offer is the fourth.
            assert!(backed_bytes(descriptor.as_fd()) >= LEN as u64);
            assert_eq!(others[0].go(Do::Trim, 1).unwrap(), LEN as u64);
            let left = backed_bytes(descriptor.as_fd());
            assert!(left <= BESIDE, "{left} bytes are not back with the kernel");
            // Each is told once.
            for other in &mut others {
                assert_eq!(other.go(Do::Reclaim, 0), DISCARDED);
                assert_eq!(other.go(Do::Reclaim, 0), INTACT);
                assert_eq!(other.go(Do::Offer, 0), Ok(0));
                assert_eq!(other.go(Do::Reclaim, 0), INTACT);
            }
            assert_eq!(others[1].go(Do::Write, 5), Ok(0));
            assert_eq!(ours.reclaim(), Ok(Outcome::Discarded));
            assert!(has(&ours, 5), "the new content is in one place for all");
            assert_eq!(ours.reclaim(), Ok(Outcome::Intact));
        },
    );
}

#[test]
fn locked_is_not_offered_and_offered_is_not_locked() {
    let pool = pool(BUDGET);
    let resource = SharedResource::create(&pool, &[5000, 1, 3 << 20]).unwrap();
    assert_eq!(resource.count(), 3);
    assert_eq!(
        [0, 1, 2, 3].map(|index| resource.len_bytes(index)),
        [5000, 1, 3 << 20, 0]
    );
    let guard = resource.lock(1).unwrap();
    assert_eq!(guard.len_bytes(), 1);
    let locked = BatchError {
        index: Some(1),
        error: Error::Locked,
    };
    assert_eq!(resource.offer(Class::Low), Err(locked));
    assert_eq!(resource.state(0), State::Committed, "nothing was offered");
    drop(guard);
    resource.offer(Class::Low).unwrap();
    assert_eq!(resource.lock(2).unwrap_err(), Error::Offered);
    assert_eq!(resource.state(2), State::Offered);
    assert_eq!(pool.trim(u64::MAX), Ok((3 << 20) + 3 * 4096));
    assert_eq!(resource.state(2), State::Discarded);
    assert_eq!(resource.lock(2).unwrap_err(), Error::Offered);
    assert_eq!(resource.offer(Class::High), Ok(()), "it stays discarded");
    assert_eq!(resource.reclaim(), Ok(Outcome::Discarded));
    let mut bytes = [1; 8192];
    assert_eq!(resource.lock(0).unwrap().read_at(&mut bytes, 0), Ok(5000));
    assert!(bytes[..5000].iter().all(|&byte| byte == 0));
    assert_eq!(resource.lock(3).unwrap_err(), Error::BadHandle);
}

#[test]
fn any_part_can_be_read_and_written() {
    let pool = pool(BUDGET);
    let shared = SharedAllocation::create(&pool, 4100).unwrap();
    let guard = shared.lock().unwrap();
    let mut expected = vec![0_u8; 4100];
    let near = |middle: usize| middle.saturating_sub(9)..middle + 10;
    let places = near(0).chain(near(2048)).chain(near(4095));
    let cases = places.flat_map(|at| (0..20).map(move |len| (at, len)));
    for (at, len) in cases {
        let bytes: Vec<u8> = (0..len).map(|n| (at + 3 * n + 1) as u8).collect();
        let fits = len.min(4100_usize.saturating_sub(at));
        assert_eq!(guard.write_at(&bytes, at), Ok(fits));
        if fits > 0 {
            expected[at..at + fits].copy_from_slice(&bytes[..fits]);
        }
        let mut all = vec![0; 5000];
        assert_eq!(guard.read_at(&mut all, 0), Ok(4100));
        assert_eq!(all[..4100], expected);
        let mut part = vec![0; len];
        assert_eq!(guard.read_at(&mut part, at), Ok(fits));
        assert_eq!(part[..fits], bytes[..fits]);
    }
    assert_eq!(guard.read_at(&mut [0; 4], 4100), Ok(0));
    assert_eq!(guard.read_at(&mut [0; 4], usize::MAX), Ok(0));
    assert_eq!(guard.write_at(&[0; 4], usize::MAX - 1), Ok(0));
}

/// Opening reclaims nothing and loses nothing; the first to come after a discard is told.
#[test]
fn opening_what_is_offered() {
    let pool = pool(BUDGET);
    let first = SharedAllocation::create(&pool, LEN).unwrap();
    write(&first, 3);
    first.offer(Class::Low).unwrap();
    let descriptor = first.share().unwrap();
    let (second, outcome) = SharedAllocation::open(&pool, descriptor.as_fd()).unwrap();
    assert_eq!(outcome, Outcome::Intact);
    assert!(has(&second, 3));
    assert_eq!(pool.trim(u64::MAX), Ok(0), "the second has not offered it");
    second.offer(Class::Low).unwrap();
    drop(second);
    assert_eq!(pool.trim(u64::MAX), Ok(LEN as u64));
    // Nobody has been told: whoever comes first is, and then it is theirs to rebuild.
    let open = || SharedAllocation::open(&pool, descriptor.as_fd()).unwrap();
    let (third, outcome) = open();
    assert_eq!(outcome, Outcome::Discarded);
    write(&third, 4);
    let (fourth, outcome) = open();
    assert_eq!(outcome, Outcome::Intact);
    assert!(has(&fourth, 4));
    assert_eq!(
        first.reclaim(),
        Ok(Outcome::Discarded),
        "it was not told yet"
    );
    assert!(has(&first, 4));
}

/// The old range is never used again, so that a late return of its pages hits nothing.
#[test]
fn a_late_return_is_harmless() {
    let pool = pool(BUDGET);
    let shared = SharedAllocation::create(&pool, LEN).unwrap();
    let descriptor = shared.share().unwrap();
    for seed in 1..20 {
        write(&shared, seed);
        // Everything in the file below the present content, again and again.
        let present = (seed - 1) * LEN as u64;
        let how = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
        if present > 0 {
            let data = 8192;
            rustix::fs::fallocate(&descriptor, how, data, present).unwrap();
        }
        assert!(has(&shared, seed));
        shared.offer(Class::Normal).unwrap();
        assert_eq!(pool.trim(u64::MAX), Ok(LEN as u64));
        assert!(backed_bytes(descriptor.as_fd()) <= BESIDE);
        assert_eq!(shared.reclaim(), Ok(Outcome::Discarded));
    }
}
