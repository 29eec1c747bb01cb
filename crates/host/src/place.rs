//! The socket's place: its directory, its lock, the socket itself - and their end.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, flock};
use rustix::io::Errno;
use rustix::net::sockopt::{socket_acceptconn, socket_domain, socket_type};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, getsockname, listen,
    socket_with,
};

use crate::error::HostError;
use crate::log::Log;
use crate::options::Audience;
use crate::sys;

/// The kernel's `sun_path`, with the closing zero byte.
const PATH_BYTES_MAX: usize = 107;

/// As many may wait to be accepted; the kernel cuts it to its own limit.
const BACKLOG: i32 = 4096;

/// The first descriptor that a service manager hands over.
const FIRST_HANDED: i32 = 3;

/// A bound socket whose place is locked for as long as this lives.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) socket: OwnedFd,
    pub(crate) path: PathBuf,
    _lock: Lock,
    /// The file of the socket, if it is this process's to remove.
    made: Option<FileId>,
}

/// Which file something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    fn of(metadata: &std::fs::Metadata) -> Self {
        FileId {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }
}

impl Place {
    /// Takes a place: makes the directory, locks it, replaces what a dead manager left, listens.
    pub(crate) fn take(
        path: PathBuf,
        audience: Audience,
        log: &mut Log,
    ) -> Result<Self, HostError> {
        if path.as_os_str().len() > PATH_BYTES_MAX {
            return Err(HostError::PathTooLong {
                path,
                max: PATH_BYTES_MAX,
            });
        }
        make_directory(&path, audience)?;
        let lock = Lock::take(&path)?;
        remove_stale(&path, log)?;
        let socket = bound(&path, audience)?;
        let made = std::fs::symlink_metadata(&path)
            .map_err(HostError::file("look at the socket", &path))?;
        Ok(Place {
            socket,
            path,
            _lock: lock,
            made: Some(FileId::of(&made)),
        })
    }

    /// Takes the socket that the service manager hands over; `None`: it hands over none.
    pub(crate) fn handed_over() -> Result<Option<Self>, HostError> {
        let wrong = |what: &str| HostError::Activation {
            what: what.to_owned(),
        };
        let handed = sd_notify::listen_fds().map_err(HostError::kernel("read LISTEN_FDS"))?;
        match handed.len() {
            0 => return Ok(None),
            1 => {}
            count => return Err(wrong(&format!("{count} sockets"))),
        }
        let socket = sys::handed_over(FIRST_HANDED).ok_or_else(|| wrong("a closed descriptor"))?;
        let fd = socket.as_fd();
        let is_ours = socket_domain(fd) == Ok(AddressFamily::UNIX)
            && socket_type(fd) == Ok(SocketType::SEQPACKET)
            && socket_acceptconn(fd) == Ok(true);
        if !is_ours {
            return Err(wrong(
                "something else than a listening Unix SEQPACKET socket",
            ));
        }
        rustix::io::ioctl_fionbio(fd, true)
            .map_err(HostError::kernel("make the socket non-blocking"))?;
        let address = getsockname(fd).map_err(HostError::kernel("ask for the socket's path"))?;
        let address = SocketAddrUnix::try_from(address).ok();
        let path = address
            .as_ref()
            .and_then(SocketAddrUnix::path_bytes)
            .ok_or_else(|| wrong("a socket without a path"))?;
        let path = PathBuf::from(std::ffi::OsStr::from_bytes(path));
        let lock = Lock::take(&path)?;
        Ok(Some(Place {
            socket,
            path,
            _lock: lock,
            made: None,
        }))
    }

    /// A file beside the socket.
    pub(crate) fn beside(&self, suffix: &str) -> PathBuf {
        beside(&self.path, suffix)
    }
}

