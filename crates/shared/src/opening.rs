//! One process's share of a file.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;

use rustix::fs::{FallocateFlags, SeekFrom};
use rustix::io::Errno;

use crate::about::About;
use crate::error::Error;
use crate::file::{self, Layout};
use crate::locks;
use crate::map::{HEADER_BYTES, Header, Map};
use crate::word::{self, Look, Opener};

/// How often a call that the kernel interrupts is repeated.
const REPEATS_MAX: usize = 16;

/// A file of shared memory as one process has it open. It leaves when dropped; in a child made by
/// `fork` it must only be dropped, which gives up the child's copy of the descriptor and nothing
/// else.
#[derive(Debug)]
pub struct Opening {
    header: Header,
    layout: Layout,
    opener: Opener,
    in_core_dumps: bool,
    /// The last to go: it keeps the lock that says that the opener lives.
    file: OwnedFd,
}

impl Opening {
    /// Makes a file and opens it. Its maker holds the content, which reads as zero.
    ///
    /// # Errors
    /// Sizes, counts and data beyond the limits; no descriptor; the kernel's refusal.
    pub fn create(about: &About, in_core_dumps: bool) -> Result<(Self, Look), Error> {
        let (made, layout) = file::create(about)?;
        // Not the one that was made: descriptors of that may be given away, and its locks with it.
        let file = file::reopen(made.as_fd())?;
        Self::join(file, layout, in_core_dumps)
    }

    /// Opens the file behind `descriptor`, which stays the caller's. The new opener holds the
    /// content.
    ///
    /// # Errors
    /// [`Error::NotShared`], [`Error::OtherFormat`], [`Error::Damaged`],
    /// [`Error::TooManyOpeners`], [`Error::NoProc`], [`Error::NotAllowed`],
    /// [`Error::Descriptors`], [`Error::Kernel`].
    pub fn open(
        descriptor: BorrowedFd<'_>,
        in_core_dumps: bool,
    ) -> Result<(Self, Look, About), Error> {
        let (file, layout, about) = file::open(descriptor)?;
        let (opening, look) = Self::join(file, layout, in_core_dumps)?;
        Ok((opening, look, about))
    }

    /// What the file behind `descriptor` says of itself. Nobody joins.
    ///
    /// # Errors
    /// As [`Opening::open`], but for openers.
    pub fn about(descriptor: BorrowedFd<'_>) -> Result<About, Error> {
        file::open(descriptor).map(|(_, _, about)| about)
    }

    fn join(file: OwnedFd, layout: Layout, in_core_dumps: bool) -> Result<(Self, Look), Error> {
        const { assert!(HEADER_BYTES <= 4096) };
        let header = Header::new(file.as_fd())?;
        for opener in Opener::all() {
            if locks::take(file.as_fd(), opener)? {
                header.class(opener).store(0, Ordering::Relaxed);
                // Whoever had the number before may have died with the bit set; it is ours now.
                let look = word::hold(header.word(), opener);
                let opening = Opening {
                    header,
                    layout,
                    opener,
                    in_core_dumps,
                    file,
                };
                return match opening.has(look.generation()) {
                    true => {
                        // What those who died before had no time to return.
                        opening.return_before(0, look.generation());
                        Ok((opening, look))
                    }
                    false => Err(Error::Damaged),
                };
            }
        }
        Err(Error::TooManyOpeners)
    }

    /// A descriptor to be given to another process, with an open file description of its own.
    ///
    /// # Errors
    /// [`Error::NoProc`], [`Error::Descriptors`], [`Error::Kernel`].
    pub fn descriptor(&self) -> Result<OwnedFd, Error> {
        file::reopen(self.file.as_fd())
    }

    /// What the content takes while it is there, in bytes: whole pages.
    #[must_use]
    pub fn charge_bytes(&self) -> u64 {
        self.layout.stride_bytes
    }

    /// Where allocation `member` begins in a mapping of the content, in bytes.
    #[must_use]
    pub fn offset_of(&self, member: usize) -> Option<usize> {
        let offset = *self.layout.offsets.get(member)?;
        usize::try_from(offset).ok()
    }

    /// Whether the file has such a generation.
    #[must_use]
    pub fn has(&self, generation: u32) -> bool {
        generation < self.layout.generations
    }

    /// What the state word says.
    #[must_use]
    pub fn look(&self) -> Look {
        word::look(self.header.word())
    }

    /// This opener holds the content from now on. What is seen stays until it is released.
    pub fn hold(&self) -> Look {
        word::hold(self.header.word(), self.opener)
    }

    /// This opener does not hold the content any more: it may be discarded.
    pub fn release(&self) {
        word::release(self.header.word(), self.opener);
    }

