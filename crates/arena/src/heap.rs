//! A stand-in for the kernel on the heap: for simulations, and for checkers that know no system
//! calls.
#![allow(unsafe_code)]

use std::alloc::{self, Layout};
use std::collections::BTreeSet;
use std::ffi::CStr;
use std::io;
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::kernel::{Advice, Kernel, Span};
use crate::num::{to_u64, to_usize};
use crate::resident::Resident;

/// Memory from the Rust allocator. It cannot see writes, so it counts a page as backed from when
/// it goes into use until it is returned, closed or found untouched: never less than a kernel
/// would.
#[derive(Debug)]
pub struct HeapKernel {
    page_bytes: usize,
    huge_bytes: Option<usize>,
    reservable_bytes: u64,
    /// The addresses of all backed pages.
    backed: Mutex<BTreeSet<u64>>,
}

impl HeapKernel {
    /// Pages of `page_bytes`, huge ones of `huge_bytes` (powers of two; others are rounded up),
    /// and `reservable_bytes` of address space, which is really allocated: an arena takes a
    /// quarter of it.
    #[must_use]
    pub fn new(page_bytes: usize, huge_bytes: Option<usize>, reservable_bytes: u64) -> Self {
        Self {
            page_bytes: page_bytes.max(1).next_power_of_two(),
            huge_bytes: huge_bytes.map(|bytes| bytes.max(page_bytes).next_power_of_two()),
            reservable_bytes,
            backed: Mutex::default(),
        }
    }

    /// How many bytes are counted as backed.
    pub fn backed_bytes(&self) -> u64 {
        to_u64(self.backed().len()) * to_u64(self.page_bytes)
    }

    fn backed(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.backed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pages(&self, span: Span) -> impl Iterator<Item = u64> + use<> {
        span.addresses().step_by(self.page_bytes)
    }

    fn forget(&self, span: Span) {
        let mut backed = self.backed();
        for page in self.pages(span) {
            backed.remove(&page);
        }
    }

    fn count(&self, span: Span) -> u64 {
        let pages = self.backed().range(span.addresses()).count();
        to_u64(pages) * to_u64(self.page_bytes)
    }

    /// The allocation behind a span: its alignment is found again from its size, so every span of
    /// one size must be aligned alike, and is.
    fn layout(&self, len_bytes: usize) -> io::Result<Layout> {
        let align_bytes = self.huge_bytes.unwrap_or(2 << 20).max(self.page_bytes);
        Layout::from_size_align(len_bytes, align_bytes)
            .map_err(|_| io::ErrorKind::OutOfMemory.into())
    }
}

impl Default for HeapKernel {
    /// Pages of 4 KiB, huge ones of 2 MiB, 1 GiB of address space.
    fn default() -> Self {
        Self::new(4096, Some(2 << 20), 1 << 30)
    }
}

// SAFETY: a reserved span is an allocation of its own; it can always be read and written; only
// return_pages and close clear it; it is zeroed from the start and when it is returned.
unsafe impl Kernel for HeapKernel {
    fn page_bytes(&self) -> usize {
        self.page_bytes
    }

    fn huge_bytes(&self) -> Option<usize> {
        self.huge_bytes
    }

    fn reservable_bytes(&self) -> Option<u64> {
        Some(self.reservable_bytes)
    }

    fn reserve(&self, len_bytes: usize, align_bytes: usize) -> io::Result<Span> {
        let layout = self.layout(len_bytes)?;
        if len_bytes == 0
            || align_bytes > layout.align()
            || to_u64(len_bytes) > self.reservable_bytes
        {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        // SAFETY: the layout is not empty, as was just checked.
        let start = unsafe { alloc::alloc_zeroed(layout) };
        let start = NonNull::new(start).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Span { start, len_bytes })
    }

    unsafe fn release(&self, span: Span) {
        self.forget(span);
        if let Ok(layout) = self.layout(span.len_bytes) {
            // SAFETY: the caller's whole span came from reserve, with the layout of its size.
            unsafe { alloc::dealloc(span.start.as_ptr(), layout) };
        }
    }

    unsafe fn open(&self, _span: Span) -> io::Result<()> {
        Ok(())
    }

    unsafe fn close(&self, span: Span) -> io::Result<()> {
        // SAFETY: handed on to the caller.
        unsafe { self.return_pages(span) }
    }

    unsafe fn return_pages(&self, span: Span) -> io::Result<()> {
        for page in self.pages(span) {
            if self.backed().remove(&page) {
                let offset = to_usize(page - span.addresses().start);
                let page = span.part(offset, self.page_bytes);
                // SAFETY: a part of the caller's memory, which nobody uses.
                unsafe { page.start.write_bytes(0, page.len_bytes) };
            }
        }
        Ok(())
    }

    unsafe fn protect(&self, _span: Span) -> io::Result<()> {
        Ok(())
    }

    unsafe fn unprotect(&self, _span: Span) -> io::Result<()> {
        Ok(())
    }

    unsafe fn advise(&self, _span: Span, _advice: Advice) -> io::Result<()> {
        Ok(())
    }

    unsafe fn name(&self, _span: Span, _name: &'static CStr) {}

    fn expect_backing(&self, span: Span) {
        let pages = self.pages(span);
        self.backed().extend(pages);
    }

    fn expect_no_backing(&self, span: Span) {
        self.forget(span);
    }

    fn resident(&self, spans: &[Span]) -> io::Result<Resident> {
        let rss_bytes = spans.iter().map(|&span| self.count(span)).sum();
        Ok(Resident {
            rss_bytes,
            swap_bytes: 0,
        })
    }

    fn resident_of(&self, span: Span) -> io::Result<u64> {
        Ok(self.count(span))
    }
}
