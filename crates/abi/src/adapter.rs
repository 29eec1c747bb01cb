//! Finding an adapter, opening and closing it.

use crate::basic::{BOOL, D3DKMT_HANDLE, LUID, ULONG, ULONGLONG};
use crate::constants::{VIDMM_ADAPTER_LUID_HIGH, VIDMM_ADAPTER_LUID_LOW};

/// The LUID of vidmm's one adapter.
pub const VIDMM_ADAPTER_LUID: LUID = LUID {
    LowPart: VIDMM_ADAPTER_LUID_LOW,
    HighPart: VIDMM_ADAPTER_LUID_HIGH,
};

structure! {
    /// An adapter that was found. The handle is to be closed.
    ///
    /// `d3dkmthk.h: D3DKMT_ADAPTERINFO`.
    pub struct D3DKMT_ADAPTERINFO {
        /// A new handle of the adapter.
        pub hAdapter: D3DKMT_HANDLE,
        /// Its LUID.
        pub AdapterLuid: LUID,
        /// How many places it can show pictures from.
        pub NumOfSources: ULONG,
        /// Whether it wants to know exactly what part of a picture changed.
        pub bPrecisePresentRegionsPreferred: BOOL,
    }
}

structure! {
    /// Asks for the adapters; without an array, for how many there are.
    ///
    /// `d3dkmthk.h: D3DKMT_ENUMADAPTERS2`.
    pub struct D3DKMT_ENUMADAPTERS2 {
        /// In: how many the array has room for. Out: how many there are in it, or could be.
        pub NumAdapters: ULONG,
        /// Out: the adapters. May be NULL.
        pub pAdapters: *mut D3DKMT_ADAPTERINFO,
    }
}

flags! {
    /// Which kinds of adapters are asked for besides those that render.
    ///
    /// `d3dkmthk.h: D3DKMT_ENUMADAPTERS_FILTER`.
    pub Union D3DKMT_ENUMADAPTERS_FILTER: ULONGLONG {
        /// Also adapters that can only compute.
        IncludeComputeOnly: 0, 1;
        /// Also adapters that can only show pictures.
        IncludeDisplayOnly: 1, 1;
        /// Must be 0.
        Reserved: 2, 62;
    }
}

structure! {
    /// Asks for the adapters of some kinds; without an array, for how many there are.
    ///
    /// `d3dkmthk.h: D3DKMT_ENUMADAPTERS3`.
    pub struct D3DKMT_ENUMADAPTERS3 {
        /// Which kinds.
        pub Filter: D3DKMT_ENUMADAPTERS_FILTER,
        /// In: how many the array has room for. Out: how many there are in it, or could be.
        pub NumAdapters: ULONG,
        /// Out: the adapters. May be NULL.
        pub pAdapters: *mut D3DKMT_ADAPTERINFO,
    }
}

structure! {
    /// Opens the adapter with a LUID.
    ///
    /// `d3dkmthk.h: D3DKMT_OPENADAPTERFROMLUID`.
    pub struct D3DKMT_OPENADAPTERFROMLUID {
        /// Which adapter.
        pub AdapterLuid: LUID,
        /// Out: a new handle of it.
        pub hAdapter: D3DKMT_HANDLE,
    }
}

structure! {
    /// Closes a handle of an adapter.
    ///
    /// `d3dkmthk.h: D3DKMT_CLOSEADAPTER`.
    pub struct D3DKMT_CLOSEADAPTER {
        /// The handle.
        pub hAdapter: D3DKMT_HANDLE,
    }
}
