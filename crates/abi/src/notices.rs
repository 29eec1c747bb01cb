//! What a process reserves of the memory, and what it is told of: a changed budget, a wish that it
//! trim.

use crate::basic::{D3DKMT_HANDLE, HANDLE, LUID, UINT, UINT64, VOID};
use crate::memory::D3DKMT_MEMORY_SEGMENT_GROUP;

structure! {
    /// Reserves memory for the process: a hint of what it needs at least.
    ///
    /// `d3dkmthk.h: D3DKMT_CHANGEVIDEOMEMORYRESERVATION`.
    pub struct D3DKMT_CHANGEVIDEOMEMORYRESERVATION {
        /// Which process: NULL for this one.
        pub hProcess: HANDLE,
        /// The adapter.
        pub hAdapter: D3DKMT_HANDLE,
        /// Which memory.
        pub MemorySegmentGroup: D3DKMT_MEMORY_SEGMENT_GROUP,
        /// How much is reserved from now on, in bytes.
        pub Reservation: UINT64,
        /// Which of the physical adapters that make up the adapter.
        pub PhysicalAdapterIndex: UINT,
    }
}

structure! {
    /// What a program is told when the budget has changed.
    ///
    /// `d3dkmthk.h: D3DKMT_BUDGETCHANGENOTIFICATION`.
    pub struct D3DKMT_BUDGETCHANGENOTIFICATION {
        /// What it said when it registered.
        pub Context: *mut VOID,
        /// What the budget is now, in bytes.
        pub Budget: UINT64,
    }
}

callback! {
    /// A function of the program's that is called when the budget has changed.
    ///
    /// `d3dkmthk.h: PFND3DKMT_BUDGETCHANGENOTIFICATIONCALLBACK`.
    pub type PFND3DKMT_BUDGETCHANGENOTIFICATIONCALLBACK
        = fn(*const D3DKMT_BUDGETCHANGENOTIFICATION)
}

structure! {
    /// Registers a function to be called when the budget has changed.
    ///
    /// `d3dkmthk.h: D3DKMT_REGISTERBUDGETCHANGENOTIFICATION`.
    pub struct D3DKMT_REGISTERBUDGETCHANGENOTIFICATION {
        /// The device whose end ends the registration.
        pub hDevice: D3DKMT_HANDLE,
        /// The function.
        pub Callback: PFND3DKMT_BUDGETCHANGENOTIFICATIONCALLBACK,
        /// What the function is given with every call.
        pub Context: *mut VOID,
        /// Out: names the registration; never NULL.
        pub Handle: *mut VOID,
    }
}

structure! {
    /// Ends a registration for changes of the budget.
    ///
    /// `d3dkmthk.h: D3DKMT_UNREGISTERBUDGETCHANGENOTIFICATION`.
    pub struct D3DKMT_UNREGISTERBUDGETCHANGENOTIFICATION {
        /// The registration.
        pub Handle: *mut VOID,
    }
}

flags! {
    /// Why a program should trim.
    ///
    /// `d3dukmdt.h: D3DDDI_TRIMRESIDENCYSET_FLAGS`.
    pub Valued D3DDDI_TRIMRESIDENCYSET_FLAGS: UINT {
        /// What was not used lately is to go. Never said here.
        PeriodicTrim: 0, 1;
        /// What is used lately begins anew. Never said here.
        RestartPeriodicTrim: 1, 1;
        /// So many bytes are to go.
        TrimToBudget: 2, 1;
        /// 0.
        Reserved: 3, 29;
    }
}

structure! {
    /// What a program is told when it should trim.
    ///
    /// `d3dkmthk.h: D3DKMT_TRIMNOTIFICATION`.
    pub struct D3DKMT_TRIMNOTIFICATION {
        /// What it said when it registered.
        pub Context: *mut VOID,
        /// Why.
        pub Flags: D3DDDI_TRIMRESIDENCYSET_FLAGS,
        /// How much it should give up or offer, in bytes.
        pub NumBytesToTrim: UINT64,
    }
}

callback! {
    /// A function of the program's that is called when it should trim.
    ///
    /// `d3dkmthk.h: PFND3DKMT_TRIMNOTIFICATIONCALLBACK`.
    pub type PFND3DKMT_TRIMNOTIFICATIONCALLBACK = fn(*mut D3DKMT_TRIMNOTIFICATION)
}

structure! {
    /// Registers a function to be called when the process should trim.
    ///
    /// `d3dkmthk.h: D3DKMT_REGISTERTRIMNOTIFICATION`.
    pub struct D3DKMT_REGISTERTRIMNOTIFICATION {
        /// The adapter.
        pub AdapterLuid: LUID,
        /// The device whose end ends the registration.
        pub hDevice: D3DKMT_HANDLE,
        /// The function.
        pub Callback: PFND3DKMT_TRIMNOTIFICATIONCALLBACK,
        /// What the function is given with every call.
        pub Context: *mut VOID,
        /// Out: names the registration; never NULL.
        pub Handle: *mut VOID,
    }
}

structure! {
    /// Ends a registration for wishes to trim.
    ///
    /// `d3dkmthk.h: D3DKMT_UNREGISTERTRIMNOTIFICATION`.
    pub struct D3DKMT_UNREGISTERTRIMNOTIFICATION {
        /// The registration.
        pub Handle: *mut VOID,
        /// NULL, or the function that was registered.
        pub Callback: PFND3DKMT_TRIMNOTIFICATIONCALLBACK,
    }
}
