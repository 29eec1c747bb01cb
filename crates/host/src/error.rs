//! Why a manager cannot be started, or does not go on.

use std::io;
use std::path::PathBuf;

use vidmm_machine::{ByteSize, MachineError};

use crate::config::ConfigError;

/// Why a manager cannot be started, or does not go on. The text says what, where and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// The thread of a manager ended by a panic.
    #[error("the manager's thread panicked: this is a defect of vidmm; please report it")]
    Panicked,
    /// There is no place for the socket.
    #[error(
        "no place for the socket: set VIDMM_SOCKET or XDG_RUNTIME_DIR, or give --socket PATH \
         (/run/vidmm/manager.sock is for the system's manager, which root starts)"
    )]
    NoPlace,
    /// A path that the kernel takes for no socket.
    #[error(
        "the socket's path has {} bytes, the kernel takes {max} at most: {}; choose a shorter one",
        path.as_os_str().len(), path.display()
    )]
    PathTooLong {
        /// The path.
        path: PathBuf,
        /// The most bytes.
        max: usize,
    },
    /// Another manager serves this socket.
    #[error(
        "another manager{} serves {}; stop that one, or give this one another --socket",
        pid.map_or_else(String::new, |pid| format!(" (process {pid})")), socket.display()
    )]
    Taken {
        /// The other's process, where its lock file tells.
        pid: Option<u32>,
        /// The socket.
        socket: PathBuf,
    },
    /// A file that is no socket lies where the socket should.
    #[error("{} is there and is no socket; move it away, or give another --socket", path.display())]
    NoSocket {
        /// The file.
        path: PathBuf,
    },
    /// Others could put their own socket in the place of ours.
    #[error(
        "{}: the directory belongs to user {owner} and others may write there, so they could stand \
         in for this manager; use a directory of your own (mode 0700)", path.display()
    )]
    UnsafeDirectory {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// The kernel refused something with a file.
    #[error("cannot {what} {}: {source}{}", path.display(), hint(source))]
    File {
        /// What was tried, in words.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The kernel refused something else.
    #[error("cannot {what}: {source}")]
    Kernel {
        /// What was tried, in words.
        what: &'static str,
        /// What the kernel answered.
        source: io::Error,
    },
    /// What the service manager handed over is no socket of this protocol.
    #[error(
        "the service manager handed over {what}; the socket unit needs exactly one \
         ListenSequentialPacket=PATH"
    )]
    Activation {
        /// What, in words.
        what: String,
    },
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The machine's figures cannot be read.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// The budget is larger than what there is.
    #[error(
        "a budget of {} is more than the machine has ({}); give less{}",
        ByteSize(*budget_bytes), ByteSize(*most_bytes),
        if *swap { "" } else { ", or --allow-swap to count swap space" }
    )]
    BudgetAboveMemory {
        /// The budget, in bytes.
        budget_bytes: u64,
        /// What there is, in bytes.
        most_bytes: u64,
        /// Swap space is counted.
        swap: bool,
    },
    /// The budget cannot keep what the configuration promises.
    #[error(
        "{} of {} is more than the budget of {}; lower it, or raise the budget",
        what, ByteSize(*bytes), ByteSize(*budget_bytes)
    )]
    BudgetBelow {
        /// What is promised, in words.
        what: String,
        /// So many bytes.
        bytes: u64,
        /// The budget, in bytes.
        budget_bytes: u64,
    },
    /// The ledger is of a kind that is not known here.
    #[error(
        "{} is no ledger that this version can read ({why}); if none of that manager's clients is \
         alive any more, remove it", path.display()
    )]
    Ledger {
        /// The file.
        path: PathBuf,
        /// Why, in words.
        why: String,
    },
    /// The address for metrics cannot be used.
    #[error("metrics at {address}: {source}{}", hint(source))]
    Metrics {
        /// The address.
        address: String,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The sandbox could not be set up.
    #[error("cannot shut the sandbox: {why}; --no-sandbox runs without it")]
    Sandbox {
        /// Why, in words.
        why: String,
    },
}

/// What usually helps.
fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; the directory must be one that this user may write to"
        }
        io::ErrorKind::NotFound => "; create the directory first",
        io::ErrorKind::StorageFull => "; make room on that file system",
        io::ErrorKind::AddrInUse => "; another program has it: choose another",
        _ => "",
    }
}

impl HostError {
    pub(crate) fn file(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| HostError::File { what, path, source }
    }

    pub(crate) fn kernel<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |error| HostError::Kernel {
            what,
            source: error.into(),
        }
    }
}
