//! What happens at `fork`: the handlers close every pool's gate before and open it after, so that
//! the child starts from a state that is whole; there the agent is gone until the first slow call.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, Weak};

use vidmm_arena::Kernel;

use crate::agent::Holder;
use crate::gate::Closed;
use crate::options::ForkMode;
use crate::pool::Pool;

/// A pool as the handlers see it.
pub(crate) trait Forks: Send + Sync {
    fn close_gate(&self) -> Closed<'_>;
    fn in_child(&self);
}

impl<K: Kernel> Forks for Pool<K> {
    fn close_gate(&self) -> Closed<'_> {
        self.gate.close()
    }

    fn in_child(&self) {
        self.agent.in_child();
        if self.options.fork == ForkMode::Drop {
            // The memory is not there: nothing may act as if it were.
            self.left_out.store(true, Ordering::Relaxed);
            self.table.forget_all();
            self.room.give(self.held_bytes());
        }
    }
}

type Pools = Vec<Weak<dyn Forks>>;

static POOLS: Mutex<Pools> = Mutex::new(Vec::new());
static HANDLERS: Once = Once::new();

/// What `prepare` took and the handler after the fork gives back.
struct Held {
    /// Dropped in this order: gates, then the list, then the pools (one of which may be the last
    /// reference, and whose end needs the list).
    _gates: Vec<Closed<'static>>,
    _pools: MutexGuard<'static, Pools>,
    alive: Vec<Arc<dyn Forks>>,
}

struct Place(UnsafeCell<Option<Held>>);

// SAFETY: only the handlers touch it, and only while they hold the lock on POOLS: `prepare` puts it
// there after taking the lock, the handler after the fork takes it out before giving the lock back.
unsafe impl Sync for Place {}

static HELD: Place = Place(UnsafeCell::new(None));

/// Lets `fork` know of a pool.
pub(crate) fn register(pool: Weak<dyn Forks>) {
    HANDLERS.call_once(|| {
        // SAFETY: the three are functions that live as long as the process (the library is never
        // unloaded) and do not unwind. If there is no memory for the entry, children of this
        // process must not use its pools; there is no better moment to say so.
        unsafe { libc::pthread_atfork(Some(prepare), Some(parent), Some(child)) };
    });
    let mut pools = lock_pools();
    pools.retain(|pool| pool.strong_count() > 0);
    pools.push(pool);
}

fn lock_pools() -> MutexGuard<'static, Pools> {
    POOLS.lock().unwrap_or_else(PoisonError::into_inner)
}

unsafe extern "C" fn prepare() {
    let pools = lock_pools();
    let alive: Vec<Arc<dyn Forks>> = pools.iter().filter_map(Weak::upgrade).collect();
    let gates = alive
        .iter()
        .map(|pool| {
            let closed: Closed<'_> = pool.close_gate();
            // SAFETY: the guards borrow from a pool that `alive`, beside them in `Held`, keeps;
            // it is dropped after them.
            unsafe { std::mem::transmute::<Closed<'_>, Closed<'static>>(closed) }
        })
        .collect();
    // SAFETY: the lock on POOLS is held; see `Place`.
    unsafe {
        *HELD.0.get() = Some(Held {
            _gates: gates,
            _pools: pools,
            alive,
        });
    }
}

fn take_held() -> Option<Held> {
    // SAFETY: called only by the two handlers after a fork, with the lock on POOLS still held by
    // what is taken; see `Place`.
    unsafe { (*HELD.0.get()).take() }
}

unsafe extern "C" fn parent() {
    drop(take_held());
}

unsafe extern "C" fn child() {
    if let Some(held) = take_held() {
        for pool in &held.alive {
            pool.in_child();
        }
    }
}

/// Closes, in a child, a descriptor whose owner is a thread that did not come along.
pub(crate) fn close_copy(fd: BorrowedFd<'_>) {
    // SAFETY: the owner is never dropped in this process: `Agent::in_child` forgets it.
    unsafe { rustix::io::close(fd.as_raw_fd()) };
}
