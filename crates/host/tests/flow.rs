//! Memory that flows between real processes under a real manager: who gives what for whom, who
//! waits for whom, and what a newcomer gets beside a hoarder.

#![cfg(target_os = "linux")]
#![allow(
    clippy::print_stdout,
    reason = "the processes of the test speak through it"
)]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use vidmm::{
    Class, Committed, JoinMode, JoinOptions, Notice, Offered, Pool, PressureMode, Reclaimed,
};
use vidmm_host::{Options, Server, Serving};

const MIB: usize = 1 << 20;
const BUDGET_BYTES: usize = 64 * MIB;
const PATIENCE: Duration = Duration::from_secs(20);
const MARK: &str = "@ ";

/// Another process of these tests; nothing when it is run as a test.
#[test]
fn another_process() {
    if std::env::var_os("VIDMM_TEST_ROLE").is_some() {
        serve();
    }
}

/// Does what it is told, line by line, and says how many MiB came of it.
fn serve() {
    let pool = Pool::from_environment()
        .expect("a sound environment")
        .build()
        .expect("a pool");
    let (mut used, mut idle): (Vec<Committed>, Vec<Offered>) = (Vec::new(), Vec::new());
    println!("\n{MARK}0");
    for line in std::io::stdin().lines() {
        let line = line.expect("a pipe");
        let (what, count) = line.split_once(' ').expect("two words");
        let count: usize = count.parse().expect("a number");
        let answer = match what {
            // So many MiB more, one by one, as far as there is memory.
            "use" => {
                let more = (0..count).map_while(|_| pool.allocate(MIB).ok());
                let before = used.len();
                used.extend(more);
                used.len() - before
            }
            // So many at once, or none.
            "use_whole" => match pool.allocate(count * MIB) {
                Ok(memory) => {
                    used.push(memory);
                    count
                }
                Err(_) => 0,
            },
            "offer" => {
                let class = [Class::Low, Class::Normal, Class::High][count];
                let all = used.drain(..).map(|memory| memory.offer(class));
                idle.extend(all);
                idle.len()
            }
            // Takes and offers everything, dear as it is, for so many milliseconds.
            "hoard" => {
                let until = Instant::now() + Duration::from_millis(count as u64);
                while Instant::now() < until {
                    let all = std::mem::take(&mut idle).into_iter();
                    idle = all.map(renewed).collect();
                }
                idle.len()
            }
            _ => panic!("{line}"),
        };
        println!("{MARK}{answer}");
    }
}

fn renewed(offered: Offered) -> Offered {
    match offered.reclaim() {
        Ok(Reclaimed::Intact(memory) | Reclaimed::Discarded(memory)) => memory.offer(Class::High),
        Err(refused) => refused.offered,
    }
}

/// A manager on a thread.
struct Manager {
    socket: PathBuf,
    serving: Serving,
    _folder: tempfile::TempDir,
}

impl Manager {
    fn start(reserve_bytes: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("manager.sock");
        let mut options = Options::embedded(&socket, BUDGET_BYTES as u64);
        options.reserve_bytes = Some(reserve_bytes);
        options.pressure = false;
        let server = Server::bind(options).expect("a manager");
        Manager {
            socket,
            serving: server.spawn().expect("a thread"),
            _folder: folder,
        }
    }

    /// A pool of this process.
    fn pool(&self) -> Pool {
        Pool::builder()
            .pressure(PressureMode::Off)
            .join(JoinOptions {
                mode: JoinMode::Shared,
                sockets: vec![self.socket.clone()],
            })
            .build()
            .expect("a pool")
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.serving.stop().expect("it ends in order");
        }
    }
}

/// A client in a process of its own.
struct Other {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Other {
    fn start(socket: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("a test is a file"))
            .args([
                "--exact",
                "another_process",
                "--nocapture",
                "--test-threads=1",
            ])
            .env("VIDMM_TEST_ROLE", "other")
            .env("VIDMM_SOCKET", socket)
            .env("VIDMM_MODE", "shared")
            .env("VIDMM_PRESSURE", "off")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts");
        let input = child.stdin.take().expect("a pipe");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut other = Other {
            child,
            input,
            output,
        };
        assert_eq!(other.answer(), 0);
        other
    }

    fn tell(&mut self, what: &str, count: usize) {
        writeln!(self.input, "{what} {count}").expect("it lives");
    }

    fn answer(&mut self) -> usize {
        loop {
            let mut line = String::new();
            let read = self.output.read_line(&mut line).expect("a pipe");
            assert!(read > 0, "the other process ended");
            if let Some((_, said)) = line.split_once(MARK) {
                return said.trim().parse().expect("a number");
            }
        }
    }

