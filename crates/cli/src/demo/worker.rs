//! One worker: carries out its accesses of the plan and checks every byte it reads.
//!
//! An access asks the store for the file's memory, unpacks into it where the content is missing,
//! compares the digest, and offers the memory again. Where no memory can be had, the file is
//! unpacked into scratch, read, and dropped.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use vidmm::{Class, Committed};

use crate::demo::histogram::{Histogram, nanoseconds};
use crate::demo::plan::{Access, Plan};
use crate::demo::reference::{Item, digest};
use crate::demo::scratch::{Held, Scratch};
use crate::demo::sink::Fixed;
use crate::demo::still::Still;
use crate::demo::store::{Fetched, Store};
use crate::demo::turns::Turns;
use crate::demo::unpack::{UnpackError, size_u64, unpack};

/// What all workers of a run share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) items: Vec<Item>,
    pub(crate) plan: Plan,
    pub(crate) turns: Turns,
    pub(crate) still: Still,
    pub(crate) scratch: Scratch,
    pub(crate) live: Live,
}

/// Counters for the progress display, updated on the way.
#[derive(Debug, Default)]
pub(crate) struct Live {
    pub(crate) first_use: AtomicU64,
    pub(crate) intact: AtomicU64,
    pub(crate) discarded: AtomicU64,
}

/// What a worker did.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) first_use: u64,
    pub(crate) intact: u64,
    pub(crate) discarded: u64,
    /// How many of the first uses and the discarded were served without vidmm, for lack of room.
    pub(crate) uncached: u64,
    pub(crate) wrong_bytes: u64,
    /// Bytes that came back intact and were compared with their digest.
    pub(crate) checked_bytes: u64,
    /// Sum of the reference times of what was unpacked.
    pub(crate) rebuild_ns: u64,
    /// What the unpacking really took.
    pub(crate) rebuild_wall_ns: u64,
    pub(crate) offer: Histogram,
    pub(crate) reclaim: Histogram,
    /// Files that could be unpacked before the run and not during it, and why.
    pub(crate) lost: BTreeMap<usize, String>,
}

impl Tally {
    /// Adds another worker's figures.
    pub(crate) fn add(&mut self, other: Self) {
        self.first_use += other.first_use;
        self.intact += other.intact;
        self.discarded += other.discarded;
        self.uncached += other.uncached;
        self.wrong_bytes += other.wrong_bytes;
        self.checked_bytes += other.checked_bytes;
        self.rebuild_ns = self.rebuild_ns.saturating_add(other.rebuild_ns);
        self.rebuild_wall_ns = self.rebuild_wall_ns.saturating_add(other.rebuild_wall_ns);
        self.offer.add(&other.offer);
        self.reclaim.add(&other.reclaim);
        self.lost.extend(other.lost);
    }
}

/// Carries out all accesses of worker number `worker`. Returns early, without an error, if
/// another worker has failed.
///
/// # Errors
/// What vidmm answers but *no memory*.
pub(crate) fn run(shared: &Shared, worker: usize, store: Store) -> Result<Tally, vidmm::Error> {
    let mut guard = BreakOff {
        turns: &shared.turns,
        armed: true,
    };
    let seen = vec![false; shared.items.len()];
    let mut state = Worker {
        shared,
        store,
        seen,
        tally: Tally::default(),
    };
    for (position, access) in (0_u64..).zip(&shared.plan.accesses) {
        if usize::from(access.worker) != worker {
            continue;
        }
        if shared.turns.begin(position).is_err() {
            break;
        }
        state.access(*access)?;
        shared.turns.finish();
    }
    guard.armed = false;
    let Worker {
        store, mut tally, ..
    } = state;
    (tally.offer, tally.reclaim) = store.into_histograms();
    Ok(tally)
}

/// Wakes the other workers if this one ends by an error or a panic: they would wait for ever.
struct BreakOff<'a> {
    turns: &'a Turns,
    armed: bool,
}

impl Drop for BreakOff<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.turns.break_off();
        }
    }
}

struct Worker<'a> {
    shared: &'a Shared,
    store: Store,
    /// Which files this worker has read before.
    seen: Vec<bool>,
    tally: Tally,
}

impl Worker<'_> {
    fn access(&mut self, access: Access) -> Result<(), vidmm::Error> {
        let file = access.file as usize;
        let item = &self.shared.items[file];
        let rebuild = Duration::from_nanos(item.unpack_ns);
        let stroke = self.shared.still.stroke();
        let fetched = self.store.fetch(file, item.unpacked_bytes, rebuild);
        drop(stroke);
        let fetched = fetched?;
        let seen_before = std::mem::replace(&mut self.seen[file], true);
        if let Fetched::Intact(memory) = fetched {
            self.tally.intact += 1;
            self.shared.live.intact.fetch_add(1, Ordering::Relaxed);
            return self.check_intact(file, memory);
        }
        if seen_before {
            self.tally.discarded += 1;
            self.shared.live.discarded.fetch_add(1, Ordering::Relaxed);
        } else {
            self.tally.first_use += 1;
            self.shared.live.first_use.fetch_add(1, Ordering::Relaxed);
        }
        self.tally.rebuild_ns = self.tally.rebuild_ns.saturating_add(item.unpack_ns);
        // What a scan brings in is not likely to be read again soon, and whoever scans knows it.
        let class = if access.scan {
            Class::Low
        } else {
            Class::Normal
        };
        match fetched {
            Fetched::Empty(memory) => self.fill(file, memory, class),
            _ => {
                self.tally.uncached += 1;
                self.read_uncached(file);
                Ok(())
            }
        }
    }

    /// Compares reclaimed content with the digest taken before the run.
    fn check_intact(&mut self, file: usize, memory: Committed) -> Result<(), vidmm::Error> {
        let content = memory.lock()?;
        self.tally.checked_bytes += size_u64(content.len());
        let wrong = digest(&content) != self.shared.items[file].digest;
        if wrong {
            self.tally.wrong_bytes += self.count_wrong(file, &content);
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
                self.tally.wrong_bytes += differing(&again.bytes, &room);
                return Ok(());
            }
            Err(UnpackError::Changed)
        });
        drop(room);
        match outcome {
            Ok(()) => self.store.keep(file, memory, class),
            Err(error) => self.lose(file, &error),
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
            Ok(_) => self.lose(file, &UnpackError::Changed),
            Err(error) => self.lose(file, &error),
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
        let wall_ns = &mut self.tally.rebuild_wall_ns;
        *wall_ns = wall_ns.saturating_add(nanoseconds(time));
    }

    /// A file has gone or changed during the run. It is named once; the run goes on.
    fn lose(&mut self, file: usize, error: &UnpackError) {
        self.tally
            .lost
            .entry(file)
            .or_insert_with(|| format!("during the run: {error}"));
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
