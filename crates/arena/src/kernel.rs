//! The memory calls that an arena makes, as a trait: the machine's kernel, a stand-in, or a
//! failing one can be put behind it.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::fmt::Debug;
use std::io;
use std::ptr::NonNull;

use crate::num::to_u64;
use crate::resident::Resident;

/// A range of addresses: where it starts and how many bytes it has.
///
/// A span is only a description. Nothing can be read or written through it without `unsafe`.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first byte.
    pub start: NonNull<u8>,
    /// The length in bytes.
    pub len_bytes: usize,
}

// SAFETY: a span is two numbers; it gives no access to what is there.
unsafe impl Send for Span {}
// SAFETY: as above.
unsafe impl Sync for Span {}

impl Span {
    /// The span from `offset_bytes` on, `len_bytes` long, cut off at this span's end.
    #[must_use]
    pub fn part(self, offset_bytes: usize, len_bytes: usize) -> Self {
        let offset = offset_bytes.min(self.len_bytes);
        Self {
            start: self
                .start
                .map_addr(|address| address.saturating_add(offset)),
            len_bytes: len_bytes.min(self.len_bytes - offset),
        }
    }

    /// The addresses as numbers.
    #[must_use]
    pub fn addresses(self) -> std::ops::Range<u64> {
        let start = to_u64(self.start.addr().get());
        start..start + to_u64(self.len_bytes)
    }
}

/// What a region of an arena asks of the kernel, once, for all of its address space.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Advice {
    /// Back it with small pages only.
    SmallPages,
    /// Back it with huge pages where possible.
    HugePages,
    /// Leave it out of core dumps.
    NoDump,
    /// Leave it out of children made by `fork`.
    NoFork,
}

/// The memory calls of a kernel.
///
/// All methods may be called from any thread at any time; spans are multiples of
/// [`page_bytes`](Kernel::page_bytes).
///
/// # Safety
///
/// The arena hands out, writes and reuses memory on the word of this trait, so an implementation
/// must keep these promises: a reserved span belongs to the caller alone until it is released;
/// an opened span can be read and written until it is closed, protected or released; no call
/// changes the content of opened memory except [`return_pages`](Kernel::return_pages) and
/// [`close`](Kernel::close) of exactly that memory; returned and newly opened memory reads as
/// zero.
pub unsafe trait Kernel: Send + Sync + Debug {
    /// The size of a small page in bytes: a power of two, the same for the life of the process.
    fn page_bytes(&self) -> usize;

    /// The size of a huge page in bytes (a power of two), or `None` where there are none to be
    /// had.
    fn huge_bytes(&self) -> Option<usize>;

    /// How many more bytes of address space this process may reserve, or `None` without a limit.
    fn reservable_bytes(&self) -> Option<u64>;

    /// Reserves `len_bytes` of address space, starting at a multiple of `align_bytes` (a power of
    /// two, at least a page). It costs no memory and cannot be accessed yet.
    ///
    /// # Errors
    /// What the kernel says when there is no such gap or a limit forbids it.
    fn reserve(&self, len_bytes: usize, align_bytes: usize) -> io::Result<Span>;

    /// Gives the address space back, whatever it holds.
    ///
    /// # Safety
    /// `span` is one that [`reserve`](Kernel::reserve) returned, whole, and nobody uses it any
    /// more.
    unsafe fn release(&self, span: Span);

    /// Makes reserved address space readable and writable. Nothing is backed before it is
    /// touched. Opening what is open changes nothing.
    ///
    /// # Errors
    /// What the kernel says; the span is then as closed as it was.
    ///
    /// # Safety
    /// `span` lies in a reserved span of the caller's.
    unsafe fn open(&self, span: Span) -> io::Result<()>;

    /// Makes opened memory as if it had just been reserved: its content and its charge are gone.
    ///
    /// # Errors
    /// What the kernel says; the span must then not be used again.
    ///
    /// # Safety
    /// `span` lies in a reserved span of the caller's and nobody uses it.
    unsafe fn close(&self, span: Span) -> io::Result<()>;

    /// Gives the pages behind opened memory back; it stays open and reads as zero.
    ///
    /// # Errors
    /// What the kernel says; parts of the span may have been returned, the rest is as it was.
    ///
    /// # Safety
    /// `span` lies in an opened span of the caller's and nobody uses it.
    unsafe fn return_pages(&self, span: Span) -> io::Result<()>;

    /// Makes every access to opened memory fault.
    ///
    /// # Errors
    /// What the kernel says; the span is then as it was.
    ///
    /// # Safety
    /// `span` lies in an opened span of the caller's and nobody uses it.
    unsafe fn protect(&self, span: Span) -> io::Result<()>;

    /// Undoes [`protect`](Kernel::protect): the content is there again.
    ///
    /// # Errors
    /// What the kernel says; the span is then as it was.
    ///
    /// # Safety
    /// `span` lies in an opened span of the caller's.
    unsafe fn unprotect(&self, span: Span) -> io::Result<()>;

    /// Tells the kernel about a reserved span.
    ///
    /// # Errors
    /// What the kernel says, most often that it does not know such advice.
    ///
    /// # Safety
    /// `span` is a reserved span of the caller's.
    unsafe fn advise(&self, span: Span, advice: Advice) -> io::Result<()>;

    /// Gives the span a name that shows in listings of the address space, where the kernel can.
    ///
    /// # Safety
    /// `span` is a reserved span of the caller's.
    unsafe fn name(&self, span: Span, name: &'static CStr);

    /// Whether the process has locked this reserved, never opened span since it was last
    /// [unlocked](Kernel::unlock) (`mlockall`).
    ///
    /// # Safety
    /// `span` lies in a reserved span of the caller's and was never opened.
    unsafe fn is_locked(&self, span: Span) -> bool {
        let _ = span;
        false
    }

    /// Makes the span as if the process did not lock its memory.
    ///
    /// # Safety
    /// `span` lies in a reserved span of the caller's.
    unsafe fn unlock(&self, span: Span) {
        let _ = span;
    }

    /// Locks the span's pages once touched, but backs nothing that is not; where that is not
    /// permitted, unlocks it.
    ///
    /// # Safety
    /// `span` lies in an opened span of the caller's.
    unsafe fn lock_on_fault(&self, span: Span) {
        let _ = span;
    }

    /// Told before memory that had nothing behind it goes into use: from now on it may be backed.
    /// A stand-in that cannot see writes counts with this.
    fn expect_backing(&self, span: Span) {
        let _ = span;
    }

    /// Told that the span, in use until now, was never touched.
    fn expect_no_backing(&self, span: Span) {
        let _ = span;
    }

    /// How much of the spans is in memory and in swap.
    ///
    /// # Errors
    /// When the kernel does not tell.
    fn resident(&self, spans: &[Span]) -> io::Result<Resident>;

    /// How many bytes of one span are in memory or in swap.
    ///
    /// # Errors
    /// When the kernel does not tell.
    fn resident_of(&self, span: Span) -> io::Result<u64>;
}
