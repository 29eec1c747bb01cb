//! What a trace says of itself as a whole.

use serde::{Deserialize, Serialize};
use vidmm_trace::End;

use crate::spool::Spool;

/// What a trace of events says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Events in it.
    pub recorded: u64,
    /// Events that happened while it was recorded and are not in it. Of a process that was killed,
    /// what it had not written yet is in neither: see [`About::unfinished`].
    pub lost: u64,
    /// What to add to an event's time for nanoseconds since 1970.
    pub to_real_ns: u64,
    /// Whose events these are.
    pub processes: Vec<Process>,
}

/// One recording in a trace: a pool of a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The process, as it sees itself.
    pub pid: u32,
    /// Which of its pools, counted from 0.
    pub pool: u32,
    /// The name of the program.
    pub command: String,
    /// When recording began, in nanoseconds of the monotonic clock.
    pub start_ns: u64,
    /// How it ended.
    #[serde(with = "EndForm")]
    pub end: End,
    /// Its events in the trace.
    pub recorded: u64,
    /// Its events that are not.
    pub lost: u64,
    /// What stood behind the last whole frame of its spool, in bytes: it was cut there.
    pub unread_bytes: u64,
}

/// [`End`] as the metadata of a file have it.
#[derive(Serialize, Deserialize)]
#[serde(remote = "End", rename_all = "snake_case")]
enum EndForm {
    None,
    Regular,
    Failed(u32),
    Full,
}

impl About {
    /// What these spools come to together.
    #[must_use]
    pub fn of(spools: &[Spool]) -> Self {
        let processes: Vec<Process> = spools.iter().map(Process::of).collect();
        About {
            recorded: processes.iter().map(|process| process.recorded).sum(),
            lost: processes.iter().map(|process| process.lost).sum(),
            to_real_ns: spools.first().map_or(0, |spool| spool.header().to_real_ns),
            processes,
        }
    }

    /// How many recordings never came to their end: the process was killed, or still ran when the
    /// trace was made. What it did in its last moments, about a tenth of a second, is not in the
    /// trace, and nobody knows how much that was.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        let ends = self.processes.iter().map(|process| process.end);
        ends.filter(|end| *end == End::None).count()
    }

    /// How many recordings stopped before their process did, since the disk was full or the file
    /// had the size that it may have. What the process did after that is counted nowhere.
    #[must_use]
    pub fn stopped(&self) -> usize {
        let ends = self.processes.iter().map(|process| process.end);
        ends.filter(|end| matches!(end, End::Failed(_) | End::Full))
            .count()
    }
}

impl Process {
    fn of(spool: &Spool) -> Self {
        let header = spool.header();
        Process {
            pid: header.pid,
            pool: header.pool,
            command: header.command.clone(),
            start_ns: header.start_ns,
            end: spool.end(),
            recorded: spool.recorded(),
            lost: spool.lost(),
            unread_bytes: spool.unread_bytes(),
        }
    }
}
