//! Offer and reclaim of intact memory, by evidence: a million pairs run in a thread that the kernel
//! would kill, with its process, for any system call and any look at a clock, while every lock
//! of the engine is held by somebody else, and the allocator counts.
#![cfg(target_os = "linux")]
#![allow(unsafe_code, clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use common::{MIB, command, is_child, pass_on_skips, wait_until};
use vidmm::{
    Allocation, BATCH_MAX, Candidate, Class, OldestFirst, Outcome, Policy, Pool, PressureMode, Rank,
};

const PAIRS: u64 = 1_000_000;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count_one() {
    ALLOCATIONS.set(ALLOCATIONS.get() + 1);
}

// SAFETY: all is the system allocator's; counting touches a plain number of this thread.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count_one();
        // SAFETY: handed on to the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        count_one();
        // SAFETY: handed on to the caller.
        unsafe { System.dealloc(start, layout) };
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Lets the kernel kill this process at this thread's next system call that is not a write to
/// standard output or the process's end; then at its next look at the processor's clock.
fn seal() {
    // SAFETY: from here on a read of the time stamp counter is a fault, also from within the
    // C library.
    if unsafe { libc::prctl(libc::PR_SET_TSC, libc::PR_TSC_SIGSEGV) } != 0 {
        println!("SKIPPED: this machine cannot forbid clocks; only system calls are caught");
    }
    let number = |call: libc::c_long| u32::try_from(call).unwrap();
    // SAFETY: each builds one instruction of the filter from numbers.
    let statement = |code: u32, k| unsafe { libc::BPF_STMT(u16::try_from(code).unwrap(), k) };
    let jump = |k, yes, no| {
        let code = u16::try_from(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K).unwrap();
        // SAFETY: as above.
        unsafe { libc::BPF_JUMP(code, k, yes, no) }
    };
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let answer = libc::BPF_RET | libc::BPF_K;
    let mut filter = [
        // The call's number; then, for a write, its first argument.
        statement(load, 0),
        jump(number(libc::SYS_exit_group), 3, 0),
        jump(number(libc::SYS_write), 0, 3),
        statement(load, 16),
        jump(1, 0, 1),
        statement(answer, libc::SECCOMP_RET_ALLOW),
        statement(answer, libc::SECCOMP_RET_KILL_PROCESS),
    ];
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).unwrap(),
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: it gives up rights that this process will not need.
    let without_rights = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(without_rights, 0);
    // SAFETY: the program is whole and the kernel copies it.
    let sealed = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            &raw const program,
        )
    };
    if sealed != 0 {
        println!(
            "SKIPPED: no filter for system calls here: {}",
            std::io::Error::last_os_error()
        );
        std::process::exit(0);
    }
}

/// Does the work sealed, writes how often and at how many allocations, and ends the process.
fn sealed(work: impl FnOnce() -> u64) -> ! {
    seal();
    let before = ALLOCATIONS.get();
    let count = work();
    let allocations = ALLOCATIONS.get() - before;
    let mut line = [b' '; 64];
    writeln!(&mut line[..], "\ndone {count} allocations {allocations}").unwrap();
    // SAFETY: the buffer is as long as said; to standard output, as the filter allows.
    unsafe { libc::write(1, line.as_ptr().cast(), line.len()) };
    // SAFETY: ends the process at once, whatever the C library would do first.
    unsafe { libc::syscall(libc::SYS_exit_group, 0) };
    unreachable!("the process has ended");
}

/// Runs `body`, which ends in [`sealed`], in a process of its own. `None` where it is skipped.
fn run_sealed(test: &str, body: fn()) -> Option<Output> {
    if is_child(test) {
        body();
        unreachable!("the process ends sealed");
    }
    let output = command(test).output().unwrap();
    pass_on_skips(&output);
    let skipped = String::from_utf8_lossy(&output.stdout).contains("SKIPPED: no filter");
    (!skipped).then_some(output)
}

/// The process did so many operations sealed, without an allocation.
fn expect_done(test: &str, operations: u64, body: fn()) {
    expect_line(test, &format!("done {operations} allocations 0"), body);
}

fn expect_line(test: &str, wanted: &str, body: fn()) {
    let Some(output) = run_sealed(test, body) else {
        return;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{} (31 is a system call, 11 may be a clock)\n{text}{errors}",
        output.status
    );
    let done = text.lines().filter(|line| line.trim().starts_with(wanted));
    assert_eq!(done.count(), 1, "not {wanted}: {text}");
}

