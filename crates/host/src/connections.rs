//! Connections: their packets in and out, and how many there may be.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use vidmm_manager::{ConnectionId, Millis, ProcessId, Rights};
use vidmm_wire::MESSAGE_BYTES_MAX;

use crate::sources::Source;
use crate::sys::Peer;

/// Messages that a client has not read: with more its connection ends.
const CLIENT_OUTBOX_MAX: usize = 32;

/// An operator's answers come all at once, a message for each client.
const OPERATOR_OUTBOX_BYTES_MAX: usize = 4 << 20;

/// Connections that have not said who they are; the oldest goes when there are more.
pub(crate) const UNOPENED_MAX: usize = 256;

/// Connections of one process.
pub(crate) const PER_PROCESS_MAX: u32 = 8;

/// Connections of operators, all together: they may have much in their outboxes.
pub(crate) const OPERATORS_MAX: usize = 16;

/// Who has not said who it is goes after so long.
const OPENING_MS: u64 = 1000;

/// What a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It has not said anything.
    Unopened,
    /// The process wants to join, or has.
    Client(ProcessId),
    /// An operator's.
    Operator(Rights),
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: OwnedFd,
    pub(crate) peer: Peer,
    pub(crate) stage: Stage,
    accepted_at: Millis,
    outbox: VecDeque<Vec<u8>>,
    outbox_bytes: usize,
    interest: epoll::EventFlags,
}

/// What came of reading.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    /// A packet of so many bytes.
    Message(usize),
    /// More than a message may have.
    TooLong,
    /// The other side has closed, or the connection broke.
    End,
    /// Nothing now.
    Nothing,
}

/// Why somebody is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// The whole table.
    Table,
    /// What a user other than the manager's may have of it.
    User,
    /// What a process may have of it.
    Process,
}

/// All connections.
#[derive(Debug)]
pub(crate) struct Connections {
    all: HashMap<ConnectionId, Connection>,
    unopened: BTreeSet<(Millis, ConnectionId)>,
    per_process: HashMap<u32, u32>,
    per_user: HashMap<u32, usize>,
    operators: usize,
    max: usize,
    own_uid: u32,
    next: u64,
}

impl Connection {
    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Something waits to be sent.
    pub(crate) fn is_behind(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// Reads one packet. Descriptors that come along are closed by the kernel, since nothing is
    /// offered to put them in.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> Packet {
        match recv(&self.socket, buffer, RecvFlags::TRUNC | RecvFlags::DONTWAIT) {
            // An empty packet is no message either.
            Ok((_, 0)) => Packet::End,
            Ok((_, length)) if length > MESSAGE_BYTES_MAX => Packet::TooLong,
            Ok((_, length)) => Packet::Message(length),
            Err(Errno::AGAIN | Errno::INTR) => Packet::Nothing,
            Err(_) => Packet::End,
        }
    }

    /// Sends, or keeps for later. `Err`: the connection is broken, or its peer does not read.
    fn send(&mut self, bytes: Vec<u8>) -> Result<(), Errno> {
        if self.outbox.is_empty() {
            match send_now(&self.socket, &bytes) {
                Err(Errno::AGAIN) => {}
                other => return other,
            }
        }
        let full = match self.stage {
            Stage::Operator(_) => self.outbox_bytes + bytes.len() > OPERATOR_OUTBOX_BYTES_MAX,
            _ => self.outbox.len() >= CLIENT_OUTBOX_MAX,
        };
        if full {
            return Err(Errno::NOBUFS);
        }
        self.outbox_bytes += bytes.len();
        self.outbox.push_back(bytes);
        Ok(())
    }

    /// Sends what was kept, as far as that goes.
    fn flush(&mut self) -> Result<(), Errno> {
        while let Some(bytes) = self.outbox.front() {
            match send_now(&self.socket, bytes) {
                Err(Errno::AGAIN) => return Ok(()),
                other => other?,
            }
            self.outbox_bytes -= bytes.len();
            self.outbox.pop_front();
        }
        Ok(())
    }

    /// What to wait for. Whoever does not read is not read either, if it is an operator, whose
    /// every request has many answers.
    fn wanted(&self) -> epoll::EventFlags {
        match (self.is_behind(), self.stage) {
            (false, _) => epoll::EventFlags::IN,
            (true, Stage::Operator(_)) => epoll::EventFlags::OUT,
            (true, _) => epoll::EventFlags::IN | epoll::EventFlags::OUT,
        }
    }
}

fn send_now(socket: &OwnedFd, bytes: &[u8]) -> Result<(), Errno> {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    match send(socket, bytes, flags) {
        Ok(_) => Ok(()),
        Err(Errno::INTR) => Err(Errno::AGAIN),
        Err(error) => Err(error),
    }
}

/// The last words to somebody who is not let in. What it has sent already is read, since the kernel
/// would tell it of a broken connection before what is said here.
pub(crate) fn say_and_close(socket: &OwnedFd, bytes: &[u8]) {
    let _ = send_now(socket, bytes);
    let mut buffer = [0; 64];
    for _ in 0..16 {
        let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
        if !matches!(recv(socket, &mut buffer[..], flags), Ok((_, 1..))) {
            break;
        }
    }
}

