//! The command: how it is started and how it ended.

use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};

/// Why a command was not started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotStarted {
    /// There is no such program.
    #[error(
        "{0} is not found: no such program in PATH, or no such file, or the interpreter that its \
         first line names is missing"
    )]
    NotFound(String),
    /// There is something, and it cannot be run.
    #[error("{0} cannot be run: {1}")]
    NotExecutable(String, io::Error),
}

impl NotStarted {
    /// As shells have it.
    pub(crate) fn exit_status(&self) -> u8 {
        match self {
            Self::NotFound(_) => 127,
            Self::NotExecutable(..) => 126,
        }
    }
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// By itself, with this status.
    Exited(u8),
    /// By this signal.
    Killed(i32),
}

impl Ended {
    fn of(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Exited(u8::try_from(code & 0xff).unwrap_or(u8::MAX)),
            (None, signal) => Self::Killed(signal.unwrap_or(0)),
        }
    }

    /// The exit status that says so.
    pub(crate) fn exit_status(self) -> u8 {
        match self {
            Self::Exited(code) => code,
            Self::Killed(signal) => 128_u8.saturating_add(u8::try_from(signal).unwrap_or(0)),
        }
    }
}

/// Starts a command whose processes find the manager at `socket` and no other, and record into the
/// directory `trace`, if there is one.
///
/// # Errors
/// [`NotStarted`].
pub(crate) fn start(
    command: &[OsString],
    socket: &Path,
    trace: Option<&Path>,
) -> Result<Child, NotStarted> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(NotStarted::NotFound("nothing".to_owned()));
    };
    let started = Command::new(program)
        .args(arguments)
        .env("VIDMM_SOCKET", socket)
        .env("VIDMM_MODE", "shared")
        .envs(trace.map(|directory| ("VIDMM_TRACE", directory)))
        .spawn();
    started.map_err(|error| {
        let name = crate::output::printable(&program.to_string_lossy());
        match error.kind() {
            ErrorKind::NotFound => NotStarted::NotFound(name),
            _ => NotStarted::NotExecutable(name, error),
        }
    })
}

/// Waits for its end.
///
/// # Errors
/// The kernel does not tell.
pub(crate) fn wait(mut child: Child) -> io::Result<Ended> {
    child.wait().map(Ended::of)
}
