//! The manager: who may hold how much of one budget, and who is asked for bytes. A pure state
//! machine: [`Event`]s in, [`Action`]s out.
//!
//! **Owns:** the charges of all clients, the queue of requests, orders to shrink, fairness,
//! reservations and floors, what operators are told.
//!
//! **Must not know:** sockets, files, processes, clocks, threads. It does no I/O and so cannot
//! fail; time comes with each event; the same events give the same actions. It never sees anybody's
//! memory: it moves budget, and each process discards its own.

#![forbid(unsafe_code)]

mod event;
mod settings;

pub use event::{
    Action, ConnectionId, Event, Identity, Ledgered, LogLine, Millis, ProcessId, Rights, Severity,
};
pub use settings::{Settings, Terms};
