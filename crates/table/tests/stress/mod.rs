//! Threads that do anything to any allocation, beside a ledger of who has which extent. Runs on
//! real threads (`protocol.rs`, also under Miri) and under shuttle (`shuttle.rs`).
//!
//! What is checked at every step:
//!
//! * an extent belongs to one slot, or to one thread, or rests in the pool; every claim, destroy
//!   and install moves it exactly once, and none is lost at the end;
//! * whoever holds a lock finds no trace of another owner in the memory;
//! * an allocation that one thread alone uses is *intact* only with exactly what it wrote last.

mod ledger;
pub(crate) mod members;

use ledger::{Ledger, Thread};
use vidmm_table::{
    Class, Detached, Error, Handle, Installed, Lock, New, OfferMode, Reclaim, SlotIndex, SlotRef,
    State, Table, Word,
};

#[cfg(vidmm_shuttle)]
pub(crate) use shuttle::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};
#[cfg(not(vidmm_shuttle))]
pub(crate) use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

/// How much of everything.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) threads: u32,
    /// Allocations that all threads use.
    pub(crate) shared: usize,
    /// Allocations of each thread's own (the others only claim them).
    pub(crate) private: usize,
    /// Extents in all; fewer than allocations means shortages.
    pub(crate) extents: u64,
    pub(crate) operations: u32,
    pub(crate) seed: u64,
}

/// How often what happened, over all threads.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) created: u64,
    pub(crate) destroyed: u64,
    pub(crate) claimed: u64,
    pub(crate) lost: u64,
    pub(crate) intact: u64,
    pub(crate) discarded: u64,
    pub(crate) installed: u64,
    pub(crate) second_install: u64,
    pub(crate) undone: u64,
    pub(crate) killed: u64,
    pub(crate) shortages: u64,
    /// A private allocation came back intact with the content that was written last.
    pub(crate) verified: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Tally) {
        self.created += other.created;
        self.destroyed += other.destroyed;
        self.claimed += other.claimed;
        self.lost += other.lost;
        self.intact += other.intact;
        self.discarded += other.discarded;
        self.installed += other.installed;
        self.second_install += other.second_install;
        self.undone += other.undone;
        self.killed += other.killed;
        self.shortages += other.shortages;
        self.verified += other.verified;
    }

    /// A run in which one of these never happens tests less than it says.
    #[cfg_attr(vidmm_shuttle, allow(dead_code))]
    pub(crate) fn assert_much_happened(&self) {
        let happened = [
            self.claimed,
            self.intact,
            self.discarded,
            self.installed,
            self.undone,
            self.killed,
            self.shortages,
            self.verified,
        ];
        assert!(happened.iter().all(|&times| times > 0), "{self:?}");
    }

    /// Also what takes two threads at the same place, for which real ones may be too few.
    #[cfg_attr(not(vidmm_shuttle), allow(dead_code))]
    pub(crate) fn assert_everything_happened(&self) {
        self.assert_much_happened();
        assert!(self.lost > 0 && self.second_install > 0, "{self:?}");
    }
}

/// An allocation of one thread's own.
#[derive(Clone, Copy)]
struct Private {
    handle: Handle,
    /// What it holds, if its owner has written since it was created or came back discarded.
    written: Option<u64>,
}

struct Worker {
    world: Arc<World>,
    me: Thread,
    random: u64,
    private: Vec<Private>,
    tally: Tally,
}

struct World {
    table: Table,
    ledger: Ledger,
    /// Handles of the shared allocations; 0 is none.
    shared: Vec<AtomicU32>,
    size: Size,
}

/// Runs `size.threads` threads to the end, checks that nothing was lost, and says what happened.
pub(crate) fn run(size: Size) -> Tally {
    let world = Arc::new(World {
        table: Table::new(),
        ledger: Ledger::new(size.extents),
        shared: (0..size.shared).map(|_| AtomicU32::new(0)).collect(),
        size,
    });
    let workers: Vec<_> = (1..=size.threads)
        .map(|number| {
            let world = world.clone();
            thread::spawn(move || {
                let mut worker = Worker {
                    random: size.seed ^ u64::from(number) << 32,
                    me: Thread(number),
                    private: Vec::new(),
                    tally: Tally::default(),
                    world,
                };
                for _ in 0..size.operations {
                    worker.step();
                }
                worker.end();
                worker.tally
            })
        })
        .collect();
    let mut tally = Tally::default();
    for worker in workers {
        tally.add(worker.join().unwrap());
    }
    let cleaner = Thread(size.threads + 1);
    for place in &world.shared {
        if let Some(handle) = Handle::from_raw(place.load(Ordering::Relaxed)) {
            let taken = world.table.destroy(handle).expect("nobody is left");
            world.back_to_pool(taken, cleaner);
            tally.destroyed += 1;
        }
    }
    assert_eq!(world.table.memory_use().allocations, 0);
    assert_eq!(world.ledger.resting(), size.extents, "extents were lost");
    assert_eq!(tally.created, tally.destroyed);
    tally
}

