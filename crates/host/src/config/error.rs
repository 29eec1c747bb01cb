//! What is wrong with a configuration, and where.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The characters of an offending text that a message repeats.
const ECHO_CHARS_MAX: usize = 64;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel answered, or what it is.
        source: io::Error,
    },
    /// Something in it is wrong.
    #[error("{place}: {why}")]
    Wrong {
        /// Where.
        place: Place,
        /// What, and what to write instead.
        why: String,
    },
}

/// A place in a file: `FILE:LINE:COLUMN, at "TEXT"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    path: PathBuf,
    /// Counted from 1.
    line: usize,
    /// In characters, counted from 1.
    column: usize,
    text: String,
}

impl Place {
    /// `span` in bytes of `text`; none is the end.
    pub(super) fn new(path: &Path, text: &str, span: Option<Range<usize>>) -> Self {
        let span = span.unwrap_or(text.len()..text.len());
        let start = (0..=span.start.min(text.len()))
            .rev()
            .find(|&at| text.is_char_boundary(at))
            .unwrap_or(0);
        let before = &text[..start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        // The rest of the line says more than the one character that a parser stumbled upon; where
        // something is missing at its end, the line does.
        let end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let rest = text[start..end].trim();
        let shown = match rest.is_empty() {
            true => text[line_start..end].trim(),
            false => rest,
        };
        Place {
            path: path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            text: shown.chars().take(ECHO_CHARS_MAX).collect(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.path.display(), self.line, self.column)?;
        match self.text.is_empty() {
            true => Ok(()),
            false => write!(f, ", at {:?}", self.text),
        }
    }
}
