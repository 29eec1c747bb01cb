//! The ledger's bytes: a header and records, 64 bytes each, each with a checksum.

use vidmm_manager::{ProcessId, Terms};

/// How long a record and the header are, in bytes. Aligned records do not cross pages, so that a
/// process that is killed while it writes leaves the old one or the new one.
pub(super) const RECORD_BYTES: usize = 64;

/// What a ledger begins with; the digit is the version of the layout.
const MAGIC: &[u8; 8] = b"vidmmL1\0";

const FREE: u32 = 0;
const USED: u32 = 0x6465_7375;
const HAS_FLOOR: u32 = 1;
const HAS_CAP: u32 = 2;

/// The head of a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Which life of the manager writes it.
    pub(super) incarnation: u64,
    /// Which life of the machine, digested.
    pub(super) boot: u64,
    /// Which PID namespace the numbers are of.
    pub(super) namespace: u64,
}

/// Why 64 bytes are no head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeadProblem {
    /// They do not begin like one.
    None,
    /// They begin like one, and the checksum is wrong.
    Damaged,
    /// A whole one, of another version.
    Version,
}

/// One process and what it is counted at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) process: ProcessId,
    pub(super) uid: u32,
    pub(super) charged_bytes: u64,
    pub(super) terms: Terms,
}

/// What 64 bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    Free,
    Used(Record),
    /// The checksum is wrong; what the bytes would mean.
    Damaged(Record),
}

impl Header {
    pub(super) fn encode(&self) -> [u8; RECORD_BYTES] {
        let mut bytes = Writer::default();
        bytes.put(MAGIC);
        bytes.put(&self.incarnation.to_le_bytes());
        bytes.put(&self.boot.to_le_bytes());
        bytes.put(&self.namespace.to_le_bytes());
        bytes.sealed()
    }

    pub(super) fn decode(bytes: &[u8; RECORD_BYTES]) -> Result<Self, HeadProblem> {
        if bytes[..6] != MAGIC[..6] {
            return Err(HeadProblem::None);
        }
        if !is_sealed(bytes) {
            return Err(HeadProblem::Damaged);
        }
        if bytes[..8] != MAGIC[..] {
            return Err(HeadProblem::Version);
        }
        let mut reader = Reader(&bytes[8..]);
        Ok(Header {
            incarnation: reader.u64(),
            boot: reader.u64(),
            namespace: reader.u64(),
        })
    }
}

impl Record {
    pub(super) fn encode(&self) -> [u8; RECORD_BYTES] {
        let terms = &self.terms;
        let flag = |is: bool, flag: u32| if is { flag } else { 0 };
        let flags =
            flag(terms.floor_bytes.is_some(), HAS_FLOOR) | flag(terms.cap_bytes.is_some(), HAS_CAP);
        let mut bytes = Writer::default();
        bytes.put(&(USED ^ flags).to_le_bytes());
        bytes.put(&self.process.pid.to_le_bytes());
        bytes.put(&self.uid.to_le_bytes());
        bytes.put(&terms.weight_hundredths.to_le_bytes());
        bytes.put(&self.process.started_ticks.to_le_bytes());
        bytes.put(&self.charged_bytes.to_le_bytes());
        bytes.put(&terms.reservation_bytes.to_le_bytes());
        bytes.put(&terms.floor_bytes.unwrap_or(0).to_le_bytes());
        bytes.put(&terms.cap_bytes.unwrap_or(0).to_le_bytes());
        bytes.sealed()
    }
}

impl Slot {
    pub(super) fn decode(bytes: &[u8; RECORD_BYTES]) -> Self {
        if bytes.iter().all(|&byte| byte == 0) {
            return Slot::Free;
        }
        let mut reader = Reader(bytes);
        let kind = reader.u32();
        let (pid, uid) = (reader.u32(), reader.u32());
        let weight_hundredths = reader.u32().max(1);
        let started_ticks = reader.u64();
        let charged_bytes = reader.u64();
        let reservation_bytes = reader.u64();
        let (floor_bytes, cap_bytes) = (reader.u64(), reader.u64());
        let flags = kind ^ USED;
        let record = Record {
            process: ProcessId { pid, started_ticks },
            uid,
            charged_bytes,
            terms: Terms {
                weight_hundredths,
                reservation_bytes,
                floor_bytes: (flags & HAS_FLOOR != 0).then_some(floor_bytes),
                cap_bytes: (flags & HAS_CAP != 0).then_some(cap_bytes),
            },
        };
        let known = kind != FREE && flags & !(HAS_FLOOR | HAS_CAP) == 0;
        match is_sealed(bytes) && known {
            true => Slot::Used(record),
            false => Slot::Damaged(record),
        }
    }
}

/// A slot that is in nobody's use.
pub(super) const FREE_SLOT: [u8; RECORD_BYTES] = [0; RECORD_BYTES];

/// FNV-1a, 64 bits: enough against bytes that were torn or overwritten, and meant for nothing else.
pub(super) fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, &byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn is_sealed(bytes: &[u8; RECORD_BYTES]) -> bool {
    let (body, seal) = bytes.split_at(RECORD_BYTES - 8);
    seal == digest(body).to_le_bytes()
}

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Filled up, with the checksum at the end.
    fn sealed(mut self) -> [u8; RECORD_BYTES] {
        self.0.resize(RECORD_BYTES - 8, 0);
        let seal = digest(&self.0).to_le_bytes();
        let mut bytes = [0; RECORD_BYTES];
        bytes[..RECORD_BYTES - 8].copy_from_slice(&self.0);
        bytes[RECORD_BYTES - 8..].copy_from_slice(&seal);
        bytes
    }
}

/// Reads numbers; past the end they are 0.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        match self.0.split_first_chunk::<N>() {
            Some((bytes, rest)) => {
                self.0 = rest;
                *bytes
            }
            None => [0; N],
        }
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_record() -> impl Strategy<Value = Record> {
        let terms = (
            1..=u32::MAX,
            any::<u64>(),
            any::<Option<u64>>(),
            any::<Option<u64>>(),
        );
        (
            any::<u32>(),
            any::<u64>(),
            any::<u32>(),
            any::<u64>(),
            terms,
        )
            .prop_map(|(pid, started_ticks, uid, charged_bytes, terms)| Record {
                process: ProcessId { pid, started_ticks },
                uid,
                charged_bytes,
                terms: Terms {
                    weight_hundredths: terms.0,
                    reservation_bytes: terms.1,
                    floor_bytes: terms.2,
                    cap_bytes: terms.3,
                },
            })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(record in any_record()) {
            prop_assert_eq!(Slot::decode(&record.encode()), Slot::Used(record));
        }

        #[test]
        fn a_bit_that_turned_is_seen(record in any_record(), at in 0..RECORD_BYTES * 8) {
            let mut bytes = record.encode();
            bytes[at / 8] ^= 1 << (at % 8);
            prop_assert!(matches!(Slot::decode(&bytes), Slot::Damaged(_)));
        }

        #[test]
        fn a_head_is_read_or_refused(incarnation: u64, boot: u64, namespace: u64, at in 0..RECORD_BYTES * 8) {
            let header = Header { incarnation, boot, namespace };
            let mut bytes = header.encode();
            prop_assert_eq!(Header::decode(&bytes), Ok(header));
            bytes[at / 8] ^= 1 << (at % 8);
            prop_assert!(Header::decode(&bytes).is_err());
        }
    }
}
