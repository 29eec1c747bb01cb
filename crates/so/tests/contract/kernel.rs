//! What the kernel says of another process's memory. Nothing here asks the library.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// An arena reserves more address space than anything else in a small program: the heaps that the C
/// library reserves for threads have 64 MiB.
const RESERVATION_BYTES_MIN: u64 = 1 << 30;

/// Entries of `pagemap` have so many bytes, and these bits for "in memory" and "in swap".
const PAGEMAP_ENTRY_BYTES: usize = 8;
const PAGEMAP_HELD: u64 = (1 << 63) | (1 << 62);

/// The stretches of reserved address space of a process: large, anonymous, and wholly inaccessible,
/// as an arena's are before the first allocation. They lie where they are for good.
pub(crate) fn reservations(pid: u32) -> io::Result<Vec<Range<u64>>> {
    let listing = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    Ok(listing.lines().filter_map(reservation).collect())
}

/// The addresses of a line `7f00-7f10 ---p 00000000 00:00 0   [anon:name]`, if it is a reservation.
fn reservation(line: &str) -> Option<Range<u64>> {
    let mut words = line.split_ascii_whitespace();
    let range = addresses(words.next()?)?;
    let [access, _offset, _device, inode] = [(); 4].map(|()| words.next());
    let anonymous = inode == Some("0") && words.next().is_none_or(|n| n.starts_with("[anon:"));
    let large = range.end - range.start >= RESERVATION_BYTES_MIN;
    (access == Some("---p") && anonymous && large).then_some(range)
}

/// Rss and Swap of all mappings that begin in one of the ranges.
pub(crate) fn resident_bytes(pid: u32, ranges: &[Range<u64>]) -> io::Result<u64> {
    sum(
        BufReader::new(File::open(format!("/proc/{pid}/smaps"))?),
        ranges,
    )
}

fn sum(listing: impl BufRead, ranges: &[Range<u64>]) -> io::Result<u64> {
    let mut bytes = 0;
    let mut inside = false;
    for line in listing.lines() {
        let line = line?;
        let mut words = line.split_ascii_whitespace();
        let first = words.next().unwrap_or("");
        if let Some(mapping) = addresses(first) {
            inside = ranges.iter().any(|range| range.contains(&mapping.start));
        } else if inside && matches!(first, "Rss:" | "Swap:") {
            let kib: Option<u64> = words.next().and_then(|figure| figure.parse().ok());
            bytes += 1024 * kib.ok_or(io::ErrorKind::InvalidData)?;
        }
    }
    Ok(bytes)
}

/// A pair `7f00-7f10`.
fn addresses(word: &str) -> Option<Range<u64>> {
    let (start, end) = word.split_once('-')?;
    let start = u64::from_str_radix(start, 16).ok()?;
    Some(start..u64::from_str_radix(end, 16).ok()?)
}

/// What is in memory or in swap behind some addresses, in whole pages.
pub(crate) fn resident_bytes_at(
    pid: u32,
    addresses: &Range<u64>,
    page_bytes: u64,
) -> io::Result<u64> {
    let first = addresses.start / page_bytes;
    let pages = addresses.end.div_ceil(page_bytes) - first;
    let len = usize::try_from(pages).map_err(io::Error::other)? * PAGEMAP_ENTRY_BYTES;
    let mut entries = vec![0; len];
    File::open(format!("/proc/{pid}/pagemap"))?
        .read_exact_at(&mut entries, first * PAGEMAP_ENTRY_BYTES as u64)?;
    let (entries, _) = entries.as_chunks::<PAGEMAP_ENTRY_BYTES>();
    let held = |entry: &&[u8; 8]| u64::from_ne_bytes(**entry) & PAGEMAP_HELD != 0;
    Ok(entries.iter().filter(held).count() as u64 * page_bytes)
}

#[test]
fn reservations_are_large_anonymous_and_inaccessible() {
    let large = "7f0000000000-7f0040000000";
    for (line, found) in [
        (format!("{large} ---p 00000000 00:00 0 "), true),
        (
            format!("{large} ---p 00000000 00:00 0       [anon:some name]"),
            true,
        ),
        (format!("{large} rw-p 00000000 00:00 0 "), false),
        (
            format!("{large} ---p 00000000 fe:00 77      /a/library.so"),
            false,
        ),
        (
            format!("{large} ---p 00000000 00:00 0       [stack]"),
            false,
        ),
        (
            "7f0000000000-7f003ffff000 ---p 00000000 00:00 0 ".to_owned(),
            false,
        ),
    ] {
        assert_eq!(reservation(&line).is_some(), found, "{line}");
    }
}

#[test]
fn residence_is_counted_in_the_ranges_only() {
    let listing = "\
1000-2000 rw-p 00000000 00:00 0
Rss:                   4 kB
2000-3000 rw-p 00000000 00:00 0          [anon:Rss: 9 kB]
Size:                  4 kB
Rss:                   1 kB
Swap:                  2 kB
SwapPss:               2 kB
3000-4000 ---p 00000000 00:00 0
Rss:                   8 kB
4000-5000 rw-p 00000000 00:00 0
Rss:                  16 kB
";
    let two = [0x2000..0x4000, 0x8000..0x9000];
    assert_eq!(sum(listing.as_bytes(), &two).ok(), Some(11 << 10));
}
