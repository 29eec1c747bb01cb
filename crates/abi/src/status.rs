//! What a call answers.

/// What a call answers: negative for a failure.
///
/// `ntdef.h: NTSTATUS`. Any value may come from elsewhere, so it is a number.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct NTSTATUS(
    /// The number.
    pub i32,
);

impl NTSTATUS {
    /// Whether it is a success (or information).
    #[must_use]
    pub const fn is_success(self) -> bool {
        self.0 >= 0
    }

    /// The number as it is written in tables, without sign.
    #[must_use]
    pub const fn code(self) -> u32 {
        self.0.cast_unsigned()
    }

    /// Its name, if it is one of [`STATUSES`].
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        let known = STATUSES.iter().find(|known| known.status == self)?;
        Some(known.name)
    }
}

impl core::fmt::Debug for NTSTATUS {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "NTSTATUS(0x{:08X})", self.code()),
        }
    }
}

/// A status with its name.
#[derive(Debug, Clone, Copy)]
pub struct Status {
    /// The name.
    pub name: &'static str,
    /// The status.
    pub status: NTSTATUS,
    /// What it says.
    pub doc: &'static str,
}

macro_rules! statuses {
    ($(#[doc = $doc:literal] $name:ident = $code:literal;)+) => {
        $(
            #[doc = $doc]
            #[doc = ""]
            #[doc = concat!("`ntstatus.h`: ", stringify!($code), ".")]
            pub const $name: NTSTATUS = NTSTATUS(($code as u32).cast_signed());
        )+

        /// All of them, by their numbers.
        pub const STATUSES: &[Status] = &[$(
            Status { name: stringify!($name), status: $name, doc: $doc }
        ),+];
    };
}

statuses! {
    /// It was done.
    STATUS_SUCCESS = 0x0000_0000;
    /// It did not happen in time. A success by its sign.
    STATUS_TIMEOUT = 0x0000_0102;
    /// It is being done. A success.
    STATUS_PENDING = 0x0000_0103;
    /// There was more than the caller had room for. A warning.
    STATUS_BUFFER_OVERFLOW = 0x8000_0005;
    /// It failed, for no reason that has a name.
    STATUS_UNSUCCESSFUL = 0xC000_0001;
    /// There is no code for it.
    STATUS_NOT_IMPLEMENTED = 0xC000_0002;
    /// A handle names nothing.
    STATUS_INVALID_HANDLE = 0xC000_0008;
    /// An argument, or the state of what it names, does not allow it.
    STATUS_INVALID_PARAMETER = 0xC000_000D;
    /// There is no memory for it.
    STATUS_NO_MEMORY = 0xC000_0017;
    /// It was not allowed at all.
    STATUS_ILLEGAL_INSTRUCTION = 0xC000_001D;
    /// The caller may not.
    STATUS_ACCESS_DENIED = 0xC000_0022;
    /// What the caller provided is too small.
    STATUS_BUFFER_TOO_SMALL = 0xC000_0023;
    /// A handle names another kind of object.
    STATUS_OBJECT_TYPE_MISMATCH = 0xC000_0024;
    /// A name cannot be one.
    STATUS_OBJECT_NAME_INVALID = 0xC000_0033;
    /// A name is nobody's.
    STATUS_OBJECT_NAME_NOT_FOUND = 0xC000_0034;
    /// A name is somebody's already.
    STATUS_OBJECT_NAME_COLLISION = 0xC000_0035;
    /// The system lacks something for it.
    STATUS_INSUFFICIENT_RESOURCES = 0xC000_009A;
    /// This cannot be asked for here.
    STATUS_NOT_SUPPORTED = 0xC000_00BB;
    /// The system may promise no more memory.
    STATUS_COMMITMENT_LIMIT = 0xC000_012D;
    /// The device is gone.
    STATUS_DEVICE_REMOVED = 0xC000_02B6;
    /// There is no video memory for it.
    STATUS_GRAPHICS_NO_VIDEO_MEMORY = 0xC01E_0100;
    /// Memory could not be kept in place.
    STATUS_GRAPHICS_CANT_LOCK_MEMORY = 0xC01E_0101;
    /// The allocation is in use.
    STATUS_GRAPHICS_ALLOCATION_BUSY = 0xC01E_0102;
    /// It is referred to as often as can be counted.
    STATUS_GRAPHICS_TOO_MANY_REFERENCES = 0xC01E_0103;
    /// Not now; later perhaps.
    STATUS_GRAPHICS_TRY_AGAIN_LATER = 0xC01E_0104;
    /// Something changed meanwhile; again, please.
    STATUS_GRAPHICS_TRY_AGAIN_NOW = 0xC01E_0105;
    /// The allocation is of no use any more.
    STATUS_GRAPHICS_ALLOCATION_INVALID = 0xC01E_0106;
    /// No unswizzling aperture is free.
    STATUS_GRAPHICS_UNSWIZZLING_APERTURE_UNAVAILABLE = 0xC01E_0107;
    /// There is no unswizzling aperture for it.
    STATUS_GRAPHICS_UNSWIZZLING_APERTURE_UNSUPPORTED = 0xC01E_0108;
    /// What is pinned stays.
    STATUS_GRAPHICS_CANT_EVICT_PINNED_ALLOCATION = 0xC01E_0109;
    /// The allocation is not for that.
    STATUS_GRAPHICS_INVALID_ALLOCATION_USAGE = 0xC01E_0110;
    /// What is locked cannot be rendered with.
    STATUS_GRAPHICS_CANT_RENDER_LOCKED_ALLOCATION = 0xC01E_0111;
    /// The allocation was closed.
    STATUS_GRAPHICS_ALLOCATION_CLOSED = 0xC01E_0112;
    /// The instance is none of the allocation's.
    STATUS_GRAPHICS_INVALID_ALLOCATION_INSTANCE = 0xC01E_0113;
    /// The handle is no allocation's.
    STATUS_GRAPHICS_INVALID_ALLOCATION_HANDLE = 0xC01E_0114;
    /// The content of the allocation is lost.
    STATUS_GRAPHICS_ALLOCATION_CONTENT_LOST = 0xC01E_0116;
    /// The GPU met an error of the device's.
    STATUS_GRAPHICS_GPU_EXCEPTION_ON_DEVICE = 0xC01E_0200;
}
