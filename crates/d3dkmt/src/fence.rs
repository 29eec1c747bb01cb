//! The fence of a paging queue: a number that the process can read and only this file can write.
//!
//! It is a page of its own, mapped twice: where programs read it, it cannot be written, and it is
//! gone when the queue is (`d3dkmthk.h: D3DKMT_CREATEPAGINGQUEUE`).
#![allow(unsafe_code)]

use core::ffi::c_void;
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::mm::{
    MapFlags, MprotectFlags, MremapFlags, ProtFlags, mmap_anonymous, mprotect, mremap,
    mremap_fixed, munmap,
};

/// Two mappings of one page, of which only this value knows the first.
#[derive(Debug)]
pub(crate) struct Fence {
    written: NonNull<c_void>,
    read: NonNull<c_void>,
}

// SAFETY: the addresses belong to this value, not to a thread; the number behind them is an atomic.
unsafe impl Send for Fence {}
// SAFETY: as above.
unsafe impl Sync for Fence {}

impl Fence {
    /// A fence that says 0.
    pub(crate) fn new() -> io::Result<Self> {
        let page_bytes = rustix::param::page_size();
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // A shared one, so that it can be mapped twice.
        let (anywhere, flags) = (std::ptr::null_mut(), MapFlags::SHARED);
        // SAFETY: a new mapping, wherever the kernel likes.
        let written = unsafe { mmap_anonymous(anywhere, page_bytes, access, flags) }?;
        // SAFETY: an old size of 0 leaves the old mapping and makes another of the same page
        // (mremap(2)).
        let read = unsafe { mremap(written, 0, page_bytes, MremapFlags::MAYMOVE) }
            .inspect_err(|_| unmap(written))?;
        // SAFETY: the mapping was made above and nobody knows of it yet.
        unsafe { mprotect(read, page_bytes, MprotectFlags::READ) }.inspect_err(|_| {
            unmap(written);
            unmap(read);
        })?;
        let not_null = |address| NonNull::new(address).ok_or(io::ErrorKind::OutOfMemory);
        Ok(Fence {
            written: not_null(written)?,
            read: not_null(read)?,
        })
    }

    /// Where the number can be read.
    pub(crate) fn address(&self) -> usize {
        self.read.as_ptr().expose_provenance()
    }

    /// Says `value`: whoever reads it sees all that was done before.
    pub(crate) fn set(&self, value: u64) {
        self.number().store(value, Ordering::Release);
    }

    fn number(&self) -> &AtomicU64 {
        // SAFETY: a page of zeroes begins with an atomic 0; it stays mapped as long as the fence.
        unsafe { self.written.cast::<AtomicU64>().as_ref() }
    }

    /// In a child made by `fork`, where both mappings still are the parent's page: puts a page of
    /// the child's own there, which says `value` - not what stands there, since the parent goes on.
    /// If the kernel does not, the page stays the parent's: there is nobody to tell.
    pub(crate) fn part_from_parent(&self, value: u64) {
        let page_bytes = rustix::param::page_size();
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::SHARED | MapFlags::FIXED;
        // SAFETY: replaces a mapping of this value's own; nobody in this process, which has one
        // thread yet, is looking at it.
        let mapped = unsafe { mmap_anonymous(self.written.as_ptr(), page_bytes, access, flags) };
        if mapped.is_err() {
            return;
        }
        self.set(value);
        // SAFETY: as in `new`, over the other mapping of this value.
        let moved = unsafe {
            mremap_fixed(
                self.written.as_ptr(),
                0,
                page_bytes,
                MremapFlags::MAYMOVE,
                self.read.as_ptr(),
            )
        };
        if moved.is_ok() {
            // SAFETY: the mapping that was just made.
            let _ = unsafe { mprotect(self.read.as_ptr(), page_bytes, MprotectFlags::READ) };
        }
    }
}

impl Drop for Fence {
    fn drop(&mut self) {
        unmap(self.written.as_ptr());
        unmap(self.read.as_ptr());
    }
}

fn unmap(address: *mut c_void) {
    // SAFETY: a mapping that this file made and does not use any more.
    let _ = unsafe { munmap(address, rustix::param::page_size()) };
}
