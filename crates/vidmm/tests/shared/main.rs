//! Memory that several processes offer together, with real processes.
#![cfg(target_os = "linux")]
#![allow(unsafe_code, clippy::unwrap_used, clippy::print_stdout)]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::multiple_unsafe_ops_per_block,
    reason = "small numbers, and structures of the C library"
)]

#[path = "../common/mod.rs"]
mod common;

mod budget;
mod contents;
mod death;
mod forks;
mod hostile;
mod limits;
mod puppet;
