//! The end of a device: its allocations are destroyed although they are locked, or just being
//! locked, offered, claimed, supplied.

use crate::world::{E1, E2, MINE, TAKEN, World, model, pick};
use loom::sync::Arc;
use loom::thread::{self, JoinHandle};
use vidmm_table::{Class, Detached, Error, Handle, Installed, Lock, OfferMode, Offered, State};

/// The device that ends, and one that does not.
const DEVICE: u32 = 1;
const OTHER_DEVICE: u32 = 2;

const DECOMMIT: OfferMode = OfferMode {
    class: Class::Low,
    allow_decommit: true,
};

/// Destroys `handle` of the device, locked or not; the extent is written by its new owner.
fn end(world: &World, handle: Handle) -> Result<Option<Detached>, Error> {
    let taken = world.table.destroy_locked(handle, DEVICE, |_| {})?;
    if let Some(taken) = taken {
        world.write(taken.extent, TAKEN);
    }
    Ok(taken)
}

/// An allocation of the device that was discarded; its extent is the caller's.
fn discarded(world: &World) -> Handle {
    let handle = world.written_on(DEVICE, E1);
    world.slot(handle).offer(DECOMMIT).unwrap();
    assert!(world.look_and_claim(handle).is_some());
    handle
}

fn spawn<T: 'static>(
    world: &Arc<World>,
    work: impl FnOnce(&World) -> T + 'static,
) -> JoinHandle<T> {
    let world = world.clone();
    thread::spawn(move || work(&world))
}

/// What was locked when it ended cannot be unlocked, and its slot's next allocation stays locked.
#[test]
fn an_unlock_of_what_ends() {
    model(&["unlocked", "refused"], |world| {
        let old = world.written_on(DEVICE, E1);
        world.lock(old).unwrap();
        let ender = spawn(world, move |world| {
            let taken = end(world, old).unwrap().unwrap();
            assert_eq!((taken.extent, taken.fresh), (E1, false));
            let new = world.create(E2, false);
            assert!(std::ptr::eq(world.slot(new).slot(), world.slot(old).slot()));
            world.lock(new).unwrap();
            new
        });
        let unlocked = world.slot(old).unlock();
        assert!(
            [Ok(0), Err(Error::BadHandle)].contains(&unlocked),
            "{unlocked:?}"
        );
        let new = ender.join().unwrap();
        assert_eq!(world.word(new).locks(), 1);
        assert_eq!(world.slot(old).unlock(), Err(Error::BadHandle));
        assert_eq!(world.read(E1), TAKEN);
        pick(unlocked.is_ok(), "unlocked", "refused")
    });
}

/// A lock is too late or in vain: nobody may use the memory, and the lock is not on the next one.
#[test]
fn a_lock_of_what_ends() {
    model(&["in vain", "unlocked in time", "refused"], |world| {
        let old = world.written_on(DEVICE, E1);
        let ender = spawn(world, move |world| {
            end(world, old).unwrap();
            world.create(E2, false)
        });
        let ending = match world.slot(old).lock() {
            Ok(locked) => {
                assert_eq!(locked, Lock::Locked(E1));
                let unlocked = world.slot(old).unlock();
                assert!(unlocked == Ok(0) || unlocked == Err(Error::BadHandle));
                pick(unlocked.is_ok(), "unlocked in time", "in vain")
            }
            Err(error) => {
                assert_eq!(error, Error::BadHandle);
                "refused"
            }
        };
        let new = ender.join().unwrap();
        let word = world.word(new);
        assert_eq!((word.is_fresh(), word.locks()), (true, 0));
        ending
    });
}

/// The work of a first lock is done before the memory is somebody else's, or not at all.
#[test]
fn the_work_of_a_first_lock_of_what_ends() {
    model(&["worked", "refused"], |world| {
        let old = world.create_on(DEVICE, E1);
        let ender = spawn(world, move |world| {
            let taken = end(world, old).unwrap().unwrap();
            assert_eq!(taken.extent, E1);
            (taken.fresh, world.create(E2, false))
        });
        let mut worked = false;
        let locked = world.slot(old).first_lock(|first| {
            world.write(first.extent, 0);
            worked = true;
        });
        let (fresh, new) = ender.join().unwrap();
        assert_eq!(
            locked,
            if worked {
                Ok(E1)
            } else {
                Err(Error::BadHandle)
            }
        );
        // What was worked on is backed, and goes back as such.
        assert_eq!(fresh, !worked);
        assert_eq!(world.read(E1), TAKEN);
        let word = world.word(new);
        assert_eq!((word.is_fresh(), word.locks()), (true, 0));
        pick(worked, "worked", "refused")
    });
}

