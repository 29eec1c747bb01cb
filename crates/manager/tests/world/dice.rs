//! Chance from a seed.

/// A generator whose whole state is a word (splitmix64).
#[derive(Debug, Clone)]
pub struct Dice(pub u64);

impl Dice {
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Less than `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.word() % end
    }

    /// True in so many of a thousand cases.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    pub fn u32_below(&mut self, end: u32) -> u32 {
        u32::try_from(self.below(u64::from(end))).expect("less than a u32")
    }

    /// Whole pages, less than `end` bytes.
    pub fn pages(&mut self, end: u64) -> u64 {
        self.below(end.max(1)) / 4096 * 4096
    }
}
