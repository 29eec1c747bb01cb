//! The service manager's memory-pressure protocol: two environment variables name what to watch.
//!
//! Described at <https://systemd.io/PRESSURE/>. The variables are often inherited from a session's
//! terminal or shell, so the file may be another service's, or not ours to open.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::base64;
use crate::pressure::Interest;
use crate::psi;

/// Names the file, FIFO or socket to watch; `/dev/null` turns watching off.
pub const SYSTEMD_WATCH_VARIABLE: &str = "MEMORY_PRESSURE_WATCH";

/// Holds, in base64, what to write there after opening.
pub const SYSTEMD_WRITE_VARIABLE: &str = "MEMORY_PRESSURE_WRITE";

/// The most that is written, in bytes: a page, which a FIFO takes whole or not at all.
pub const SYSTEMD_WRITE_BYTES_MAX: usize = 4096;

/// The most that is read and thrown away for one event, in bytes; more makes another event.
const DRAIN_BYTES_MAX: usize = 64 << 10;

/// The two variables as the caller found them. This crate reads no environment itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SystemdEnvironment {
    /// The value of [`SYSTEMD_WATCH_VARIABLE`].
    pub watch: Option<OsString>,
    /// The value of [`SYSTEMD_WRITE_VARIABLE`].
    pub write: Option<OsString>,
}

/// What the service manager wants watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SystemdWatch {
    /// It says nothing.
    Unset,
    /// It wants no reaction to pressure events.
    Off,
    /// This is to be watched.
    At {
        /// Absolute path of a pressure-stall file, a FIFO or a listening Unix stream socket.
        path: PathBuf,
        /// What to write there after opening; often empty, at most [`SYSTEMD_WRITE_BYTES_MAX`].
        write: Vec<u8>,
    },
}

/// The variables hold something else than the protocol allows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SystemdError {
    /// The path is relative.
    #[error("{SYSTEMD_WATCH_VARIABLE} is not an absolute path; unset it or name the file in full")]
    RelativePath,
    /// The bytes to write are no base64.
    #[error("{SYSTEMD_WRITE_VARIABLE} is not base64 with padding; unset it or encode it again")]
    NotBase64,
    /// The bytes to write are too many.
    #[error("{SYSTEMD_WRITE_VARIABLE} holds more than {SYSTEMD_WRITE_BYTES_MAX} bytes; shorten it")]
    TooLong,
}

impl SystemdEnvironment {
    /// Takes the two variables from `lookup`, such as `|name| std::env::var_os(name)`.
    #[must_use]
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        Self {
            watch: lookup(SYSTEMD_WATCH_VARIABLE),
            write: lookup(SYSTEMD_WRITE_VARIABLE),
        }
    }

    /// What the variables say. An empty watch variable says nothing.
    ///
    /// # Errors
    /// The watch variable is a relative path, or the write variable is not base64 or too long. The
    /// write variable is not looked at where nothing is to be watched.
    pub fn parse(&self) -> Result<SystemdWatch, SystemdError> {
        let Some(watch) = self.watch.as_ref().filter(|value| !value.is_empty()) else {
            return Ok(SystemdWatch::Unset);
        };
        if watch == "/dev/null" {
            return Ok(SystemdWatch::Off);
        }
        let path = PathBuf::from(watch);
        if !path.is_absolute() {
            return Err(SystemdError::RelativePath);
        }
        let encoded = self
            .write
            .as_ref()
            .map_or(&b""[..], |value| value.as_bytes());
        // Checked before decoding, so that nothing grows with what stands there.
        if encoded.len() > SYSTEMD_WRITE_BYTES_MAX.div_ceil(3) * 4 {
            return Err(SystemdError::TooLong);
        }
        let write = base64::decode(encoded).ok_or(SystemdError::NotBase64)?;
        if write.len() > SYSTEMD_WRITE_BYTES_MAX {
            return Err(SystemdError::TooLong);
        }
        Ok(SystemdWatch::At { path, write })
    }
}

/// Opens what the protocol names, by the kind of thing it is.
pub(crate) fn open(path: &Path, write: &[u8]) -> io::Result<(OwnedFd, Interest)> {
    let kind = FileType::from_raw_mode(rustix::fs::stat(path)?.st_mode);
    match kind {
        FileType::RegularFile => Ok((psi::open_trigger(path, write)?, Interest::Priority)),
        // Opened for reading and writing, so that it has no end while we have it.
        FileType::Fifo => Ok((psi::open_trigger(path, write)?, Interest::Readable)),
        FileType::Socket => Ok((connect(path, write)?, Interest::Readable)),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "neither a pressure file nor a FIFO nor a socket",
        )),
    }
}

/// Connects without waiting: a full queue is an error here, not a hung program.
fn connect(path: &Path, write: &[u8]) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    if !write.is_empty() {
        // Not a plain write: a peer that has gone must not raise SIGPIPE in the host program.
        let sent = rustix::net::send(&socket, write, rustix::net::SendFlags::NOSIGNAL)?;
        if sent != write.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
    }
    Ok(socket)
}

/// What a readable descriptor turned out to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drained {
    /// Something was there.
    Something,
    /// Nothing was there after all: another process took it.
    Nothing,
    /// The other side has closed, or reading fails.
    Closed,
}

/// Reads and throws away what is queued.
pub(crate) fn drain(descriptor: impl AsFd) -> Drained {
    let mut buffer = [0_u8; 4096];
    let mut drained_bytes = 0;
    while drained_bytes < DRAIN_BYTES_MAX {
        match rustix::io::read(&descriptor, &mut buffer) {
            Ok(0) => return Drained::Closed,
            Ok(count) => drained_bytes += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) if drained_bytes == 0 => return Drained::Nothing,
            Err(rustix::io::Errno::AGAIN) => return Drained::Something,
            Err(_) => return Drained::Closed,
        }
    }
    Drained::Something
}
