//! Memory that several processes offer together, with real processes.
#![cfg(target_os = "linux")]
#![allow(unsafe_code, clippy::unwrap_used, clippy::print_stdout)]

#[path = "../common/mod.rs"]
mod common;

mod budget;
mod contents;
mod death;
mod forks;
mod hostile;
mod limits;
mod puppet;
