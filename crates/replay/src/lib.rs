//! What a discard policy or a budget would have done with recorded accesses.
//!
//! **Owns:** requests in memory, the published policies to compare with, the clairvoyant bound, the
//! replay that counts what each misses.
//!
//! **Must not know:** files and formats of traces, slots, memory, clocks. Everything is a function
//! of its arguments and of seeds among them.
//!
//! The rules of a replay: the footprint is the sum of the sizes with which objects were first seen;
//! an object keeps its first size; a first access is a miss; an object larger than the whole size
//! always misses and takes no room. A policy sees the past only ([`Request`]); what comes next is a
//! type of its own ([`Future`]) that only the clairvoyant bound is given. Objects are numbered in the
//! order of their first appearance, so that no result can depend on how a trace names them.
#![forbid(unsafe_code)]

mod belady;
mod cache;
mod counting;
mod future;
mod mix;
mod ours;
pub mod peers;
mod policies;
mod requests;

pub use belady::{Bound, Exact, belady};
pub use cache::{Cache, Outcome};
pub use counting::{Misses, replay};
pub use future::Future;
pub use ours::Vidmm;
pub use policies::{Online, Policy, Setting, UnknownPolicy};
pub use requests::{MOST_BYTES, MOST_OBJECTS, ObjectId, Request, Requests};
