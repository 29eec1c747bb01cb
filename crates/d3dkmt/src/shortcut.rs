//! The shortest way to the engine, for offers and reclaims of one allocation.
//!
//! It is open from the first call of another function on - unless a trace is recorded, which it
//! would leave nothing in - and closed while a tester's knob makes an offer more than it is; then
//! the long way is taken, which knows about everything.
#![allow(unsafe_code)]

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use vidmm_pool::Pool;

static ENGINE: AtomicPtr<Pool> = AtomicPtr::new(ptr::null_mut());

/// The engine, if the way is open.
#[inline]
pub(crate) fn engine() -> Option<&'static Pool> {
    let engine = ENGINE.load(Ordering::Acquire);
    // SAFETY: NULL, or made from a reference that is good for ever, by `open`.
    unsafe { engine.as_ref() }
}

pub(crate) fn open(pool: &'static Pool) {
    ENGINE.store(ptr::from_ref(pool).cast_mut(), Ordering::Release);
}

pub(crate) fn close() {
    ENGINE.store(ptr::null_mut(), Ordering::Release);
}
