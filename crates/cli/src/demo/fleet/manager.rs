//! The manager of a run: on a thread of the demo, or a process of its own where it is to be killed.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use vidmm_host::Server;

use crate::operator::{Link, Place};
use crate::output::Failure;
use crate::own_manager::{Lodging, OwnManager, Setup, options};

/// How long a manager may take to listen.
const START_MAX: Duration = Duration::from_secs(10);
/// How often it is looked whether it does.
const START_INTERVAL: Duration = Duration::from_millis(5);

// Arguments of the hidden `vidmm demo-manager`, which only the demo starts.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    socket: PathBuf,
    budget_bytes: u64,
    /// The demo's process.
    parent: u32,
}

/// Serves until killed; ends with the demo.
///
/// # Errors
/// No socket.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    end_with(args.parent)?;
    Ok(Server::bind(options(&args.socket, Setup::of_budget(args.budget_bytes)))?.run()?)
}

/// From now on this process ends when its parent does, whatever it is at, even if it is stopped.
///
/// # Errors
/// The parent has ended already.
pub(crate) fn end_with(parent: u32) -> Result<(), Failure> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let now = getppid().map_or(0, |pid| pid.as_raw_nonzero().get().unsigned_abs());
    match now == parent {
        true => Ok(()),
        false => Err("the demo that this process belongs to has ended".into()),
    }
}

/// A running manager; it ends on drop.
#[derive(Debug)]
pub(crate) enum Manager {
    Thread(OwnManager),
    Process(Killable),
}

impl Manager {
    /// Starts one.
    ///
    /// # Errors
    /// No directory, no socket, no thread or process.
    pub(crate) fn start(budget_bytes: u64, is_killable: bool) -> Result<Self, Failure> {
        Ok(match is_killable {
            false => Self::Thread(OwnManager::start(Setup::of_budget(budget_bytes))?),
            true => Self::Process(Killable::start(budget_bytes)?),
        })
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> PathBuf {
        match self {
            Self::Thread(manager) => manager.socket(),
            Self::Process(manager) => manager.lodging.socket(),
        }
    }

    /// Kills it and starts its successor, which has to make do with what it left. Says whether this
    /// one could be killed.
    ///
    /// # Errors
    /// The successor does not start.
    pub(crate) fn kill_and_restart(&mut self) -> Result<bool, Failure> {
        match self {
            Self::Thread(_) => Ok(false),
            Self::Process(manager) => {
                manager.child.kill()?;
                manager.child.wait()?;
                manager.child = start_process(&manager.lodging.socket(), manager.budget_bytes)?;
                Ok(true)
            }
        }
    }
}

/// A manager that is a process.
#[derive(Debug)]
pub(crate) struct Killable {
    child: Child,
    budget_bytes: u64,
    lodging: Lodging,
}

impl Killable {
    fn start(budget_bytes: u64) -> Result<Self, Failure> {
        let lodging = Lodging::new()?;
        Ok(Self {
            child: start_process(&lodging.socket(), budget_bytes)?,
            budget_bytes,
            lodging,
        })
    }
}

impl Drop for Killable {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the process and waits until it listens.
fn start_process(socket: &Path, budget_bytes: u64) -> Result<Child, Failure> {
    use std::os::unix::process::CommandExt;
    let mut child = Command::new(std::env::current_exe()?)
        .arg("demo-manager")
        .arg(socket)
        .arg(budget_bytes.to_string())
        .arg(std::process::id().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .process_group(0)
        .spawn()?;
    let until = Instant::now() + START_MAX;
    loop {
        match Link::connect(&Place::at(socket)) {
            Ok(_) => return Ok(child),
            Err(error) if Instant::now() > until => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("the run's manager does not start: {error}").into());
            }
            Err(_) => {}
        }
        if let Some(status) = child.try_wait()? {
            return Err(format!("the run's manager ended at its start: {status}").into());
        }
        thread::sleep(START_INTERVAL);
    }
}
