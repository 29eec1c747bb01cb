//! The manager: who may hold how much of one budget, and who is asked for bytes. A pure state
//! machine: [`Event`]s in, [`Action`]s out.
//!
//! **Owns:** the charges of all clients, the queue of requests, orders to shrink, fairness,
//! reservations and floors, what operators are told.
//!
//! **Must not know:** sockets, files, processes, clocks, threads. It does no I/O and so cannot
//! fail; time comes with each event; the same events give the same actions. It never sees anybody's
//! memory: it moves budget, and each process discards its own.
//!
//! # Where things live
//!
//! | room | what is in it |
//! |---|---|
//! | `manager.rs` | the state; events to rooms; when the next deadline is |
//! | `joining.rs` | processes come, part, die; what the ledger did not take |
//! | `client.rs`, `shares.rs` | one client, all with their sums; shares, floors, budgets |
//! | `queue.rs`, `serving.rs` | who waits, in which order; grants and refusals |
//! | `head.rs` | the request that is served next, until it is granted or refused |
//! | `plan.rs` | who gives how much: a pure function |
//! | `orders.rs` | orders and polls, their answers, who is late |
//! | `jobs.rs` | bytes that are collected for no request: budget, pressure, trim, reserve |
//! | `notices.rs`, `operators.rs` | what clients and operators are told |

#![forbid(unsafe_code)]

mod client;
mod event;
mod head;
mod jobs;
mod joining;
mod manager;
mod notices;
mod operators;
mod orders;
mod plan;
mod queue;
mod serving;
mod settings;
mod shares;

pub use event::{
    Action, ConnectionId, Event, Identity, Ledgered, LogLine, Millis, ProcessId, Rights, Severity,
};
pub use manager::Manager;
pub use settings::{Settings, Terms};