#[test]
fn an_offer_and_a_claim_of_what_ends() {
    model(&["claimed", "ended offered", "ended before"], |world| {
        let handle = world.written_on(DEVICE, E1);
        let ender = spawn(world, move |world| end(world, handle).unwrap());
        let claimer = spawn(world, move |world| world.look_and_claim(handle).is_some());
        let offered = world.slot(handle).offer(Class::Low.into());
        let taken = ender.join().unwrap();
        let claimed = claimer.join().unwrap();
        assert_ne!(claimed, taken.is_some(), "the extent has one owner");
        assert_eq!(world.read(E1), TAKEN);
        match offered {
            Ok(offered) => {
                assert_eq!(offered, Offered::Now);
                pick(claimed, "claimed", "ended offered")
            }
            Err(error) => {
                assert_eq!((error, claimed), (Error::BadHandle, false));
                "ended before"
            }
        }
    });
}

#[test]
fn an_install_into_what_ends() {
    model(&["installed", "refused"], |world| {
        let handle = discarded(world);
        let ender = spawn(world, move |world| end(world, handle).unwrap());
        world.write(E2, MINE);
        let installed = world.slot(handle).install(E2);
        match (installed, ender.join().unwrap()) {
            (Ok(Installed::Here), Some(taken)) => {
                assert_eq!((taken.extent, taken.fresh), (E2, true));
                assert_eq!(world.read(E2), TAKEN);
                "installed"
            }
            (Err(Error::BadHandle), None) => {
                assert_eq!(world.read(E2), MINE, "still ours");
                "refused"
            }
            other => panic!("{other:?}"),
        }
    });
}

/// A slot that is used again at once has no installer of the old allocation at its extent.
#[test]
fn an_install_into_the_next_use_of_what_ends() {
    model(&["installed", "refused"], |world| {
        let old = discarded(world);
        let ender = spawn(world, move |world| {
            let taken = end(world, old).unwrap();
            let new = world.create(E1, false);
            (taken, new)
        });
        let installed = world.slot(old).install(E2);
        let (taken, new) = ender.join().unwrap();
        assert_eq!(installed == Ok(Installed::Here), taken.is_some());
        assert_eq!(world.lock(new), Ok(E1));
        pick(taken.is_some(), "installed", "refused")
    });
}

#[test]
fn a_kill_of_what_ends() {
    model(&["killed", "refused"], |world| {
        let handle = discarded(world);
        let ender = spawn(world, move |world| {
            assert_eq!(end(world, handle), Ok(None));
            let new = world.written(E2);
            world.slot(new).offer(DECOMMIT).unwrap();
            assert!(world.look_and_claim(new).is_some());
            new
        });
        let killed = world.slot(handle).kill();
        assert!([Ok(true), Err(Error::BadHandle)].contains(&killed));
        let new = ender.join().unwrap();
        assert_eq!(world.state(new), State::Discarded);
        pick(killed.is_ok(), "killed", "refused")
    });
}

/// The end of the device and a destroy of one of its allocations: one of them has it.
#[test]
fn a_destroy_of_what_ends() {
    model(&["here", "other"], |world| {
        let handle = world.written_on(DEVICE, E1);
        let ender = spawn(world, move |world| end(world, handle));
        let here = world.table.destroy(handle);
        if let Ok(Some(taken)) = here {
            world.write(taken.extent, TAKEN);
        }
        let there = ender.join().unwrap();
        assert!(here.is_ok() != there.is_ok(), "{here:?}, {there:?}");
        assert!([here, there].contains(&Err(Error::BadHandle)));
        assert_eq!(world.table.memory_use().allocations, 0);
        pick(here.is_ok(), "here", "other")
    });
}

/// The allocation is destroyed while its device ends, and its slot is another device's at once:
/// that one's allocation lives on.
#[test]
fn the_end_of_a_device_beside_the_next_use_of_a_slot() {
    model(&["here", "other"], |world| {
        let old = world.create_on(DEVICE, E1);
        let destroyer = spawn(world, move |world| {
            let destroyed = world.table.destroy(old);
            (destroyed.is_ok(), world.create_on(OTHER_DEVICE, E2))
        });
        let mut ended = 0;
        world.table.each_of_device(DEVICE, |handle| {
            ended += usize::from(end(world, handle).is_ok());
        });
        let (destroyed, new) = destroyer.join().unwrap();
        assert_eq!(ended + usize::from(destroyed), 1);
        assert_eq!(world.state(new), State::Committed);
        let of = |device| {
            let mut found = Vec::new();
            world
                .table
                .each_of_device(device, |handle| found.push(handle));
            found
        };
        assert_eq!(of(DEVICE), []);
        assert_eq!(of(OTHER_DEVICE), [new]);
        pick(destroyed, "other", "here")
    });
}