/// Relaxed: a handle is a number that may be guessed, and must carry no order of its own.
fn swap(place: &AtomicU32, from: u32, to: u32) -> bool {
    place
        .compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed)
        .is_ok()
}

impl World {
    fn back_to_pool(&self, taken: Option<Detached>, me: Thread) {
        if let Some(taken) = taken {
            self.ledger.detach(taken.extent, me);
            self.ledger.give(taken.extent, me);
        }
    }
}

/// splitmix64.
fn splitmix(random: &mut u64) -> u64 {
    *random = random.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *random;
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ mixed >> 31
}

impl Worker {
    fn random(&mut self, below: u64) -> u64 {
        splitmix(&mut self.random) % below
    }

    fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.random(length as u64)).unwrap()
    }

    fn step(&mut self) {
        match self.random(16) {
            0..4 => self.use_private(),
            4..7 => self.claim_somebody(),
            _ => self.use_shared(),
        }
    }

    fn mode(&mut self) -> OfferMode {
        let class = [Class::Low, Class::Normal, Class::High, Class::Auto][self.index(4)];
        OfferMode {
            class,
            allow_decommit: self.random(4) == 0,
        }
    }

    fn create(&mut self) -> Option<Handle> {
        let Some(extent) = self.world.ledger.take(self.me) else {
            self.tally.shortages += 1;
            return None;
        };
        self.world.ledger.attach(extent, self.me);
        let new = New {
            size_bytes: 1 << 16,
            align_log2: 0,
            extent,
            zero_owed: self.random(2) == 0,
            priority: 0,
            rebuild_cost_ns: 0.0,
            resource: 0,
            device: 0,
            now_ticks: 0,
        };
        self.tally.created += 1;
        Some(
            self.world
                .table
                .create(&new)
                .expect("the table is not full"),
        )
    }

    /// Destroys `handle` if it is still there and not locked; says whether.
    fn destroy(&mut self, handle: Handle) -> bool {
        match self.world.table.destroy(handle) {
            Ok(taken) => {
                self.tally.destroyed += 1;
                self.world.back_to_pool(taken, self.me);
                true
            }
            Err(error) => {
                assert!(matches!(error, Error::Locked | Error::BadHandle), "{error}");
                false
            }
        }
    }

    /// A slot that is offered, with the word that said so.
    fn look_around(&mut self) -> Option<(SlotIndex, Word)> {
        let world = self.world.clone();
        let mut seen = Vec::new();
        if cfg!(miri) {
            // A scan takes Miri a second.
            for _ in 0..8 {
                let index = SlotIndex::from_raw(u32::try_from(self.random(128)).unwrap());
                seen.extend(
                    world
                        .table
                        .at(index)
                        .map(|slot| (index, slot.slot().word())),
                );
            }
        } else {
            world
                .table
                .scan(|index, slot| seen.push((index, slot.word())));
        }
        seen.retain(|(_, word)| word.state() == State::Offered);
        let which = self.index(seen.len().max(1));
        seen.get(which).copied()
    }

    /// Claims somebody's offered allocation.
    fn claim_somebody(&mut self) {
        let Some((index, word)) = self.look_around() else {
            return;
        };
        let slot = self.world.table.at(index).expect("the scan saw it");
        match slot.claim(word) {
            Some(taken) => {
                self.world.ledger.detach(taken.extent, self.me);
                self.world.ledger.give(taken.extent, self.me);
                self.tally.claimed += 1;
            }
            None => self.tally.lost += 1,
        }
    }

    fn use_shared(&mut self) {
        let world = self.world.clone();
        let place = &world.shared[self.index(world.size.shared)];
        let Some(handle) = Handle::from_raw(place.load(Ordering::Relaxed)) else {
            if let Some(new) = self.create()
                && !swap(place, 0, new.raw())
            {
                assert!(self.destroy(new), "nobody else knows it");
            }
            return;
        };
        // An old handle whose slot is long somebody else's is as welcome as a good one.
        let Ok(slot) = world.table.get(handle) else {
            panic!("the chunk of {handle:?} is gone");
        };
        match self.random(9) {
            0 => {
                // Whoever destroys it takes it off its place.
                if self.destroy(handle) {
                    assert!(swap(place, handle.raw(), 0), "a handle was used twice");
                }
            }
            1 | 2 => drop(slot.offer(self.mode())),
            3 => self.failing_call(slot),
            4 => {
                if let Ok(Reclaim::Discarded(_)) = slot.reclaim() {
                    self.tally.killed += u64::from(slot.kill() == Ok(true));
                }
            }
            5 | 6 => drop(self.reclaim(slot)),
            _ => {
                if let Ok(extent) = self.lock(slot) {
                    world.ledger.visit(extent);
                    slot.unlock().expect("our own lock");
                }
            }
        }
    }

    fn lock(&mut self, slot: SlotRef<'_>) -> Result<vidmm_table::ExtentWord, Error> {
        match slot.lock()? {
            Lock::Locked(extent) => Ok(extent),
            Lock::Fresh => slot.first_lock(|first| self.world.ledger.prepare(first.extent)),
        }
    }

    /// Reclaims, bringing an extent if it takes one. Says whether the content is intact.
    fn reclaim(&mut self, slot: SlotRef<'_>) -> Result<Option<bool>, Error> {
        match slot.reclaim()? {
            Reclaim::Intact(_) => {
                self.tally.intact += 1;
                Ok(Some(true))
            }
            Reclaim::Dead => Ok(None),
            Reclaim::Discarded(_) => {
                self.tally.discarded += 1;
                let Some(extent) = self.world.ledger.take(self.me) else {
                    self.tally.shortages += 1;
                    return Ok(None);
                };
                self.world.ledger.attach(extent, self.me);
                let installed = slot.install(extent);
                if installed == Ok(Installed::Here) {
                    self.tally.installed += 1;
                } else {
                    // Still ours.
                    self.tally.second_install += 1;
                    self.world.ledger.detach(extent, self.me);
                    self.world.ledger.give(extent, self.me);
                }
                installed.map(|_| Some(false))
            }
        }
    }

    /// A call that names an item once or twice and then fails for shortage.
    fn failing_call(&mut self, slot: SlotRef<'_>) {
        let times = 1 + u32::try_from(self.random(2)).unwrap();
        let answers: Vec<_> = (0..times).map(|_| slot.reclaim()).collect();
        let all_intact = answers
            .iter()
            .all(|answer| matches!(answer, Ok(Reclaim::Intact(_))));
        if let (true, Ok(Reclaim::Intact(before))) = (all_intact, answers[0]) {
            self.tally.undone += u64::from(slot.undo_reclaims(before, times));
        }
    }

    fn use_private(&mut self) {
        if self.private.len() < self.world.size.private {
            if let Some(handle) = self.create() {
                self.private.push(Private {
                    handle,
                    written: None,
                });
            }
            return;
        }
        let which = self.index(self.private.len());
        let Private { handle, written } = self.private[which];
        let world = self.world.clone();
        let slot = world.table.get(handle).expect("our own");
        if self.random(8) == 0 {
            assert!(self.destroy(handle), "nobody else locks or destroys it");
            self.private.swap_remove(which);
            // Ours is gone for good, whatever is in its slot now.
            assert_eq!(slot.reclaim(), Err(Error::BadHandle));
            return;
        }
        match self.reclaim(slot).expect("our own") {
            // A shortage: it stays discarded. (It is never offered with *allow decommit*.)
            None => return,
            Some(true) => {}
            Some(false) => self.private[which].written = None,
        }
        let intact = self.private[which].written;
        let extent = self.lock(slot).expect("our own, and committed");
        if let Some(expected) = intact {
            assert_eq!(world.ledger.read(extent), expected, "intact, but not exact");
            self.tally.verified += 1;
        }
        let next = written.unwrap_or(0) + u64::from(self.me.0);
        world.ledger.write(extent, next);
        self.private[which].written = Some(next);
        assert_eq!(slot.unlock(), Ok(0));
        let mode = Class::Normal.into();
        assert_eq!(slot.offer(mode), Ok(vidmm_table::Offered::Now));
    }

    fn end(&mut self) {
        for private in std::mem::take(&mut self.private) {
            assert!(self.destroy(private.handle));
        }
    }
}
