//! Keeps the workers loosely in the order of the plan.
//!
//! A worker may run ahead of the number of finished accesses by [`LEAD`] at most: that leaves room
//! for working at the same time, and makes a mostly idle worker idle for most of the run instead
//! of done at once. The worker whose access is the oldest unfinished one never waits, so the run
//! always goes on. What a killed worker had begun and not finished counts as not begun: its
//! successor goes on with it.

use crate::demo::plan::Plan;
use crate::demo::unpack::size_u64;

/// How many accesses the fastest worker may be ahead of the number of finished ones.
pub(crate) const LEAD: u64 = 64;

/// Who may begin what. Positions are places in the plan.
#[derive(Debug)]
pub(crate) struct Turns {
    /// For each worker the positions of its accesses.
    positions: Vec<Vec<u64>>,
    /// How many of these are finished.
    done: Vec<usize>,
    finished: u64,
    /// Up to which position, itself included, each worker has been told it may go.
    told: Vec<Option<u64>>,
}

impl Turns {
    /// Nothing begun.
    pub(crate) fn new(plan: &Plan) -> Self {
        let mut positions = vec![Vec::new(); plan.workers];
        for (position, access) in (0..).zip(&plan.accesses) {
            positions[usize::from(access.worker)].push(position);
        }
        Self {
            done: vec![0; positions.len()],
            told: vec![None; positions.len()],
            positions,
            finished: 0,
        }
    }

    /// Counts one finished access; tells its position. `None`: the worker has none left.
    pub(crate) fn finish(&mut self, worker: usize) -> Option<u64> {
        let position = *self.positions[worker].get(self.done[worker])?;
        self.done[worker] += 1;
        self.finished += 1;
        Some(position)
    }

    /// How many accesses are finished.
    pub(crate) fn finished(&self) -> u64 {
        self.finished
    }

    /// Whether all are.
    pub(crate) fn is_over(&self) -> bool {
        self.finished
            == self
                .positions
                .iter()
                .map(|own| size_u64(own.len()))
                .sum::<u64>()
    }

    /// How many of its accesses a worker has finished.
    pub(crate) fn done(&self, worker: usize) -> u64 {
        size_u64(self.done[worker])
    }

    /// Whether a worker has accesses that are not finished.
    pub(crate) fn has_more(&self, worker: usize) -> bool {
        self.done[worker] < self.positions[worker].len()
    }

    /// The position up to which a worker is to be told that it may go, if it is time to tell it
    /// again: it waits, or soon would.
    pub(crate) fn to_tell(&self, worker: usize) -> Option<u64> {
        let next = *self.positions[worker].get(self.done[worker])?;
        let upto = self.finished + LEAD;
        match self.told[worker] {
            None => Some(upto),
            Some(told) if upto - told >= LEAD / 2 || (told < next && next <= upto) => Some(upto),
            Some(_) => None,
        }
    }

    /// It was told.
    pub(crate) fn told(&mut self, worker: usize, upto: u64) {
        self.told[worker] = Some(upto);
    }

    /// Its successor was told nothing yet.
    pub(crate) fn forget(&mut self, worker: usize) {
        self.told[worker] = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::zipf::below;
    use rand_pcg::Pcg64;

    /// Plays workers in any order, with successors now and then: nobody runs ahead, and the run
    /// never comes to a halt.
    #[test]
    fn everybody_gets_through_in_loose_order() {
        let mut random = Pcg64::new(3, 3);
        for seed in 0..20 {
            let plan = Plan::new(seed, 5, 3_000, 10);
            let mut turns = Turns::new(&plan);
            let mut allowed = [None; 5];
            while !turns.is_over() {
                for (worker, allowed) in allowed.iter_mut().enumerate() {
                    if let Some(upto) = turns.to_tell(worker) {
                        turns.told(worker, upto);
                        *allowed = Some(upto);
                    }
                }
                let next = |worker: usize| {
                    let position = turns.positions[worker].get(turns.done[worker]).copied()?;
                    allowed[worker].filter(|upto| position <= *upto)?;
                    Some((worker, position))
                };
                let ready: Vec<_> = (0..5).filter_map(next).collect();
                assert!(!ready.is_empty(), "seed {seed}: a halt at {turns:?}");
                let (worker, position) = ready[below(&mut random, ready.len())];
                assert!(position <= turns.finished() + LEAD);
                if below(&mut random, 50) == 0 {
                    // It dies before it has finished this one.
                    turns.forget(worker);
                    allowed[worker] = None;
                } else {
                    assert_eq!(turns.finish(worker), Some(position));
                }
            }
            assert_eq!(turns.finished(), 3_000);
            assert_eq!(turns.finish(0), None);
            assert!((0..5).all(|worker| turns.to_tell(worker).is_none()));
        }
    }
}
