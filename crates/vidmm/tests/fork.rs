//! What `fork` leaves to the child: its own copy of everything, nothing shared - or, if the pool
//! was made so, nothing at all.
#![cfg(target_os = "linux")]
#![allow(unsafe_code, clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use common::{
    MIB, agents, alone, descriptor_count, fill, forked, in_fork, is_filled, mapping_of, wait_until,
};
use vidmm::{
    Allocation, Class, Error, ForkMode, Outcome, Pool, PressureMode, Purgeable, Reclaimed, State,
};

fn pool() -> Pool {
    Pool::builder().budget_bytes(64 << 20).build().unwrap()
}

fn pool_left_behind() -> Pool {
    let builder = Pool::builder().budget_bytes(64 << 20).fork(ForkMode::Drop);
    builder.build().unwrap()
}

fn filled(pool: &Pool, len_bytes: usize, seed: u64) -> Allocation {
    let mut allocation = pool.options().allocate_shared(len_bytes).unwrap();
    fill(&mut allocation.lock_mut().unwrap(), seed);
    allocation
}

fn holds(allocation: &Allocation, seed: u64) -> bool {
    is_filled(&allocation.lock().unwrap(), seed)
}

/// One of each region: small pages and huge ones.
const SIZES: [usize; 2] = [MIB, 4 * MIB];

#[test]
fn contents_are_as_they_were() {
    alone("contents_are_as_they_were", || {
        let pool = pool();
        for len_bytes in SIZES {
            let committed = filled(&pool, len_bytes, 1);
            let offered = filled(&pool, len_bytes, 2);
            let discarded = filled(&pool, len_bytes, 3);
            discarded.offer(Class::Low).unwrap();
            pool.trim(u64::MAX).unwrap();
            assert_eq!(discarded.state(), State::Discarded);
            offered.offer(Class::High).unwrap();
            in_fork(|| {
                assert!(holds(&committed, 1));
                assert_eq!(offered.state(), State::Offered);
                assert_eq!(offered.reclaim(), Ok(Outcome::Intact));
                assert!(holds(&offered, 2));
                assert_eq!(discarded.reclaim(), Ok(Outcome::Discarded));
                drop(discarded.lock().unwrap());
                // And in a child of the child.
                in_fork(|| assert!(holds(&committed, 1) && holds(&offered, 2)));
            });
            assert_eq!(offered.state(), State::Offered);
            assert_eq!(discarded.state(), State::Discarded);
            assert_eq!(offered.reclaim(), Ok(Outcome::Intact));
            assert!(holds(&committed, 1) && holds(&offered, 2));
        }
    });
}

#[test]
fn what_a_child_does_the_parent_does_not_see() {
    alone("what_a_child_does_the_parent_does_not_see", || {
        let pool = pool();
        for len_bytes in SIZES {
            let mut written = filled(&pool, len_bytes, 1);
            let destroyed = filled(&pool, len_bytes, 2);
            let discarded = filled(&pool, len_bytes, 3);
            discarded.offer(Class::Normal).unwrap();
            let resident = pool.resident().unwrap().total_bytes();
            let stats = pool.stats_now();
            let child = {
                let mut lost = Some(destroyed);
                let status = forked(|| {
                    fill(&mut written.lock_mut().unwrap(), 9);
                    drop(lost.take());
                    assert!(pool.trim(u64::MAX).unwrap() >= 2 * len_bytes as u64);
                    assert_eq!(discarded.reclaim(), Ok(Outcome::Discarded));
                    // The memory it gave back is used anew, in the child only.
                    let _own: Vec<_> = (0..4).map(|seed| filled(&pool, len_bytes, seed)).collect();
                    pool.set_budget_bytes(0).unwrap();
                });
                assert!(status.success(), "{status}");
                lost.unwrap()
            };
            assert_eq!(pool.stats_now(), stats);
            assert_eq!(pool.budget_bytes(), 64 << 20);
            assert_eq!(pool.resident().unwrap().total_bytes(), resident);
            assert!(holds(&written, 1) && holds(&child, 2));
            assert_eq!(discarded.reclaim(), Ok(Outcome::Intact));
            assert!(holds(&discarded, 3));
        }
    });
}

