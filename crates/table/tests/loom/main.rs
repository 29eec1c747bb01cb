//! Every interleaving (up to a bound of preemptions) and every outcome that the memory model
//! allows, of two or three threads on one or two slots. The functions under test are the shipped
//! ones; only the atomics and locks beneath them are the checker's.
//!
//! `RUSTFLAGS="--cfg vidmm_loom" cargo test --release -p vidmm-table --test loom`
//!
//! What the checker cannot see: it never lets a load see a store that is still to come (load
//! buffering), and it takes SeqCst accesses for AcqRel. `mutants.sh` shows what it does see.
#![cfg(vidmm_loom)]
// Helpers are tests too.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod at_once;
mod batches;
mod claims;
mod devices;
mod installs;
mod locks;
mod resources;
mod stale;
mod world;
