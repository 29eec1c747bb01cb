//! Who connects, and what is said: packets to events, within limits.

use std::os::fd::OwnedFd;

use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};
use vidmm_manager::{ConnectionId, Event, Millis, Rights};
use vidmm_wire::{
    CommandFailed, MESSAGE_BYTES_MAX, Opening, OperatorRequest, Reception, Refusal, ToManager,
    ToOperator, WhyRefused, decode, encode,
};

use crate::clock;
use crate::config::check_memory;
use crate::connections::{Full, OPERATORS_MAX, Packet, Stage, say_and_close};
use crate::server::{Server, spare};
use crate::sources::Source;
use crate::sys;

/// So many are accepted before anybody else has its turn.
const ACCEPTS_PER_ROUND: usize = 64;

/// So many packets of one connection are read before others have their turn: an honest client
/// hardly ever has more under way, and waits for as many of each that floods.
const PACKETS_PER_ROUND: usize = 4;

/// When no descriptor can be had at all, the listener rests for so long.
const DEAF_MS: u64 = 100;

/// Full tables are told of at most so often.
const TELL_EVERY_MS: u64 = 1000;

impl Server {
    pub(crate) fn accept_some(&mut self) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        for _ in 0..ACCEPTS_PER_ROUND {
            let Some(place) = &self.place else {
                return;
            };
            match accept_with(&place.socket, flags) {
                Ok(socket) => self.admit(socket),
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(error) => {
                    self.turn_one_away(error);
                    return;
                }
            }
        }
    }

    fn admit(&mut self, socket: OwnedFd) {
        use std::os::fd::AsFd as _;
        let Ok(peer) = sys::peer_of(socket.as_fd()) else {
            return;
        };
        if peer.pid == 0 {
            let text = "the manager cannot see this process, which is in a PID namespace beside or \
                        above its own; run the manager in a namespace that contains its clients' \
                        (on the host), or set VIDMM_MODE=embedded";
            self.turn_away(&socket, WhyRefused::Unseen, "unseen", text);
            return;
        }
        if let Err(full) = self.connections.room_for(peer) {
            let (label, text) = match full {
                Full::Table => (
                    "table_full",
                    "the manager has as many connections as it may; raise its LimitNOFILE, or \
                     start fewer processes",
                ),
                Full::User => (
                    "user_full",
                    "this user has half of the manager's connections",
                ),
                Full::Process => (
                    "process_full",
                    "this process has 8 connections: one suffices",
                ),
            };
            self.turn_away(&socket, WhyRefused::Full, label, text);
            return;
        }
        let inserted = self
            .connections
            .insert(&self.epoll, socket, peer, clock::now());
        if let Err(error) = inserted {
            self.log
                .warning("cannot wait for a connection", &[("error", &error)]);
        }
        if let Some(oldest) = self.connections.too_many_unopened() {
            self.close(oldest, "silent");
        }
    }

    fn turn_away(
        &mut self,
        socket: &OwnedFd,
        why: WhyRefused,
        label: &'static str,
        text: &'static str,
    ) {
        self.metrics.turned_away.add(label, 1);
        self.metrics.changed = true;
        let refusal = Refusal {
            why,
            text: text.to_owned(),
        };
        say_and_close(
            socket,
            &Reception::Refused(refusal).encode(self.options.served),
        );
        if self.may_tell_of_limit() {
            self.log.warning(
                "somebody is turned away",
                &[("why", &label), ("told", &text)],
            );
        }
    }

    fn may_tell_of_limit(&mut self) -> bool {
        let now = clock::now();
        let again = self
            .told_of_limit
            .is_some_and(|at| now.0 < at.0.saturating_add(TELL_EVERY_MS));
        if !again {
            self.told_of_limit = Some(now);
        }
        !again
    }

    /// There is no descriptor for whoever connects: the spare one serves to say so. Otherwise the
    /// listener would stay ready, and the loop would spin.
    fn turn_one_away(&mut self, error: Errno) {
        self.spare = None;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let accepted = self
            .place
            .as_ref()
            .map(|place| accept_with(&place.socket, flags));
        match accepted {
            Some(Ok(socket)) => {
                let text = "the manager has no descriptor left; raise its LimitNOFILE (ulimit -n), \
                            or start fewer processes";
                self.turn_away(&socket, WhyRefused::Full, "no_descriptor", text);
            }
            Some(Err(Errno::AGAIN)) => {}
            _ => {
                if self.may_tell_of_limit() {
                    self.log.error(
                        "cannot accept connections; trying again",
                        &[("error", &error)],
                    );
                }
                self.deafen();
            }
        }
        self.spare = spare();
    }

    fn deafen(&mut self) {
        if let Some(place) = &self.place {
            let _ = epoll::delete(&self.epoll, &place.socket);
            self.deaf_until = Some(Millis(clock::now().0.saturating_add(DEAF_MS)));
        }
    }

    pub(crate) fn listen_again(&mut self) {
        self.deaf_until = None;
        if let Some(place) = &self.place {
            let data = Source::Listener.data();
            if epoll::add(&self.epoll, &place.socket, data, epoll::EventFlags::IN).is_err() {
                self.deaf_until = Some(Millis(clock::now().0.saturating_add(DEAF_MS)));
            }
        }
    }

    pub(crate) fn connection_ready(&mut self, number: u64, flags: epoll::EventFlags) {
        let id = ConnectionId(number);
        if flags.contains(epoll::EventFlags::OUT)
            && self.connections.flush(&self.epoll, id).is_err()
        {
            self.close(id, "broken");
            return;
        }
        let mut buffer = [0; MESSAGE_BYTES_MAX];
        for _ in 0..PACKETS_PER_ROUND {
            // Gone meanwhile, or an operator that does not read its answers.
            let Some(connection) = self.connections.get(id) else {
                return;
            };
            let gone = flags.intersects(epoll::EventFlags::ERR | epoll::EventFlags::HUP);
            if connection.is_behind() && matches!(connection.stage, Stage::Operator(_)) && !gone {
                return;
            }
            match connection.read(&mut buffer) {
                Packet::Nothing => return,
                Packet::End => {
                    self.close(id, "ended");
                    return;
                }
                Packet::TooLong => {
                    self.malformed(id, "longer than a message may be");
                    return;
                }
                Packet::Message(length) => self.take_packet(id, buffer.get(..length)),
            }
        }
    }

    fn take_packet(&mut self, id: ConnectionId, bytes: Option<&[u8]>) {
        let stage = self.connections.get(id).map(|connection| connection.stage);
        let (Some(stage), Some(bytes)) = (stage, bytes) else {
            return;
        };
        match stage {
            Stage::Unopened => self.take_opening(id, bytes),
            Stage::Client(process) => match decode::<ToManager>(bytes) {
                Ok(message) => {
                    self.count_message(&message);
                    let asks = matches!(message, ToManager::Ask(_));
                    let watched = self.watched.get_mut(process).filter(|_| asks);
                    let cgroup_room_bytes = watched.and_then(|watched| {
                        watched.cgroup_room_bytes(&self.processes, clock::now())
                    });
                    self.feed(Event::Said {
                        connection: id,
                        message,
                        cgroup_room_bytes,
                    });
                }
                Err(error) => self.malformed(id, &error.to_string()),
            },
            Stage::Operator(rights) => match decode::<OperatorRequest>(bytes) {
                Ok(request) => self.operate(id, rights, request),
                Err(error) => self.malformed(id, &error.to_string()),
            },
        }
    }

    fn count_message(&mut self, message: &ToManager) {
        match message {
            ToManager::Returned { bytes } => drop(self.metrics.returned.inc_by(*bytes)),
            ToManager::Answer(answer) => {
                self.metrics.returned.inc_by(answer.returned_bytes);
                let classes = ["low", "normal", "high"];
                for (class, bytes) in classes.into_iter().zip(answer.discarded_bytes) {
                    self.metrics.discarded.add(class, bytes);
                }
            }
            _ => {}
        }
    }

    fn take_opening(&mut self, id: ConnectionId, bytes: &[u8]) {
        let served = self.options.served;
        let not_ours = "this is no opening of vidmm's protocol; is this program meant for this \
                        socket?";
        let version = match Opening::version_of(bytes) {
            Ok(version) => version,
            Err(_) => return self.refuse(id, WhyRefused::Malformed, "malformed", not_ours),
        };
        if !served.has(version) {
            let side = match version < served.oldest {
                true => "update the program that connects",
                false => "update the manager",
            };
            let text = format!(
                "this manager serves versions {} to {} of the protocol, you speak {version}: {side}",
                served.oldest, served.newest
            );
            return self.refuse(id, WhyRefused::Version, "version", &text);
        }
        match Opening::decode(bytes) {
            Err(_) => self.refuse(id, WhyRefused::Malformed, "malformed", not_ours),
            Ok(Opening::Join(join)) => self.take_join(id, join),
            Ok(Opening::Operate(request)) => self.take_operator(id, request),
        }
    }

    fn take_operator(&mut self, id: ConnectionId, request: OperatorRequest) {
        if self.connections.operators() >= OPERATORS_MAX {
            let text = "as many operators are connected as may be; close one";
            return self.refuse(id, WhyRefused::Full, "operators_full", text);
        }
        let Some(connection) = self.connections.get(id) else {
            return;
        };
        let uid = connection.peer.uid;
        let own = uid == 0 || uid == rustix::process::geteuid().as_raw();
        let rights = Rights {
            sees_all: own,
            commands: own,
            uid,
        };
        self.connections.open(id, Stage::Operator(rights));
        self.send_or_close(id, Reception::Operating.encode(self.options.served));
        self.operate(id, rights, request);
    }

    fn operate(&mut self, id: ConnectionId, rights: Rights, request: OperatorRequest) {
        match request {
            OperatorRequest::SetBudget { bytes } if rights.commands => {
                let swap = self.options.allow_swap || self.config.allow_swap;
                if let Err(error) = check_memory(bytes, swap, &self.options.files) {
                    let failed = CommandFailed::BadBudget(error.to_string());
                    if let Some(bytes) = encode(&ToOperator::Failed(failed)) {
                        self.send_or_close(id, bytes);
                    }
                    return;
                }
            }
            OperatorRequest::Stat => self.begin_audit(),
            _ => {}
        }
        self.feed(Event::Asks {
            connection: id,
            rights,
            request,
        });
    }

    /// Ends a connection whose peer is not let in, after saying why.
    pub(crate) fn refuse(
        &mut self,
        id: ConnectionId,
        why: WhyRefused,
        label: &'static str,
        text: &str,
    ) {
        let pid = self.connections.get(id).map_or(0, |c| c.peer.pid);
        self.log.info(
            "refused",
            &[("why", &label), ("pid", &pid), ("told", &text)],
        );
        let refusal = Refusal {
            why,
            text: text.to_owned(),
        };
        self.refuse_with(id, label, &Reception::Refused(refusal));
    }

    /// The same, in words that are there already. (Whom the manager refuses, it logs itself.)
    pub(crate) fn refuse_with(
        &mut self,
        id: ConnectionId,
        label: &'static str,
        reception: &Reception,
    ) {
        self.metrics.turned_away.add(label, 1);
        if let Some(socket) = self.take_out(id) {
            say_and_close(&socket, &reception.encode(self.options.served));
        }
    }

    fn malformed(&mut self, id: ConnectionId, why: &str) {
        let pid = self.connections.get(id).map_or(0, |c| c.peer.pid);
        self.log.warning(
            "a message that is none; its connection is closed",
            &[("pid", &pid), ("problem", &why)],
        );
        self.close(id, "malformed");
    }

    /// Ends a connection; the manager hears of it if it knew it.
    pub(crate) fn close(&mut self, id: ConnectionId, why: &'static str) {
        if self.take_out(id).is_some() {
            self.metrics.closed.add(why, 1);
            self.metrics.changed = true;
        }
    }

    fn take_out(&mut self, id: ConnectionId) -> Option<OwnedFd> {
        let (socket, stage) = self.connections.remove(&self.epoll, id)?;
        if let Stage::Client(process) = stage {
            self.parted(process, id);
        }
        if stage != Stage::Unopened {
            self.later(Event::Closed { connection: id });
        }
        Some(socket)
    }

    /// Sends, or ends the connection if that cannot be.
    pub(crate) fn send_or_close(&mut self, id: ConnectionId, bytes: Vec<u8>) {
        match self.connections.send(&self.epoll, id, bytes) {
            Ok(()) | Err(Errno::NOTCONN) => {}
            Err(Errno::NOBUFS) => {
                let pid = self.connections.get(id).map_or(0, |c| c.peer.pid);
                self.log.warning(
                    "does not read what it is sent; its connection is closed",
                    &[("pid", &pid)],
                );
                self.close(id, "not_reading");
            }
            Err(_) => self.close(id, "broken"),
        }
    }
}
