//! Why a file could not be made, opened or used.

use crate::about::{DATA_BYTES_MAX, MEMBERS_MAX};
use crate::word::OPENERS_MAX;

/// Why a shared resource was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The descriptor is not one of a shared resource.
    #[error("the descriptor is none of a shared resource of vidmm")]
    NotShared,
    /// A version of vidmm made it that this one does not understand.
    #[error("the shared resource is of format {found}, and this process understands {known}")]
    OtherFormat {
        /// The format of the file.
        found: u32,
        /// The one that this process understands.
        known: u32,
    },
    /// What the header says cannot be; only an opener can have written that.
    #[error("the shared resource's header is damaged: close it and make another")]
    Damaged,
    /// As many openings live as there can be.
    #[error("no more than {OPENERS_MAX} openings of a shared resource can live at once")]
    TooManyOpeners,
    /// Each opening needs an open file description of its own, which takes `/proc`.
    #[error("no /proc/self/fd: mount /proc, without which shared resources cannot be opened")]
    NoProc,
    /// The file's rights or those of this process do not allow it.
    #[error("no right to open the shared resource for reading and writing")]
    NotAllowed,
    /// No descriptor is left.
    #[error("no descriptor is left: raise the limit of open files, or close some")]
    Descriptors,
    /// `RLIMIT_FSIZE` is too small for one generation of the content.
    #[error("the limit of file sizes (ulimit -f) is below {wanted_bytes} bytes: raise it")]
    FileLimit {
        /// What one generation takes with all that is before it, in bytes.
        wanted_bytes: u64,
    },
    /// No allocation, or too many.
    #[error("a shared resource of {count} allocations: 1 to {MEMBERS_MAX} are possible")]
    BadCount {
        /// How many there would be.
        count: usize,
    },
    /// An allocation of no bytes, or of more than can be.
    #[error("an allocation of {size_bytes} bytes cannot be part of a shared resource")]
    BadSize {
        /// Its size, in bytes.
        size_bytes: u64,
    },
    /// More private data than is kept.
    #[error("{bytes} bytes of private data: at most {DATA_BYTES_MAX} are kept with a resource")]
    TooMuchData {
        /// How many bytes there would be.
        bytes: usize,
    },
    /// The kernel refused a call.
    #[error("the kernel refused memory or a file for a shared resource: {}", std::io::Error::from_raw_os_error(*.errno))]
    Kernel {
        /// Its error number.
        errno: i32,
    },
}

impl From<rustix::io::Errno> for Error {
    fn from(errno: rustix::io::Errno) -> Self {
        use rustix::io::Errno;
        match errno {
            Errno::MFILE | Errno::NFILE => Error::Descriptors,
            errno => Error::Kernel {
                errno: errno.raw_os_error(),
            },
        }
    }
}
