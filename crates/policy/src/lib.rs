//! Ranks: which offered allocation is discarded first, within a class. Pure.
//!
//! **Owns:** the rules that turn what is known of an allocation into a rank: [`OldestFirst`], and
//! [`Learned`], which learns from the table itself how soon what is taken back.
//!
//! **Must not know:** slots, memory, classes (they go before any rank), processes. There is no
//! clock, no randomness and no order of hashing in here: all comes by argument, so that the same
//! rule can be replayed on recorded accesses.
#![forbid(unsafe_code)]

mod learned;

use std::fmt::Debug;
use std::sync::Arc;

pub use learned::{Learned, Tuning};

/// Intervals above this are remembered as this, in ticks of the miss clock.
pub const INTERVAL_TICKS_MAX: u32 = (1 << 16) - 1;

/// What a policy may know of an offered allocation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// Ticks of the miss clock since it was last offered.
    pub age_ticks: u32,
    /// What is known of its past.
    pub past: Past,
    /// What discarding it gives back, in bytes.
    pub charge_bytes: u64,
}

/// What is known of an allocation's past, also while its content is discarded.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Past {
    /// How often it was reclaimed so far.
    pub reclaims: u32,
    /// Ticks between its last reclaim and the offer before that, at most [`INTERVAL_TICKS_MAX`];
    /// 0 if it was never reclaimed.
    pub last_interval_ticks: u32,
    /// The interval before the last one, as above; 0 if it was reclaimed less than twice.
    pub previous_interval_ticks: u32,
    /// What rebuilding it costs, in nanoseconds; 0 is unknown.
    pub rebuild_cost_ns: f32,
}

impl Past {
    /// The past after a reclaim, so many ticks after the offer before it.
    #[must_use]
    pub fn reclaimed_after(self, interval_ticks: u32) -> Self {
        Past {
            reclaims: self.reclaims.wrapping_add(1),
            last_interval_ticks: interval_ticks.min(INTERVAL_TICKS_MAX),
            previous_interval_ticks: self.last_interval_ticks,
            rebuild_cost_ns: self.rebuild_cost_ns,
        }
    }
}

/// How much it would be missed: lower ranks are discarded first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank(pub u32);

/// [`Policy::place`] answers less than this.
pub const PLACES: usize = 1 << 10;

/// One allocation as a policy that learns sees it: also when it is in use, or discarded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sighting {
    /// Tells the allocations that had this slot one after the other from each other.
    pub generation: u16,
    /// Whether it waits to be reclaimed: it is offered, or discarded.
    pub is_waiting: bool,
    /// When it was last offered, by the miss clock.
    pub stamp_ticks: u32,
    /// What is known of its past.
    pub past: Past,
    /// Its size as far as a rebuild goes, in bytes.
    pub size_bytes: u64,
}

/// All allocations of a process, by the numbers of their slots.
pub trait Sightings {
    /// One above the highest slot that was ever used.
    fn end(&self) -> u32;

    /// The allocation in a slot; `None` if there is none.
    fn at(&self, slot: u32) -> Option<Sighting>;
}

/// A rule that ranks candidates.
///
/// It is asked for every offered allocation in a scan, a million times in a few milliseconds; and
/// asked again, at each claim, whether the rank is still the same. A rule that learns gives each
/// list a [`Policy::snapshot`] of what it knows, so that what it learns meanwhile changes no rank of
/// that list.
///
/// Its methods are called from any thread, never from within each other.
pub trait Policy: Send + Sync + Debug {
    /// The name it is chosen by.
    fn name(&self) -> &'static str;

    /// The rank of one candidate.
    fn rank(&self, candidate: &Candidate) -> Rank;

    /// Where a rank stands on a scale of [`PLACES`] places that rises with the rank: what others are
    /// told of the ranks here is no finer.
    fn place(&self, rank: Rank) -> usize {
        (rank.0 >> 22) as usize
    }

