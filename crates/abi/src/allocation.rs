//! What is done with allocations: lock, prioritise, destroy. And what vidmm must be told of one.

use crate::basic::{D3DKMT_HANDLE, PVOID, UINT, UINT64};

structure! {
    /// What vidmm must be told of an allocation: the private driver data of each.
    ///
    /// Ours; a driver's data about an allocation is its own business on Windows too.
    pub struct VIDMM_ALLOCATION_DATA {
        /// [`VIDMM_ALLOCATION_DATA_VERSION`](crate::VIDMM_ALLOCATION_DATA_VERSION).
        pub Version: UINT,
        /// Must be 0.
        pub Flags: UINT,
        /// How many bytes it has: more than 0.
        pub Size: UINT64,
        /// What its address is a multiple of, in bytes: a power of two, or 0 for no wish.
        pub Alignment: UINT64,
        /// How long it takes to make its content again, in nanoseconds; 0 if that is not known.
        pub RebuildCostNs: UINT64,
    }
}

structure! {
    /// Ends allocations: those of a list, or a resource with its members.
    ///
    /// `d3dkmthk.h: D3DKMT_DESTROYALLOCATION`.
    pub struct D3DKMT_DESTROYALLOCATION {
        /// The device they belong to.
        pub hDevice: D3DKMT_HANDLE,
        /// The resource, or 0.
        pub hResource: D3DKMT_HANDLE,
        /// The allocations, or NULL.
        pub phAllocationList: *const D3DKMT_HANDLE,
        /// How many.
        pub AllocationCount: UINT,
    }
}

flags! {
    /// How allocations are ended.
    ///
    /// `d3dukmdt.h: D3DDDICB_DESTROYALLOCATION2FLAGS`.
    pub Valued D3DDDICB_DESTROYALLOCATION2FLAGS: UINT {
        /// Nothing uses them any more.
        AssumeNotInUse: 0, 1;
        /// Their memory is the kernel's again when the call returns.
        SynchronousDestroy: 1, 1;
        /// Must be 0.
        Reserved: 2, 29;
        /// For the system itself.
        SystemUseOnly: 31, 1;
    }
}

structure! {
    /// Ends allocations: those of a list, or a resource with its members.
    ///
    /// `d3dkmthk.h: D3DKMT_DESTROYALLOCATION2`.
    pub struct D3DKMT_DESTROYALLOCATION2 {
        /// The device they belong to.
        pub hDevice: D3DKMT_HANDLE,
        /// The resource, or 0.
        pub hResource: D3DKMT_HANDLE,
        /// The allocations, or NULL.
        pub phAllocationList: *const D3DKMT_HANDLE,
        /// How many.
        pub AllocationCount: UINT,
        /// How.
        pub Flags: D3DDDICB_DESTROYALLOCATION2FLAGS,
    }
}

flags! {
    /// How an allocation is locked. No bit has a meaning.
    ///
    /// `d3dukmdt.h: D3DDDICB_LOCK2FLAGS`.
    pub Valued D3DDDICB_LOCK2FLAGS: UINT {
        /// Must be 0.
        Reserved: 0, 32;
    }
}

structure! {
    /// Locks an allocation: its bytes can be used until it is unlocked as often.
    ///
    /// `d3dkmthk.h: D3DKMT_LOCK2`.
    pub struct D3DKMT_LOCK2 {
        /// The device it belongs to.
        pub hDevice: D3DKMT_HANDLE,
        /// The allocation.
        pub hAllocation: D3DKMT_HANDLE,
        /// How.
        pub Flags: D3DDDICB_LOCK2FLAGS,
        /// Out: the first byte.
        pub pData: PVOID,
    }
}

structure! {
    /// Takes a lock back.
    ///
    /// `d3dkmthk.h: D3DKMT_UNLOCK2`.
    pub struct D3DKMT_UNLOCK2 {
        /// The device it belongs to.
        pub hDevice: D3DKMT_HANDLE,
        /// The allocation.
        pub hAllocation: D3DKMT_HANDLE,
    }
}

structure! {
    /// Says how much allocations matter: a priority for each of a list, or one for a resource.
    ///
    /// `d3dkmthk.h: D3DKMT_SETALLOCATIONPRIORITY`.
    pub struct D3DKMT_SETALLOCATIONPRIORITY {
        /// The device they belong to.
        pub hDevice: D3DKMT_HANDLE,
        /// The resource, or 0.
        pub hResource: D3DKMT_HANDLE,
        /// The allocations, or NULL.
        pub phAllocationList: *const D3DKMT_HANDLE,
        /// How many; 0 for a resource.
        pub AllocationCount: UINT,
        /// The priorities; one for a resource.
        pub pPriorities: *const UINT,
    }
}
