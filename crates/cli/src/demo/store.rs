//! One worker's memory: what it has offered, file by file.
//!
//! The only module of the demo, beside the set-up and the sampler, that talks to vidmm - and so
//! the place to look at for how a program uses it: allocate, fill, offer, reclaim.

use std::time::{Duration, Instant};

use vidmm::{Class, Committed, Error, Offered, Pool, Reclaimed};

use crate::demo::histogram::nanoseconds;

/// What a worker finds when it asks for a file's memory.
#[derive(Debug)]
pub(crate) enum Fetched {
    /// Offered memory, as it was: no need to unpack.
    Intact(Committed),
    /// Memory whose content is gone, or new memory: to be filled.
    Empty(Committed),
    /// No memory can be had now: everything is in use by others.
    NoRoom,
}

/// A worker's table of offered memory, one place for each file.
#[derive(Debug)]
pub(crate) struct Store {
    pool: Pool,
    offered: Vec<Option<Offered>>,
    clock_ns: u64,
    times: Times,
}

/// How long the calls of one access took, in nanoseconds, where there were any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) offer_ns: Option<u64>,
    /// Of a reclaim that found the content intact.
    pub(crate) reclaim_ns: Option<u64>,
}

impl Store {
    /// An empty table. `clock_ns` is what reading the clock adds to a measured call.
    pub(crate) fn new(pool: Pool, files: usize, clock_ns: u64) -> Self {
        let offered = (0..files).map(|_| None).collect();
        Self {
            pool,
            offered,
            clock_ns,
            times: Times::default(),
        }
    }

    /// Gets the memory for `file` back, or new memory of `len_bytes` that costs `rebuild` to fill.
    ///
    /// # Errors
    /// Whatever vidmm says but *no memory*, which is an answer here.
    pub(crate) fn fetch(
        &mut self,
        file: usize,
        len_bytes: usize,
        rebuild: Duration,
    ) -> Result<Fetched, Error> {
        let Some(offered) = self.offered[file].take() else {
            let options = self.pool.options().allow_not_zeroed().rebuild_cost(rebuild);
            return match options.allocate(len_bytes) {
                Ok(memory) => Ok(Fetched::Empty(memory)),
                Err(Error::NoMemory { .. }) => Ok(Fetched::NoRoom),
                Err(error) => Err(error),
            };
        };
        let start = Instant::now();
        let reclaimed = offered.reclaim();
        let elapsed = start.elapsed();
        match reclaimed {
            Ok(Reclaimed::Intact(memory)) => {
                self.times.reclaim_ns = Some(nanoseconds(elapsed).saturating_sub(self.clock_ns));
                Ok(Fetched::Intact(memory))
            }
            Ok(Reclaimed::Discarded(memory)) => Ok(Fetched::Empty(memory)),
            Err(refused) => {
                self.offered[file] = Some(refused.offered);
                match refused.error {
                    Error::NoMemory { .. } => Ok(Fetched::NoRoom),
                    error => Err(error),
                }
            }
        }
    }

    /// Offers `memory` until `file` is asked for again.
    pub(crate) fn keep(&mut self, file: usize, memory: Committed, class: Class) {
        let start = Instant::now();
        let offered = memory.offer(class);
        let elapsed = start.elapsed();
        self.times.offer_ns = Some(nanoseconds(elapsed).saturating_sub(self.clock_ns));
        self.offered[file] = Some(offered);
    }

    /// How long the calls took since this was asked last.
    pub(crate) fn take_times(&mut self) -> Times {
        std::mem::take(&mut self.times)
    }
}
