//! Resources against a naive model: any series of what can be done to them, also under names that
//! were never given out, have ended, or are somebody else's.
#![cfg(not(any(vidmm_loom, vidmm_shuttle)))]
// Helpers are tests too.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use std::collections::BTreeSet;
use vidmm_table::{
    Error, ExtentWord, Handle, MAX_ALLOCATIONS, MAX_RESOURCES, New, ResourceId, Table,
    object_handle, object_number,
};

/// One step. Numbers choose among what there is, or was, when the step is done.
#[derive(Debug, Clone, Copy)]
enum Step {
    Make { device: u32 },
    End { which: usize },
    Create { which: usize },
    Leave { which: usize },
    Destroy { which: usize },
    Copy { which: usize, room: usize },
    Walk { device: u32 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let which = 0..usize::MAX;
    let step = prop_oneof![
        2 => (1..4_u32).prop_map(|device| Step::Make { device }),
        1 => which.clone().prop_map(|which| Step::End { which }),
        6 => which.clone().prop_map(|which| Step::Create { which }),
        1 => which.clone().prop_map(|which| Step::Leave { which }),
        3 => which.clone().prop_map(|which| Step::Destroy { which }),
        4 => (which, 0..12_usize).prop_map(|(which, room)| Step::Copy { which, room }),
        1 => (0..4_u32).prop_map(|device| Step::Walk { device }),
    ];
    prop::collection::vec(step, 1..120)
}

/// A resource as the naive model has it.
#[derive(Debug, Clone)]
struct Naive {
    id: ResourceId,
    device: u32,
    members: Vec<Handle>,
}

#[derive(Default)]
struct World {
    table: Table,
    alive: Vec<Naive>,
    /// Names of resources that have ended, then what never was one.
    wrong_names: Vec<ResourceId>,
    /// Every allocation, also those that are no more.
    handles: Vec<Handle>,
    live: BTreeSet<Handle>,
}

fn new(resource: u32) -> New {
    New {
        size_bytes: 1,
        align_log2: 0,
        extent: ExtentWord(1),
        zero_owed: false,
        priority: 0,
        rebuild_cost_ns: 0.0,
        resource,
        device: 0,
        now_ticks: 0,
    }
}

fn pick<T: Copy>(which: usize, from: &[T]) -> Option<T> {
    (!from.is_empty()).then(|| from[which % from.len()])
}

impl World {
    fn new() -> Self {
        let object = object_handle(7, 3).unwrap();
        // An allocation's index, one between the kinds, a resource's and an object's.
        let never = [1, MAX_ALLOCATIONS, 500 + MAX_ALLOCATIONS, object, u32::MAX];
        World {
            wrong_names: never.into_iter().filter_map(ResourceId::from_raw).collect(),
            ..World::default()
        }
    }

    /// A name of anything: mostly of a resource that lives.
    fn name(&self, which: usize) -> ResourceId {
        let names: Vec<_> = self.alive.iter().map(|naive| naive.id).collect();
        match pick(which / 4, &names) {
            Some(name) if !which.is_multiple_of(4) => name,
            _ => pick(which, &self.wrong_names).unwrap(),
        }
    }

    fn naive(&mut self, name: ResourceId) -> Option<&mut Naive> {
        self.alive.iter_mut().find(|naive| naive.id == name)
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Make { device } => {
                let id = self.table.resources().create(device).unwrap();
                assert!(self.naive(id).is_none() && !self.wrong_names.contains(&id));
                assert!(id.place() < MAX_RESOURCES && object_number(id.raw()).is_none());
                let members = Vec::new();
                self.alive.push(Naive {
                    id,
                    device,
                    members,
                });
            }
            Step::End { which } => self.end(self.name(which)),
            Step::Create { which } => self.create(self.name(which)),
            Step::Leave { which } => self.leave(self.name(which), which),
            Step::Destroy { which } => self.destroy(which),
            Step::Copy { which, room } => self.copy(self.name(which), room),
            Step::Walk { device } => self.walk(device),
        }
    }

