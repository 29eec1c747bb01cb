//! What can go wrong in an arena, and what to do about it.

use std::io;

/// Why an arena could not be made, or an extent not be had.
///
/// Not being able to *return* memory is no error here: such bytes stay warm and are counted in
/// [`Returned::refused_bytes`](crate::Returned::refused_bytes).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArenaError {
    /// An allocation of no bytes was asked for.
    #[error("an allocation needs at least one byte")]
    ZeroSize,
    /// The size does not fit the region that would hold it.
    #[error(
        "an allocation of {size_bytes} bytes is too large: this arena can hold at most \
         {limit_bytes} bytes in one piece; split it, or reserve more address space"
    )]
    TooLarge {
        /// What was asked for, in bytes.
        size_bytes: u64,
        /// The most that one allocation may have, in bytes.
        limit_bytes: u64,
    },
    /// The alignment is no power of two, or larger than the region.
    #[error("an alignment of {align_bytes} bytes is no power of two within the arena's region")]
    Alignment {
        /// What was asked for, in bytes.
        align_bytes: u64,
    },
    /// The reserved address space is used up, or too fragmented for this size.
    #[error(
        "the arena's reserved address space ({reserved_bytes} bytes) has no gap of {wanted_bytes} \
         bytes left; free allocations, or reserve more address space"
    )]
    AddressSpace {
        /// What was asked for, in bytes.
        wanted_bytes: u64,
        /// The size of the region, in bytes.
        reserved_bytes: u64,
    },
    /// The kernel would not make reserved address space usable.
    #[error(
        "the kernel would not open {wanted_bytes} more bytes of memory; with strict overcommit \
         (vm.overcommit_memory=2) raise the commit limit or add swap, else look at RLIMIT_DATA \
         and RLIMIT_AS"
    )]
    Open {
        /// What was asked for, in bytes.
        wanted_bytes: u64,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Not even the smallest region of address space could be reserved.
    #[error(
        "no {wanted_bytes} bytes of address space could be reserved; look at RLIMIT_AS, at \
         RLIMIT_MEMLOCK if the program locks its memory, and at vm.max_map_count"
    )]
    Reserve {
        /// The smallest size tried, in bytes.
        wanted_bytes: u64,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}
