//! Random programs on one shared resource, opened several times in two pools, against a naive model:
//! every answer, every content, every charge.
#![cfg(target_os = "linux")]
#![allow(unsafe_code, clippy::unwrap_used)]

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use proptest::prelude::*;
use vidmm_machine::BudgetSpec;
use vidmm_pool::{
    About, Class, Error, Handle, LinuxKernel, Outcome, Pool, PoolOptions, PressureMode,
    SharedGroup, SharedMember, State,
};

const MEMBERS: usize = 2;
const OPENINGS: usize = 4;
/// What one opening is charged: a page and two.
const CHARGE: u64 = 3 * 4096;
const SIZES: [u64; MEMBERS] = [100, 8192];

#[derive(Debug, Clone, Copy)]
enum Step {
    /// Opens it in one of the pools.
    Open(usize),
    Close(usize),
    Offer(usize, usize, bool),
    OfferAll(usize),
    Reclaim(usize, usize),
    /// Both members in one call.
    ReclaimAll(usize),
    Write(usize, usize, u8),
    /// Locks a member for good, or unlocks it.
    Lock(usize, usize),
    Unlock(usize, usize),
    Trim(usize),
    Evict(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (o, m) = (0..OPENINGS, 0..MEMBERS);
    let step = prop_oneof![
        2 => (0..2_usize).prop_map(Step::Open),
        1 => o.clone().prop_map(Step::Close),
        6 => o.clone().prop_map(Step::OfferAll),
        2 => (o.clone(), m.clone(), any::<bool>()).prop_map(|(o, m, h)| Step::Offer(o, m, h)),
        3 => (o.clone(), m.clone()).prop_map(|(o, m)| Step::Reclaim(o, m)),
        2 => o.clone().prop_map(Step::ReclaimAll),
        3 => (o.clone(), m.clone(), 1..=255_u8).prop_map(|(o, m, v)| Step::Write(o, m, v)),
        1 => (o.clone(), m.clone()).prop_map(|(o, m)| Step::Lock(o, m)),
        3 => (o.clone(), m).prop_map(|(o, m)| Step::Unlock(o, m)),
        5 => (0..2_usize).prop_map(Step::Trim),
        1 => o.prop_map(Step::Evict),
    ];
    proptest::collection::vec(step, 1..80)
}

/// An opening as the model has it.
#[derive(Debug, Clone)]
struct Opening {
    pool: usize,
    offered: [bool; MEMBERS],
    lost: [bool; MEMBERS],
    locks: [u32; MEMBERS],
    charged: bool,
    seen: u32,
}

impl Opening {
    fn is_offered(&self) -> bool {
        self.offered.iter().all(|&offered| offered)
    }
}

#[derive(Debug)]
struct Model {
    openings: [Option<Opening>; OPENINGS],
    generation: u32,
    told: bool,
    values: [u8; MEMBERS],
}

impl Model {
    fn discard_if_it_can_be(&mut self, place: usize) {
        let free = self.openings.iter().flatten().all(Opening::is_offered);
        let Some(opening) = &mut self.openings[place] else {
            return;
        };
        if !opening.is_offered() || !opening.charged {
            return;
        }
        if opening.seen != self.generation {
            opening.charged = false;
        } else if free {
            opening.charged = false;
            self.generation += 1;
            self.told = false;
            self.values = [0; MEMBERS];
        }
    }

    fn reclaim(&mut self, place: usize, member: usize) -> Outcome {
        let opening = self.openings[place].as_mut().unwrap();
        if opening.seen != self.generation {
            opening.seen = self.generation;
            opening.lost = [true; MEMBERS];
        }
        opening.charged = true;
        opening.offered[member] = false;
        match std::mem::take(&mut opening.lost[member]) {
            true => {
                self.told = true;
                Outcome::Discarded
            }
            false => Outcome::Intact,
        }
    }
}

struct World {
    pools: [Arc<Pool>; 2],
    descriptor: OwnedFd,
    groups: [Option<SharedGroup>; OPENINGS],
    model: Model,
}

fn pool() -> Arc<Pool> {
    let options = PoolOptions {
        budget: BudgetSpec::Bytes(1 << 30),
        pressure: PressureMode::Off,
        ..PoolOptions::default()
    };
    Pool::new(LinuxKernel, options).unwrap()
}

impl World {
    fn new() -> Self {
        let pools = [pool(), pool()];
        let member = |size_bytes| SharedMember {
            size_bytes,
            data: Vec::new(),
        };
        let about = About {
            members: SIZES.map(member).to_vec(),
            ..About::default()
        };
        let made = pools[0].create_shared(&about, &[], 0).unwrap();
        let descriptor = pools[0].share(made.group).unwrap();
        let mut world = World {
            pools,
            descriptor,
            groups: [const { None }; OPENINGS],
            model: Model {
                openings: [const { None }; OPENINGS],
                generation: 0,
                told: true,
                values: [0; MEMBERS],
            },
        };
        world.opened(0, 0, made);
        world
    }