    /// This opener, which holds the content, has been told that it was discarded.
    pub fn tell(&self) {
        word::tell(self.header.word());
    }

    /// Says in which class this opener offers the content; the numbers are the caller's, of which
    /// the higher is the dearer.
    pub fn set_class(&self, class: u8) {
        self.header
            .class(self.opener)
            .store(class, Ordering::Relaxed);
    }

    /// The highest of `own` and the classes of the other living openers; looks no further than
    /// `highest`.
    pub fn class(&mut self, own: u8, highest: u8) -> u8 {
        let (mut class, me) = (own, self.opener);
        for other in Opener::all().filter(|&other| other != me) {
            if class >= highest {
                break;
            }
            let of_other = self.header.class(other).load(Ordering::Relaxed);
            if of_other > class && !self.bury(other) {
                class = of_other.min(highest);
            }
        }
        class
    }

    /// Whether nobody holds the content, once those who died while they did are out of the way.
    pub fn is_free(&mut self) -> bool {
        let look = self.look();
        if look.is_held_by(self.opener) {
            return false;
        }
        let held = Opener::all().any(|other| look.is_held_by(other) && !self.bury(other));
        !held && self.look().is_free()
    }

    /// Takes a dead opener's marks away. Says `false` if it lives. (Exclusive access to the opening
    /// matters: the lock is taken with this opener's own open file description, twice unnoticed.)
    fn bury(&mut self, other: Opener) -> bool {
        match locks::take(self.file.as_fd(), other) {
            Ok(true) => {
                self.header.class(other).store(0, Ordering::Relaxed);
                word::release(self.header.word(), other);
                locks::give_back(self.file.as_fd(), other);
                true
            }
            _ => false,
        }
    }

    /// Discards generation `seen` if nobody holds it. The caller goes on with
    /// [`Opening::return_pages`].
    #[must_use]
    pub fn discard(&mut self, seen: u32) -> bool {
        self.is_free() && word::discard(self.header.word(), seen, self.layout.generations)
    }

    /// Gives the pages of generation `old`, which was discarded, and of those after it that were
    /// too, back to the kernel. Says whether it took them. At any time: nobody ever uses them again.
    #[must_use]
    pub fn return_pages(&self, old: u32) -> bool {
        self.return_before(old, self.look().generation())
    }

    fn return_before(&self, first: u32, end: u32) -> bool {
        if first >= end || !self.has(end) {
            return true;
        }
        let start = self.layout.offset_of(first);
        let len_bytes = self.layout.offset_of(end) - start;
        let how = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        (0..REPEATS_MAX).any(|_| {
            match rustix::fs::fallocate(&self.file, how, start, len_bytes) {
                Ok(()) => true,
                // Interrupted: once more, at most so often.
                Err(_) => false,
            }
        })
    }

    /// Maps a generation of the content.
    ///
    /// # Errors
    /// [`Error::Damaged`] if there is none such; [`Error::Kernel`].
    pub fn map(&self, generation: u32) -> Result<Map, Error> {
        if !self.has(generation) {
            return Err(Error::Damaged);
        }
        let len_bytes = usize::try_from(self.layout.stride_bytes).unwrap_or(usize::MAX);
        let offset = self.layout.offset_of(generation);
        Map::new(self.file.as_fd(), offset, len_bytes, self.in_core_dumps).map_err(Error::from)
    }

    /// What the kernel has behind part of a generation, in memory or swap, in bytes: whoever wrote
    /// it.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn backed_bytes(
        &self,
        generation: u32,
        offset_bytes: u64,
        len_bytes: u64,
    ) -> std::io::Result<u64> {
        let end = self.layout.offset_of(generation) + offset_bytes + len_bytes;
        let mut at = end - len_bytes;
        let mut backed = 0;
        while at < end {
            let data = match rustix::fs::seek(&self.file, SeekFrom::Data(at)) {
                Ok(data) => data.min(end),
                Err(Errno::NXIO) => break,
                Err(errno) => return Err(errno.into()),
            };
            let hole = rustix::fs::seek(&self.file, SeekFrom::Hole(data))?.min(end);
            backed += hole.saturating_sub(data);
            if hole <= at {
                break;
            }
            at = hole;
        }
        Ok(backed)
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        // In a child the header is not there, and the opener is its parent.
        if self.header.is_here() {
            self.header.class(self.opener).store(0, Ordering::Relaxed);
            self.release();
            // Not left to the close: a child that another thread is just making, for a program to
            // run in, has the descriptor too until it has that program.
            locks::give_back(self.file.as_fd(), self.opener);
        }
    }
}
