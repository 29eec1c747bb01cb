//! Devices: what allocations and paging queues belong to.

use crate::basic::{D3DKMT_HANDLE, UINT, VOID};

flags! {
    /// How a device is to be.
    ///
    /// `d3dkmthk.h: D3DKMT_CREATEDEVICEFLAGS`.
    pub Plain D3DKMT_CREATEDEVICEFLAGS: UINT {
        /// A device of the time before GPU scheduling.
        LegacyMode: 0, 1;
        /// Presents wait for the screen.
        RequestVSync: 1, 1;
        /// Work may take any time.
        DisableGpuTimeout: 2, 1;
        /// Must be 0.
        Reserved: 3, 29;
    }
}

flags! {
    /// What a command buffer does with an allocation. Not used here.
    pub Valued D3DDDI_ALLOCATIONLIST_BITS: UINT {
        /// It writes to it.
        WriteOperation: 0, 1;
        /// A renamed instance stays.
        DoNotRetireInstance: 1, 1;
        /// It is offered when the buffer is done.
        OfferPriority: 2, 3;
        /// Must be 0.
        Reserved: 5, 27;
    }
}

structure! {
    /// An allocation that a command buffer uses. Devices here have no command buffers.
    ///
    /// `d3dukmdt.h: D3DDDI_ALLOCATIONLIST`.
    pub struct D3DDDI_ALLOCATIONLIST {
        /// The allocation.
        pub hAllocation: D3DKMT_HANDLE,
        /// What is done with it. C has the bits as members of this structure.
        pub Value: D3DDDI_ALLOCATIONLIST_BITS => Unnamed,
    }
}

flags! {
    /// Which of its uses a patch is for. Not used here.
    pub Valued D3DDDI_PATCHLOCATIONLIST_BITS: UINT {
        /// A number that a driver gave the use.
        SlotId: 0, 24;
        /// Must be 0.
        Reserved: 24, 8;
    }
}

structure! {
    /// A place in a command buffer that holds an address. Devices here have no command buffers.
    ///
    /// `d3dukmdt.h: D3DDDI_PATCHLOCATIONLIST`.
    pub struct D3DDDI_PATCHLOCATIONLIST {
        /// Which element of the allocation list.
        pub AllocationIndex: UINT,
        /// Which of its uses. C has the bits as members of this structure.
        pub Value: D3DDDI_PATCHLOCATIONLIST_BITS => Unnamed,
        /// A number for the driver.
        pub DriverId: UINT,
        /// Where in the allocation, in bytes.
        pub AllocationOffset: UINT,
        /// Where in the command buffer, in bytes.
        pub PatchOffset: UINT,
        /// Where the buffer may be split before it, in bytes.
        pub SplitOffset: UINT,
    }
}

structure! {
    /// Makes a device. It has no command buffer here: those members come back NULL and 0.
    ///
    /// `d3dkmthk.h: D3DKMT_CREATEDEVICE`.
    pub struct D3DKMT_CREATEDEVICE {
        /// The adapter. In C, at the same place: `VOID* pAdapter`, for the kernel's own use.
        pub hAdapter: D3DKMT_HANDLE = [hAdapter: D3DKMT_HANDLE, pAdapter: *mut VOID],
        /// The upper half of `pAdapter`.
        pub pAdapterHigh: UINT = [],
        /// How it is to be.
        pub Flags: D3DKMT_CREATEDEVICEFLAGS,
        /// Out: the device.
        pub hDevice: D3DKMT_HANDLE,
        /// Out: its first command buffer.
        pub pCommandBuffer: *mut VOID,
        /// Out: the size of that, in bytes.
        pub CommandBufferSize: UINT,
        /// Out: its first allocation list.
        pub pAllocationList: *mut D3DDDI_ALLOCATIONLIST,
        /// Out: how many elements that has.
        pub AllocationListSize: UINT,
        /// Out: its first list of patches.
        pub pPatchLocationList: *mut D3DDDI_PATCHLOCATIONLIST,
        /// Out: how many elements that has.
        pub PatchLocationListSize: UINT,
    }
}

structure! {
    /// Ends a device and everything that belongs to it.
    ///
    /// `d3dkmthk.h: D3DKMT_DESTROYDEVICE`.
    pub struct D3DKMT_DESTROYDEVICE {
        /// The device.
        pub hDevice: D3DKMT_HANDLE,
    }
}
