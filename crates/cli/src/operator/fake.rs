//! A manager by script, for tests: it says what the test wants, whatever it is asked.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketType, accept, bind, listen, recv,
    send, socket,
};
use tempfile::TempDir;
use vidmm_wire::{
    ClassFigures, ClientRow, Figures, MESSAGE_BYTES_MAX, Opening, OperatorRequest, Reception,
    Served, Summary, ToOperator, decode, encode,
};

/// A listening socket in a directory of its own, served by a thread that ends with the process.
pub(crate) struct FakeManager {
    directory: TempDir,
}

impl FakeManager {
    /// Answers each request with what `script` says to it, whole.
    pub(crate) fn answering(
        script: impl Fn(OperatorRequest) -> Vec<ToOperator> + Send + 'static,
    ) -> Self {
        Self::handling(move |connection| serve(&connection, &script))
    }

    /// Lets `handle` do what it likes with every connection.
    pub(crate) fn handling(handle: impl Fn(OwnedFd) + Send + 'static) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap();
        let address = SocketAddrUnix::new(directory.path().join("manager.sock")).unwrap();
        bind(&listener, &address).unwrap();
        listen(&listener, 8).unwrap();
        thread::spawn(move || {
            while let Ok(connection) = accept(&listener) {
                handle(connection);
            }
        });
        Self { directory }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("manager.sock")
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }
}

fn serve(connection: &OwnedFd, script: &impl Fn(OperatorRequest) -> Vec<ToOperator>) {
    let Some(first) = read(connection) else {
        return;
    };
    let Ok(Opening::Operate(mut request)) = Opening::decode(&first) else {
        return;
    };
    write(connection, &Reception::Operating.encode(Served::default()));
    loop {
        for reply in script(request) {
            write(connection, &encode(&reply).unwrap());
        }
        let Some(next) = read(connection) else {
            return;
        };
        request = decode(&next).unwrap();
    }
}

pub(crate) fn read(connection: &OwnedFd) -> Option<Vec<u8>> {
    let mut buffer = vec![0; MESSAGE_BYTES_MAX];
    let (bytes, _) = recv(connection, &mut buffer[..], RecvFlags::empty()).ok()?;
    buffer.truncate(bytes);
    (bytes > 0).then_some(buffer)
}

pub(crate) fn write(connection: &OwnedFd, packet: &[u8]) {
    let _ = send(connection, packet, SendFlags::NOSIGNAL);
}

/// The end of an answer.
pub(crate) fn done() -> ToOperator {
    ToOperator::Done {
        bytes: 0,
        missing_bytes: 0,
    }
}

/// A summary of a manager with work to do.
pub(crate) fn summary() -> Summary {
    Summary {
        budget_bytes: 1 << 30,
        charged_bytes: 768 << 20,
        reserve_bytes: 64 << 20,
        clients: 2,
        waiting: 1,
        granted: 12,
        refused: 1,
        orders: 5,
        ordered_bytes: 3 << 20,
        incarnation: 7,
        uptime_ms: 93_784_000,
        pid: 900,
        psi_some_avg10: Some(123),
        ..Summary::default()
    }
}

/// A client that has something of everything.
pub(crate) fn client(pid: u32, name: &str, charged_bytes: u64) -> ClientRow {
    let of = |count, bytes| ClassFigures { count, bytes };
    ClientRow {
        pid,
        uid: 1000,
        name: name.to_owned(),
        charged_bytes,
        budget_bytes: 600 << 20,
        share_bytes: 512 << 20,
        reservation_bytes: 0,
        weight_hundredths: 100,
        joined: true,
        responsive: true,
        resident_bytes: Some(charged_bytes),
        exceeds: false,
        age_ms: 40,
        figures: Figures {
            held_bytes: charged_bytes,
            committed: of(10, 10 << 20),
            locked: of(2, 2 << 20),
            offered: [of(3, 30 << 20), of(4, 40 << 20), of(5, 50 << 20)],
            discarded_now: of(1, 1 << 20),
            warm_bytes: 6 << 20,
            refused_bytes: 0,
            discards: [of(100, 100 << 20), of(10, 10 << 20), of(0, 0)],
            reclaims_intact: 900,
            reclaims_discarded: 100,
        },
    }
}
