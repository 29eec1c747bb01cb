//! The engine of one process: table, arena, credit and agent, behind every face of vidmm.
//!
//! A [`Pool`] holds allocations under one budget. Offer, reclaim of intact memory, lock and unlock
//! go straight to a slot of the table; whatever needs memory goes through `room` and, where that
//! does not suffice, through the reclaimer, which ranks what is offered, claims victims and
//! gives their memory to whoever needs it.
//!
//! **Owns:** the budget of this process, the order of victims, the agent, what happens at `fork`.
//!
//! **Must not know:** faces (it has no types of theirs and no global state but the list of pools
//! that `fork` walks and the process's own pool, which all faces share), how a manager decides, how
//! the kernel is called.
//!
//! # Locks
//!
//! In the order in which they may be held: a face's gate, the gate (shared, by every slow call;
//! exclusive, by `fork`), the reclaimer, the table's resources (our groups), then those inside
//! table and arena, which are leaves.
//! Offer, reclaim of intact memory, lock (but the first) and unlock take none of them.

mod agent;
mod batch;
mod budget;
mod demand;
mod error;
mod explain;
mod fork;
mod gate;
mod global;
mod joined;
mod memory;
mod options;
mod pool;
mod process;
mod protect;
mod ranks;
mod reclaimer;
mod record;
mod room;
mod shared;
mod signals;
mod stats;
mod victims;

pub use agent::AgentMode;
pub use batch::{Answers, BATCH_MAX, HandleList};
pub use error::{BatchError, Error};
pub use explain::{DISCARDS_REMEMBERED, Discard};
pub use fork::{FaceClosed, FaceGate, FacePass};
pub use global::{GlobalError, global};
pub use joined::{JoinMode, JoinOptions, Membership, Notice, SubscriptionId};
pub use memory::Mapping;
pub use options::{EnvironmentError, ForkMode, PoolOptions, PressureMode};
pub use pool::{NewPoolError, Outcome, Pool, Request};
pub use shared::{SharedGroup, SharedHint, about_shared};
pub use stats::{ClassBytes, Stats};
pub use vidmm_arena::{HeapKernel, Kernel, LinuxKernel, Resident, resident_of_process};
pub use vidmm_machine::Reason;
pub use vidmm_policy::{
    Candidate, Learned, OldestFirst, Past, Policy, Rank, Ranks, Sighting, Sightings, Tuning,
};
pub use vidmm_shared::{
    About, DATA_BYTES_MAX as SHARED_DATA_BYTES_MAX, Error as SharedError, Member as SharedMember,
};
pub use vidmm_table::{
    Class, GENERATIONS, Handle, History, MAX_ALLOCATIONS, MAX_RESOURCES, OBJECT_INDICES, OfferMode,
    PRIORITY_HIGH, PRIORITY_LOW, PRIORITY_MAXIMUM, PRIORITY_MINIMUM, PRIORITY_NORMAL,
    ResourceId as GroupId, Slot, State, object_handle, object_number,
};
pub use vidmm_trace::{Recording, StartError as TraceError, StopReason, TraceOptions};
