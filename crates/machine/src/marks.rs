//! The marks of the slow check: how near a limit is too near. Pure figures.

use crate::cgroup::CgroupLevel;
use crate::files::MachineMemory;

/// A cgroup is short when less than one part in this many of its limit is left ...
pub const CGROUP_MARK_SHARE: u64 = 32;

/// ... or less than this many bytes, where that is more - but never more than a quarter of the
/// limit, so that a tiny cgroup is not short all the time.
pub const CGROUP_MARK_MIN_BYTES: u64 = 16 << 20;

/// A cgroup's mark is at most one part in this many of its limit.
const CGROUP_MARK_MAX_SHARE: u64 = 4;

/// The machine is short when less than one part in this many of its memory is available ...
pub const AVAILABLE_MARK_SHARE: u64 = 16;

/// ... or less than this many bytes, where that is less.
pub const AVAILABLE_MARK_MAX_BYTES: u64 = 512 << 20;

const _: () = assert!(CGROUP_MARK_SHARE >= CGROUP_MARK_MAX_SHARE);

/// Below how much headroom a cgroup with `limit_bytes` is short: the larger of 1/32 of the limit and
/// 16 MiB, at most a quarter of the limit.
#[must_use]
pub fn cgroup_mark_bytes(limit_bytes: u64) -> u64 {
    let share_bytes = limit_bytes / CGROUP_MARK_SHARE;
    share_bytes
        .max(CGROUP_MARK_MIN_BYTES)
        .min(limit_bytes / CGROUP_MARK_MAX_SHARE)
}

/// Below how much available memory a machine with `total_bytes` is short: the smaller of 1/16 of it
/// and 512 MiB.
#[must_use]
pub fn available_mark_bytes(total_bytes: u64) -> u64 {
    (total_bytes / AVAILABLE_MARK_SHARE).min(AVAILABLE_MARK_MAX_BYTES)
}

/// How many bytes a cgroup level lacks to its mark; 0 when it is not short.
pub(crate) fn cgroup_lack_bytes(level: &CgroupLevel) -> u64 {
    let over_limit_bytes = level.usage_bytes.saturating_sub(level.limit_bytes);
    let lack_bytes = cgroup_mark_bytes(level.limit_bytes).saturating_sub(level.headroom_bytes());
    // A throttling limit may be exceeded: what is above it has to go too.
    lack_bytes.saturating_add(over_limit_bytes)
}

/// How many bytes the machine lacks to its mark; 0 when it is not short.
pub(crate) fn available_lack_bytes(memory: &MachineMemory) -> u64 {
    available_mark_bytes(memory.total_bytes).saturating_sub(memory.available_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn cgroup_marks_at_the_bends() {
        assert_eq!(cgroup_mark_bytes(0), 0);
        assert_eq!(cgroup_mark_bytes(32 * MIB), 8 * MIB);
        assert_eq!(cgroup_mark_bytes(64 * MIB), 16 * MIB);
        assert_eq!(cgroup_mark_bytes(512 * MIB), 16 * MIB);
        assert_eq!(cgroup_mark_bytes(1024 * MIB), 32 * MIB);
        assert_eq!(cgroup_mark_bytes(u64::MAX), u64::MAX / 32);
    }

    #[test]
    fn available_marks_at_the_bends() {
        assert_eq!(available_mark_bytes(0), 0);
        assert_eq!(available_mark_bytes(1024 * MIB), 64 * MIB);
        assert_eq!(available_mark_bytes(8192 * MIB), 512 * MIB);
        assert_eq!(available_mark_bytes(u64::MAX), 512 * MIB);
    }

    #[test]
    fn what_is_above_a_throttling_limit_is_lacking_too() {
        let level = |usage_bytes| CgroupLevel {
            dir: "/".into(),
            limit_bytes: 512 * MIB,
            usage_bytes,
        };
        assert_eq!(cgroup_lack_bytes(&level(496 * MIB)), 0);
        assert_eq!(cgroup_lack_bytes(&level(497 * MIB)), MIB);
        assert_eq!(cgroup_lack_bytes(&level(512 * MIB)), 16 * MIB);
        assert_eq!(cgroup_lack_bytes(&level(520 * MIB)), 24 * MIB);
        assert_eq!(cgroup_lack_bytes(&level(u64::MAX)), u64::MAX - 496 * MIB);
    }
}
