//! The numbers, handles and pointers that everything else is made of.

use core::ffi::c_void;

/// A Windows name for a plain C type.
#[derive(Debug, Clone, Copy)]
pub struct Alias {
    /// The name.
    pub name: &'static str,
    /// What it is in C99.
    pub c_type: &'static str,
}

macro_rules! aliases {
    ($($(#[doc = $doc:literal])* pub type $name:ident = $ty:ty, $c_type:literal;)+) => {
        $($(#[doc = $doc])* pub type $name = $ty;)+

        /// The names above, in an order in which each is known before it is used.
        pub const ALIASES: &[Alias] = &[$(Alias { name: stringify!($name), c_type: $c_type }),+];
    };
}

aliases! {
    /// An unsigned number of 32 bits.
    pub type UINT = u32, "uint32_t";
    /// A signed number of 32 bits.
    pub type INT = i32, "int32_t";
    /// An unsigned number of 32 bits, on Windows as everywhere else.
    pub type ULONG = u32, "uint32_t";
    /// An unsigned number of 32 bits.
    pub type DWORD = u32, "uint32_t";
    /// A signed number of 32 bits.
    pub type LONG = i32, "int32_t";
    /// 0 is false, everything else true.
    pub type BOOL = i32, "int32_t";
    /// An unsigned number of 64 bits.
    pub type UINT64 = u64, "uint64_t";
    /// An unsigned number of 64 bits.
    pub type ULONGLONG = u64, "uint64_t";
    /// A number as wide as a pointer.
    pub type ULONG_PTR = u64, "uint64_t";
    /// What a pointer points to that has no type.
    pub type VOID = c_void, "void";
    /// A pointer to no particular type.
    pub type PVOID = *mut VOID, "void*";
    /// An object of the operating system: a descriptor, widened, of a shared resource; else NULL.
    pub type HANDLE = *mut VOID, "void*";
    /// Names an adapter, device, resource, allocation, paging queue or sync object; 0 names nothing.
    pub type D3DKMT_HANDLE = UINT, "UINT";
    /// A size in bytes.
    pub type D3DKMT_SIZE_T = u64, "uint64_t";
    /// An address as a GPU sees it. Not used here.
    pub type D3DGPU_VIRTUAL_ADDRESS = ULONGLONG, "ULONGLONG";
    /// A place that pictures are shown from. Nothing here shows any.
    pub type D3DDDI_VIDEO_PRESENT_SOURCE_ID = UINT, "UINT";
}

structure! {
    /// A number that names an adapter for as long as the machine runs.
    ///
    /// `ntdef.h: LUID`.
    pub struct LUID {
        /// The lower half.
        pub LowPart: ULONG,
        /// The upper half.
        pub HighPart: LONG,
    }
}
