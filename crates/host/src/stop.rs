//! How a manager is stopped or told to reload: by another thread, or by signals.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{EventfdFlags, eventfd};
use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level;

use crate::error::HostError;

/// Stops a [`crate::Server`] from any thread. Clones stop the same one.
#[derive(Debug, Clone)]
pub struct Stopper {
    flags: Arc<Flags>,
}

#[derive(Debug)]
struct Flags {
    event: OwnedFd,
    stop: AtomicBool,
    reload: AtomicBool,
}

impl Stopper {
    pub(crate) fn new() -> Result<Self, HostError> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(HostError::kernel("make an event descriptor"))?;
        Ok(Stopper {
            flags: Arc::new(Flags {
                event,
                stop: AtomicBool::new(false),
                reload: AtomicBool::new(false),
            }),
        })
    }

    /// The server ends soon: [`crate::Server::run`] returns. Never waits; more than once is once.
    pub fn stop(&self) {
        self.flags.stop.store(true, Ordering::Release);
        self.wake();
    }

    /// The server reads its configuration anew, soon. Never waits.
    pub fn reload(&self) {
        self.flags.reload.store(true, Ordering::Release);
        self.wake();
    }

    fn wake(&self) {
        // Full means that it is awake.
        let _ = rustix::io::write(&self.flags.event, &1_u64.to_ne_bytes());
    }

    pub(crate) fn event(&self) -> &OwnedFd {
        &self.flags.event
    }

    pub(crate) fn take_wishes(&self) -> Wishes {
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.flags.event, &mut count);
        Wishes {
            stop: self.flags.stop.load(Ordering::Acquire),
            reload: self.flags.reload.swap(false, Ordering::AcqRel),
        }
    }
}

/// What is to be done.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wishes {
    pub(crate) stop: bool,
    pub(crate) reload: bool,
}

/// Signals as something to wait for; no longer handled when this goes.
#[derive(Debug)]
pub(crate) struct Signals {
    pipe: UnixStream,
    stop: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
    handlers: Vec<SigId>,
}

impl Signals {
    pub(crate) fn new() -> Result<Self, HostError> {
        let failed = "handle signals";
        let (pipe, writer) = UnixStream::pair().map_err(HostError::kernel(failed))?;
        pipe.set_nonblocking(true)
            .map_err(HostError::kernel(failed))?;
        let mut signals = Signals {
            pipe,
            stop: Arc::default(),
            reload: Arc::default(),
            handlers: Vec::new(),
        };
        for signal in [SIGTERM, SIGINT, SIGHUP] {
            let flag = match signal {
                SIGHUP => &signals.reload,
                _ => &signals.stop,
            };
            let writer = writer.try_clone().map_err(HostError::kernel(failed))?;
            // Handlers run in this order: the flag is set when the pipe wakes.
            let set = signal_hook::flag::register(signal, Arc::clone(flag));
            signals
                .handlers
                .push(set.map_err(HostError::kernel(failed))?);
            let woken = low_level::pipe::register(signal, writer);
            signals
                .handlers
                .push(woken.map_err(HostError::kernel(failed))?);
        }
        Ok(signals)
    }

    pub(crate) fn descriptor(&self) -> &UnixStream {
        &self.pipe
    }

    pub(crate) fn take_wishes(&self) -> Wishes {
        let mut bytes = [0; 64];
        while rustix::io::read(&self.pipe, &mut bytes).is_ok_and(|count| count == bytes.len()) {}
        Wishes {
            stop: self.stop.load(Ordering::Acquire),
            reload: self.reload.swap(false, Ordering::AcqRel),
        }
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for handler in self.handlers.drain(..) {
            low_level::unregister(handler);
        }
    }
}
