//! One connection to a manager. Every wait in it has a deadline.

use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv,
    send, socket_with,
};
use vidmm_wire::{
    DecodeError, MESSAGE_BYTES_MAX, Opening, OperatorRequest, Reception, ToOperator, WhyRefused,
    decode, encode,
};

use crate::operator::error::Absent;
use crate::operator::{OperatorError, Place};

/// How long a manager may take for its next packet.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// How long it may take where processes have to give memory back first.
const ACT_MAX: Duration = Duration::from_secs(30);
/// How long all packets of one answer may take together.
const WHOLE_ANSWER_MAX: Duration = Duration::from_secs(10);
/// No answer has more packets: rows of all clients, and as many orders and discards.
const PACKETS_MAX: usize = 65_536;
/// The time between two attempts to get into a full queue of connections.
const RETRY: Duration = Duration::from_millis(10);

/// What a request that changes something came to, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// What was given back.
    pub(crate) bytes: u64,
    /// What is still missing.
    pub(crate) missing_bytes: u64,
}

/// A connection. Requests are made one at a time.
#[derive(Debug)]
pub(crate) struct Link {
    socket: OwnedFd,
    path: PathBuf,
    opened: bool,
}

impl Link {
    /// Connects to the first place where somebody listens.
    ///
    /// # Errors
    /// Nobody does, or the first one that is there cannot be connected to.
    pub(crate) fn connect(place: &Place) -> Result<Self, OperatorError> {
        let mut absent = Vec::new();
        for path in &place.0 {
            match connect_to(path)? {
                Ok(socket) => {
                    return Ok(Self {
                        socket,
                        path: path.clone(),
                        opened: false,
                    });
                }
                Err(why) => absent.push((path.clone(), why)),
            }
        }
        Err(OperatorError::NoManager(absent))
    }

    /// Where the manager listens.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a request and hands every packet of the answer but the last to `take`.
    ///
    /// # Errors
    /// The request is refused, or the conversation breaks; then this link is of no more use.
    pub(crate) fn ask(
        &mut self,
        request: OperatorRequest,
        mut take: impl FnMut(ToOperator),
    ) -> Result<Outcome, OperatorError> {
        if self.opened {
            self.send(&encode(&request).unwrap_or_default())?;
        } else {
            self.open(request)?;
        }
        let patience = match request {
            OperatorRequest::Trim { .. } | OperatorRequest::SetBudget { .. } => ACT_MAX,
            _ => ANSWER_MAX,
        };
        let whole = Instant::now() + WHOLE_ANSWER_MAX.max(patience);
        for _ in 0..PACKETS_MAX {
            let left = whole.saturating_duration_since(Instant::now());
            let packet = self.receive(patience.min(left))?;
            match decode::<ToOperator>(&packet).map_err(|error| self.malformed(&error))? {
                ToOperator::Done {
                    bytes,
                    missing_bytes,
                } => {
                    return Ok(Outcome {
                        bytes,
                        missing_bytes,
                    });
                }
                ToOperator::Failed(why) => return Err(OperatorError::Failed(why)),
                part => take(part),
            }
        }
        Err(OperatorError::NotVidmm(
            self.path.clone(),
            "its answer does not end".to_owned(),
        ))
    }

    /// The first packets in both directions.
    fn open(&mut self, request: OperatorRequest) -> Result<(), OperatorError> {
        match self.send(&Opening::Operate(request).encode()) {
            // It may have said why before it hung up.
            Ok(()) | Err(OperatorError::Broken(_)) => self.opened = true,
            Err(error) => return Err(error),
        }
        let packet = self.receive(ANSWER_MAX)?;
        let (reception, served) =
            Reception::decode(&packet).map_err(|error| self.malformed(&error))?;
        let path = self.path.clone();
        match reception {
            Some(Reception::Operating) => Ok(()),
            None => Err(OperatorError::Version(path, served)),
            Some(Reception::Refused(refusal)) if refusal.why == WhyRefused::Version => {
                Err(OperatorError::Version(path, served))
            }
            Some(Reception::Refused(refusal)) => Err(OperatorError::Refused(
                path,
                crate::output::printable(&refusal.text),
            )),
            Some(Reception::Welcome(_)) => Err(OperatorError::NotVidmm(
                path,
                "it takes an operator for a client".to_owned(),
            )),
        }
    }

