//! The two integer conversions this crate needs, in one place.

const _: () = assert!(
    size_of::<usize>() == size_of::<u64>(),
    "vidmm-arena reserves terabytes of address space: it needs a 64-bit target"
);

/// Lossless: both are 64 bits wide here (asserted above).
pub(crate) const fn to_u64(value: usize) -> u64 {
    value as u64
}

/// Lossless: both are 64 bits wide here (asserted above).
#[allow(clippy::cast_possible_truncation)]
pub(crate) const fn to_usize(value: u64) -> usize {
    value as usize
}

/// The largest `u32` not above `value`.
pub(crate) fn saturate_u32(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
