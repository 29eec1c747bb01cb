//! A manager that says what the test wants it to say.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with,
    bind, listen, recv, send, socket_with,
};
use vidmm_wire::{
    Answer, Ask, Credit, Join, MESSAGE_BYTES_MAX, Opening, Order, Poll, Reception, Served,
    Threshold, ToClient, ToManager, Told, Welcome, WhyOrdered, decode, encode,
};

/// Nothing in these tests takes longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The socket of a manager, in a folder of its own.
pub(crate) struct Manager {
    _folder: tempfile::TempDir,
    path: PathBuf,
    listener: OwnedFd,
}

/// One client's connection.
pub(crate) struct Client {
    socket: OwnedFd,
}

fn wait_readable(socket: &OwnedFd, patience: Duration) -> bool {
    let until = Instant::now() + patience;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).expect("a short time");
        match poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&left)) {
            Ok(0) => return false,
            Ok(_) => return true,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("poll: {error}"),
        }
    }
}

impl Manager {
    pub(crate) fn listen() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("manager.sock");
        let listener = Self::listen_at(&path);
        Manager {
            _folder: folder,
            path,
            listener,
        }
    }

    fn listen_at(path: &Path) -> OwnedFd {
        let socket = socket_with(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .expect("a socket");
        bind(&socket, &SocketAddrUnix::new(path).expect("a short path")).expect("bind");
        listen(&socket, 16).expect("listen");
        socket
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The manager's death: nobody listens any more, and the socket's file stays.
    pub(crate) fn die(self) -> Dead {
        Dead {
            folder: self._folder,
            path: self.path,
        }
    }

    /// Whether somebody connects within a time.
    pub(crate) fn is_called(&self, patience: Duration) -> bool {
        wait_readable(&self.listener, patience)
    }

    /// The next client, with what it says first.
    pub(crate) fn accept(&self) -> (Client, Join) {
        assert!(self.is_called(PATIENCE), "nobody connects");
        let socket = accept_with(&self.listener, SocketFlags::CLOEXEC).expect("accept");
        let client = Client { socket };
        let packet = client.packet(PATIENCE).expect("an opening");
        assert_eq!(Opening::version_of(&packet), Ok(vidmm_wire::VERSION));
        match Opening::decode(&packet).expect("an opening") {
            Opening::Join(join) => (client, join),
            Opening::Operate(request) => panic!("not a client: {request:?}"),
        }
    }

    /// Accepts a client and grants it what it says it holds, under a budget.
    pub(crate) fn welcome(&self, whole_bytes: u64) -> (Client, Join) {
        let (client, join) = self.accept();
        client.receive_as(1, join.held_bytes, whole_bytes);
        (client, join)
    }
}

/// What a dead manager has left behind.
pub(crate) struct Dead {
    folder: tempfile::TempDir,
    path: PathBuf,
}

impl Dead {
    pub(crate) fn restart(self) -> Manager {
        std::fs::remove_file(&self.path).expect("the file of the socket stays");
        let listener = Manager::listen_at(&self.path);
        Manager {
            _folder: self.folder,
            path: self.path,
            listener,
        }
    }
}

impl Client {
    fn packet(&self, patience: Duration) -> Option<Vec<u8>> {
        if !wait_readable(&self.socket, patience) {
            return None;
        }
        let mut buffer = vec![0; MESSAGE_BYTES_MAX];
        let (_, length) = recv(&self.socket, &mut buffer[..], RecvFlags::empty()).expect("recv");
        buffer.truncate(length);
        Some(buffer)
    }

    pub(crate) fn send_bytes(&self, bytes: &[u8]) {
        send(&self.socket, bytes, SendFlags::NOSIGNAL).expect("send");
    }

    pub(crate) fn receive_as(&self, incarnation: u64, granted_bytes: u64, whole_bytes: u64) {
        let welcome = Reception::Welcome(Welcome {
            incarnation,
            granted_bytes,
            budget_bytes: whole_bytes,
            whole_bytes,
            pid: 4711,
        });
        self.send_bytes(&welcome.encode(Served::default()));
    }

    pub(crate) fn say(&self, message: &ToClient) {
        self.send_bytes(&encode(message).expect("it fits"));
    }

    /// What the client says next.
    pub(crate) fn hear(&self) -> ToManager {
        self.hear_within(PATIENCE).expect("the client is silent")
    }

    pub(crate) fn hear_within(&self, patience: Duration) -> Option<ToManager> {
        let packet = self.packet(patience)?;
        assert!(!packet.is_empty(), "the client has gone");
        Some(decode(&packet).expect("clients of ours speak properly"))
    }

    /// Whether the client has closed its end.
    pub(crate) fn is_gone(&self) -> bool {
        self.packet(PATIENCE)
            .is_some_and(|packet| packet.is_empty())
    }

    pub(crate) fn hear_ask(&self) -> Ask {
        match self.hear() {
            ToManager::Ask(ask) => ask,
            other => panic!("a request is due, not {other:?}"),
        }
    }

    pub(crate) fn hear_answer(&self) -> Answer {
        match self.hear() {
            ToManager::Answer(answer) => answer,
            other => panic!("an answer is due, not {other:?}"),
        }
    }

    pub(crate) fn hear_returned(&self) -> u64 {
        match self.hear() {
            ToManager::Returned { bytes } => bytes,
            other => panic!("credit is to be returned, not {other:?}"),
        }
    }

    /// Serves the next request: so much credit, so much of its own.
    pub(crate) fn grant(&self, granted_bytes: u64, own_bytes: u64) -> Ask {
        let ask = self.hear_ask();
        self.say(&ToClient::Credit(Credit {
            request: ask.request,
            granted_bytes,
            own_bytes,
            own_ms: 60_000,
        }));
        ask
    }

    /// Asks for figures without a look at the answer; whether the client is still there.
    pub(crate) fn try_poll(&self, number: u32) -> bool {
        let poll = ToClient::Poll(Poll {
            poll: number,
            discards_max: 64,
        });
        let bytes = encode(&poll).expect("it fits");
        send(&self.socket, &bytes, SendFlags::NOSIGNAL).is_ok()
    }

    pub(crate) fn poll(&self, number: u32) -> Told {
        self.say(&ToClient::Poll(Poll {
            poll: number,
            discards_max: 64,
        }));
        match self.hear() {
            ToManager::Told(told) => {
                assert_eq!(told.poll, number);
                told
            }
            other => panic!("figures are due, not {other:?}"),
        }
    }

    pub(crate) fn order(&self, bytes: u64, thresholds: [Threshold; 3], standing: bool) {
        self.order_as_of(0, bytes, thresholds, standing);
    }

    /// An order of an operator's.
    pub(crate) fn trim(&self, bytes: u64) {
        self.say(&ToClient::Order(Order {
            order: 78,
            bytes,
            thresholds: [Threshold::All; 3],
            as_of: 0,
            standing: false,
            why: WhyOrdered::Trim,
            beneficiary_pid: 0,
        }));
    }

    /// An order by ranks of a supply.
    pub(crate) fn order_as_of(
        &self,
        as_of: u32,
        bytes: u64,
        thresholds: [Threshold; 3],
        standing: bool,
    ) {
        self.say(&ToClient::Order(Order {
            order: 77,
            bytes,
            thresholds,
            as_of,
            standing,
            why: WhyOrdered::Need,
            beneficiary_pid: 4712,
        }));
    }
}
