//! Numbers with a name that belong to no enumeration.

use crate::basic::{LONG, UINT, ULONG};

/// A number with a name.
#[derive(Debug, Clone, Copy)]
pub struct Constant {
    /// The name.
    pub name: &'static str,
    /// The number as C writes it.
    pub c_value: &'static str,
}

macro_rules! constants {
    ($($(#[doc = $doc:literal])* $name:ident : $ty:ident = $value:literal, $c_value:literal;)+) => {
        $($(#[doc = $doc])* pub const $name: $ty = $value;)+

        /// All of them, in the order of the header.
        pub const CONSTANTS: &[Constant] =
            &[$(Constant { name: stringify!($name), c_value: $c_value }),+];
    };
}

constants! {
    /// The smallest allocation priority that has a name. `d3dukmdt.h`; so the others.
    D3DDDI_ALLOCATIONPRIORITY_MINIMUM: UINT = 0x2800_0000, "0x28000000u";
    /// A low allocation priority.
    D3DDDI_ALLOCATIONPRIORITY_LOW: UINT = 0x5000_0000, "0x50000000u";
    /// The allocation priority of who says nothing.
    D3DDDI_ALLOCATIONPRIORITY_NORMAL: UINT = 0x7800_0000, "0x78000000u";
    /// A high allocation priority.
    D3DDDI_ALLOCATIONPRIORITY_HIGH: UINT = 0xA000_0000, "0xA0000000u";
    /// The largest allocation priority that has a name.
    D3DDDI_ALLOCATIONPRIORITY_MAXIMUM: UINT = 0xC800_0000, "0xC8000000u";
    /// The lower half of the LUID of vidmm's one adapter.
    VIDMM_ADAPTER_LUID_LOW: ULONG = 0x4D4D_4456, "0x4D4D4456u";
    /// The upper half of the LUID of vidmm's one adapter.
    VIDMM_ADAPTER_LUID_HIGH: LONG = 0, "0";
    /// The one [`Version`](crate::VIDMM_ALLOCATION_DATA::Version) so far.
    VIDMM_ALLOCATION_DATA_VERSION: UINT = 1, "1u";
}
