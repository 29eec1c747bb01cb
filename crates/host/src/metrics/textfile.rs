//! Figures as a file, for a collector that reads files.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use vidmm_manager::Millis;

/// The file is written so often at most.
const EVERY_MS: u64 = 5000;

/// A file that always has a whole set of figures in it.
#[derive(Debug)]
pub(crate) struct Textfile {
    path: PathBuf,
    next: Millis,
    failed: bool,
}

impl Textfile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Textfile {
            path,
            next: Millis(0),
            failed: false,
        }
    }

    pub(crate) fn path(&self) -> &PathBuf {
        &self.path
    }

    /// When it is to be written, given that something has changed.
    pub(crate) fn deadline(&self) -> Millis {
        self.next
    }

    /// Writes it if it is time; `Some`: it was, and how it went (a failure is told once).
    pub(crate) fn write(&mut self, now: Millis, text: &str) -> Result<(), io::Error> {
        self.next = Millis(now.0.saturating_add(EVERY_MS));
        let result = self.replace(text);
        let again = std::mem::replace(&mut self.failed, result.is_err());
        match result {
            Err(_) if again => Ok(()),
            other => other,
        }
    }

    fn replace(&self, text: &str) -> io::Result<()> {
        let mut name = self.path.as_os_str().to_owned();
        name.push(".new");
        let new = PathBuf::from(name);
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o644)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC)
            .open(&new)?;
        file.write_all(text.as_bytes())?;
        drop(file);
        std::fs::rename(&new, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_file_each_time_and_a_failure_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("in/vidmm.prom");
        let mut textfile = Textfile::new(path.clone());
        assert!(textfile.write(Millis(0), "a").is_err());
        assert!(textfile.write(Millis(5000), "a").is_ok(), "told once");
        std::fs::create_dir(dir.path().join("in")).unwrap();
        textfile.write(Millis(10_000), "figures\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "figures\n");
        assert_eq!(textfile.deadline(), Millis(15_000));
        textfile.write(Millis(15_000), "x\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "x\n");
        assert_eq!(std::fs::read_dir(dir.path().join("in")).unwrap().count(), 1);
    }
}
