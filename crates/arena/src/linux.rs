//! The kernel of the machine.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_void};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::ptr::{self, NonNull};

use rustix::io::Errno;
use rustix::mm::{self, MapFlags, MlockFlags, MprotectFlags, ProtFlags};
use rustix::process::Resource;

use crate::kernel::{Advice, Kernel, Span};
use crate::num::{to_u64, to_usize};
use crate::resident::{self, Resident};

/// Linux. Private anonymous memory: the kernel charges it to this process's cgroup and frees it
/// with the process.
#[derive(Copy, Clone, Debug, Default)]
pub struct LinuxKernel;

/// The largest huge page that an arena makes use of. (With 64 KiB pages a huge page is 512 MiB:
/// whole units of that size would waste more than they save.)
const HUGE_BYTES_MAX: usize = 32 << 20;
/// How often a call that the kernel asks to repeat (`EAGAIN`, `EINTR`) is repeated.
const REPEATS_MAX: usize = 16;
/// Bytes of one entry of `/proc/self/pagemap`, and its bits for "in memory" and "in swap".
const PAGEMAP_ENTRY_BYTES: usize = 8;
const PAGEMAP_HELD: u64 = (1 << 63) | (1 << 62);
/// Entries of `/proc/self/pagemap` read at a time.
const PAGEMAP_ENTRIES: usize = 4096;
const THP_ENABLED: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
const THP_SIZE: &str = "/sys/kernel/mm/transparent_hugepage/hpage_pmd_size";

fn address(span: Span) -> *mut c_void {
    span.start.as_ptr().cast()
}

fn inaccessible() -> (ProtFlags, MapFlags) {
    (ProtFlags::empty(), MapFlags::PRIVATE | MapFlags::NORESERVE)
}

fn map_inaccessible(len_bytes: usize) -> io::Result<NonNull<u8>> {
    let (protection, flags) = inaccessible();
    // SAFETY: without an address and without MAP_FIXED it touches no existing mapping.
    let mapped = unsafe { mm::mmap_anonymous(ptr::null_mut(), len_bytes, protection, flags) };
    NonNull::new(mapped?.cast()).ok_or_else(|| io::Error::from(Errno::NOMEM))
}

/// # Safety
/// The span is mapped, the caller's, and not used any more.
unsafe fn unmap(span: Span) {
    if span.len_bytes > 0 {
        // SAFETY: handed on to the caller. Should the kernel fail here, address space is lost,
        // nothing else.
        let _ = unsafe { mm::munmap(address(span), span.len_bytes) };
    }
}

/// # Safety
/// As `madvise` with that advice.
unsafe fn madvise(span: Span, advice: mm::Advice) -> Result<(), Errno> {
    for _ in 0..REPEATS_MAX {
        // SAFETY: handed on to the caller.
        let answer = unsafe { mm::madvise(address(span), span.len_bytes, advice) };
        match answer {
            Err(Errno::AGAIN | Errno::INTR) => {}
            answer => return answer,
        }
    }
    Err(Errno::AGAIN)
}

// SAFETY: reserve maps fresh address space at a place the kernel chooses; open and unprotect make
// exactly their span accessible; only return_pages and close drop content, of their span only;
// anonymous private pages read as zero when they are new.
unsafe impl Kernel for LinuxKernel {
    fn page_bytes(&self) -> usize {
        rustix::param::page_size()
    }

    fn huge_bytes(&self) -> Option<usize> {
        let enabled = fs::read_to_string(THP_ENABLED).ok()?;
        if enabled.contains("[never]") {
            return None;
        }
        if rustix::thread::transparent_huge_pages_are_disabled().unwrap_or(false) {
            return None;
        }
        let bytes: usize = fs::read_to_string(THP_SIZE).ok()?.trim().parse().ok()?;
        (bytes.is_power_of_two() && bytes <= HUGE_BYTES_MAX).then_some(bytes)
    }

    fn reservable_bytes(&self) -> Option<u64> {
        let limit = rustix::process::getrlimit(Resource::As).current?;
        let pages = fs::read_to_string("/proc/self/statm").ok();
        let pages = pages.and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
        // Without the figure, assume that half of the limit is in use.
        let used = pages.map_or(limit / 2, |pages| {
            pages.saturating_mul(to_u64(self.page_bytes()))
        });
        Some(limit.saturating_sub(used))
    }

    fn reserve(&self, len_bytes: usize, align_bytes: usize) -> io::Result<Span> {
        // A gap behind it stays unmapped. Else the kernel would make one mapping of this span's
        // end and the protected beginning of the next arena, and count what is behind it once for
        // each of the two.
        let gap_bytes = self.page_bytes();
        let wanted_bytes = len_bytes.checked_add(gap_bytes).ok_or(Errno::NOMEM)?;
        let mut mapped = Span {
            start: map_inaccessible(wanted_bytes)?,
            len_bytes: wanted_bytes,
        };
        if !mapped.start.addr().get().is_multiple_of(align_bytes) {
            // SAFETY: mapped just above and handed to nobody.
            unsafe { unmap(mapped) };
            let roomy_bytes = wanted_bytes.checked_add(align_bytes).ok_or(Errno::NOMEM)?;
            mapped = Span {
                start: map_inaccessible(roomy_bytes)?,
                len_bytes: roomy_bytes,
            };
        }
        let start = mapped.start.addr().get();
        let skip_bytes = start.next_multiple_of(align_bytes) - start;
        // SAFETY: the front of what was mapped just above, handed to nobody.
        unsafe { unmap(mapped.part(0, skip_bytes)) };
        // SAFETY: the back of it.
        unsafe { unmap(mapped.part(skip_bytes + len_bytes, mapped.len_bytes)) };
        Ok(mapped.part(skip_bytes, len_bytes))
    }