    fn end(&mut self, name: ResourceId) {
        let mut told = Vec::new();
        let table = &self.table;
        let ended = table.resources().destroy(name, |member| {
            assert!(!table.has_resource(name), "told before the end");
            told.push(member);
        });
        let place = self.alive.iter().position(|naive| naive.id == name);
        let Some(place) = place else {
            assert_eq!((ended, told), (Err(Error::BadHandle), vec![]));
            return;
        };
        assert_eq!(ended, Ok(()));
        assert_eq!(told, self.alive.remove(place).members);
        self.wrong_names.push(name);
    }

    fn create(&mut self, name: ResourceId) {
        let handle = self.table.create(&new(name.raw())).unwrap();
        assert!(!self.table.has_resource(as_name(handle)));
        let added = self.table.resources().add(name, handle);
        self.handles.push(handle);
        self.live.insert(handle);
        match self.naive(name) {
            Some(naive) => {
                naive.members.push(handle);
                assert_eq!(added, Ok(()));
            }
            None => assert_eq!(added, Err(Error::BadHandle)),
        }
    }

    /// A member, or what is none, is taken out and lives on.
    fn leave(&mut self, name: ResourceId, which: usize) {
        let of_this = self.naive(name).map(|naive| naive.members.clone());
        let from = of_this.filter(|members| !members.is_empty() && which.is_multiple_of(2));
        let Some(handle) = pick(which / 8, &from.unwrap_or_else(|| self.handles.clone())) else {
            return;
        };
        self.table.resources().remove(name, handle);
        if let Some(naive) = self.naive(name) {
            naive.members.retain(|&member| member != handle);
        }
    }

    /// Ends an allocation, if it still lives, as the engine does. It cannot be added any more.
    fn destroy(&mut self, which: usize) {
        let Some(handle) = pick(which, &self.handles) else {
            return;
        };
        let table = &self.table;
        let destroyed = table.destroy_noting(handle, |slot| {
            if let Some(resource) = ResourceId::from_raw(slot.resource()) {
                table.resources().remove(resource, handle);
            }
        });
        assert_eq!(destroyed.is_ok(), self.live.remove(&handle));
        for naive in &mut self.alive {
            naive.members.retain(|&member| member != handle);
        }
        let name = self.name(which);
        let added = self.table.resources().add(name, handle);
        assert_eq!(added, Err(Error::BadHandle));
    }

    fn copy(&mut self, name: ResourceId, room: usize) {
        let mut copied = vec![u32::MAX; room];
        let found = self.table.members(name, &mut copied);
        let device = self.table.device_of(name);
        let has = self.table.has_resource(name);
        let Some(naive) = self.naive(name) else {
            assert_eq!(
                (found, device),
                (Err(Error::BadHandle), Err(Error::BadHandle))
            );
            assert!(!has);
            return;
        };
        let members: Vec<u32> = naive.members.iter().map(|handle| handle.raw()).collect();
        assert_eq!(found, Ok(members.len()), "also if they do not fit");
        assert_eq!((device, has), (Ok(naive.device), true));
        if members.len() <= room {
            assert_eq!(copied[..members.len()], members);
            let beyond = &copied[members.len()..];
            assert!(beyond.iter().all(|&word| word == u32::MAX), "{copied:?}");
        }
    }

    /// What the locked editor sees.
    fn walk(&mut self, device: u32) {
        let resources = self.table.resources();
        let found: BTreeSet<_> = resources.of_device(device).into_iter().collect();
        let of_this = self.alive.iter().filter(|naive| naive.device == device);
        assert_eq!(found, of_this.map(|naive| naive.id).collect());
        for naive in &self.alive {
            assert_eq!(resources.at(naive.id.place()), Some(naive.id));
            let mut walked = Vec::new();
            resources
                .each_member(naive.id, |member| walked.push(member))
                .unwrap();
            assert_eq!(walked, naive.members);
        }
        for &name in &self.wrong_names {
            let walked = resources.each_member(name, |_| panic!("a member of nothing"));
            assert_eq!(walked, Err(Error::BadHandle));
        }
    }
}

fn as_name(handle: Handle) -> ResourceId {
    ResourceId::from_raw(handle.raw()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn resources_are_what_the_naive_model_says(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        world.walk(1);
        for name in world.alive.iter().map(|naive| naive.id).collect::<Vec<_>>() {
            world.copy(name, 256);
            world.end(name);
        }
        for which in 0..world.handles.len() {
            world.destroy(which);
        }
        prop_assert_eq!(world.table.memory_use().allocations, 0);
    }
}
