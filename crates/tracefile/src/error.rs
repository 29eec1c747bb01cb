//! What can be wrong with a trace, and where.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Where in a file something is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the file as a whole.
    File,
    /// In this line, counted from 1, of the unpacked text.
    Line(u64),
    /// At this byte, counted from 0, of the unpacked content.
    Byte(u64),
    /// About at this byte, counted from 0, of the file as it lies on the disk.
    PackedByte(u64),
    /// In this row, counted from 0.
    Row(u64),
}

/// Why a trace cannot be read or written: which file, where in it, what is wrong.
#[derive(Debug, thiserror::Error)]
#[error("{}{place}: {problem}", path.display())]
pub struct TraceError {
    /// The file.
    pub path: PathBuf,
    /// Where in it.
    pub place: Place,
    /// What is wrong there.
    pub problem: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File => Ok(()),
            Place::Line(line) => write!(f, ", line {line}"),
            Place::Byte(offset) => write!(f, ", byte {offset}"),
            Place::PackedByte(offset) => write!(f, ", about byte {offset} of the packed file"),
            Place::Row(row) => write!(f, ", row {row}"),
        }
    }
}

impl TraceError {
    pub(crate) fn new(path: &Path, place: Place, problem: impl Into<String>) -> Self {
        TraceError {
            path: path.to_owned(),
            place,
            problem: problem.into(),
        }
    }

    pub(crate) fn io(path: &Path, place: Place, error: &io::Error) -> Self {
        Self::new(path, place, error.to_string())
    }
}

/// What an importer found wrong, before it is known in which file.
#[derive(Debug)]
pub(crate) enum Problem {
    /// The content does not have the form that it should.
    Content(Place, String),
    /// The bytes cannot be had: the disk, or a damaged packing.
    Read(io::Error),
}

impl Problem {
    /// As an error of this file, which is not packed.
    pub(crate) fn of(self, path: &Path) -> TraceError {
        match self {
            Problem::Content(place, problem) => TraceError::new(path, place, problem),
            Problem::Read(error) => TraceError::io(path, Place::File, &error),
        }
    }

    pub(crate) fn line(line: u64, problem: impl Into<String>) -> Self {
        Problem::Content(Place::Line(line), problem.into())
    }
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Problem::Read(error)
    }
}

/// So much of a wrong field is repeated in an error.
const ECHO_CHARS_MAX: usize = 40;

/// A field as an error shows it: quoted, and cut if it is long.
pub(crate) fn echo(field: &[u8]) -> String {
    let text = String::from_utf8_lossy(&field[..field.len().min(4 * ECHO_CHARS_MAX)]);
    let cut: String = text.chars().take(ECHO_CHARS_MAX).collect();
    if cut.len() < text.len() || field.len() > 4 * ECHO_CHARS_MAX {
        format!("{cut:?}...")
    } else {
        format!("{cut:?}")
    }
}