    fn malformed(&self, error: &DecodeError) -> OperatorError {
        OperatorError::malformed(self.path.clone(), error)
    }

    fn send(&self, packet: &[u8]) -> Result<(), OperatorError> {
        let until = Instant::now() + ANSWER_MAX;
        loop {
            match send(
                &self.socket,
                packet,
                SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
            ) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.wait(PollFlags::OUT, until, ANSWER_MAX)?,
                Err(Errno::PIPE | Errno::CONNRESET) => {
                    return Err(OperatorError::Broken(self.path.clone()));
                }
                Err(error) => return Err(OperatorError::Kernel(self.path.clone(), error)),
            }
        }
    }

    /// The next packet, within `patience`.
    fn receive(&self, patience: Duration) -> Result<Vec<u8>, OperatorError> {
        let until = Instant::now() + patience;
        let mut buffer = vec![0; MESSAGE_BYTES_MAX + 1];
        loop {
            match recv(&self.socket, &mut buffer[..], RecvFlags::DONTWAIT) {
                Ok((0, _)) => return Err(OperatorError::Broken(self.path.clone())),
                Ok((bytes, _)) => {
                    buffer.truncate(bytes);
                    return Ok(buffer);
                }
                // A manager may answer and hang up without having read everything; the kernel says
                // that first, once, and then gives the answer.
                Err(Errno::INTR | Errno::CONNRESET) => {}
                Err(Errno::AGAIN) => self.wait(PollFlags::IN, until, patience)?,
                Err(error) => return Err(OperatorError::Kernel(self.path.clone(), error)),
            }
        }
    }

    fn wait(
        &self,
        wanted: PollFlags,
        until: Instant,
        patience: Duration,
    ) -> Result<(), OperatorError> {
        let left = until.saturating_duration_since(Instant::now());
        let time = Timespec::try_from(left).unwrap_or_default();
        match poll(&mut [PollFd::new(&self.socket, wanted)], Some(&time)) {
            Ok(0) => Err(OperatorError::Silent {
                path: self.path.clone(),
                waited: patience,
            }),
            // Whoever calls tries again and is told what is the matter.
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(OperatorError::Kernel(self.path.clone(), error)),
        }
    }
}

/// Connects to one socket; the inner error says that nobody is there.
fn connect_to(path: &Path) -> Result<Result<OwnedFd, Absent>, OperatorError> {
    let kernel = |error| OperatorError::Kernel(path.to_path_buf(), error);
    let address = SocketAddrUnix::new(path).map_err(|error| {
        OperatorError::NotVidmm(path.to_path_buf(), format!("no name of a socket: {error}"))
    })?;
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )
    .map_err(kernel)?;
    let until = Instant::now() + ANSWER_MAX;
    loop {
        match connect(&socket, &address) {
            Ok(()) => return Ok(Ok(socket)),
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Err(Absent::NoFile)),
            Err(Errno::CONNREFUSED) => return refused(path),
            Err(Errno::ACCESS | Errno::PERM) => {
                return Err(OperatorError::NoRight(path.to_path_buf()));
            }
            Err(Errno::PROTOTYPE) => {
                return Err(OperatorError::NotVidmm(
                    path.to_path_buf(),
                    "another kind of socket".to_owned(),
                ));
            }
            // As many as may wait to be let in do so already.
            Err(Errno::AGAIN) if Instant::now() < until => thread::sleep(RETRY),
            Err(Errno::AGAIN) => {
                return Err(OperatorError::Silent {
                    path: path.to_path_buf(),
                    waited: ANSWER_MAX,
                });
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(kernel(error)),
        }
    }
}

/// The kernel says the same of a socket that nobody listens on and of what is no socket at all.
fn refused(path: &Path) -> Result<Result<OwnedFd, Absent>, OperatorError> {
    use std::os::unix::fs::FileTypeExt;
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => Ok(Err(Absent::Left)),
        Ok(_) => Err(OperatorError::NotVidmm(
            path.to_path_buf(),
            "no socket at all".to_owned(),
        )),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Err(Absent::NoFile)),
        Err(_) => Err(OperatorError::NoRight(path.to_path_buf())),
    }
}
