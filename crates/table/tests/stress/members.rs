//! Threads that make and end resources, put allocations into them and destroy them, beside others
//! that copy members without a lock, and a record of all states that the resources ever had: every
//! copy is one of those that were true while it was made.

use super::{Arc, thread};
use std::collections::BTreeMap;
// The record's own lock is never the checker's: it is to explore the table, not the record.
use std::sync::{Mutex, MutexGuard, PoisonError};
use vidmm_table::{Error, ExtentWord, Handle, New, ResourceId, Slot, Table};

/// How much of everything.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) threads: u32,
    pub(crate) operations: u32,
    /// Resources that live at once, at most: the table has room for more.
    pub(crate) resources: usize,
    pub(crate) allocations: usize,
    pub(crate) seed: u64,
}

/// How often what happened.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tally {
    pub(crate) copies: u64,
    /// Copies during which the resources changed.
    pub(crate) disturbed: u64,
    /// Copies with a name of a resource that has ended.
    pub(crate) stale: u64,
    pub(crate) added: u64,
    /// A resource ended before its new member was added.
    pub(crate) too_late: u64,
    pub(crate) removed: u64,
    pub(crate) ended: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Tally) {
        self.copies += other.copies;
        self.disturbed += other.disturbed;
        self.stale += other.stale;
        self.added += other.added;
        self.too_late += other.too_late;
        self.removed += other.removed;
        self.ended += other.ended;
    }

    /// A run in which one of these never happens tests less than it says.
    pub(crate) fn assert_much_happened(&self) {
        let happened = [
            self.copies,
            self.stale,
            self.added,
            self.removed,
            self.ended,
        ];
        assert!(happened.iter().all(|&times| times > 0), "{self:?}");
    }

    /// Also what takes two threads at the same place, for which real ones may be too few.
    #[cfg_attr(not(vidmm_shuttle), allow(dead_code))]
    pub(crate) fn assert_everything_happened(&self) {
        self.assert_much_happened();
        assert!(self.disturbed > 0 && self.too_late > 0, "{self:?}");
    }
}

/// The members of each resource that lives, by name.
type State = BTreeMap<u32, Vec<u32>>;

/// What there is, as everybody may know it.
#[derive(Default)]
struct Known {
    /// All states, the newest last; it is written down before it is made.
    states: Vec<State>,
    /// How many of them have been made.
    made: usize,
    resources: Vec<ResourceId>,
    /// A few that have ended.
    stale: Vec<ResourceId>,
    allocations: Vec<Handle>,
}

struct World {
    table: Table,
    known: Mutex<Known>,
    size: Size,
}

impl World {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the next state down, makes it, and says so. The caller holds the table's resources.
    fn make<T>(&self, next: impl FnOnce(&mut State), make: impl FnOnce() -> T) -> T {
        {
            let mut known = self.known();
            let mut state = known.states.last().cloned().unwrap_or_default();
            next(&mut state);
            known.states.push(state);
        }
        let made = make();
        let mut known = self.known();
        known.made = known.states.len();
        made
    }

    fn destroy(&self, handle: Handle) -> bool {
        let leave = |slot: &Slot| {
            let Some(resource) = ResourceId::from_raw(slot.resource()) else {
                return;
            };
            let mut resources = self.table.resources();
            let without = |state: &mut State| {
                if let Some(members) = state.get_mut(&resource.raw()) {
                    members.retain(|&member| member != handle.raw());
                }
            };
            self.make(without, || resources.remove(resource, handle));
        };
        match self.table.destroy_noting(handle, leave) {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(error, Error::BadHandle);
                false
            }
        }
    }
}

struct Worker {
    world: Arc<World>,
    random: u64,
    tally: Tally,
}

/// Runs `size.threads` threads to the end and says what happened.
pub(crate) fn run(size: Size) -> Tally {
    let world = Arc::new(World {
        table: Table::new(),
        known: Mutex::new(Known {
            states: vec![State::new()],
            made: 1,
            ..Known::default()
        }),
        size,
    });
    let workers: Vec<_> = (1..=u64::from(size.threads))
        .map(|number| {
            let world = world.clone();
            thread::spawn(move || {
                let mut worker = Worker {
                    random: size.seed ^ number << 32,
                    tally: Tally::default(),
                    world,
                };
                for _ in 0..size.operations {
                    worker.step();
                }
                worker.tally
            })
        })
        .collect();
    let mut tally = Tally::default();
    for worker in workers {
        tally.add(worker.join().unwrap());
    }
    let left = std::mem::take(&mut world.known().allocations);
    assert_eq!(
        world.table.memory_use().allocations,
        u32::try_from(left.len()).unwrap()
    );
    for handle in left {
        assert!(world.destroy(handle), "nobody else is left");
    }
    let last = world.known().states.last().cloned().unwrap();
    for (name, members) in last {
        assert!(members.is_empty(), "a member outlived itself");
        let name = ResourceId::from_raw(name).unwrap();
        assert_eq!(world.table.members(name, &mut []), Ok(0));
    }
    tally
}

