//! How much address space an arena reserves, and reserving it.

use crate::arena::ArenaOptions;
use crate::error::ArenaError;
use crate::extent::Kind;
use crate::kernel::{Kernel, Span};
use crate::num::{to_u64, to_usize};
use crate::region::{Manner, Region};

/// What a region asks for when nothing limits it: 16 TiB, which is 2^32 pages of 4 KiB.
pub const RESERVE_WISH_BYTES: u64 = 16 << 40;
/// The least that a region is content with when [`ArenaOptions::reserve_bytes`] does not ask for
/// less.
pub const RESERVE_MIN_BYTES: u64 = 16 << 20;
/// Where the address space is limited, both regions together take at most one part in this many
/// of what is left: it is the host program's.
const LIMITED_SHARE: u64 = 4;
/// How regions are aligned where there are no huge pages.
const REGION_ALIGN_BYTES: usize = 2 << 20;

/// Reserves and prepares the regions: the one of small pages, and the one of huge pages where
/// there are any.
pub(crate) fn reserve<K: Kernel>(
    kernel: &K,
    options: &ArenaOptions,
) -> Result<(Region, Option<Region>), ArenaError> {
    let huge_bytes = kernel.huge_bytes();
    let regions = if huge_bytes.is_some() { 2 } else { 1 };
    let align_bytes = huge_bytes
        .unwrap_or(REGION_ALIGN_BYTES)
        .max(kernel.page_bytes());
    let plan = Plan::new(kernel, options, regions, align_bytes);
    let span = plan.reserve(kernel)?;
    let manner = |kind| Manner {
        kind,
        in_core_dumps: options.include_in_core_dumps,
        in_children: !options.keep_out_of_children,
    };
    let page_bytes = to_u64(kernel.page_bytes());
    let small = Region::new(kernel, manner(Kind::Small), span, page_bytes, align_bytes);
    small.heed_locks(kernel);
    // Without the second region the arena is slower, not broken.
    let huge = huge_bytes.and_then(|unit_bytes| {
        let span = plan.reserve(kernel).ok()?;
        let unit_bytes = to_u64(unit_bytes);
        let huge = Region::new(kernel, manner(Kind::Huge), span, unit_bytes, align_bytes);
        huge.heed_locks(kernel);
        Some(huge)
    });
    Ok((small, huge))
}

/// The size to try for one region.
struct Plan {
    wish_bytes: u64,
    min_bytes: u64,
    align_bytes: usize,
    /// The wish is ours: shrink it further where address space turns out to be scarce.
    modest: bool,
}

impl Plan {
    fn new<K: Kernel>(kernel: &K, options: &ArenaOptions, regions: u64, align: usize) -> Self {
        let align_bytes = to_u64(align);
        // One aligned unit to use, one as the guard.
        let least_bytes = 2 * align_bytes;
        let down = |bytes: u64| (bytes - bytes % align_bytes).max(least_bytes);
        let asked = options.reserve_bytes.map(|bytes| down(bytes / regions));
        let left = kernel
            .reservable_bytes()
            .map(|bytes| bytes / LIMITED_SHARE / regions);
        let wish_bytes = asked
            .unwrap_or(RESERVE_WISH_BYTES)
            .min(left.unwrap_or(u64::MAX));
        let min_bytes = asked.unwrap_or(RESERVE_MIN_BYTES).min(RESERVE_MIN_BYTES);
        Self {
            wish_bytes: down(wish_bytes.clamp(min_bytes, RESERVE_WISH_BYTES)),
            min_bytes: down(min_bytes),
            align_bytes: align,
            modest: asked.is_none(),
        }
    }

    /// Halves the wish until it is met.
    fn reserve<K: Kernel>(&self, kernel: &K) -> Result<Span, ArenaError> {
        let mut bytes = self.wish_bytes;
        loop {
            match kernel.reserve(to_usize(bytes), self.align_bytes) {
                Ok(span) if bytes == self.wish_bytes || !self.modest => return Ok(span),
                Ok(span) => return Ok(self.share(kernel, span)),
                Err(source) if bytes == self.min_bytes => {
                    return Err(ArenaError::Reserve {
                        wanted_bytes: bytes,
                        source,
                    });
                }
                Err(_) => bytes = self.smaller(bytes / 2),
            }
        }
    }

    fn smaller(&self, bytes: u64) -> u64 {
        (bytes - bytes % to_u64(self.align_bytes)).max(self.min_bytes)
    }

    /// The address space ends near here: leave the host program most of what was found.
    fn share<K: Kernel>(&self, kernel: &K, found: Span) -> Span {
        let bytes = self.smaller(to_u64(found.len_bytes) / LIMITED_SHARE);
        match kernel.reserve(to_usize(bytes), self.align_bytes) {
            Ok(modest) => {
                crate::access::release(kernel, found);
                modest
            }
            // There is not even that much beside it: keep what we have.
            Err(_) => found,
        }
    }
}
