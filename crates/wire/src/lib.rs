//! The messages that a process and the manager exchange, and those of operators.
//!
//! A connection is a Unix socket of type SEQPACKET: one message, one packet, at most
//! [`MESSAGE_BYTES_MAX`] bytes. Who the peer is, the socket says (its credentials), never a
//! message. The first packet in each direction is an [`Opening`] and a [`Reception`], whose heads
//! are the same in every version of the protocol; after that come [`ToManager`] and [`ToClient`]
//! (or [`ToOperator`]).
//!
//! **Owns:** what can be said, in which form, within which limits.
//!
//! **Must not know:** sockets, who may say what, what is done about it. It is pure: bytes to values
//! and back.
//!
//! # A client's life
//!
//! ```text
//! client                                manager
//!   Opening::Join(Join)       ->
//!                             <-        Reception::Welcome(Welcome): the grant
//!   Ask (wants n bytes)       ->
//!                             <-        Poll to all whose figures are old;  Told ->
//!                             <-        Order to others (shrink);           Answer ->
//!                             <-        Credit or NoCredit
//! ```
//!
//! What the manager counts a client at - its *charge* - grows only by a `Welcome` or a `Credit`,
//! and sinks only by what the client says it returned (`Answer`, `Returned`, a new `Join`) and by
//! its death.
//!
//! # Versions
//!
//! [`VERSION`] is spoken here. A manager serves clients of its own version and of the one before,
//! in their version. What a new version adds to a message comes after everything that was there,
//! so that an old reader finds what it knows and does not look further.
//!
//! # Units
//!
//! Bytes are bytes of charge: whole pages. Ranks are the sender's own: the lower goes first; only a
//! process's own ranks compare. Times are milliseconds.

#![forbid(unsafe_code)]

mod codec;
mod figures;
mod message;
mod opening;
mod operator;

pub use codec::{DecodeError, decode, encode};
pub use figures::{ClassFigures, Discard, Figures, REASONS, STEPS_MAX, Step, Supply, clamp_supply};
pub use message::{
    Answer, Ask, Credit, DISCARDS_PER_MESSAGE_MAX, NoCredit, Notice, Order, Poll, Threshold,
    ToClient, ToManager, Told, WhyNot, WhyOrdered,
};
pub use opening::{Join, Opening, Reception, Refusal, Served, Welcome, WhyRefused};
pub use operator::{
    ClientRow, CommandFailed, EventRow, OperatorRequest, Summary, ToOperator, WhoseEvents,
};

/// The version of the protocol that this crate speaks.
pub const VERSION: u16 = 1;

/// No message is longer, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 8192;
