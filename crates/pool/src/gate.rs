//! The gate that every slow call passes and that `fork` closes.
//!
//! While `fork` holds it, no thread is inside a slow call: no lock of table, arena or reclaimer is
//! held, no extent is between two owners, no page is being returned. So a child starts from a
//! state that is whole, and the handlers have this one thing to lock.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Threads are spread over this many locks so that slow calls do not share a cache line.
const STRIPES: usize = 8;

#[derive(Debug, Default)]
#[repr(align(64))]
struct Stripe(RwLock<()>);

#[derive(Debug, Default)]
pub(crate) struct Gate {
    stripes: [Stripe; STRIPES],
}

/// Proof that the caller is inside a slow call. Taking it twice in one thread could deadlock with
/// a `fork` between the two, so only the public calls of the pool take it and hand it down.
#[derive(Debug)]
pub(crate) struct Inside<'g> {
    _guard: RwLockReadGuard<'g, ()>,
}

/// Proof that nobody is inside a slow call.
#[derive(Debug)]
pub(crate) struct Closed<'g> {
    _guards: [RwLockWriteGuard<'g, ()>; STRIPES],
}

static NEXT_STRIPE: AtomicUsize = AtomicUsize::new(0);
thread_local! {
    static STRIPE: usize = NEXT_STRIPE.fetch_add(1, Ordering::Relaxed) % STRIPES;
}

impl Gate {
    pub(crate) fn enter(&self) -> Inside<'_> {
        // A thread that is being torn down has no stripe of its own any more.
        let stripe = STRIPE.try_with(|stripe| *stripe).unwrap_or(0);
        let lock = &self.stripes[stripe].0;
        Inside {
            _guard: lock.read().unwrap_or_else(PoisonError::into_inner),
        }
    }

    pub(crate) fn close(&self) -> Closed<'_> {
        Closed {
            _guards: self.stripes.each_ref().map(Stripe::close),
        }
    }
}

impl Stripe {
    fn close(&self) -> RwLockWriteGuard<'_, ()> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
