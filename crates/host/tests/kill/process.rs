//! The processes of the test, from outside: how they are started, stopped, killed and counted.

use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use vidmm_host::{Options, Server};

/// What a worker says begins with this: the test harness speaks, too.
pub(crate) const MARK: &str = "@ ";

fn this_program(role: &str, socket: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a test is a file"));
    command
        .args([
            "--exact",
            "another_process",
            "--nocapture",
            "--test-threads=1",
        ])
        .env("VIDMM_TEST_ROLE", role)
        .env("VIDMM_SOCKET", socket)
        .env("VIDMM_MODE", "shared")
        .env("VIDMM_PRESSURE", "off")
        .stdin(Stdio::null());
    command
}

fn send(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    kill_process(pid.expect("a process"), signal).expect("it is ours, and not waited for");
}

/// A manager in a process of its own.
#[derive(Debug)]
pub(crate) struct Manager {
    child: Child,
}

/// The manager's process.
pub(crate) fn manage(budget_bytes: u64) {
    let socket = std::env::var_os("VIDMM_SOCKET").expect("it is set");
    let mut options = Options::embedded(socket, budget_bytes);
    options.pressure = false;
    let server = Server::bind(options).expect("the one before is dead");
    server.run().expect("it is killed, and does not fail");
}

impl Manager {
    pub(crate) fn start(socket: &Path) -> Self {
        let child = this_program("manager", socket)
            .stdout(Stdio::null())
            .spawn()
            .expect("this program starts");
        Manager { child }
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it runs");
        let status = self.child.wait().expect("it is waited for once");
        assert!(status.code().is_none(), "it ended by itself: {status}");
    }

    pub(crate) fn stop(&self) {
        send(&self.child, Signal::STOP);
    }

    pub(crate) fn go_on(&self) {
        send(&self.child, Signal::CONT);
    }

    /// All that the kernel counts for it, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let path = format!("/proc/{}/statm", self.child.id());
        let text = std::fs::read_to_string(path).expect("it lives");
        let pages = text
            .split(' ')
            .nth(1)
            .and_then(|pages| pages.parse::<u64>().ok());
        pages.expect("a number") * rustix::param::page_size() as u64
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client in a process of its own.
#[derive(Debug)]
pub(crate) struct Worker {
    child: Child,
    ranges: Vec<Range<u64>>,
    steps: Arc<AtomicU64>,
    stopped_until: Option<Instant>,
}

impl Worker {
    pub(crate) fn start(socket: &Path, seed: u64) -> Self {
        let mut child = this_program("worker", socket)
            .env("VIDMM_TEST_SEED", seed.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe"));
        let ranges = first_word(&mut lines).split(' ').map(range).collect();
        let steps = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&steps);
        thread::spawn(move || count_steps(lines, &counted));
        Worker {
            child,
            ranges,
            steps,
            stopped_until: None,
        }
    }

    /// Kills it, and makes sure that it had found nothing wrong.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let status = self.child.wait().expect("it is waited for once");
        assert!(
            status.code().is_none(),
            "a worker found something wrong: {status}"
        );
    }

    pub(crate) fn stop_for(&mut self, time: Duration) {
        send(&self.child, Signal::STOP);
        self.stopped_until = Some(Instant::now() + time);
    }

    pub(crate) fn go_on(&mut self) {
        send(&self.child, Signal::CONT);
        self.stopped_until = None;
    }

    pub(crate) fn go_on_if_due(&mut self) {
        if self
            .stopped_until
            .is_some_and(|until| Instant::now() >= until)
        {
            self.go_on();
        }
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped_until.is_some()
    }

    /// For a snapshot.
    pub(crate) fn halt(&self) {
        send(&self.child, Signal::STOP);
    }

    pub(crate) fn resume(&self) {
        send(&self.child, Signal::CONT);
    }

    pub(crate) fn wait_until_halted(&self) {
        let path = format!("/proc/{}/stat", self.child.id());
        loop {
            let stat = std::fs::read_to_string(&path).expect("it is not waited for");
            let state = stat
                .rsplit(") ")
                .next()
                .and_then(|rest| rest.chars().next());
            match state {
                Some('T' | 't') => return,
                Some('Z' | 'X') => panic!("a worker has ended: it found something wrong"),
                _ => thread::yield_now(),
            }
        }
    }

    /// What the kernel counts behind its pool's addresses, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let path = format!("/proc/{}/smaps", self.child.id());
        let text = std::fs::read_to_string(path).expect("it is ours");
        let (mut inside, mut sum) = (false, 0);
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("Rss:" | "Swap:") if inside => {
                    let kib = words.next().and_then(|kib| kib.parse::<u64>().ok());
                    sum += 1024 * kib.expect("a number");
                }
                Some(word) if !word.ends_with(':') => {
                    let mapping = range(word);
                    let is_within =
                        |of: &Range<u64>| of.start <= mapping.start && mapping.end <= of.end;
                    inside = self.ranges.iter().any(is_within);
                }
                _ => {}
            }
        }
        sum
    }

    pub(crate) fn steps(&mut self) -> u64 {
        if let Ok(Some(status)) = self.child.try_wait() {
            panic!("a worker has ended: {status}");
        }
        self.steps.load(Ordering::Relaxed)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A hostile client in a process of its own.
#[derive(Debug)]
pub(crate) struct Attacker {
    child: Child,
    counts: Arc<[AtomicU64; 2]>,
}

impl Attacker {
    pub(crate) fn start(socket: &Path, seed: u64) -> Self {
        let mut child = this_program("attacker", socket)
            .env("VIDMM_TEST_SEED", seed.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe"));
        assert_eq!(first_word(&mut lines), "ready");
        let counts: Arc<[AtomicU64; 2]> = Arc::default();
        let counted = Arc::clone(&counts);
        thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                let said = line.strip_prefix(MARK).unwrap_or_default();
                for (word, count) in said.split(' ').zip(&*counted) {
                    count.store(word.parse().unwrap_or(0), Ordering::Relaxed);
                }
            }
        });
        Attacker { child, counts }
    }

    pub(crate) fn messages(&self) -> u64 {
        self.counts[0].load(Ordering::Relaxed)
    }

    pub(crate) fn connections(&self) -> u64 {
        self.counts[1].load(Ordering::Relaxed)
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let status = self.child.wait().expect("it is waited for once");
        if !thread::panicking() {
            assert!(status.code().is_none(), "an attacker gave up: {status}");
        }
    }
}

/// Two hexadecimal addresses with a line between them.
fn range(text: &str) -> Range<u64> {
    let address = |text| u64::from_str_radix(text, 16).expect("an address");
    let (start, end) = text.split_once('-').expect("two addresses");
    address(start)..address(end)
}

fn first_word(lines: &mut BufReader<ChildStdout>) -> String {
    loop {
        let mut line = String::new();
        let count = lines.read_line(&mut line).expect("a pipe");
        assert!(count > 0, "a worker ended before it began");
        if let Some((_, said)) = line.split_once(MARK) {
            return said.trim_end().to_owned();
        }
    }
}

fn count_steps(lines: BufReader<ChildStdout>, steps: &AtomicU64) {
    for line in lines.lines().map_while(Result::ok) {
        if let Some(count) = line.strip_prefix(MARK).and_then(|text| text.parse().ok()) {
            steps.store(count, Ordering::Relaxed);
        }
    }
}
