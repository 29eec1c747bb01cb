//! What happens to allocations, as events, and the recorder that writes them down.
//!
//! **Owns:** the event, the rings that threads put events into, the spool file that a recorder
//! writes and its layout (`spool.rs`).
//!
//! **Must not know:** tables, pools, policies, other formats of traces. An allocation is a number
//! here, a class a digit.
//!
//! A thread that records puts each event into a ring of its own: a few plain stores, no lock, no
//! system call but the clock's. One drainer empties all rings into the spool. Everything is
//! bounded: a ring that is full *loses* the event, which is counted, and never overwrites one. So
//! what a spool has plus what it says it lost is what happened.
#![forbid(unsafe_code)]

mod event;
mod recorder;
mod ring;
mod spool;
mod writer;

pub use event::{Class, EVENT_BYTES, Event, Kind, now_ns};
pub use recorder::{Recorder, Recording};
pub use ring::RING_EVENTS;
pub use spool::{
    End, FRAME_EVENTS_MAX, FRAME_HEAD_BYTES, FrameHead, HEADER_BYTES, Header, SPOOL_MAGIC, Status,
};
pub use writer::{StartError, StopReason, TraceOptions};
