//! Who is alive: a lock on a byte for each opener, held through its own open file description.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use crate::word::Opener;

/// Beyond the end of every file there can be, so that nobody reads or writes there.
const FIRST_BYTE: i64 = 1 << 62;

/// Takes the lock of `opener` if nobody has it through another open file description.
pub(crate) fn take(file: BorrowedFd<'_>, opener: Opener) -> Result<bool, Errno> {
    match set(file, opener, libc::F_WRLCK) {
        Ok(()) => Ok(true),
        Err(Errno::AGAIN | Errno::ACCESS) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Gives a lock back.
pub(crate) fn give_back(file: BorrowedFd<'_>, opener: Opener) {
    // It can only fail for a wrong argument.
    let _ = set(file, opener, libc::F_UNLCK);
}

fn set(file: BorrowedFd<'_>, opener: Opener, kind: libc::c_int) -> Result<(), Errno> {
    // The constants of the kinds fit the type of the member.
    #[allow(clippy::cast_possible_truncation)]
    let lock = libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: FIRST_BYTE + i64::from(opener.number()),
        l_len: 1,
        l_pid: 0,
    };
    // SAFETY: the descriptor is open, and the command reads a `flock`. It never waits.
    let answer = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) };
    match answer {
        -1 => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)),
        _ => Ok(()),
    }
}
