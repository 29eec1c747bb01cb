//! What can go wrong between an operator and a manager, in words.

use std::path::PathBuf;
use std::time::Duration;

use rustix::io::Errno;
use vidmm_wire::{CommandFailed, DecodeError, Served, VERSION};

/// Why an operator's request came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OperatorError {
    /// No socket in any of these places, or nobody behind it.
    #[error(
        "no manager is running ({}); start one with `vidmm serve`, or say where it listens with \
         --socket PATH or VIDMM_SOCKET",
        reasons(.0)
    )]
    NoManager(Vec<(PathBuf, Absent)>),
    /// The socket's permissions say no.
    #[error(
        "no right to connect to {}: it belongs to another user's manager; run this as that user or \
         as root", .0.display()
    )]
    NoRight(PathBuf),
    /// There is something else.
    #[error("{} is no socket of a vidmm manager ({})", .0.display(), .1)]
    NotVidmm(PathBuf, String),
    /// No answer.
    #[error(
        "the manager at {} does not answer within {:.0?}: it is stopped or hangs (which it should \
         not: look at its log, and end it with SIGKILL if need be; its clients lose nothing)",
        .path.display(), .waited
    )]
    Silent {
        /// Where.
        path: PathBuf,
        /// For how long.
        waited: Duration,
    },
    /// It speaks otherwise.
    #[error(
        "the manager at {} speaks {} of the protocol, and this program version {VERSION}: use the \
         `vidmm` that the manager was installed with",
        .0.display(), versions(*.1)
    )]
    Version(PathBuf, Served),
    /// It does not serve this operator.
    #[error("the manager at {} refuses: {}", .0.display(), .1)]
    Refused(PathBuf, String),
    /// It hung up.
    #[error("the manager at {} ended the connection in the middle of an answer; try again", .0.display())]
    Broken(PathBuf),
    /// The request is not allowed or not sensible.
    #[error("{}", failed(.0))]
    Failed(CommandFailed),
    /// The kernel says so.
    #[error("cannot talk to the manager at {}: {}", .0.display(), .1)]
    Kernel(PathBuf, Errno),
}

/// In which way there is nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absent {
    /// No such file.
    NoFile,
    /// A socket that nobody listens on.
    Left,
}

impl OperatorError {
    /// What came is no message of the protocol.
    pub(crate) fn malformed(path: PathBuf, error: &DecodeError) -> Self {
        Self::NotVidmm(path, error.to_string())
    }
}

fn reasons(places: &[(PathBuf, Absent)]) -> String {
    let reason = |(path, absent): &(PathBuf, Absent)| match absent {
        Absent::NoFile => format!("no socket {}", path.display()),
        Absent::Left => format!("nobody listens on {} any more", path.display()),
    };
    places.iter().map(reason).collect::<Vec<_>>().join(", ")
}

fn versions(served: Served) -> String {
    match served.oldest == served.newest {
        true => format!("version {}", served.newest),
        false => format!("versions {} to {}", served.oldest, served.newest),
    }
}

fn failed(why: &CommandFailed) -> String {
    match why {
        CommandFailed::NotAllowed => {
            "only root and the user that the manager runs as may do this; \
             run it as one of them"
                .to_owned()
        }
        CommandFailed::BadBudget(text) => format!(
            "the manager does not take this budget: {}",
            crate::output::printable(text)
        ),
        CommandFailed::Busy => {
            "another request of this kind is under way; try again when it is done".to_owned()
        }
    }
}
