//! Signals on their way to the command.
//!
//! The command is in this program's process group, so that it has the terminal as if it had been
//! started without this program. What the terminal sends it sends to the whole group: that the
//! command has already. What a process sends to this program alone is handed on. The kernel says
//! which is which.
//!
//! Signals that are ignored when this program starts (`nohup`) stay so, for the command too.

use std::process::Child;
use std::thread::{self, JoinHandle};

use rustix::fd::OwnedFd;
use rustix::process::{
    Pid, PidfdFlags, Signal, getpgid, getpid, getsid, pidfd_open, pidfd_send_signal,
};
use signal_hook::consts::{
    SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2, SIGWINCH,
};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::backend::Handle;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::iterator::exfiltrator::origin::Origin;
use signal_hook::low_level::siginfo::Cause;

use crate::output::Failure;

/// What is handed on.
const HANDED_ON: [i32; 9] = [
    SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT, SIGTSTP,
];
/// No process group has a longer chain of parents.
const PARENTS_MAX: usize = 4096;

/// Signals that were caught and wait for somebody to give them to.
#[derive(Debug)]
pub(crate) struct Caught(SignalsInfo<WithOrigin>);

impl Caught {
    /// Catches them from now on.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(crate) fn catch() -> Result<Self, Failure> {
        let ignored = ignored();
        let wanted = HANDED_ON
            .iter()
            .filter(|signal| ignored & (1 << (**signal - 1)) == 0);
        Ok(Self(SignalsInfo::new(wanted)?))
    }
}

/// Hands signals on to a command until dropped.
#[derive(Debug)]
pub(crate) struct Forwarding {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl Forwarding {
    /// Begins with what was caught already.
    ///
    /// # Errors
    /// No descriptor of the command can be had, or no thread.
    pub(crate) fn begin(caught: Caught, child: &Child) -> Result<Self, Failure> {
        // By descriptor: a number may be another process's by the time a signal comes.
        let command = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
        let Caught(mut signals) = caught;
        let handle = signals.handle();
        let thread = thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                for origin in &mut signals {
                    hand_on(&command, &origin);
                }
            })?;
        Ok(Self {
            handle,
            thread: Some(thread),
        })
    }
}

impl Drop for Forwarding {
    fn drop(&mut self) {
        self.handle.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn hand_on(command: &OwnedFd, origin: &Origin) {
    let from_terminal = matches!(origin.cause, Cause::Kernel);
    if !from_terminal && let Some(signal) = Signal::from_named_raw(origin.signal) {
        // A command that has just ended needs nothing more.
        let _ = pidfd_send_signal(command, signal);
    }
    // This program stops with the command, where a shell is there to continue both: what the
    // kernel would have done, had the signal not been caught.
    if origin.signal == SIGTSTP && !(from_terminal && group_is_orphaned()) {
        let _ = signal_hook::low_level::emulate_default_handler(SIGTSTP);
    }
}

/// Which signals this process ignores: a bit each, the lowest for signal 1.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}

/// Whether nobody is there who would continue this process group: no member's parent is in
/// another group of the session. (The other members are children of this process.)
fn group_is_orphaned() -> bool {
    let (own_group, own_session) = (getpgid(None).ok(), getsid(None).ok());
    let mut process = getpid();
    for _ in 0..PARENTS_MAX {
        let Some(parent) = parent_of(process) else {
            return true;
        };
        if getsid(Some(parent)).ok() != own_session {
            return true;
        }
        if getpgid(Some(parent)).ok() != own_group {
            return false;
        }
        process = parent;
    }
    true
}

fn parent_of(process: Pid) -> Option<Pid> {
    let path = format!("/proc/{}/stat", process.as_raw_nonzero());
    let stat = std::fs::read_to_string(path).ok()?;
    // The name before the figures may hold anything, brackets too.
    let (_, figures) = stat.rsplit_once(')')?;
    Pid::from_raw(figures.split_whitespace().nth(1)?.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_are_found() {
        let parent = parent_of(getpid());
        assert_eq!(parent, rustix::process::getppid());
        assert_eq!(parent_of(Pid::from_raw(i32::MAX).unwrap()), None);
    }
}
