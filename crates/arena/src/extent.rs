//! What an allocation occupies: its shape before it has memory, its extent after.

use std::ptr::NonNull;

use crate::num::to_u64;

/// Which of an arena's regions.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Never huge pages; the unit is a page.
    Small,
    /// Huge pages; the unit is a huge page.
    Huge,
}

/// What an allocation of some size and alignment will occupy. Made by
/// [`Arena::shape`](crate::Arena::shape), valid for that arena only.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    pub(crate) kind: Kind,
    pub(crate) units: u32,
    pub(crate) align_units: u64,
    pub(crate) charge_bytes: u64,
}

impl Shape {
    /// What the allocation is charged: whole pages, or whole huge pages, in bytes.
    #[must_use]
    pub fn charge_bytes(&self) -> u64 {
        self.charge_bytes
    }
}

/// The number of bits that an extent has for its length in units.
const LEN_BITS: u32 = 29;
const LEN_SHIFT: u32 = 32;
const FOREIGN_BIT: u64 = 1 << 61;
const HUGE_BIT: u64 = 1 << 62;
const WARM_BIT: u64 = 1 << 63;
const _: () = assert!(LEN_SHIFT + LEN_BITS == 61);

/// The most units that one extent can have.
pub(crate) const EXTENT_UNITS_MAX: u32 = (1 << LEN_BITS) - 1;

/// A range of pages of one arena, as one word: what a slot of the table remembers of an
/// allocation's memory.
///
/// It owns nothing by itself and may be copied freely. Whoever took it from the arena owns its
/// memory until it is put back or returned, once.
#[derive(Copy, Clone, PartialEq, Eq, Hash)]
pub struct Extent(u64);

impl Extent {
    pub(crate) fn new(kind: Kind, start: u32, units: u32, warm: bool) -> Self {
        debug_assert!(
            units <= EXTENT_UNITS_MAX,
            "an extent has {LEN_BITS} bits for its length"
        );
        let huge = if kind == Kind::Huge { HUGE_BIT } else { 0 };
        let warm = if warm { WARM_BIT } else { 0 };
        Self(u64::from(start) | (u64::from(units & EXTENT_UNITS_MAX) << LEN_SHIFT) | huge | warm)
    }

    /// The extent as a word: never 0.
    #[must_use]
    pub fn to_word(self) -> u64 {
        self.0
    }

    /// The extent of a word that [`to_word`](Extent::to_word) made. Of word 0, "no extent", comes
    /// one without pages.
    #[must_use]
    pub fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// Memory that is not an arena's, at `address`; only its owner knows how much. The arena is
    /// never asked for it and never takes it back. `None` for an address that a process cannot
    /// have.
    #[must_use]
    pub fn foreign(address: NonNull<u8>) -> Option<Self> {
        let address = to_u64(address.as_ptr().expose_provenance());
        (address < FOREIGN_BIT).then_some(Self(address | FOREIGN_BIT))
    }

    /// Whether it is memory of somebody else's ([`Extent::foreign`]).
    #[inline]
    #[must_use]
    pub fn is_foreign(self) -> bool {
        self.0 & FOREIGN_BIT != 0
    }

    /// The address of foreign memory.
    pub(crate) fn foreign_address(self) -> u64 {
        self.0 & !FOREIGN_BIT
    }

    /// Whether it had memory behind it when it was taken: the content is then whatever its last
    /// user in this process left. Otherwise it read as zero.
    #[must_use]
    pub fn is_warm(self) -> bool {
        self.0 & WARM_BIT != 0
    }

    pub(crate) fn kind(self) -> Kind {
        if self.0 & HUGE_BIT == 0 {
            Kind::Small
        } else {
            Kind::Huge
        }
    }

    #[allow(clippy::cast_possible_truncation)] // the low half of the word is the start
    pub(crate) fn start(self) -> u32 {
        self.0 as u32
    }

    #[allow(clippy::cast_possible_truncation)] // masked to 29 bits
    pub(crate) fn units(self) -> u32 {
        (self.0 >> LEN_SHIFT) as u32 & EXTENT_UNITS_MAX
    }
}

impl std::fmt::Debug for Extent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Extent")
            .field("kind", &self.kind())
            .field("start", &self.start())
            .field("units", &self.units())
            .field("warm", &self.is_warm())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_memory_is_told_from_an_arenas() {
        let byte = 7_u8;
        let foreign = Extent::foreign(NonNull::from(&byte)).unwrap();
        assert!(foreign.is_foreign());
        assert_eq!(
            foreign.foreign_address(),
            to_u64(std::ptr::from_ref(&byte).addr())
        );
        let longest = Extent::new(Kind::Huge, u32::MAX, EXTENT_UNITS_MAX, true);
        assert!(!longest.is_foreign());
    }

    #[test]
    fn a_word_keeps_everything() {
        for kind in [Kind::Small, Kind::Huge] {
            for (start, units) in [(0, 1), (u32::MAX, 1), (7, EXTENT_UNITS_MAX), (1 << 31, 513)] {
                for warm in [false, true] {
                    let extent = Extent::new(kind, start, units, warm);
                    assert_ne!(extent.to_word(), 0);
                    let again = Extent::from_word(extent.to_word());
                    assert_eq!(again, extent);
                    assert_eq!(
                        (again.kind(), again.start(), again.units(), again.is_warm()),
                        (kind, start, units, warm)
                    );
                }
            }
        }
    }
}
