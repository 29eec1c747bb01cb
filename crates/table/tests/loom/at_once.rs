//! The usual case of an offer and of a reclaim, without a second try: it is done, or nothing was.

use crate::world::{E1, E2, MINE, TAKEN, World, model, pick};
use loom::sync::Arc;
use loom::thread::{self, JoinHandle};
use vidmm_table::{Class, Error, Handle, Reclaim, State};

fn offer(world: &World, handle: Handle) -> bool {
    world.slot(handle).offer_at_once(Class::Low.into())
}

fn spawn<T: 'static>(
    world: &Arc<World>,
    work: impl FnOnce(&World) -> T + 'static,
) -> JoinHandle<T> {
    let world = world.clone();
    thread::spawn(move || work(&world))
}

/// What is locked is not offered, also if the lock comes at this moment.
#[test]
fn an_offer_and_a_lock() {
    model(&["offered", "locked", "both"], |world| {
        let handle = world.written(E1);
        let claimer = spawn(world, move |world| {
            offer(world, handle) && world.look_and_claim(handle).is_some()
        });
        let locked = world.lock(handle);
        match locked {
            Ok(extent) => {
                world.write(extent, MINE);
                world.slot(handle).unlock().unwrap();
            }
            Err(error) => assert_eq!(error, Error::Offered),
        }
        let claimed = claimer.join().unwrap();
        assert_eq!(world.read(E1) == TAKEN, claimed);
        match (locked.is_ok(), claimed) {
            (false, true) => "offered",
            (true, false) => "locked",
            (true, true) => "both",
            (false, false) => panic!("neither did anything"),
        }
    });
}

/// What comes back is intact, or it is not taken and is the claimer's.
#[test]
fn a_reclaim_and_a_claim() {
    model(&["intact", "claimed"], |world| {
        let (handle, _) = world.offered(E1);
        let claimer = spawn(world, move |world| world.look_and_claim(handle).is_some());
        let intact = match world.slot(handle).reclaim_at_once() {
            Some(before) => {
                assert_eq!(before.state(), State::Offered);
                assert_eq!(world.read_locked(handle), MINE);
                true
            }
            None => {
                let answer = world.slot(handle).reclaim();
                assert!(matches!(answer, Ok(Reclaim::Discarded(_))), "{answer:?}");
                false
            }
        };
        assert_ne!(claimer.join().unwrap(), intact);
        pick(intact, "intact", "claimed")
    });
}

/// The word that it swapped away undoes it, unless something has happened since.
#[test]
fn a_reclaim_is_undone_beside_a_claim() {
    model(&["claimed before", "claimed after", "undone"], |world| {
        let (handle, _) = world.offered(E1);
        let claimer = spawn(world, move |world| world.look_and_claim(handle).is_some());
        let reclaimed = world.slot(handle).reclaim_at_once();
        if let Some(before) = reclaimed {
            assert!(world.slot(handle).undo_reclaim(before));
        }
        match (claimer.join().unwrap(), reclaimed) {
            (false, _) => {
                assert_eq!(world.state(handle), State::Offered);
                "undone"
            }
            (true, None) => "claimed before",
            (true, Some(_)) => "claimed after",
        }
    });
}

/// Of two, one has it; the other is sent the long way and finds it committed.
#[test]
fn two_reclaims() {
    model(&["here", "other"], |world| {
        let (handle, _) = world.offered(E1);
        let other = spawn(world, move |world| {
            world.slot(handle).reclaim_at_once().is_some()
        });
        let here = world.slot(handle).reclaim_at_once().is_some();
        assert_ne!(other.join().unwrap(), here);
        assert_eq!(world.state(handle), State::Committed);
        pick(here, "here", "other")
    });
}

/// Destroys `old` and makes the next allocation in its slot, which is offered if `offered`.
fn replace(world: &Arc<World>, old: Handle, offered: bool) -> JoinHandle<Handle> {
    spawn(world, move |world| {
        world.table.destroy(old).unwrap();
        let new = world.written(E2);
        assert!(std::ptr::eq(world.slot(new).slot(), world.slot(old).slot()));
        if offered {
            world.offer(new);
        }
        new
    })
}

#[test]
fn a_stale_offer() {
    model(&["in time", "refused"], |world| {
        let old = world.written(E1);
        let replaced = replace(world, old, false);
        let offered = offer(world, old);
        let new = replaced.join().unwrap();
        assert_eq!(world.state(new), State::Committed);
        pick(offered, "in time", "refused")
    });
}

#[test]
fn a_stale_reclaim() {
    model(&["in time", "refused"], |world| {
        let (old, _) = world.offered(E1);
        let replaced = replace(world, old, true);
        let reclaimed = world.slot(old).reclaim_at_once().is_some();
        let new = replaced.join().unwrap();
        assert_eq!(world.state(new), State::Offered);
        pick(reclaimed, "in time", "refused")
    });
}
