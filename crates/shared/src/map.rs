//! Mappings of a file: its header, and the present generation of its content.
#![allow(unsafe_code)]

use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU8, AtomicU64};

use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};
use rustix::process::{Pid, getpid};

/// Part of a file in this process's address space; not in its children's. Other processes write
/// there at any time.
#[derive(Debug)]
pub struct Map {
    start: NonNull<u8>,
    len_bytes: usize,
    /// Whose address space it is in.
    process: Pid,
}

// SAFETY: the addresses belong to the process, not to a thread; what is behind them is reached
// through atomics, or by whoever has asked for the address.
unsafe impl Send for Map {}
// SAFETY: as above.
unsafe impl Sync for Map {}

impl Map {
    pub(crate) fn new(
        file: BorrowedFd<'_>,
        offset_bytes: u64,
        len_bytes: usize,
        in_core_dumps: bool,
    ) -> Result<Self, Errno> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping, wherever the kernel likes.
        let mapped = unsafe {
            mmap(
                ptr::null_mut(),
                len_bytes,
                access,
                MapFlags::SHARED,
                file,
                offset_bytes,
            )
        }?;
        let map = Map {
            start: NonNull::new(mapped.cast()).ok_or(Errno::NOMEM)?,
            len_bytes,
            process: getpid(),
        };
        map.advise(Advice::LinuxDontFork)?;
        if !in_core_dumps {
            map.advise(Advice::LinuxDontDump)?;
        }
        Ok(map)
    }

    fn advise(&self, advice: Advice) -> Result<(), Errno> {
        // SAFETY: neither advice changes what this process finds in its own mapping.
        unsafe { madvise(self.start.as_ptr().cast(), self.len_bytes, advice) }
    }

    /// Its first byte.
    #[must_use]
    pub fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Whether it is there: it did not come along into a child made by `fork`.
    #[must_use]
    pub fn is_here(&self) -> bool {
        getpid() == self.process
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // In a child something else may be at these addresses by now.
        if self.is_here() {
            // SAFETY: a mapping of this value's own; whoever knows its address knows that it ends.
            let _ = unsafe { munmap(self.start.as_ptr().cast(), self.len_bytes) };
        }
    }
}

/// The first page of a file: the state word, and the class in which each opener offers.
#[derive(Debug)]
pub(crate) struct Header(Map);

pub(crate) const WORD_OFFSET: usize = 64;
pub(crate) const CLASSES_OFFSET: usize = 128;
pub(crate) const HEADER_BYTES: usize = CLASSES_OFFSET + crate::word::OPENERS_MAX as usize;

impl Header {
    pub(crate) fn new(file: BorrowedFd<'_>) -> Result<Self, Errno> {
        let map = Map::new(file, 0, rustix::param::page_size(), false)?;
        Ok(Header(map))
    }

    pub(crate) fn is_here(&self) -> bool {
        self.0.is_here()
    }

    pub(crate) fn word(&self) -> &AtomicU64 {
        // SAFETY: within the page.
        let word = unsafe { self.0.start.add(WORD_OFFSET) };
        // SAFETY: mapped as long as `self`, aligned, and whoever else writes it does so as one word
        // or is hostile and gets any value read here.
        unsafe { word.cast::<AtomicU64>().as_ref() }
    }

    pub(crate) fn class(&self, opener: crate::word::Opener) -> &AtomicU8 {
        let offset = CLASSES_OFFSET + opener.number() as usize;
        // SAFETY: within the page: there are as many as openers.
        let class = unsafe { self.0.start.add(offset) };
        // SAFETY: as for the word; a byte is whole.
        unsafe { class.cast::<AtomicU8>().as_ref() }
    }
}
