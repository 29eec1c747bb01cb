//! Who loses what when several programs share one budget under a real manager: class first, fairness
//! second, what it pays least to hold third. Each scenario runs with the policy that learns and with
//! the oldest first, on the same accesses, and says what either cost.

#![cfg(target_os = "linux")]
#![allow(
    clippy::print_stdout,
    reason = "the processes of the test speak through it, and the figures are for whoever reads the log"
)]

use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use vidmm::{Class, Offered, Pool, Reclaimed};
use vidmm_host::{Options, Server, Serving};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
/// Every buffer.
const TILE_BYTES: usize = 256 * KIB;
const TILES_PER_MIB: usize = MIB / TILE_BYTES;
const MARK: &str = "@ ";

const CHEAP: Duration = Duration::from_micros(100);
const DEAR: Duration = Duration::from_millis(10);

// ------------------------------------------------------------------------------------ the programs

/// Another process of these tests; nothing when it is run as a test.
#[test]
fn another_process() {
    if std::env::var_os("VIDMM_TEST_ROLE").is_some() {
        serve();
    }
}

/// A program with rebuildable buffers.
struct Program {
    pool: Pool,
    tiles: Vec<Option<Offered>>,
    class: Class,
    cost: Duration,
    rebuilds: usize,
    turn: usize,
    random: u64,
}

impl Program {
    /// Uses a buffer, rebuilds it if need be, and offers it. If there is no room just now, it is
    /// built for this once and not kept.
    fn access(&mut self, tile: usize) {
        let (memory, intact) = match self.tiles[tile].take().map(Offered::reclaim) {
            Some(Ok(Reclaimed::Intact(memory))) => (Some(memory), true),
            Some(Ok(Reclaimed::Discarded(memory))) => (Some(memory), false),
            Some(Err(refused)) => {
                self.tiles[tile] = Some(refused.offered);
                (None, false)
            }
            None => {
                let options = self.pool.options().rebuild_cost(self.cost);
                (options.allocate(TILE_BYTES).ok(), false)
            }
        };
        self.rebuilds += usize::from(!intact);
        if let Some(mut memory) = memory {
            if !intact {
                memory.lock_mut().expect("a lock").fill(1);
            }
            self.tiles[tile] = Some(memory.offer(self.class));
        }
    }

    /// The next one of a loop over all.
    fn loop_on(&mut self) {
        let tile = self.turn % self.tiles.len();
        self.turn += 1;
        self.access(tile);
    }

    /// Any one, the first ones far more often.
    fn draw(&mut self) {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        // Of 2^31; squared, so that the low ones are more.
        let even = self.random >> 33;
        let place = (((even * even) >> 31) * self.tiles.len() as u64) >> 31;
        self.access(usize::try_from(place).expect("below the number of tiles"));
    }
}

/// Does what it is told, line by line: `loop`, `draw`, with how often. Says how many rebuilds that
/// took, and how many bytes it holds then.
fn serve() {
    let number = |name| -> usize {
        let value = std::env::var(name).expect("the test sets it");
        value.parse().expect("a number")
    };
    let pool = Pool::from_environment()
        .expect("a sound environment")
        .build()
        .expect("a pool");
    let mut program = Program {
        pool,
        tiles: (0..number("VIDMM_TEST_TILES")).map(|_| None).collect(),
        class: [Class::Low, Class::Normal, Class::High][number("VIDMM_TEST_CLASS")],
        cost: Duration::from_nanos(number("VIDMM_TEST_COST") as u64),
        rebuilds: 0,
        turn: 0,
        random: 1,
    };
    println!("\n{MARK}0 0");
    for line in std::io::stdin().lines() {
        let line = line.expect("a pipe");
        let (what, times) = line.split_once(' ').expect("two words");
        program.rebuilds = 0;
        for _ in 0..times.parse().expect("a number") {
            match what {
                "loop" => program.loop_on(),
                "draw" => program.draw(),
                _ => panic!("{line}"),
            }
        }
        let held = program.pool.resident().expect("figures").total_bytes();
        println!("{MARK}{} {held}", program.rebuilds);
    }
}

// ----------------------------------------------------------------------------------- as seen here

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    OldestFirst,
    Learned,
}

const RULES: [Rule; 2] = [Rule::OldestFirst, Rule::Learned];

/// A manager on a thread.
struct Manager {
    socket: PathBuf,
    rule: Rule,
    _serving: Serving,
    _folder: tempfile::TempDir,
}

impl Manager {
    /// For programs that all follow `rule`.
    fn start(budget_mib: usize, rule: Rule) -> Self {
        Self::start_guarding(budget_mib, rule, 100)
    }

