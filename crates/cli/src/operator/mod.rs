//! A line to a manager, for whoever looks and acts: `vidmm stat`, `top`, `trim`, `budget`, `run`.
//!
//! Owns: where a manager is looked for, the conversation, its deadlines, and the errors in words.
//! Must not know: how anything is shown.

mod error;
mod link;
mod place;
mod snapshot;

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;

pub(crate) use error::OperatorError;
pub(crate) use link::{Link, Outcome};
pub(crate) use place::{Place, SocketArg};
pub(crate) use snapshot::{Explained, Snapshot};
