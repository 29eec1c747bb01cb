//! A client of the manager without a pool: what a word with it takes.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv,
    send, socket_with,
};
use vidmm_wire::{
    Ask, Join, MESSAGE_BYTES_MAX, Opening, Reception, Supply, ToClient, ToManager, decode, encode,
};

use crate::bench::sample::ns_each;
use crate::output::Failure;

const PAGE_BYTES: u64 = 4096;

pub(crate) struct Client {
    socket: OwnedFd,
    buffer: Box<[u8; MESSAGE_BYTES_MAX]>,
    last_request: u32,
}

impl Client {
    pub(crate) fn join(place: &Path) -> Result<Self, Failure> {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        connect(&socket, &SocketAddrUnix::new(place)?)?;
        let mut client = Client {
            socket,
            buffer: Box::new([0; MESSAGE_BYTES_MAX]),
            last_request: 0,
        };
        client.send(&Opening::Join(Join::default()).encode())?;
        match Reception::decode(client.packet()?)? {
            (Some(Reception::Welcome(_)), _) => Ok(client),
            (other, _) => Err(format!("the manager does not welcome: {other:?}").into()),
        }
    }

    fn send(&self, packet: &[u8]) -> Result<(), Failure> {
        send(&self.socket, packet, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    fn say(&self, message: &ToManager) -> Result<(), Failure> {
        self.send(&encode(message).ok_or("a message that is too long")?)
    }

    fn packet(&mut self) -> Result<&[u8], Failure> {
        let (_, length) = recv(&self.socket, &mut self.buffer[..], RecvFlags::empty())?;
        match self.buffer.get(..length) {
            Some([]) | None => Err("the manager has ended the connection".into()),
            Some(packet) => Ok(packet),
        }
    }

    /// Asks for a page and returns it: the granted credit must have come in between.
    fn round_trip(&mut self) -> Result<(), Failure> {
        self.last_request += 1;
        let request = self.last_request;
        self.say(&ToManager::Ask(Ask {
            request,
            bytes: PAGE_BYTES,
            supply: Supply::default(),
        }))?;
        loop {
            match decode(self.packet()?)? {
                ToClient::Credit(credit) if credit.request == request => {
                    let bytes = credit.granted_bytes;
                    return self.say(&ToManager::Returned { bytes });
                }
                ToClient::Notice(_) => {}
                other => return Err(format!("the manager says {other:?}").into()),
            }
        }
    }

    /// Nanoseconds of a request and its reply.
    pub(crate) fn round_trips(&mut self, count: u32) -> Result<f64, Failure> {
        let mut outcome = Ok(());
        let ns = ns_each(count, || {
            if let Err(failure) = self.round_trip() {
                outcome = Err(failure);
            }
        });
        outcome.map(|()| ns)
    }
}

/// Nanoseconds from nothing to a welcome, and away again.
pub(crate) fn joins(place: &Path, count: u32) -> Result<f64, Failure> {
    let mut outcome = Ok(());
    let ns = ns_each(count, || {
        if let Err(failure) = join_once(place) {
            outcome = Err(failure);
        }
    });
    outcome.map(|()| ns)
}

/// The manager may not have noticed yet that the connection before is closed.
fn join_once(place: &Path) -> Result<(), Failure> {
    const TRIES: u32 = 100;
    let mut last = Ok(());
    for _ in 0..TRIES {
        last = Client::join(place).map(drop);
        if last.is_ok() {
            break;
        }
    }
    last
}