    /// For how long it counts as idle, in milliseconds, when processes are compared: their ranks
    /// cannot be. What is worth less than its age says may count as idle for longer than it was.
    /// `since` says how many milliseconds ago the miss clock was so many ticks younger.
    fn idle_ms(&self, candidate: &Candidate, since: &dyn Fn(u32) -> f64) -> f64 {
        since(candidate.age_ticks)
    }

    /// What it knows now, for one list, having looked at all allocations if it wants to; `None` if
    /// it never changes.
    fn snapshot(&self, now_ticks: u32, sightings: &dyn Sightings) -> Option<Ranks> {
        let _ = (now_ticks, sightings);
        None
    }

    /// Whether it wants to look at all allocations though no list is to be made. Asked at every
    /// tick of the miss clock, so it must cost next to nothing.
    fn wants_to_look(&self, now_ticks: u32) -> bool {
        let _ = now_ticks;
        false
    }

    /// Lets it look at all allocations.
    fn look(&self, now_ticks: u32, sightings: &dyn Sightings) {
        let _ = (now_ticks, sightings);
    }

    /// Bytes of memory that it takes.
    fn bookkeeping_bytes(&self) -> u64 {
        0
    }
}

/// What ranks a list: a policy as it was when the list was made.
#[derive(Debug, Clone)]
pub struct Ranks(By);

#[derive(Debug, Clone)]
enum By {
    /// Known here, so that it can be compiled into a scan.
    Learned(Arc<learned::Snapshot>),
    Policy(Arc<dyn Policy>),
}

impl Ranks {
    pub(crate) fn learned(snapshot: Arc<learned::Snapshot>) -> Self {
        Ranks(By::Learned(snapshot))
    }

    /// As [`Policy::rank`].
    #[inline]
    #[must_use]
    pub fn rank(&self, candidate: &Candidate) -> Rank {
        match &self.0 {
            By::Learned(snapshot) => snapshot.rank(candidate),
            By::Policy(policy) => policy.rank(candidate),
        }
    }

    /// As [`Policy::place`].
    #[must_use]
    pub fn place(&self, rank: Rank) -> usize {
        self.policy().place(rank)
    }

    /// As [`Policy::idle_ms`].
    #[must_use]
    pub fn idle_ms(&self, candidate: &Candidate, since: &dyn Fn(u32) -> f64) -> f64 {
        self.policy().idle_ms(candidate, since)
    }

    fn policy(&self) -> &dyn Policy {
        match &self.0 {
            By::Learned(snapshot) => snapshot.as_ref(),
            By::Policy(policy) => policy.as_ref(),
        }
    }
}

impl From<Arc<dyn Policy>> for Ranks {
    /// For a policy that never changes.
    fn from(policy: Arc<dyn Policy>) -> Self {
        Ranks(By::Policy(policy))
    }
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

    /// By the age, on a logarithmic scale with eight parts to a doubling: the first eight ages each
    /// have a place of their own.
    fn place(&self, rank: Rank) -> usize {
        let age_ticks = u32::MAX - rank.0;
        let from_the_top = match age_ticks.checked_ilog2() {
            None | Some(0..=2) => age_ticks as usize,
            Some(log2) => (log2 as usize - 2) * 8 + (age_ticks >> (log2 - 3) & 7) as usize,
        };
        PLACES - 1 - from_the_top
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn aged(age_ticks: u32) -> Candidate {
        Candidate {
            age_ticks,
            past: Past::default(),
            charge_bytes: 4096,
        }
    }

    proptest! {
        #[test]
        fn the_older_goes_first(a in any::<u32>(), b in any::<u32>()) {
            prop_assert_eq!(OldestFirst.rank(&aged(a)) < OldestFirst.rank(&aged(b)), a > b);
        }

        #[test]
        fn places_keep_the_order_of_ranks(a in any::<u32>(), b in any::<u32>()) {
            let (low, high) = (Rank(a.min(b)), Rank(a.max(b)));
            for policy in [&OldestFirst as &dyn Policy, &Learned::default()] {
                prop_assert!(policy.place(low) <= policy.place(high));
                prop_assert!(policy.place(high) < PLACES);
            }
        }
    }
}
