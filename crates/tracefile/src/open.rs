//! Opening a trace, whatever its packing and format.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use vidmm_trace::SPOOL_MAGIC;

use crate::access::Access;
use crate::detect::{SAMPLE_BYTES, detect};
use crate::error::{Place, Problem, TraceError};
use crate::events::{Columns, Events, Used, open_parquet, open_spool};
use crate::format::Format;
use crate::import::{Import, import};
use crate::packing::{BUFFER_BYTES, Content, Counted, Packing, unpack};
use crate::parquet;

/// The accesses of a trace, in its order. After an error there are no more.
pub struct Accesses {
    path: PathBuf,
    format: Format,
    packing: Packing,
    import: Box<dyn Import>,
    read_bytes: Arc<AtomicU64>,
    total_bytes: u64,
    ended: bool,
}

/// A trace, by what is in it.
#[derive(Debug)]
pub enum Trace {
    /// What happened to allocations.
    Events(Events),
    /// Requests only.
    Accesses(Accesses),
}

/// Opens a trace as accesses, whatever it is. Its packing is told by its magic number, and its format
/// by what the content looks like, unless `format` says it. Of a trace of events the accesses are
/// each creation of an allocation and each reclaim (not of those that were never offered), with what
/// rebuilding took, where it is known.
///
/// # Errors
/// The file cannot be read, or its format cannot be told.
pub fn open(path: &Path, format: Option<Format>) -> Result<Accesses, TraceError> {
    Ok(match open_trace(path, format)? {
        Trace::Events(events) => Accesses::of_events(events),
        Trace::Accesses(accesses) => accesses,
    })
}

/// Opens a trace as what it is.
///
/// # Errors
/// As for [`open`].
pub fn open_trace(path: &Path, format: Option<Format>) -> Result<Trace, TraceError> {
    let on_open = |error: io::Error| TraceError::io(path, Place::File, &error);
    let file = File::open(path).map_err(on_open)?;
    let about = file.metadata().map_err(on_open)?;
    if about.is_dir() {
        return open_directory(path, format).map(Trace::Events);
    }
    let read_bytes = Arc::new(AtomicU64::new(0));
    let counted = Counted::new(file, Arc::clone(&read_bytes));
    let mut source = BufReader::with_capacity(BUFFER_BYTES, counted);
    // One read gives at least the magic number, of any file that has one.
    let head = source.fill_buf().map_err(on_open)?;
    let packing = Packing::of(head);
    let own = match format {
        None => own_format(head),
        Some(format) => Some(format).filter(|format| is_own(*format)),
    };
    if let Some(format) = own {
        drop(source);
        return open_own(path, format, about.len());
    }
    let mut content = unpack(source, packing);
    let (sample, whole) = take_sample(&mut content)
        .map_err(|error| damaged(path, packing, read_bytes.load(Ordering::Relaxed), &error))?;
    let format = match format {
        Some(format) => format,
        None => detect(&sample, whole).map_err(|why| TraceError::new(path, Place::File, why))?,
    };
    let content: Content = Box::new(Cursor::new(sample).chain(content));
    let import = import(content, format).ok_or_else(|| {
        let problem = format!("{format} is read unpacked only; unpack the file first");
        TraceError::new(path, Place::File, problem)
    })?;
    Ok(Trace::Accesses(Accesses {
        path: path.to_owned(),
        format,
        packing,
        import,
        read_bytes,
        total_bytes: about.len(),
        ended: false,
    }))
}

/// Whether a format is our own, and no stream of bytes.
fn is_own(format: Format) -> bool {
    matches!(format, Format::Parquet | Format::Spool)
}

/// Our own format that a file has that begins so.
pub(crate) fn own_format(head: &[u8]) -> Option<Format> {
    // Of any version: the reader says which it reads.
    match head {
        _ if head.starts_with(parquet::MAGIC) => Some(Format::Parquet),
        _ if head.starts_with(&SPOOL_MAGIC[..6]) => Some(Format::Spool),
        _ => None,
    }
}

