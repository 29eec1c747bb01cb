//! What came of accesses: of one, and of all together.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::demo::histogram::Histogram;

/// What a worker found when it asked for a file's content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Found {
    /// It had not asked before.
    #[default]
    FirstUse,
    /// As it was left.
    Intact,
    /// Given up meanwhile.
    Discarded,
}

/// What came of one access.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) found: Found,
    /// Served without vidmm, for lack of room.
    pub(crate) uncached: bool,
    pub(crate) wrong_bytes: u64,
    /// Bytes that came back intact and were compared with their digest.
    pub(crate) checked_bytes: u64,
    /// The reference time of what was unpacked.
    pub(crate) rebuild_ns: u64,
    /// What the unpacking really took.
    pub(crate) rebuild_wall_ns: u64,
    /// How long the offer took, if there was one.
    pub(crate) offer_ns: Option<u64>,
    /// How long the reclaim took, if it found the content.
    pub(crate) reclaim_ns: Option<u64>,
    /// Why the file could be unpacked before the run and not now.
    pub(crate) lost: Option<String>,
}

/// What came of many.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) first_use: u64,
    pub(crate) intact: u64,
    pub(crate) discarded: u64,
    /// How many of the first uses and the discarded were served without vidmm, for lack of room.
    pub(crate) uncached: u64,
    pub(crate) wrong_bytes: u64,
    pub(crate) checked_bytes: u64,
    pub(crate) rebuild_ns: u64,
    pub(crate) rebuild_wall_ns: u64,
    pub(crate) offer: Histogram,
    pub(crate) reclaim: Histogram,
    /// Files that could be unpacked before the run and not during it, and why; each once.
    pub(crate) lost: BTreeMap<usize, String>,
}

impl Tally {
    /// Adds one access to file number `file`.
    pub(crate) fn record(&mut self, file: usize, record: Record) {
        *match record.found {
            Found::FirstUse => &mut self.first_use,
            Found::Intact => &mut self.intact,
            Found::Discarded => &mut self.discarded,
        } += 1;
        self.uncached += u64::from(record.uncached);
        self.wrong_bytes += record.wrong_bytes;
        self.checked_bytes += record.checked_bytes;
        self.rebuild_ns = self.rebuild_ns.saturating_add(record.rebuild_ns);
        self.rebuild_wall_ns = self.rebuild_wall_ns.saturating_add(record.rebuild_wall_ns);
        if let Some(time_ns) = record.offer_ns {
            self.offer.record(time_ns);
        }
        if let Some(time_ns) = record.reclaim_ns {
            self.reclaim.record(time_ns);
        }
        if let Some(why) = record.lost {
            self.lost.entry(file).or_insert(why);
        }
    }
}

/// Counters for the progress display, updated on the way.
#[derive(Debug, Default)]
pub(crate) struct Live {
    first_use: AtomicU64,
    intact: AtomicU64,
    discarded: AtomicU64,
}

impl Live {
    /// Counts one access.
    pub(crate) fn count(&self, record: &Record) {
        let counter = match record.found {
            Found::FirstUse => &self.first_use,
            Found::Intact => &self.intact,
            Found::Discarded => &self.discarded,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// What was counted, in words.
    pub(crate) fn in_words(&self) -> String {
        format!(
            "{} first, {} intact, {} discarded",
            self.first_use.load(Ordering::Relaxed),
            self.intact.load(Ordering::Relaxed),
            self.discarded.load(Ordering::Relaxed)
        )
    }
}