    /// One that leaves each program so much of its share, in percent.
    fn start_guarding(budget_mib: usize, rule: Rule, percent: u32) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("manager.sock");
        let mut options = Options::embedded(&socket, (budget_mib * MIB) as u64);
        options.reserve_bytes = Some(0);
        options.guarded_percent = Some(percent);
        options.pressure = false;
        let server = Server::bind(options).expect("a manager");
        Manager {
            socket,
            rule,
            _serving: server.spawn().expect("a thread"),
            _folder: folder,
        }
    }

    /// A program in a process of its own, with `mib` of buffers that each take `cost` to rebuild.
    fn program(&self, mib: usize, cost: Duration, class: Class) -> Running {
        let policy = match self.rule {
            Rule::Learned => "vidmm",
            Rule::OldestFirst => "oldest-first",
        };
        let mut child = Command::new(std::env::current_exe().expect("a test is a file"))
            .args(["--exact", "another_process", "--nocapture"])
            .env("VIDMM_TEST_ROLE", "program")
            .env("VIDMM_TEST_TILES", (mib * TILES_PER_MIB).to_string())
            .env("VIDMM_TEST_COST", cost.as_nanos().to_string())
            .env("VIDMM_TEST_CLASS", (class as usize).to_string())
            .env("VIDMM_POLICY", policy)
            .env("VIDMM_SOCKET", &self.socket)
            .env("VIDMM_MODE", "shared")
            .env("VIDMM_PRESSURE", "off")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts");
        let input = child.stdin.take().expect("a pipe");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut running = Running {
            child,
            input,
            output,
            cost,
            accesses: 0,
            rebuilds: 0,
            held_bytes: 0,
        };
        running.answer();
        running
    }
}

struct Running {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    cost: Duration,
    accesses: usize,
    /// Including the first build of each.
    rebuilds: usize,
    held_bytes: usize,
}

impl Running {
    fn answer(&mut self) {
        loop {
            let mut line = String::new();
            let read = self.output.read_line(&mut line).expect("a pipe");
            assert!(read > 0, "the other process ended");
            if let Some((_, said)) = line.split_once(MARK) {
                let (rebuilds, held) = said.trim().split_once(' ').expect("two numbers");
                self.rebuilds += rebuilds.parse::<usize>().expect("a number");
                self.held_bytes = held.parse().expect("a number");
                return;
            }
        }
    }

    fn ask(&mut self, what: &str, times: usize) {
        writeln!(self.input, "{what} {times}").expect("it lives");
        self.answer();
        self.accesses += times;
    }

    /// Goes on in a loop over all buffers.
    fn loop_on(&mut self, times: usize) {
        self.ask("loop", times);
    }

    /// Uses any buffers, the first ones far more often.
    fn draw(&mut self, times: usize) {
        self.ask("draw", times);
    }

    /// Forgets the figures so far.
    fn warmed_up(&mut self) {
        (self.accesses, self.rebuilds) = (0, 0);
    }

    fn lost(&self) -> Duration {
        self.cost * u32::try_from(self.rebuilds).expect("not so many")
    }

    /// Of its accesses, as a fraction.
    fn rebuilt(&self) -> f64 {
        self.rebuilds as f64 / self.accesses as f64
    }

    fn held_mib(&self) -> f64 {
        self.held_bytes as f64 / MIB as f64
    }
}

impl fmt::Display for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "rebuilt {} of {}, {:.1} ms, holds {:.1} MiB",
            self.rebuilds,
            self.accesses,
            self.lost().as_secs_f64() * 1e3,
            self.held_mib()
        )
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// ------------------------------------------------------------------------------------ the scenarios

#[test]
fn a_neighbour_that_scans_takes_nothing_that_is_in_use() {
    for rule in RULES {
        let manager = Manager::start(32, rule);
        let mut steady = manager.program(14, CHEAP, Class::Normal);
        let mut scanner = manager.program(96, CHEAP, Class::Normal);
        for step in 0..1000 {
            if step == 250 {
                steady.warmed_up();
                scanner.warmed_up();
            }
            steady.draw(4);
            scanner.loop_on(8);
        }
        println!("scan, {rule:?}: steady {steady}; scanner {scanner}");
        // Within its share, it gives nothing while the other is beyond it.
        assert!(steady.rebuilt() < 0.02, "{rule:?}: {steady}");
        match rule {
            // A loop that does not fit.
            Rule::OldestFirst => assert!(scanner.rebuilt() > 0.99, "{scanner}"),
            Rule::Learned => assert!(scanner.rebuilt() < 0.95, "{scanner}"),
        }
    }
}

#[test]
fn a_burst_gets_its_share_at_once_and_all_of_it_comes_back() {
    for rule in RULES {
        let manager = Manager::start(32, rule);
        let mut steady = manager.program(24, CHEAP, Class::Normal);
        let mut bursty = manager.program(15, CHEAP, Class::Normal);
        steady.draw(1500);
        assert!(steady.held_mib() > 20.0, "{steady}");
        for _ in 0..250 {
            steady.draw(4);
            bursty.draw(8);
        }
        bursty.warmed_up();
        steady.warmed_up();
        for _ in 0..125 {
            steady.draw(4);
            bursty.draw(4);
        }
        println!("burst, {rule:?}: steady {steady}; bursty {bursty}");
        // What it works with is there, and the other has its share.
        assert!(bursty.rebuilt() < 0.05, "{rule:?}: {bursty}");
        assert!(steady.held_mib() >= 16.0, "{rule:?}: {steady}");
        drop(bursty);
        steady.draw(1500);
        steady.warmed_up();
        steady.draw(1000);
        println!("burst, {rule:?}: afterwards, steady {steady}");
        assert!(steady.rebuilt() < 0.02, "{rule:?}: {steady}");
    }
}

