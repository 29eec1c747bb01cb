//! Offer memory that you could rebuild, reclaim it when you need it, be told whether it was
//! discarded meanwhile.
//!
//! A program with big rebuildable buffers - decoded images, tiles, parsed files, query results -
//! [offers](Committed::offer) those that lie idle. That costs two atomic operations whatever the
//! size, and makes no system call. As long as memory lasts nothing happens to them; when somebody
//! needs room the least valuable are discarded, whole. To use a buffer again the program
//! [reclaims](Offered::reclaim) it and is told: intact, byte for byte - or discarded, rebuild it.
//!
//! ```
//! use vidmm::{Class, Pool, Reclaimed};
//!
//! let pool = Pool::builder().budget_bytes(64 << 20).build()?;
//! let mut tile = pool.allocate(1 << 20)?;
//! tile.lock_mut()?.fill(7);
//!
//! let idle = tile.offer(Class::Normal); // may be lost from here on
//! let tile = match idle.reclaim()? {
//!     Reclaimed::Intact(tile) => tile,
//!     Reclaimed::Discarded(mut tile) => {
//!         tile.lock_mut()?.fill(7); // rebuild it
//!         tile
//!     }
//! };
//! assert!(tile.lock()?.iter().all(|&byte| byte == 7));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What is offered cannot be touched; the type says so:
//!
//! ```compile_fail,E0599
//! # let pool = vidmm::Pool::builder().budget_bytes(64 << 20).build().unwrap();
//! let idle = pool.allocate(4096).unwrap().offer(vidmm::Class::Low);
//! let bytes = idle.lock(); // no method named `lock` found for struct `Offered`
//! ```
//!
//! and what is locked cannot be offered:
//!
//! ```compile_fail,E0505
//! # let pool = vidmm::Pool::builder().budget_bytes(64 << 20).build().unwrap();
//! let mut tile = pool.allocate(4096).unwrap();
//! let bytes = tile.lock_mut().unwrap();
//! let idle = tile.offer(vidmm::Class::Low); // cannot move out of `tile` while it is borrowed
//! drop(bytes);
//! ```
//!
//! # What to use
//!
//! | you have | use |
//! |---|---|
//! | buffers with one owner | [`Committed`] and [`Offered`] |
//! | buffers that several threads offer and reclaim | [`Allocation`], which checks at run time |
//! | a buffer and the code that rebuilds it | [`Purgeable`] |
//! | many of them, by key | [`PurgeableCache`] |
//! | buffers that are only useful together | [`Group`] |
//! | buffers that several processes use | [`SharedAllocation`], [`SharedResource`] |
//!
//! **Owns:** the types above and what keeps them sound. **Must not know:** how anything is done;
//! that is `vidmm-pool`'s.

mod allocation;
mod cache;
mod group;
mod guard;
mod pool;
mod purgeable;
mod shared;
mod shared_budget;
mod shared_guard;
mod typed;

pub use allocation::Allocation;
pub use cache::{CacheGuard, CacheStats, PurgeableCache};
pub use group::Group;
pub use guard::{ReadGuard, WriteGuard};
pub use pool::{AllocationOptions, Builder, Pool};
pub use purgeable::{Purgeable, PurgeableGuard, RebuildError};
pub use shared::{SharedAllocation, SharedResource};
pub use shared_guard::SharedGuard;
pub use typed::{Committed, OfferBatchError, Offered, ReclaimBatchError, ReclaimError, Reclaimed};
pub use vidmm_pool::{
    AgentMode, BATCH_MAX, BatchError, Candidate, Class, ClassBytes, DISCARDS_REMEMBERED, Discard,
    EnvironmentError, Error, ForkMode, GlobalError, History, JoinMode, JoinOptions, Learned,
    Membership, NewPoolError, Notice, OfferMode, OldestFirst, Outcome, PRIORITY_HIGH, PRIORITY_LOW,
    PRIORITY_MAXIMUM, PRIORITY_MINIMUM, PRIORITY_NORMAL, Past, Policy, PressureMode, Rank, Ranks,
    Reason, Recording, Resident, SharedError, Sighting, Sightings, State, Stats, StopReason,
    SubscriptionId, TraceOptions, Tuning, resident_of_process,
};

/// The example of the project's first page, run as a test.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct FirstPage;
