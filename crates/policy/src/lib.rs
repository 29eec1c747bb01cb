//! Ranks: which offered allocation is discarded first, within a class. Pure.
//!
//! **Owns:** the rule that turns what is known of an allocation into a rank.
//!
//! **Must not know:** slots, memory, classes (they go before any rank), processes. There is no
//! clock, no randomness and no order of hashing in here: all comes by argument, so that the same
//! rule can be replayed on recorded accesses.
#![forbid(unsafe_code)]

/// What a policy may know of an offered allocation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// Ticks of the miss clock since it was last offered.
    pub age_ticks: u32,
    /// How often it was reclaimed so far.
    pub reclaims: u32,
    /// Ticks between its last reclaim and the offer before that; 0 if it was never reclaimed.
    pub last_interval_ticks: u32,
    /// What rebuilding it costs, in nanoseconds; 0 is unknown.
    pub rebuild_cost_ns: f32,
    /// What discarding it gives back, in bytes.
    pub charge_bytes: u64,
}

/// How much it would be missed: lower ranks are discarded first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank(pub u32);

/// A rule that ranks candidates. It is asked for every offered allocation in a scan, a million
/// times in a few milliseconds.
pub trait Policy: Send + Sync + std::fmt::Debug {
    /// The name it is chosen by.
    fn name(&self) -> &'static str;

    /// The rank of one candidate.
    fn rank(&self, candidate: &Candidate) -> Rank;
}

/// The longest offered goes first: least recently used, in ticks of the miss clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct OldestFirst;

impl Policy for OldestFirst {
    fn name(&self) -> &'static str {
        "oldest-first"
    }

    #[inline]
    fn rank(&self, candidate: &Candidate) -> Rank {
        Rank(u32::MAX - candidate.age_ticks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn aged(age_ticks: u32) -> Candidate {
        Candidate {
            age_ticks,
            reclaims: 0,
            last_interval_ticks: 0,
            rebuild_cost_ns: 0.0,
            charge_bytes: 4096,
        }
    }

    proptest! {
        #[test]
        fn the_older_goes_first(a in any::<u32>(), b in any::<u32>()) {
            prop_assert_eq!(OldestFirst.rank(&aged(a)) < OldestFirst.rank(&aged(b)), a > b);
        }
    }
}
