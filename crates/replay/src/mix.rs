//! Numbers that look like chance and are a function of a seed.
//!
//! **Source of the mixing:** G. L. Steele, D. Lea, C. H. Flood, *Fast splittable pseudorandom number
//! generators*, OOPSLA 2014 (`SplitMix64`, with the constants of D. Stafford's variant 13).

/// The golden ratio's fraction in 64 bits, odd: counting by it visits every number.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Spreads a number over all 64 bits; a bijection.
#[inline]
pub(crate) fn mix(number: u64) -> u64 {
    let mut z = number;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A row of draws.
#[derive(Debug, Clone)]
pub(crate) struct Draws {
    state: u64,
}

impl Draws {
    pub(crate) fn new(seed: u64) -> Self {
        Draws { state: seed }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STEP);
        mix(self.state)
    }

    /// A number below `limit`, or 0 where that is 0. Its bias, less than `limit` in 2^64, is of no
    /// consequence here.
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "it is below `limit`")]
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        ((u128::from(self.next()) * limit as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first draws from seed 0, as the reference code of `SplitMix64` prints them.
    #[test]
    fn draws_are_those_of_split_mix_64() {
        let mut draws = Draws::new(0);
        assert_eq!(draws.next(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(draws.next(), 0x6e78_9e6a_a1b9_65f4);
        assert_eq!(draws.next(), 0x06c4_5d18_8009_454f);
    }

    #[test]
    fn draws_are_even() {
        let mut draws = Draws::new(7);
        let mut counts = [0_u32; 10];
        for _ in 0..100_000 {
            counts[draws.below(10)] += 1;
        }
        // ten standard deviations of a fair count are 950
        assert!(
            counts.iter().all(|count| count.abs_diff(10_000) < 950),
            "{counts:?}"
        );
    }
}
