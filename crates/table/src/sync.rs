//! The one place that says which atomics and locks the crate is built on: the standard ones, or
//! those of a model checker. The rest of the crate imports only from here, so the checkers run
//! the shipped functions.

#[cfg(vidmm_loom)]
mod dependent;
#[cfg(vidmm_loom)]
pub(crate) use dependent::{AtomicU16, AtomicU32, AtomicU64};
#[cfg(vidmm_loom)]
pub(crate) use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicPtr, Ordering, fence},
};
#[cfg(all(vidmm_shuttle, not(vidmm_loom)))]
pub(crate) use shuttle::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicPtr, AtomicU16, AtomicU32, AtomicU64, Ordering, fence},
};
#[cfg(not(any(vidmm_loom, vidmm_shuttle)))]
pub(crate) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicPtr, AtomicU16, AtomicU32, AtomicU64, Ordering, fence},
};

/// Locks `mutex`, also after a panic of another holder: what these locks guard is left whole at
/// every point where a panic could happen, so a poisoned lock carries no news.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
