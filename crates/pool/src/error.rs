//! What a call of the engine can refuse. A refused call has changed nothing of its own items.

use vidmm_machine::ByteSize;

/// Why a call was refused. Unless a variant says otherwise, nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The handle names no live allocation.
    #[error("the handle names no live allocation")]
    BadHandle,
    /// The group does not exist.
    #[error("the group does not exist")]
    BadGroup,
    /// The allocation is offered: reclaim it first.
    #[error("the allocation is offered: reclaim it first")]
    Offered,
    /// The allocation is locked: unlock it first.
    #[error("the allocation is locked: unlock it first")]
    Locked,
    /// There is no lock to undo.
    #[error("the allocation is not locked")]
    NotLocked,
    /// Locked 65,535 times already.
    #[error("the allocation is locked too many times")]
    TooManyLocks,
    /// The allocation is *not committed* any more; it can only be destroyed.
    #[error("the allocation is not committed any more: destroy it")]
    NotCommitted,
    /// The memory cannot be had: what is neither free nor offered leaves too little. Other
    /// offered memory may have been discarded meanwhile.
    #[error(
        "no memory: {} wanted, the budget is {} and too little of it is free or offered; offer \
         something, destroy something, or raise the budget",
        ByteSize(*.wanted_bytes), ByteSize(*.budget_bytes)
    )]
    NoMemory {
        /// What the whole call wanted, in bytes.
        wanted_bytes: u64,
        /// The budget in force, in bytes.
        budget_bytes: u64,
    },
    /// The kernel or the address space would not supply the memory although the budget would, and
    /// what was offered did not help. It may have been discarded meanwhile.
    #[error(
        "no memory from the kernel: {} wanted; look at the limits of address space and of \
         overcommit", ByteSize(*.wanted_bytes)
    )]
    Kernel {
        /// What was wanted, in bytes.
        wanted_bytes: u64,
    },
    /// No manager answers, and this process may have no memory without one
    /// (`VIDMM_MODE=shared`).
    #[error(
        "no manager answers, and VIDMM_MODE=shared allows no memory without one: start one with \
         `vidmm serve`, or look at VIDMM_SOCKET"
    )]
    NoManager,
    /// More is to be reserved than is available.
    #[error(
        "{} cannot be reserved: {} are available",
        ByteSize(*.wanted_bytes), ByteSize(*.available_bytes)
    )]
    BadReservation {
        /// What was asked for, in bytes.
        wanted_bytes: u64,
        /// What could be reserved, in bytes.
        available_bytes: u64,
    },
    /// A size of 0.
    #[error("a size of 0 bytes: an allocation has at least one")]
    ZeroSize,
    /// A size that no budget and no address space of this process can hold.
    #[error("a size of {} is more than this process can address", ByteSize(*.size_bytes))]
    TooLarge {
        /// The size asked for, in bytes.
        size_bytes: u64,
    },
    /// An alignment that is no power of two, or more than can be had.
    #[error("an alignment of {align_bytes} bytes is no power of two that can be had")]
    BadAlignment {
        /// The alignment asked for, in bytes.
        align_bytes: u64,
    },
    /// As many allocations live as handles can name.
    #[error(
        "no more than {} allocations can live at once",
        vidmm_table::MAX_ALLOCATIONS
    )]
    TableFull,
    /// As many groups live as handles can name.
    #[error("no more than {} groups can live at once", vidmm_table::MAX_RESOURCES)]
    TooManyGroups,
    /// A list of no items, or of too many.
    #[error("a list of {count} items: 1 to {} are possible", crate::BATCH_MAX)]
    BadCount {
        /// How many items the list has.
        count: usize,
    },
    /// This process is a child made by `fork` while `VIDMM_FORK=drop` kept the arena out of it.
    #[error("this pool was left out of this child process (VIDMM_FORK=drop): make a new one")]
    LeftOut,
    /// A shared resource was not made, opened or used.
    #[error(transparent)]
    Shared(#[from] vidmm_shared::Error),
    /// This process is a child made by `fork`, and its parent has the shared resource open.
    #[error("a shared resource does not come along into a child made by fork: open it there")]
    NotInChild,
}

impl From<vidmm_table::Error> for Error {
    fn from(error: vidmm_table::Error) -> Self {
        use vidmm_table::Error as T;
        match error {
            // What is shared is dealt with where that is found out.
            T::BadHandle | T::Shared => Error::BadHandle,
            T::Offered => Error::Offered,
            T::Locked => Error::Locked,
            T::NotLocked => Error::NotLocked,
            T::TooManyLocks => Error::TooManyLocks,
            T::NotCommitted => Error::NotCommitted,
            T::TableFull => Error::TableFull,
            T::TooManyResources => Error::TooManyGroups,
        }
    }
}

/// Why a call on a list was refused, and the item to blame. Nothing of the list was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("item {}: {error}", .index.map_or_else(|| "(the whole list)".to_owned(), |i| i.to_string()))]
pub struct BatchError {
    /// The first item that is wrong; `None` when it is the call as a whole.
    pub index: Option<usize>,
    /// What is wrong.
    pub error: Error,
}

impl BatchError {
    pub(crate) fn at(index: usize, error: impl Into<Error>) -> Self {
        BatchError {
            index: Some(index),
            error: error.into(),
        }
    }

    pub(crate) fn whole(error: Error) -> Self {
        BatchError { index: None, error }
    }
}
