//! What the tests at the level of the process share: processes of their own, and what the kernel
//! says about this one.
#![allow(dead_code, reason = "each test program uses a part")]
#![allow(unsafe_code, clippy::unwrap_used, clippy::print_stdout)]

use std::fs;
use std::ops::Range;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, ExitStatus, Output};
use std::time::{Duration, Instant};

pub(crate) const MIB: usize = 1 << 20;

/// Set for a process that is to run one test's body.
const CHILD: &str = "VIDMM_TEST_CHILD";

/// A process that takes longer is killed, and its test fails.
const CHILD_LIFE_S: u32 = 60;
const FORKED_LIFE_S: u32 = 20;

/// A condition that does not come true for so long fails the test.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// Whether this process was started to run the body of `test`; if so its time is limited.
pub(crate) fn is_child(test: &str) -> bool {
    let is_child = std::env::var(CHILD).is_ok_and(|name| name == test);
    if is_child {
        // SAFETY: it sets a timer that ends this process.
        unsafe { libc::alarm(CHILD_LIFE_S) };
    }
    is_child
}

/// This same program, to be started again for one test, without our variables.
pub(crate) fn command(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("VIDMM_") {
            command.env_remove(name);
        }
    }
    command.env(CHILD, test);
    command
}

/// Runs `body` in a process of its own and passes on what it skipped.
pub(crate) fn alone(test: &str, body: fn()) {
    alone_with(test, &[], body);
}

/// As [`alone`], with variables in the environment.
pub(crate) fn alone_with(test: &str, variables: &[(&str, &str)], body: fn()) {
    if is_child(test) {
        body();
        return;
    }
    let variables = variables.iter().copied();
    let output = command(test).envs(variables).output().unwrap();
    check_passed(test, &output);
}

/// The process ran its one test to its end, and well.
pub(crate) fn check_passed(test: &str, output: &Output) {
    pass_on_skips(output);
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{test}: {}\n{text}\n{errors}",
        output.status
    );
}

pub(crate) fn pass_on_skips(output: &Output) {
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter(|line| line.contains("SKIPPED"))
        .for_each(|line| println!("{line}"));
}

/// Forks, runs `body` in the child, and says how the child ended. The child leaves without
/// dropping what it shares with its parent.
pub(crate) fn forked(body: impl FnOnce()) -> ExitStatus {
    // SAFETY: the child runs on with this thread alone; it uses the memory allocator (which the C
    // library makes usable), vidmm, and ends without returning.
    match unsafe { libc::fork() } {
        0 => {
            // SAFETY: it sets a timer that ends this process.
            unsafe { libc::alarm(FORKED_LIFE_S) };
            let fine = catch_unwind(AssertUnwindSafe(body)).is_ok();
            // SAFETY: ends the child at once.
            unsafe { libc::_exit(i32::from(!fine)) }
        }
        -1 => panic!("fork: {}", std::io::Error::last_os_error()),
        child => {
            let mut status = 0;
            // SAFETY: waits for the child made above.
            let ended = unsafe { libc::waitpid(child, &raw mut status, 0) };
            assert_eq!(ended, child);
            ExitStatus::from_raw(status)
        }
    }
}

/// As [`forked`], and the child must end well.
#[track_caller]
pub(crate) fn in_fork(body: impl FnOnce()) {
    let status = forked(body);
    assert!(status.success(), "the child: {status}");
}

/// Looks again and again until it is true.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < WAIT_MAX, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The pattern number `seed` of a content; each page of each pattern differs from all others.
pub(crate) fn fill(bytes: &mut [u8], seed: u64) {
    for (number, page) in bytes.chunks_mut(4096).enumerate() {
        page.fill(u8::try_from(seed % 251).unwrap());
        let mark = (seed << 32 | u64::try_from(number).unwrap()).to_le_bytes();
        let len = page.len().min(mark.len());
        page[..len].copy_from_slice(&mark[..len]);
    }
}

/// Whether it is pattern number `seed`, every byte of it.
pub(crate) fn is_filled(bytes: &[u8], seed: u64) -> bool {
    let mut expected = vec![0; bytes.len()];
    fill(&mut expected, seed);
    bytes == expected
}

