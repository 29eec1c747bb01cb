//! The layout of a spool file. Pure: bytes to meaning and back.
//!
//! A header, a status that is written in place, then frames until the end of the file. All numbers
//! are little-endian. Each part has a checksum (CRC-32, IEEE) of its own, so that a file that was
//! cut anywhere is good up to the cut.

use crate::event::EVENT_BYTES;

/// What a spool begins with; the digit is the version of the layout.
pub const SPOOL_MAGIC: &[u8; 8] = b"vidmmT1\0";

/// Where frames begin: behind the header (128 bytes) and the status (64 bytes).
pub const HEADER_BYTES: usize = HEAD_BYTES + STATUS_BYTES;

const HEAD_BYTES: usize = 128;
const STATUS_BYTES: usize = 64;
const COMMAND_BYTES: usize = 64;

/// How long a frame's head is.
pub const FRAME_HEAD_BYTES: usize = 32;

/// The most events that a frame has.
pub const FRAME_EVENTS_MAX: usize = crate::ring::RING_EVENTS;

const FRAME_MAGIC: u32 = u32::from_le_bytes(*b"vtF1");
const STATUS_MAGIC: u32 = u32::from_le_bytes(*b"vtS1");

/// Whose spool it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The process, as it sees itself.
    pub pid: u32,
    /// Which of its pools, counted from 0.
    pub pool: u32,
    /// When recording began, in nanoseconds of the monotonic clock.
    pub start_ns: u64,
    /// What to add to the monotonic clock for nanoseconds since 1970, as it was at the start.
    pub to_real_ns: u64,
    /// The name of the program, cut to 64 bytes.
    pub command: String,
}

/// How a recording ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It has not: the process still runs, or was killed. The figures of the status are those of
    /// the start.
    None,
    /// With its pool, or with the process.
    Regular,
    /// The file could not be written any more; the number of the kernel's error.
    Failed(u32),
    /// The file reached the size that it may have.
    Full,
}

/// What a recording came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// How it ended.
    pub end: End,
    /// When, in nanoseconds of the monotonic clock.
    pub end_ns: u64,
    /// Events in the file.
    pub recorded: u64,
    /// Events that are not.
    pub lost: u64,
}

/// What stands before the events of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHead {
    /// The thread whose events these are, counted from 1 in the order in which threads began to
    /// record; 0 is none in particular, and has no events.
    pub thread: u32,
    /// How many events follow.
    pub count: u32,
    /// Events of the same thread in frames before.
    pub before: u64,
    /// Events of this thread that were lost so far.
    pub lost: u64,
}

/// Writes numbers one after the other.
struct Put<'b>(&'b mut [u8]);

impl Put<'_> {
    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        let place = std::mem::take(&mut self.0);
        let (to, rest) = place.split_at_mut(bytes.len().min(place.len()));
        to.copy_from_slice(&bytes[..to.len()]);
        self.0 = rest;
        self
    }

    fn u32(&mut self, number: u32) -> &mut Self {
        self.bytes(&number.to_le_bytes())
    }

    fn u64(&mut self, number: u64) -> &mut Self {
        self.bytes(&number.to_le_bytes())
    }
}

/// Reads numbers one after the other; zeroes behind the end.
struct Get<'b>(&'b [u8]);

impl Get<'_> {
    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        match self.0.split_first_chunk() {
            Some((bytes, rest)) => {
                self.0 = rest;
                *bytes
            }
            None => [0; N],
        }
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.bytes())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.bytes())
    }
}

/// Puts a checksum of all before it into the last four bytes.
fn seal(bytes: &mut [u8]) {
    if let Some((content, checksum)) = bytes.split_last_chunk_mut::<4>() {
        *checksum = crc32fast::hash(content).to_le_bytes();
    }
}

fn is_sealed(bytes: &[u8]) -> bool {
    bytes
        .split_last_chunk::<4>()
        .is_some_and(|(content, sum)| crc32fast::hash(content).to_le_bytes() == *sum)
}

impl Header {
    /// The bytes of a header, with the status of a recording that has just begun behind it.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let (head, status) = bytes.split_at_mut(HEAD_BYTES);
        let mut command = [0; COMMAND_BYTES];
        Put(&mut command).bytes(self.command.as_bytes());
        Put(head)
            .bytes(SPOOL_MAGIC)
            .u32(self.pid)
            .u32(self.pool)
            .u64(self.start_ns)
            .u64(self.to_real_ns)
            .bytes(&command);
        seal(head);
        let begun = Status {
            end: End::None,
            end_ns: 0,
            recorded: 0,
            lost: 0,
        };
        status.copy_from_slice(&begun.to_bytes());
        bytes
    }

    /// What a spool begins with; its status is `None` if it is damaged (the machine may have died
    /// while it was written).
    ///
    /// # Errors
    /// Why this is no spool that can be read.
    pub fn from_bytes(bytes: &[u8; HEADER_BYTES]) -> Result<(Self, Option<Status>), &'static str> {
        let (head, status) = bytes.split_at(HEAD_BYTES);
        if head[..6] != SPOOL_MAGIC[..6] {
            return Err("it does not begin like a spool of vidmm");
        }
        if head[..8] != SPOOL_MAGIC[..] {
            return Err("it is a spool of another version of vidmm");
        }
        if !is_sealed(head) {
            return Err("the checksum of its header is wrong");
        }
        let mut get = Get(&head[SPOOL_MAGIC.len()..]);
        let (pid, pool, start_ns, to_real_ns) = (get.u32(), get.u32(), get.u64(), get.u64());
        let command: [u8; COMMAND_BYTES] = get.bytes();
        let end = command.iter().position(|&b| b == 0);
        let command = &command[..end.unwrap_or(COMMAND_BYTES)];
        let header = Header {
            pid,
            pool,
            start_ns,
            to_real_ns,
            command: String::from_utf8_lossy(command).into_owned(),
        };
        Ok((header, Status::from_bytes(status)))
    }
}

