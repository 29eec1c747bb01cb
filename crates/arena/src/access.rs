//! Where an arena touches memory, or lets others: addresses, filling, protection, residence.
#![allow(unsafe_code)]

use std::io;
use std::ptr::NonNull;

use crate::arena::Arena;
use crate::extent::Extent;
use crate::kernel::{Kernel, Span};
use crate::region::Region;
use crate::resident::Resident;

impl<K: Kernel> Arena<K> {
    /// Where the extent's memory starts. It stays there as long as the arena lives; the extent's
    /// owner alone may read and write it, over [`charge_bytes`](Arena::charge_bytes) bytes.
    #[inline]
    pub fn address(&self, extent: Extent) -> NonNull<u8> {
        if extent.is_foreign() {
            return foreign_start(extent);
        }
        self.span_of(extent).start
    }

    /// Writes `byte` over all of the extent's memory, which backs it.
    ///
    /// # Safety
    /// The caller owns the extent, it is not protected, and nobody reads or writes its memory
    /// meanwhile.
    pub unsafe fn fill(&self, extent: Extent, byte: u8) {
        let span = self.span_of(extent);
        // SAFETY: the span of an extent lies in opened memory, and is the caller's alone.
        unsafe { span.start.write_bytes(byte, span.len_bytes) };
    }

    /// Makes every access to the extent's memory fault, for finding bugs. Each protected extent
    /// may cost the process two of its mappings (`vm.max_map_count`): bound their number.
    /// Unprotect it before it is put back or returned.
    ///
    /// # Errors
    /// What the kernel says; `ENOMEM` when there are too many mappings.
    pub fn protect(&self, extent: Extent) -> io::Result<()> {
        // SAFETY: an extent lies in opened memory; its owner asks for faults.
        unsafe { self.kernel.protect(self.span_of(extent)) }
    }

    /// Undoes [`protect`](Arena::protect): the content is there again.
    ///
    /// # Errors
    /// What the kernel says; the extent is then still protected.
    pub fn unprotect(&self, extent: Extent) -> io::Result<()> {
        // SAFETY: an extent lies in opened memory.
        unsafe { self.kernel.unprotect(self.span_of(extent)) }
    }

    /// What the kernel counts behind all of the arena's addresses: the figure that a budget is
    /// compared with. The kernel walks the page tables of every mapping of the process for it: a
    /// matter of milliseconds for gigabytes.
    ///
    /// # Errors
    /// When the kernel does not tell (no `/proc`).
    pub fn resident(&self) -> io::Result<Resident> {
        let spans: Vec<_> = self.regions().map(Region::reserved).collect();
        self.kernel.resident(&spans)
    }

    /// How many bytes of one extent are in memory or in swap, in the kernel's words.
    ///
    /// # Errors
    /// When the kernel does not tell (no `/proc`). Of foreign memory nothing is known: 0.
    pub fn resident_of(&self, extent: Extent) -> io::Result<u64> {
        if extent.is_foreign() {
            return Ok(0);
        }
        self.kernel.resident_of(self.span_of(extent))
    }
}

/// Where foreign memory starts. Its address came from a pointer, whose provenance was exposed there.
fn foreign_start(extent: Extent) -> NonNull<u8> {
    let address = usize::try_from(extent.foreign_address()).unwrap_or(0);
    NonNull::new(std::ptr::with_exposed_provenance_mut(address)).unwrap_or(NonNull::dangling())
}

impl<K: Kernel> Drop for Arena<K> {
    fn drop(&mut self) {
        // In a child that did not inherit it, something else may be at these addresses.
        if self
            .only_in_pid
            .is_some_and(|pid| pid != std::process::id())
        {
            return;
        }
        for region in self.regions() {
            release(&self.kernel, region.reserved());
        }
    }
}

/// Releases a span of an arena that ends, or one that it reserved and never used.
pub(crate) fn release<K: Kernel>(kernel: &K, reserved: Span) {
    // SAFETY: both callers own the whole span as `reserve` made it, and do not use it again.
    unsafe { kernel.release(reserved) };
}
