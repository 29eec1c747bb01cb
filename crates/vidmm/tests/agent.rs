//! The agent as the kernel sees it: when its thread exists, what wakes it, what it does, and that
//! it goes with its pool.
#![cfg(target_os = "linux")]
#![allow(unsafe_code, clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use common::{
    MIB, agent, agents, alone, descriptor_count, fill, is_filled, kib_line, mapping_count,
    thread_line, wait_until,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use vidmm::{AgentMode, Allocation, Builder, Class, Outcome, Pool, State};

fn builder() -> Builder {
    Pool::builder().budget_bytes(64 << 20)
}

fn pool() -> Pool {
    builder().build().unwrap()
}

fn filled(pool: &Pool, len_bytes: usize, seed: u64) -> Allocation {
    let mut allocation = pool.options().allocate_shared(len_bytes).unwrap();
    fill(&mut allocation.lock_mut().unwrap(), seed);
    allocation
}

fn thread_count() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

#[test]
fn the_thread_exists_from_the_first_allocation_on_and_one_per_pool() {
    let name = "the_thread_exists_from_the_first_allocation_on_and_one_per_pool";
    alone(name, || {
        let (threads, descriptors) = (thread_count(), descriptor_count());
        let pool = pool();
        pool.trim(u64::MAX).unwrap();
        pool.set_budget_bytes(32 << 20).unwrap();
        assert!(pool.allocate(0).is_err() && pool.allocate(64 * MIB).is_err());
        let _ = (pool.stats_now(), pool.pressure_sources());
        assert_eq!(thread_count(), threads, "nothing was allocated");
        assert_eq!(descriptor_count(), descriptors);
        // The first allocation, by several threads at once.
        std::thread::scope(|scope| {
            for seed in 0..4 {
                let pool = &pool;
                scope.spawn(move || {
                    let first = filled(pool, MIB, seed);
                    assert!(is_filled(&first.lock().unwrap(), seed));
                });
            }
        });
        agent();
        assert_eq!(agents().len(), 1);
    });
}

#[test]
fn every_signal_is_blocked_in_its_thread_and_in_no_other() {
    alone(
        "every_signal_is_blocked_in_its_thread_and_in_no_other",
        || {
            // This thread's own: the harness's first thread may be starting others, which blocks
            // signals there for a moment.
            let tid = rustix::thread::gettid()
                .as_raw_nonzero()
                .get()
                .unsigned_abs();
            let before = thread_line(tid, "SigBlk");
            let pool = pool();
            let _held = pool.allocate(4096).unwrap();
            let blocked = u64::from_str_radix(&thread_line(agent(), "SigBlk"), 16).unwrap();
            // Nobody can block these two; the C library keeps the next two for itself.
            let exempt = [libc::SIGKILL, libc::SIGSTOP, 32, 33];
            for signal in (1..=64).filter(|signal| !exempt.contains(signal)) {
                assert!(blocked >> (signal - 1) & 1 == 1, "{signal} is not blocked");
            }
            assert_eq!(thread_line(tid, "SigBlk"), before);
        },
    );
}

/// How often the thread has gone to sleep by itself.
fn sleeps(tid: u32) -> u64 {
    let line = thread_line(tid, "voluntary_ctxt_switches");
    line.parse().unwrap()
}

/// Longer than two ticks of the slow timer.
const WINDOW: Duration = Duration::from_millis(2200);

