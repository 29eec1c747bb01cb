//! Where the machine's figures are read, and the machine-wide ones.

use std::path::{Path, PathBuf};

use crate::cgroup::Cgroup;
use crate::error::MachineError;
use crate::find;
use crate::psi;
use crate::read::{line_value, not_a_number, parse_number, read_required};

/// The roots under which everything is read: a test points them at a folder of its own.
///
/// Reading keeps no state; every call looks again. Any thread may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineFiles {
    /// The proc file system: `/proc` on a real machine.
    pub proc_root: PathBuf,
    /// What stands for `/sys/fs/cgroup` where `mountinfo` names it.
    pub cgroup_root: PathBuf,
}

impl Default for MachineFiles {
    fn default() -> Self {
        Self {
            proc_root: "/proc".into(),
            cgroup_root: "/sys/fs/cgroup".into(),
        }
    }
}

/// The machine's memory, from `/proc/meminfo`. All figures in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MachineMemory {
    /// Memory the kernel manages (`MemTotal`); at least 1.
    pub total_bytes: u64,
    /// What new work could get without swapping, by the kernel's estimate (`MemAvailable`); at most
    /// `total_bytes`.
    pub available_bytes: u64,
    /// Memory nobody uses for anything (`MemFree`).
    pub free_bytes: u64,
    /// Swap space (`SwapTotal`); 0 where there is none.
    pub swap_total_bytes: u64,
    /// Unused swap space (`SwapFree`).
    pub swap_free_bytes: u64,
}

/// Whose pressure-stall file is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PsiScope {
    /// The whole machine.
    Machine,
    /// The cgroup of this process, in the unified hierarchy.
    Cgroup,
}

impl MachineFiles {
    /// Reads the machine-wide figures.
    ///
    /// # Errors
    /// `/proc/meminfo` cannot be read, lacks `MemTotal` or `MemAvailable`, or holds something that is
    /// no number of kilobytes.
    pub fn memory(&self) -> Result<MachineMemory, MachineError> {
        let path = self.proc_root.join("meminfo");
        let text = read_required(&path)?;
        let required = |field| {
            kilobyte_line(&path, &text, field)?.ok_or_else(|| MachineError::Missing {
                path: path.clone(),
                field,
            })
        };
        let optional = |field| kilobyte_line(&path, &text, field).map(Option::unwrap_or_default);
        let total_bytes = required("MemTotal")?;
        if total_bytes == 0 {
            return Err(not_a_number(&path, "MemTotal", b"0 kB"));
        }
        Ok(MachineMemory {
            total_bytes,
            // Emulated files (containers) have been seen to disagree with themselves.
            available_bytes: required("MemAvailable")?.min(total_bytes),
            free_bytes: optional("MemFree")?,
            swap_total_bytes: optional("SwapTotal")?,
            swap_free_bytes: optional("SwapFree")?,
        })
    }

    /// The memory cgroup of this process: version 1 where the memory controller is there, else
    /// version 2. `None` where no cgroup file system is mounted, or none shows this process.
    ///
    /// A process may be moved: ask again rather than keep the answer for long.
    #[must_use]
    pub fn cgroup(&self) -> Option<Cgroup> {
        find::memory_cgroup(self)
    }

    /// The memory cgroup of the process `pid`, as far as this process's own mounts show it. `None`
    /// where they show none of it, or there is no such process.
    ///
    /// A process may be moved, and its number used again: ask again rather than keep the answer.
    #[must_use]
    pub fn cgroup_of(&self, pid: u32) -> Option<Cgroup> {
        find::memory_cgroup_of_process(self, pid)
    }

    /// The share of time in which some task of the machine stalled for memory, over the last ten
    /// seconds, in hundredths of a percent. `None` where the kernel does not tell.
    #[must_use]
    pub fn psi_some_avg10(&self) -> Option<u32> {
        let text = read_required(&self.psi_path(PsiScope::Machine)?).ok()?;
        psi::parse_some_avg10(&text)
    }

    /// The pressure-stall file of `scope`; it may not exist. `None` where the process has no cgroup
    /// of its own in the unified hierarchy (the root's pressure is the machine's).
    #[must_use]
    pub fn psi_path(&self, scope: PsiScope) -> Option<PathBuf> {
        match scope {
            PsiScope::Machine => Some(self.proc_root.join("pressure/memory")),
            PsiScope::Cgroup => {
                let dir = find::unified_dir(self)?;
                // Only the hierarchy's true root has no such file.
                dir.join("cgroup.events")
                    .exists()
                    .then(|| dir.join("memory.pressure"))
            }
        }
    }
}

/// The value of a `Name:   123 kB` line in bytes, `None` where there is no such line.
fn kilobyte_line(
    path: &Path,
    text: &[u8],
    field: &'static str,
) -> Result<Option<u64>, MachineError> {
    let Some(value) = line_value(text, field) else {
        return Ok(None);
    };
    let Some(number) = value.strip_suffix(b"kB") else {
        return Err(not_a_number(path, field, value));
    };
    let kilobytes = parse_number(path, field, number)?;
    let bytes = kilobytes
        .checked_mul(1024)
        .ok_or_else(|| not_a_number(path, field, value))?;
    Ok(Some(bytes))
}
