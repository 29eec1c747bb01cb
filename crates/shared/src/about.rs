//! What a file says of itself: its allocations and the private data that is kept for who opens it.
//! Written once, before anybody else can have the file; read once by each opener, and checked.

use crate::error::Error;

/// The most allocations of a resource.
pub const MEMBERS_MAX: usize = 1024;

/// The most private data of a resource and its allocations in all, in bytes.
pub const DATA_BYTES_MAX: usize = 1 << 20;

/// One allocation of a resource.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Member {
    /// The size asked for, in bytes.
    pub size_bytes: u64,
    /// Data about it.
    pub data: Vec<u8>,
}

/// A resource as its maker tells it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct About {
    /// Its allocations, in order.
    pub members: Vec<Member>,
    /// Data of the program's about the resource.
    pub runtime_data: Vec<u8>,
    /// Data of the driver's about the resource.
    pub driver_data: Vec<u8>,
}

pub(crate) const FORMAT: u32 = 1;
const MAGIC: [u8; 8] = *b"vidmmshr";

/// The part that every file begins with: magic, format, and four counts.
pub(crate) const FIXED_BYTES: usize = 28;
const MEMBER_BYTES: usize = 12;

/// How much follows the fixed part, in the data pages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counts {
    members: usize,
    runtime_bytes: usize,
    driver_bytes: usize,
    member_data_bytes: usize,
}

impl Counts {
    fn check(self) -> Result<Self, Error> {
        if self.members == 0 || self.members > MEMBERS_MAX {
            return Err(Error::BadCount {
                count: self.members,
            });
        }
        let parts = [
            self.runtime_bytes,
            self.driver_bytes,
            self.member_data_bytes,
        ];
        let bytes = parts.into_iter().fold(0, usize::saturating_add);
        match bytes <= DATA_BYTES_MAX {
            true => Ok(self),
            false => Err(Error::TooMuchData { bytes }),
        }
    }

    /// All that follows, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.members * MEMBER_BYTES
            + self.runtime_bytes
            + self.driver_bytes
            + self.member_data_bytes
    }

    pub(crate) fn read(fixed: &[u8; FIXED_BYTES]) -> Result<Self, Error> {
        let mut reader = Reader(fixed);
        if reader.take(MAGIC.len()) != Some(&MAGIC[..]) {
            return Err(Error::NotShared);
        }
        let mut number = || reader.number().ok_or(Error::Damaged);
        let found = number()?;
        if found != FORMAT {
            return Err(Error::OtherFormat {
                found,
                known: FORMAT,
            });
        }
        let counts = Counts {
            members: number()? as usize,
            runtime_bytes: number()? as usize,
            driver_bytes: number()? as usize,
            member_data_bytes: number()? as usize,
        };
        counts.check().map_err(|_| Error::Damaged)
    }
}

impl About {
    /// What the content takes while it is there, in bytes: whole pages for each allocation.
    ///
    /// # Errors
    /// Sizes, counts and data beyond the limits.
    pub fn charge_bytes(&self) -> Result<u64, Error> {
        crate::file::charge_bytes(self)
    }

    pub(crate) fn counts(&self) -> Result<Counts, Error> {
        Counts {
            members: self.members.len(),
            runtime_bytes: self.runtime_data.len(),
            driver_bytes: self.driver_data.len(),
            member_data_bytes: self.members.iter().map(|member| member.data.len()).sum(),
        }
        .check()
    }

    /// The fixed part and what follows.
    pub(crate) fn encode(&self) -> Result<(Vec<u8>, Vec<u8>), Error> {
        let counts = self.counts()?;
        let mut fixed = MAGIC.to_vec();
        // Each is at most a MiB.
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX).to_ne_bytes();
        fixed.extend(FORMAT.to_ne_bytes());
        fixed.extend(number(counts.members));
        fixed.extend(number(counts.runtime_bytes));
        fixed.extend(number(counts.driver_bytes));
        fixed.extend(number(counts.member_data_bytes));
        let mut rest = Vec::with_capacity(counts.bytes());
        for member in &self.members {
            rest.extend(member.size_bytes.to_ne_bytes());
            rest.extend(number(member.data.len()));
        }
        rest.extend(&self.runtime_data);
        rest.extend(&self.driver_data);
        for member in &self.members {
            rest.extend(&member.data);
        }
        Ok((fixed, rest))
    }

    /// What another process wrote: anything can stand there.
    pub(crate) fn decode(counts: Counts, rest: &[u8]) -> Result<Self, Error> {
        Self::parse(counts, rest).ok_or(Error::Damaged)
    }

    fn parse(counts: Counts, rest: &[u8]) -> Option<Self> {
        let mut reader = Reader(rest);
        let mut sizes = Vec::with_capacity(counts.members);
        for _ in 0..counts.members {
            let size_bytes = u64::from_ne_bytes(reader.take(8)?.try_into().ok()?);
            sizes.push((size_bytes, reader.number()? as usize));
        }
        let mut about = About {
            runtime_data: reader.take(counts.runtime_bytes)?.to_vec(),
            driver_data: reader.take(counts.driver_bytes)?.to_vec(),
            members: Vec::with_capacity(counts.members),
        };
        for (size_bytes, data_bytes) in sizes {
            about.members.push(Member {
                size_bytes,
                data: reader.take(data_bytes)?.to_vec(),
            });
        }
        reader.0.is_empty().then_some(about)
    }
}

/// Bytes that are read from the front.
struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn take(&mut self, len: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u32> {
        Some(u32::from_ne_bytes(self.take(4)?.try_into().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn some() -> impl Strategy<Value = About> {
        let data = || proptest::collection::vec(any::<u8>(), 0..40);
        let member =
            (any::<u64>(), data()).prop_map(|(size_bytes, data)| Member { size_bytes, data });
        (proptest::collection::vec(member, 1..9), data(), data()).prop_map(
            |(members, runtime_data, driver_data)| About {
                members,
                runtime_data,
                driver_data,
            },
        )
    }

    fn decode(fixed: &[u8], rest: &[u8]) -> Result<About, Error> {
        let mut head = [0; FIXED_BYTES];
        head.copy_from_slice(fixed);
        let counts = Counts::read(&head)?;
        assert!(counts.bytes() <= DATA_BYTES_MAX + MEMBERS_MAX * MEMBER_BYTES);
        let len = counts.bytes().min(rest.len());
        About::decode(counts, &rest[..len])
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(about in some()) {
            let (fixed, rest) = about.encode().unwrap();
            prop_assert_eq!(decode(&fixed, &rest), Ok(about));
        }

        /// Whatever another process makes of it, reading ends, with an error or with something
        /// within the limits.
        #[test]
        fn wild_bytes_are_read_without_harm(
            about in some(), at in any::<proptest::sample::Index>(), with in any::<u32>()
        ) {
            let (mut fixed, mut rest) = about.encode().unwrap();
            let both = fixed.len() + rest.len();
            let place = at.index(both);
            for (index, byte) in with.to_ne_bytes().into_iter().enumerate() {
                let place = place + index;
                if let Some(found) = fixed.get_mut(place) {
                    *found = byte;
                } else if let Some(found) = rest.get_mut(place.saturating_sub(FIXED_BYTES)) {
                    *found = byte;
                }
            }
            if let Ok(read) = decode(&fixed, &rest) {
                prop_assert!(read.counts().is_ok());
            }
        }
    }
}