#[test]
fn guards_and_drops_live_on_in_both() {
    alone("guards_and_drops_live_on_in_both", || {
        let pool = pool();
        let mut committed = pool.allocate(MIB).unwrap();
        fill(&mut committed.lock_mut().unwrap(), 1);
        let shared = filled(&pool, MIB, 2);
        let offered = pool.allocate(MIB).unwrap().offer(Class::Low);
        let mut purgeable = Purgeable::new(&pool, MIB, Class::Low).unwrap();
        let rebuild = |bytes: &mut [u8]| -> Result<(), Error> {
            fill(bytes, 3);
            Ok(())
        };
        let mut writing = committed.lock_mut().unwrap();
        let reading = shared.lock().unwrap();
        let using = purgeable.get_or_rebuild(rebuild).unwrap();
        let mut owned = Some((offered, pool.clone()));
        // In the child all of these end, then the child goes on; in the parent they are untouched.
        let status = forked(|| {
            assert!(is_filled(&writing, 1) && is_filled(&reading, 2) && is_filled(&using, 3));
            writing[0] = 77;
            assert_eq!(shared.offer(Class::Low), Err(Error::Locked));
            // SAFETY: the child ends without using or dropping the originals again.
            drop(unsafe { std::ptr::read(&raw const reading) });
            // SAFETY: as above.
            drop(unsafe { std::ptr::read(&raw const writing) });
            // SAFETY: as above.
            drop(unsafe { std::ptr::read(&raw const using) });
            assert_eq!(shared.offer(Class::Low), Ok(()));
            let (offered, other) = owned.take().unwrap();
            let again = match offered.reclaim().unwrap() {
                Reclaimed::Intact(again) => again,
                Reclaimed::Discarded(_) => panic!("nothing was discarded"),
            };
            drop((again, other));
            assert_eq!(shared.reclaim(), Ok(Outcome::Intact));
        });
        assert!(status.success(), "{status}");
        assert!(is_filled(&writing, 1) && is_filled(&reading, 2) && is_filled(&using, 3));
        assert_eq!(shared.offer(Class::Low), Err(Error::Locked));
        drop((reading, writing, using));
        assert_eq!(shared.offer(Class::Low), Ok(()));
        assert!(owned.unwrap().0.reclaim().unwrap().is_intact());
    });
}

/// Its agent acts: a debt, which only the agent's tick can settle, is settled.
fn expect_agent_to_act(pool: &Pool) {
    let len_bytes = 2 * MIB + 4096;
    let victim = filled(pool, len_bytes, 5);
    let before = pool.budget_bytes();
    pool.set_budget_bytes(0).unwrap();
    assert!(pool.stats_now().room_bytes < 0);
    victim.offer(Class::Normal).unwrap();
    wait_until("the agent settles the debt", || {
        pool.resident().unwrap().total_bytes() == 0
    });
    assert_eq!(victim.state(), State::Discarded);
    pool.set_budget_bytes(before).unwrap();
}

#[test]
fn the_agent_starts_anew_in_the_child() {
    alone("the_agent_starts_anew_in_the_child", || {
        let before = descriptor_count();
        let pool = pool();
        let held = filled(&pool, MIB, 1);
        wait_until("the agent", || agents().len() == 1);
        let with_agent = descriptor_count();
        assert!(with_agent > before);
        held.offer(Class::Low).unwrap();
        in_fork(|| {
            assert!(agents().is_empty(), "no thread comes along");
            assert_eq!(descriptor_count(), before, "nor its descriptors");
            // Nothing that is not slow starts it.
            assert_eq!(held.reclaim(), Ok(Outcome::Intact));
            assert!(holds(&held, 1));
            assert!(agents().is_empty());
            drop(pool.allocate(4096).unwrap());
            wait_until("an agent of the child's own", || agents().len() == 1);
            assert_eq!(descriptor_count(), with_agent);
            drop(held);
            expect_agent_to_act(&pool);
        });
        assert_eq!(descriptor_count(), with_agent);
        assert_eq!(agents().len(), 1);
    });
}

#[test]
fn the_agent_starts_in_the_child_with_a_reclaim_that_needs_memory() {
    let name = "the_agent_starts_in_the_child_with_a_reclaim_that_needs_memory";
    alone(name, || {
        let pool = pool();
        let one = filled(&pool, MIB, 1);
        let list = [filled(&pool, MIB, 2), filled(&pool, MIB, 3)];
        one.offer(Class::Low).unwrap();
        pool.offer_list(&list, Class::Low).unwrap();
        pool.trim(u64::MAX).unwrap();
        in_fork(|| {
            assert_eq!(one.reclaim(), Ok(Outcome::Discarded));
            wait_until("an agent after a reclaim", || agents().len() == 1);
        });
        in_fork(|| {
            let mut outcomes = [Outcome::Intact; 2];
            pool.reclaim_list(&list, &mut outcomes).unwrap();
            assert_eq!(outcomes, [Outcome::Discarded; 2]);
            wait_until("an agent after a list", || agents().len() == 1);
        });
    });
}

