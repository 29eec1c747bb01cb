//! The arena on the kernel of this machine: what it says is behind the addresses, under which
//! limits and locks.
#![cfg(not(miri))]
#![allow(unsafe_code, clippy::unwrap_used, clippy::print_stdout)]

mod children;
mod counts;
mod help;
mod mappings;
mod races;
