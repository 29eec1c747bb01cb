//! The spool file as it is written.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::process::{Resource, getpid, getrlimit};
use rustix::time::ClockId;

use crate::event::{EVENT_WORDS, clock_ns, now_ns};
use crate::ring::Ring;
use crate::spool::{
    End, FRAME_EVENTS_MAX, FRAME_HEAD_BYTES, FrameHead, HEADER_BYTES, Header, Status,
};

/// Where, and how much, to record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceOptions {
    /// The directory of the spool; made if it is not there. The file is
    /// `PID-NUMBER.vtrace`, with the first number that is free.
    pub directory: PathBuf,
    /// Recording stops when the file would grow beyond this, in bytes.
    pub max_bytes: u64,
}

/// What a spool may grow to unless it is said otherwise: 134 million events.
const MAX_BYTES: u64 = 4 << 30;

impl TraceOptions {
    /// Spools in this directory, of at most 4 GiB each.
    #[must_use]
    pub fn in_directory(directory: impl Into<PathBuf>) -> Self {
        TraceOptions {
            directory: directory.into(),
            max_bytes: MAX_BYTES,
        }
    }
}

/// Why nothing can be recorded.
#[derive(Debug, thiserror::Error)]
#[error("no trace can be recorded in {}: {error}", directory.display())]
pub struct StartError {
    /// Where it was to be.
    pub directory: PathBuf,
    /// What the kernel says.
    #[source]
    pub error: io::Error,
}

/// Why recording stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// Its pool or its process came to an end.
    Ended,
    /// The file cannot be written: the number of the kernel's error.
    Failed(i32),
    /// The file has the size that it may have.
    Full,
    /// This is a child made by `fork`: what it does is not recorded.
    Forked,
}

impl StopReason {
    /// A number for it, not 0.
    pub(crate) fn code(self) -> u64 {
        match self {
            StopReason::Ended => 1,
            StopReason::Full => 2,
            StopReason::Forked => 3,
            StopReason::Failed(error) => u64::from(error.unsigned_abs()) << 8 | 4,
        }
    }

    pub(crate) fn from_code(code: u64) -> Option<Self> {
        match code & 0xff {
            0 => None,
            1 => Some(StopReason::Ended),
            2 => Some(StopReason::Full),
            3 => Some(StopReason::Forked),
            _ => Some(StopReason::Failed(i32::try_from(code >> 8).unwrap_or(0))),
        }
    }
}

/// So many numbers are tried for the name of a file.
const NUMBERS: u32 = 10_000;

/// What is collected before it is written, in bytes.
const BUFFER_BYTES: usize = 256 << 10;

/// An open spool.
#[derive(Debug)]
pub(crate) struct Writer {
    path: PathBuf,
    buffer: Vec<u8>,
    /// Events in the buffer.
    buffered: u64,
    /// What is in the file for good, in bytes.
    written_bytes: u64,
    max_bytes: u64,
    /// Events in the file.
    recorded: u64,
    /// Events that were taken from a ring and did not get into the file.
    dropped: u64,
}

pub(crate) fn create(options: &TraceOptions) -> io::Result<(File, Writer)> {
    // A later change of the working directory must not matter.
    let directory = std::path::absolute(&options.directory)?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&directory)?;
    let (path, file) = create_file(&directory)?;
    let pool = number_of(&path);
    let start_ns = now_ns();
    let header = Header {
        pid: own_pid(),
        pool,
        start_ns,
        to_real_ns: clock_ns(ClockId::Realtime).saturating_sub(start_ns),
        command: own_command(),
    };
    (&file).write_all(&header.to_bytes())?;
    // Beyond the limit of the process, a write would not fail but kill it.
    let limit_bytes = getrlimit(Resource::Fsize).current.unwrap_or(u64::MAX);
    let writer = Writer {
        path,
        buffer: Vec::with_capacity(BUFFER_BYTES + FRAME_EVENTS_MAX * 8 * EVENT_WORDS),
        buffered: 0,
        written_bytes: HEADER_BYTES as u64,
        max_bytes: options.max_bytes.min(limit_bytes),
        recorded: 0,
        dropped: 0,
    };
    Ok((file, writer))
}

