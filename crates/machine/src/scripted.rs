//! Pressure that a test or a simulation plays.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::event::{EventfdFlags, eventfd};

use crate::pressure::{
    Answer, Demand, Event, Interest, Pressure, Reason, SourceReport, SourceState, Token, Watch,
};

/// The most demands that may wait to be delivered.
pub const SCRIPT_EVENTS_MAX: usize = 4096;

/// The only descriptor.
const SCRIPT_TOKEN: Token = Token(0);

/// Pressure that says what its [`ScriptedPressureHandle`] was told.
///
/// It has a real descriptor, so an agent that waits on it wakes up; a simulation without
/// descriptors calls [`Pressure::answer`] itself, with the only token, `Token(0)`.
#[derive(Debug)]
pub struct ScriptedPressure {
    shared: Arc<Shared>,
    is_forgotten: bool,
}

/// Tells a [`ScriptedPressure`] what to say. May be cloned; any thread may use it.
#[derive(Debug, Clone)]
pub struct ScriptedPressureHandle {
    shared: Arc<Shared>,
}

/// More demands wait than [`SCRIPT_EVENTS_MAX`]: nobody takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{SCRIPT_EVENTS_MAX} demands wait already; let the agent run before pressing on")]
pub struct ScriptFull;

#[derive(Debug)]
struct Shared {
    /// Counts the demands that wait: one readable unit each.
    wake: OwnedFd,
    script: Mutex<Script>,
}

#[derive(Debug, Default)]
struct Script {
    demands: VecDeque<Demand>,
    level: Option<Demand>,
    /// Checks answered so far.
    checks: u64,
}

impl ScriptedPressure {
    /// A source that says nothing yet, and what to tell it with.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn new() -> io::Result<(Self, ScriptedPressureHandle)> {
        // Semaphore mode: each read takes one, so the descriptor stays ready for the next demand.
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK | EventfdFlags::SEMAPHORE;
        let wake = eventfd(0, flags)?;
        let shared = Arc::new(Shared {
            wake,
            script: Mutex::default(),
        });
        let handle = ScriptedPressureHandle {
            shared: Arc::clone(&shared),
        };
        Ok((
            Self {
                shared,
                is_forgotten: false,
            },
            handle,
        ))
    }
}

impl ScriptedPressureHandle {
    /// Makes the descriptor ready; the next [`Event::Ready`] answers `demand`, whatever can be given.
    /// A demand of 0 bytes is answered with [`Answer::Enough`].
    ///
    /// # Errors
    /// [`ScriptFull`], and nothing changed.
    pub fn press(&self, demand: Demand) -> Result<(), ScriptFull> {
        let mut script = self.shared.script();
        if script.demands.len() >= SCRIPT_EVENTS_MAX {
            return Err(ScriptFull);
        }
        // Under the lock, so that the count never runs ahead of the queue. It cannot overflow: the
        // queue bounds it.
        rustix::io::write(&self.shared.wake, &1_u64.to_ne_bytes()).map_err(|_| ScriptFull)?;
        script.demands.push_back(demand);
        Ok(())
    }

    /// What every [`Event::Check`] answers from now on.
    pub fn set_level(&self, level: Option<Demand>) {
        self.shared.script().level = level;
    }

    /// Demands that were not delivered yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.script().demands.len()
    }

    /// How many checks were answered so far: shows that an idle agent makes none.
    #[must_use]
    pub fn checks(&self) -> u64 {
        self.shared.script().checks
    }
}

impl Pressure for ScriptedPressure {
    fn descriptors(&self) -> Vec<Watch<'_>> {
        let watch = Watch {
            token: SCRIPT_TOKEN,
            descriptor: self.shared.wake.as_fd(),
            interest: Interest::Readable,
        };
        if self.is_forgotten {
            Vec::new()
        } else {
            vec![watch]
        }
    }

    fn answer(&mut self, event: Event, _givable_bytes: u64) -> Answer {
        let mut script = self.shared.script();
        let demand = match event {
            Event::Ready { token, failed } if token != SCRIPT_TOKEN || failed => {
                return Answer::Unwatch(token);
            }
            Event::Ready { .. } => {
                // Takes one unit; that none is left is no error, the queue then is empty too.
                let _ = rustix::io::read(&self.shared.wake, &mut [0_u8; 8]);
                script.demands.pop_front()
            }
            Event::Check => {
                script.checks += 1;
                script.level
            }
        };
        match demand {
            Some(demand) if demand.bytes > 0 => Answer::GiveBack(demand),
            _ => Answer::Enough,
        }
    }

    fn forget(&mut self, token: Token) {
        self.is_forgotten |= token == SCRIPT_TOKEN;
    }

    fn describe(&self) -> Vec<SourceReport> {
        let state = if self.is_forgotten {
            SourceState::Off("forgotten by its caller".to_owned())
        } else {
            SourceState::Watching
        };
        vec![SourceReport {
            reason: Reason::Trim,
            path: None,
            state,
        }]
    }
}

impl Shared {
    /// A panic elsewhere leaves a script that is still whole: every change is one step.
    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
