//! The file: making, sealing, checking and opening it anew.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};
use rustix::io::Errno;
use rustix::process::Resource;

use crate::about::{About, Counts, FIXED_BYTES};
use crate::error::Error;
use crate::word::GENERATIONS_MAX;

/// As much as the longest file has. Locks lie beyond.
const FILE_BYTES_MAX: u64 = 1 << 62;

const NAME: &str = "vidmm-shared";

/// No opener can change the size, and none can forbid the others to write.
const SEALS: SealFlags = SealFlags::SHRINK
    .union(SealFlags::GROW)
    .union(SealFlags::SEAL);

/// `TMPFS_MAGIC`: the file system of memory.
const MEMORY_FILES: u64 = 0x0102_1994;

/// Where everything is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Where generation 0 begins, in bytes.
    pub(crate) first_byte: u64,
    /// What one generation takes, in bytes: whole pages for each allocation.
    pub(crate) stride_bytes: u64,
    /// How many there are.
    pub(crate) generations: u32,
    /// Where each allocation begins in a generation, in bytes.
    pub(crate) offsets: Vec<u64>,
}

fn page_bytes() -> u64 {
    rustix::param::page_size() as u64
}

impl Layout {
    /// The layout in a file of this size.
    fn new(about: &About, file_bytes: u64) -> Result<Self, Error> {
        let page = page_bytes();
        let data_bytes = about.counts()?.bytes() as u64;
        let first_byte = page + data_bytes.next_multiple_of(page);
        let mut offsets = Vec::with_capacity(about.members.len());
        let mut stride_bytes: u64 = 0;
        for member in &about.members {
            let size_bytes = member.size_bytes;
            let bad = Error::BadSize { size_bytes };
            let pages = size_bytes.checked_next_multiple_of(page).ok_or(bad)?;
            offsets.push(stride_bytes);
            stride_bytes = stride_bytes.checked_add(pages).ok_or(bad)?;
            // One generation must fit a file, and the address space.
            let fits = stride_bytes <= FILE_BYTES_MAX - first_byte
                && usize::try_from(stride_bytes).is_ok();
            if size_bytes == 0 || !fits {
                return Err(bad);
            }
        }
        let room = file_bytes.min(FILE_BYTES_MAX).saturating_sub(first_byte);
        let generations = (room / stride_bytes).min(u64::from(GENERATIONS_MAX));
        Ok(Layout {
            first_byte,
            stride_bytes,
            generations: u32::try_from(generations).unwrap_or(GENERATIONS_MAX),
            offsets,
        })
    }

    fn file_bytes(&self) -> u64 {
        self.offset_of(self.generations)
    }

    /// Where a generation begins; that of one that is none, if it is no more than there are, too.
    pub(crate) fn offset_of(&self, generation: u32) -> u64 {
        // The file has 2^62 bytes at most, so this stays below that for what the file has.
        self.first_byte
            .saturating_add(self.stride_bytes.saturating_mul(u64::from(generation)))
    }
}

/// What one generation takes, in bytes.
pub(crate) fn charge_bytes(about: &About) -> Result<u64, Error> {
    Layout::new(about, FILE_BYTES_MAX).map(|layout| layout.stride_bytes)
}

/// Makes a file, as long as this process may.
pub(crate) fn create(about: &About) -> Result<(OwnedFd, Layout), Error> {
    // Beyond RLIMIT_FSIZE the kernel does not only refuse, it sends a signal that kills.
    let limit = rustix::process::getrlimit(Resource::Fsize).current;
    let mut layout = Layout::new(about, limit.unwrap_or(u64::MAX))?;
    let (fixed, rest) = about.encode()?;
    if layout.generations == 0 {
        return Err(Error::FileLimit {
            wanted_bytes: layout.offset_of(1),
        });
    }
    let file = memory_file()?;
    while let Err(errno) = rustix::fs::ftruncate(&file, layout.file_bytes()) {
        // Longer than this kernel's files can be.
        if errno != Errno::FBIG && errno != Errno::INVAL || layout.generations == 1 {
            return Err(errno.into());
        }
        layout.generations /= 2;
    }
    write_all(&file, &fixed, 0)?;
    write_all(&file, &rest, page_bytes())?;
    rustix::fs::fcntl_add_seals(&file, SEALS)?;
    Ok((file, layout))
}

fn memory_file() -> Result<OwnedFd, Errno> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    match rustix::fs::memfd_create(NAME, flags | MemfdFlags::NOEXEC_SEAL) {
        // Linux before 6.3.
        Err(Errno::INVAL) => rustix::fs::memfd_create(NAME, flags),
        made => made,
    }
}

