//! Why a slot operation was refused. A refused operation has changed nothing.

/// Why a slot operation was refused. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The handle names no live allocation: it was never given out, or its allocation has been
    /// destroyed.
    #[error("the handle names no live allocation")]
    BadHandle,
    /// The allocation is offered (or was discarded while offered): reclaim it first.
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
    /// The allocation is *not committed*: it was offered with *allow decommit* and could not be
    /// supplied again. It can only be destroyed.
    #[error("the allocation is not committed any more: destroy it")]
    NotCommitted,
    /// The allocation is shared with other processes: what it is stands elsewhere, and so does what
    /// can be done with it.
    #[error("the allocation is shared with other processes")]
    Shared,
    /// The table holds as many allocations as handles can name.
    #[error("no more than {} allocations can live at once", crate::MAX_ALLOCATIONS)]
    TableFull,
    /// The table holds as many resources as handles can name.
    #[error("no more than {} resources can live at once", crate::MAX_RESOURCES)]
    TooManyResources,
}
