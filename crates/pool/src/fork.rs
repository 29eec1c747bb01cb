//! What happens at `fork`: the handlers close every pool's gate before and open it after, so that
//! the child starts from a state that is whole; there the agent is gone until the first slow call.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, Weak};

use vidmm_arena::Kernel;

use crate::gate::{Closed, Gate, Inside};
use crate::options::ForkMode;
use crate::pool::Pool;

/// A pool, or a face with locks of its own, as the handlers see it.
pub(crate) trait Forks: Send + Sync {
    fn close_gate(&self) -> Closed<'_>;
    fn in_child(&self);
    /// A face's gate is passed before a pool's, so it is closed before.
    fn is_face(&self) -> bool {
        false
    }
}

/// The gate of a face: whoever holds locks of the face, or is between two calls of the engine that
/// belong together, is inside. `fork` waits until nobody is, as it does for the pools.
#[derive(Debug)]
pub struct FaceGate {
    gate: Gate,
    in_child: fn(),
}

/// Inside a face's gate.
#[derive(Debug)]
pub struct FacePass<'g> {
    _inside: Inside<'g>,
}

/// Alone: nobody is inside a face's gate.
#[derive(Debug)]
pub struct FaceClosed<'g> {
    _closed: Closed<'g>,
}

impl FaceGate {
    /// A gate that lives as long as the process. `in_child` is called in each child made by
    /// `fork`, before anything else happens there.
    #[must_use]
    pub fn new(in_child: fn()) -> Arc<Self> {
        let face = Arc::new(FaceGate {
            gate: Gate::default(),
            in_child,
        });
        let forks: Weak<Self> = Arc::downgrade(&face);
        register(forks);
        face
    }

    /// Passes the gate. Not twice in one thread: a `fork` between the two would wait for ever.
    pub fn enter(&self) -> FacePass<'_> {
        FacePass {
            _inside: self.gate.enter(),
        }
    }

    /// Waits until nobody is inside, and keeps others out. Not from inside.
    pub fn close(&self) -> FaceClosed<'_> {
        FaceClosed {
            _closed: self.gate.close(),
        }
    }
}

impl Forks for FaceGate {
    fn close_gate(&self) -> Closed<'_> {
        self.gate.close()
    }

    fn in_child(&self) {
        (self.in_child)();
    }

    fn is_face(&self) -> bool {
        true
    }
}

impl<K: Kernel> Forks for Pool<K> {
    fn close_gate(&self) -> Closed<'_> {
        self.gate.close()
    }

    fn in_child(&self) {
        self.abandon_recording();
        self.agent.in_child();
        self.notices.in_child();
        if !self.link.is_alone() {
            // What nothing is behind is the parent's.
            self.room.cut_unused(u64::MAX);
        }
        self.link.in_child();
        self.shared.in_child(&self.room);
        if self.options.fork == ForkMode::Drop {
            // The memory is not there: nothing may act as if it were.
            self.left_out.store(true, Ordering::Relaxed);
            self.table.forget_all();
            self.room.give(Pool::held_bytes(self));
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
    match pool.upgrade() {
        Some(face) if face.is_face() => pools.insert(0, pool),
        _ => pools.push(pool),
    }
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
        // The pools first: a face asks its pool what has become of it.
        for pool in held.alive.iter().rev() {
            pool.in_child();
        }
    }
}

/// Closes, in a child, a descriptor whose owner is a thread that did not come along.
pub(crate) fn close_copy(fd: BorrowedFd<'_>) {
    // SAFETY: the owner is never dropped in this process: `Agent::in_child` forgets it.
    unsafe { rustix::io::close(fd.as_raw_fd()) };
}
