//! The socket to a manager. Nothing here waits.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv,
    send, socket_with,
};
use vidmm_wire::MESSAGE_BYTES_MAX;

/// What became of a try to connect.
#[derive(Debug)]
pub(super) enum Connected {
    /// Somebody listens.
    To(OwnedFd),
    /// Nobody listens at any of the places.
    Nowhere,
    /// Somebody is there but cannot be reached now: too many wait, or there is no right to.
    NotNow,
}

/// Connects to the first place where somebody listens.
pub(super) fn connect_to(places: &[PathBuf]) -> Connected {
    let mut result = Connected::Nowhere;
    for place in places {
        match connect_one(place) {
            Ok(socket) => return Connected::To(socket),
            // Nothing there, or a socket file that nobody listens behind any more.
            Err(Errno::NOENT | Errno::CONNREFUSED | Errno::NOTDIR) => {}
            Err(_) => result = Connected::NotNow,
        }
    }
    result
}

fn connect_one(place: &PathBuf) -> Result<OwnedFd, Errno> {
    let address = SocketAddrUnix::new(place)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    connect(&socket, &address)?;
    Ok(socket)
}

/// Sends one packet, whole or not at all.
pub(super) fn send_packet(socket: &OwnedFd, packet: &[u8]) -> Result<(), Errno> {
    send(socket, packet, SendFlags::NOSIGNAL | SendFlags::DONTWAIT).map(drop)
}

/// What came.
#[derive(Debug)]
pub(super) enum Received {
    Packet(Vec<u8>),
    /// Nothing now.
    Nothing,
    /// And nothing ever will.
    End,
}

/// The next packet, if there is one. One that is too long comes cut, and will not decode.
pub(super) fn receive_packet(socket: &OwnedFd, buffer: &mut [u8; MESSAGE_BYTES_MAX]) -> Received {
    loop {
        match recv(socket, &mut buffer[..], RecvFlags::DONTWAIT) {
            Ok((_, 0)) => return Received::End,
            Ok((packet, _)) => return Received::Packet(buffer[..packet].to_vec()),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Received::Nothing,
            Err(_) => return Received::End,
        }
    }
}
