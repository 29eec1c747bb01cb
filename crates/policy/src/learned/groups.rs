//! Groups of allocations with a like past, and the coarser groups that these are parts of.

use crate::Past;

/// Binary digits of an interval: 0 to 16.
pub(super) const INTERVALS: usize = 17;
/// How often reclaimed: 1, 2, 3-4, 5-9, 10-29, more often.
pub(super) const COUNTS: usize = 6;
/// How the interval before the last one compares: like it, much shorter, much longer.
const RELATIONS: usize = 3;

/// Never reclaimed, or one of each of the above.
pub(super) const GROUPS: usize = 1 + RELATIONS * COUNTS * INTERVALS;

/// A group of allocations with a like past.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Group(u16);

impl Group {
    /// That of what was never reclaimed.
    pub(super) const NEW: Group = Group(0);

    pub(super) fn of(past: &Past) -> Self {
        Group::from_parts(
            past.reclaims,
            past.last_interval_ticks,
            past.previous_interval_ticks,
        )
    }

    pub(super) fn from_parts(reclaims: u32, last_ticks: u32, previous_ticks: u32) -> Self {
        let count = match reclaims {
            0 => return Group::NEW,
            1 => 0,
            2 => 1,
            3..=4 => 2,
            5..=9 => 3,
            10..=29 => 4,
            _ => 5,
        };
        let last_bits = bits(last_ticks);
        let relation = match i32::from(bits(previous_ticks)) - i32::from(last_bits) {
            _ if reclaims < 2 => 0,
            ..=-3 => 1,
            3.. => 2,
            _ => 0,
        };
        Group::at(relation, count, usize::from(last_bits))
    }

    fn at(relation: usize, count: usize, interval: usize) -> Self {
        let index = 1 + (relation * COUNTS + count) * INTERVALS + interval;
        // Below GROUPS.
        #[allow(clippy::cast_possible_truncation)]
        let index = index as u16;
        Group(index)
    }

    pub(super) fn index(self) -> usize {
        usize::from(self.0)
    }

    /// The groups of what was reclaimed as often and had a last interval as long, by steps of each.
    pub(super) fn alike(count: usize, interval: usize) -> [Group; RELATIONS] {
        std::array::from_fn(|relation| Group::at(relation, count, interval))
    }
}

/// The number of binary digits of an interval, 16 at most.
fn bits(interval_ticks: u32) -> u8 {
    // At most 32.
    #[allow(clippy::cast_possible_truncation)]
    let bits = (u32::BITS - interval_ticks.leading_zeros()).min(16) as u8;
    bits
}
