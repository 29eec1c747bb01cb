//! What the tests share: a server on a thread or in a process of its own, clients that speak the
//! protocol byte by byte, and waiting without sleeping blindly.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv,
    send, socket_with,
};
use vidmm_host::{LogSink, Options, Server, Stopper};
use vidmm_wire::{
    Answer, Ask, Join, MESSAGE_BYTES_MAX, Opening, OperatorRequest, Reception, Refusal, Served,
    Step, Supply, ToClient, ToManager, ToOperator, Told, VERSION, Welcome, decode, encode,
};

pub(crate) const MIB: u64 = 1 << 20;

/// No test waits longer for anything that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `what` says so.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A server on a thread of this process.
pub(crate) struct Serving {
    pub(crate) socket: PathBuf,
    pub(crate) log: Arc<Mutex<Vec<String>>>,
    pub(crate) metrics: Option<String>,
    pub(crate) stopper: Stopper,
    serving: vidmm_host::Serving,
}

/// Options for a server at `socket` that keeps its log.
pub(crate) fn options(socket: &Path, budget_bytes: u64) -> (Options, Arc<Mutex<Vec<String>>>) {
    let mut options = Options::embedded(socket, budget_bytes);
    let log = Arc::new(Mutex::new(Vec::new()));
    options.log_sink = LogSink::Kept(Arc::clone(&log));
    options.pressure = false;
    (options, log)
}

impl Serving {
    pub(crate) fn start(dir: &Path, budget_bytes: u64) -> Self {
        Self::start_with(dir, budget_bytes, |_| ())
    }

    pub(crate) fn start_with(
        dir: &Path,
        budget_bytes: u64,
        change: impl FnOnce(&mut Options),
    ) -> Self {
        let (mut options, log) = options(&dir.join("m.sock"), budget_bytes);
        change(&mut options);
        let server = Server::bind(options).unwrap();
        Serving {
            socket: server.socket_path().to_owned(),
            log,
            metrics: server.metrics_address().map(str::to_owned),
            stopper: server.stopper(),
            serving: server.spawn().unwrap(),
        }
    }

    pub(crate) fn stop(&mut self) {
        self.serving.stop().unwrap();
    }

    pub(crate) fn has_logged(&self, text: &str) -> bool {
        self.log
            .lock()
            .unwrap()
            .iter()
            .any(|line| line.contains(text))
    }

    pub(crate) fn stat(&self) -> vidmm_wire::Summary {
        stat(&self.socket)
    }
}

/// What the manager tells an operator of the whole.
pub(crate) fn stat(socket: &Path) -> vidmm_wire::Summary {
    let replies = operate(socket, OperatorRequest::Stat);
    match replies.first() {
        Some(ToOperator::Summary(summary)) => *summary,
        other => panic!("no summary: {other:?}"),
    }
}

/// All replies to an operator's request.
pub(crate) fn operate(socket: &Path, request: OperatorRequest) -> Vec<ToOperator> {
    operate_as(socket, request, VERSION)
}

/// The same, to a manager of another version.
pub(crate) fn operate_as(socket: &Path, request: OperatorRequest, version: u16) -> Vec<ToOperator> {
    let client = RawClient::connect(socket).unwrap();
    client
        .send(&Opening::Operate(request).encode_as(version))
        .unwrap();
    let (reception, _) = Reception::decode(&client.receive().unwrap()).unwrap();
    assert_eq!(reception, Some(Reception::Operating));
    let mut replies = Vec::new();
    loop {
        let reply: ToOperator = decode(&client.receive().unwrap()).unwrap();
        let is_last = matches!(reply, ToOperator::Done { .. } | ToOperator::Failed(_));
        replies.push(reply);
        if is_last {
            return replies;
        }
    }
}

/// A connection that says whatever a test likes.
pub(crate) struct RawClient {
    pub(crate) socket: OwnedFd,
}

