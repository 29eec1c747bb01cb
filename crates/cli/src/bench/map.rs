//! Memory straight from the kernel: what a program without vidmm would use. The only place of the
//! benchmarks that is unsafe.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::io;
use std::ptr::NonNull;

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

/// The size of a huge page, wherever they have one size. Others are no worse for the peers.
pub(crate) const HUGE_BYTES: usize = 2 << 20;

/// Which pages back a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pages {
    /// As the machine has it; one system call less.
    Unadvised,
    /// Never huge ones.
    Small,
    /// Huge ones where they fit, from an aligned start.
    Huge,
}

/// A private anonymous mapping of its own.
#[derive(Debug)]
pub(crate) struct Map {
    /// What was mapped.
    base: NonNull<u8>,
    mapped_bytes: usize,
    /// What is used of it.
    start: NonNull<u8>,
    len_bytes: usize,
}

impl Map {
    /// A fresh mapping of `len_bytes` (at least 1): nothing behind it yet.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn fresh(len_bytes: usize, pages: Pages) -> io::Result<Self> {
        let slack_bytes = if pages == Pages::Huge { HUGE_BYTES } else { 0 };
        let mapped_bytes = len_bytes + slack_bytes;
        // SAFETY: a new mapping at an address that the kernel chooses, which nobody knows yet.
        let base = unsafe {
            mmap_anonymous(
                std::ptr::null_mut(),
                mapped_bytes,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )
        }?;
        let base = NonNull::new(base.cast::<u8>()).ok_or(io::ErrorKind::OutOfMemory)?;
        let skipped_bytes = match pages {
            Pages::Huge => base.as_ptr().align_offset(HUGE_BYTES).min(slack_bytes),
            Pages::Small | Pages::Unadvised => 0,
        };
        // SAFETY: within the mapping, which is longer by the slack.
        let start = unsafe { base.add(skipped_bytes) };
        let map = Self {
            base,
            mapped_bytes,
            start,
            len_bytes,
        };
        let advice = match pages {
            Pages::Unadvised => return Ok(map),
            Pages::Small => Advice::LinuxNoHugepage,
            Pages::Huge => Advice::LinuxHugepage,
        };
        // SAFETY: which pages back private memory changes nothing that can be seen in it.
        unsafe { madvise(base.as_ptr().cast(), mapped_bytes, advice) }?;
        Ok(map)
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: readable and writable memory of this value alone, zeroed or written before;
        // borrowed as long as the slice lives.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len_bytes) }
    }

    /// Lets the kernel take the content whenever it wants (`MADV_FREE`): the kernel's own offer.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn free_lazily(&mut self) -> io::Result<()> {
        self.advise(0, self.len_bytes, Advice::LinuxFree)
    }

    /// Gives the pages of a part back to the kernel (`MADV_DONTNEED`).
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn return_pages(&mut self, offset: usize, len_bytes: usize) -> io::Result<()> {
        self.advise(offset, len_bytes, Advice::LinuxDontNeed)
    }

    fn advise(&mut self, offset: usize, len_bytes: usize, advice: Advice) -> io::Result<()> {
        assert!(offset <= self.len_bytes && len_bytes <= self.len_bytes - offset);
        // SAFETY: within the mapping, as was just checked.
        let start: *mut c_void = unsafe { self.start.as_ptr().add(offset) }.cast();
        // SAFETY: no slice of the memory is alive, since `self` is borrowed exclusively; what the
        // kernel takes reads as zero afterwards, which is a good byte.
        unsafe { madvise(start, len_bytes, advice) }?;
        Ok(())
    }

    /// How many pages have lost the tag at their start: all that a program can know about what
    /// became of its content. The kernel may take pages during the call, so nothing is assumed
    /// about two looks at one page. With `keep`, what is still there is written, which is what
    /// takes it out of the kernel's reach again.
    #[inline(never)]
    pub(crate) fn lost_pages(&mut self, page_bytes: usize, keep: bool) -> usize {
        let mut lost = 0;
        for offset in (0..self.len_bytes).step_by(page_bytes) {
            // SAFETY: within the mapping.
            let tag = unsafe { self.start.add(offset) };
            // SAFETY: mapped, and nobody else's; volatile, because the kernel may change it.
            let seen = unsafe { tag.read_volatile() };
            lost += usize::from(seen == 0);
            if keep {
                // SAFETY: as above.
                unsafe { tag.write_volatile(seen) };
            }
        }
        lost
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: the whole mapping, which nobody has a reference to any more. A refusal would
        // leak it, no more.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), self.mapped_bytes) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE_BYTES: usize = 4096;

    #[test]
    fn what_is_returned_reads_as_zero_and_is_counted_as_lost() {
        let mut map = Map::fresh(16 * PAGE_BYTES, Pages::Small).unwrap();
        map.bytes_mut().fill(7);
        assert_eq!(map.lost_pages(PAGE_BYTES, true), 0);
        map.return_pages(4 * PAGE_BYTES, 3 * PAGE_BYTES).unwrap();
        assert_eq!(map.lost_pages(PAGE_BYTES, false), 3);
        assert_eq!(map.bytes_mut()[4 * PAGE_BYTES], 0);
        assert_eq!(map.bytes_mut()[7 * PAGE_BYTES], 7);
    }

    #[test]
    fn huge_ones_start_where_a_huge_page_can() {
        let mut map = Map::fresh(HUGE_BYTES, Pages::Huge).unwrap();
        let bytes = map.bytes_mut();
        assert_eq!(bytes.as_ptr().addr() % HUGE_BYTES, 0);
        bytes.fill(1);
    }

    #[test]
    #[should_panic(expected = "offset")]
    fn nothing_outside_is_returned() {
        let mut map = Map::fresh(PAGE_BYTES, Pages::Small).unwrap();
        let _ = map.return_pages(PAGE_BYTES, 1);
    }
}
