//! Giving memory back to the kernel.

use std::sync::atomic::Ordering;

use crate::arena::{Arena, run_of};
use crate::extent::Extent;
use crate::free::{FreeSpace, Run};
use crate::kernel::Kernel;
use crate::num::saturate_u32;
use crate::region::Region;

/// What became of memory that was to be given back.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Returned {
    /// With the kernel now: no longer to be charged.
    pub returned_bytes: u64,
    /// Refused by the kernel: still held, as warm memory, and still to be charged.
    pub refused_bytes: u64,
    /// The kernel's last reason to refuse (`errno`).
    pub refusal: Option<i32>,
}

impl Returned {
    /// Both answers together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            returned_bytes: self.returned_bytes + other.returned_bytes,
            refused_bytes: self.refused_bytes + other.refused_bytes,
            refusal: other.refusal.or(self.refusal),
        }
    }
}

impl<K: Kernel> Arena<K> {
    /// Gives the pages of these extents back to the kernel and takes the extents back as clean.
    /// Neighbours go in one call. What the kernel refuses becomes warm. The list is empty
    /// afterwards and keeps its capacity.
    pub fn return_extents(&self, extents: &mut Vec<Extent>) -> Returned {
        extents.sort_unstable_by_key(|extent| (extent.kind(), extent.start()));
        let mut returned = Returned::default();
        let mut pending: Option<(&Region, Run)> = None;
        for extent in extents.iter() {
            let region = self.region(extent.kind());
            let run = run_of(*extent);
            match &mut pending {
                Some((same, before))
                    if std::ptr::eq(*same, region) && before.end() == run.start =>
                {
                    before.len += run.len;
                }
                _ => {
                    if let Some((region, run)) = pending.replace((region, run)) {
                        returned = returned.and(self.return_owned(region, run));
                    }
                }
            }
        }
        if let Some((region, run)) = pending {
            returned = returned.and(self.return_owned(region, run));
        }
        extents.clear();
        self.heed_locks();
        returned
    }

    /// Returns a run that nobody else has, and puts it in the books by the outcome.
    fn return_owned(&self, region: &Region, run: Run) -> Returned {
        let bytes = region.bytes(u64::from(run.len));
        match region.return_run(&self.kernel, run) {
            Ok(()) => {
                region.books().clean.put_merged(run);
                Returned {
                    returned_bytes: bytes,
                    ..Returned::default()
                }
            }
            Err(error) => {
                region.refused_bytes.fetch_add(bytes, Ordering::Relaxed);
                region.put_warm(&mut region.books(), run, FreeSpace::put_merged);
                let refusal = error.raw_os_error();
                Returned {
                    refused_bytes: bytes,
                    refusal,
                    ..Returned::default()
                }
            }
        }
    }

    /// Gives at least `bytes` of warm memory back, or all there is: the largest runs first.
    /// Stops at what the kernel refuses in a region.
    pub fn return_warm(&self, bytes: u64) -> Returned {
        let mut returned = Returned::default();
        let huge_bytes = self.huge.as_ref().map_or(u64::MAX, Region::unit_bytes);
        // Huge units are cheaper to give back, but never go in part.
        let huge_first = bytes >= huge_bytes;
        let (first, second) = match &self.huge {
            Some(huge) if huge_first => (huge, Some(&self.small)),
            huge => (&self.small, huge.as_ref()),
        };
        for region in std::iter::once(first).chain(second) {
            let left = bytes.saturating_sub(returned.returned_bytes);
            returned = returned.and(self.return_warm_of(region, left));
        }
        self.heed_locks();
        returned
    }

    fn return_warm_of(&self, region: &Region, bytes: u64) -> Returned {
        let mut returned = Returned::default();
        while returned.returned_bytes < bytes && returned.refused_bytes == 0 {
            let left = bytes - returned.returned_bytes;
            let units = saturate_u32(left.div_ceil(region.unit_bytes()));
            let taken = region.books().warm.take_largest(units);
            let Some(run) = taken else {
                break;
            };
            returned = returned.and(self.return_owned(region, run));
        }
        returned
    }

    /// Looks for memory behind clean space and gives it back. It gets there only from outside:
    /// by `mlockall`, or a debugger that writes there. Rarely needed: the arena looks by itself
    /// whether the process locks its memory when it opens windows or returns pages.
    pub fn return_stray(&self) {
        self.heed_locks();
        for region in self.regions() {
            region.return_stray(&self.kernel);
        }
    }

    /// Sees whether the process has locked its memory since the last look.
    pub(crate) fn heed_locks(&self) {
        for region in self.regions() {
            region.heed_locks(&self.kernel);
        }
    }
}