/// One mapping of this process.
#[derive(Debug, Default, Clone)]
pub(crate) struct Mapping {
    pub(crate) addresses: Range<u64>,
    pub(crate) permissions: String,
    pub(crate) rss_bytes: u64,
    pub(crate) huge_bytes: u64,
    pub(crate) flags: Vec<String>,
}

impl Mapping {
    pub(crate) fn has_flag(&self, flag: &str) -> bool {
        self.flags.iter().any(|other| other == flag)
    }
}

/// All mappings, from smaps.
pub(crate) fn mappings() -> Vec<Mapping> {
    let mut mappings: Vec<Mapping> = Vec::new();
    for line in fs::read_to_string("/proc/self/smaps").unwrap().lines() {
        let mut words = line.split_ascii_whitespace();
        let first = words.next().unwrap_or_default();
        if let Some((start, end)) = first.split_once('-') {
            let number = |text| u64::from_str_radix(text, 16).unwrap();
            mappings.push(Mapping {
                addresses: number(start)..number(end),
                permissions: words.next().unwrap_or_default().to_owned(),
                ..Mapping::default()
            });
            continue;
        }
        let mapping = mappings.last_mut().unwrap();
        let mut kib = || words.next().unwrap().parse::<u64>().unwrap();
        match first {
            "Rss:" => mapping.rss_bytes = kib() * 1024,
            "AnonHugePages:" => mapping.huge_bytes = kib() * 1024,
            "VmFlags:" => mapping.flags = words.map(str::to_owned).collect(),
            _ => {}
        }
    }
    mappings
}

/// How many mappings there are.
pub(crate) fn mapping_count() -> usize {
    fs::read_to_string("/proc/self/maps")
        .unwrap()
        .lines()
        .count()
}

/// The mapping that an address lies in.
pub(crate) fn mapping_of(address: usize) -> Option<Mapping> {
    let address = u64::try_from(address).unwrap();
    mappings()
        .into_iter()
        .find(|mapping| mapping.addresses.contains(&address))
}

/// A figure of a `Name:  123 kB` line, in bytes.
pub(crate) fn kib_line(path: &str, name: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .unwrap_or_else(|| panic!("{path} has no {name}"));
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kib * 1024
}

/// Memory of the machine that nobody has. `MemFree` alone leaves out what each processor keeps at
/// hand, which since Linux 6.7 may be hundreds of MiB.
pub(crate) fn machine_free_bytes() -> u64 {
    let zones = fs::read_to_string("/proc/zoneinfo").unwrap_or_default();
    let at_hand_pages: u64 = zones
        .lines()
        .filter_map(|line| {
            line.trim()
                .strip_prefix("count:")?
                .trim()
                .parse::<u64>()
                .ok()
        })
        .sum();
    let page_bytes = u64::try_from(rustix::param::page_size()).unwrap();
    kib_line("/proc/meminfo", "MemFree") + at_hand_pages * page_bytes
}

/// Private memory of this process that is in memory, by the kernel's own running count (which
/// is another than the walk behind smaps).
pub(crate) fn own_memory_bytes() -> u64 {
    kib_line("/proc/self/status", "RssAnon")
}

/// The threads that are agents of some pool.
pub(crate) fn agents() -> Vec<u32> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    tasks
        .filter_map(|task| {
            let task = task.ok()?;
            // A thread may end between our two looks.
            let name = fs::read_to_string(task.path().join("comm")).ok()?;
            let tid = task.file_name().to_str()?.parse().ok()?;
            (name.trim_end() == "vidmm-agent").then_some(tid)
        })
        .collect()
}

/// The one agent there is, waited for: it names itself.
pub(crate) fn agent() -> u32 {
    wait_until("an agent", || !agents().is_empty());
    let all = agents();
    assert_eq!(all.len(), 1, "one pool, one agent");
    all[0]
}

/// What `/proc/self/task/TID/status` says in the line `name`.
pub(crate) fn thread_line(tid: u32, name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/self/task/{tid}/status")).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name}"))
        .trim()
        .to_owned()
}

/// How many descriptors are open, without the one that looks.
pub(crate) fn descriptor_count() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count() - 1
}
