//! The compact form of Thrift, in which a Parquet file says what is in it: only as much of it as is
//! needed, and strict, since anybody may have made the bytes. Nothing here takes memory because of
//! what a number says; whatever makes no sense is `None`.

/// So deep may structures be in each other.
const DEPTH_MAX: u32 = 16;

/// What a member of a structure, or an element of a list, is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    True,
    False,
    Byte,
    I16,
    I32,
    I64,
    Double,
    Binary,
    List,
    Set,
    Map,
    Struct,
}

impl Kind {
    fn of(number: u8) -> Option<Self> {
        Some(match number {
            1 => Kind::True,
            2 => Kind::False,
            3 => Kind::Byte,
            4 => Kind::I16,
            5 => Kind::I32,
            6 => Kind::I64,
            7 => Kind::Double,
            8 => Kind::Binary,
            9 => Kind::List,
            10 => Kind::Set,
            11 => Kind::Map,
            12 => Kind::Struct,
            _ => return None,
        })
    }
}

/// What is left to be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'b>(pub(super) &'b [u8]);

impl<'b> Source<'b> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn take(&mut self, count: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// Seven bits a byte, the lowest first.
    pub(super) fn varint(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    /// As above, with the sign in the lowest bit.
    fn zigzag(&mut self) -> Option<i64> {
        let number = self.varint()?;
        Some((number >> 1).cast_signed() ^ -((number & 1).cast_signed()))
    }

    /// A number of the kind that the member is said to be.
    pub(super) fn int(&mut self, kind: Kind) -> Option<i64> {
        let number = self.zigzag()?;
        let fits = match kind {
            Kind::I16 => i16::try_from(number).is_ok(),
            Kind::I32 => i32::try_from(number).is_ok(),
            Kind::I64 => true,
            _ => false,
        };
        fits.then_some(number)
    }

    /// As above, of what is never negative.
    pub(super) fn count(&mut self, kind: Kind) -> Option<u64> {
        u64::try_from(self.int(kind)?).ok()
    }

    pub(super) fn binary(&mut self, kind: Kind) -> Option<&'b [u8]> {
        let length = usize::try_from(self.varint()?).ok()?;
        match kind {
            Kind::Binary => self.take(length),
            _ => None,
        }
    }

    /// What a list's elements are, and how many; each is at least a byte, so there are no more than
    /// bytes.
    pub(super) fn list(&mut self, kind: Kind) -> Option<(Kind, usize)> {
        if !matches!(kind, Kind::List | Kind::Set) {
            return None;
        }
        let head = self.byte()?;
        let count = match head >> 4 {
            15 => usize::try_from(self.varint()?).ok()?,
            count => usize::from(count),
        };
        let element = Kind::of(head & 0x0f)?;
        (count <= self.0.len()).then_some((element, count))
    }

    /// A list of structures, each read by `each`.
    pub(super) fn structs(
        &mut self,
        kind: Kind,
        mut each: impl FnMut(&mut Self) -> Option<()>,
    ) -> Option<()> {
        let (element, count) = self.list(kind)?;
        if element != Kind::Struct && count > 0 {
            return None;
        }
        (0..count).try_for_each(|_| each(self))
    }

    /// A structure's members, each read by `each` (its number, its kind), which says `None` to what
    /// makes no sense and skips what it does not know.
    pub(super) fn members(
        &mut self,
        mut each: impl FnMut(&mut Self, i16, Kind) -> Option<()>,
    ) -> Option<()> {
        let mut number = 0_i16;
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Some(());
            }
            number = match head >> 4 {
                0 => i16::try_from(self.zigzag()?).ok()?,
                more => number.checked_add(i16::from(more))?,
            };
            each(self, number, Kind::of(head & 0x0f)?)?;
        }
    }

    pub(super) fn skip(&mut self, kind: Kind) -> Option<()> {
        self.skip_within(kind, 0)
    }

    fn skip_within(&mut self, kind: Kind, depth: u32) -> Option<()> {
        if depth > DEPTH_MAX {
            return None;
        }
        match kind {
            Kind::True | Kind::False => {}
            Kind::Byte => drop(self.byte()?),
            Kind::I16 | Kind::I32 | Kind::I64 => drop(self.varint()?),
            Kind::Double => drop(self.take(8)?),
            Kind::Binary => drop(self.binary(kind)?),
            Kind::List | Kind::Set => {
                let (element, count) = self.list(kind)?;
                for _ in 0..count {
                    self.skip_element(element, depth)?;
                }
            }
            Kind::Map => {
                let count = self.varint()?;
                if count == 0 {
                    return Some(());
                }
                let kinds = self.byte()?;
                let (key, value) = (Kind::of(kinds >> 4)?, Kind::of(kinds & 0x0f)?);
                // Each takes bytes, so this ends.
                for _ in 0..count {
                    self.skip_element(key, depth)?;
                    self.skip_element(value, depth)?;
                }
            }
            Kind::Struct => self.members(|source, _, kind| source.skip_within(kind, depth + 1))?,
        }
        Some(())
    }

    /// In lists a truth is a byte, not a part of the head.
    fn skip_element(&mut self, kind: Kind, depth: u32) -> Option<()> {
        match kind {
            Kind::True | Kind::False => self.byte().map(drop),
            kind => self.skip_within(kind, depth + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_members_are_read() {
        // 1: i32 = -3; 3: i64 = 300; 20 (said in full): "ab"; then a structure's end.
        let bytes = [0x15, 5, 0x26, 0xd8, 0x04, 0x08, 40, 2, b'a', b'b', 0, 77];
        let mut source = Source(&bytes);
        let mut seen = Vec::new();
        source
            .members(|source, number, kind| {
                seen.push(match kind {
                    Kind::Binary => format!("{number}={:?}", source.binary(kind)?),
                    kind => format!("{number}={}", source.int(kind)?),
                });
                Some(())
            })
            .unwrap();
        assert_eq!(seen, ["1=-3", "3=300", "20=[97, 98]"]);
        assert_eq!(source.0, [77]);
        // The same, skipped.
        let mut source = Source(&bytes);
        source.skip(Kind::Struct).unwrap();
        assert_eq!(source.0, [77]);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let skip = |kind, bytes: &[u8]| Source(bytes).skip(kind);
        // Cut; a length beyond the end; a number without an end; an unknown kind.
        assert_eq!(skip(Kind::Struct, &[0x15]), None);
        assert_eq!(skip(Kind::Binary, &[200, 1, 0]), None);
        assert_eq!(skip(Kind::I64, &[0xff; 20]), None);
        assert_eq!(skip(Kind::Struct, &[0x1d, 0, 0]), None);
        // A list of more elements than there are bytes, and a map.
        assert_eq!(skip(Kind::List, &[0xf5, 0xff, 0xff, 0xff, 0x7f, 0]), None);
        assert_eq!(skip(Kind::Map, &[0xff, 0xff, 0xff, 0x7f, 0x55, 0]), None);
        // Structures in structures in structures.
        assert_eq!(skip(Kind::Struct, &[0x1c; 1000]), None);
        assert_eq!(skip(Kind::List, &[0x19; 1000]), None);
        // Numbers out of their range.
        assert_eq!(Source(&[0xfe, 0xff, 0x7f]).int(Kind::I16), None);
        assert_eq!(Source(&[1]).count(Kind::I32), None);
    }
}