/// Whether it did not wake once in a window. The first windows may see the way to its rest.
fn rests(tid: u32) -> bool {
    (0..4).any(|_| {
        let before = sleeps(tid);
        let begun = Instant::now();
        // The window is what is measured, not something to wait for.
        while begun.elapsed() < WINDOW {
            if sleeps(tid) != before {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        true
    })
}

#[test]
fn nothing_wakes_the_agent_while_nothing_is_held() {
    alone("nothing_wakes_the_agent_while_nothing_is_held", || {
        let pool = pool();
        let held = filled(&pool, MIB, 1);
        let agent = agent();
        // It does wake while something is held.
        let begun = sleeps(agent);
        wait_until("two ticks", || sleeps(agent) >= begun + 2);
        drop(held);
        pool.trim(u64::MAX).unwrap();
        assert_eq!(pool.resident().unwrap().total_bytes(), 0);
        assert!(rests(agent), "it wakes though nothing is held");
        // It comes back for what comes next.
        let held = filled(&pool, MIB, 2);
        let begun = sleeps(agent);
        wait_until("two ticks", || sleeps(agent) >= begun + 2);
        drop(held);
    });
}

/// A debt is left by a cut of the budget below what is committed; only the agent settles it when
/// memory is offered later.
fn expect_debt_settled(pool: &Pool, debtor: &Allocation, mut while_waiting: impl FnMut()) {
    let before = pool.budget_bytes();
    pool.set_budget_bytes(0).unwrap();
    assert!(pool.stats_now().room_bytes < 0);
    assert_eq!(debtor.state(), State::Committed);
    let resident = pool.resident().unwrap().total_bytes();
    assert!(resident >= debtor.charge_bytes());
    debtor.offer(Class::High).unwrap();
    let target = resident - debtor.charge_bytes();
    wait_until("the debt is settled", || {
        while_waiting();
        pool.resident().unwrap().total_bytes() <= target
    });
    assert_eq!(debtor.state(), State::Discarded);
    pool.set_budget_bytes(before).unwrap();
}

#[test]
fn a_debt_settles_when_memory_is_offered_later() {
    alone("a_debt_settles_when_memory_is_offered_later", || {
        let pool = pool();
        for len_bytes in [MIB, 4 * MIB] {
            expect_debt_settled(&pool, &filled(&pool, len_bytes, 1), || ());
        }
        let kept = filled(&pool, MIB, 2);
        expect_debt_settled(&pool, &filled(&pool, 4 * MIB, 1), || ());
        assert!(is_filled(&kept.lock().unwrap(), 2));
    });
}

#[test]
fn a_reclaim_that_takes_memory_wakes_a_resting_agent() {
    alone("a_reclaim_that_takes_memory_wakes_a_resting_agent", || {
        let pool = pool();
        let mut one = filled(&pool, MIB, 1);
        let agent = agent();
        one.offer(Class::Low).unwrap();
        pool.trim(u64::MAX).unwrap();
        assert!(rests(agent));
        assert_eq!(one.reclaim(), Ok(Outcome::Discarded));
        fill(&mut one.lock_mut().unwrap(), 4);
        expect_debt_settled(&pool, &one, || ());
    });
}

/// Whether the descriptor becomes readable in time.
fn readable(fd: BorrowedFd<'_>, within: Duration) -> bool {
    let timeout = Timespec {
        tv_sec: within.as_secs().cast_signed(),
        tv_nsec: within.subsec_nanos().into(),
    };
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    poll(&mut fds, Some(&timeout)).unwrap() == 1
}

#[test]
fn a_host_that_runs_the_agent_gets_no_thread() {
    alone("a_host_that_runs_the_agent_gets_no_thread", || {
        let threads = thread_count();
        let pool = builder().agent(AgentMode::Host).build().unwrap();
        let fd = pool.agent_fd().unwrap();
        assert!(!readable(fd.as_fd(), Duration::ZERO), "nothing is held");
        pool.agent_run().unwrap();
        let debtor = filled(&pool, 4 * MIB, 1);
        assert_eq!(thread_count(), threads);
        expect_debt_settled(&pool, &debtor, || {
            assert!(readable(fd.as_fd(), Duration::from_secs(10)), "a tick");
            pool.agent_run().unwrap();
        });
        // Nothing is held now: the next tick is the last.
        wait_until("rest", || {
            pool.agent_run().unwrap();
            !readable(fd.as_fd(), WINDOW)
        });
        let _held = filled(&pool, MIB, 2);
        assert!(readable(fd.as_fd(), Duration::from_secs(10)));
        pool.agent_run().unwrap();
        assert!(!readable(fd.as_fd(), Duration::ZERO), "it was served");
        assert_eq!(thread_count(), threads);
    });
}

#[test]
fn a_thousand_pools_leave_nothing_behind() {
    alone("a_thousand_pools_leave_nothing_behind", || {
        let live = |seed: u64| {
            let pool = pool();
            let kept = filled(&pool, 64 << 10, seed);
            let idle = filled(&pool, 4 * MIB, seed);
            idle.offer(Class::Low).unwrap();
            drop(pool);
            assert!(is_filled(&kept.lock().unwrap(), seed));
        };
        let (threads, descriptors) = (thread_count(), descriptor_count());
        let as_before = || thread_count() == threads && descriptor_count() == descriptors;
        // The C library's own caches settle in the first ones.
        (0..50).for_each(live);
        wait_until("the first agents' end", as_before);
        let before = (mapping_count(), kib_line("/proc/self/status", "VmSize"));
        (0..1000).for_each(live);
        wait_until("threads and descriptors as before", as_before);
        let after = (mapping_count(), kib_line("/proc/self/status", "VmSize"));
        // The C library keeps stacks and heaps of threads, up to a limit; a pool that stayed would
        // have some TiB, and two mappings at the least.
        assert!(after.0 < before.0 + 400, "mappings: {before:?}, {after:?}");
        assert!(
            after.1 < before.1 + (4 << 30),
            "bytes: {before:?}, {after:?}"
        );
    });
}
