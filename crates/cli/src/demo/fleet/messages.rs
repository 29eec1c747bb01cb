//! What the demo and its workers say to each other, over a socket pair of type SEQPACKET: one
//! message, one packet. A message that a killed worker had sent counts as said.

use std::ffi::OsString;
use std::io;
use std::ops::Range;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::demo::inputs::{Input, Kind};
use crate::demo::policy::PolicyName;
use crate::demo::reference::Item;
use crate::demo::tally::Record;

/// No packet is longer, in bytes.
pub(crate) const PACKET_BYTES_MAX: usize = 64 << 10;
/// A packet of files is closed when it has so many bytes; a path has at most 4 KiB.
const FILES_BYTES: usize = PACKET_BYTES_MAX / 2;

/// To a worker.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToWorker {
    /// What it is to do; the first message.
    Assignment(Assignment),
    /// Some of the files, in the order of their numbers.
    Files(Vec<File>),
    /// It may begin its accesses up to this position of the plan.
    Go(u64),
    /// It may take a large hold of scratch.
    Large,
}

/// From a worker.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromWorker {
    /// It is ready; its memory will be at these addresses. Until it is answered with the first
    /// `Go` it holds none.
    Ready(Vec<Range<u64>>),
    /// Its next access is finished.
    Done(Record),
    /// It holds so much scratch.
    Scratch(u64),
    /// It wants to take a large hold of scratch.
    WantsLarge,
    /// All is done.
    Finished,
    /// It cannot go on.
    Failed(String),
}

/// What a worker is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Assignment {
    /// Its number.
    pub(crate) worker: u16,
    /// The arguments of the plan, which it draws by itself.
    pub(crate) seed: u64,
    pub(crate) workers: u16,
    pub(crate) accesses: u64,
    pub(crate) files: u64,
    /// So many of its accesses were finished by its predecessors.
    pub(crate) skip: u64,
    /// Where the manager listens.
    pub(crate) socket: Vec<u8>,
    /// What reading the clock adds to a measured call.
    pub(crate) clock_ns: u64,
    /// By which its pool discards.
    pub(crate) policy: PolicyName,
    /// The directory to record into, if it is to.
    pub(crate) trace: Option<Vec<u8>>,
    /// The demo's process: if that is not the worker's parent any more, nobody listens.
    pub(crate) parent: u32,
}

/// A file, as the reference pass found it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct File {
    path: Vec<u8>,
    kind: Kind,
    packed_bytes: u64,
    unpacked_bytes: u64,
    digest: u64,
    unpack_ns: u64,
    digest_ns: u64,
    temporary_bytes: u64,
}

impl File {
    fn of(item: &Item) -> Self {
        Self {
            path: item.input.path.as_os_str().as_bytes().to_vec(),
            kind: item.input.kind,
            packed_bytes: item.input.packed_bytes,
            unpacked_bytes: crate::demo::unpack::size_u64(item.unpacked_bytes),
            digest: item.digest,
            unpack_ns: item.unpack_ns,
            digest_ns: item.digest_ns,
            temporary_bytes: item.temporary_bytes,
        }
    }

    /// As it was before it was sent.
    pub(crate) fn into_item(self) -> Item {
        Item {
            input: Input {
                path: PathBuf::from(OsString::from_vec(self.path)),
                kind: self.kind,
                packed_bytes: self.packed_bytes,
            },
            unpacked_bytes: usize::try_from(self.unpacked_bytes).unwrap_or(usize::MAX),
            digest: self.digest,
            unpack_ns: self.unpack_ns,
            digest_ns: self.digest_ns,
            temporary_bytes: self.temporary_bytes,
        }
    }
}

/// The packets that tell a worker all files.
pub(crate) fn files(items: &[Item]) -> Vec<ToWorker> {
    let mut packets = Vec::new();
    let (mut files, mut bytes) = (Vec::new(), 0);
    for item in items {
        let file = File::of(item);
        // Figures take 9 bytes each at most.
        bytes += file.path.len() + 100;
        files.push(file);
        if bytes > FILES_BYTES {
            packets.push(ToWorker::Files(std::mem::take(&mut files)));
            bytes = 0;
        }
    }
    packets.push(ToWorker::Files(files));
    packets
}

