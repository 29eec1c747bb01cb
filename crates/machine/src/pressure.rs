//! The seam between whoever waits for pressure and whatever reports it.

use std::fmt;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use rustix::event::{PollFlags, epoll};

/// Sources of memory pressure behind one set of descriptors.
///
/// The waiting is the caller's. An agent with an epoll set
///
/// 1. adds every [`Watch`] of [`descriptors`](Self::descriptors), level-triggered, keyed by its token;
/// 2. calls [`answer`](Self::answer) with [`Event::Ready`] when one is ready, `failed` set when
///    `EPOLLERR` or `EPOLLHUP` is among the flags;
/// 3. calls it with [`Event::Check`] on a slow timer (about once a second), only while it holds
///    something that could be given;
/// 4. on [`Answer::Unwatch`], takes that descriptor out of the epoll set first, then calls
///    [`forget`](Self::forget). In this order: a descriptor that a fork has copied stays in an epoll
///    set after it was closed, ready for ever.
///
/// No method waits. One thread at a time owns the value and may be any thread. After a fork the child
/// must not use it: the kernel hands each event to one of the two; open anew instead.
pub trait Pressure: Send + fmt::Debug {
    /// What to wait on now. It only shrinks, and only in [`forget`](Self::forget).
    fn descriptors(&self) -> Vec<Watch<'_>>;

    /// What to do about `event`.
    ///
    /// `givable_bytes`: what the caller could give back at most; a pressure event asks for a share of
    /// it, a check for what is lacking, which may be more.
    fn answer(&mut self, event: Event, givable_bytes: u64) -> Answer;

    /// Closes the descriptor behind `token`; a token that is not watched is ignored.
    fn forget(&mut self, token: Token);

    /// Every source that was looked for, with what became of it.
    fn describe(&self) -> Vec<SourceReport>;
}

/// Names one descriptor of one [`Pressure`] value; never reused by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u32);

/// One descriptor to wait on.
#[derive(Debug, Clone, Copy)]
pub struct Watch<'a> {
    /// Comes back in [`Event::Ready`].
    pub token: Token,
    /// The descriptor. To be waited on, never read or written by the caller.
    pub descriptor: BorrowedFd<'a>,
    /// What to wait for.
    pub interest: Interest,
}

/// What to wait for on a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Interest {
    /// An exceptional condition: how the kernel reports stalls.
    Priority,
    /// Something to read.
    Readable,
}

impl Interest {
    /// For an epoll set.
    #[must_use]
    pub fn epoll_flags(self) -> epoll::EventFlags {
        match self {
            Self::Priority => epoll::EventFlags::PRI,
            Self::Readable => epoll::EventFlags::IN,
        }
    }

    /// For a poll call.
    #[must_use]
    pub fn poll_flags(self) -> PollFlags {
        match self {
            Self::Priority => PollFlags::PRI,
            Self::Readable => PollFlags::IN,
        }
    }
}

/// Why the sources are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A descriptor is ready.
    Ready {
        /// Which.
        token: Token,
        /// An error or hang-up condition stands on it: it will never be quiet again.
        failed: bool,
    },
    /// The slow timer ticked.
    Check,
}

/// What the sources say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Answer {
    /// Nothing has to be done.
    Enough,
    /// So much should be given back now.
    GiveBack(Demand),
    /// Take this descriptor out of the set, then call [`Pressure::forget`].
    Unwatch(Token),
}

/// Bytes that should be given back, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// How many; never 0.
    pub bytes: u64,
    /// Why.
    pub reason: Reason,
}

/// For whose demand memory goes. The names are stable: traces and reports use them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The budget: own need, an order to shrink, or a lower budget.
    Budget,
    /// Somebody asked for a trim.
    Trim,
    /// The kernel reports stalls on the whole machine.
    PsiMachine,
    /// The kernel reports stalls in this process's cgroup.
    PsiCgroup,
    /// A limit of this process's cgroup, or of one above it, is near.
    CgroupLimit,
    /// The machine has little memory available.
    LowAvailable,
    /// The service manager's memory-pressure protocol.
    Systemd,
}

impl Reason {
    /// Every reason, in the order of declaration.
    pub const ALL: [Self; 7] = [
        Self::Budget,
        Self::Trim,
        Self::PsiMachine,
        Self::PsiCgroup,
        Self::CgroupLimit,
        Self::LowAvailable,
        Self::Systemd,
    ];

    /// The stable name, in snake_case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Budget => "budget",
            Self::Trim => "trim",
            Self::PsiMachine => "psi_machine",
            Self::PsiCgroup => "psi_cgroup",
            Self::CgroupLimit => "cgroup_limit",
            Self::LowAvailable => "low_available",
            Self::Systemd => "systemd",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One source and what became of it; `Display` is one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceReport {
    /// The reason this source gives.
    pub reason: Reason,
    /// The file behind it, where there is one.
    pub path: Option<PathBuf>,
    /// Whether it works.
    pub state: SourceState,
}

/// Whether a source works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceState {
    /// Its descriptor is among [`Pressure::descriptors`].
    Watching,
    /// It is looked at in [`Event::Check`].
    Checked,
    /// Somebody turned it off, or another source covers it: why.
    Off(String),
    /// The machine does not have it, or does not let us: why.
    Absent(String),
    /// It worked and then failed: why. A checked source is tried again at the next check.
    Failed(String),
}

impl fmt::Display for SourceReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.reason)?;
        if let Some(path) = &self.path {
            write!(f, "{}: ", path.display())?;
        }
        match &self.state {
            SourceState::Watching => f.write_str("watching"),
            SourceState::Checked => f.write_str("checked while something is held"),
            SourceState::Off(why) => write!(f, "off: {why}"),
            SourceState::Absent(why) => write!(f, "absent: {why}"),
            SourceState::Failed(why) => write!(f, "failed: {why}"),
        }
    }
}

/// No pressure from anywhere: for runs that must be deterministic.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPressure;

impl Pressure for NoPressure {
    fn descriptors(&self) -> Vec<Watch<'_>> {
        Vec::new()
    }

    fn answer(&mut self, _event: Event, _givable_bytes: u64) -> Answer {
        Answer::Enough
    }

    fn forget(&mut self, _token: Token) {}

    fn describe(&self) -> Vec<SourceReport> {
        Vec::new()
    }
}