/// The process was killed for what it did.
fn expect_killed(test: &str, by: &[i32], body: fn()) {
    let Some(output) = run_sealed(test, body) else {
        return;
    };
    let signal = output.status.signal();
    assert!(
        signal.is_some_and(|signal| by.contains(&signal)),
        "{}: it was not noticed",
        output.status
    );
}

fn pool() -> Pool {
    pool_with(Arc::new(OldestFirst))
}

fn pool_with(policy: Arc<dyn Policy>) -> Pool {
    let builder = Pool::builder()
        .budget_bytes(256 << 20)
        .pressure(PressureMode::Off)
        .policy(policy);
    builder.build().unwrap()
}

fn allocation(pool: &Pool, len_bytes: usize) -> Allocation {
    let mut allocation = pool.options().allocate_shared(len_bytes).unwrap();
    allocation.lock_mut().unwrap().fill(1);
    allocation
}

/// A million offers and reclaims, over sizes and classes.
fn pairs(allocations: &[Allocation]) -> u64 {
    let classes = [Class::Low, Class::Normal, Class::High, Class::Auto];
    let mut done = 0;
    while done < PAIRS {
        for allocation in allocations {
            for class in classes {
                let offered = allocation.offer(class).is_ok();
                let intact = allocation.reclaim() == Ok(Outcome::Intact);
                done += u64::from(offered && intact);
            }
        }
    }
    done
}

fn some_of_all_sizes(pool: &Pool) -> Vec<Allocation> {
    [4096, 64 << 10, 3 * MIB, 4 * MIB, 64 * MIB]
        .map(|len_bytes| allocation(pool, len_bytes))
        .into()
}

#[test]
fn a_million_pairs_make_no_system_call_and_allocate_nothing() {
    let name = "a_million_pairs_make_no_system_call_and_allocate_nothing";
    expect_done(name, PAIRS, || {
        let pool = pool();
        let allocations = some_of_all_sizes(&pool);
        sealed(|| pairs(&allocations));
    });
}

/// Lists are offered and reclaimed whole, so often.
const ROUNDS: u64 = 20;

fn lists(len: usize) {
    let pool = pool();
    let list: Vec<Allocation> = (0..len).map(|_| allocation(&pool, 4096)).collect();
    let mut outcomes = vec![Outcome::Discarded; len];
    sealed(|| {
        let mut intact = 0;
        for _ in 0..ROUNDS {
            outcomes.fill(Outcome::Discarded);
            let offered = pool.offer_list(&list, Class::Normal).is_ok();
            let reclaimed = pool.reclaim_list(&list, &mut outcomes).is_ok();
            let all = outcomes.iter().all(|&outcome| outcome == Outcome::Intact);
            intact += u64::from(offered && reclaimed && all) * outcomes.len() as u64;
        }
        intact
    });
}

#[test]
fn lists_of_1024_intact_items_allocate_nothing_and_make_no_system_call() {
    let name = "lists_of_1024_intact_items_allocate_nothing_and_make_no_system_call";
    expect_done(name, 1024 * ROUNDS, || lists(1024));
}

#[test]
fn the_longest_lists_allocate_nothing_and_make_no_system_call() {
    let name = "the_longest_lists_allocate_nothing_and_make_no_system_call";
    assert_eq!(BATCH_MAX, 10_240);
    expect_done(name, 10_240 * ROUNDS, || lists(BATCH_MAX));
}

#[test]
fn untouched_memory_comes_and_goes_without_a_system_call() {
    let name = "untouched_memory_comes_and_goes_without_a_system_call";
    // Bookkeeping may ask the allocator for memory; the filter lets nothing through to the kernel.
    expect_line(name, "done 10000 ", || {
        let pool = pool();
        let allocate = |_: &u64| pool.allocate(64 << 10).is_ok();
        // A handle rests while 16,384 others are freed: until then the table grows.
        assert_eq!((0..40_000).filter(allocate).count(), 40_000);
        sealed(|| (0..10_000).filter(allocate).count() as u64);
    });
}

static CLOSED: AtomicBool = AtomicBool::new(false);

/// Stands still for good, for others to see that they need not wait.
fn stand_still() -> ! {
    CLOSED.store(true, Ordering::SeqCst);
    loop {
        std::thread::park();
    }
}

