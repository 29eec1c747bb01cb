//! A process on strings: it has a pool of its own, opens a shared allocation and does what it is
//! told.

use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use vidmm::{Class, Error, Outcome, Pool, SharedAllocation};

use crate::common::{MIB, fill, is_filled};

pub(crate) const LEN: usize = MIB;

/// A puppet lives no longer than this, whatever happens to its test.
const LIFE_S: u32 = 60;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Do {
    Open,
    Close,
    Write,
    Check,
    Offer,
    Reclaim,
    Lock,
    Fork,
    Trim,
    Held,
    Budget,
    End,
}

const ALL: [Do; 12] = [
    Do::Open,
    Do::Close,
    Do::Write,
    Do::Check,
    Do::Offer,
    Do::Reclaim,
    Do::Lock,
    Do::Fork,
    Do::Trim,
    Do::Held,
    Do::Budget,
    Do::End,
];

/// What a puppet answers: a number, or that it was refused.
pub(crate) type Answer = Result<u64, ()>;

pub(crate) const INTACT: Answer = Ok(0);
pub(crate) const DISCARDED: Answer = Ok(1);

pub(crate) fn pool(budget_bytes: u64) -> Pool {
    let builder = Pool::builder().budget_bytes(budget_bytes);
    builder.pressure(vidmm::PressureMode::Off).build().unwrap()
}

pub(crate) fn write(shared: &SharedAllocation, seed: u64) {
    let mut bytes = vec![0; LEN];
    fill(&mut bytes, seed);
    let guard = shared.lock().unwrap();
    assert_eq!(guard.write_at(&bytes, 0), Ok(LEN));
}

pub(crate) fn has(shared: &SharedAllocation, seed: u64) -> bool {
    let mut bytes = vec![0; LEN];
    assert_eq!(shared.lock().unwrap().read_at(&mut bytes, 0), Ok(LEN));
    is_filled(&bytes, seed)
}

/// Bytes that the kernel keeps for the file behind a descriptor.
pub(crate) fn backed_bytes(descriptor: BorrowedFd<'_>) -> u64 {
    u64::try_from(rustix::fs::fstat(descriptor).unwrap().st_blocks).unwrap() * 512
}

/// Ended, if need be by force, when dropped.
#[derive(Debug)]
pub(crate) struct Puppet {
    pub(crate) pid: libc::pid_t,
    socket: UnixStream,
}

impl Puppet {
    /// A puppet with a pool of this budget, which has not opened anything yet.
    pub(crate) fn new(budget_bytes: u64) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        // SAFETY: the child runs on with this thread alone and ends without returning.
        match unsafe { libc::fork() } {
            0 => {
                // SAFETY: it sets a timer that ends this process.
                unsafe { libc::alarm(LIFE_S) };
                drop(ours);
                let play = std::panic::AssertUnwindSafe(|| play(theirs, budget_bytes));
                let fine = std::panic::catch_unwind(play).is_ok();
                // SAFETY: ends the child at once.
                unsafe { libc::_exit(i32::from(!fine)) }
            }
            -1 => panic!("fork: {}", std::io::Error::last_os_error()),
            pid => Puppet { pid, socket: ours },
        }
    }

    /// As [`Puppet::new`], and it opens what the descriptor leads to.
    pub(crate) fn with(budget_bytes: u64, descriptor: &OwnedFd) -> (Self, Answer) {
        let mut puppet = Puppet::new(budget_bytes);
        let answer = puppet.open(descriptor);
        (puppet, answer)
    }

    pub(crate) fn open(&mut self, descriptor: &OwnedFd) -> Answer {
        self.begin(Do::Open, 0);
        send(&self.socket, descriptor);
        self.answer()
    }

    fn begin(&mut self, what: Do, with: u64) {
        let mut order = vec![what as u8];
        order.extend(with.to_le_bytes());
        self.socket.write_all(&order).unwrap();
    }

    fn answer(&mut self) -> Answer {
        let mut answer = [0; 9];
        self.socket.read_exact(&mut answer).unwrap();
        let number = u64::from_le_bytes(answer[1..].try_into().unwrap());
        if answer[0] == 0 { Ok(number) } else { Err(()) }
    }

    #[track_caller]
    pub(crate) fn go(&mut self, what: Do, with: u64) -> Answer {
        self.begin(what, with);
        self.answer()
    }

    pub(crate) fn signal(&self, signal: libc::c_int) {
        // SAFETY: the child made by `new`, which nobody has waited for yet.
        assert_eq!(unsafe { libc::kill(self.pid, signal) }, 0);
    }

    /// Kills it, and waits until it is gone.
    pub(crate) fn kill(self) {
        drop(self);
    }
}

