//! A run of several workers: each a process, all under one manager.
//!
//! Owns: the run from the first worker's start to the last one's end. The demo's own thread hears
//! what the workers say (`messages`), counts it, says who may go on (`turns`) and who may take a
//! large hold of scratch (`scratch_book`); `member` is the processes, and how their memory is looked
//! at; `manager` is the manager, `chaos` what is done to all of them under `--chaos`, and
//! `worker_process` the other side.
//!
//! A worker tells each finished access at once and whole, so a killed one takes nothing with it but
//! the access that it was at. Its successor begins with that one and counts it; it has read
//! nothing before, so what its predecessor had kept is a first use to it.

mod chaos;
pub(crate) mod manager;
mod member;
mod messages;
mod scratch_book;
mod turns;
pub(crate) mod worker_process;

use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::demo::crew::{Casualties, Outcome, SHOW_INTERVAL, so_far};
use crate::demo::fleet::chaos::{Act, Chaos};
use crate::demo::fleet::manager::Manager;
use crate::demo::fleet::member::Members;
use crate::demo::fleet::messages::{
    Assignment, FromWorker, Heard, PACKET_BYTES_MAX, ToWorker, files, hear, say,
};
use crate::demo::fleet::scratch_book::ScratchBook;
use crate::demo::fleet::turns::Turns;
use crate::demo::histogram::clock_cost_ns;
use crate::demo::policy::PolicyName;
use crate::demo::sampler;
use crate::demo::tally::Tally;
use crate::demo::unpack::size_u64;
use crate::demo::worker::Shared;
use crate::output::Failure;
use crate::progress::Progress;

/// How long a worker may take to hear what it is to do.
const START_MAX: Timespec = Timespec {
    tv_sec: 20,
    tv_nsec: 0,
};
/// Nobody is waited for.
const NOT_AT_ALL: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};
/// So many messages of one worker are heard before the next one's.
const MESSAGES_AT_ONCE: usize = 64;

/// What a run is to be.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) seed: u64,
    pub(crate) workers: u16,
    pub(crate) budget_bytes: u64,
    pub(crate) chaos: bool,
    pub(crate) policy: PolicyName,
    /// Where workers are to record, if they are to.
    pub(crate) trace: Option<PathBuf>,
}

/// Runs all workers to their end, with the sampler beside them.
///
/// # Errors
/// The first worker's failure, the manager's, the sampler's; a process that cannot be started; a
/// signal to end.
pub(crate) fn carry_out(shared: &Shared, wanted: &Wanted) -> Result<Outcome, Failure> {
    // The manager goes last: nobody is to find it gone.
    let mut manager = Manager::start(wanted.budget_bytes, wanted.chaos)?;
    let members = Members::default();
    let peak_so_far_bytes = AtomicU64::new(0);
    let mut fleet = Fleet::new(shared, wanted, &members)?;
    let began = Instant::now();
    thread::scope(|scope| {
        let (stop_sampler, stopped) = channel::<()>();
        let (members, peak_so_far_bytes) = (&members, &peak_so_far_bytes);
        let sampler = thread::Builder::new()
            .name("sampler".to_owned())
            .spawn_scoped(scope, move || {
                sampler::run(|| members.look(), peak_so_far_bytes, &stopped)
            })?;
        let ran = fleet.run(&mut manager, peak_so_far_bytes);
        let elapsed = began.elapsed();
        drop(stop_sampler);
        let peak = sampler
            .join()
            .map_err(|_| "the sampler of the peak panicked")?;
        ran?;
        Ok(Outcome {
            tally: fleet.tally,
            peak: peak?,
            scratch_peak_bytes: fleet.scratch.peak_bytes(),
            clock_ns: fleet.clock_ns,
            elapsed,
            casualties: fleet.casualties,
        })
    })
}

struct Fleet<'a> {
    shared: &'a Shared,
    wanted: &'a Wanted,
    members: &'a Members,
    lines: Vec<Line>,
    turns: Turns,
    scratch: ScratchBook,
    tally: Tally,
    chaos: Chaos,
    casualties: Casualties,
    clock_ns: u64,
    /// A signal asks to end.
    interrupted: Arc<AtomicBool>,
    buffer: Vec<u8>,
}

/// The demo's side of a worker.
#[derive(Debug, Default)]
struct Line {
    /// `None`: it has ended.
    socket: Option<OwnedFd>,
    /// It may be told to go.
    is_ready: bool,
    has_finished: bool,
    /// By the demo itself.
    was_killed: bool,
    /// Why it cannot go on.
    failure: Option<String>,
}

