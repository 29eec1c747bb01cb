//! Writing traces.

use std::fmt;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::str::FromStr;

use crate::access::Access;
use crate::draft::Draft;
use crate::error::{Place, TraceError};
use crate::events::Events;
use crate::open::Accesses;
use crate::parquet::{AccessWriter, EventWriter};
use crate::perfetto::PerfettoWriter;

/// So many rows are written before it is asked whether to go on.
const ROWS_AT_ONCE: u64 = 8192;

/// A format in which traces are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Output {
    /// Columns, packed: events as events, accesses as accesses.
    Parquet,
    /// A trace for Perfetto: events only.
    Perfetto,
    /// Text, a line `time,id,size,cost` for each access; events become accesses.
    Csv,
}

impl Output {
    /// All of them.
    pub const ALL: [Output; 3] = [Output::Parquet, Output::Perfetto, Output::Csv];

    /// The name by which it is asked for.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Output::Parquet => "parquet",
            Output::Perfetto => "perfetto",
            Output::Csv => "csv",
        }
    }

    /// The ends of the names of its files.
    #[must_use]
    pub fn extensions(self) -> &'static [&'static str] {
        match self {
            Output::Parquet => &["parquet"],
            Output::Perfetto => &["perfetto-trace", "pftrace"],
            Output::Csv => &["csv"],
        }
    }

    /// What the end of a file's name says, if it says something.
    #[must_use]
    pub fn of_path(path: &Path) -> Option<Self> {
        let end = path.extension()?.to_str()?;
        Output::ALL.into_iter().find(|output| {
            let mut ends = output.extensions().iter();
            ends.any(|known| known.eq_ignore_ascii_case(end))
        })
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that names no format for writing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no format that is written; there are {}", names())]
pub struct ParseOutputError {
    text: String,
}

fn names() -> String {
    Output::ALL.map(Output::name).join(", ")
}

impl FromStr for Output {
    type Err = ParseOutputError;

    fn from_str(text: &str) -> Result<Self, ParseOutputError> {
        Output::ALL
            .into_iter()
            .find(|output| output.name().eq_ignore_ascii_case(text))
            .ok_or_else(|| ParseOutputError {
                text: text.chars().take(64).collect(),
            })
    }
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Events or accesses.
    pub rows: u64,
    /// The file's length, in bytes.
    pub bytes: u64,
}

/// Whether a trace can be written to `path` later: makes a file beside it that is gone at once.
///
/// # Errors
/// Why not.
pub fn check_output(path: &Path) -> Result<(), TraceError> {
    Draft::new(path).map(drop)
}

/// Writes a trace of events. `progress` is told now and then how much of the trace has been read, in
/// bytes, and may end it. The file is there whole or, after an error, not at all; what was there
/// before is replaced at the end.
///
/// # Errors
/// The trace cannot be read, the file not be written, or `progress` ended it.
pub fn write_events(
    mut events: Events,
    path: &Path,
    output: Output,
    mut progress: impl FnMut(u64) -> ControlFlow<()>,
) -> Result<Written, TraceError> {
    let mut writer = match output {
        Output::Csv => return write_accesses(Accesses::of_events(events), path, output, progress),
        Output::Parquet => {
            AnyEventWriter::Parquet(Box::new(EventWriter::begin(Draft::new(path)?)?))
        }
        Output::Perfetto => {
            let writer = PerfettoWriter::begin(Draft::new(path)?, events.about())?;
            AnyEventWriter::Perfetto(Box::new(writer))
        }
    };
    let mut rows = 0;
    while let Some(recorded) = events.next().transpose()? {
        match &mut writer {
            AnyEventWriter::Parquet(writer) => writer.push(&recorded)?,
            AnyEventWriter::Perfetto(writer) => writer.push(&recorded)?,
        }
        rows += 1;
        if rows % ROWS_AT_ONCE == 0 {
            go_on(path, progress(events.read_bytes()))?;
        }
    }
    let draft = match writer {
        AnyEventWriter::Parquet(writer) => writer.finish(events.about())?,
        AnyEventWriter::Perfetto(writer) => writer.finish(),
    };
    let bytes = draft.put()?;
    Ok(Written { rows, bytes })
}

/// Writes accesses, as [`write_events`] does events.
///
/// # Errors
/// As for events.
pub fn write_accesses(
    mut accesses: Accesses,
    path: &Path,
    output: Output,
    mut progress: impl FnMut(u64) -> ControlFlow<()>,
) -> Result<Written, TraceError> {
    if output == Output::Perfetto {
        let problem = "these are accesses only; a trace for Perfetto is made of events, as vidmm \
                       records them";
        return Err(TraceError::new(accesses.path(), Place::File, problem));
    }
    let draft = Draft::new(path)?;
    let mut writer = match output {
        Output::Parquet => AnyWriter::Parquet(Box::new(AccessWriter::begin(draft)?)),
        _ => AnyWriter::Csv(Lines::begin(draft)?),
    };
    let mut rows = 0;
    while let Some(access) = accesses.next().transpose()? {
        match &mut writer {
            AnyWriter::Parquet(writer) => writer.push(&access)?,
            AnyWriter::Csv(writer) => writer.push(&access)?,
        }
        rows += 1;
        if rows % ROWS_AT_ONCE == 0 {
            go_on(path, progress(accesses.read_bytes()))?;
        }
    }
    let draft = match writer {
        AnyWriter::Parquet(writer) => writer.finish()?,
        AnyWriter::Csv(writer) => writer.0,
    };
    let bytes = draft.put()?;
    Ok(Written { rows, bytes })
}

fn go_on(path: &Path, flow: ControlFlow<()>) -> Result<(), TraceError> {
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(TraceError::new(
            path,
            Place::File,
            "not written: it was ended before it was done",
        )),
    }
}

enum AnyEventWriter {
    Parquet(Box<EventWriter>),
    Perfetto(Box<PerfettoWriter>),
}

enum AnyWriter {
    Parquet(Box<AccessWriter>),
    Csv(Lines),
}

/// Accesses as comma-separated values.
struct Lines(Draft);

impl Lines {
    fn begin(draft: Draft) -> Result<Self, TraceError> {
        let mut lines = Lines(draft);
        let begun = lines.0.write_all(b"time,id,size,cost\n");
        lines.written(begun)?;
        Ok(lines)
    }

    fn push(&mut self, access: &Access) -> Result<(), TraceError> {
        let Access {
            time,
            id,
            size_bytes,
            cost,
        } = access;
        let written = match cost {
            Some(cost) => writeln!(self.0, "{time},{id},{size_bytes},{cost}"),
            // Not known.
            None => writeln!(self.0, "{time},{id},{size_bytes},"),
        };
        self.written(written)
    }

    fn written(&self, written: io::Result<()>) -> Result<(), TraceError> {
        written.map_err(|error| self.0.on_write(&error))
    }
}