impl RawClient {
    pub(crate) fn connect(path: &Path) -> Result<Self, Errno> {
        let socket = socket_with(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        connect(&socket, &SocketAddrUnix::new(path)?)?;
        Ok(RawClient { socket })
    }

    pub(crate) fn send(&self, bytes: &[u8]) -> Result<(), Errno> {
        send(&self.socket, bytes, SendFlags::NOSIGNAL).map(drop)
    }

    pub(crate) fn say(&self, message: &ToManager) -> Result<(), Errno> {
        self.send(&encode(message).unwrap())
    }

    /// The next packet; empty: the connection has ended. `None`: nothing in time.
    pub(crate) fn receive_within(&self, patience: Duration) -> Option<Vec<u8>> {
        let mut ready = [PollFd::from_borrowed_fd(self.socket.as_fd(), PollFlags::IN)];
        let wait = Timespec::try_from(patience).unwrap();
        if poll(&mut ready, Some(&wait)).unwrap() == 0 {
            return None;
        }
        let mut buffer = vec![0; MESSAGE_BYTES_MAX];
        match recv(&self.socket, &mut buffer[..], RecvFlags::empty()) {
            Ok((_, length)) => {
                buffer.truncate(length);
                Some(buffer)
            }
            Err(_) => Some(Vec::new()),
        }
    }

    pub(crate) fn receive(&self) -> Option<Vec<u8>> {
        self.receive_within(PATIENCE)
    }

    pub(crate) fn open(&self, opening: &[u8]) -> (Option<Reception>, Served) {
        self.send(opening).unwrap();
        Reception::decode(&self.receive().expect("a reception")).unwrap()
    }

    pub(crate) fn join(&self, join: Join) -> Result<Welcome, Refusal> {
        match self.open(&Opening::Join(join).encode()).0 {
            Some(Reception::Welcome(welcome)) => Ok(welcome),
            Some(Reception::Refused(refusal)) => Err(refusal),
            other => panic!("neither welcome nor refused: {other:?}"),
        }
    }

    pub(crate) fn ask(&self, request: u32, bytes: u64) -> Result<(), Errno> {
        self.say(&ToManager::Ask(Ask {
            request,
            bytes,
            supply: Supply::default(),
        }))
    }

    /// The next message that is neither a notice nor a poll; polls are answered: nothing to give.
    pub(crate) fn next(&self) -> ToClient {
        loop {
            match self.next_or_poll() {
                ToClient::Poll(poll) => self.tell(poll.poll, Supply::default()),
                message => return message,
            }
        }
    }

    /// Answers the polls that have come.
    pub(crate) fn catch_up(&self) {
        while let Some(bytes) = self.receive_within(Duration::ZERO) {
            if let Ok(ToClient::Poll(poll)) = decode(&bytes) {
                self.tell(poll.poll, Supply::default());
            }
        }
    }

    /// Answers a poll.
    pub(crate) fn tell(&self, poll: u32, supply: Supply) {
        let told = Told {
            poll,
            supply,
            figures: vidmm_wire::Figures::default(),
            discards: Vec::new(),
        };
        self.say(&ToManager::Told(told)).unwrap();
    }

    /// The next message that is no notice.
    pub(crate) fn next_or_poll(&self) -> ToClient {
        loop {
            let bytes = self.receive().expect("a message in time");
            assert!(!bytes.is_empty(), "the connection has ended");
            match decode(&bytes).unwrap() {
                ToClient::Notice(_) => {}
                message => return message,
            }
        }
    }

    /// Whether the manager ends the connection in time, whatever it says before.
    pub(crate) fn is_ended(&self) -> bool {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if self
                .receive_within(PATIENCE)
                .is_some_and(|bytes| bytes.is_empty())
            {
                return true;
            }
        }
        false
    }
}

/// A supply of one step of LOW memory.
pub(crate) fn supply(bytes: u64) -> Supply {
    let mut supply = Supply::default();
    supply.classes[0].push(Step {
        rank: 1,
        idle_ms: 1000,
        bytes,
    });
    supply
}

/// A child process that plays a role of this test program: see [`play`].
pub(crate) struct Player {
    pub(crate) child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

/// Marks the lines that are a player's own; the test harness prints others.
const MARK: &str = "@@ ";

impl Player {
    /// Starts this program again, as its ignored test `player`, with variables.
    pub(crate) fn start(variables: &[(&str, String)]) -> Self {
        let program = std::env::current_exe().unwrap();
        Self::start_by(&mut Command::new(program), variables)
    }

