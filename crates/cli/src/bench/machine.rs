//! The machine that the figures are of.

use std::fmt;
use std::fs;

use serde::Serialize;

use crate::bench::usage::field_bytes;
use vidmm_machine::ByteSize;

/// What a reader has to know of a machine to compare figures. What it does not tell is `unknown`
/// or 0.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) kernel: String,
    pub(crate) cpu: String,
    /// Those that this process may use.
    pub(crate) cores: usize,
    pub(crate) memory_bytes: u64,
    pub(crate) page_bytes: usize,
    /// `always`, `madvise` or `never`.
    pub(crate) huge_pages: String,
    pub(crate) vidmm: &'static str,
}

impl Machine {
    pub(crate) fn look() -> Self {
        let unknown = || "unknown".to_owned();
        let cpu = read("/proc/cpuinfo").and_then(|text| model(&text));
        let huge_pages = read("/sys/kernel/mm/transparent_hugepage/enabled");
        Self {
            kernel: read("/proc/sys/kernel/osrelease")
                .map_or_else(unknown, |text| text.trim_end().to_owned()),
            cpu: cpu.unwrap_or_else(unknown),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_bytes: field_bytes("/proc/meminfo", "MemTotal:").unwrap_or(0),
            page_bytes: crate::bench::page_bytes(),
            huge_pages: huge_pages
                .and_then(|text| chosen(&text))
                .unwrap_or_else(unknown),
            vidmm: env!("CARGO_PKG_VERSION"),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "vidmm {} on Linux {}, {}, {} cores, {} of memory, pages of {}, huge pages: {}",
            self.vidmm,
            self.kernel,
            self.cpu,
            self.cores,
            ByteSize(self.memory_bytes),
            ByteSize(self.page_bytes as u64),
            self.huge_pages
        )
    }
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// The first processor's name.
fn model(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo
        .lines()
        .find(|line| line.starts_with("model name") || line.starts_with("Processor"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The one in brackets.
fn chosen(choices: &str) -> Option<String> {
    let (_, rest) = choices.split_once('[')?;
    Some(rest.split_once(']')?.0.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_understood() {
        let cpuinfo = "processor\t: 0\nmodel name\t: Some CPU: 3 GHz\n";
        assert_eq!(model(cpuinfo).as_deref(), Some("Some CPU: 3 GHz"));
        assert_eq!(model("processor : 0\n"), None);
        assert_eq!(chosen("always [madvise] never").as_deref(), Some("madvise"));
        assert_eq!(chosen("always"), None);
    }
}
