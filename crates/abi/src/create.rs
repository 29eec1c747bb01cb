//! Making allocations and resources.

use crate::basic::{
    D3DDDI_VIDEO_PRESENT_SOURCE_ID, D3DGPU_VIRTUAL_ADDRESS, D3DKMT_HANDLE, D3DKMT_SIZE_T, HANDLE,
    UINT, UINT64, ULONG_PTR, VOID,
};

enumeration! {
    /// What a standard allocation is made of.
    ///
    /// `d3dkmthk.h: D3DKMT_STANDARDALLOCATIONTYPE`.
    pub enum D3DKMT_STANDARDALLOCATIONTYPE {
        /// Memory that the program has already.
        D3DKMT_STANDARDALLOCATIONTYPE_EXISTINGHEAP = 1,
        /// Memory of the kernel's own.
        D3DKMT_STANDARDALLOCATIONTYPE_INTERNALBACKINGSTORE = 2,
        /// One more than the last.
        D3DKMT_STANDARDALLOCATIONTYPE_MAX = 3,
    }
}

structure! {
    /// The memory of a standard allocation.
    ///
    /// `d3dkmthk.h: D3DKMT_STANDARDALLOCATION_EXISTINGHEAP`.
    pub struct D3DKMT_STANDARDALLOCATION_EXISTINGHEAP {
        /// Its size in bytes, a multiple of the page size.
        pub Size: D3DKMT_SIZE_T,
    }
}

flags! {
    /// How a standard allocation is to be. No bit has a meaning.
    ///
    /// `d3dkmthk.h: D3DKMT_CREATESTANDARDALLOCATIONFLAGS`.
    pub Valued D3DKMT_CREATESTANDARDALLOCATIONFLAGS: UINT {
        /// Must be 0.
        Reserved: 0, 32;
    }
}

structure! {
    /// An allocation over memory that the program has already.
    ///
    /// `d3dkmthk.h: D3DKMT_CREATESTANDARDALLOCATION`.
    pub struct D3DKMT_CREATESTANDARDALLOCATION {
        /// What it is made of.
        pub Type: D3DKMT_STANDARDALLOCATIONTYPE,
        /// How much memory.
        pub ExistingHeapData: D3DKMT_STANDARDALLOCATION_EXISTINGHEAP,
        /// How it is to be.
        pub Flags: D3DKMT_CREATESTANDARDALLOCATIONFLAGS,
    }
}

flags! {
    /// What an allocation is for: the `Flags` of [`D3DDDI_ALLOCATIONINFO`].
    pub Union D3DDDI_ALLOCATIONINFO_FLAGS: UINT {
        /// A picture is shown from it.
        Primary: 0, 1;
        /// A picture for each eye.
        Stereo: 1, 1;
        /// Must be 0.
        Reserved: 2, 30;
    }
}

structure! {
    /// One allocation to be made by D3DKMTCreateAllocation.
    ///
    /// `d3dukmdt.h: D3DDDI_ALLOCATIONINFO`.
    pub struct D3DDDI_ALLOCATIONINFO {
        /// Out: the allocation.
        pub hAllocation: D3DKMT_HANDLE,
        /// Memory of the program's to be used for it, page-aligned, or NULL.
        pub pSystemMem: *const VOID,
        /// A [`VIDMM_ALLOCATION_DATA`](crate::VIDMM_ALLOCATION_DATA).
        pub pPrivateDriverData: *mut VOID,
        /// The size of that, in bytes.
        pub PrivateDriverDataSize: UINT,
        /// Where it is shown, if it is.
        pub VidPnSourceId: D3DDDI_VIDEO_PRESENT_SOURCE_ID,
        /// What it is for.
        pub Flags: D3DDDI_ALLOCATIONINFO_FLAGS => Named,
    }
}

flags! {
    /// What an allocation is for: the `Flags` of [`D3DDDI_ALLOCATIONINFO2`].
    pub Union D3DDDI_ALLOCATIONINFO2_FLAGS: UINT {
        /// A picture is shown from it.
        Primary: 0, 1;
        /// A picture for each eye.
        Stereo: 1, 1;
        /// `Priority` is its allocation priority.
        OverridePriority: 2, 1;
        /// Must be 0.
        Reserved: 3, 29;
    }
}

