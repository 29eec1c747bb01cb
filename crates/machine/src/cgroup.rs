//! What a memory cgroup allows and uses, over all the levels that charge this process.

use std::path::{Path, PathBuf};

use crate::error::MachineError;
use crate::read::{line_value, parse_number, read_number, read_optional};

/// Version 1 writes "no limit" as the largest page count in bytes, which depends on the page size;
/// no machine has this much memory.
const V1_NO_LIMIT_BYTES: u64 = 1 << 62;

/// Which cgroup interface the files follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CgroupVersion {
    /// `memory.limit_in_bytes` and its kin.
    V1,
    /// `memory.max`, `memory.high`, `memory.current`.
    V2,
}

/// The memory cgroup of this process, with every ancestor that can be seen.
///
/// Holds paths only; each question reads the files again. Any thread may ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup {
    version: CgroupVersion,
    /// The process's own folder first, the mount's folder last; never empty.
    levels: Vec<PathBuf>,
}

/// One level that has a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupLevel {
    /// The folder of the level.
    pub dir: PathBuf,
    /// The smaller of its hard limit and its throttling limit, in bytes. 0 is possible.
    pub limit_bytes: u64,
    /// What it is charged with, less the page cache that nobody has used lately, in bytes.
    pub usage_bytes: u64,
}

impl CgroupLevel {
    /// What is left below the limit, in bytes; 0 at or above it.
    #[must_use]
    pub fn headroom_bytes(&self) -> u64 {
        self.limit_bytes.saturating_sub(self.usage_bytes)
    }
}

impl Cgroup {
    /// `levels`: the process's own folder first, then its ancestors; at least one.
    pub(crate) fn new(version: CgroupVersion, levels: Vec<PathBuf>) -> Self {
        debug_assert!(!levels.is_empty(), "a cgroup has a folder");
        Self { version, levels }
    }

    /// Which interface it has.
    #[must_use]
    pub fn version(&self) -> CgroupVersion {
        self.version
    }

    /// The process's own folder, or the nearest ancestor that can be seen.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.levels[0]
    }

    /// The smallest limit of this cgroup and its ancestors in bytes; `None` where nothing limits it.
    ///
    /// # Errors
    /// A limit file exists and cannot be read, or holds neither a number nor `max`.
    pub fn limit_bytes(&self) -> Result<Option<u64>, MachineError> {
        let mut smallest: Option<u64> = None;
        for (_, limit_bytes) in self.limits()? {
            smallest = Some(smallest.map_or(limit_bytes, |known| known.min(limit_bytes)));
        }
        Ok(smallest)
    }

    /// What this cgroup uses in bytes: what it is charged with less `inactive_file`, the page cache
    /// that the kernel would drop first. `None` where no level counts (the root of version 2, or the
    /// memory controller is off).
    ///
    /// # Errors
    /// A file exists and cannot be read, or holds no number.
    pub fn usage_bytes(&self) -> Result<Option<u64>, MachineError> {
        for level in &self.levels {
            if let Some(usage_bytes) = self.level_usage_bytes(level)? {
                return Ok(Some(usage_bytes));
            }
        }
        Ok(None)
    }

    /// What is left below the tightest limit in bytes; `None` where nothing limits this cgroup.
    ///
    /// Each level's own limit is compared with that level's own use, so that a sibling which fills a
    /// common parent counts.
    ///
    /// # Errors
    /// As [`Cgroup::limit_bytes`] and [`Cgroup::usage_bytes`].
    pub fn headroom_bytes(&self) -> Result<Option<u64>, MachineError> {
        Ok(self
            .limited_levels()?
            .iter()
            .map(CgroupLevel::headroom_bytes)
            .min())
    }

    /// The levels that have a limit, the process's own first.
    ///
    /// # Errors
    /// As [`Cgroup::limit_bytes`] and [`Cgroup::usage_bytes`].
    pub fn limited_levels(&self) -> Result<Vec<CgroupLevel>, MachineError> {
        let mut levels = Vec::new();
        for (dir, limit_bytes) in self.limits()? {
            // Use is only read where a limit makes it matter: `memory.stat` is the dear one.
            if let Some(usage_bytes) = self.level_usage_bytes(dir)? {
                levels.push(CgroupLevel {
                    dir: dir.to_owned(),
                    limit_bytes,
                    usage_bytes,
                });
            }
        }
        Ok(levels)
    }

    fn limits(&self) -> Result<Vec<(&Path, u64)>, MachineError> {
        match self.version {
            CgroupVersion::V1 => self.v1_limits(),
            CgroupVersion::V2 => self.v2_limits(),
        }
    }

    fn v2_limits(&self) -> Result<Vec<(&Path, u64)>, MachineError> {
        let mut limits = Vec::new();
        for dir in &self.levels {
            let hard = v2_limit(dir, "memory.max")?;
            let throttling = v2_limit(dir, "memory.high")?;
            if let Some(limit_bytes) = [hard, throttling].into_iter().flatten().min() {
                limits.push((dir.as_path(), limit_bytes));
            }
        }
        Ok(limits)
    }

    fn v1_limits(&self) -> Result<Vec<(&Path, u64)>, MachineError> {
        let mut limits = Vec::new();
        for (height, dir) in self.levels.iter().enumerate() {
            // Before Linux 5.11 an ancestor might not charge for its children; above one that does
            // not, nobody does.
            let is_ancestor = height > 0;
            if is_ancestor
                && read_number(&dir.join("memory.use_hierarchy"), "use_hierarchy")? == Some(0)
            {
                break;
            }
            let field = "memory.limit_in_bytes";
            let own = read_number(&dir.join(field), field)?;
            // The kernel's own minimum over the ancestors, also those that this mount hides.
            let inherited = if is_ancestor {
                None
            } else {
                stat_value(dir, "hierarchical_memory_limit")?
            };
            let smaller = [own, inherited].into_iter().flatten().min();
            if let Some(limit_bytes) = smaller.filter(|&bytes| bytes < V1_NO_LIMIT_BYTES) {
                limits.push((dir.as_path(), limit_bytes));
            }
        }
        Ok(limits)
    }

    fn level_usage_bytes(&self, dir: &Path) -> Result<Option<u64>, MachineError> {
        let (charged_file, inactive_line) = match self.version {
            CgroupVersion::V1 => ("memory.usage_in_bytes", "total_inactive_file"),
            CgroupVersion::V2 => ("memory.current", "inactive_file"),
        };
        let Some(charged_bytes) = read_number(&dir.join(charged_file), charged_file)? else {
            return Ok(None);
        };
        let inactive_bytes = stat_value(dir, inactive_line)?.unwrap_or(0);
        // The two files are read at different instants.
        Ok(Some(charged_bytes.saturating_sub(inactive_bytes)))
    }
}

/// A version 2 limit; `None` for `max` and where there is no such file (the root has none).
fn v2_limit(dir: &Path, field: &'static str) -> Result<Option<u64>, MachineError> {
    let path = dir.join(field);
    match read_optional(&path)? {
        Some(text) if text.trim_ascii() == b"max" => Ok(None),
        Some(text) => parse_number(&path, field, &text).map(Some),
        None => Ok(None),
    }
}

/// A line of `memory.stat`; `None` where there is no such file or line.
fn stat_value(dir: &Path, field: &'static str) -> Result<Option<u64>, MachineError> {
    let path = dir.join("memory.stat");
    let Some(text) = read_optional(&path)? else {
        return Ok(None);
    };
    match line_value(&text, field) {
        Some(value) => parse_number(&path, field, value).map(Some),
        None => Ok(None),
    }
}