#[test]
fn a_new_pool_works_in_the_child() {
    alone("a_new_pool_works_in_the_child", || {
        let parents = pool();
        let held = filled(&parents, MIB, 1);
        in_fork(|| {
            let own = pool();
            let fresh = filled(&own, 4 * MIB, 7);
            fresh.offer(Class::Low).unwrap();
            assert_eq!(fresh.reclaim(), Ok(Outcome::Intact));
            assert!(holds(&fresh, 7) && holds(&held, 1));
            drop(fresh);
            expect_agent_to_act(&own);
            // And children of the child know of both.
            in_fork(|| assert!(holds(&held, 1)));
        });
    });
}

/// Everything charged belongs to somebody: nothing was between two owners at the fork.
fn expect_whole_books(pool: &Pool) {
    let stats = pool.stats_now();
    assert!(stats.committed.bytes >= MIB as u64);
    let held = stats.committed.bytes + stats.offered_bytes() + stats.warm_bytes;
    let left = i64::try_from(stats.budget_bytes - held).unwrap();
    assert_eq!(stats.room_bytes, left, "{stats:?}");
}

/// Slow calls of all kinds, without end.
fn hammer(pool: &Pool, seed: u64, stop: &AtomicBool, calls: &AtomicU64) {
    let mut list: Vec<Allocation> = Vec::new();
    let mut outcomes = [Outcome::Intact; 8];
    while !stop.load(Ordering::Relaxed) {
        if let Ok(mut allocation) = pool.options().allocate_shared(64 << 10) {
            if let Ok(mut bytes) = allocation.lock_mut() {
                bytes[0] = 1;
            }
            list.push(allocation);
        }
        if list.len() == outcomes.len() {
            // Under this budget some of it fails; what matters is that locks are taken.
            let _ = pool.offer_list(&list, Class::Low);
            let _ = pool.trim(256 << 10);
            let _ = pool.reclaim_list(&list, &mut outcomes);
            list.clear();
            match seed % 3 {
                0 => drop(self::pool().allocate(4096)),
                1 => drop(pool.stats()),
                _ => drop(pool.pressure_sources()),
            }
        }
        calls.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn forks_under_way_of_slow_calls_leave_the_child_usable() {
    alone(
        "forks_under_way_of_slow_calls_leave_the_child_usable",
        || {
            let pool = pool();
            let kept = filled(&pool, MIB, 1);
            // In a pool that nobody trims.
            let calm = self::pool();
            let idle = filled(&calm, MIB, 2);
            idle.offer(Class::High).unwrap();
            let stop = Arc::new(AtomicBool::new(false));
            let calls = Arc::new(AtomicU64::new(0));
            let threads: Vec<_> = (0..4)
                .map(|seed| {
                    let (pool, stop, calls) = (pool.clone(), Arc::clone(&stop), Arc::clone(&calls));
                    std::thread::spawn(move || hammer(&pool, seed, &stop, &calls))
                })
                .collect();
            let mut last = 0;
            for _ in 0..60 {
                wait_until("calls under way", || {
                    calls.load(Ordering::Relaxed) > last + 10
                });
                last = calls.load(Ordering::Relaxed);
                // The child has its own alarm: one that waits for a lost lock dies of it.
                in_fork(|| {
                    expect_whole_books(&pool);
                    assert!(holds(&kept, 1));
                    assert_eq!(idle.reclaim(), Ok(Outcome::Intact));
                    assert!(holds(&idle, 2));
                    assert!(holds(&filled(&pool, MIB, 3), 3));
                    idle.offer(Class::High).unwrap();
                    calm.trim(u64::MAX).unwrap();
                    assert_eq!(idle.reclaim(), Ok(Outcome::Discarded));
                    pool.trim(64 << 10).unwrap();
                    expect_whole_books(&pool);
                    drop(filled(&self::pool(), 64 << 10, 4));
                });
            }
            stop.store(true, Ordering::Relaxed);
            threads
                .into_iter()
                .for_each(|thread| thread.join().unwrap());
            assert!(holds(&kept, 1));
            assert_eq!(idle.reclaim(), Ok(Outcome::Intact));
            assert!(holds(&idle, 2));
        },
    );
}

#[test]
fn a_pool_that_stays_behind_is_absent_in_the_child() {
    alone("a_pool_that_stays_behind_is_absent_in_the_child", || {
        let pool = pool_left_behind();
        let mut committed = pool.allocate(MIB).unwrap();
        fill(&mut committed.lock_mut().unwrap(), 1);
        let huge = filled(&pool, 4 * MIB, 2);
        let offered = filled(&pool, MIB, 3);
        offered.offer(Class::Low).unwrap();
        drop(filled(&pool, MIB, 4));
        assert!(pool.stats_now().warm_bytes > 0);
        let guard = committed.lock().unwrap();
        let addresses = [guard.as_ptr().addr(), huge.lock().unwrap().as_ptr().addr()];
        assert!(addresses.iter().all(|&start| mapping_of(start).is_some()));
        in_fork(|| {
            for start in addresses {
                assert!(mapping_of(start).is_none(), "it is not mapped here");
            }
            assert_eq!(pool.resident().unwrap().total_bytes(), 0);
            expect_all_refused(&pool, &huge, &offered);
            // SAFETY: the child ends without using or dropping the originals again.
            drop(unsafe { std::ptr::read(&raw const guard) });
            // SAFETY: as above.
            drop(unsafe { std::ptr::read(&raw const offered) });
            let stats = pool.stats_now();
            assert_eq!(stats.committed.count + stats.offered_bytes(), 0);
            assert_eq!(stats.warm_bytes, 0, "it holds nothing");
            assert_eq!(stats.room_bytes, 64 << 20);
            let own = pool_left_behind();
            let fresh = filled(&own, 4 * MIB, 7);
            assert!(holds(&fresh, 7));
            // The absent pool's end leaves alone what is at its addresses now.
            // SAFETY: as above.
            drop(unsafe { std::ptr::read(&raw const huge) });
            // SAFETY: as above.
            drop(unsafe { std::ptr::read(&raw const pool) });
            assert!(holds(&fresh, 7));
            drop(fresh);
            expect_agent_to_act(&own);
        });
        assert!(is_filled(&guard, 1) && holds(&huge, 2));
        assert_eq!(offered.reclaim(), Ok(Outcome::Intact));
        assert!(holds(&offered, 3));
    });
}

fn expect_all_refused(pool: &Pool, committed: &Allocation, offered: &Allocation) {
    let gone = [Error::LeftOut, Error::BadHandle];
    assert_eq!(pool.allocate(4096).unwrap_err(), Error::LeftOut);
    assert_eq!(pool.trim(1), Err(Error::LeftOut));
    assert_eq!(pool.set_budget_bytes(1 << 30), Err(Error::LeftOut));
    for allocation in [committed, offered] {
        assert!(gone.contains(&allocation.lock().unwrap_err()));
        assert!(gone.contains(&allocation.offer(Class::Low).unwrap_err()));
        assert!(gone.contains(&allocation.reclaim().unwrap_err()));
        assert_eq!(allocation.state(), State::Dead);
        assert_eq!(allocation.len_bytes(), 0);
        assert!(allocation.resident_bytes().is_err());
    }
    let mut outcomes = [Outcome::Intact; 2];
    let list = [committed, offered];
    let refused = pool.reclaim_list(&list, &mut outcomes).unwrap_err();
    assert!(gone.contains(&refused.error));
    let refused = pool.offer_list(&list, Class::Low).unwrap_err();
    assert!(gone.contains(&refused.error));
    assert_eq!(outcomes, [Outcome::Intact; 2], "nothing is answered");
}

#[test]
fn a_single_threaded_host_forks_too() {
    alone("a_single_threaded_host_forks_too", || {
        let builder = Pool::builder()
            .budget_bytes(64 << 20)
            .agent(vidmm::AgentMode::Host)
            .pressure(PressureMode::Off);
        let pool = builder.build().unwrap();
        let held = filled(&pool, MIB, 1);
        let before = descriptor_count();
        let fd = pool.agent_fd().unwrap();
        assert_eq!(descriptor_count(), before + 1);
        in_fork(|| {
            // The host's copy came along, the pool's own did not.
            assert!(descriptor_count() < before);
            pool.agent_run().unwrap();
            drop(pool.allocate(4096).unwrap());
            let own = pool.agent_fd().unwrap();
            pool.agent_run().unwrap();
            assert!(agents().is_empty());
            assert!(holds(&held, 1));
            drop(own);
        });
        drop(fd);
        pool.agent_run().unwrap();
        assert_eq!(descriptor_count(), before);
    });
}
