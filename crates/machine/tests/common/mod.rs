//! A machine as a folder: the few files of `/proc` and of the cgroup file systems that are read.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use vidmm_machine::MachineFiles;

pub(crate) const MIB: u64 = 1 << 20;
pub(crate) const GIB: u64 = 1 << 30;

/// How version 1 writes "no limit" with pages of 4 KiB.
pub(crate) const V1_UNLIMITED: &str = "9223372036854771712\n";

/// A made-up machine; its folder goes with it.
pub(crate) struct FakeMachine {
    folder: TempDir,
}

impl FakeMachine {
    /// A machine of 16 GiB with 8 GiB available and nothing else.
    pub(crate) fn new() -> Self {
        let machine = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        machine.meminfo(16 * GIB, 8 * GIB);
        machine
    }

    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn files(&self) -> MachineFiles {
        MachineFiles {
            proc_root: self.root().join("proc"),
            cgroup_root: self.cgroup(""),
        }
    }

    /// The path of `below` in the cgroup root.
    pub(crate) fn cgroup(&self, below: &str) -> PathBuf {
        let mut path = self.root().join("cgroup");
        path.extend(Path::new(below).components());
        path
    }

    /// Writes a file below the machine's folder, with the folders it needs.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn meminfo(&self, total_bytes: u64, available_bytes: u64) {
        let (total, available) = (total_bytes / 1024, available_bytes / 1024);
        self.write(
            "proc/meminfo",
            &format!(
                "MemTotal:       {total} kB\nMemFree:        1024 kB\n\
                 MemAvailable:   {available} kB\nSwapTotal: 2048 kB\nSwapFree: 1024 kB\n\
                 HugePages_Total:       0\n"
            ),
        );
    }

    pub(crate) fn membership(&self, text: &str) {
        self.write("proc/self/cgroup", text);
    }

    /// Each mount as (root in the hierarchy, mount point, type, super options).
    pub(crate) fn mounts(&self, mounts: &[(&str, &str, &str, &str)]) {
        let mut text = "22 27 0:21 / /proc rw,relatime shared:5 - proc proc rw\n".to_owned();
        for (root, point, kind, options) in mounts {
            text += &format!(
                "35 31 0:32 {root} {point} rw,nosuid shared:9 - {kind} cgroup {options}\n"
            );
        }
        self.write("proc/self/mountinfo", &text);
    }

    /// A level of version 2, as a kernel shows it below the root.
    pub(crate) fn v2_level(
        &self,
        path: &str,
        max: &str,
        high: &str,
        current_bytes: u64,
        inactive_bytes: u64,
    ) {
        let file = |name: &str| format!("cgroup/{path}/{name}");
        self.write(&file("memory.max"), max);
        self.write(&file("memory.high"), high);
        self.write(&file("memory.current"), &format!("{current_bytes}\n"));
        let stat = format!("anon 1\ninactive_file {inactive_bytes}\nactive_file 7\n");
        self.write(&file("memory.stat"), &stat);
        self.write(&file("cgroup.events"), "populated 1\nfrozen 0\n");
    }

    /// A level of version 1.
    pub(crate) fn v1_level(
        &self,
        path: &str,
        limit: &str,
        usage_bytes: u64,
        inactive_bytes: u64,
        inherited: &str,
    ) {
        let file = |name: &str| format!("cgroup/{path}/{name}");
        self.write(&file("memory.limit_in_bytes"), limit);
        self.write(&file("memory.usage_in_bytes"), &format!("{usage_bytes}\n"));
        self.write(&file("memory.use_hierarchy"), "1\n");
        let stat = format!(
            "cache 1\ninactive_file 3\nhierarchical_memory_limit {inherited}\ntotal_inactive_file {inactive_bytes}\n"
        );
        self.write(&file("memory.stat"), &stat);
    }
}

/// The usual mount of version 2.
pub(crate) const V2_MOUNT: (&str, &str, &str, &str) =
    ("/", "/sys/fs/cgroup", "cgroup2", "rw,nsdelegate");

/// The usual mount of the memory controller of version 1.
pub(crate) const V1_MOUNT: (&str, &str, &str, &str) =
    ("/", "/sys/fs/cgroup/memory", "cgroup", "rw,memory");