impl Status {
    /// Where it is in the file, in bytes.
    pub(crate) const OFFSET_BYTES: u64 = HEAD_BYTES as u64;

    pub(crate) fn to_bytes(self) -> [u8; STATUS_BYTES] {
        let (end, error) = match self.end {
            End::None => (0, 0),
            End::Regular => (1, 0),
            End::Failed(error) => (2, error),
            End::Full => (3, 0),
        };
        let mut bytes = [0; STATUS_BYTES];
        Put(&mut bytes)
            .u32(STATUS_MAGIC)
            .u32(end)
            .u32(error)
            .u32(0)
            .u64(self.end_ns)
            .u64(self.recorded)
            .u64(self.lost);
        seal(&mut bytes);
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut get = Get(bytes);
        if !is_sealed(bytes) || get.u32() != STATUS_MAGIC {
            return None;
        }
        let (end, error, _) = (get.u32(), get.u32(), get.u32());
        let end = match end {
            0 => End::None,
            1 => End::Regular,
            2 => End::Failed(error),
            3 => End::Full,
            _ => return None,
        };
        Some(Status {
            end,
            end_ns: get.u64(),
            recorded: get.u64(),
            lost: get.u64(),
        })
    }
}

impl FrameHead {
    /// The bytes of the head of a frame with these `events`.
    #[must_use]
    pub fn to_bytes(&self, events: &[u8]) -> [u8; FRAME_HEAD_BYTES] {
        let mut bytes = [0; FRAME_HEAD_BYTES];
        Put(&mut bytes)
            .u32(FRAME_MAGIC)
            .u32(self.thread)
            .u32(self.count)
            .u64(self.before)
            .u64(self.lost);
        let sum = Self::checksum(&bytes, events);
        bytes[FRAME_HEAD_BYTES - 4..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// What the head of a frame says; `None` if these bytes are none. Whether the frame is whole
    /// is for [`FrameHead::fits`] to say.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; FRAME_HEAD_BYTES]) -> Option<Self> {
        let mut get = Get(bytes);
        if get.u32() != FRAME_MAGIC {
            return None;
        }
        let head = FrameHead {
            thread: get.u32(),
            count: get.u32(),
            before: get.u64(),
            lost: get.u64(),
        };
        (head.count as usize <= FRAME_EVENTS_MAX).then_some(head)
    }

    /// How long the events behind it are, in bytes.
    #[must_use]
    pub fn events_bytes(&self) -> usize {
        self.count as usize * EVENT_BYTES
    }

    /// Whether these are the head's bytes and its events'.
    #[must_use]
    pub fn fits(head: &[u8; FRAME_HEAD_BYTES], events: &[u8]) -> bool {
        let stated = &head[FRAME_HEAD_BYTES - 4..];
        Self::checksum(head, events).to_le_bytes() == *stated
    }

    fn checksum(head: &[u8; FRAME_HEAD_BYTES], events: &[u8]) -> u32 {
        let mut sum = crc32fast::Hasher::new();
        sum.update(&head[..FRAME_HEAD_BYTES - 4]);
        sum.update(events);
        sum.finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_and_status_are_read_back_and_damage_is_seen() {
        let header = Header {
            pid: 77,
            pool: 3,
            start_ns: 5,
            to_real_ns: 1 << 60,
            command: "b\u{e4}r".to_owned(),
        };
        let bytes = header.to_bytes();
        let (read, status) = Header::from_bytes(&bytes).unwrap();
        assert_eq!(read, header);
        assert_eq!(status.unwrap().end, End::None);
        for place in 0..HEAD_BYTES {
            let mut damaged = bytes;
            damaged[place] ^= 4;
            assert!(Header::from_bytes(&damaged).is_err(), "byte {place}");
        }
        let mut damaged = bytes;
        damaged[HEAD_BYTES + 9] ^= 4;
        assert_eq!(Header::from_bytes(&damaged).unwrap().1, None);
        let status = Status {
            end: End::Failed(28),
            end_ns: 9,
            recorded: 10,
            lost: 11,
        };
        assert_eq!(Status::from_bytes(&status.to_bytes()), Some(status));
    }

    #[test]
    fn any_changed_byte_of_a_frame_is_seen() {
        let events = [7; 2 * EVENT_BYTES];
        let head = FrameHead {
            thread: 1,
            count: 2,
            before: 3,
            lost: 4,
        };
        let bytes = head.to_bytes(&events);
        assert_eq!(FrameHead::from_bytes(&bytes), Some(head));
        assert!(FrameHead::fits(&bytes, &events));
        for place in 0..bytes.len() {
            let mut damaged = bytes;
            damaged[place] ^= 4;
            assert!(!FrameHead::fits(&damaged, &events), "byte {place}");
        }
    }
}
