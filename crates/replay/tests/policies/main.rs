//! What the policies do, as seen from outside: by hand, by law, by model, and by others' results.

#![allow(clippy::unwrap_used, reason = "a test stops at a surprise")]

mod bound;
mod golden;
mod laws;
mod models;
mod published;
mod rivals;
mod support;
