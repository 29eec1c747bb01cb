//! Members of a resource are copied without a lock, while their chain, the slots in it and the
//! record of the resource are changed and used again: the answer is what the members were at one
//! instant, or that there is no such resource.

use crate::world::{E1, E2, E3, World, model, pick};
use loom::sync::Arc;
use loom::thread::{self, JoinHandle};
use vidmm_table::{Error, Handle, ResourceId, Slot};

/// The device of the resources here, and one of others.
const DEVICE: u32 = 1;
const OTHER_DEVICE: u32 = 2;

/// So many names are copied at most.
const ROOM: usize = 4;

fn resource(world: &World) -> ResourceId {
    world.table.resources().create(DEVICE).unwrap()
}

/// What a copier is told.
fn members(world: &World, resource: ResourceId) -> Result<Vec<u32>, Error> {
    let mut copied = [0; ROOM];
    let count = world.table.members(resource, &mut copied)?;
    Ok(copied[..count].to_vec())
}

fn names(handles: &[Handle]) -> Vec<u32> {
    handles.iter().map(|handle| handle.raw()).collect()
}

/// Destroys an allocation as the engine does: a member leaves its chain before its slot is free.
fn destroy(world: &World, handle: Handle) -> Result<(), Error> {
    let leave = |slot: &Slot| {
        if let Some(resource) = ResourceId::from_raw(slot.resource()) {
            world.table.resources().remove(resource, handle);
        }
    };
    world.table.destroy_noting(handle, leave).map(drop)
}

/// Ends a resource as the engine does: its members, who are told, live on.
fn end(world: &World, resource: ResourceId) -> Vec<u32> {
    let mut told = Vec::new();
    let alone = |member: Handle| {
        // One that is destroyed at this moment is nobody's member either.
        let _ = world.slot(member).set_resource(0);
        told.push(member.raw());
    };
    world.table.resources().destroy(resource, alone).unwrap();
    told
}

fn spawn<T: 'static>(
    world: &Arc<World>,
    work: impl FnOnce(&World) -> T + 'static,
) -> JoinHandle<T> {
    let world = world.clone();
    thread::spawn(move || work(&world))
}

#[test]
fn a_copy_beside_an_add() {
    model(&["before", "after"], |world| {
        let resource = resource(world);
        let first = world.member(E1, resource);
        let adder = spawn(world, move |world| world.member(E2, resource));
        let found = members(world, resource).unwrap();
        let both = names(&[first, adder.join().unwrap()]);
        assert!([&both[..1], &both].contains(&found.as_slice()), "{found:?}");
        assert_eq!(members(world, resource), Ok(both));
        pick(found.len() == 1, "before", "after")
    });
}

/// The first of all members is the one that the record names.
#[test]
fn a_copy_beside_the_first_add() {
    model(&["before", "after"], |world| {
        let resource = resource(world);
        let adder = spawn(world, move |world| world.member(E1, resource));
        let found = members(world, resource).unwrap();
        let only = names(&[adder.join().unwrap()]);
        assert!(found.is_empty() || found == only, "{found:?}");
        pick(found.is_empty(), "before", "after")
    });
}

/// A member leaves, wherever it stands; the slot of another freed one is chained to its own.
fn a_copy_beside_a_removal(which: usize) -> impl Fn(&Arc<World>) -> &'static str {
    move |world| {
        let resource = resource(world);
        let all = [E1, E2, E3].map(|extent| world.member(extent, resource));
        let gone = all[which];
        let remover = spawn(world, move |world| destroy(world, gone).unwrap());
        let found = members(world, resource).unwrap();
        remover.join().unwrap();
        let mut left = all.to_vec();
        left.remove(which);
        let states = [names(&all), names(&left)];
        assert!(states.contains(&found), "{found:?} is none of {states:?}");
        assert_eq!(members(world, resource), Ok(names(&left)));
        pick(found.len() == 3, "before", "after")
    }
}

#[test]
fn a_copy_beside_the_removal_of_the_first() {
    model(&["before", "after"], a_copy_beside_a_removal(0));
}

