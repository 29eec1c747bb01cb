//! What a pool holds and has done. Nothing here is written by offer or reclaim of intact memory:
//! what concerns them is read out of the slots when somebody asks.

use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use vidmm_arena::{ArenaStats, Extent, Kernel};
use vidmm_machine::Reason;
use vidmm_table::{Class, State};

use crate::pool::Pool;

/// Figures older than this are taken anew.
const CACHED_FOR: Duration = Duration::from_millis(100);

/// A number of allocations and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClassBytes {
    /// How many.
    pub count: u64,
    /// Their charge, in bytes.
    pub bytes: u64,
}

impl ClassBytes {
    pub(crate) fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes += bytes;
    }
}

/// What a pool holds and has done. Bytes are charged bytes. Taken slot by slot: exact only while
/// nobody uses the pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// The budget in force, in bytes.
    pub budget_bytes: u64,
    /// What can still be backed, in bytes; negative is a debt.
    pub room_bytes: i64,
    /// In use.
    pub committed: ClassBytes,
    /// Of these, locked now.
    pub locked: ClassBytes,
    /// Offered, by the class that counts: LOW, NORMAL, HIGH.
    pub offered: [ClassBytes; 3],
    /// Allocations without memory: discarded and not reclaimed yet (bytes are what they had).
    pub discarded_now: ClassBytes,
    /// Backed memory that belongs to no allocation, in bytes.
    pub warm_bytes: u64,
    /// What the kernel refused to take back so far, in bytes.
    pub refused_bytes: u64,
    /// Reclaims so far that found the content.
    pub reclaims_intact: u64,
    /// Reclaims so far that did not.
    pub reclaims_discarded: u64,
    /// Allocations discarded so far, by class.
    pub discards: [ClassBytes; 3],
    /// Bytes discarded so far for each reason, in the order of [`Reason::ALL`].
    pub discarded_bytes_by_reason: [u64; Reason::ALL.len()],
    /// How often the table was scanned for victims.
    pub scans: u64,
    /// Bytes of all bookkeeping.
    pub bookkeeping_bytes: u64,
}

impl Stats {
    /// All that is offered.
    #[must_use]
    pub fn offered_bytes(&self) -> u64 {
        self.offered.iter().map(|class| class.bytes).sum()
    }

    /// Allocations discarded so far.
    #[must_use]
    pub fn discards_total(&self) -> u64 {
        self.discards.iter().map(|class| class.count).sum()
    }
}

/// The last answer and when it was taken.
#[derive(Debug)]
pub(crate) struct Cached {
    at: Instant,
    stats: Stats,
}

/// Counted on slow paths only.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) reclaims_discarded: AtomicU64,
    pub(crate) scans: AtomicU64,
    /// Reclaims of allocations that are no more.
    retired_reclaims: AtomicU64,
    discards: [AtomicU64; 3],
    discarded_bytes: [AtomicU64; 3],
    by_reason: [AtomicU64; Reason::ALL.len()],
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, more: u64) {
        counter.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn retired(&self, reclaims: u32) {
        if reclaims != 0 {
            Self::add(&self.retired_reclaims, u64::from(reclaims));
        }
    }

    pub(crate) fn discarded(&self, class: Class, reason: Reason, bytes: u64) {
        let class = class as usize;
        if let (Some(count), Some(sum)) =
            (self.discards.get(class), self.discarded_bytes.get(class))
        {
            Self::add(count, 1);
            Self::add(sum, bytes);
        }
        if let Some(place) = Reason::ALL.iter().position(|&r| r == reason) {
            Self::add(&self.by_reason[place], bytes);
        }
    }
}

impl<K: Kernel> Pool<K> {
    /// What the pool holds and has done, at most 100 ms old.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let _inside = self.gate.enter();
        self.stats_inside()
    }

    /// As [`Pool::stats`], by a caller that is inside the gate.
    pub(crate) fn stats_inside(&self) -> Stats {
        let mut cached = self
            .cached_stats
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match cached.as_ref() {
            Some(cached) if cached.at.elapsed() < CACHED_FOR => cached.stats,
            _ => {
                let stats = self.take_stats();
                *cached = Some(Cached {
                    at: Instant::now(),
                    stats,
                });
                stats
            }
        }
    }

    /// As [`Pool::stats`], taken now, at the cost of a scan.
    #[must_use]
    pub fn stats_now(&self) -> Stats {
        let _inside = self.gate.enter();
        self.take_stats()
    }

    /// Discards so far by class: how many, and their bytes.
    pub(crate) fn discards_so_far(&self) -> [(u64, u64); 3] {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        std::array::from_fn(|class| {
            (
                load(&counters.discards[class]),
                load(&counters.discarded_bytes[class]),
            )
        })
    }

    fn take_stats(&self) -> Stats {
        let mut stats = Stats::default();
        let mut reclaims = self.counters.retired_reclaims.load(Ordering::Relaxed);
        self.table.scan(|_, slot| {
            let word = slot.word();
            if word.state() == State::Empty {
                return;
            }
            let bytes = self.arena.charge_bytes(Extent::from_word(slot.extent().0));
            reclaims += u64::from(slot.history().reclaims);
            match word.state() {
                State::Committed => {
                    stats.committed.add(bytes);
                    if word.locks() > 0 {
                        stats.locked.add(bytes);
                    }
                }
                State::Offered => {
                    let class = word.mode().class.effective(slot.priority());
                    if let Some(offered) = stats.offered.get_mut(class as usize) {
                        offered.add(bytes);
                    }
                }
                State::Discarded | State::Dead => stats.discarded_now.add(bytes),
                State::Empty | State::Shared => {}
            }
        });
        self.add_shared(&mut stats);
        let arena = if self.left_out.load(Ordering::Relaxed) {
            // A copy of the arena's books came along, and nothing of what they speak of.
            ArenaStats::default()
        } else {
            self.arena.stats()
        };
        let counters = &self.counters;
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        stats.budget_bytes = self.budget_bytes();
        stats.room_bytes = self.room.left_bytes();
        stats.warm_bytes = arena.warm_bytes;
        stats.refused_bytes = arena.refused_bytes;
        stats.reclaims_discarded = load(&counters.reclaims_discarded);
        stats.reclaims_intact = reclaims.saturating_sub(stats.reclaims_discarded);
        for class in 0..stats.discards.len() {
            stats.discards[class] = ClassBytes {
                count: load(&counters.discards[class]),
                bytes: load(&counters.discarded_bytes[class]),
            };
        }
        for (sum, counter) in stats
            .discarded_bytes_by_reason
            .iter_mut()
            .zip(&counters.by_reason)
        {
            *sum = load(counter);
        }
        stats.scans = load(&counters.scans);
        stats.bookkeeping_bytes = self.table.memory_use().bytes
            + self.reclaimer().bytes()
            + self.policy.bookkeeping_bytes()
            + arena.free_ranges as u64 * FREE_RANGE_BYTES;
        stats
    }
}

/// What one free range costs the arena, about: two ordered entries.
const FREE_RANGE_BYTES: u64 = 48;
