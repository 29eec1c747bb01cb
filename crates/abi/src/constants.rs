//! Numbers with a name that belong to no enumeration.

use crate::basic::{LONG, UINT, ULONG};

/// A number with a name.
#[derive(Debug, Clone, Copy)]
pub struct Constant {
    /// The name.
    pub name: &'static str,
    /// The number.
    pub value: i64,
    /// Whether its type has a sign.
    pub is_signed: bool,
}

macro_rules! constants {
    ($($(#[doc = $doc:literal])* $name:ident : $ty:ident = $value:literal;)+) => {
        $($(#[doc = $doc])* pub const $name: $ty = $value;)+

        /// All of them, in the order of the header.
        pub const CONSTANTS: &[Constant] = &[$(Constant {
            name: stringify!($name),
            value: $value,
            is_signed: $ty::MIN != 0,
        }),+];
    };
}

constants! {
    /// The smallest allocation priority that has a name. `d3dukmdt.h`; so the others.
    D3DDDI_ALLOCATIONPRIORITY_MINIMUM: UINT = 0x2800_0000;
    /// A low allocation priority.
    D3DDDI_ALLOCATIONPRIORITY_LOW: UINT = 0x5000_0000;
    /// The allocation priority of who says nothing.
    D3DDDI_ALLOCATIONPRIORITY_NORMAL: UINT = 0x7800_0000;
    /// A high allocation priority.
    D3DDDI_ALLOCATIONPRIORITY_HIGH: UINT = 0xA000_0000;
    /// The largest allocation priority that has a name.
    D3DDDI_ALLOCATIONPRIORITY_MAXIMUM: UINT = 0xC800_0000;
    /// The lower half of the LUID of vidmm's one adapter.
    VIDMM_ADAPTER_LUID_LOW: ULONG = 0x4D4D_4456;
    /// The upper half of the LUID of vidmm's one adapter.
    VIDMM_ADAPTER_LUID_HIGH: LONG = 0;
    /// The one [`Version`](crate::VIDMM_ALLOCATION_DATA::Version) so far.
    VIDMM_ALLOCATION_DATA_VERSION: UINT = 1;
}