#[test]
fn a_copy_beside_the_removal_of_one_between() {
    model(&["before", "after"], a_copy_beside_a_removal(1));
}

#[test]
fn a_copy_beside_the_removal_of_the_last() {
    model(&["before", "after"], a_copy_beside_a_removal(2));
}

/// Two changes, with an instant between them.
#[test]
fn a_copy_beside_a_removal_and_an_add() {
    model(&["before", "between", "after"], |world| {
        let resource = resource(world);
        let (first, second) = (world.member(E1, resource), world.member(E2, resource));
        let editor = spawn(world, move |world| {
            destroy(world, first).unwrap();
            // In the slot that is free now, under another name.
            world.member(E3, resource)
        });
        let found = members(world, resource).unwrap();
        let third = editor.join().unwrap();
        let states = [
            names(&[first, second]),
            names(&[second]),
            names(&[second, third]),
        ];
        let state = states.iter().position(|state| *state == found);
        ["before", "between", "after"][state.expect("a mixture")]
    });
}

/// The slot of a removed member is used at once, for a member of another resource.
#[test]
fn a_copy_beside_the_next_use_of_a_members_slot() {
    model(&["before", "after"], |world| {
        let (resource, other) = (resource(world), resource(world));
        let (first, second) = (world.member(E1, resource), world.member(E2, resource));
        let editor = spawn(world, move |world| {
            destroy(world, first).unwrap();
            let foreign = world.member(E3, other);
            assert!(std::ptr::eq(
                world.slot(foreign).slot(),
                world.slot(first).slot()
            ));
        });
        let found = members(world, resource).unwrap();
        editor.join().unwrap();
        let states = [names(&[first, second]), names(&[second])];
        assert!(states.contains(&found), "{found:?} is none of {states:?}");
        pick(found.len() == 2, "before", "after")
    });
}

/// A removed member's slot becomes the last of the free ones, and a third thread that frees another
/// slot writes its link: a copier that has not heard of the removal must not take it for a member.
#[test]
fn a_copy_beside_the_queue_of_free_slots() {
    model(&["before", "after"], |world| {
        let resource = resource(world);
        let (first, second) = (world.member(E1, resource), world.member(E2, resource));
        let alone = world.create(E3, false);
        let remover = spawn(world, move |world| destroy(world, first).unwrap());
        let other = spawn(world, move |world| world.table.destroy(alone).unwrap());
        let found = members(world, resource).unwrap();
        remover.join().unwrap();
        other.join().unwrap();
        let states = [names(&[first, second]), names(&[second])];
        assert!(states.contains(&found), "{found:?} is none of {states:?}");
        pick(found.len() == 2, "before", "after")
    });
}

/// The resource ends; its record is the next resource's at once, which has a member too.
#[test]
fn a_copy_beside_the_end_and_the_next_use_of_the_record() {
    model(&["alive", "ended"], |world| {
        let old = resource(world);
        let (first, second) = (world.member(E1, old), world.member(E2, old));
        let editor = spawn(world, move |world| {
            let mut left = Vec::new();
            let ended = world
                .table
                .resources()
                .destroy(old, |member| left.push(member));
            assert_eq!((ended, left), (Ok(()), vec![first, second]));
            let next = resource(world);
            assert_eq!(next.place(), old.place());
            world.member(E3, next);
            next
        });
        let found = members(world, old);
        let next = editor.join().unwrap();
        assert_ne!(next, old);
        assert_eq!(members(world, next).unwrap().len(), 1);
        match found {
            Ok(found) => {
                assert_eq!(found, names(&[first, second]));
                "alive"
            }
            Err(error) => {
                assert_eq!(error, Error::BadHandle);
                "ended"
            }
        }
    });
}

