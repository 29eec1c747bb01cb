//! The few calls about the process itself that only the C library has: starting the agent's thread
//! so that it never runs somebody else's signal handlers, and secure-execution mode.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::thread::Builder;

/// The agent reads a few files and scans the table; it needs little. But it also calls what a program
/// has subscribed with. What nobody uses of a stack costs nothing.
const STACK_BYTES: usize = 1 << 20;

/// Starts a detached thread with all signals blocked from its first instruction.
pub(crate) fn spawn_without_signals(
    name: &str,
    body: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: it fills the set it is given.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: both sets are valid; the old mask is written to `before`. A new thread inherits the
    // mask of the one that starts it, so it is blocked here and restored below.
    let blocked =
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) };
    if blocked != 0 {
        return Err(io::Error::from_raw_os_error(blocked));
    }
    let spawned = Builder::new()
        .name(name.to_owned())
        .stack_size(STACK_BYTES)
        .spawn(body);
    // SAFETY: `before` was written by the call above.
    unsafe {
        libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut());
    }
    spawned.map(drop)
}

/// Whether the process runs with rights that its caller does not have (`AT_SECURE`): then the
/// environment is the caller's word and must not be heeded.
pub(crate) fn secure_execution() -> bool {
    // SAFETY: it only reads the process's auxiliary vector.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// Lets `last` be called when the process exits regularly, after its own handlers.
pub(crate) fn at_exit(last: extern "C" fn()) {
    // SAFETY: the function lives as long as the process (the library is never unloaded) and does not
    // unwind. If there is no memory for the entry, it is not called, and nothing relies on it.
    unsafe { libc::atexit(last) };
}
