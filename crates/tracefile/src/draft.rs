//! A file that is there whole or not at all: written beside its place, then put into it.

use std::fs::Permissions;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::{Place, TraceError};

/// As for any new file: the process's mask takes away what it does not want to give.
const MODE: u32 = 0o666;
const BUFFER_BYTES: usize = 256 << 10;

/// A file that is being written. Dropped without [`Draft::put`], it is gone.
#[derive(Debug)]
pub(crate) struct Draft {
    path: PathBuf,
    file: BufWriter<NamedTempFile>,
}

impl Draft {
    /// Begins a file for `path`.
    ///
    /// # Errors
    /// No file can be made there, or there is something that is none.
    pub(crate) fn new(path: &Path) -> Result<Self, TraceError> {
        // Through links, to what they mean.
        let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if std::fs::metadata(&path).is_ok_and(|about| !about.is_file()) {
            let problem = "this is no regular file; a trace is written beside its place and then \
                           put there, so name a file";
            return Err(TraceError::new(&path, Place::File, problem));
        }
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let made = tempfile::Builder::new()
            .prefix(".vidmm-trace-")
            .permissions(Permissions::from_mode(MODE))
            .tempfile_in(directory);
        let file = made.map_err(|error| TraceError::io(&path, Place::File, &error))?;
        Ok(Draft {
            path,
            file: BufWriter::with_capacity(BUFFER_BYTES, file),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts it into its place; says how long it is, in bytes.
    ///
    /// # Errors
    /// The rest cannot be written, or the place not be taken.
    pub(crate) fn put(self) -> Result<u64, TraceError> {
        let path = self.path;
        let on_file = |error: &io::Error| TraceError::io(&path, Place::File, error);
        let file = self
            .file
            .into_inner()
            .map_err(|error| on_file(error.error()))?;
        let bytes = file
            .as_file()
            .metadata()
            .map_err(|error| on_file(&error))?
            .len();
        file.persist(&path).map_err(|error| on_file(&error.error))?;
        Ok(bytes)
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