#[test]
fn who_offers_and_sleeps_keeps_its_share_and_no_more() {
    for rule in RULES {
        let manager = Manager::start(32, rule);
        let mut hoarder = manager.program(30, DEAR, Class::Normal);
        let mut worker = manager.program(28, CHEAP, Class::Normal);
        hoarder.loop_on(30 * TILES_PER_MIB);
        assert!(hoarder.held_mib() > 29.0, "{hoarder}");
        worker.draw(4000);
        hoarder.loop_on(0);
        println!("hoarder, {rule:?}: worker {worker}; hoarder {hoarder}");
        // However dear it is, and however seldom it is used: shares come before ranks.
        assert!(hoarder.held_mib() < 17.0, "{rule:?}: {hoarder}");
        assert!(hoarder.held_mib() > 14.0, "{rule:?}: {hoarder}");
        assert!(worker.held_mib() > 15.0, "{rule:?}: {worker}");
    }
}

#[test]
fn with_less_guarded_who_sleeps_keeps_less() {
    for rule in RULES {
        let manager = Manager::start_guarding(32, rule, 25);
        let mut hoarder = manager.program(30, CHEAP, Class::Normal);
        let mut worker = manager.program(28, CHEAP, Class::Normal);
        hoarder.loop_on(30 * TILES_PER_MIB);
        worker.draw(4000);
        hoarder.loop_on(0);
        println!("hoarder, a quarter guarded, {rule:?}: worker {worker}; hoarder {hoarder}");
        assert!(hoarder.held_mib() > 3.0, "{rule:?}: {hoarder}");
        assert!(hoarder.held_mib() < 8.0, "{rule:?}: {hoarder}");
        assert!(worker.held_mib() > 23.0, "{rule:?}: {worker}");
    }
}

#[test]
fn with_less_guarded_a_scanner_still_takes_little_from_who_works() {
    let manager = Manager::start_guarding(32, Rule::Learned, 25);
    let mut worker = manager.program(12, CHEAP, Class::Normal);
    let mut scanner = manager.program(96, CHEAP, Class::Normal);
    for round in 0..12 {
        if round == 6 {
            worker.warmed_up();
            scanner.warmed_up();
        }
        for _ in 0..32 {
            worker.loop_on(TILES_PER_MIB);
            scanner.loop_on(TILES_PER_MIB);
        }
    }
    println!("scanner, a quarter guarded: worker {worker}; scanner {scanner}");
    assert!(worker.rebuilt() < 0.05, "{worker}");
}

#[test]
fn what_is_cheap_to_rebuild_goes_before_what_is_dear() {
    let mut lost = Vec::new();
    for rule in RULES {
        let manager = Manager::start(36, rule);
        // A third has a share and leaves most of it: there is something beyond shares to divide.
        let mut small = manager.program(1, CHEAP, Class::Normal);
        let mut cheap = manager.program(24, CHEAP, Class::Normal);
        let mut dear = manager.program(24, DEAR, Class::Normal);
        for step in 0..1500 {
            if step == 750 {
                cheap.warmed_up();
                dear.warmed_up();
            }
            if step % 4 == 0 {
                small.loop_on(1);
            }
            cheap.draw(4);
            dear.draw(4);
        }
        println!("cheap and dear, {rule:?}: cheap {cheap}; dear {dear}");
        if rule == Rule::Learned {
            assert!(dear.rebuilds * 2 < cheap.rebuilds, "{dear}; {cheap}");
        }
        lost.push(cheap.lost() + dear.lost());
    }
    assert!(lost[1] < lost[0], "oldest first, learned: {lost:?}");
}

#[test]
fn a_lower_class_goes_first_whoever_it_is_and_whatever_it_costs() {
    for rule in RULES {
        let manager = Manager::start(32, rule);
        let mut low = manager.program(8, DEAR, Class::Low);
        let mut normal = manager.program(30, CHEAP, Class::Normal);
        low.loop_on(8 * TILES_PER_MIB);
        normal.loop_on(30 * TILES_PER_MIB);
        normal.warmed_up();
        normal.loop_on(30 * TILES_PER_MIB);
        low.loop_on(0);
        println!("classes, {rule:?}: normal {normal}; low {low}");
        assert_eq!(normal.rebuilds, 0, "{rule:?}: LOW went first");
        assert!(low.held_mib() <= 2.5, "{rule:?}: {low}");
    }
}
