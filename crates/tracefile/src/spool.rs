//! A spool as a recorder left it, whole or cut anywhere.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use vidmm_trace::{
    EVENT_BYTES, End, Event, FRAME_EVENTS_MAX, FRAME_HEAD_BYTES, FrameHead, HEADER_BYTES, Header,
};

use crate::error::{Place, TraceError};

/// A frame, whose events are one thread's and so in the order of time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) first_ns: u64,
    /// Where its events are in the file.
    pub(crate) offset_bytes: u64,
    pub(crate) count: u32,
    pub(crate) thread: u32,
}

/// A spool, looked through: what it is of, how it ended, where its events are. Takes 24 bytes of
/// memory for each frame (of up to 8,192 events).
#[derive(Debug)]
pub struct Spool {
    path: PathBuf,
    header: Header,
    end: End,
    pub(crate) runs: Vec<Run>,
    recorded: u64,
    lost: u64,
    unread_bytes: u64,
}

impl Spool {
    /// Opens a spool and looks through all of it. What is behind the first frame that is not whole
    /// (its process was killed, or still writes) is left out.
    ///
    /// # Errors
    /// The file cannot be read, or is no spool of this version.
    pub fn open(path: &Path) -> Result<Self, TraceError> {
        let on_file = |error: io::Error| TraceError::io(path, Place::File, &error);
        let file = File::open(path).map_err(on_file)?;
        let total_bytes = file.metadata().map_err(on_file)?.len();
        let mut source = BufReader::with_capacity(256 << 10, &file);
        let mut header = [0; HEADER_BYTES];
        source
            .read_exact(&mut header)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => TraceError::new(
                    path,
                    Place::File,
                    "the file is shorter than a spool's header",
                ),
                _ => on_file(error),
            })?;
        let (header, status) =
            Header::from_bytes(&header).map_err(|why| TraceError::new(path, Place::File, why))?;
        let mut found = Found::default();
        let mut offset_bytes = HEADER_BYTES as u64;
        let mut events = vec![0; FRAME_EVENTS_MAX * EVENT_BYTES];
        loop {
            let whole = read_frame(&mut source, &mut events).map_err(on_file)?;
            let Some((head, first_ns)) = whole else { break };
            found.add(&head, first_ns, offset_bytes);
            offset_bytes += (FRAME_HEAD_BYTES + head.events_bytes()) as u64;
        }
        let end = status.map_or(End::None, |status| status.end);
        let stated_lost = status.map_or(0, |status| status.lost);
        let lost: u64 = found.threads.values().sum();
        drop(source);
        Ok(Spool {
            path: path.to_owned(),
            header,
            end,
            runs: found.runs,
            recorded: found.recorded,
            // The status is written at the end, and knows of more.
            lost: lost.max(stated_lost),
            unread_bytes: total_bytes.saturating_sub(offset_bytes),
        })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whose it is.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// How the recording ended.
    #[must_use]
    pub fn end(&self) -> End {
        self.end
    }

    /// Events in it.
    #[must_use]
    pub fn recorded(&self) -> u64 {
        self.recorded
    }

    /// Events that the recorder lost. If the process was killed, what it had not written yet is
    /// not among them.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// How much at the end of the file is no whole frame, in bytes.
    #[must_use]
    pub fn unread_bytes(&self) -> u64 {
        self.unread_bytes
    }

    /// Reads events `first..` of a run, as many as fit.
    pub(crate) fn read(
        &self,
        run: &Run,
        first: u32,
        into: &mut Vec<Event>,
        most: u32,
    ) -> Result<(), TraceError> {
        let count = (run.count - first).min(most) as usize;
        let offset = run.offset_bytes + u64::from(first) * EVENT_BYTES as u64;
        let mut bytes = vec![0; count * EVENT_BYTES];
        // Opened anew each time: there may be more spools than a process may have files open.
        File::open(&self.path)
            .and_then(|file| file.read_exact_at(&mut bytes, offset))
            .map_err(|error| TraceError::io(&self.path, Place::Byte(offset), &error))?;
        let (events, _) = bytes.as_chunks::<EVENT_BYTES>();
        for (index, event) in events.iter().enumerate() {
            let place = Place::Byte(offset + (index * EVENT_BYTES) as u64);
            let event = Event::from_bytes(event)
                .ok_or_else(|| TraceError::new(&self.path, place, "this is no event"))?;
            into.push(event);
        }
        Ok(())
    }
}

/// What the frames come to.
#[derive(Debug, Default)]
struct Found {
    runs: Vec<Run>,
    recorded: u64,
    /// Events lost, by thread.
    threads: HashMap<u32, u64>,
}

impl Found {
    fn add(&mut self, head: &FrameHead, first_ns: u64, offset_bytes: u64) {
        self.threads.insert(head.thread, head.lost);
        self.recorded += u64::from(head.count);
        if head.count > 0 {
            self.runs.push(Run {
                first_ns,
                offset_bytes: offset_bytes + FRAME_HEAD_BYTES as u64,
                count: head.count,
                thread: head.thread,
            });
        }
    }
}

/// The next frame, and when its first event was; `None` if there is no further whole one.
fn read_frame(source: &mut impl Read, events: &mut [u8]) -> io::Result<Option<(FrameHead, u64)>> {
    let mut bytes = [0; FRAME_HEAD_BYTES];
    if !fill(source, &mut bytes)? {
        return Ok(None);
    }
    let Some(head) = FrameHead::from_bytes(&bytes) else {
        return Ok(None);
    };
    let Some(events) = events.get_mut(..head.events_bytes()) else {
        return Ok(None);
    };
    if !fill(source, events)? || !FrameHead::fits(&bytes, events) {
        return Ok(None);
    }
    let first = events.first_chunk().and_then(Event::from_bytes);
    Ok(Some((head, first.map_or(0, |event| event.time_ns))))
}

/// Whether there were enough bytes.
fn fill(source: &mut impl Read, bytes: &mut [u8]) -> io::Result<bool> {
    match source.read_exact(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