    unsafe fn release(&self, span: Span) {
        // SAFETY: handed on to the caller.
        unsafe { unmap(span) };
    }

    unsafe fn open(&self, span: Span) -> io::Result<()> {
        let flags = MprotectFlags::READ | MprotectFlags::WRITE;
        // SAFETY: the caller's address space, which becomes more accessible than it was.
        let answer = unsafe { mm::mprotect(address(span), span.len_bytes, flags) };
        Ok(answer?)
    }

    unsafe fn close(&self, span: Span) -> io::Result<()> {
        let (protection, flags) = inaccessible();
        let flags = flags | MapFlags::FIXED;
        // mprotect would keep the commit charge of strict overcommit; a new mapping drops it.
        // SAFETY: it replaces a part of the caller's own mapping, which nobody uses.
        let mapped =
            unsafe { mm::mmap_anonymous(address(span), span.len_bytes, protection, flags) };
        mapped?;
        Ok(())
    }

    unsafe fn return_pages(&self, span: Span) -> io::Result<()> {
        // SAFETY: the caller's memory, which nobody uses.
        match unsafe { madvise(span, mm::Advice::LinuxDontNeed) } {
            Err(Errno::INVAL) => {}
            answer => return Ok(answer?),
        }
        // Locked memory (mlockall) is refused above.
        // SAFETY: as above.
        match unsafe { madvise(span, mm::Advice::LinuxDontneedLocked) } {
            Err(Errno::INVAL) => {}
            answer => return Ok(answer?),
        }
        // Linux before 5.18 knows no such call: the memory has to be unlocked first.
        // SAFETY: as above.
        unsafe { self.unlock(span) };
        // SAFETY: as above.
        Ok(unsafe { madvise(span, mm::Advice::LinuxDontNeed) }?)
    }

    unsafe fn protect(&self, span: Span) -> io::Result<()> {
        // SAFETY: the caller's memory, which nobody uses.
        let answer = unsafe { mm::mprotect(address(span), span.len_bytes, MprotectFlags::empty()) };
        Ok(answer?)
    }

    unsafe fn unprotect(&self, span: Span) -> io::Result<()> {
        // SAFETY: handed on to the caller.
        unsafe { self.open(span) }
    }

    unsafe fn advise(&self, span: Span, advice: Advice) -> io::Result<()> {
        let advice = match advice {
            Advice::SmallPages => mm::Advice::LinuxNoHugepage,
            Advice::HugePages => mm::Advice::LinuxHugepage,
            Advice::NoDump => mm::Advice::LinuxDontDump,
            Advice::NoFork => mm::Advice::LinuxDontFork,
        };
        // SAFETY: none of these changes the content of memory in this process.
        Ok(unsafe { madvise(span, advice) }?)
    }

    unsafe fn name(&self, span: Span, name: &'static CStr) {
        // Only a convenience, and kernels may be built without it: the answer does not matter.
        // SAFETY: the call names a mapping and reads a C string that lives for ever.
        let _ = unsafe {
            libc::prctl(
                libc::PR_SET_VMA,
                libc::PR_SET_VMA_ANON_NAME,
                address(span),
                span.len_bytes,
                name.as_ptr(),
            )
        };
    }

    unsafe fn is_locked(&self, span: Span) -> bool {
        // There is nothing to return in memory that was never opened; the kernel checks for locks
        // all the same, and this is far cheaper than reading smaps.
        // SAFETY: the caller's span, without content.
        unsafe { madvise(span, mm::Advice::LinuxDontNeed) == Err(Errno::INVAL) }
    }

    unsafe fn unlock(&self, span: Span) {
        // SAFETY: locks change no content.
        let _ = unsafe { mm::munlock(address(span), span.len_bytes) };
    }

    unsafe fn lock_on_fault(&self, span: Span) {
        // SAFETY: locks change no content.
        let locked = unsafe { mm::mlock_with(address(span), span.len_bytes, MlockFlags::ONFAULT) };
        if locked.is_err() {
            // SAFETY: handed on to the caller.
            unsafe { self.unlock(span) };
        }
    }

    fn resident(&self, spans: &[Span]) -> io::Result<Resident> {
        let ranges: Vec<_> = spans.iter().map(|span| span.addresses()).collect();
        resident::resident_here(&ranges)
    }

    /// From `/proc/self/pagemap`. A page that was only read counts too, though the kernel shows
    /// its one shared page of zeros there.
    fn resident_of(&self, span: Span) -> io::Result<u64> {
        let page_bytes = to_u64(self.page_bytes());
        let addresses = span.addresses();
        let mut pages = addresses.start / page_bytes..addresses.end.div_ceil(page_bytes);
        let pagemap = File::open("/proc/self/pagemap")?;
        let mut entries = vec![0; PAGEMAP_ENTRIES * PAGEMAP_ENTRY_BYTES];
        let mut held_pages = 0;
        while pages.start < pages.end {
            let count = (pages.end - pages.start).min(to_u64(PAGEMAP_ENTRIES));
            let part = &mut entries[..to_usize(count) * PAGEMAP_ENTRY_BYTES];
            pagemap.read_exact_at(part, pages.start * to_u64(PAGEMAP_ENTRY_BYTES))?;
            held_pages += part
                .chunks_exact(PAGEMAP_ENTRY_BYTES)
                .filter(|e| is_held(e))
                .count();
            pages.start += count;
        }
        Ok(to_u64(held_pages) * page_bytes)
    }
}

fn is_held(entry: &[u8]) -> bool {
    entry
        .try_into()
        .is_ok_and(|bytes| u64::from_ne_bytes(bytes) & PAGEMAP_HELD != 0)
}
