//! One worker: carries out accesses of the plan and checks every byte it reads.
//!
//! An access asks the store for the file's memory, unpacks into it where the content is missing,
//! compares the digest, and offers the memory again. Where no memory can be had, the file is
//! unpacked into scratch, read, and dropped. What came of it is a [`Record`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use vidmm::{Class, Committed};

use crate::demo::histogram::nanoseconds;
use crate::demo::plan::{Access, Plan};
use crate::demo::reference::{Item, digest};
use crate::demo::scratch::{Held, Scratch};
use crate::demo::sink::Fixed;
use crate::demo::still::Still;
use crate::demo::store::{Fetched, Store};
use crate::demo::tally::{Found, Live, Record, Tally};
use crate::demo::unpack::{UnpackError, size_u64, unpack};

/// What a worker works with: all workers of a process share it.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) items: Vec<Item>,
    pub(crate) plan: Plan,
    pub(crate) still: Still,
    pub(crate) scratch: Scratch,
    pub(crate) live: Live,
}

/// Carries out all accesses of a plan for one worker, in this process. `done` is how many are.
///
/// # Errors
/// What vidmm answers but *no memory*.
pub(crate) fn run(shared: &Shared, store: Store, done: &AtomicU64) -> Result<Tally, vidmm::Error> {
    let mut worker = Worker::new(shared, store);
    let mut tally = Tally::default();
    for access in &shared.plan.accesses {
        let record = worker.access(*access)?;
        shared.live.count(&record);
        tally.record(access.file as usize, record);
        done.fetch_add(1, Ordering::Relaxed);
    }
    Ok(tally)
}

/// A worker at work.
pub(crate) struct Worker<'a> {
    shared: &'a Shared,
    store: Store,
    /// Which files this worker has read before.
    seen: Vec<bool>,
    /// Of the access under way.
    record: Record,
}

impl<'a> Worker<'a> {
    /// One that has read nothing yet.
    pub(crate) fn new(shared: &'a Shared, store: Store) -> Self {
        Self {
            shared,
            store,
            seen: vec![false; shared.items.len()],
            record: Record::default(),
        }
    }

    /// Carries out one access.
    ///
    /// # Errors
    /// What vidmm answers but *no memory*.
    pub(crate) fn access(&mut self, access: Access) -> Result<Record, vidmm::Error> {
        self.carry_out(access)?;
        let times = self.store.take_times();
        self.record.offer_ns = times.offer_ns;
        self.record.reclaim_ns = times.reclaim_ns;
        Ok(std::mem::take(&mut self.record))
    }

    fn carry_out(&mut self, access: Access) -> Result<(), vidmm::Error> {
        let file = access.file as usize;
        let item = &self.shared.items[file];
        let rebuild = Duration::from_nanos(item.unpack_ns);
        let stroke = self.shared.still.stroke();
        let fetched = self.store.fetch(file, item.unpacked_bytes, rebuild);
        drop(stroke);
        let fetched = fetched?;
        let seen_before = std::mem::replace(&mut self.seen[file], true);
        if let Fetched::Intact(memory) = fetched {
            self.record.found = Found::Intact;
            return self.check_intact(file, memory);
        }
        self.record.found = if seen_before {
            Found::Discarded
        } else {
            Found::FirstUse
        };
        self.record.rebuild_ns = item.unpack_ns;
        // What a scan brings in is not likely to be read again soon, and whoever scans knows it.
        let class = if access.scan {
            Class::Low
        } else {
            Class::Normal
        };
        match fetched {
            Fetched::Empty(memory) => self.fill(file, memory, class),
            _ => {
                self.record.uncached = true;
                self.read_uncached(file);
                Ok(())
            }
        }
    }

    /// Compares reclaimed content with the digest taken before the run.
    fn check_intact(&mut self, file: usize, memory: Committed) -> Result<(), vidmm::Error> {
        let content = memory.lock()?;
        self.record.checked_bytes += size_u64(content.len());
        let wrong = digest(&content) != self.shared.items[file].digest;
        if wrong {
            self.record.wrong_bytes += self.count_wrong(file, &content);
        }
        drop(content);
        if !wrong {
            self.store.keep(file, memory, Class::Normal);
        }
        // Wrong content is given up: what follows counts its own bytes, not these again.
        Ok(())
    }

