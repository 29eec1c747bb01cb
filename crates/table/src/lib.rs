//! Slots, handles and the lock-free offer/reclaim protocol.
//!
//! A [`Table`] holds one [`Slot`] of a cache line for each live allocation of a process. Offer,
//! reclaim of intact memory, lock and unlock are one compare-and-swap on the slot's state word;
//! so is the claim by which a victim is discarded. Whoever wins that swap has decided the
//! question, and nobody ever waits for anybody else to find out.
//!
//! **Owns:** the state word and its transitions, generation-checked handles, the rest of freed
//! slots, the plain words that a policy reads (history, cost, priority), which allocations belong
//! to which resource.
//!
//! **Must not know:** what an extent is (it is an opaque word here), memory, budgets, threads,
//! clocks, policies. It makes no system call but those of a contended lock or of the allocator
//! when a chunk of slots is added.
//!
//! # The protocol
//!
//! ```text
//!            create                offer               claim
//!   empty ----------> committed <----------> offered ----------> discarded
//!     ^                  |  ^     reclaim       |                    |  |
//!     |     destroy      |  +-------------------|---- install -------+  | kill
//!     +------------------+----------------------+--------------------+  v
//!     +---------------------------------------------- destroy ------- dead
//! ```
//!
//! * Every transition adds one to a sequence of 41 bits that lives in the state word and never
//!   restarts, not even when the slot is used for another allocation. A swap from a word that was
//!   read earlier therefore succeeds only if nothing at all happened to the slot in between.
//! * An operation loads the state word, *then* checks the generation, then swaps from that word.
//!   If the slot was recycled before the load, the generation differs; if after, the word does.
//! * The extent is read *before* the swap that detaches it (claim, destroy). From the swap on it
//!   belongs to the winner alone; there is no state in which a discard is in progress.
//! * Transitions out of *discarded* and *empty*, and the first lock of a *fresh* slot, write more
//!   than the state word. They are the slow path: serialised for each slot by one of a few sharded
//!   locks, under which the state is read again, and the extent is written before the state.
//!
//! An allocation that is shared with other processes has a slot for its handle only
//! ([`SlotRef::make_shared`]): every operation refuses it, and its owner looks elsewhere.
//!
//! Resources ([`Table::members`]) are read without a lock, too: see `resource.rs`.
//!
//! The checkers in `tests/loom/` and `tests/shuttle.rs` run exactly these functions.

mod chunks;
mod error;
mod handle;
mod protocol;
mod resource;
mod slot;
mod sync;
mod table;
mod word;

pub use error::Error;
pub use handle::{
    GENERATIONS, Handle, MAX_ALLOCATIONS, MAX_RESOURCES, OBJECT_INDICES, object_handle,
    object_number,
};
pub use protocol::{Detached, FirstLock, Installed, Lock, Offered, Reclaim, SlotRef};
pub use resource::{ResourceId, Resources};
pub use slot::{ExtentWord, History, INTERVAL_TICKS_MAX, Slot};
pub use table::{MemoryUse, New, SlotIndex, Table};
pub use word::{
    Class, OfferMode, PRIORITY_HIGH, PRIORITY_LOW, PRIORITY_MAXIMUM, PRIORITY_MINIMUM,
    PRIORITY_NORMAL, State, Word,
};
