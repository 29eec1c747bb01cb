//! `--trace FILE` of `vidmm run` and `vidmm demo`: processes record into a directory of their own, and at
//! the end all that they recorded becomes one file.
//!
//! The directory is beside the file, since there is to be room for the trace; nobody else can enter it, and
//! it goes with the command, however that ends (but by SIGKILL).

use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use tempfile::TempDir;
use vidmm_machine::ByteSize;
use vidmm_tracefile::{Events, Output, check_output, write_events};

use crate::output::{Failure, note, printable};
use crate::progress::Progress;

/// The directory's mode: for this user only.
const MODE_PRIVATE: u32 = 0o700;
/// How much a step of the progress is, in bytes.
const STEP_BYTES: u64 = 1024;

/// A file that a trace is to go to, and in what form.
#[derive(Debug)]
pub(crate) struct Target {
    path: PathBuf,
    output: Output,
}

impl Target {
    /// Looks whether it can be written: Parquet, unless the end of the name says otherwise.
    ///
    /// # Errors
    /// It cannot.
    pub(crate) fn check(path: &Path) -> Result<Self, Failure> {
        check_output(path).map_err(|error| {
            format!("cannot write the trace to {error}; nothing was started; name another file")
        })?;
        Ok(Self {
            path: path.to_owned(),
            output: Output::of_path(path).unwrap_or(Output::Parquet),
        })
    }
}

/// What is being recorded.
#[derive(Debug)]
pub(crate) struct Recording {
    target: Target,
    directory: TempDir,
}

/// What was recorded. The names of the fields are a promise, in JSON: they stay.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Written {
    path: String,
    /// Events in the file (or that its accesses were made of).
    recorded: u64,
    /// Events that happened and are not.
    lost: u64,
    /// The length of the file, in bytes.
    bytes: u64,
    /// Pools that recorded: usually one for each process.
    processes: usize,
    /// Of these, those that were killed or still ran.
    unfinished: usize,
    /// Of these, those that could not write on.
    stopped: usize,
}

impl Recording {
    /// Makes the directory.
    ///
    /// # Errors
    /// It cannot be made.
    pub(crate) fn begin(target: Target) -> Result<Self, Failure> {
        let beside = match target.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        // Processes may be anywhere when they begin to record.
        let made = std::path::absolute(beside).and_then(|beside| {
            tempfile::Builder::new()
                .prefix(".vidmm-trace-")
                .permissions(std::fs::Permissions::from_mode(MODE_PRIVATE))
                .tempdir_in(beside)
        });
        let directory = made.map_err(|error| {
            format!(
                "cannot make a directory beside {} to record into: {error}; name another file",
                target.path.display()
            )
        })?;
        Ok(Self { target, directory })
    }

    /// Where processes are to record.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// As [`Recording::finish`], if there is one, for whoever has a report to give before a failure.
    pub(crate) fn finish_some(this: Option<Self>) -> (Option<Written>, Result<(), Failure>) {
        match this.map(Self::finish).transpose() {
            Ok(written) => (written, Ok(())),
            Err(failure) => (None, Err(failure)),
        }
    }

    /// Makes the file of all that was recorded.
    ///
    /// # Errors
    /// What was recorded cannot be read, or the file not be written; a signal to end.
    fn finish(self) -> Result<Written, Failure> {
        let Target { path, output } = &self.target;
        let events = Events::in_directory(self.directory.path())?;
        for error in events.unreadable() {
            note(&format!("vidmm: not in the trace: {error}"));
        }
        let about = events.about().clone();
        let mut watched = Watched::begin("writing the trace (KiB):", events.total_bytes())?;
        let written = write_events(events, path, *output, |bytes| watched.show(bytes))?;
        Ok(Written {
            path: path.to_string_lossy().into_owned(),
            recorded: about.recorded,
            lost: about.lost,
            bytes: written.bytes,
            processes: about.processes.len(),
            unfinished: about.unfinished(),
            stopped: about.stopped(),
        })
    }
}

impl Written {
    /// A line for people.
    pub(crate) fn in_words(&self) -> String {
        let mut text = format!(
            "{}: {} events of {}, {} lost, {}",
            printable(&self.path),
            self.recorded,
            of_processes(self.processes),
            self.lost,
            ByteSize(self.bytes),
        );
        text.push_str(&endings(self.unfinished, self.stopped));
        text
    }
}

pub(crate) fn of_processes(count: usize) -> String {
    match count {
        1 => "1 process".to_owned(),
        _ => format!("{count} processes"),
    }
}

/// What is to be known of recordings that did not come to their end.
pub(crate) fn endings(unfinished: usize, stopped: usize) -> String {
    let mut text = String::new();
    if unfinished > 0 {
        text.push_str(&format!(
            "; {unfinished} unfinished (killed, or still at it): what they did last is neither in it nor \
             counted as lost"
        ));
    }
    if stopped > 0 {
        text.push_str(&format!(
            "; {stopped} could not write on: what they did then is neither in it nor counted as lost"
        ));
    }
    text
}

/// Writing that is shown, and ends when a signal asks for it.
#[derive(Debug)]
pub(crate) struct Watched {
    progress: Progress,
    interrupted: Arc<AtomicBool>,
}

impl Watched {
    /// Begins to write something of `total_bytes`.
    ///
    /// # Errors
    /// Signals cannot be caught.
    pub(crate) fn begin(stage: &'static str, total_bytes: u64) -> Result<Self, Failure> {
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
        }
        Ok(Self {
            progress: Progress::begin(stage, total_bytes.div_ceil(STEP_BYTES)),
            interrupted,
        })
    }

    /// Shows how far it is; says whether to go on.
    pub(crate) fn show(&mut self, bytes: u64) -> ControlFlow<()> {
        self.progress.show(bytes / STEP_BYTES, String::new);
        match self.interrupted.load(Ordering::Relaxed) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_recorded_is_said() {
        let mut written = Written {
            path: "a\x1b.parquet".to_owned(),
            recorded: 12,
            lost: 3,
            bytes: 2048,
            processes: 1,
            unfinished: 0,
            stopped: 0,
        };
        assert_eq!(
            written.in_words(),
            "a?.parquet: 12 events of 1 process, 3 lost, 2 KiB"
        );
        written.unfinished = 1;
        written.stopped = 2;
        let text = written.in_words();
        assert!(text.contains("1 unfinished") && text.contains("2 could not write on"));
    }

    #[test]
    fn a_directory_is_made_beside_the_file_and_goes() {
        let place = tempfile::tempdir().unwrap();
        let target = Target::check(&place.path().join("x.pftrace")).unwrap();
        assert_eq!(target.output, Output::Perfetto);
        let recording = Recording::begin(target).unwrap();
        let directory = recording.directory().to_owned();
        assert!(directory.is_dir() && directory.parent() == Some(place.path()));
        drop(recording);
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
        let refused = Target::check(&place.path().join("no/x")).unwrap_err();
        assert!(refused.to_string().contains("nothing was started"));
    }

    #[test]
    fn nothing_recorded_is_a_trace_of_nothing() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("x.any");
        let target = Target::check(&path).unwrap();
        let written = Recording::begin(target).unwrap().finish().unwrap();
        assert_eq!((written.recorded, written.processes), (0, 0));
        let events = vidmm_tracefile::open(&path, None).unwrap();
        assert_eq!(events.count(), 0);
    }
}
