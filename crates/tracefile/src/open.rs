//! Opening a trace, whatever its packing and format.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::access::Access;
use crate::detect::{SAMPLE_BYTES, detect};
use crate::error::{Place, Problem, TraceError};
use crate::format::Format;
use crate::import::{Import, import};
use crate::packing::{BUFFER_BYTES, Content, Counted, Packing, unpack};

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

/// Opens a trace. Its packing is told by its magic number, and its format by what the content looks
/// like, unless `format` says it.
///
/// # Errors
/// The file cannot be read, or its format cannot be told.
pub fn open(path: &Path, format: Option<Format>) -> Result<Accesses, TraceError> {
    let on_open = |error: io::Error| TraceError::io(path, Place::File, &error);
    let file = File::open(path).map_err(on_open)?;
    let about = file.metadata().map_err(on_open)?;
    if about.is_dir() {
        return Err(TraceError::new(
            path,
            Place::File,
            "this is a directory; name a trace in it",
        ));
    }
    let read_bytes = Arc::new(AtomicU64::new(0));
    let counted = Counted::new(file, Arc::clone(&read_bytes));
    let mut source = BufReader::with_capacity(BUFFER_BYTES, counted);
    // One read gives at least the magic number, of any file that has one.
    let packing = Packing::of(source.fill_buf().map_err(on_open)?);
    let mut content = unpack(source, packing);
    let (sample, whole) = take_sample(&mut content)
        .map_err(|error| damaged(path, packing, read_bytes.load(Ordering::Relaxed), &error))?;
    let format = match format {
        Some(format) => format,
        None => detect(&sample, whole).map_err(|why| TraceError::new(path, Place::File, why))?,
    };
    let content: Content = Box::new(Cursor::new(sample).chain(content));
    Ok(Accesses {
        path: path.to_owned(),
        format,
        packing,
        import: import(content, format),
        read_bytes,
        total_bytes: about.len(),
        ended: false,
    })
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
