//! Getting credit: a call that lacks room leaves the gate, asks the manager, waits, and tries again.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use vidmm_arena::Kernel;
use vidmm_wire::{Ask, Join, Opening, ToManager};

use crate::agent::{Agent, AgentMode};
use crate::error::Error;
use crate::gate::Inside;
use crate::joined::connection::{Connected, connect_to, send_packet};
use crate::joined::{DEADLINE, JoinMode, Link, Membership, State};
use crate::pool::Pool;

/// How a call may get at its own offered memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Allowance {
    /// As far as the manager has licensed; alone: all of it.
    Licensed,
    /// All of it: there is nobody to ask.
    Any,
}

/// Why a call did not get its memory.
#[derive(Debug)]
pub(crate) enum Lack {
    /// Asking does not help.
    Never(Error),
    /// With so many bytes of credit, or of licence, it could. Otherwise, this is the error.
    Credit { bytes: u64, error: Error },
}

impl From<Error> for Lack {
    fn from(error: Error) -> Self {
        Lack::Never(error)
    }
}

/// One who waits, and what became of it.
#[derive(Debug)]
pub(super) struct Ticket {
    thread: Thread,
    fate: AtomicU8,
}

/// What became of a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Fate {
    Waiting,
    /// There is something new: try again.
    Served,
    /// The manager says no.
    Refused,
    /// There is nobody any more who could answer.
    LetGo,
}

impl Ticket {
    fn new() -> Arc<Self> {
        Arc::new(Ticket {
            thread: thread::current(),
            fate: AtomicU8::new(Fate::Waiting as u8),
        })
    }

    /// Says what became of it. Whoever waits goes on.
    pub(super) fn settle(&self, fate: Fate) {
        self.fate.store(fate as u8, Ordering::Release);
        self.thread.unpark();
    }

    fn fate(&self) -> Fate {
        match self.fate.load(Ordering::Acquire) {
            0 => Fate::Waiting,
            1 => Fate::Served,
            2 => Fate::Refused,
            _ => Fate::LetGo,
        }
    }
}

/// A call tries so often, however often something comes in between.
const TRIES_MAX: u32 = 16;

/// Without an agent's thread, whoever waits looks so often whether another has read its answer.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// What to do before the next try.
enum Next {
    Wait(Arc<Ticket>, Option<u32>),
    /// Nothing: try again.
    Retry,
    /// There is nobody to ask: take of the own memory.
    TakeOwn,
    GiveUp(Error),
}

