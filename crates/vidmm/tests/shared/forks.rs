//! What `fork` leaves of it to the child: nothing but errors, at any moment.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};

use vidmm::{Class, Error, Outcome, SharedAllocation, SharedResource, State};

use crate::common::{alone, in_fork, mapping_of, wait_until};
use crate::puppet::{Do, LEN, Puppet, has, held, pool, write};

const BUDGET: u64 = 64 << 20;
const BYTES: u64 = LEN as u64;

/// How many descriptors of shared memory this process has.
fn shared_files() -> usize {
    let entries = std::fs::read_dir("/proc/self/fd").unwrap();
    let links = entries.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
    links
        .filter(|link| link.to_string_lossy().contains("vidmm-shared"))
        .count()
}

#[test]
fn a_child_has_errors_and_can_open_it_itself() {
    alone("forks::a_child_has_errors_and_can_open_it_itself", || {
        let pool = pool(BUDGET);
        let shared = SharedAllocation::create(&pool, LEN).unwrap();
        write(&shared, 1);
        let descriptor = shared.share().unwrap();
        let offered = SharedResource::create(&pool, &[4096, 4096]).unwrap();
        offered.offer(Class::High).unwrap();
        let guard = shared.lock().unwrap();
        let address = guard.as_ptr() as usize;
        assert!(mapping_of(address).is_some());
        assert_eq!(shared_files(), 3);
        in_fork(|| {
            assert!(mapping_of(address).is_none());
            assert_eq!(shared_files(), 1, "two were the parent's openings");
            assert_eq!(held(&pool), 0, "the child pays for nothing of it");
            let not_here = Err(Error::NotInChild);
            assert_eq!(guard.read_at(&mut [0; 4], 0), not_here);
            assert_eq!(guard.write_at(&[0; 4], 0), not_here);
            assert_eq!(shared.lock().map(drop), Err(Error::NotInChild));
            assert_eq!(shared.reclaim(), Err(Error::NotInChild));
            assert_eq!(offered.reclaim().unwrap_err().error, Error::NotInChild);
            assert_eq!(
                offered.offer(Class::Low).unwrap_err().error,
                Error::NotInChild
            );
            assert_eq!(shared.share().map(drop), Err(Error::NotInChild));
            assert_eq!(pool.trim(u64::MAX), Ok(0));
            // SAFETY: the child ends without using or dropping the originals again.
            drop(unsafe { std::ptr::read(&raw const guard) });
            // SAFETY: as above.
            drop(unsafe { std::ptr::read(&raw const shared) });
            // SAFETY: as above.
            drop(unsafe { std::ptr::read(&raw const offered) });
            let (own, outcome) = SharedAllocation::open(&pool, descriptor.as_fd()).unwrap();
            assert_eq!(outcome, Outcome::Intact);
            assert!(has(&own, 1));
            write(&own, 2);
            in_fork(|| assert_eq!(own.reclaim(), Err(Error::NotInChild)));
            assert!(has(&own, 2));
        });
        assert_eq!(held(&pool), BYTES + 8192);
        drop(guard);
        assert!(
            has(&shared, 2),
            "the child wrote it through its own opening"
        );
        assert_eq!(offered.state(0), State::Offered);
        assert_eq!(offered.reclaim(), Ok(Outcome::Intact));
    });
}

/// A child that lives on does not keep its dead parent's hold.
#[test]
fn a_child_holds_nothing_for_its_parent() {
    alone("forks::a_child_holds_nothing_for_its_parent", || {
        let pool = pool(BUDGET);
        let shared = SharedAllocation::create(&pool, LEN).unwrap();
        let descriptor = shared.share().unwrap();
        let (mut parent, _) = Puppet::with(BUDGET, &descriptor);
        let child = parent.go(Do::Fork, 0).unwrap();
        shared.offer(Class::Low).unwrap();
        assert_eq!(pool.trim(1), Ok(0));
        parent.kill();
        // As soon as the child has come so far as to give up its copies.
        wait_until("the end of the hold", || pool.trim(1) == Ok(BYTES));
        // SAFETY: the grandchild, which nobody else ends.
        unsafe { libc::kill(libc::pid_t::try_from(child).unwrap(), libc::SIGKILL) };
    });
}

#[test]
fn forked_while_others_are_at_it() {
    alone("forks::forked_while_others_are_at_it", || {
        let pool = pool(BUDGET);
        let shared = SharedAllocation::create(&pool, LEN).unwrap();
        let descriptor = shared.share().unwrap();
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for seed in [1, 2] {
                let (pool, descriptor, ended) = (&pool, &descriptor, &ended);
                scope.spawn(move || {
                    while !ended.load(Ordering::Relaxed) {
                        let own = SharedAllocation::create(pool, LEN).unwrap();
                        let (other, _) = SharedAllocation::open(pool, descriptor.as_fd()).unwrap();
                        write(&own, seed);
                        own.offer(Class::Low).unwrap();
                        other.offer(Class::Low).unwrap();
                        // The other thread's trims take it, too.
                        pool.trim(1).unwrap();
                        let outcome = own.reclaim().unwrap();
                        if outcome == Outcome::Intact {
                            assert!(has(&own, seed));
                        }
                    }
                });
            }
            // And one that only looks, which must not keep a child from anything either.
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    assert_eq!(shared.resource().state(0), State::Committed);
                    shared.resource().set_priority(vidmm::PRIORITY_NORMAL);
                }
            });
            for _ in 0..50 {
                in_fork(|| {
                    assert_eq!(shared.reclaim(), Err(Error::NotInChild));
                    assert_eq!(held(&pool), 0);
                    let (own, _) = SharedAllocation::open(&pool, descriptor.as_fd()).unwrap();
                    write(&own, 9);
                    assert!(has(&own, 9));
                    drop(pool.allocate(LEN).unwrap());
                });
            }
            ended.store(true, Ordering::Relaxed);
        });
        assert_eq!(shared.reclaim(), Ok(Outcome::Intact));
    });
}
