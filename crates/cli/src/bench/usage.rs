//! What the kernel says of this process and of the machine.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::output::Failure;

/// CPU time of the calling thread.
pub(crate) fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Anonymous memory behind this process, in bytes, as `smaps_rollup` sums it up.
///
/// # Errors
/// The file cannot be read or does not say.
pub(crate) fn anonymous_bytes() -> Result<u64, Failure> {
    field_bytes("/proc/self/smaps_rollup", "Anonymous:")
}

/// Memory of the machine that is used for nothing at all, in bytes: `MemFree`, and the lists of free
/// pages that each core keeps for itself, which `MemFree` leaves out. A core may keep hundreds of
/// MiB.
///
/// # Errors
/// As [`anonymous_bytes`].
pub(crate) fn machine_free_bytes() -> Result<u64, Failure> {
    let zones = fs::read_to_string("/proc/zoneinfo").unwrap_or_default();
    let page_bytes = u64::try_from(crate::bench::page_bytes()).unwrap_or(0);
    Ok(field_bytes("/proc/meminfo", "MemFree:")? + kept_by_cores(&zones) * page_bytes)
}

/// The pages in the cores' own lists: the lines `count: N`.
fn kept_by_cores(zones: &str) -> u64 {
    zones
        .lines()
        .filter_map(|line| field(line.trim_start(), "count:"))
        .sum()
}

/// Memory of the machine that programs can have, in bytes.
///
/// # Errors
/// As [`anonymous_bytes`].
pub(crate) fn machine_available_bytes() -> Result<u64, Failure> {
    field_bytes("/proc/meminfo", "MemAvailable:")
}

/// The figure of a line like `MemFree:  123 kB`.
pub(crate) fn field_bytes(path: &str, name: &str) -> Result<u64, Failure> {
    let text =
        fs::read_to_string(path).map_err(|error| format!("{path} cannot be read: {error}"))?;
    field(&text, name)
        .map(|kib| kib << 10)
        .ok_or_else(|| format!("{path} has no line {name} with a number").into())
}

fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// The threads of this process, each with how often it was put on a core so far. A thread that
/// ends meanwhile is left out.
///
/// # Errors
/// The threads cannot be listed.
pub(crate) fn switches_of_threads() -> io::Result<BTreeMap<String, u64>> {
    switches_of("/proc/self/task")
}

/// As [`switches_of_threads`], of the process whose threads are listed there.
pub(crate) fn switches_of(tasks: &str) -> io::Result<BTreeMap<String, u64>> {
    let mut threads = BTreeMap::new();
    for entry in fs::read_dir(tasks)? {
        let path = entry?.path().join("status");
        let Ok(status) = fs::read_to_string(&path) else {
            continue;
        };
        let count = |name| field(&status, name).unwrap_or(0);
        let switches = count("voluntary_ctxt_switches:") + count("nonvoluntary_ctxt_switches:");
        threads.insert(path.display().to_string(), switches);
    }
    Ok(threads)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "nonvoluntary_ctxt_switches:\t7\nvoluntary_ctxt_switches:\t5\nMemFree: 3 kB\n";
        assert_eq!(field(text, "voluntary_ctxt_switches:"), Some(5));
        assert_eq!(field(text, "MemFree:"), Some(3));
        assert_eq!(field(text, "MemTotal:"), None);
        let zones =
            "  pagesets\n    cpu: 0\n       count:    15\n       high: 9\n       count: 2\n";
        assert_eq!(kept_by_cores(zones), 17);
    }

    #[test]
    fn the_kernel_tells_all_that_is_asked() {
        // Other tests of this process come and go meanwhile, but this block is there.
        let block = std::hint::black_box(vec![1_u8; 32 << 20]);
        assert!(anonymous_bytes().unwrap() >= 32 << 20);
        drop(block);
        assert!(machine_free_bytes().unwrap() > 0);
        assert!(machine_available_bytes().unwrap() > 0);
        assert!(!switches_of_threads().unwrap().is_empty());
        assert!(thread_time() > Duration::ZERO);
    }
}
