//! How much memory there is and how much of it is used.

use crate::basic::{D3DKMT_HANDLE, HANDLE, UINT, UINT64};

enumeration! {
    /// Which memory is meant.
    ///
    /// `d3dkmthk.h: D3DKMT_MEMORY_SEGMENT_GROUP`.
    pub enum D3DKMT_MEMORY_SEGMENT_GROUP {
        /// The memory that is the adapter's own.
        D3DKMT_MEMORY_SEGMENT_GROUP_LOCAL = 0,
        /// Other memory that it can reach.
        D3DKMT_MEMORY_SEGMENT_GROUP_NON_LOCAL = 1,
    }
}

structure! {
    /// Asks for the budget of the process and what it uses of it. All in bytes.
    ///
    /// `d3dkmthk.h: D3DKMT_QUERYVIDEOMEMORYINFO`.
    pub struct D3DKMT_QUERYVIDEOMEMORYINFO {
        /// Which process: NULL for this one.
        pub hProcess: HANDLE,
        /// The adapter.
        pub hAdapter: D3DKMT_HANDLE,
        /// Which memory.
        pub MemorySegmentGroup: D3DKMT_MEMORY_SEGMENT_GROUP,
        /// Out: what the process may use.
        pub Budget: UINT64,
        /// Out: what it uses.
        pub CurrentUsage: UINT64,
        /// Out: what it has reserved.
        pub CurrentReservation: UINT64,
        /// Out: what it could reserve.
        pub AvailableForReservation: UINT64,
        /// Which of the physical adapters that make up the adapter.
        pub PhysicalAdapterIndex: UINT,
    }
}