    fn opened(&mut self, place: usize, pool: usize, group: SharedGroup) {
        self.groups[place] = Some(group);
        self.model.openings[place] = Some(Opening {
            pool,
            offered: [false; MEMBERS],
            lost: [!self.model.told; MEMBERS],
            locks: [0; MEMBERS],
            charged: true,
            seen: self.model.generation,
        });
    }

    fn at(&self, place: usize, member: usize) -> Option<(Arc<Pool>, Handle)> {
        let opening = self.model.openings[place].as_ref()?;
        let handle = self.groups[place].as_ref()?.handles[member];
        Some((Arc::clone(&self.pools[opening.pool]), handle))
    }

    /// One of those that are open; any place if none is.
    fn place(&self, which: usize) -> usize {
        let open = |&place: &usize| self.groups[place].is_some();
        let places: Vec<usize> = (0..OPENINGS).filter(open).collect();
        let len = places.len().max(1);
        places.get(which % len).copied().unwrap_or(which)
    }

    fn on_what_is_open(&self, step: Step) -> Step {
        match step {
            Step::Open(_) | Step::Trim(_) => step,
            Step::Close(o) => Step::Close(self.place(o)),
            Step::Offer(o, m, high) => Step::Offer(self.place(o), m, high),
            Step::OfferAll(o) => Step::OfferAll(self.place(o)),
            Step::Reclaim(o, m) => Step::Reclaim(self.place(o), m),
            Step::ReclaimAll(o) => Step::ReclaimAll(self.place(o)),
            Step::Write(o, m, value) => Step::Write(self.place(o), m, value),
            Step::Lock(o, m) => Step::Lock(self.place(o), m),
            Step::Unlock(o, m) => Step::Unlock(self.place(o), m),
            Step::Evict(o) => Step::Evict(self.place(o)),
        }
    }

    fn step(&mut self, step: Step) {
        match self.on_what_is_open(step) {
            Step::OfferAll(place) => {
                for member in 0..MEMBERS {
                    self.offer(place, member, Class::Low);
                }
            }
            Step::Open(pool) => {
                let Some(place) = self.groups.iter().position(Option::is_none) else {
                    return;
                };
                let opened = self.pools[pool].open_shared(self.descriptor.as_fd(), 0);
                self.opened(place, pool, opened.unwrap().0);
            }
            Step::Close(place) => self.close(place),
            Step::Offer(place, member, high) => {
                let class = if high { Class::High } else { Class::Low };
                self.offer(place, member, class);
            }
            Step::Reclaim(place, member) => {
                if let Some((pool, handle)) = self.at(place, member) {
                    let expected = self.model.reclaim(place, member);
                    assert_eq!(pool.reclaim(handle), Ok(expected));
                }
            }
            Step::ReclaimAll(place) => self.reclaim_all(place),
            Step::Write(place, member, value) => {
                if let Some(memory) = self.locked(place, member) {
                    // SAFETY: locked, and all openings are this thread's.
                    unsafe { memory.0.write_bytes(value, memory.1) };
                    self.model.values[member] = value;
                    self.unlocked(place, member);
                }
            }
            Step::Lock(place, member) => {
                if self.locked(place, member).is_some() {
                    self.model.openings[place].as_mut().unwrap().locks[member] += 1;
                }
            }
            Step::Unlock(place, member) => {
                let Some((pool, handle)) = self.at(place, member) else {
                    return;
                };
                let locks = &mut self.model.openings[place].as_mut().unwrap().locks[member];
                let expected = match *locks {
                    0 => Err(Error::NotLocked),
                    _ => {
                        *locks -= 1;
                        Ok(())
                    }
                };
                assert_eq!(pool.unlock(handle), expected);
            }
            Step::Trim(pool) => {
                self.pools[pool].trim(u64::MAX).unwrap();
                // Twice: what one of them discards, the others of the pool find out at once.
                for place in (0..OPENINGS).chain(0..OPENINGS) {
                    let of = |opening: &Opening| opening.pool == pool;
                    if self.model.openings[place].as_ref().is_some_and(of) {
                        self.model.discard_if_it_can_be(place);
                    }
                }
            }
            Step::Evict(place) => {
                if let Some((pool, handle)) = self.at(place, 0) {
                    pool.evict([handle]).unwrap();
                    self.model.discard_if_it_can_be(place);
                }
            }
        }
    }

