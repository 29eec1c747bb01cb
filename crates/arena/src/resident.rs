//! How much memory really is behind a range of addresses, in the kernel's words: Rss and Swap of
//! `/proc/PID/smaps`.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::ops::Range;

/// What the kernel counts behind some addresses.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Resident {
    /// Bytes in memory.
    pub rss_bytes: u64,
    /// Bytes in swap.
    pub swap_bytes: u64,
}

impl Resident {
    /// Memory and swap together: what a budget is compared with.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.rss_bytes.saturating_add(self.swap_bytes)
    }
}

/// What the kernel counts behind some addresses of a process, by its pid as seen from here.
///
/// A mapping that only partly lies in the ranges is counted whole; an arena's opened memory is
/// always mapped by itself. Memory that a forked child shares with its parent counts for both.
///
/// # Errors
/// No such process, or one whose memory this process may not look at.
pub fn resident_of_process(pid: u32, ranges: &[Range<u64>]) -> io::Result<Resident> {
    sum(
        BufReader::new(File::open(format!("/proc/{pid}/smaps"))?),
        ranges,
    )
}

/// The same for the calling process.
pub(crate) fn resident_here(ranges: &[Range<u64>]) -> io::Result<Resident> {
    sum(BufReader::new(File::open("/proc/self/smaps")?), ranges)
}

/// Reads a listing in the format of smaps: per mapping, in order of address, a line with its
/// addresses and then one line per figure.
fn sum(mut listing: impl BufRead, ranges: &[Range<u64>]) -> io::Result<Resident> {
    let last = ranges.iter().map(|range| range.end).max().unwrap_or(0);
    let mut total = Resident::default();
    let mut inside = false;
    let mut line = Vec::with_capacity(256);
    loop {
        line.clear();
        if listing.read_until(b'\n', &mut line)? == 0 {
            return Ok(total);
        }
        if let Some(mapping) = addresses(&line) {
            if mapping.start >= last {
                return Ok(total);
            }
            inside = ranges
                .iter()
                .any(|range| mapping.start < range.end && range.start < mapping.end);
        } else if inside {
            if let Some(bytes) = figure(&line, b"Rss:") {
                total.rss_bytes += bytes;
            } else if let Some(bytes) = figure(&line, b"Swap:") {
                total.swap_bytes += bytes;
            }
        }
    }
}

/// The addresses of a mapping's first line, `7f00-7f10 rw-p ...`.
fn addresses(line: &[u8]) -> Option<Range<u64>> {
    let word = line.split(|&byte| byte == b' ').next()?;
    let (start, end) = std::str::from_utf8(word).ok()?.split_once('-')?;
    let start = u64::from_str_radix(start, 16).ok()?;
    Some(start..u64::from_str_radix(end, 16).ok()?)
}

/// The figure of a line `Name:      12 kB`, in bytes.
fn figure(line: &[u8], name: &[u8]) -> Option<u64> {
    let rest = std::str::from_utf8(line.strip_prefix(name)?).ok()?;
    let kib: u64 = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = "\
10000-20000 rw-p 00000000 00:00 0    [anon: odd name: Rss: 7 kB]
Size:                 64 kB
Rss:                  12 kB
Swap:                  4 kB
SwapPss:               4 kB
VmFlags: rd wr mr mw me ac sd
20000-30000 ---p 00000000 00:00 0
Rss:                   0 kB
Swap:                  0 kB
7ff00000-7ff10000 rw-p 00000000 00:00 0
Rss:                  40 kB
Swap:                  8 kB
";

    #[test]
    #[allow(clippy::single_range_in_vec_init)]
    fn sums_what_lies_in_the_ranges() {
        let count = |ranges: &[Range<u64>]| sum(LISTING.as_bytes(), ranges).unwrap();
        let kib = |rss: u64, swap: u64| Resident {
            rss_bytes: rss << 10,
            swap_bytes: swap << 10,
        };
        assert_eq!(count(&[0x10000..0x20000]), kib(12, 4));
        assert_eq!(
            count(&[0x10000..0x20000, 0x7ff0_0000..0x7ff1_0000]),
            kib(52, 12)
        );
        assert_eq!(count(&[0x20000..0x30000]), kib(0, 0));
        assert_eq!(count(&[]), kib(0, 0));
    }
}