/// Removes what was made; the lock goes last, as a field.
impl Drop for Place {
    fn drop(&mut self) {
        let found = std::fs::symlink_metadata(&self.path).map(|metadata| FileId::of(&metadata));
        if self.made.is_some() && found.ok() == self.made {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn make_directory(socket: &Path, audience: Audience) -> Result<(), HostError> {
    let Some(dir) = socket.parent().filter(|dir| !dir.as_os_str().is_empty()) else {
        return Ok(());
    };
    let mode = match audience {
        Audience::User => 0o700,
        Audience::System => 0o755,
    };
    match DirBuilder::new().mode(mode).create(dir) {
        Ok(()) => {
            // Whatever the umask: who may enter is decided here.
            rustix::fs::chmod(dir, Mode::from_raw_mode(mode))
                .map_err(io::Error::from)
                .map_err(HostError::file("open the directory to its users:", dir))
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let found =
                std::fs::metadata(dir).map_err(HostError::file("look at the directory", dir))?;
            let me = rustix::process::geteuid().as_raw();
            let open_to_all = found.mode() & 0o002 != 0 && found.mode() & 0o1000 == 0;
            let foreign = found.uid() != me && found.uid() != 0;
            match foreign || open_to_all {
                true => Err(HostError::UnsafeDirectory {
                    path: dir.to_owned(),
                    owner: found.uid(),
                }),
                false => Ok(()),
            }
        }
        Err(error) => Err(HostError::file("make the directory", dir)(error)),
    }
}

/// A socket's file without a manager: the lock is ours, so nobody serves it - unless it was made by
/// something that knows no lock.
fn remove_stale(path: &Path, log: &mut Log) -> Result<(), HostError> {
    let found = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(HostError::file("look at", path))?,
    };
    if !found.file_type().is_socket() {
        return Err(HostError::NoSocket {
            path: path.to_owned(),
        });
    }
    if somebody_listens(path) {
        return Err(HostError::Taken {
            pid: None,
            socket: path.to_owned(),
        });
    }
    std::fs::remove_file(path).map_err(HostError::file("remove the stale socket", path))?;
    log.info(
        "replaced a socket that a manager left behind",
        &[("socket", &path.display())],
    );
    Ok(())
}

fn somebody_listens(path: &Path) -> bool {
    let attempt = || {
        let socket = new_socket()?;
        connect(&socket, &SocketAddrUnix::new(path)?)
    };
    // EAGAIN: somebody does, and is busy. EPROTOTYPE: a socket of another type, somebody's.
    matches!(attempt(), Ok(()) | Err(Errno::AGAIN | Errno::PROTOTYPE))
}

fn new_socket() -> Result<OwnedFd, Errno> {
    socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )
}

fn bound(path: &Path, audience: Audience) -> Result<OwnedFd, HostError> {
    let mode = match audience {
        Audience::User => 0o600,
        Audience::System => 0o666,
    };
    let open = || {
        let socket = new_socket()?;
        // The file gets the mode that the socket has: at no time may anybody connect who should not.
        rustix::fs::fchmod(&socket, Mode::from_raw_mode(0o600))?;
        bind(&socket, &SocketAddrUnix::new(path)?)?;
        rustix::fs::chmod(path, Mode::from_raw_mode(mode))?;
        listen(&socket, BACKLOG)?;
        Ok(socket)
    };
    open()
        .map_err(|error: Errno| io::Error::from(error))
        .map_err(HostError::file("listen at", path))
}

/// The lock of a place, held for life. Its file has the holder's process number in it.
#[derive(Debug)]
struct Lock {
    /// Holds the lock.
    _file: File,
    path: PathBuf,
}

impl Lock {
    fn take(socket: &Path) -> Result<Self, HostError> {
        let path = beside(socket, ".lock");
        loop {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK)
                .open(&path)
                .map_err(HostError::file("open the lock", &path))?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => {
                    let mut text = String::new();
                    let _ = file.take(32).read_to_string(&mut text);
                    return Err(HostError::Taken {
                        pid: text.trim().parse().ok(),
                        socket: socket.to_owned(),
                    });
                }
                Err(error) => return Err(HostError::file("lock", &path)(error.into())),
            }
            // Whoever had it may have removed the file between our open and our lock.
            let ours = file.metadata().map(|metadata| FileId::of(&metadata)).ok();
            let there = std::fs::metadata(&path)
                .map(|metadata| FileId::of(&metadata))
                .ok();
            if ours.is_none() || ours != there {
                continue;
            }
            let written = file
                .set_len(0)
                .and_then(|()| writeln!(file, "{}", std::process::id()));
            // Only a message would lack the number.
            let _ = written;
            return Ok(Lock { _file: file, path });
        }
    }
}

/// The file goes while the lock is held, so that nobody's newer one is hit.
impl Drop for Lock {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
