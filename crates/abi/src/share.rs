//! Resources that several processes open.

use crate::basic::{D3DGPU_VIRTUAL_ADDRESS, D3DKMT_HANDLE, HANDLE, UINT, ULONG_PTR, VOID};

structure! {
    /// Asks what there is behind a descriptor of a shared resource.
    ///
    /// `d3dkmthk.h: D3DKMT_QUERYRESOURCEINFOFROMNTHANDLE`.
    pub struct D3DKMT_QUERYRESOURCEINFOFROMNTHANDLE {
        /// The device that would open it.
        pub hDevice: D3DKMT_HANDLE,
        /// The descriptor.
        pub hNtHandle: HANDLE,
        /// Where the maker's bytes are to go, or NULL.
        pub pPrivateRuntimeData: *mut VOID,
        /// In: how much room there is. Out: how many bytes the maker left.
        pub PrivateRuntimeDataSize: UINT,
        /// Out: how many bytes of private driver data the allocations have in all.
        pub TotalPrivateDriverDataSize: UINT,
        /// Out: how many the resource has.
        pub ResourcePrivateDriverDataSize: UINT,
        /// Out: how many allocations there are.
        pub NumAllocations: UINT,
    }
}

structure! {
    /// One allocation of a resource that is opened.
    ///
    /// `d3dukmdt.h: D3DDDI_OPENALLOCATIONINFO2`.
    pub struct D3DDDI_OPENALLOCATIONINFO2 {
        /// Out: the allocation.
        pub hAllocation: D3DKMT_HANDLE,
        /// Out: its private driver data, within the buffer for all of them.
        pub pPrivateDriverData: *const VOID,
        /// Out: the size of that, in bytes.
        pub PrivateDriverDataSize: UINT,
        /// Not written.
        pub GpuVirtualAddress: D3DGPU_VIRTUAL_ADDRESS,
        /// Not used.
        pub Reserved: [ULONG_PTR; 6],
    }
}

structure! {
    /// Opens a shared resource.
    ///
    /// `d3dkmthk.h: D3DKMT_OPENRESOURCEFROMNTHANDLE`.
    pub struct D3DKMT_OPENRESOURCEFROMNTHANDLE {
        /// The device that opens it.
        pub hDevice: D3DKMT_HANDLE,
        /// The descriptor.
        pub hNtHandle: HANDLE,
        /// How many allocations it has.
        pub NumAllocations: UINT,
        /// An info for each.
        pub pOpenAllocationInfo2: *mut D3DDDI_OPENALLOCATIONINFO2,
        /// How much room there is for the maker's bytes.
        pub PrivateRuntimeDataSize: UINT,
        /// Where they go.
        pub pPrivateRuntimeData: *mut VOID,
        /// How much room there is for the resource's private driver data.
        pub ResourcePrivateDriverDataSize: UINT,
        /// Where they go.
        pub pResourcePrivateDriverData: *mut VOID,
        /// In: how much room there is for the private driver data of the allocations. Out: how many
        /// bytes they have.
        pub TotalPrivateDriverDataBufferSize: UINT,
        /// Where they go, one after the other.
        pub pTotalPrivateDriverDataBuffer: *mut VOID,
        /// Out: the resource.
        pub hResource: D3DKMT_HANDLE,
        /// Out: 0. There are no keyed mutexes.
        pub hKeyedMutex: D3DKMT_HANDLE,
        /// Not used.
        pub pKeyedMutexPrivateRuntimeData: *mut VOID,
        /// Not used.
        pub KeyedMutexPrivateRuntimeDataSize: UINT,
        /// Out: 0. There is no sync object with it.
        pub hSyncObject: D3DKMT_HANDLE,
    }
}
