//! A manager for the programs of a test: the real one, on a thread of this process, and its operator.

// Each test program uses what it needs.
#![allow(dead_code)]

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv,
    send, socket_with,
};
use vidmm_host::{Options, Server, Serving};
use vidmm_wire::{MESSAGE_BYTES_MAX, Opening, OperatorRequest, Reception, ToOperator};

pub(crate) struct Manager {
    socket: PathBuf,
    serving: Serving,
    /// Goes last.
    _folder: tempfile::TempDir,
}

impl Manager {
    /// One that serves whoever finds its socket.
    pub(crate) fn start(budget_bytes: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut options = Options::embedded(folder.path().join("manager.sock"), budget_bytes);
        options.pressure = false;
        let server = Server::bind(options).expect("a manager");
        let socket = server.socket_path().to_owned();
        Manager {
            socket,
            serving: server.spawn().expect("a thread"),
            _folder: folder,
        }
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Changes the budget, as an operator does: when it returns, whatever could go has gone.
    pub(crate) fn set_budget(&self, bytes: u64) {
        let operator = self.operator(OperatorRequest::SetBudget { bytes });
        match reply(&operator) {
            ToOperator::Done { .. } => {}
            other => panic!("a budget of {bytes} bytes: {other:?}"),
        }
    }

    /// Gives so much back to the machine, as an operator does; says how much it was.
    pub(crate) fn trim(&self, bytes: u64) -> u64 {
        let operator = self.operator(OperatorRequest::Trim { bytes });
        match reply(&operator) {
            ToOperator::Done { bytes, .. } => bytes,
            other => panic!("a trim: {other:?}"),
        }
    }

    fn operator(&self, request: OperatorRequest) -> OwnedFd {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None);
        let socket = socket.expect("a socket");
        let address = SocketAddrUnix::new(&self.socket).expect("a short path");
        connect(&socket, &address).expect("it listens");
        let opening = Opening::Operate(request).encode();
        send(&socket, &opening, SendFlags::NOSIGNAL).expect("it reads");
        let (reception, _) = Reception::decode(&packet(&socket)).expect("a reception");
        assert_eq!(reception, Some(Reception::Operating));
        socket
    }
}

fn reply(operator: &OwnedFd) -> ToOperator {
    vidmm_wire::decode(&packet(operator)).expect("a reply")
}

fn packet(socket: &OwnedFd) -> Vec<u8> {
    let mut buffer = vec![0; MESSAGE_BYTES_MAX];
    let (_, length) = recv(socket, &mut buffer[..], RecvFlags::empty()).expect("recv");
    assert!(length > 0, "the manager has ended the conversation");
    buffer.truncate(length);
    buffer
}

impl Drop for Manager {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.serving.stop().expect("it ends in order");
        }
    }
}