structure! {
    /// One allocation to be made by D3DKMTCreateAllocation2.
    ///
    /// `d3dukmdt.h: D3DDDI_ALLOCATIONINFO2`.
    pub struct D3DDDI_ALLOCATIONINFO2 {
        /// Out: the allocation.
        pub hAllocation: D3DKMT_HANDLE,
        /// Memory of the program's to be used for it, page-aligned, or NULL. In C, at the same
        /// place: `HANDLE hSection`.
        pub pSystemMem: *const VOID = [hSection: HANDLE, pSystemMem: *const VOID],
        /// A [`VIDMM_ALLOCATION_DATA`](crate::VIDMM_ALLOCATION_DATA).
        pub pPrivateDriverData: *mut VOID,
        /// The size of that, in bytes.
        pub PrivateDriverDataSize: UINT,
        /// Where it is shown, if it is.
        pub VidPnSourceId: D3DDDI_VIDEO_PRESENT_SOURCE_ID,
        /// What it is for.
        pub Flags: D3DDDI_ALLOCATIONINFO2_FLAGS => Named,
        /// Where a GPU sees it.
        pub GpuVirtualAddress: D3DGPU_VIRTUAL_ADDRESS,
        /// Its allocation priority, if `Flags` say so. In C, at the same place: `ULONG_PTR Unused`.
        pub Priority: UINT = [Priority: UINT, Unused: ULONG_PTR],
        /// Not used.
        pub Reserved: [ULONG_PTR; 5],
    }
}

flags! {
    /// How allocations are to be made.
    ///
    /// `d3dkmthk.h: D3DKMT_CREATEALLOCATIONFLAGS`.
    pub Plain D3DKMT_CREATEALLOCATIONFLAGS: UINT {
        /// Make a resource of which they are members.
        CreateResource: 0, 1;
        /// Other processes may open the resource.
        CreateShared: 1, 1;
        /// Not to be protected.
        NonSecure: 2, 1;
        /// To be protected.
        CreateProtected: 3, 1;
        /// Only some may open it.
        RestrictSharedAccess: 4, 1;
        /// Use memory that the program has already.
        ExistingSysMem: 5, 1;
        /// Shared by handles of the operating system only.
        NtSecuritySharing: 6, 1;
        /// Nobody writes to it.
        ReadOnly: 7, 1;
        /// CPU writes are combined.
        CreateWriteCombined: 8, 1;
        /// CPU accesses are cached.
        CreateCached: 9, 1;
        /// A back buffer of a swap chain.
        SwapChainBackBuffer: 10, 1;
        /// Several adapters use it.
        CrossAdapter: 11, 1;
        /// Another adapter made it.
        OpenCrossAdapter: 12, 1;
        /// To be completed by another call.
        PartialSharedCreation: 13, 1;
        /// All bytes are 0 at first.
        Zeroed: 14, 1;
        /// Writes are noted.
        WriteWatch: 15, 1;
        /// `pStandardAllocation` says what it is.
        StandardAllocation: 16, 1;
        /// Use a section of the operating system.
        ExistingSection: 17, 1;
        /// The bytes may be anything of this process at first.
        AllowNotZeroed: 18, 1;
        /// In one piece of physical memory.
        PhysicallyContiguous: 19, 1;
        /// The kernel driver does not touch it.
        NoKmdAccess: 20, 1;
        /// Several processes show it.
        SharedDisplayable: 21, 1;
        /// Must be 0.
        Reserved: 22, 10;
    }
}

structure! {
    /// Makes allocations, alone or as members of a resource.
    ///
    /// `d3dkmthk.h: D3DKMT_CREATEALLOCATION`.
    pub struct D3DKMT_CREATEALLOCATION {
        /// The device they belong to.
        pub hDevice: D3DKMT_HANDLE,
        /// In: the resource to add to, or 0. Out: the resource that was made.
        pub hResource: D3DKMT_HANDLE,
        /// Out: a name for other processes.
        pub hGlobalShare: D3DKMT_HANDLE,
        /// Bytes that who opens the resource gets to see.
        pub pPrivateRuntimeData: *const VOID,
        /// How many.
        pub PrivateRuntimeDataSize: UINT,
        /// With `StandardAllocation` a [`D3DKMT_CREATESTANDARDALLOCATION`], else data about the
        /// resource. In C, at the same place: `pStandardAllocation` and `UINT64 AlignUnionTo64_1`.
        pub pPrivateDriverData: *const VOID = [
            pStandardAllocation: *mut D3DKMT_CREATESTANDARDALLOCATION,
            pPrivateDriverData: *const VOID,
            AlignUnionTo64_1: UINT64,
        ],
        /// The size of the data about the resource, in bytes.
        pub PrivateDriverDataSize: UINT,
        /// How many allocations.
        pub NumAllocations: UINT,
        /// What they are to be: for D3DKMTCreateAllocation2 an array of
        /// [`D3DDDI_ALLOCATIONINFO2`]. In C, at the same place: `pAllocationInfo2` and
        /// `UINT64 AlignUnionTo64_2`.
        pub pAllocationInfo: *mut D3DDDI_ALLOCATIONINFO = [
            pAllocationInfo: *mut D3DDDI_ALLOCATIONINFO,
            pAllocationInfo2: *mut D3DDDI_ALLOCATIONINFO2,
            AlignUnionTo64_2: UINT64,
        ],
        /// How they are to be made.
        pub Flags: D3DKMT_CREATEALLOCATIONFLAGS,
        /// A number of the program's that names the resource in traces.
        pub hPrivateRuntimeResourceHandle: HANDLE,
    }
}
