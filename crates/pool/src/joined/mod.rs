//! The link to a manager: whether this process shares a budget with others, and what it may hold.
//!
//! A pool is *alone* (its budget is its own), or *joined* (its credit is what a manager granted), or
//! on the way between the two. Who asks, waits outside the gate and without any lock, so that
//! neither `fork` nor an order from the manager waits for it. Everything that comes from the
//! manager is acted upon by the agent, or in [`crate::AgentMode::Host`] by whoever waits.
//!
//! Nothing here is touched by offer, reclaim of intact memory, lock, unlock or destroy.
//!
//! # Locks
//!
//! Inside the gate: `reading` - (reclaimer) - `state`, which is a leaf.

mod connection;
mod heed;
mod notices;
mod options;
mod seek;
mod supply;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub(crate) use notices::Notices;
pub use notices::{Notice, SubscriptionId};
pub use options::{JoinMode, JoinOptions};
use seek::Ticket;
pub(crate) use seek::{Allowance, Lack};
use supply::Times;

/// No call waits longer for the manager, all its waits together.
pub(crate) const DEADLINE: Duration = Duration::from_secs(1);
/// After a failed try to join, the next one is not before; doubled up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Whether, and to whom, a pool is joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Membership {
    /// Nothing was needed yet, so it was not looked for a manager.
    Undecided,
    /// The budget is the pool's own.
    Alone,
    /// A manager was found and has not answered yet.
    Opening,
    /// The credit is what a manager grants.
    Joined {
        /// Which life of the manager it is.
        incarnation: u64,
        /// How the manager sees this process.
        pid: u32,
    },
    /// It was joined, and the manager is gone: the credit stays what it was until it is back.
    Apart,
}

/// The link.
#[derive(Debug)]
pub(crate) struct Link {
    options: JoinOptions,
    /// The pool's own budget rules: nobody is asked.
    is_alone: AtomicBool,
    state: Mutex<State>,
    /// Held by whoever reads from the manager and acts on it.
    reading: Mutex<()>,
    times: Mutex<Times>,
    /// Ticks of the miss clock that stand for time only.
    own_ticks: AtomicU32,
}

/// What the manager told last of this process's budget.
#[derive(Debug, Clone, Copy, Default)]
struct ToldBudget {
    budget_bytes: u64,
    whole_bytes: u64,
    reservation_bytes: u64,
    available_bytes: u64,
}

#[derive(Debug)]
struct State {
    membership: Membership,
    connection: Option<Arc<OwnedFd>>,
    opened_at: Instant,
    /// It was joined at least once: there is no way back to a budget of its own.
    was_joined: bool,
    /// The manager did not answer in time: nobody waits for it until it says something.
    is_suspect: bool,
    /// The incarnation that granted what is held; 0 is none.
    incarnation: u64,
    retry_at: Option<Instant>,
    retry_after: Duration,
    last_request: u32,
    /// Those who wait for an answer, by request.
    asking: BTreeMap<u32, Arc<Ticket>>,
    /// Those who wait for the welcome.
    opening: Vec<Arc<Ticket>>,
    /// The request for a debt, which nobody waits for.
    debt_request: Option<u32>,
    /// What may be taken of the own offered memory without asking, in bytes, and until when.
    licence_bytes: u64,
    licence_until: Option<Instant>,
    /// Debited for orders that stand, and not yet returned, in bytes.
    owed_bytes: u64,
    /// The same for the cap that the program has set for itself: it may change its mind.
    owed_to_cap_bytes: u64,
    told: ToldBudget,
    /// What was asked to be reserved, in bytes.
    wanted_reservation_bytes: u64,
    /// Why the manager did not serve this process, in its words.
    refusal: Option<String>,
}

impl Link {
    pub(crate) fn new(options: JoinOptions) -> Self {
        let alone = options.mode == JoinMode::Embedded;
        Link {
            options,
            is_alone: AtomicBool::new(alone),
            state: Mutex::new(State::new(alone)),
            reading: Mutex::default(),
            times: Mutex::default(),
            own_ticks: AtomicU32::new(0),
        }
    }

    /// Whether the pool begins with its own budget as its credit.
    pub(crate) fn begins_alone(&self) -> bool {
        self.options.mode == JoinMode::Embedded
    }