    /// The same by a command that names the program already.
    pub(crate) fn start_by(command: &mut Command, variables: &[(&str, String)]) -> Self {
        command
            .args([
                "--exact",
                "player",
                "--ignored",
                "--nocapture",
                "--test-threads=1",
            ])
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        Player {
            input: child.stdin.take(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    pub(crate) fn client(socket: &Path, held_bytes: u64) -> Self {
        Self::start(&[
            ("PLAY", "client".to_owned()),
            ("SOCKET", socket.display().to_string()),
            ("HELD", held_bytes.to_string()),
        ])
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// The next line of its own.
    pub(crate) fn line(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(
                self.output.read_line(&mut line).unwrap(),
                0,
                "the player has ended"
            );
            // The harness may have written on the same line before.
            if let Some((_, text)) = line.split_once(MARK) {
                return text.trim_end().to_owned();
            }
        }
    }

    pub(crate) fn tell(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Closes its input, upon which it ends by itself.
    pub(crate) fn end(&mut self) {
        self.input = None;
        self.child.wait().unwrap();
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        self.kill();
    }
}

fn say(line: &str) {
    println!("{MARK}{line}");
    io::stdout().flush().unwrap();
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

/// What the ignored test `player` of each file does.
pub(crate) fn play() {
    let socket = PathBuf::from(variable("SOCKET"));
    match variable("PLAY").as_str() {
        "client" => play_client(&socket),
        "server" => play_server(&socket),
        "flood" => play_flood(&socket),
        "stat" => {
            for reply in operate(&socket, OperatorRequest::Stat) {
                say(&format!("{reply:?}"));
            }
        }
        "trim" => say(&format!(
            "{:?}",
            operate(&socket, OperatorRequest::Trim { bytes: 1 })
        )),
        _ => {}
    }
}

/// A client that does what it is told: `ask N`, `give` (answers polls and orders until it has
/// answered one order).
fn play_client(socket: &Path) {
    let client = RawClient::connect(socket).unwrap();
    let held_bytes = variable("HELD").parse().unwrap();
    let join = Join {
        held_bytes,
        ..Join::default()
    };
    let mut charged_bytes = match client.join(join) {
        Ok(welcome) => {
            say(&format!("welcome {}", welcome.granted_bytes));
            welcome.granted_bytes
        }
        Err(refusal) => return say(&format!("refused {:?} {}", refusal.why, refusal.text)),
    };
    let mut request = 0;
    for line in io::stdin().lines() {
        let line = line.unwrap();
        if let Some(bytes) = line.strip_prefix("ask ") {
            request += 1;
            client.ask(request, bytes.parse().unwrap()).unwrap();
        }
        loop {
            match client.next_or_poll() {
                ToClient::Credit(credit) => {
                    charged_bytes += credit.granted_bytes;
                    say(&format!("credit {}", credit.granted_bytes));
                    break;
                }
                ToClient::NoCredit(refused) => {
                    say(&format!("none {:?}", refused.why));
                    break;
                }
                ToClient::Poll(poll) => client.tell(poll.poll, supply(charged_bytes)),
                ToClient::Order(order) => {
                    let bytes = order.bytes.min(charged_bytes);
                    charged_bytes -= bytes;
                    client
                        .say(&ToManager::Answer(Answer {
                            order: order.order,
                            returned_bytes: bytes,
                            discarded_bytes: [bytes, 0, 0],
                            discards: 1,
                        }))
                        .unwrap();
                    say(&format!("gave {bytes} for {}", order.beneficiary_pid));
                    if line == "give" {
                        break;
                    }
                }
                ToClient::Notice(_) => {}
            }
        }
    }
}

/// Answers to a poll that nobody made, as fast as they are taken, without end.
fn play_flood(socket: &Path) {
    let client = RawClient::connect(socket).unwrap();
    client.join(Join::default()).unwrap();
    let told = encode(&ToManager::Told(Told {
        poll: 77,
        supply: Supply::default(),
        figures: vidmm_wire::Figures::default(),
        discards: Vec::new(),
    }));
    let told = told.unwrap();
    say("flooding");
    while client.send(&told).is_ok() {}
}

/// A server in a process of its own, until it is stopped by a signal or its input ends.
fn play_server(socket: &Path) {
    let (mut options, _) = options(socket, variable("BUDGET").parse().unwrap());
    options.log_sink = LogSink::Stderr;
    options.signals = true;
    options.sandbox = variable("SANDBOX") == "on";
    let server = Server::bind(options).unwrap();
    say(&format!("serving {}", server.incarnation()));
    let stopper = server.stopper();
    std::thread::spawn(move || {
        let mut end = String::new();
        let _ = io::stdin().read_line(&mut end);
        stopper.stop();
    });
    server.run().unwrap();
    say("ended");
    if variable("SANDBOX") == "on" {
        say_what_is_forbidden(socket);
    }
}

/// What this thread may still do, in a line each.
fn say_what_is_forbidden(socket: &Path) {
    let outcome = |name: &str, result: io::Result<()>| {
        let errno = result.err().and_then(|error| error.raw_os_error());
        say(&format!("{name} {}", errno.unwrap_or(0)));
    };
    outcome("exec", Command::new("/bin/true").spawn().map(drop));
    outcome(
        "network",
        std::net::TcpStream::connect("127.0.0.1:9").map(drop),
    );
    outcome("foreign", std::fs::File::open("/etc/hosts").map(drop));
    let beside = socket.with_file_name("new");
    outcome("make", std::fs::File::create(beside).map(drop));
    outcome("proc", std::fs::File::open("/proc/self/stat").map(drop));
}

/// A server in a process of its own.
pub(crate) fn server_process(socket: &Path, budget_bytes: u64) -> Player {
    let mut server = Player::start(&[
        ("PLAY", "server".to_owned()),
        ("SOCKET", socket.display().to_string()),
        ("BUDGET", budget_bytes.to_string()),
    ]);
    assert!(server.line().starts_with("serving"));
    server
}

/// How many descriptors a process has open.
pub(crate) fn descriptors_of(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .count()
}

/// How much a process has resident, in bytes.
pub(crate) fn resident_of(pid: u32) -> u64 {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

/// How often the threads of a process have gone to sleep of themselves.
pub(crate) fn sleeps_of(pid: u32) -> u64 {
    let mut sum = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        sum += line.unwrap().trim().parse::<u64>().unwrap();
    }
    sum
}
