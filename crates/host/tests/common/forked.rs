//! Clients that are processes of their own and cost next to nothing: forks that make four system
//! calls and wait.
#![allow(unsafe_code, reason = "fork has no safe form")]

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv,
    send, socket_with,
};
use rustix::process::{Pid, WaitOptions, waitpid};
use vidmm_wire::{Join, Opening};

/// Many processes that have joined, or have tried to.
pub(crate) struct Crowd {
    children: Vec<Pid>,
    /// They wait for its end.
    hold: Option<OwnedFd>,
    /// One byte of each, once it has its reception: the sixteenth bit of nothing, just a byte.
    done: OwnedFd,
    done_writer: Option<OwnedFd>,
    wait: OwnedFd,
}

/// What every child of a crowd does; it must not allocate, since the parent has threads.
fn live(address: &SocketAddrUnix, opening: &[u8], wait: &OwnedFd, done: &OwnedFd) {
    let mut buffer = [0; 512];
    let flags = SocketFlags::CLOEXEC;
    let Ok(socket) = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None) else {
        return;
    };
    let joined = connect(&socket, address).is_ok()
        && send(&socket, opening, SendFlags::NOSIGNAL).is_ok()
        && recv(&socket, &mut buffer[..], RecvFlags::empty()).is_ok_and(|(_, length)| length > 10);
    // After the magic and the versions: 0 is a welcome.
    let answer = match joined && buffer[10] == 0 {
        true => b"w",
        false => b"r",
    };
    let _ = rustix::io::write(done, answer);
    let _ = rustix::io::read(wait, &mut buffer);
}

impl Crowd {
    pub(crate) fn new() -> Self {
        let (wait, hold) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let (done, done_writer) =
            rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        Crowd {
            children: Vec::new(),
            hold: Some(hold),
            done,
            done_writer: Some(done_writer),
            wait,
        }
    }

    /// Starts so many; says how many were welcomed.
    pub(crate) fn join(&mut self, socket: &Path, count: usize) -> usize {
        let address = SocketAddrUnix::new(socket).unwrap();
        let opening = Opening::Join(Join::default()).encode();
        let done = self.done_writer.as_ref().unwrap();
        for _ in 0..count {
            // SAFETY: the child makes plain system calls on values that exist already, and ends
            // without running anything of the parent's.
            match unsafe { libc::fork() } {
                0 => {
                    if let Some(hold) = &self.hold {
                        // Its own copy would keep it waiting for itself.
                        close_copy(hold);
                    }
                    live(&address, &opening, &self.wait, done);
                    // SAFETY: ends the child at once.
                    unsafe { libc::_exit(0) }
                }
                pid => self.children.push(Pid::from_raw(pid).expect("a child")),
            }
        }
        let mut welcomed = 0;
        let mut answers = vec![0; count];
        let mut read = 0;
        while read < count {
            let mut ready = [rustix::event::PollFd::from_borrowed_fd(
                self.done.as_fd(),
                rustix::event::PollFlags::IN,
            )];
            let wait = rustix::event::Timespec {
                tv_sec: 30,
                tv_nsec: 0,
            };
            let some = rustix::event::poll(&mut ready, Some(&wait)).unwrap();
            assert_ne!(some, 0, "{read} of {count} have an answer");
            let got = rustix::io::read(&self.done, &mut answers[read..]).unwrap();
            welcomed += answers[read..read + got]
                .iter()
                .filter(|&&byte| byte == b'w')
                .count();
            read += got;
        }
        welcomed
    }

    /// Lets all of them end.
    pub(crate) fn end(&mut self) {
        self.hold = None;
        for child in self.children.drain(..) {
            waitpid(Some(child), WaitOptions::empty()).unwrap();
        }
    }
}

fn close_copy(fd: &OwnedFd) {
    use std::os::fd::AsRawFd;
    // SAFETY: only the child's copy is closed, and the child does not use it.
    unsafe { rustix::io::close(fd.as_raw_fd()) };
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.end();
    }
}