/// The resource ends while a member is destroyed and another slot is freed after it: nothing that
/// is freed is copied as a member.
#[test]
fn a_copy_beside_an_end_and_the_end_of_a_member() {
    model(&["both", "one", "ended"], |world| {
        let resource = resource(world);
        let (first, second) = (world.member(E1, resource), world.member(E2, resource));
        let alone = world.create(E3, false);
        let ender = spawn(world, move |world| end(world, resource));
        let destroyer = spawn(world, move |world| {
            destroy(world, first).unwrap();
            destroy(world, alone).unwrap();
        });
        let found = members(world, resource);
        let told = ender.join().unwrap();
        destroyer.join().unwrap();
        let states = [names(&[first, second]), names(&[second])];
        assert!(states.contains(&told), "{told:?} is none of {states:?}");
        let Ok(found) = found else {
            return "ended";
        };
        assert!(states.contains(&found), "{found:?} is none of {states:?}");
        pick(found.len() == 2, "both", "one")
    });
}

/// A member is destroyed, by somebody who has guessed its name, before its maker has put it into
/// the resource: what is gone is not chained, and its slot stays in the queue of free ones.
#[test]
fn an_add_of_what_is_destroyed_at_this_moment() {
    model(&["member", "gone before", "gone after"], |world| {
        let resource = resource(world);
        let first = world.create(E1, false);
        let guess = Handle::from_raw(first.raw() + 1).unwrap();
        let guesser = spawn(world, move |world| destroy(world, guess).is_ok());
        let added = {
            let member = world.create_for(E2, resource);
            assert_eq!(member, guess);
            world.table.resources().add(resource, member)
        };
        let destroyed = guesser.join().unwrap();
        let expected = if destroyed { vec![] } else { names(&[guess]) };
        assert_eq!(members(world, resource), Ok(expected));
        // Whatever is in the queue of free slots comes out of it once.
        let mut all = vec![first];
        all.extend((!destroyed).then_some(guess));
        destroy(world, first).unwrap();
        all.remove(0);
        all.extend([E1, E2, E3].map(|extent| world.create(extent, false)));
        let mut slots: Vec<_> = all
            .iter()
            .map(|&h| world.slot(h).slot() as *const Slot)
            .collect();
        slots.sort_unstable();
        slots.dedup();
        assert_eq!(slots.len(), all.len(), "a slot was given out twice");
        match added {
            Ok(()) => pick(destroyed, "gone after", "member"),
            Err(error) => {
                assert_eq!((error, destroyed), (Error::BadHandle, true));
                "gone before"
            }
        }
    });
}

/// A guesser destroys a new member at once: it leaves the chain, or never was in it, and its extent
/// goes to one of the two.
#[test]
fn a_new_member_that_is_destroyed_at_this_moment() {
    model(&["member", "destroyed"], |world| {
        let resource = resource(world);
        let first = world.member(E1, resource);
        let guess = Handle::from_raw(first.raw() + 1).unwrap();
        let guesser = spawn(world, move |world| destroy(world, guess).is_ok());
        assert_eq!(world.member(E2, resource), guess);
        let destroyed = guesser.join().unwrap();
        let left = if destroyed {
            &[first][..]
        } else {
            &[first, guess]
        };
        assert_eq!(members(world, resource), Ok(names(left)));
        let third = world.member(E3, resource);
        let left = [left, &[third]].concat();
        assert_eq!(members(world, resource), Ok(names(&left)));
        pick(destroyed, "destroyed", "member")
    });
}

/// What the resource at the place of `old` will be called next: it is one generation on.
fn next_name(old: ResourceId) -> ResourceId {
    ResourceId::from_raw(old.raw() + (1 << 21)).unwrap()
}

/// Ends `old` and puts `member`, which outlives it, into the next resource at the same place.
fn change_sides(world: &World, old: ResourceId, member: Handle) {
    let mut resources = world.table.resources();
    resources.destroy(old, |_| {}).unwrap();
    assert_eq!(resources.create(DEVICE), Ok(next_name(old)));
    resources.add(next_name(old), member).unwrap();
}