impl Connections {
    pub(crate) fn new(max: usize, own_uid: u32) -> Self {
        Connections {
            all: HashMap::new(),
            unopened: BTreeSet::new(),
            per_process: HashMap::new(),
            per_user: HashMap::new(),
            operators: 0,
            max,
            own_uid,
            next: 1,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn operators(&self) -> usize {
        self.operators
    }

    pub(crate) fn get(&self, id: ConnectionId) -> Option<&Connection> {
        self.all.get(&id)
    }

    /// Whether one more of this peer may come.
    pub(crate) fn room_for(&self, peer: Peer) -> Result<(), Full> {
        let of_process = self.per_process.get(&peer.pid).copied().unwrap_or(0);
        let of_user = self.per_user.get(&peer.uid).copied().unwrap_or(0);
        let is_other = peer.uid != self.own_uid && peer.uid != 0;
        if of_process >= PER_PROCESS_MAX {
            Err(Full::Process)
        } else if self.all.len() >= self.max {
            Err(Full::Table)
        } else if is_other && of_user >= self.max.div_ceil(2) {
            Err(Full::User)
        } else {
            Ok(())
        }
    }

    /// The oldest that has said nothing, if there are too many such.
    pub(crate) fn too_many_unopened(&self) -> Option<ConnectionId> {
        let (_, oldest) = self.unopened.first()?;
        (self.unopened.len() > UNOPENED_MAX).then_some(*oldest)
    }

    /// Takes one in.
    pub(crate) fn insert(
        &mut self,
        epoll: &OwnedFd,
        socket: OwnedFd,
        peer: Peer,
        now: Millis,
    ) -> Result<ConnectionId, Errno> {
        let id = ConnectionId(self.next);
        self.next += 1;
        let interest = epoll::EventFlags::IN;
        epoll::add(epoll, &socket, Source::Connection(id.0).data(), interest)?;
        *self.per_process.entry(peer.pid).or_default() += 1;
        *self.per_user.entry(peer.uid).or_default() += 1;
        self.unopened.insert((now, id));
        let connection = Connection {
            socket,
            peer,
            stage: Stage::Unopened,
            accepted_at: now,
            outbox: VecDeque::new(),
            outbox_bytes: 0,
            interest,
        };
        self.all.insert(id, connection);
        Ok(id)
    }

    /// It has said what it is.
    pub(crate) fn open(&mut self, id: ConnectionId, stage: Stage) {
        if let Some(connection) = self.all.get_mut(&id) {
            self.unopened.remove(&(connection.accepted_at, id));
            connection.stage = stage;
            if matches!(stage, Stage::Operator(_)) {
                self.operators += 1;
            }
        }
    }

    /// Takes one out; its socket closes when it is dropped.
    pub(crate) fn remove(&mut self, epoll: &OwnedFd, id: ConnectionId) -> Option<(OwnedFd, Stage)> {
        let connection = self.all.remove(&id)?;
        self.unopened.remove(&(connection.accepted_at, id));
        let peer = connection.peer;
        if let Some(count) = self.per_process.get_mut(&peer.pid) {
            *count -= 1;
            if *count == 0 {
                self.per_process.remove(&peer.pid);
            }
        }
        if let Some(count) = self.per_user.get_mut(&peer.uid) {
            *count -= 1;
            if *count == 0 {
                self.per_user.remove(&peer.uid);
            }
        }
        if matches!(connection.stage, Stage::Operator(_)) {
            self.operators -= 1;
        }
        let _ = epoll::delete(epoll, &connection.socket);
        Some((connection.socket, connection.stage))
    }

    /// When the next one that says nothing is to go.
    pub(crate) fn deadline(&self) -> Option<Millis> {
        let (since, _) = self.unopened.first()?;
        Some(Millis(since.0.saturating_add(OPENING_MS)))
    }

    /// One that has said nothing for too long.
    pub(crate) fn overdue(&self, now: Millis) -> Option<ConnectionId> {
        let (since, id) = self.unopened.first()?;
        (now.0 >= since.0.saturating_add(OPENING_MS)).then_some(*id)
    }

    /// Sends, or keeps for later. `Err`: it is to be closed.
    pub(crate) fn send(
        &mut self,
        epoll: &OwnedFd,
        id: ConnectionId,
        bytes: Vec<u8>,
    ) -> Result<(), Errno> {
        let connection = self.all.get_mut(&id).ok_or(Errno::NOTCONN)?;
        connection.send(bytes)?;
        self.rearm(epoll, id)
    }

    /// Sends what was kept.
    pub(crate) fn flush(&mut self, epoll: &OwnedFd, id: ConnectionId) -> Result<(), Errno> {
        let connection = self.all.get_mut(&id).ok_or(Errno::NOTCONN)?;
        connection.flush()?;
        self.rearm(epoll, id)
    }

    fn rearm(&mut self, epoll: &OwnedFd, id: ConnectionId) -> Result<(), Errno> {
        let Some(connection) = self.all.get_mut(&id) else {
            return Ok(());
        };
        let wanted = connection.wanted();
        if wanted != connection.interest {
            let data = Source::Connection(id.0).data();
            epoll::modify(epoll, &connection.socket, data, wanted)?;
            connection.interest = wanted;
        }
        Ok(())
    }
}