    fn offer(&mut self, place: usize, member: usize, class: Class) {
        let Some((pool, handle)) = self.at(place, member) else {
            return;
        };
        let opening = self.model.openings[place].as_mut().unwrap();
        let expected = match opening.locks[member] {
            0 => {
                opening.offered[member] = true;
                Ok(())
            }
            _ => Err(Error::Locked),
        };
        assert_eq!(pool.offer(handle, class), expected);
    }

    fn close(&mut self, place: usize) {
        let (Some(opening), Some(group)) = (&self.model.openings[place], &self.groups[place])
        else {
            return;
        };
        let pool = &self.pools[opening.pool];
        for (member, &handle) in group.handles.iter().enumerate() {
            for _ in 0..opening.locks[member] {
                assert_eq!(pool.destroy(handle), Err(Error::Locked));
                pool.unlock(handle).unwrap();
            }
            pool.destroy(handle).unwrap();
            assert_eq!(pool.reclaim(handle), Err(Error::BadHandle));
        }
        pool.destroy_group(group.group).unwrap();
        self.model.openings[place] = None;
        self.groups[place] = None;
    }

    /// With an allocation of the pool's own between them, and one of them named twice.
    fn reclaim_all(&mut self, place: usize) {
        let (Some((pool, first)), Some((_, second))) = (self.at(place, 0), self.at(place, 1))
        else {
            return;
        };
        let own = pool.create(&vidmm_pool::Request::of_size(4096)).unwrap();
        pool.offer(own, Class::High).unwrap();
        let expected = [self.model.reclaim(place, 0), self.model.reclaim(place, 1)];
        let mut answers = [Outcome::Intact; 4];
        let list = [first, own, second, first];
        let answer = |index, outcome| answers[index] = outcome;
        pool.reclaim_list(&list[..], vidmm_pool::Answers::Discarded, answer)
            .unwrap();
        let [first, second] = expected;
        assert_eq!(answers, [first, Outcome::Intact, second, first]);
        pool.destroy(own).unwrap();
    }

    /// Locks; `None`, and that is as it should be, if it is offered or not there.
    fn locked(&self, place: usize, member: usize) -> Option<(*mut u8, usize)> {
        let (pool, handle) = self.at(place, member)?;
        let opening = self.model.openings[place].as_ref().unwrap();
        match pool.lock(handle) {
            Ok(mapping) => {
                assert!(!opening.offered[member]);
                assert_eq!(mapping.len_bytes as u64, SIZES[member]);
                Some((mapping.start.as_ptr(), mapping.len_bytes))
            }
            Err(error) => {
                assert_eq!(error, Error::Offered);
                assert!(opening.offered[member]);
                None
            }
        }
    }

    fn unlocked(&self, place: usize, member: usize) {
        let (pool, handle) = self.at(place, member).unwrap();
        pool.unlock(handle).unwrap();
    }

    fn check(&self) {
        for (number, pool) in self.pools.iter().enumerate() {
            let openings = self.model.openings.iter().flatten();
            let paying = openings.filter(|o| o.pool == number && o.charged).count();
            let stats = pool.stats_now();
            let held = i64::try_from(stats.budget_bytes).unwrap() - stats.room_bytes;
            // What the lists' own allocations left warm is not the resource's.
            let warm = i64::try_from(stats.warm_bytes).unwrap();
            let paid = CHARGE * paying as u64;
            assert_eq!(held - warm, i64::try_from(paid).unwrap());
        }
        for place in 0..OPENINGS {
            for member in 0..MEMBERS {
                let Some((pool, handle)) = self.at(place, member) else {
                    continue;
                };
                let opening = self.model.openings[place].as_ref().unwrap();
                let state = match (opening.offered[member], opening.charged) {
                    (false, _) => State::Committed,
                    (true, true) => State::Offered,
                    (true, false) => State::Discarded,
                };
                assert_eq!(pool.state(handle), Ok(state));
                if let Some((memory, len)) = self.locked(place, member) {
                    // SAFETY: locked, and nobody writes.
                    let bytes = unsafe { std::slice::from_raw_parts(memory, len) };
                    let value = self.model.values[member];
                    assert!(bytes.iter().all(|&byte| byte == value), "not {value}");
                    self.unlocked(place, member);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn as_the_model_says(steps in steps()) {
        let mut world = World::new();
        world.check();
        for step in steps {
            world.step(step);
            world.check();
        }
        for place in 0..OPENINGS {
            world.close(place);
        }
        world.check();
    }
}