fn open_own(path: &Path, format: Format, total_bytes: u64) -> Result<Trace, TraceError> {
    if format == Format::Spool {
        return open_spool(path).map(Trace::Events);
    }
    let file = File::open(path).map_err(|error| TraceError::io(path, Place::File, &error))?;
    Ok(match open_parquet(path, file, total_bytes)? {
        Columns::Events(events) => Trace::Events(events),
        Columns::Accesses { import, read_bytes } => Trace::Accesses(Accesses {
            path: path.to_owned(),
            format,
            packing: Packing::None,
            import,
            read_bytes,
            total_bytes,
            ended: false,
        }),
    })
}

fn open_directory(path: &Path, format: Option<Format>) -> Result<Events, TraceError> {
    let wrong = |problem: &str| Err(TraceError::new(path, Place::File, problem));
    if format.is_some_and(|format| format != Format::Spool) {
        return wrong("this is a directory; name a trace in it");
    }
    let events = Events::in_directory(path)?;
    if !events.about().processes.is_empty() {
        return Ok(events);
    }
    match events.into_unreadable() {
        Some(error) => Err(error),
        None => wrong("this is a directory without spools (*.vtrace); name a trace in it"),
    }
}

/// The first bytes of a content, and whether that is all.
fn take_sample(content: &mut Content) -> io::Result<(Vec<u8>, bool)> {
    let mut sample = Vec::new();
    content.take(SAMPLE_BYTES as u64).read_to_end(&mut sample)?;
    let whole = sample.len() < SAMPLE_BYTES;
    Ok((sample, whole))
}

/// Bytes that cannot be had: the disk's fault, or a packing that is cut or damaged.
fn damaged(path: &Path, packing: Packing, read_bytes: u64, error: &io::Error) -> TraceError {
    let name = match packing {
        Packing::None => return TraceError::io(path, Place::File, error),
        Packing::Gzip => "gzip",
        Packing::Zstd => "Zstandard",
        Packing::Xz => "xz",
    };
    let place = Place::PackedByte(read_bytes);
    let problem = match error.kind() {
        io::ErrorKind::UnexpectedEof => format!("the {name} file is cut short ({error})"),
        _ => format!("the {name} file is damaged ({error})"),
    };
    TraceError::new(path, place, problem)
}

impl Accesses {
    /// The accesses that events stand for; see [`open`].
    #[must_use]
    pub fn of_events(events: Events) -> Self {
        Accesses {
            path: events.path().to_owned(),
            format: events.format(),
            packing: Packing::None,
            read_bytes: events.counter(),
            total_bytes: events.total_bytes(),
            import: Box::new(Used::new(events)),
            ended: false,
        }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its format.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// What it is packed with.
    #[must_use]
    pub fn packing(&self) -> Packing {
        self.packing
    }

    /// How much of the file, as it lies on the disk, has been read, in bytes.
    #[must_use]
    pub fn read_bytes(&self) -> u64 {
        self.read_bytes.load(Ordering::Relaxed)
    }

    /// How long the file was when it was opened, in bytes.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }
}

impl std::fmt::Debug for Accesses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Accesses")
            .field("path", &self.path)
            .field("format", &self.format)
            .field("packing", &self.packing)
            .finish_non_exhaustive()
    }
}

impl Iterator for Accesses {
    type Item = Result<Access, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        match self.import.next() {
            Ok(Some(access)) => Some(Ok(access)),
            Ok(None) => {
                self.ended = true;
                None
            }
            Err(problem) => {
                self.ended = true;
                Some(Err(match problem {
                    Problem::Content(place, problem) => TraceError::new(&self.path, place, problem),
                    Problem::Read(error) => {
                        damaged(&self.path, self.packing, self.read_bytes(), &error)
                    }
                }))
            }
        }
    }
}

impl std::iter::FusedIterator for Accesses {}
