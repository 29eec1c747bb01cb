//! Address space, extents and the return of pages to the kernel, for vidmm.
//!
//! An [`Arena`] owns address space, reserved once and opened in contiguous windows. From it come
//! [`Extent`]s, ranges of pages, and to it they go back: *warm* (their memory stays, for the next
//! allocation) or *returned* (their pages go to the kernel).
//!
//! ```
//! use vidmm_arena::{Arena, ArenaOptions, LinuxKernel};
//!
//! let arena = Arena::new(LinuxKernel, ArenaOptions::default())?;
//! let shape = arena.shape(100_000, 0)?;
//! let extent = match arena.take_warm(shape) {
//!     Some(extent) => extent,                     // backed and charged already
//!     None => arena.take_clean(shape, 64 << 20)?, // the caller has room for the charge
//! };
//! let start = arena.address(extent); // write here, up to arena.charge_bytes(extent) bytes
//! # let _ = start;
//! arena.put_warm(extent);
//! assert_eq!(arena.return_warm(u64::MAX).returned_bytes, shape.charge_bytes());
//! # Ok::<(), vidmm_arena::ArenaError>(())
//! ```
//!
//! # What it owns
//!
//! - Two *regions*: one that never has huge pages, its unit a page; one of huge pages, its unit a
//!   huge page, for sizes whose rounding wastes at most 1/16. A unit is charged, allocated and
//!   returned whole: part of a huge page frees nothing.
//! - *Windows*: each region is open from its start up to some point and closed behind it. So an
//!   arena costs the process four mappings, however many extents there are.
//! - *Free memory* of two colours that never mix: warm and clean ([`free`]).
//! - Returning pages, also when the process has locked its memory (`mlockall`), before or after;
//!   and what the kernel refuses, which stays warm and is counted.
//! - The kernel's own word on what is resident.
//!
//! # What it must not know
//!
//! Slots, handles, classes, budgets, policies and threads. It does not know live extents either:
//! the slot that holds one is the only record of it. It never decides that memory should go.
//!
//! # Architecture invariants
//!
//! - Memory that is being returned is in no books: nobody can have it until the kernel has
//!   answered. So a late return hits nobody.
//! - What the kernel has backed is live or warm, which the caller charges; clean memory has nothing
//!   behind it. (After an `mlockall` that backs open windows this holds again from the next look:
//!   the arena looks when it opens windows or returns pages, and in [`Arena::return_stray`].)
//! - The lock is held for bookkeeping, and for opening and closing windows; never while pages are
//!   returned, filled or counted.
//! - All calls to the kernel go through [`Kernel`]: [`LinuxKernel`] is the machine's,
//!   [`HeapKernel`] a stand-in, [`FailingKernel`] any of them with faults.
//!
//! # Limits
//!
//! An extent has at most 2^30 - 1 units (4 TiB of 4 KiB pages). A region has at most
//! [`RESERVE_WISH_BYTES`] of address space; where `RLIMIT_AS` is set, both take at most a quarter
//! of what it leaves, and at least [`RESERVE_MIN_BYTES`] each. A program that has locked its future
//! memory without the right to lock any amount can reserve no more than `RLIMIT_MEMLOCK` leaves.
//! With strict overcommit (`vm.overcommit_memory=2`) open windows count as promised memory; clean
//! ones at the windows' tops are closed when the kernel allows no more.

mod access;
mod arena;
mod error;
mod extent;
mod failing;
pub mod free;
mod heap;
mod kernel;
mod linux;
mod num;
mod region;
mod reserve;
mod resident;
mod returning;

pub use arena::{Arena, ArenaOptions, ArenaStats, Frozen};
pub use error::ArenaError;
pub use extent::{Extent, Shape};
pub use failing::FailingKernel;
pub use free::FreeSpace;
pub use heap::HeapKernel;
pub use kernel::{Advice, Kernel, Span};
pub use linux::LinuxKernel;
pub use reserve::{RESERVE_MIN_BYTES, RESERVE_WISH_BYTES};
pub use resident::{Resident, resident_of_process};
pub use returning::Returned;
