//! A file that is there whole or not at all: written beside its place, then put into it.

use std::fs::Permissions;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, getrlimit};
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
    written_bytes: u64,
    max_bytes: u64,
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
        Ok(Draft::of(path, file))
    }

    fn of(path: PathBuf, file: NamedTempFile) -> Self {
        Draft {
            path,
            file: BufWriter::with_capacity(BUFFER_BYTES, file),
            written_bytes: 0,
            max_bytes: getrlimit(Resource::Fsize).current.unwrap_or(u64::MAX),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What it means that it cannot be written.
    pub(crate) fn on_write(&self, error: &io::Error) -> TraceError {
        on_write(&self.path, error)
    }

    /// Puts it into its place; says how long it is, in bytes.
    ///
    /// # Errors
    /// The rest cannot be written, or the place not be taken.
    pub(crate) fn put(self) -> Result<u64, TraceError> {
        let path = self.path;
        let on_file = |error: &io::Error| on_write(&path, error);
        let file = self
            .file
            .into_inner()
            .map_err(|error| on_file(error.error()))?;
        // Some file systems say only now that they are full.
        file.as_file().sync_all().map_err(|error| on_file(&error))?;
        let bytes = file
            .as_file()
            .metadata()
            .map_err(|error| on_file(&error))?
            .len();
        file.persist(&path).map_err(|error| on_file(&error.error))?;
        Ok(bytes)
    }
}

/// What it means that a file cannot be written.
pub(crate) fn on_write(path: &Path, error: &io::Error) -> TraceError {
    let advice = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; make room",
        io::ErrorKind::FileTooLarge => "; the limit on the size of files is too low (ulimit -f)",
        _ => "",
    };
    let problem = format!("cannot be written: {error}{advice}");
    TraceError::new(path, Place::File, problem)
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Beyond the limit of the process a write would not fail but kill it.
        if self.written_bytes + bytes.len() as u64 > self.max_bytes {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let count = self.file.write(bytes)?;
        self.written_bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::about::About;
    use crate::parquet::{AccessWriter, EventWriter};

    /// A draft on a disk that is always full, and where it is.
    fn on_full_disk(directory: &Path) -> Draft {
        let (_, place) = NamedTempFile::new_in(directory).unwrap().into_parts();
        let full = std::fs::File::options()
            .write(true)
            .open("/dev/full")
            .unwrap();
        Draft::of(
            directory.join("trace"),
            NamedTempFile::from_parts(full, place),
        )
    }

    #[test]
    fn a_full_disk_is_said_and_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let full = || on_full_disk(directory.path());
        let text = || {
            let mut draft = full();
            let large = vec![0; 2 * BUFFER_BYTES];
            draft
                .write_all(&large)
                .map_err(|error| draft.on_write(&error))
        };
        let errors = [
            EventWriter::begin(full())
                .and_then(|writer| writer.finish(&About::default()))
                .and_then(Draft::put)
                .err(),
            AccessWriter::begin(full())
                .and_then(AccessWriter::finish)
                .and_then(Draft::put)
                .err(),
            text().err(),
        ];
        for error in errors {
            let error = error.unwrap().to_string();
            assert!(
                error.contains("trace") && error.contains("No space"),
                "{error}"
            );
            assert!(error.contains("make room"), "{error}");
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_limit_on_files_is_an_error_and_no_signal() {
        let directory = tempfile::tempdir().unwrap();
        let mut draft = Draft::new(&directory.path().join("trace")).unwrap();
        draft.max_bytes = 10;
        assert_eq!(draft.write(&[0; 10]).unwrap(), 10);
        let error = draft.write(&[0]).unwrap_err();
        assert!(draft.on_write(&error).to_string().contains("ulimit"));
        drop(draft);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_was_there_stays_until_there_is_something_new() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("trace");
        std::fs::write(&path, "old").unwrap();
        let mut draft = Draft::new(&path).unwrap();
        draft.write_all(b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(draft.put().unwrap(), 3);
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert!(Draft::new(directory.path()).is_err());
        assert!(Draft::new(&directory.path().join("no/trace")).is_err());
    }
}
