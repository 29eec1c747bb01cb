//! What the tests share.

use std::ops::Range;

use vidmm_arena::{Arena, ArenaOptions, Extent, Kernel, LinuxKernel};

pub(crate) const MIB: u64 = 1 << 20;

pub(crate) fn arena() -> Arena {
    Arena::new(LinuxKernel, ArenaOptions::default()).expect("this machine has address space")
}

pub(crate) fn has_huge_pages() -> bool {
    let has = LinuxKernel.huge_bytes().is_some();
    if !has {
        println!("SKIPPED: this kernel has no transparent huge pages");
    }
    has
}

pub(crate) fn take(arena: &Arena, bytes: u64) -> Extent {
    arena
        .take_clean(arena.shape(bytes, 0).unwrap(), 64 * MIB)
        .unwrap()
}

pub(crate) fn len(arena: &Arena, extent: Extent) -> usize {
    usize::try_from(arena.charge_bytes(extent)).unwrap()
}

/// Writes to the first `bytes` of an extent.
pub(crate) fn write(arena: &Arena, extent: Extent, bytes: usize, byte: u8) {
    assert!(bytes <= len(arena, extent));
    // SAFETY: each test owns the extents it takes.
    unsafe { arena.address(extent).write_bytes(byte, bytes) };
}

pub(crate) fn bytes(arena: &Arena, extent: Extent) -> &[u8] {
    // SAFETY: as above; anonymous memory is initialised.
    unsafe { std::slice::from_raw_parts(arena.address(extent).as_ptr(), len(arena, extent)) }
}

/// One mapping of this process: its addresses, its permissions, its lines in smaps.
pub(crate) struct Mapping {
    pub(crate) addresses: Range<u64>,
    pub(crate) head: String,
    pub(crate) flags: Vec<String>,
}

/// The mappings that lie in the arena's ranges.
pub(crate) fn mappings(arena: &Arena) -> Vec<Mapping> {
    let ranges = arena.ranges();
    let mut mappings: Vec<Mapping> = Vec::new();
    for line in std::fs::read_to_string("/proc/self/smaps").unwrap().lines() {
        if let Some(flags) = line.strip_prefix("VmFlags:") {
            let flags = flags.split_whitespace().map(str::to_owned).collect();
            mappings.last_mut().expect("a head comes first").flags = flags;
        }
        let Some((start, end)) = line.split(' ').next().and_then(|word| word.split_once('-'))
        else {
            continue;
        };
        let number = |text| u64::from_str_radix(text, 16);
        if let (Ok(start), Ok(end)) = (number(start), number(end)) {
            let head = line.to_owned();
            mappings.push(Mapping {
                addresses: start..end,
                head,
                flags: Vec::new(),
            });
        }
    }
    mappings.retain(|mapping| {
        let ours = |range: &Range<u64>| {
            mapping.addresses.start < range.end && range.start < mapping.addresses.end
        };
        ranges.iter().any(ours)
    });
    mappings
}