fn write_all(file: &OwnedFd, mut bytes: &[u8], mut offset: u64) -> Result<(), Errno> {
    while !bytes.is_empty() {
        let written = match rustix::io::pwrite(file, bytes, offset) {
            Ok(0) => return Err(Errno::IO),
            Ok(written) => written,
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno),
        };
        bytes = bytes.get(written..).unwrap_or_default();
        offset += written as u64;
    }
    Ok(())
}

fn read_all(file: &OwnedFd, bytes: &mut [u8], mut offset: u64) -> Result<(), Error> {
    let mut done = 0;
    while done < bytes.len() {
        match rustix::io::pread(file, &mut bytes[done..], offset) {
            // The file ends before what it says it has.
            Ok(0) => return Err(Error::Damaged),
            Ok(read) => {
                done += read;
                offset += read as u64;
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// An open file description of this process's own of the file behind `descriptor`, if it is one
/// that cannot do harm.
pub(crate) fn open(descriptor: BorrowedFd<'_>) -> Result<(OwnedFd, Layout, About), Error> {
    // First of all, and answered by the kernel for its own memory files only: a file system that
    // never answers is not asked anything.
    let seals = rustix::fs::fcntl_get_seals(descriptor).map_err(|_| Error::NotShared)?;
    if !seals.contains(SEALS) || seals.intersects(SealFlags::WRITE | SealFlags::FUTURE_WRITE) {
        return Err(Error::NotShared);
    }
    let about_file = rustix::fs::fstatfs(descriptor).map_err(|_| Error::NotShared)?;
    // Not of huge pages, which may run out at an access.
    if u64::try_from(about_file.f_type).ok() != Some(MEMORY_FILES) {
        return Err(Error::NotShared);
    }
    let file = reopen(descriptor)?;
    let size_bytes = u64::try_from(rustix::fs::fstat(&file)?.st_size).unwrap_or(0);
    let mut fixed = [0; FIXED_BYTES];
    read_all(&file, &mut fixed, 0).map_err(|_| Error::NotShared)?;
    let counts = Counts::read(&fixed)?;
    let mut rest = vec![0; counts.bytes()];
    read_all(&file, &mut rest, page_bytes())?;
    let about = About::decode(counts, &rest)?;
    let layout = Layout::new(&about, size_bytes).map_err(|_| Error::Damaged)?;
    match layout.generations {
        0 => Err(Error::Damaged),
        _ => Ok((file, layout, about)),
    }
}

/// Another open file description of the same file.
pub(crate) fn reopen(descriptor: BorrowedFd<'_>) -> Result<OwnedFd, Error> {
    let path = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
    match rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        Ok(file) => Ok(file),
        // The descriptor is open, so what is missing is the directory.
        Err(Errno::NOENT | Errno::NOTDIR) => Err(Error::NoProc),
        Err(Errno::ACCESS | Errno::PERM) => Err(Error::NotAllowed),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::about::Member;

    fn about(sizes: &[u64]) -> About {
        About {
            members: sizes
                .iter()
                .map(|&size_bytes| Member {
                    size_bytes,
                    data: Vec::new(),
                })
                .collect(),
            ..About::default()
        }
    }

    #[test]
    fn ranges_never_meet_and_end_within_the_file() {
        let page = page_bytes();
        let layout = Layout::new(&about(&[1, page + 1, page]), u64::MAX).unwrap();
        assert_eq!(layout.offsets, [0, page, 3 * page]);
        assert_eq!(layout.stride_bytes, 4 * page);
        assert_eq!(layout.generations, GENERATIONS_MAX);
        assert!(layout.file_bytes() <= FILE_BYTES_MAX);
        assert_eq!(
            layout.offset_of(7) - layout.offset_of(6),
            layout.stride_bytes
        );
        let large = Layout::new(&about(&[1 << 61]), u64::MAX).unwrap();
        assert_eq!(large.generations, 1, "never discarded");
        let short = Layout::new(&about(&[page]), 9 * page + page / 2).unwrap();
        assert_eq!(short.generations, 7);
    }

    #[test]
    fn sizes_that_cannot_be_are_refused() {
        for sizes in [&[0][..], &[u64::MAX], &[1, u64::MAX - 4096], &[1 << 62]] {
            let refused = Layout::new(&about(sizes), u64::MAX);
            assert!(matches!(refused, Err(Error::BadSize { .. })), "{sizes:?}");
        }
        assert_eq!(
            Layout::new(&about(&[]), u64::MAX),
            Err(Error::BadCount { count: 0 })
        );
    }
}