/// Sends a message; waits until there is room for it, for `patience` at most (`None`: for ever).
///
/// # Errors
/// `TimedOut`, or what the kernel says; a peer that has ended is a `BrokenPipe`.
pub(crate) fn say(
    socket: &OwnedFd,
    message: &impl Serialize,
    patience: Option<&Timespec>,
) -> io::Result<()> {
    let packet = postcard::to_allocvec(message).map_err(io::Error::other)?;
    loop {
        match send(socket, &packet, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let mut wanted = [PollFd::new(socket, PollFlags::OUT)];
                match poll(&mut wanted, patience) {
                    Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// What came of listening.
#[derive(Debug)]
pub(crate) enum Heard<M> {
    Message(M),
    /// Nothing is there now.
    Nothing,
    /// The other side has ended.
    End,
}

/// Takes the next message, if one is there (`wait`: waits for it).
///
/// # Errors
/// What the kernel says, or bytes that are no message.
pub(crate) fn hear<M: DeserializeOwned>(
    socket: &OwnedFd,
    buffer: &mut [u8],
    wait: bool,
) -> io::Result<Heard<M>> {
    let flags = match wait {
        true => RecvFlags::empty(),
        false => RecvFlags::DONTWAIT,
    };
    loop {
        match recv(socket, &mut *buffer, flags) {
            Ok((0, _)) => return Ok(Heard::End),
            Ok((bytes, _)) => {
                let message = postcard::from_bytes(&buffer[..bytes]).map_err(io::Error::other)?;
                return Ok(Heard::Message(message));
            }
            // Of a peer that ended with something unread the kernel says that first, once, and
            // then gives what the peer had said before.
            Err(Errno::INTR | Errno::CONNRESET) => {}
            Err(Errno::AGAIN) => return Ok(Heard::Nothing),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    use std::ffi::OsStr;

    #[test]
    fn the_last_words_of_one_that_did_not_listen_are_heard() {
        let kind = SocketType::SEQPACKET;
        let (here, there) =
            socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap();
        say(&here, &ToWorker::Go(5), None).unwrap();
        say(&there, &FromWorker::Finished, None).unwrap();
        drop(there);
        let mut buffer = vec![0; PACKET_BYTES_MAX];
        let heard = hear(&here, &mut buffer, false).unwrap();
        assert!(
            matches!(heard, Heard::Message(FromWorker::Finished)),
            "{heard:?}"
        );
        let heard = hear::<FromWorker>(&here, &mut buffer, false).unwrap();
        assert!(matches!(heard, Heard::End), "{heard:?}");
    }

    #[test]
    fn files_of_any_name_and_number_arrive() {
        let item = |number: u64| Item {
            input: Input {
                path: PathBuf::from(OsStr::from_bytes(&[b'/', 0xff, 0xfe]))
                    .join("n".repeat(usize::try_from(number % 4000).unwrap()))
                    .join(number.to_string()),
                kind: Kind::Zip,
                packed_bytes: u64::MAX,
            },
            unpacked_bytes: usize::MAX,
            digest: u64::MAX,
            unpack_ns: u64::MAX,
            digest_ns: u64::MAX,
            temporary_bytes: number,
        };
        let items: Vec<Item> = (0..4096).map(item).collect();
        let kind = SocketType::SEQPACKET;
        let (here, there) =
            socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap();
        let mut arrived = Vec::new();
        std::thread::scope(|scope| {
            let sender = scope.spawn(|| {
                let here = here;
                for packet in files(&items) {
                    say(&here, &packet, None).unwrap();
                }
            });
            let mut buffer = vec![0; PACKET_BYTES_MAX];
            while let Heard::Message(message) = hear(&there, &mut buffer, true).unwrap() {
                let ToWorker::Files(files) = message else {
                    panic!("{message:?}")
                };
                arrived.extend(files.into_iter().map(File::into_item));
            }
            sender.join().unwrap();
        });
        assert_eq!(format!("{arrived:?}"), format!("{items:?}"));
    }
}