/// The chain of a resource that has ended is cut while it is copied.
#[test]
fn a_copy_beside_a_member_that_goes_to_the_next_resource() {
    model(&["alive", "ended"], |world| {
        let old = resource(world);
        let (first, second) = (world.member(E1, old), world.member(E2, old));
        let editor = spawn(world, move |world| change_sides(world, old, first));
        let found = members(world, old);
        editor.join().unwrap();
        let alive = Ok(names(&[first, second]));
        assert!([&alive, &Err(Error::BadHandle)].contains(&&found));
        pick(found.is_ok(), "alive", "ended")
    });
}

#[test]
fn a_copy_beside_a_member_that_comes_from_the_last_resource() {
    model(&["not yet", "empty", "there"], |world| {
        let old = resource(world);
        let member = world.member(E1, old);
        let editor = spawn(world, move |world| change_sides(world, old, member));
        let found = members(world, next_name(old));
        editor.join().unwrap();
        match found {
            Ok(found) => {
                assert!(found.is_empty() || found == names(&[member]), "{found:?}");
                pick(found.is_empty(), "empty", "there")
            }
            Err(error) => {
                assert_eq!(error, Error::BadHandle);
                "not yet"
            }
        }
    });
}

/// Adder and remover take turns under the lock, whatever a copier does meanwhile.
#[test]
fn a_copy_beside_two_editors() {
    model(&["neither", "one", "both"], |world| {
        let resource = resource(world);
        let (first, second) = (world.member(E1, resource), world.member(E2, resource));
        let adder = spawn(world, move |world| world.member(E3, resource));
        let remover = spawn(world, move |world| destroy(world, first).unwrap());
        let found = members(world, resource).unwrap();
        let third = adder.join().unwrap();
        remover.join().unwrap();
        assert_eq!(members(world, resource), Ok(names(&[second, third])));
        let states = [
            names(&[first, second]),
            names(&[first, second, third]),
            names(&[second]),
            names(&[second, third]),
        ];
        let state = states.iter().position(|state| *state == found);
        ["neither", "one", "one", "both"][state.expect("a mixture")]
    });
}

/// Two neighbours destroyed by two threads: each leaves once, and nothing else does.
#[test]
fn two_removals_at_once() {
    model(&["done"], |world| {
        let resource = resource(world);
        let all = [E1, E2, E3].map(|extent| world.member(extent, resource));
        let other = spawn(world, move |world| destroy(world, all[1]));
        assert_eq!(destroy(world, all[0]), Ok(()));
        assert_eq!(other.join().unwrap(), Ok(()));
        assert_eq!(members(world, resource), Ok(names(&all[2..])));
        "done"
    });
}

/// The device that is told is the resource's own, though the record's next resource is for another.
#[test]
fn a_look_at_the_device_beside_the_next_use_of_the_record() {
    model(&["alive", "ended"], |world| {
        let old = resource(world);
        let editor = spawn(world, move |world| {
            world.table.resources().destroy(old, |_| {}).unwrap();
            let next = world.table.resources().create(OTHER_DEVICE).unwrap();
            assert_eq!(next.place(), old.place());
            assert_eq!(world.table.device_of(next), Ok(OTHER_DEVICE));
        });
        let found = world.table.device_of(old);
        editor.join().unwrap();
        assert!([Ok(DEVICE), Err(Error::BadHandle)].contains(&found));
        assert_eq!(world.table.device_of(old), Err(Error::BadHandle));
        pick(found.is_ok(), "alive", "ended")
    });
}

/// Whoever is told a new resource's name knows its device.
#[test]
fn a_look_at_the_device_of_a_new_resource() {
    model(&["not yet", "there"], |world| {
        let expected = resource(world).raw() + 1;
        let maker = spawn(world, |world| {
            world.table.resources().create(OTHER_DEVICE).unwrap();
        });
        let found = world
            .table
            .device_of(ResourceId::from_raw(expected).unwrap());
        maker.join().unwrap();
        assert!([Ok(OTHER_DEVICE), Err(Error::BadHandle)].contains(&found));
        pick(found.is_ok(), "there", "not yet")
    });
}
