//! Pressure of a made-up machine: the agent gives back what is offered, as much as is lacking, and
//! nothing else. What was given is read from the kernel.
#![cfg(target_os = "linux")]
#![allow(unsafe_code, clippy::unwrap_used)]

use std::fs;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tempfile::TempDir;
use vidmm_machine::BudgetSpec;
use vidmm_pool::{
    AgentMode, Class, Handle, LinuxKernel, Notice, Outcome, Pool, PoolOptions, Reason, Request,
    State,
};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// Of 16 GiB, the machine wants this much available.
const MARK_BYTES: u64 = 512 * MIB;

/// The few files that are read; the folder goes with it.
struct Machine {
    folder: TempDir,
}

impl Machine {
    /// 16 GiB, half of it available, this process in a cgroup without a limit.
    fn new() -> Self {
        let machine = Machine {
            folder: tempfile::tempdir().unwrap(),
        };
        machine.available(8 * GIB);
        machine.write("proc/self/cgroup", "0::/job\n");
        machine.write(
            "proc/self/mountinfo",
            "35 31 0:32 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup rw,nsdelegate\n",
        );
        machine.cgroup("max", 0);
        machine
    }

    /// Replaces a file at once: the agent may be reading.
    fn write(&self, path: &str, text: &str) {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let new = path.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, path).unwrap();
    }

    fn available(&self, bytes: u64) {
        let (total, available) = (16 * GIB / 1024, bytes / 1024);
        let text = format!("MemTotal: {total} kB\nMemFree: 1 kB\nMemAvailable: {available} kB\n");
        self.write("proc/meminfo", &text);
    }

    fn cgroup(&self, max: &str, used_bytes: u64) {
        self.write("cgroup/job/memory.max", max);
        self.write("cgroup/job/memory.current", &used_bytes.to_string());
        self.write("cgroup/job/memory.stat", "anon 1\ninactive_file 0\n");
        self.write("cgroup/job/cgroup.events", "populated 1\n");
    }

    fn root(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn pool(&self, agent: AgentMode) -> Arc<Pool> {
        let options = PoolOptions {
            budget: BudgetSpec::Bytes(64 * MIB),
            agent,
            ..PoolOptions::default()
        };
        let options = options.with_roots(self.root("proc"), self.root("cgroup"));
        Pool::new(LinuxKernel, options).unwrap()
    }
}

/// So much is one allocation: in the region of small pages, where what is lacking is given exactly.
const PIECE_BYTES: u64 = MIB;

fn written(pool: &Pool, count: u64) -> Vec<Handle> {
    let write = |number| {
        let handle = pool.create(&Request::of_size(PIECE_BYTES)).unwrap();
        let mapping = pool.lock(handle).unwrap();
        let byte = u8::try_from(number % 251 + 1).unwrap();
        // SAFETY: locked, and this test's alone.
        unsafe { mapping.start.write_bytes(byte, mapping.len_bytes) };
        pool.unlock(handle).unwrap();
        handle
    };
    (0..count).map(write).collect()
}

fn is_written(pool: &Pool, handle: Handle, number: u64) -> bool {
    let mapping = pool.lock(handle).unwrap();
    // SAFETY: locked, and nobody writes meanwhile.
    let bytes = unsafe { std::slice::from_raw_parts(mapping.start.as_ptr(), mapping.len_bytes) };
    let fine = bytes
        .iter()
        .all(|&byte| u64::from(byte) == number % 251 + 1);
    pool.unlock(handle).unwrap();
    fine
}

fn resident(pool: &Pool) -> u64 {
    pool.resident().unwrap().total_bytes()
}

fn given_because(pool: &Pool, reason: Reason) -> u64 {
    let place = Reason::ALL.iter().position(|&other| other == reason);
    pool.stats_now().discarded_bytes_by_reason[place.unwrap()]
}

/// How much the program was asked to trim, each time.
fn trims_asked(pool: &Pool) -> Arc<Mutex<Vec<u64>>> {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&asked);
    pool.subscribe(move |notice| {
        if let Notice::PleaseTrim { bytes } = notice {
            noted.lock().unwrap().push(bytes);
        }
    })
    .unwrap();
    asked
}

fn wait_readable(fd: BorrowedFd<'_>) {
    let timeout = Timespec {
        tv_sec: 10,
        tv_nsec: 0,
    };
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    assert_eq!(poll(&mut fds, Some(&timeout)), Ok(1), "no tick");
}

/// One check, at the next tick.
fn check(pool: &Pool) {
    let fd = pool.agent_fd().unwrap();
    wait_readable(fd.as_fd());
    pool.agent_run().unwrap();
}