    /// Whether nobody is asked.
    pub(crate) fn is_alone(&self) -> bool {
        self.is_alone.load(Ordering::Acquire)
    }

    /// How often the miss clock ticked for the sake of time, without a miss; wraps.
    pub(crate) fn own_ticks(&self) -> u32 {
        self.own_ticks.load(Ordering::Relaxed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_joined(&self) -> bool {
        !self.is_alone() && matches!(self.state().membership, Membership::Joined { .. })
    }

    pub(crate) fn membership(&self) -> Membership {
        self.state().membership
    }

    /// Why the manager did not serve this process, if it said so.
    pub(crate) fn refusal(&self) -> Option<String> {
        self.state().refusal.clone()
    }

    /// The budget of this process as the manager told it, and all that there is; `None` unless it
    /// is, or was, joined.
    pub(crate) fn told_budget_bytes(&self) -> Option<(u64, u64)> {
        if self.is_alone() {
            return None;
        }
        let state = self.state();
        let told = state.told;
        state
            .was_joined
            .then_some((told.budget_bytes, told.whole_bytes))
    }

    /// What is reserved for this process and what could be, in bytes, as the manager told it.
    pub(crate) fn told_reservation_bytes(&self) -> Option<(u64, u64)> {
        let state = self.state();
        let told = state.told;
        state
            .was_joined
            .then_some((told.reservation_bytes, told.available_bytes))
    }

    /// Which reasons of pressure are the manager's business while the process is joined: the
    /// machine's. The cgroup is always the process's own.
    pub(crate) fn leaves_to_manager(&self, reason: vidmm_machine::Reason) -> bool {
        use vidmm_machine::Reason;
        matches!(reason, Reason::PsiMachine | Reason::LowAvailable) && self.is_joined()
    }

    /// In a child made by `fork`: the connection is the parent's, and so is the credit that nothing
    /// is behind. The caller has cut that.
    pub(crate) fn in_child(&self) {
        let mut state = self.state();
        let connection = state.connection.take();
        let undecided = !self.begins_alone() && (state.was_joined || !self.is_alone());
        let wanted_reservation_bytes = state.wanted_reservation_bytes;
        *state = State::new(!undecided);
        state.wanted_reservation_bytes = wanted_reservation_bytes;
        self.is_alone.store(!undecided, Ordering::Release);
        drop(state);
        if let Some(connection) = connection {
            // Threads that did not come along may have a reference, which nobody here drops.
            crate::fork::close_copy(std::os::fd::AsFd::as_fd(&*connection));
            std::mem::forget(connection);
        }
    }
}

impl State {
    fn new(alone: bool) -> Self {
        State {
            membership: match alone {
                true => Membership::Alone,
                false => Membership::Undecided,
            },
            connection: None,
            opened_at: Instant::now(),
            was_joined: false,
            is_suspect: false,
            incarnation: 0,
            retry_at: None,
            retry_after: RETRY_MIN,
            last_request: 0,
            asking: BTreeMap::new(),
            opening: Vec::new(),
            debt_request: None,
            licence_bytes: 0,
            licence_until: None,
            owed_bytes: 0,
            owed_to_cap_bytes: 0,
            told: ToldBudget::default(),
            wanted_reservation_bytes: 0,
            refusal: None,
        }
    }

    /// Whether another try to join is due.
    fn may_try(&self) -> bool {
        self.retry_at.is_none_or(|at| Instant::now() >= at)
    }

    /// A try to join came to nothing: the next one is later.
    fn try_later(&mut self) {
        self.retry_at = Some(Instant::now() + self.retry_after);
        self.retry_after = (2 * self.retry_after).min(RETRY_MAX);
    }

    fn next_request(&mut self) -> u32 {
        self.last_request = self.last_request.wrapping_add(1).max(1);
        self.last_request
    }

    /// Takes `bytes` of the licence, whole or not at all.
    fn take_licence(&mut self, bytes: u64) -> bool {
        let holds = self
            .licence_until
            .is_some_and(|until| Instant::now() < until);
        if !holds || self.licence_bytes < bytes {
            return false;
        }
        self.licence_bytes -= bytes;
        true
    }
}