impl Drop for Puppet {
    fn drop(&mut self) {
        self.signal(libc::SIGKILL);
        let mut status = 0;
        // SAFETY: waits for the child made by `new`.
        unsafe { libc::waitpid(self.pid, &raw mut status, 0) };
    }
}

fn play(mut socket: UnixStream, budget_bytes: u64) {
    let pool = pool(budget_bytes);
    let mut shared: Option<SharedAllocation> = None;
    let mut order = [0; 9];
    while socket.read_exact(&mut order).is_ok() {
        let with = u64::from_le_bytes(order[1..].try_into().unwrap());
        let what = ALL
            .into_iter()
            .find(|&what| what as u8 == order[0])
            .unwrap();
        if what == Do::End {
            return;
        }
        let answer = act(what, with, &pool, &socket, &mut shared);
        let mut reply = vec![u8::from(answer.is_err())];
        reply.extend(answer.unwrap_or(0).to_le_bytes());
        socket.write_all(&reply).unwrap();
    }
}

fn act(
    what: Do,
    with: u64,
    pool: &Pool,
    socket: &UnixStream,
    shared: &mut Option<SharedAllocation>,
) -> Result<u64, Error> {
    let number = |outcome| u64::from(outcome != Outcome::Intact);
    if what == Do::Open {
        let descriptor = receive(socket);
        let (opened, outcome) = SharedAllocation::open(pool, descriptor.as_fd())?;
        *shared = Some(opened);
        return Ok(number(outcome));
    }
    let Some(open) = shared.as_ref() else {
        return match what {
            Do::Trim => pool.trim(with),
            Do::Held => Ok(held(pool)),
            _ => Err(Error::BadHandle),
        };
    };
    match what {
        Do::Close => *shared = None,
        Do::Write => write(open, with),
        Do::Check => return Ok(u64::from(has(open, with))),
        Do::Offer => open.offer([Class::Low, Class::Normal, Class::High][with as usize])?,
        Do::Reclaim => return open.reclaim().map(number),
        // Until it is unlocked by another guard's drop, or the process ends.
        Do::Lock => std::mem::forget(open.lock()?),
        // A child that lives on when this process does not.
        // SAFETY: the child only waits.
        Do::Fork => match unsafe { libc::fork() } {
            0 => {
                // SAFETY: it sets a timer that ends this process.
                unsafe { libc::alarm(LIFE_S) };
                loop {
                    // SAFETY: waits for a signal.
                    unsafe { libc::pause() };
                }
            }
            pid => return Ok(u64::try_from(pid).unwrap()),
        },
        Do::Trim => return pool.trim(with),
        Do::Held => return Ok(held(pool)),
        Do::Budget => pool.set_budget_bytes(with)?,
        Do::Open | Do::End => return Err(Error::BadHandle),
    }
    Ok(0)
}

pub(crate) fn held(pool: &Pool) -> u64 {
    let stats = pool.stats_now();
    u64::try_from(i64::try_from(stats.budget_bytes).unwrap() - stats.room_bytes).unwrap()
}

#[repr(C, align(8))]
struct Control([u8; 64]);

/// Sends a descriptor over a socket, with one byte.
pub(crate) fn send(socket: &UnixStream, descriptor: &impl AsRawFd) {
    let (mut byte, mut control) = ([7_u8], Control([0; 64]));
    let mut part = libc::iovec {
        iov_base: byte.as_mut_ptr().cast(),
        iov_len: 1,
    };
    // SAFETY: all zeroes are a message without anything.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    // SAFETY: arithmetic.
    message.msg_controllen = unsafe { libc::CMSG_SPACE(4) } as _;
    // SAFETY: the message has room for one control message.
    let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    // SAFETY: as above; the header lies in `control`, which is aligned for it.
    unsafe {
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(4) as _;
        libc::CMSG_DATA(header)
            .cast::<libc::c_int>()
            .write_unaligned(descriptor.as_raw_fd());
    }
    // SAFETY: a message made of memory that lives on.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, 0) };
    assert_eq!(sent, 1);
}

/// Takes a descriptor from a socket.
pub(crate) fn receive(socket: &UnixStream) -> OwnedFd {
    use std::os::fd::FromRawFd;
    let (mut byte, mut control) = ([0_u8], Control([0; 64]));
    let mut part = libc::iovec {
        iov_base: byte.as_mut_ptr().cast(),
        iov_len: 1,
    };
    // SAFETY: all zeroes are a message without anything.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len() as _;
    // SAFETY: a message with room that lives on.
    let received =
        unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) };
    assert_eq!(received, 1);
    // SAFETY: the kernel filled in what it says.
    let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    assert!(!header.is_null());
    // SAFETY: the one control message is a descriptor, which is nobody else's.
    unsafe {
        OwnedFd::from_raw_fd(
            libc::CMSG_DATA(header)
                .cast::<libc::c_int>()
                .read_unaligned(),
        )
    }
}