/// Sixteen committed pieces and sixteen offered ones, checked at ticks under `lack_bytes`.
fn expect_given(reason: Reason, lack_bytes: u64, press: fn(&Machine, u64), relax: fn(&Machine)) {
    let machine = Machine::new();
    let pool = machine.pool(AgentMode::Host);
    let pieces = written(&pool, 32);
    let (committed, offered) = pieces.split_at(16);
    let asked = trims_asked(&pool);
    pool.offer_list(offered, Class::Normal).unwrap();
    let full = resident(&pool);
    assert_eq!(full, 32 * PIECE_BYTES);
    check(&pool);
    assert_eq!(resident(&pool), full, "nothing presses");
    press(&machine, lack_bytes);
    check(&pool);
    assert_eq!(resident(&pool), full - lack_bytes);
    assert_eq!(given_because(&pool, reason), lack_bytes);
    relax(&machine);
    check(&pool);
    assert_eq!(
        resident(&pool),
        full - lack_bytes,
        "nothing presses any more"
    );
    // The oldest went, whole; the others are intact.
    let gone = lack_bytes / PIECE_BYTES;
    for (number, &handle) in (16..).zip(offered) {
        let outcome = pool.reclaim(handle).unwrap();
        assert_eq!(outcome == Outcome::Discarded, number < 16 + gone);
        assert!(outcome == Outcome::Discarded || is_written(&pool, handle, number));
    }
    // What is not offered does not go, however hard it presses.
    pool.trim(u64::MAX).unwrap();
    pool.agent_run().unwrap();
    assert_eq!(*asked.lock().unwrap(), [], "what was offered sufficed");
    press(&machine, GIB);
    check(&pool);
    // But the program is asked for it.
    pool.agent_run().unwrap();
    assert_eq!(asked.lock().unwrap().len(), 1);
    assert!(asked.lock().unwrap()[0] > 0);
    for (number, &handle) in (0..).zip(committed) {
        assert_eq!(pool.state(handle), Ok(State::Committed));
        assert!(is_written(&pool, handle, number));
    }
}

#[test]
fn little_available_memory_makes_the_agent_give_what_is_lacking() {
    expect_given(
        Reason::LowAvailable,
        6 * MIB,
        |machine, lack| machine.available(MARK_BYTES.saturating_sub(lack)),
        |machine| machine.available(8 * GIB),
    );
}

#[test]
fn a_near_limit_of_the_cgroup_makes_the_agent_give_what_is_lacking() {
    // Of 512 MiB, 16 are to be left.
    expect_given(
        Reason::CgroupLimit,
        5 * MIB,
        |machine, lack| machine.cgroup("536870912", 496 * MIB + lack),
        |machine| machine.cgroup("536870912", 100 * MIB),
    );
}

#[test]
fn the_thread_heeds_pressure_by_itself() {
    let machine = Machine::new();
    let pool = machine.pool(AgentMode::Thread);
    let pieces = written(&pool, 32);
    let (committed, offered) = pieces.split_at(16);
    pool.offer_list(offered, Class::High).unwrap();
    machine.available(MARK_BYTES - GIB / 4);
    let begun = Instant::now();
    while resident(&pool) > 16 * PIECE_BYTES {
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "nothing was given"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(given_because(&pool, Reason::LowAvailable), 16 * PIECE_BYTES);
    for (number, &handle) in (0..).zip(committed) {
        assert!(is_written(&pool, handle, number));
    }
}

#[test]
fn files_that_are_missing_or_nonsense_press_on_nobody() {
    let machine = Machine::new();
    let pool = machine.pool(AgentMode::Host);
    let pieces = written(&pool, 4);
    pool.offer_list(&pieces[..], Class::Low).unwrap();
    machine.write("proc/meminfo", "MemTotal: many kB\n");
    machine.write("cgroup/job/memory.max", "half\n");
    check(&pool);
    assert_eq!(resident(&pool), 4 * PIECE_BYTES);
    let sources: Vec<String> = pool
        .pressure_sources()
        .iter()
        .map(ToString::to_string)
        .collect();
    let named = |part: &str| sources.iter().any(|line| line.contains(part));
    assert!(named("meminfo") && named("memory.max"), "{sources:?}");
    fs::remove_dir_all(machine.root("proc")).unwrap();
    fs::remove_dir_all(machine.root("cgroup")).unwrap();
    check(&pool);
    assert_eq!(resident(&pool), 4 * PIECE_BYTES);
}
