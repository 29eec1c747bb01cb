//! What no safe wrapper offers: who is behind a socket, and descriptors handed over at the start.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;

/// `SO_PEERPIDFD`, the same number on every architecture that uses the generic list.
const SO_PEERPIDFD: c_int = 77;

/// Whom the kernel names as the peer of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer {
    /// The process that connected; 0: it is in a PID namespace that this process cannot see into.
    pub(crate) pid: u32,
    /// Its user then.
    pub(crate) uid: u32,
}

/// The peer of a connection. (Rustix's call has no value for a process that cannot be seen.)
pub(crate) fn peer_of(socket: BorrowedFd<'_>) -> Result<Peer, Errno> {
    let mut found = libc::ucred {
        pid: 0,
        uid: 0,
        gid: 0,
    };
    let size = get_option(socket, libc::SO_PEERCRED, &mut found)?;
    if size != size_of::<libc::ucred>() {
        return Err(Errno::INVAL);
    }
    Ok(Peer {
        pid: u32::try_from(found.pid).unwrap_or(0),
        uid: found.uid,
    })
}

/// The process behind a connection, as a descriptor that can never come to mean another one.
/// Linux 6.5 or later.
pub(crate) fn peer_pidfd(socket: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let mut raw: c_int = -1;
    get_option(socket, SO_PEERPIDFD, &mut raw)?;
    if raw < 0 {
        return Err(Errno::BADF);
    }
    // SAFETY: the kernel has just made this descriptor for this call; nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// Plain values of the kernel's, which any bytes are a value of.
trait Plain: Copy {}
impl Plain for libc::ucred {}
impl Plain for c_int {}

/// Reads an option of a socket; says how many bytes of `value` the kernel wrote.
fn get_option<T: Plain>(
    socket: BorrowedFd<'_>,
    option: c_int,
    value: &mut T,
) -> Result<usize, Errno> {
    let mut size = libc::socklen_t::try_from(size_of::<T>()).map_err(|_| Errno::INVAL)?;
    // SAFETY: `value` is valid for writes of `size` bytes, any of which make a `Plain`.
    let failed = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            std::ptr::from_mut(value).cast(),
            &raw mut size,
        )
    };
    match failed {
        0 => Ok(size as usize),
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)),
    }
}

/// A descriptor that whoever started this program left for it, now this program's own and closed on
/// `exec`. `None`: there is no such descriptor.
///
/// To be called once for each number, before anything else could own it.
pub(crate) fn handed_over(raw: RawFd) -> Option<OwnedFd> {
    // SAFETY: the borrow ends with this function; a number that is no descriptor only gives EBADF
    // in the call below.
    let borrowed = unsafe { BorrowedFd::borrow_raw(raw) };
    rustix::io::fcntl_setfd(borrowed.as_fd(), rustix::io::FdFlags::CLOEXEC).ok()?;
    // SAFETY: it is open, and the protocol of LISTEN_FDS says that it is this process's to own.
    Some(unsafe { OwnedFd::from_raw_fd(raw) })
}
