//! The one place that says which atomics the state word is built on: the standard ones, or those of
//! a model checker, so that the checker runs the shipped functions.

#[cfg(vidmm_loom)]
mod dependent;
#[cfg(vidmm_loom)]
pub use dependent::AtomicU64;
#[cfg(vidmm_loom)]
pub(crate) use loom::sync::atomic::Ordering;
#[cfg(not(vidmm_loom))]
pub use std::sync::atomic::AtomicU64;
#[cfg(not(vidmm_loom))]
pub(crate) use std::sync::atomic::Ordering;
