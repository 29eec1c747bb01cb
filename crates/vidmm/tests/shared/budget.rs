//! Who pays, and whose class and rank count.

use std::os::fd::AsFd;

use vidmm::{Class, Error, Outcome, SharedAllocation, SharedResource};

use crate::common::{MIB, alone};
use crate::puppet::{DISCARDED, Do, LEN, Puppet, held, pool};

const BYTES: u64 = LEN as u64;

#[test]
fn each_opener_pays_until_it_knows() {
    alone("budget::each_opener_pays_until_it_knows", || {
        let pool = pool(8 * BYTES);
        let ours = SharedAllocation::create(&pool, LEN).unwrap();
        assert_eq!(held(&pool), BYTES);
        let descriptor = ours.share().unwrap();
        let (mut other, opened) = Puppet::with(2 * BYTES, &descriptor);
        assert!(opened.is_ok());
        assert_eq!(other.go(Do::Held, 0), Ok(BYTES));
        ours.offer(Class::Low).unwrap();
        assert_eq!(other.go(Do::Offer, 0), Ok(0));
        assert_eq!(pool.trim(1), Ok(BYTES));
        assert_eq!(held(&pool), 0, "the discarder has its room back at once");
        assert_eq!(
            other.go(Do::Held, 0),
            Ok(BYTES),
            "the other does not know yet"
        );
        // It finds out when it needs room.
        assert_eq!(other.go(Do::Trim, 1), Ok(BYTES));
        assert_eq!(other.go(Do::Held, 0), Ok(0));
        assert_eq!(other.go(Do::Reclaim, 0), DISCARDED);
        assert_eq!(other.go(Do::Held, 0), Ok(BYTES));
        assert_eq!(ours.reclaim(), Ok(Outcome::Discarded));
        assert_eq!(held(&pool), BYTES);
        drop(ours);
        assert_eq!(held(&pool), 0);
        assert_eq!(other.go(Do::Close, 0), Ok(0));
        assert_eq!(other.go(Do::Held, 0), Ok(0));
    });
}

#[test]
fn what_cannot_be_paid_is_refused_and_changes_nothing() {
    let pool = pool(4 * BYTES);
    let shared = SharedAllocation::create(&pool, LEN).unwrap();
    let descriptor = shared.share().unwrap();
    let mut own = pool.allocate(3 * LEN).unwrap();
    let no_memory = |error| assert!(matches!(error, Error::NoMemory { .. }), "{error}");
    no_memory(SharedAllocation::open(&pool, descriptor.as_fd()).unwrap_err());
    no_memory(SharedAllocation::create(&pool, LEN).unwrap_err());
    no_memory(SharedAllocation::create(&pool, 5 * LEN).unwrap_err());
    assert_eq!(held(&pool), 4 * BYTES);
    // Room for what is reclaimed is made of what is offered, but never of itself.
    shared.offer(Class::Low).unwrap();
    assert_eq!(pool.trim(1), Ok(BYTES));
    let more = pool.allocate(LEN).unwrap();
    no_memory(shared.reclaim().unwrap_err());
    no_memory(shared.reclaim().unwrap_err());
    let more = more.offer(Class::High);
    assert_eq!(shared.reclaim(), Ok(Outcome::Discarded));
    assert!(!more.reclaim().is_ok_and(|more| more.is_intact()));
    own.lock_mut().unwrap()[0] = 1;
    // An allocation takes the shared one's room.
    shared.offer(Class::Low).unwrap();
    let _more = pool.allocate(LEN).unwrap();
    assert_eq!(held(&pool), 4 * BYTES);
}

/// A lower class of ours does not help as long as another opener's is higher.
#[test]
fn the_highest_class_of_all_counts() {
    alone("budget::the_highest_class_of_all_counts", || {
        let pool = pool(16 * BYTES);
        let shared = SharedAllocation::create(&pool, LEN).unwrap();
        let descriptor = shared.share().unwrap();
        let (mut other, _) = Puppet::with(16 * BYTES, &descriptor);
        for (ours, theirs) in [(Class::Low, 2), (Class::High, 0)] {
            let normal = pool.allocate(LEN).unwrap().offer(Class::Normal);
            shared.offer(ours).unwrap();
            assert_eq!(other.go(Do::Offer, theirs), Ok(0));
            assert_eq!(pool.trim(1), Ok(BYTES));
            assert_eq!(shared.reclaim(), Ok(Outcome::Intact), "{ours:?}, {theirs}");
            assert!(normal.reclaim().is_ok_and(|normal| !normal.is_intact()));
            assert!(other.go(Do::Reclaim, 0).is_ok());
        }
        // A dead one's class does not count.
        shared.offer(Class::Low).unwrap();
        assert_eq!(other.go(Do::Offer, 2), Ok(0));
        other.kill();
        let normal = pool.allocate(LEN).unwrap().offer(Class::Normal);
        assert_eq!(pool.trim(1), Ok(BYTES));
        assert_eq!(shared.reclaim(), Ok(Outcome::Discarded));
        assert!(normal.reclaim().is_ok_and(|normal| normal.is_intact()));
    });
}

#[test]
fn a_lower_budget_takes_it() {
    let pool = pool(16 * BYTES);
    let resource = SharedResource::create(&pool, &[MIB, MIB]).unwrap();
    let kept = SharedResource::create(&pool, &[MIB]).unwrap();
    resource.offer(Class::High).unwrap();
    pool.set_budget_bytes(2 * BYTES).unwrap();
    assert_eq!(held(&pool), BYTES);
    assert_eq!(kept.reclaim(), Ok(Outcome::Intact));
    assert!(resource.reclaim().is_err());
    pool.set_budget_bytes(3 * BYTES).unwrap();
    assert_eq!(resource.reclaim(), Ok(Outcome::Discarded));
    let stats = pool.stats_now();
    assert_eq!(stats.committed.count, 3);
    assert_eq!(stats.committed.bytes, 3 * BYTES);
    assert_eq!(
        (stats.discards[2].count, stats.discards[2].bytes),
        (1, 2 * BYTES)
    );
}
