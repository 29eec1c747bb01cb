//! Free runs in order of address, neighbours merged, with an index by size.

use std::collections::{BTreeMap, BTreeSet};

use super::{Align, Run};

/// How many runs an aligned request looks at, in order of size, before it settles for one that is
/// surely large enough.
const ALIGNED_TRIES_MAX: usize = 64;

/// The map. Invariant: no two runs overlap or touch, and both indexes hold the same runs.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    by_start: BTreeMap<u32, u32>,
    by_len: BTreeSet<(u32, u32)>,
}

impl Ranges {
    pub(super) fn len(&self) -> usize {
        self.by_start.len()
    }

    pub(super) fn largest(&self) -> Option<Run> {
        self.by_len.last().map(|&(len, start)| Run { start, len })
    }

    /// Adds a run, merged with its neighbours. A run that overlaps a free one is refused.
    pub(super) fn insert(&mut self, run: Run) -> bool {
        let (mut start, mut end) = (run.start, run.end());
        let before = self
            .by_start
            .range(..=start)
            .next_back()
            .map(|(&s, &l)| Run { start: s, len: l });
        let after = self
            .by_start
            .range(start..)
            .next()
            .map(|(&s, &l)| Run { start: s, len: l });
        let overlaps =
            before.is_some_and(|run| run.end() > start) || after.is_some_and(|run| run.start < end);
        debug_assert!(!overlaps, "units {run:?} were freed twice");
        if overlaps {
            return false;
        }
        if let Some(before) = before.filter(|run| run.end() == start) {
            self.by_len.remove(&(before.len, before.start));
            start = before.start;
        }
        if let Some(after) = after.filter(|run| run.start == end) {
            self.remove(after);
            end = after.end();
        }
        self.by_start.insert(start, end - start);
        self.by_len.insert((end - start, start));
        true
    }

    fn remove(&mut self, run: Run) {
        self.by_start.remove(&run.start);
        self.by_len.remove(&(run.len, run.start));
    }

    /// The best fit, cut out of its run.
    pub(super) fn take(&mut self, len: u32, align: Align) -> Option<u32> {
        let (run, start) = self.find(len, align)?;
        self.cut(run, Run { start, len });
        Some(start)
    }

    fn find(&self, len: u32, align: Align) -> Option<(Run, u32)> {
        let fits = |&(run_len, run_start): &(u32, u32)| {
            let run = Run {
                start: run_start,
                len: run_len,
            };
            let start = align.next(run.start)?;
            (u64::from(start) + u64::from(len) <= u64::from(run.end())).then_some((run, start))
        };
        let near = self
            .by_len
            .range((len, 0)..)
            .take(ALIGNED_TRIES_MAX)
            .find_map(fits);
        if near.is_some() || align.units <= 1 {
            return near;
        }
        let sure = u32::try_from(u64::from(len).checked_add(align.units - 1)?).ok()?;
        self.by_len.range((sure, 0)..).find_map(fits)
    }

    /// Takes `piece` out of `run`, which contains it.
    fn cut(&mut self, run: Run, piece: Run) {
        self.by_len.remove(&(run.len, run.start));
        if piece.start > run.start {
            let front = piece.start - run.start;
            self.by_start.insert(run.start, front);
            self.by_len.insert((front, run.start));
        } else {
            self.by_start.remove(&run.start);
        }
        if piece.end() < run.end() {
            let back = run.end() - piece.end();
            self.by_start.insert(piece.end(), back);
            self.by_len.insert((back, piece.end()));
        }
    }

    /// Up to `len_max` units from the top of the largest run.
    pub(super) fn take_largest(&mut self, len_max: u32) -> Option<Run> {
        let run = self.largest().filter(|_| len_max > 0)?;
        let len = run.len.min(len_max);
        let piece = Run {
            start: run.end() - len,
            len,
        };
        self.cut(run, piece);
        Some(piece)
    }

    pub(super) fn ending_at(&self, end: u32) -> Option<Run> {
        let (&start, &len) = self.by_start.range(..end).next_back()?;
        Some(Run { start, len }).filter(|run| run.end() == end)
    }

    pub(super) fn take_ending_at(&mut self, end: u32) -> Option<Run> {
        let run = self.ending_at(end)?;
        self.remove(run);
        Some(run)
    }
}
