//! What `/proc` tells of another process: small files, read without waiting.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use vidmm_machine::MachineFiles;

/// No file that is read here is longer; `cgroup` has a path of at most 4,096 bytes in it.
const FILE_BYTES_MAX: u64 = 16 << 10;

/// A name is cut to so many bytes.
const NAME_BYTES_MAX: usize = 64;

/// Reads about processes.
#[derive(Debug, Clone)]
pub(crate) struct Processes {
    files: MachineFiles,
    page_bytes: u64,
}

/// What rules of the configuration look at; read only where a rule does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Facets {
    /// The path of its cgroup in the unified hierarchy, else in that of the memory controller.
    pub(crate) cgroup: Option<String>,
    /// The file that it runs.
    pub(crate) executable: Option<PathBuf>,
}

impl Processes {
    pub(crate) fn new(files: MachineFiles) -> Self {
        let page_bytes = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
        Processes { files, page_bytes }
    }

    fn path(&self, pid: u32, name: &str) -> PathBuf {
        self.files.proc_root.join(pid.to_string()).join(name)
    }

    fn read(&self, pid: u32, name: &str) -> Option<Vec<u8>> {
        // Read at once: the kernel makes the text anew for every small piece.
        let mut bytes = Vec::with_capacity(4096);
        let file = File::open(self.path(pid, name)).ok()?;
        file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    /// When the process started, in clock ticks since boot; `None`: there is no such process, or it
    /// is a zombie, or `/proc` hides it.
    pub(crate) fn started_ticks(&self, pid: u32) -> Option<u64> {
        parse_stat(&self.read(pid, "stat")?)
    }

    /// Its name, fit for a terminal; empty if there is none.
    pub(crate) fn name(&self, pid: u32) -> String {
        let bytes = self.read(pid, "comm").unwrap_or_default();
        clean_name(&String::from_utf8_lossy(&bytes))
    }

    /// What the kernel counts for it, resident and swapped, in bytes.
    pub(crate) fn resident_bytes(&self, pid: u32) -> Option<u64> {
        let statm = self.read(pid, "statm")?;
        let pages: u64 = number(statm.split(|&b| b == b' ').nth(1)?)?;
        let status = self.read(pid, "status").unwrap_or_default();
        Some(
            pages
                .saturating_mul(self.page_bytes)
                .saturating_add(swapped_bytes(&status)),
        )
    }

    /// The path of its cgroup.
    pub(crate) fn cgroup(&self, pid: u32) -> Option<String> {
        parse_cgroup(&String::from_utf8_lossy(&self.read(pid, "cgroup")?))
    }

    /// The file that it runs. Where this process may not know (Landlock, another user's process)
    /// there is none.
    pub(crate) fn executable(&self, pid: u32) -> Option<PathBuf> {
        std::fs::read_link(self.path(pid, "exe")).ok()
    }

    /// Its memory cgroup.
    pub(crate) fn memory_cgroup(&self, pid: u32) -> Option<vidmm_machine::Cgroup> {
        self.files.cgroup_of(pid)
    }
}

/// The 22nd field of `stat`. The second is a name in parentheses that may have anything in it, so
/// the last parenthesis counts. A zombie holds no memory and counts as gone.
fn parse_stat(bytes: &[u8]) -> Option<u64> {
    let close = bytes.iter().rposition(|&byte| byte == b')')?;
    let mut fields = bytes.get(close + 2..)?.split(|&byte| byte == b' ');
    let state = fields.next()?;
    if matches!(state, b"Z" | b"X" | b"x") {
        return None;
    }
    // `state` is the third field.
    number(fields.nth(22 - 4)?)
}

fn number(field: &[u8]) -> Option<u64> {
    std::str::from_utf8(field.trim_ascii()).ok()?.parse().ok()
}

fn swapped_bytes(status: &[u8]) -> u64 {
    let line = status
        .split(|&byte| byte == b'\n')
        .find_map(|line| line.strip_prefix(b"VmSwap:"));
    let kilobytes = line
        .and_then(|line| line.trim_ascii().strip_suffix(b"kB"))
        .and_then(number);
    kilobytes.unwrap_or(0).saturating_mul(1024)
}

fn parse_cgroup(text: &str) -> Option<String> {
    let unified = text.lines().find_map(|line| line.strip_prefix("0::"));
    let memory = || {
        text.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let controllers = fields.next()?;
            let path = fields.next()?;
            controllers
                .split(',')
                .any(|controller| controller == "memory")
                .then_some(path)
        })
    };
    // In a hybrid set-up services sit in both; the root says nothing.
    unified
        .filter(|path| *path != "/")
        .or_else(memory)
        .or(unified)
        .map(str::to_owned)
}

/// At most 64 bytes, nothing that moves a terminal's cursor or turns its direction.
pub(crate) fn clean_name(text: &str) -> String {
    let mut name = String::new();
    for c in text.trim_end_matches('\n').chars() {
        let turns = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
        let shown = if c.is_control() || turns { '?' } else { c };
        if name.len() + shown.len_utf8() > NAME_BYTES_MAX {
            break;
        }
        name.push(shown);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_is_found_whatever_the_process_calls_itself() {
        let tail = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20";
        for name in ["a", "a) R 1 2 3", "(", ") ) )", ""] {
            let line = format!("77 ({name}) {tail}");
            assert_eq!(parse_stat(line.as_bytes()), Some(4242), "{name}");
        }
        assert_eq!(
            parse_stat(b"77 (a) Z 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242"),
            None
        );
        for broken in [&b""[..], b"77", b"77 (a)", b"77 (a) S 1", b")", b") "] {
            assert_eq!(parse_stat(broken), None);
        }
    }

    #[test]
    fn this_process_is_found() {
        let processes = Processes::new(MachineFiles::default());
        let me = std::process::id();
        assert!(processes.started_ticks(me).is_some_and(|ticks| ticks > 0));
        assert!(
            processes
                .resident_bytes(me)
                .is_some_and(|bytes| bytes > 1 << 16)
        );
        assert_eq!(processes.executable(me), std::env::current_exe().ok());
        assert!(!processes.name(me).is_empty());
        assert_eq!(processes.started_ticks(u32::MAX), None);
        assert_eq!(processes.resident_bytes(u32::MAX), None);
    }

    #[test]
    fn swap_is_counted_where_it_is_told() {
        assert_eq!(
            swapped_bytes(b"VmRSS:\t5 kB\nVmSwap:\t      12 kB\nX: 1"),
            12 << 10
        );
        assert_eq!(swapped_bytes(b"VmRSS:\t5 kB\n"), 0);
        assert_eq!(swapped_bytes(b"VmSwap:\tx kB\n"), 0);
    }

    #[test]
    fn names_are_safe_to_show() {
        assert_eq!(clean_name("a\u{1b}[2Jb\u{202e}\n"), "a?[2Jb?");
        assert_eq!(clean_name(&"ü".repeat(100)).len(), 64);
    }

    #[test]
    fn the_cgroup_of_both_hierarchies() {
        assert_eq!(parse_cgroup("0::/a/b\n").as_deref(), Some("/a/b"));
        let hybrid = "5:cpu,memory:/m\n0::/\n";
        assert_eq!(parse_cgroup(hybrid).as_deref(), Some("/m"));
        assert_eq!(parse_cgroup("0::/\n").as_deref(), Some("/"));
        assert_eq!(parse_cgroup("nonsense"), None);
    }
}