impl Worker {
    fn random(&mut self, below: usize) -> usize {
        let drawn = super::splitmix(&mut self.random) % below as u64;
        usize::try_from(drawn).unwrap()
    }

    fn pick<T: Copy>(&mut self, from: impl FnOnce(&Known) -> Vec<T>) -> Option<T> {
        let all = from(&self.world.known());
        let which = self.random(all.len().max(1));
        all.get(which).copied()
    }

    fn step(&mut self) {
        match self.random(16) {
            0..7 => self.copy(),
            7..11 => self.create(),
            11..14 => self.destroy(),
            14 => self.make_resource(),
            _ => self.end_resource(),
        }
    }

    fn copy(&mut self) {
        let of_the_dead = self.random(4) == 0;
        let name = self.pick(|known| match of_the_dead {
            true => known.stale.clone(),
            false => known.resources.clone(),
        });
        let Some(name) = name else {
            return;
        };
        let world = &self.world;
        let mut copied = [0; 64];
        let first = world.known().made - 1;
        let found = world
            .table
            .members(name, &mut copied)
            .map(|count| copied[..count].to_vec());
        let known = world.known();
        let states = &known.states[first..];
        let fits = |state: &State| match &found {
            Ok(members) => state.get(&name.raw()) == Some(members),
            Err(_) => !state.contains_key(&name.raw()),
        };
        assert!(states.iter().any(fits), "{found:?} in none of {states:?}");
        self.tally.copies += 1;
        self.tally.disturbed += u64::from(states.len() > 1);
        self.tally.stale += u64::from(found.is_err());
    }

    fn create(&mut self) {
        let alone = self.random(4) == 0;
        let resource = match alone {
            true => None,
            false => self.pick(|known| known.resources.clone()),
        };
        let world = self.world.clone();
        if world.known().allocations.len() >= world.size.allocations {
            return;
        }
        let new = New {
            size_bytes: 1,
            align_log2: 0,
            extent: ExtentWord(1),
            zero_owed: false,
            priority: 0,
            rebuild_cost_ns: 0.0,
            resource: resource.map_or(0, ResourceId::raw),
            device: 0,
            now_ticks: 0,
        };
        let handle = world.table.create(&new).unwrap();
        let Some(resource) = resource else {
            world.known().allocations.push(handle);
            return;
        };
        let added = {
            let mut resources = world.table.resources();
            let with = |state: &mut State| {
                if let Some(members) = state.get_mut(&resource.raw()) {
                    members.push(handle.raw());
                }
            };
            world.make(with, || resources.add(resource, handle))
        };
        if added.is_ok() {
            world.known().allocations.push(handle);
            self.tally.added += 1;
        } else {
            assert!(world.destroy(handle), "nobody else knows it");
            self.tally.too_late += 1;
        }
    }

    fn destroy(&mut self) {
        let Some(handle) = self.pick(|known| known.allocations.clone()) else {
            return;
        };
        if self.world.destroy(handle) {
            let mut known = self.world.known();
            known.allocations.retain(|&other| other != handle);
            self.tally.removed += 1;
        }
    }

    fn make_resource(&mut self) {
        let world = &self.world;
        let mut resources = world.table.resources();
        if world.known().resources.len() >= world.size.resources {
            return;
        }
        // Nobody knows the name before it is there.
        let name = resources.create(0).unwrap();
        world.make(
            |state| {
                let before = state.insert(name.raw(), Vec::new());
                assert_eq!(before, None, "a name was given out twice");
            },
            || {},
        );
        let mut known = world.known();
        known.stale.retain(|&other| other != name);
        known.resources.push(name);
    }

    fn end_resource(&mut self) {
        let Some(name) = self.pick(|known| known.resources.clone()) else {
            return;
        };
        let world = &self.world;
        let mut resources = world.table.resources();
        let mut told = Vec::new();
        let mut members = None;
        let ended = world.make(
            |state| members = state.remove(&name.raw()),
            || {
                resources.destroy(name, |member| {
                    told.push(member.raw());
                    let slot = world.table.get(member).unwrap();
                    // One that is destroyed at this moment is nobody's member either.
                    let _ = slot.set_resource(0);
                })
            },
        );
        assert_eq!(ended.is_ok(), members.is_some());
        assert_eq!(told, members.unwrap_or_default());
        let mut known = world.known();
        known.resources.retain(|&other| other != name);
        if ended.is_ok() && !known.stale.contains(&name) {
            known.stale.push(name);
            self.tally.ended += 1;
        }
    }
}