impl<K: Kernel> Pool<K> {
    /// Makes `attempt`, inside the gate, until it has its memory or there is none. Between tries it
    /// waits for the manager outside the gate: at most [`DEADLINE`] in all.
    pub(crate) fn with_credit<T>(
        &self,
        mut attempt: impl FnMut(&Inside<'_>, Allowance) -> Result<T, Lack>,
    ) -> Result<T, Error> {
        let mut allowance = Allowance::Licensed;
        let mut until = None;
        for _ in 0..TRIES_MAX {
            let (next, error) = {
                let inside = self.enter()?;
                match attempt(&inside, allowance) {
                    Ok(done) => return Ok(done),
                    Err(Lack::Never(error)) => return Err(error),
                    Err(Lack::Credit { error, .. }) if allowance == Allowance::Any => {
                        return Err(error);
                    }
                    Err(Lack::Credit { bytes, error }) => (self.seek(&inside, bytes), error),
                }
            };
            match next {
                Next::Retry => {}
                Next::TakeOwn => allowance = Allowance::Any,
                Next::GiveUp(error) => return Err(error),
                Next::Wait(ticket, request) => {
                    let until = *until.get_or_insert_with(|| Instant::now() + DEADLINE);
                    match self.wait(&ticket, until) {
                        Fate::Served => {}
                        Fate::Refused => return Err(error),
                        Fate::LetGo => allowance = Allowance::Any,
                        Fate::Waiting => {
                            self.stop_waiting(&ticket, request);
                            allowance = Allowance::Any;
                        }
                    }
                }
            }
        }
        // Others have been quicker all the time.
        let inside = self.enter()?;
        attempt(&inside, Allowance::Any).map_err(|lack| match lack {
            Lack::Never(error) | Lack::Credit { error, .. } => error,
        })
    }

    /// Whether so much may be taken of the own offered memory.
    pub(crate) fn may_take_own(&self, allowance: Allowance, bytes: u64) -> bool {
        if allowance == Allowance::Any || self.link.is_alone() {
            return true;
        }
        let mut state = self.link.state();
        match state.membership {
            Membership::Joined { .. } => {
                state.is_suspect
                    || self.credit_left_to_ask(&state) == 0
                    || state.take_licence(bytes)
            }
            Membership::Undecided | Membership::Opening => false,
            Membership::Alone | Membership::Apart => true,
        }
    }

    /// What the cap that the program has set leaves to ask for, in bytes.
    fn credit_left_to_ask(&self, state: &State) -> u64 {
        let owed = state.owed_bytes.saturating_add(state.owed_to_cap_bytes);
        let counted = self.room.credit_bytes().saturating_add(owed);
        self.cap_bytes().saturating_sub(counted)
    }

    /// Decides how to get at `bytes`, and begins it.
    fn seek(&self, inside: &Inside<'_>, bytes: u64) -> Next {
        let mut state = self.link.state();
        match state.membership {
            Membership::Alone => Next::Retry,
            Membership::Undecided => self.open(inside, state),
            Membership::Apart if state.may_try() => self.open(inside, state),
            Membership::Apart => Next::TakeOwn,
            Membership::Opening | Membership::Joined { .. } if state.is_suspect => Next::TakeOwn,
            Membership::Opening => {
                let ticket = Ticket::new();
                state.opening.push(Arc::clone(&ticket));
                Next::Wait(ticket, None)
            }
            Membership::Joined { .. } if bytes > self.credit_left_to_ask(&state) => Next::TakeOwn,
            Membership::Joined { .. } => {
                drop(state);
                self.ask(bytes)
            }
        }
    }

    /// Asks the manager.
    fn ask(&self, bytes: u64) -> Next {
        let supply = self.offered_supply();
        let mut state = self.link.state();
        let Some(connection) = state.connection.clone() else {
            return Next::Retry;
        };
        let request = state.next_request();
        let asked = ToManager::Ask(Ask {
            request,
            bytes,
            supply,
        });
        if !say(&connection, &asked) {
            // It does not read what is said to it.
            state.is_suspect = true;
            return Next::TakeOwn;
        }
        let ticket = Ticket::new();
        state.asking.insert(request, Arc::clone(&ticket));
        Next::Wait(ticket, Some(request))
    }

    /// Looks for a manager and says hello. Until it answers there is no new credit.
    fn open(&self, inside: &Inside<'_>, mut state: std::sync::MutexGuard<'_, State>) -> Next {
        match self.connect(&mut state) {
            Opened::Yes(connection) => {
                let ticket = Ticket::new();
                state.opening.push(Arc::clone(&ticket));
                drop(state);
                if self.agent.watch_manager(&connection).is_err() {
                    self.parted(inside);
                }
                Next::Wait(ticket, None)
            }
            Opened::Nobody => match self.link.options.mode {
                _ if state.was_joined => Next::TakeOwn,
                JoinMode::Shared => Next::GiveUp(Error::NoManager),
                JoinMode::Auto | JoinMode::Embedded => {
                    self.fall_back(&mut state);
                    Next::Retry
                }
            },
        }
    }

    /// The agent's part: tries to join a manager that has appeared. Nobody waits for it.
    pub(super) fn try_to_join(&self, inside: &Inside<'_>) {
        let mut state = self.link.state();
        let is_apart = matches!(state.membership, Membership::Alone | Membership::Apart);
        if self.link.options.mode == JoinMode::Embedded || !is_apart || !state.may_try() {
            return;
        }
        if let Opened::Yes(connection) = self.connect(&mut state) {
            drop(state);
            if self.agent.watch_manager(&connection).is_err() {
                self.parted(inside);
            }
        }
    }

    fn connect(&self, state: &mut State) -> Opened {
        let connection = match connect_to(&self.link.options.sockets) {
            Connected::To(socket) => Arc::new(socket),
            Connected::Nowhere => {
                // Cheap to find out, so every tick may.
                return Opened::Nobody;
            }
            Connected::NotNow => {
                state.try_later();
                return Opened::Nobody;
            }
        };
        // From here on what is held can only shrink.
        self.link.is_alone.store(false, Ordering::Release);
        self.room.cut_unused(u64::MAX);
        let join = Join {
            held_bytes: self.room.held_bytes(),
            reservation_bytes: state.wanted_reservation_bytes,
            incarnation: state.incarnation,
        };
        if send_packet(&connection, &Opening::Join(join).encode()).is_err() {
            state.try_later();
            self.fall_back(state);
            return Opened::Nobody;
        }
        state.membership = Membership::Opening;
        state.opened_at = Instant::now();
        state.owed_bytes = 0;
        state.owed_to_cap_bytes = 0;
        state.connection = Some(Arc::clone(&connection));
        Opened::Yes(connection)
    }

    /// Back to what rules without a manager: the own budget, unless a manager has ever granted
    /// anything or the program wants no memory without one.
    pub(super) fn fall_back(&self, state: &mut State) {
        if state.was_joined || self.link.options.mode == JoinMode::Shared {
            state.membership = match state.was_joined {
                true => Membership::Apart,
                false => Membership::Undecided,
            };
            return;
        }
        state.membership = Membership::Alone;
        self.link.is_alone.store(true, Ordering::Release);
        self.lend_own_budget();
    }

    /// Waits, outside the gate and all locks, until the ticket is settled or time is up.
    fn wait(&self, ticket: &Ticket, until: Instant) -> Fate {
        loop {
            let fate = ticket.fate();
            let left = until.saturating_duration_since(Instant::now());
            if fate != Fate::Waiting || left.is_zero() {
                return fate;
            }
            match self.options.agent {
                // A callback on the agent's own thread waits for nobody else.
                AgentMode::Thread if !Agent::is_this_thread() => thread::park_timeout(left),
                AgentMode::Thread | AgentMode::Host => self.read_myself(left.min(LOOK_AGAIN)),
            }
        }
    }

    /// Without an agent's thread: waits for the manager, and acts on what it says.
    fn read_myself(&self, most: Duration) {
        let connection = {
            let _inside = self.gate.enter();
            self.link.state().connection.clone()
        };
        let Some(connection) = connection else {
            return thread::park_timeout(most);
        };
        let wait = Timespec::try_from(most).ok();
        let mut readable = [PollFd::new(&*connection, PollFlags::IN)];
        let _ = poll(&mut readable, wait.as_ref());
        let inside = self.gate.enter();
        self.heed(&inside);
    }

    /// Time is up: nobody waits for this manager again until it says something.
    fn stop_waiting(&self, ticket: &Arc<Ticket>, request: Option<u32>) {
        let _inside = self.gate.enter();
        let mut state = self.link.state();
        state.opening.retain(|other| !Arc::ptr_eq(other, ticket));
        let Some(request) = request else {
            state.is_suspect = true;
            if matches!(state.membership, Membership::Opening) && !state.was_joined {
                // The welcome may still come, and finds whatever is held then.
                self.lend_own_budget();
            }
            return;
        };
        if state.asking.remove(&request).is_some() {
            state.is_suspect = true;
            if let Some(connection) = state.connection.clone() {
                say(&connection, &ToManager::Withdraw { request });
            }
        }
    }

    /// While a manager is silent that never granted anything, the own budget is in force.
    pub(super) fn lend_own_budget(&self) {
        if self.link.options.mode == JoinMode::Auto {
            let missing = self
                .own_budget_bytes()
                .saturating_sub(self.room.credit_bytes());
            self.room.raise(missing);
        }
    }
}

enum Opened {
    Yes(Arc<OwnedFd>),
    Nobody,
}

/// Sends a message; whether it went.
pub(super) fn say(connection: &OwnedFd, message: &ToManager) -> bool {
    vidmm_wire::encode(message).is_some_and(|packet| send_packet(connection, &packet).is_ok())
}

impl Link {
    /// Settles everybody who waits for the welcome.
    pub(super) fn settle_opening(state: &mut State, fate: Fate) {
        for ticket in state.opening.drain(..) {
            ticket.settle(fate);
        }
    }

    /// Nobody will answer: everybody goes on without.
    pub(super) fn let_go(state: &mut State) {
        Self::settle_opening(state, Fate::LetGo);
        for ticket in std::mem::take(&mut state.asking).into_values() {
            ticket.settle(Fate::LetGo);
        }
        state.debt_request = None;
    }
}
