//! Packed records, as libCacheSim writes them and calls `oracleGeneral`.

use std::io::{self, Read};

use crate::access::Access;
use crate::error::{Place, Problem};
use crate::import::Import;
use crate::packing::Content;

/// How long a record is: `u32` time, `u64` id, `u32` size, `i64` next access, without padding.
pub(crate) const RECORD_BYTES: usize = 24;

/// One record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) time: u32,
    pub(crate) id: u64,
    pub(crate) size_bytes: u32,
    /// The index of the next access to the same object; -1 is none.
    pub(crate) next: i64,
}

impl Record {
    pub(crate) fn read(bytes: &[u8; RECORD_BYTES]) -> Self {
        let [t0, t1, t2, t3, rest @ ..] = *bytes;
        let [i0, i1, i2, i3, i4, i5, i6, i7, rest @ ..] = rest;
        let [s0, s1, s2, s3, next @ ..] = rest;
        Record {
            time: u32::from_le_bytes([t0, t1, t2, t3]),
            id: u64::from_le_bytes([i0, i1, i2, i3, i4, i5, i6, i7]),
            size_bytes: u32::from_le_bytes([s0, s1, s2, s3]),
            next: i64::from_le_bytes(next),
        }
    }
}

pub(super) struct Oracle {
    content: Content,
    offset_bytes: u64,
}

impl Oracle {
    pub(super) fn new(content: Content) -> Self {
        Oracle {
            content,
            offset_bytes: 0,
        }
    }
}

impl Import for Oracle {
    fn next(&mut self) -> Result<Option<Access>, Problem> {
        let mut bytes = [0; RECORD_BYTES];
        let mut have = 0;
        while have < RECORD_BYTES {
            match self.content.read(&mut bytes[have..]) {
                Ok(0) => break,
                Ok(count) => have += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        if have == 0 {
            return Ok(None);
        }
        if have < RECORD_BYTES {
            return Err(Problem::Content(
                Place::Byte(self.offset_bytes),
                format!("the file ends inside a record: {have} of {RECORD_BYTES} bytes are there"),
            ));
        }
        self.offset_bytes += RECORD_BYTES as u64;
        let record = Record::read(&bytes);
        Ok(Some(Access {
            time: u64::from(record.time),
            id: record.id,
            size_bytes: u64::from(record.size_bytes),
            cost: None,
        }))
    }
}