    /// Unpacks into vidmm's memory. The content is checked there, so that writing is proven too.
    fn fill(
        &mut self,
        file: usize,
        mut memory: Committed,
        class: Class,
    ) -> Result<(), vidmm::Error> {
        let shared = self.shared;
        let item = &shared.items[file];
        let held = shared.scratch.hold(item.temporary_bytes);
        let mut room = memory.lock_mut()?;
        let start = Instant::now();
        let outcome = unpack_exactly(item, &mut room, &shared.still);
        self.took(start.elapsed());
        drop(held);
        let outcome = outcome.and_then(|()| {
            if digest(&room) == item.digest {
                return Ok(());
            }
            // Either the file has changed meanwhile or the memory is not what was written to it:
            // a second unpacking elsewhere tells.
            let again = unpack_to_scratch(shared, item)?;
            if digest(&again.bytes) == item.digest {
                self.record.wrong_bytes += differing(&again.bytes, &room);
                return Ok(());
            }
            Err(UnpackError::Changed)
        });
        drop(room);
        match outcome {
            Ok(()) => self.store.keep(file, memory, class),
            Err(error) => self.lose(&error),
        }
        Ok(())
    }

    /// Reads a file without vidmm.
    fn read_uncached(&mut self, file: usize) {
        let item = &self.shared.items[file];
        let start = Instant::now();
        let outcome = unpack_to_scratch(self.shared, item);
        self.took(start.elapsed());
        match outcome {
            Ok(content) if digest(&content.bytes) == item.digest => {}
            Ok(_) => self.lose(&UnpackError::Changed),
            Err(error) => self.lose(&error),
        }
    }

    /// How many bytes of `content` are not the file's. All of them if the file itself cannot be
    /// unpacked to the known content any more.
    fn count_wrong(&self, file: usize, content: &[u8]) -> u64 {
        let item = &self.shared.items[file];
        match unpack_to_scratch(self.shared, item) {
            Ok(right) if digest(&right.bytes) == item.digest => differing(&right.bytes, content),
            _ => size_u64(content.len()),
        }
    }

    fn took(&mut self, time: Duration) {
        let wall_ns = &mut self.record.rebuild_wall_ns;
        *wall_ns = wall_ns.saturating_add(nanoseconds(time));
    }

    /// The file has gone or changed during the run. The run goes on.
    fn lose(&mut self, error: &UnpackError) {
        self.record.lost = Some(format!("during the run: {error}"));
    }
}

/// Bytes that differ, counting those that only one of the two has.
fn differing(left: &[u8], right: &[u8]) -> u64 {
    let unequal = left
        .iter()
        .zip(right)
        .filter(|(left, right)| left != right)
        .count();
    size_u64(unequal + left.len().abs_diff(right.len()))
}

fn unpack_exactly(item: &Item, room: &mut [u8], still: &Still) -> Result<(), UnpackError> {
    let mut sink = Fixed::new(room, still);
    unpack(&item.input.path, item.input.kind, &mut sink)?;
    sink.finish()
}

/// Content outside vidmm, with its hold on the scratch meter.
struct Content<'a> {
    bytes: Vec<u8>,
    _held: Held<'a>,
}

/// Unpacks into a buffer of its own. The caller drops it before it takes any other scratch.
fn unpack_to_scratch<'a>(shared: &'a Shared, item: &Item) -> Result<Content<'a>, UnpackError> {
    let needed_bytes = item
        .temporary_bytes
        .saturating_add(size_u64(item.unpacked_bytes));
    let held = shared.scratch.hold(needed_bytes);
    let mut bytes = Vec::new();
    bytes
        .try_reserve_exact(item.unpacked_bytes)
        .map_err(|error| UnpackError::Damaged(std::io::Error::other(error)))?;
    bytes.resize(item.unpacked_bytes, 0);
    unpack_exactly(item, &mut bytes, &shared.still)?;
    Ok(Content { bytes, _held: held })
}

#[cfg(test)]
#[path = "worker_tests.rs"]
mod tests;
