//! The processes that are counted, each with a descriptor that tells of its death.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::epoll;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use vidmm_machine::Cgroup;
use vidmm_manager::{ConnectionId, Identity, Millis, ProcessId, Terms};

use crate::connections::Connection;
use crate::process::{Facets, Processes};
use crate::sources::Source;
use crate::sys;

/// In which cgroup a process is, and that nothing limits it, is believed for so long.
const KNOWN_MS: u64 = 1000;

/// A process that somebody counts, or is about to.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) who: Identity,
    pub(crate) terms: Terms,
    /// Through which it has joined, or wants to.
    pub(crate) connection: Option<ConnectionId>,
    /// It has been welcomed through that.
    pub(crate) joined: bool,
    pidfd: OwnedFd,
    number: u64,
    room: RoomMemory,
}

/// What is known of a client's cgroup.
#[derive(Debug, Default)]
struct RoomMemory {
    cgroup: Option<Cgroup>,
    limited: bool,
    known_until: Millis,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct AllWatched {
    all: HashMap<ProcessId, Watched>,
    by_number: HashMap<u64, ProcessId>,
    next: u64,
}

/// Why a peer cannot be identified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// `/proc` shows no such process.
    Hidden,
    /// It is dead, or dying.
    Dead,
    /// No descriptor for it can be had.
    Kernel(Errno),
}

/// A descriptor of a process.
fn open(pid: u32) -> Result<OwnedFd, Errno> {
    let raw = i32::try_from(pid).map_err(|_| Errno::SRCH)?;
    let pid = Pid::from_raw(raw).ok_or(Errno::SRCH)?;
    pidfd_open(pid, PidfdFlags::empty())
}

fn is_dead(pidfd: &OwnedFd) -> bool {
    let mut ready = [PollFd::new(pidfd, PollFlags::IN)];
    let at_once = Timespec::default();
    !matches!(poll(&mut ready, Some(&at_once)), Ok(0))
}

/// A process behind a connection: which it is, and a descriptor of exactly that one.
///
/// The descriptor comes from the socket, where the kernel gives one (Linux 6.5). Before that, it is
/// made from the number: if the process died and its number went to another between the connection
/// and this call, the other is taken for it.
pub(crate) fn identify(
    connection: &Connection,
    processes: &Processes,
) -> Result<(ProcessId, OwnedFd), Unknown> {
    let pid = connection.peer.pid;
    let pidfd = match sys::peer_pidfd(connection.socket()) {
        Err(Errno::NOPROTOOPT | Errno::OPNOTSUPP) => open(pid),
        other => other,
    };
    let pidfd = pidfd.map_err(|error| match error {
        Errno::SRCH | Errno::INVAL => Unknown::Dead,
        other => Unknown::Kernel(other),
    })?;
    with_start(pid, pidfd, processes)
}

/// A process by its number, if it is the one that started then.
pub(crate) fn find(process: ProcessId, processes: &Processes) -> Result<OwnedFd, Unknown> {
    let pidfd = open(process.pid).map_err(|error| match error {
        Errno::SRCH | Errno::INVAL => Unknown::Dead,
        other => Unknown::Kernel(other),
    })?;
    let (found, pidfd) = with_start(process.pid, pidfd, processes)?;
    match found == process {
        true => Ok(pidfd),
        false => Err(Unknown::Dead),
    }
}

fn with_start(
    pid: u32,
    pidfd: OwnedFd,
    processes: &Processes,
) -> Result<(ProcessId, OwnedFd), Unknown> {
    let started_ticks = processes.started_ticks(pid);
    // The process lives after its number was looked up: so the number was its own.
    if is_dead(&pidfd) {
        return Err(Unknown::Dead);
    }
    let started_ticks = started_ticks.ok_or(Unknown::Hidden)?;
    Ok((ProcessId { pid, started_ticks }, pidfd))
}

impl AllWatched {
    pub(crate) fn get(&self, process: ProcessId) -> Option<&Watched> {
        self.all.get(&process)
    }

    pub(crate) fn get_mut(&mut self, process: ProcessId) -> Option<&mut Watched> {
        self.all.get_mut(&process)
    }

    pub(crate) fn by_number(&self, number: u64) -> Option<ProcessId> {
        self.by_number.get(&number).copied()
    }

    pub(crate) fn processes(&self) -> Vec<ProcessId> {
        self.all.keys().copied().collect()
    }

    pub(crate) fn joined(&self) -> usize {
        self.all.values().filter(|watched| watched.joined).count()
    }

    /// Watches a process; one that is watched already stays as it is.
    pub(crate) fn insert(
        &mut self,
        epoll: &OwnedFd,
        who: &Identity,
        terms: Terms,
        pidfd: OwnedFd,
    ) -> Result<(), Errno> {
        if self.all.contains_key(&who.process) {
            return Ok(());
        }
        let number = self.next;
        self.next += 1;
        let data = Source::Process(number).data();
        epoll::add(epoll, &pidfd, data, epoll::EventFlags::IN)?;
        let watched = Watched {
            who: who.clone(),
            terms,
            connection: None,
            joined: false,
            pidfd,
            number,
            room: RoomMemory::default(),
        };
        self.by_number.insert(number, who.process);
        self.all.insert(who.process, watched);
        Ok(())
    }

    /// Watches it no more.
    pub(crate) fn remove(&mut self, epoll: &OwnedFd, process: ProcessId) -> Option<Watched> {
        let watched = self.all.remove(&process)?;
        self.by_number.remove(&watched.number);
        let _ = epoll::delete(epoll, watched.pidfd.as_fd());
        Some(watched)
    }
}

impl Watched {
    /// What its cgroup has left, in bytes; `None`: nothing limits it, or nobody tells.
    pub(crate) fn cgroup_room_bytes(&mut self, processes: &Processes, now: Millis) -> Option<u64> {
        let room = &mut self.room;
        let renewed = now >= room.known_until;
        if renewed {
            room.cgroup = processes.memory_cgroup(self.who.process.pid);
            room.known_until = Millis(now.0.saturating_add(KNOWN_MS));
        }
        if !renewed && !room.limited {
            return None;
        }
        let left_bytes = room
            .cgroup
            .as_ref()
            .and_then(|cgroup| cgroup.headroom_bytes().ok().flatten());
        room.limited = left_bytes.is_some();
        left_bytes
    }
}

/// What the rules look at, of a process.
pub(crate) fn facets(processes: &Processes, pid: u32, cgroups: bool, executables: bool) -> Facets {
    Facets {
        cgroup: cgroups.then(|| processes.cgroup(pid)).flatten(),
        executable: executables.then(|| processes.executable(pid)).flatten(),
    }
}