unsafe extern "C" fn stop_this_fork() {
    if std::thread::current().name() == Some("forks") {
        stand_still();
    }
}

/// Makes a pool, and a thread that is inside `fork` for good, with every gate closed: handlers
/// run in the reverse order of registration, so that ours comes after the pool's.
fn behind_closed_gates() -> (Pool, Vec<Allocation>) {
    // SAFETY: the handler lives as long as the process and does not unwind.
    let registered = unsafe { libc::pthread_atfork(Some(stop_this_fork), None, None) };
    assert_eq!(registered, 0);
    let pool = pool();
    let allocations = some_of_all_sizes(&pool);
    let forks = std::thread::Builder::new().name("forks".to_owned());
    let fork = || {
        // SAFETY: it does not return from its handlers.
        unsafe { libc::fork() };
    };
    forks.spawn(fork).unwrap();
    wait_until("a fork under way", || CLOSED.load(Ordering::SeqCst));
    (pool, allocations)
}

#[test]
fn pairs_do_not_pass_the_gate_that_a_fork_has_closed() {
    let name = "pairs_do_not_pass_the_gate_that_a_fork_has_closed";
    expect_done(name, PAIRS, || {
        let (_pool, allocations) = behind_closed_gates();
        sealed(|| pairs(&allocations));
    });
}

#[test]
fn control_a_slow_call_is_stopped_by_the_closed_gate() {
    let name = "control_a_slow_call_is_stopped_by_the_closed_gate";
    expect_killed(name, &[libc::SIGSYS], || {
        let (pool, _allocations) = behind_closed_gates();
        sealed(|| u64::from(pool.allocate(4096).is_ok()));
    });
}

/// Ranks nothing: whoever asks it stands still, with the reclaimer's lock in hand.
#[derive(Debug)]
struct Holding;

impl Policy for Holding {
    fn name(&self) -> &'static str {
        "holding"
    }

    fn rank(&self, _: &Candidate) -> Rank {
        stand_still()
    }
}

/// Makes a pool, and a thread that is ranking victims for good.
fn during_a_scan() -> (Pool, Vec<Allocation>) {
    let pool = pool_with(Arc::new(Holding));
    let allocations = some_of_all_sizes(&pool);
    let bait = allocation(&pool, 4096);
    bait.offer(Class::High).unwrap();
    let scanned = pool.clone();
    std::thread::spawn(move || {
        let _bait = bait;
        scanned.trim(u64::MAX)
    });
    wait_until("a scan under way", || CLOSED.load(Ordering::SeqCst));
    (pool, allocations)
}

#[test]
fn pairs_do_not_wait_for_a_scan_of_victims() {
    let name = "pairs_do_not_wait_for_a_scan_of_victims";
    expect_done(name, PAIRS, || {
        let (_pool, allocations) = during_a_scan();
        sealed(|| pairs(&allocations));
    });
}

#[test]
fn control_making_room_waits_for_the_scan() {
    let name = "control_making_room_waits_for_the_scan";
    expect_killed(name, &[libc::SIGSYS], || {
        let (pool, _allocations) = during_a_scan();
        sealed(|| u64::from(pool.trim(u64::MAX).is_ok()));
    });
}

#[test]
fn control_a_system_call_is_noticed() {
    let name = "control_a_system_call_is_noticed";
    expect_killed(name, &[libc::SIGSYS], || {
        sealed(|| {
            // SAFETY: it has no effect.
            let parent = unsafe { libc::syscall(libc::SYS_getppid) };
            u64::from(parent > 0)
        });
    });
}

#[test]
fn control_a_clock_is_noticed() {
    let name = "control_a_clock_is_noticed";
    // Where clocks cannot be forbidden, reading one may need no system call.
    if !cfg!(target_arch = "x86_64") {
        println!("SKIPPED: clocks cannot be forbidden on this processor");
        return;
    }
    expect_killed(name, &[libc::SIGSYS, libc::SIGSEGV], || {
        sealed(|| u64::from(Instant::now().elapsed().as_secs() < 1));
    });
}

#[test]
fn control_an_allocation_is_counted() {
    let before = ALLOCATIONS.get();
    drop(std::hint::black_box(Box::new(before)));
    assert_eq!(ALLOCATIONS.get() - before, 2);
}