    fn ask(&mut self, what: &str, count: usize) -> usize {
        self.tell(what, count);
        self.answer()
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn who_gives_what_for_whom_is_as_predicted() {
    let manager = Manager::start(0);
    let pool = manager.pool();
    let page = rustix::param::page_size();
    // Known by their sizes; offered in another order than they were made.
    let mut made: Vec<Option<Committed>> = (0..16)
        .map(|n| Some(pool.allocate(2 * MIB + n * page).expect("there is room")))
        .collect();
    let order: Vec<usize> = (0..16).map(|n| n * 7 % 16).collect();
    let size_of = |n: usize| 2 * MIB + n * page;
    let mut offered: Vec<(usize, Offered)> = Vec::new();
    for &n in &order {
        let memory = made[n].take().expect("each once");
        offered.push((n, memory.offer(Class::Normal)));
        // The clock that ranks go by moves on.
        drop(pool.allocate(page).expect("there is room"));
    }
    // Dearer, and offered last: never before all of these.
    let dearer = pool
        .allocate(MIB)
        .expect("there is room")
        .offer(Class::High);
    let mut other = Other::start(&manager.socket);
    let free = BUDGET_BYTES / MIB - 34;
    assert_eq!(other.ask("use", free - 2), free - 2, "there is room");
    while pool.discards(100).len() < 5 {
        assert_eq!(other.ask("use", 1), 1, "somebody has something to give");
    }
    let discards = pool.discards(100);
    let gone: Vec<usize> = discards
        .iter()
        .map(|discard| usize::try_from(discard.bytes).expect("small"))
        .collect();
    let predicted: Vec<usize> = order[..gone.len()].iter().map(|&n| size_of(n)).collect();
    assert_eq!(gone, predicted, "what was offered longest ago, in order");
    for (discard, next) in discards.iter().zip(&discards[1..]) {
        assert!(discard.order > 0 && discard.class == Class::Normal);
        assert_eq!(discard.beneficiary_pid, other.child.id(), "{discard:?}");
        let same_order = discard.order == next.order;
        assert!(!same_order || discard.rank < next.rank, "{discards:?}");
    }
    for (place, (n, offered)) in offered.into_iter().enumerate() {
        if place >= gone.len() {
            assert!(matches!(offered.reclaim(), Ok(Reclaimed::Intact(_))), "{n}");
        }
    }
    assert!(matches!(dearer.reclaim(), Ok(Reclaimed::Intact(_))));
}

#[test]
fn two_that_want_most_of_it_are_served_one_after_the_other() {
    let manager = Manager::start(0);
    let (mut first, mut second) = (Other::start(&manager.socket), Other::start(&manager.socket));
    let most = BUDGET_BYTES / MIB * 6 / 10;
    first.tell("use_whole", most);
    second.tell("use_whole", most);
    // While one has it the other waits, and is not given a part.
    let (one, other) = (first.answer(), second.answer());
    assert_eq!(one + other, most, "one of them, whole: {one} and {other}");
    let (mut has, mut wants) = match one {
        0 => (second, first),
        _ => (first, second),
    };
    wants.tell("use_whole", most);
    assert_eq!(has.ask("offer", 1), 1);
    assert_eq!(wants.answer(), most, "now it is its turn");
}

#[test]
fn a_newcomer_gets_its_floor_at_once_beside_a_hoarder() {
    let reserve_bytes = BUDGET_BYTES as u64 / 16;
    let manager = Manager::start(reserve_bytes);
    let mut hoarder = Other::start(&manager.socket);
    let got = hoarder.ask("use", 1000);
    assert!(
        got >= BUDGET_BYTES / MIB * 15 / 16 - 1,
        "all but the reserve: {got}"
    );
    assert_eq!(hoarder.ask("offer", 2), got);
    hoarder.tell("hoard", 3000);
    let pool = manager.pool();
    let began = Instant::now();
    // The smaller of a 64th of the budget and the reserve divided by two.
    let floor = pool.allocate(BUDGET_BYTES / 64);
    assert!(floor.is_ok(), "{floor:?}");
    let took = began.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    println!("the floor took {took:?}");
    // And more, since HIGH of who has more than its share is NORMAL, and goes before ours.
    let more = pool.allocate(BUDGET_BYTES / 4);
    assert!(more.is_ok(), "{more:?}");
    assert_eq!(
        hoarder.answer(),
        got,
        "it still has its allocations, and what is left of them"
    );
}

#[test]
fn budget_and_reservation_are_told() {
    let manager = Manager::start(0);
    let pool = manager.pool();
    let (sender, notices) = channel();
    let own = pool.allocate(MIB).expect("there is room");
    pool.subscribe(move |notice| {
        let _ = sender.send(notice);
    })
    .expect("an agent");
    let half = BUDGET_BYTES as u64 / 2;
    until(|| pool.reservation_bytes().1 == half);
    pool.set_reservation_bytes(half / 2)
        .expect("it is available");
    until(|| pool.reservation_bytes().0 == half / 2);
    assert_eq!(pool.budget_bytes(), BUDGET_BYTES as u64);
    // Another one has most of it in use: what this one may use is less, and it is told so.
    let mut other = Other::start(&manager.socket);
    assert_eq!(other.ask("use_whole", 40), 40);
    let told = notices.recv_timeout(PATIENCE).expect("it is told");
    let Notice::BudgetChanged { budget_bytes } = told else {
        panic!("{told:?}");
    };
    assert!(budget_bytes < BUDGET_BYTES as u64, "{budget_bytes}");
    // What lies within the reservation is not taken for others, however cheaply it is offered.
    let reserved = pool.allocate(12 * MIB).expect("there is room");
    let reserved = [own, reserved].map(|memory| memory.offer(Class::Low));
    assert_eq!(
        other.ask("use_whole", 16),
        0,
        "11 MiB are free, 13 offered within 16"
    );
    for offered in reserved {
        assert!(matches!(offered.reclaim(), Ok(Reclaimed::Intact(_))));
    }
    assert_eq!(other.ask("use_whole", 10), 10);
}

fn until(is_so: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "it never came to that");
        thread::yield_now();
    }
}