fn create_file(directory: &Path) -> io::Result<(PathBuf, File)> {
    let mut taken = io::Error::from(io::ErrorKind::AlreadyExists);
    for number in 0..NUMBERS {
        let path = directory.join(format!("{}-{number}.vtrace", own_pid()));
        // Never through a link, never over what is there.
        let made = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path);
        match made {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => taken = error,
            Err(error) => return Err(error),
        }
    }
    Err(taken)
}

fn number_of(path: &Path) -> u32 {
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    stem.and_then(|stem| stem.rsplit_once('-')?.1.parse().ok())
        .unwrap_or(0)
}

pub(crate) fn own_pid() -> u32 {
    u32::try_from(getpid().as_raw_nonzero().get()).unwrap_or(0)
}

fn own_command() -> String {
    let program = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&program).file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

impl Writer {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn recorded(&self) -> u64 {
        self.recorded
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Takes what waits in a ring into a frame.
    pub(crate) fn take(&mut self, mut file: &File, ring: &Ring) -> Result<(), StopReason> {
        let count = ring.available().min(FRAME_EVENTS_MAX);
        if count == 0 {
            return Ok(());
        }
        let head = FrameHead {
            thread: ring.thread(),
            count: u32::try_from(count).unwrap_or(0),
            before: ring.taken(),
            lost: ring.lost(),
        };
        let start = self.buffer.len();
        self.buffer.resize(start + FRAME_HEAD_BYTES, 0);
        ring.take(count, |words| {
            for word in words {
                self.buffer.extend_from_slice(&word.to_le_bytes());
            }
        });
        self.buffered += count as u64;
        self.seal(start, &head);
        if self.buffer.len() >= BUFFER_BYTES {
            return self.flush(&mut file);
        }
        Ok(())
    }

    fn seal(&mut self, start: usize, head: &FrameHead) {
        let (head_place, events) = self.buffer[start..].split_at_mut(FRAME_HEAD_BYTES);
        head_place.copy_from_slice(&head.to_bytes(events));
    }

    /// A frame that only says what was lost.
    pub(crate) fn note_lost(&mut self, thread: u32, before: u64, lost: u64) {
        let start = self.buffer.len();
        self.buffer.resize(start + FRAME_HEAD_BYTES, 0);
        let head = FrameHead {
            thread,
            count: 0,
            before,
            lost,
        };
        self.seal(start, &head);
    }

    /// Writes what is collected. If that fails, the file ends behind its last whole frame.
    pub(crate) fn flush(&mut self, file: &mut &File) -> Result<(), StopReason> {
        let bytes = self.buffer.len() as u64;
        if bytes == 0 {
            return Ok(());
        }
        let written = if self.written_bytes + bytes > self.max_bytes {
            Err(StopReason::Full)
        } else {
            file.write_all(&self.buffer).map_err(|error| {
                // A part of it may be there. If even this fails, a reader finds the cut.
                let _ = file.set_len(self.written_bytes);
                StopReason::Failed(error.raw_os_error().unwrap_or(0))
            })
        };
        match written {
            Ok(()) => {
                self.written_bytes += bytes;
                self.recorded += self.buffered;
            }
            Err(_) => self.dropped += self.buffered,
        }
        self.buffered = 0;
        self.buffer.clear();
        written
    }

    /// Says in the file how it ended. That place is there from the start, so a full disk takes it.
    pub(crate) fn end(&mut self, file: &File, reason: StopReason, lost: u64) {
        let status = Status {
            end: match reason {
                StopReason::Ended => End::Regular,
                StopReason::Failed(error) => End::Failed(error.unsigned_abs()),
                StopReason::Full => End::Full,
                // Not this process's file.
                StopReason::Forked => return,
            },
            end_ns: now_ns(),
            recorded: self.recorded,
            lost,
        };
        let _ = file.write_all_at(&status.to_bytes(), Status::OFFSET_BYTES);
    }
}