impl<'a> Fleet<'a> {
    fn new(shared: &'a Shared, wanted: &'a Wanted, members: &'a Members) -> Result<Self, Failure> {
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
        }
        let workers = shared.plan.workers;
        Ok(Self {
            shared,
            wanted,
            members,
            lines: (0..workers).map(|_| Line::default()).collect(),
            turns: Turns::new(&shared.plan),
            scratch: ScratchBook::new(workers),
            tally: Tally::default(),
            chaos: match wanted.chaos {
                true => Chaos::new(wanted.seed, workers, size_u64(shared.plan.accesses.len())),
                false => Chaos::default(),
            },
            casualties: Casualties::default(),
            clock_ns: clock_cost_ns(),
            interrupted,
            buffer: vec![0; PACKET_BYTES_MAX],
        })
    }

    fn run(&mut self, manager: &mut Manager, peak_bytes: &AtomicU64) -> Result<(), Failure> {
        for worker in 0..self.lines.len() {
            self.start(worker, manager)?;
        }
        let mut progress = Progress::begin("reading:", size_u64(self.shared.plan.accesses.len()));
        while self.lines.iter().any(|line| line.socket.is_some()) {
            if self.interrupted.load(Ordering::Relaxed) {
                return Err("ended by a signal before it was done".into());
            }
            self.wreak_havoc(manager)?;
            self.tell_all()?;
            for worker in self.wait()? {
                self.listen(worker, manager)?;
            }
            let peak_bytes = peak_bytes.load(Ordering::Relaxed);
            progress.show(self.turns.finished(), || {
                so_far(&self.shared.live, peak_bytes, self.wanted.budget_bytes)
            });
        }
        match self.turns.is_over() {
            true => Ok(()),
            false => Err("all workers have ended, and not all is done".into()),
        }
    }

    /// Starts a worker where its predecessor ended.
    fn start(&mut self, worker: usize, manager: &Manager) -> Result<(), Failure> {
        let kind = SocketType::SEQPACKET;
        let (here, there) = socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
        let started = Command::new(std::env::current_exe()?)
            .arg("demo-worker")
            .stdin(Stdio::from(there))
            .stdout(Stdio::null())
            // Signals from the terminal are the demo's; it ends its workers itself.
            .process_group(0)
            .spawn();
        let child = started.map_err(|error| {
            format!(
                "cannot start worker {worker} of {}: {error}; try fewer --workers",
                self.lines.len()
            )
        })?;
        self.members.add(worker, child);
        self.casualties.workers_started += 1;
        let trace = self.wanted.trace.as_deref();
        let assignment = Assignment {
            worker: u16::try_from(worker)?,
            seed: self.wanted.seed,
            workers: self.wanted.workers,
            accesses: size_u64(self.shared.plan.accesses.len()),
            files: size_u64(self.shared.items.len()),
            skip: self.turns.done(worker),
            socket: manager.socket().as_os_str().as_bytes().to_vec(),
            clock_ns: self.clock_ns,
            policy: self.wanted.policy,
            trace: trace.map(|path| path.as_os_str().as_bytes().to_vec()),
            parent: std::process::id(),
        };
        let first = [ToWorker::Assignment(assignment)];
        for message in first.into_iter().chain(files(&self.shared.items)) {
            say(&here, &message, Some(&START_MAX))
                .map_err(|error| format!("worker {worker} does not take its files: {error}"))?;
        }
        self.lines[worker] = Line {
            socket: Some(here),
            ..Line::default()
        };
        Ok(())
    }

    /// Tells each worker how far it may go, and who may take a large hold.
    fn tell_all(&mut self) -> Result<(), Failure> {
        for worker in 0..self.lines.len() {
            if self.lines[worker].is_ready
                && let Some(upto) = self.turns.to_tell(worker)
                && self.tell(worker, &ToWorker::Go(upto))?
            {
                self.turns.told(worker, upto);
            }
        }
        while let Some(worker) = self.scratch.next_large() {
            // Whoever asks waits for the answer, so there is room for it.
            self.tell(worker, &ToWorker::Large)?;
        }
        Ok(())
    }

    /// Says whether it could be told now. One that has ended is found out when it is listened to.
    fn tell(&self, worker: usize, message: &ToWorker) -> Result<bool, Failure> {
        use std::io::ErrorKind::{BrokenPipe, ConnectionReset, TimedOut};
        let Some(socket) = &self.lines[worker].socket else {
            return Ok(false);
        };
        match say(socket, message, Some(&NOT_AT_ALL)) {
            Ok(()) => Ok(true),
            Err(error) if matches!(error.kind(), BrokenPipe | ConnectionReset | TimedOut) => {
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until somebody says something or something is to be done; tells who.
    fn wait(&self) -> Result<Vec<usize>, Failure> {
        let quiet = self.chaos.quiet_for(Instant::now());
        let time = quiet.map_or(SHOW_INTERVAL, |quiet| quiet.min(SHOW_INTERVAL));
        let workers: Vec<usize> = (0..self.lines.len())
            .filter(|worker| self.lines[*worker].socket.is_some())
            .collect();
        let sockets = self.lines.iter().filter_map(|line| line.socket.as_ref());
        let mut wanted: Vec<_> = sockets
            .map(|socket| PollFd::new(socket, PollFlags::IN))
            .collect();
        match poll(&mut wanted, Some(&Timespec::try_from(time)?)) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        }
        let speak = |(worker, wanted): (usize, &PollFd<'_>)| {
            (!wanted.revents().is_empty()).then_some(worker)
        };
        Ok(workers.into_iter().zip(&wanted).filter_map(speak).collect())
    }

    fn listen(&mut self, worker: usize, manager: &Manager) -> Result<(), Failure> {
        for _ in 0..MESSAGES_AT_ONCE {
            let Some(socket) = &self.lines[worker].socket else {
                return Ok(());
            };
            match hear(socket, &mut self.buffer, false)? {
                Heard::Message(message) => self.take(worker, message),
                Heard::Nothing => return Ok(()),
                Heard::End => return self.bury(worker, manager),
            }
        }
        Ok(())
    }

    fn take(&mut self, worker: usize, message: FromWorker) {
        match message {
            FromWorker::Ready(ranges) => {
                self.members.set_ranges(worker, ranges);
                self.lines[worker].is_ready = true;
            }
            FromWorker::Done(record) => {
                if let Some(position) = self.turns.finish(worker) {
                    let place = usize::try_from(position).unwrap_or(usize::MAX);
                    let access = self.shared.plan.accesses[place];
                    self.shared.live.count(&record);
                    self.tally.record(access.file as usize, record);
                }
            }
            FromWorker::Scratch(bytes) => self.scratch.holds(worker, bytes),
            FromWorker::WantsLarge => self.scratch.wants_large(worker),
            FromWorker::Finished => self.lines[worker].has_finished = true,
            FromWorker::Failed(why) => self.lines[worker].failure = Some(why),
        }
    }

    /// A worker has ended: well, or by the demo's hand - then it gets a successor - or not well.
    fn bury(&mut self, worker: usize, manager: &Manager) -> Result<(), Failure> {
        let ended = self.members.wait(worker)?;
        self.scratch.forget(worker);
        self.turns.forget(worker);
        let line = std::mem::take(&mut self.lines[worker]);
        match (line.failure, ended) {
            (Some(why), _) => Err(format!("worker {worker}: {why}").into()),
            (None, _) if line.has_finished => Ok(()),
            (None, _) if line.was_killed => self.start(worker, manager),
            (None, ended) => Err(format!(
                "worker {worker} ended before it was done: {}",
                ended.unwrap_or_else(|| "without a word".to_owned())
            )
            .into()),
        }
    }

    fn wreak_havoc(&mut self, manager: &mut Manager) -> Result<(), Failure> {
        let now = Instant::now();
        while let Some(worker) = self.chaos.goes_on(now) {
            self.members.go_on(worker);
        }
        while let Some(act) = self.chaos.next(self.turns.finished()) {
            match act {
                Act::Kill(first) => {
                    if let Some(worker) = self.someone_at_work(first)
                        && self.members.kill(worker)
                    {
                        self.lines[worker].was_killed = true;
                        self.casualties.workers_killed += 1;
                    }
                }
                Act::Stop(first, stands) => self.stop(first, now + stands),
                Act::KillManager => {
                    let killed = manager.kill_and_restart()?;
                    self.casualties.managers_killed += u64::from(killed);
                }
            }
        }
        Ok(())
    }

    fn stop(&mut self, first: usize, until: Instant) {
        if let Some(worker) = self.someone_at_work(first)
            && self.members.stop(worker)
        {
            self.chaos.stopped(worker, until);
            self.casualties.workers_stopped += 1;
        }
    }

    /// The first worker from `first` on, in a circle, that works and is not about to die.
    fn someone_at_work(&self, first: usize) -> Option<usize> {
        let workers = self.lines.len();
        (first..first + workers)
            .map(|worker| worker % workers)
            .find(|worker| {
                let line = &self.lines[*worker];
                line.is_ready
                    && !line.was_killed
                    && !line.has_finished
                    && self.turns.has_more(*worker)
            })
    }
}
