//! Traces of events, wherever they are: a Parquet file, a spool, a directory of spools.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use vidmm_trace::EVENT_BYTES;

use crate::about::About;
use crate::access::Access;
use crate::error::{Place, Problem, TraceError};
use crate::format::Format;
use crate::import::Import;
use crate::merge::{Merged, Recorded, merge};
use crate::parquet;
use crate::spool::Spool;
use crate::uses::Uses;

/// The end of a spool's name.
const SPOOL_EXTENSION: &str = "vtrace";

/// The spools in a directory (`*.vtrace`), by name; and why others of that name cannot be read: of a
/// process that was killed while it made one, or of another version.
///
/// # Errors
/// The directory cannot be read.
pub fn spools_in(directory: &Path) -> Result<(Vec<Spool>, Vec<TraceError>), TraceError> {
    let on_directory = |error| TraceError::io(directory, Place::File, &error);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(on_directory)? {
        let path = entry.map_err(on_directory)?.path();
        if path.extension().is_some_and(|end| end == SPOOL_EXTENSION) {
            paths.push(path);
        }
    }
    paths.sort();
    let (mut spools, mut unreadable) = (Vec::new(), Vec::new());
    for path in paths {
        match Spool::open(&path) {
            Ok(spool) => spools.push(spool),
            Err(error) => unreadable.push(error),
        }
    }
    Ok((spools, unreadable))
}

/// The events of a trace in the order of time. After an error there are no more.
pub struct Events {
    path: PathBuf,
    source: Source,
    about: About,
    unreadable: Vec<TraceError>,
    read_bytes: Arc<AtomicU64>,
    total_bytes: u64,
    ended: bool,
}

enum Source {
    File(Box<parquet::Events>),
    Spools(Box<Merged<Vec<Spool>>>),
}

impl Events {
    /// The events of these spools together; `path` stands for them in errors.
    #[must_use]
    pub fn of_spools(path: &Path, spools: Vec<Spool>) -> Self {
        let about = About::of(&spools);
        Events {
            path: path.to_owned(),
            total_bytes: about.recorded.saturating_mul(EVENT_BYTES as u64),
            about,
            unreadable: Vec::new(),
            source: Source::Spools(Box::new(merge(spools))),
            read_bytes: Arc::default(),
            ended: false,
        }
    }

    /// The events of all spools in a directory; see [`Events::unreadable`] for those that are left
    /// out. There may be none at all.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn in_directory(directory: &Path) -> Result<Self, TraceError> {
        let (spools, unreadable) = spools_in(directory)?;
        Ok(Events {
            unreadable,
            ..Self::of_spools(directory, spools)
        })
    }

    pub(crate) fn of_file(
        path: &Path,
        events: Box<parquet::Events>,
        read_bytes: Arc<AtomicU64>,
        total_bytes: u64,
    ) -> Self {
        Events {
            path: path.to_owned(),
            about: events.about().clone(),
            unreadable: Vec::new(),
            source: Source::File(events),
            read_bytes,
            total_bytes,
            ended: false,
        }
    }

    /// The file or directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the trace says of itself.
    #[must_use]
    pub fn about(&self) -> &About {
        &self.about
    }

    /// Why spools of its directory are left out.
    #[must_use]
    pub fn unreadable(&self) -> &[TraceError] {
        &self.unreadable
    }

    pub(crate) fn into_unreadable(self) -> Option<TraceError> {
        self.unreadable.into_iter().next()
    }

    /// How much has been read so far, in bytes as they lie on the disk, about.
    #[must_use]
    pub fn read_bytes(&self) -> u64 {
        self.read_bytes.load(Ordering::Relaxed)
    }

    /// How much there is, in bytes, about.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// Its format.
    #[must_use]
    pub fn format(&self) -> Format {
        match self.source {
            Source::File(_) => Format::Parquet,
            Source::Spools(_) => Format::Spool,
        }
    }

    pub(crate) fn counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.read_bytes)
    }

    fn read(&mut self) -> Result<Option<Recorded>, Problem> {
        match &mut self.source {
            Source::File(events) => events.next(),
            Source::Spools(events) => match events.next() {
                None => Ok(None),
                Some(Ok(recorded)) => {
                    let length = EVENT_BYTES as u64;
                    self.read_bytes.fetch_add(length, Ordering::Relaxed);
                    Ok(Some(recorded))
                }
                Some(Err(error)) if error.path == self.path => {
                    Err(Problem::Content(error.place, error.problem))
                }
                // One of several.
                Some(Err(error)) => Err(Problem::Content(Place::File, error.to_string())),
            },
        }
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events")
            .field("path", &self.path)
            .field("about", &self.about)
            .finish_non_exhaustive()
    }
}

impl Iterator for Events {
    type Item = Result<Recorded, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let taken = self.read();
        self.ended = !matches!(taken, Ok(Some(_)));
        taken.map_err(|problem| problem.of(&self.path)).transpose()
    }
}

impl std::iter::FusedIterator for Events {}

/// The accesses that events stand for.
pub(crate) struct Used {
    events: Events,
    uses: Uses,
}

impl Used {
    pub(crate) fn new(events: Events) -> Self {
        Used {
            events,
            uses: Uses::default(),
        }
    }
}

impl Import for Used {
    fn next(&mut self) -> Result<Option<Access>, Problem> {
        loop {
            if let Some(access) = self.uses.pop() {
                return Ok(Some(access));
            }
            if self.events.ended {
                return Ok(None);
            }
            match self.events.read()? {
                Some(recorded) => self.uses.push(&recorded),
                None => {
                    self.events.ended = true;
                    self.uses.end();
                }
            }
        }
    }
}

/// A file and how it is to be read, for whoever has looked at its beginning.
pub(crate) fn open_spool(path: &Path) -> Result<Events, TraceError> {
    Ok(Events::of_spools(path, vec![Spool::open(path)?]))
}

/// What a Parquet file has.
pub(crate) enum Columns {
    Events(Events),
    Accesses {
        import: Box<dyn Import>,
        read_bytes: Arc<AtomicU64>,
    },
}

pub(crate) fn open_parquet(
    path: &Path,
    file: File,
    total_bytes: u64,
) -> Result<Columns, TraceError> {
    let read_bytes = Arc::new(AtomicU64::new(0));
    let content = parquet::open(file, Arc::clone(&read_bytes));
    Ok(match content.map_err(|problem| problem.of(path))? {
        parquet::Content::Events(events) => {
            Columns::Events(Events::of_file(path, events, read_bytes, total_bytes))
        }
        parquet::Content::Accesses(import) => Columns::Accesses { import, read_bytes },
    })
}
