//! What can go wrong when the machine is asked about its memory.

use std::io;
use std::path::PathBuf;

use crate::size::ByteSize;

/// The machine's files could not be read or did not make sense.
///
/// A file that is simply not there (no cgroup, no limit at this level) is no error: the question is
/// then answered without it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MachineError {
    /// A file exists but cannot be read.
    #[error("cannot read {}; allow this process to read it, or state the budget in bytes", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel answered.
        source: io::Error,
    },
    /// A file is longer than anything the kernel writes there.
    #[error("{} is longer than {}; it is not the kernel's file", path.display(), ByteSize(*limit_bytes))]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The most that is read of it, in bytes.
        limit_bytes: u64,
    },
    /// A line that this crate needs is not in the file.
    #[error("{} has no {field}; a kernel of 3.14 or later writes it, so mount the real /proc, or state the budget in bytes", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The name of the line.
        field: &'static str,
    },
    /// A number in the file is not a number, or is too large.
    #[error("{}: {field} reads {text:?}, which is not a number of bytes; check what is mounted there, or state the budget in bytes", path.display())]
    Number {
        /// The file.
        path: PathBuf,
        /// The name of the value.
        field: &'static str,
        /// What stands there, cut to 64 characters.
        text: String,
    },
    /// The budget that was asked for comes to nothing on this machine.
    #[error("{share} of {} is no memory at all; ask for a larger share or state the budget in bytes", ByteSize(*base_bytes))]
    BudgetIsZero {
        /// The share that was asked for, in words.
        share: String,
        /// What it is a share of, in bytes.
        base_bytes: u64,
    },
}
