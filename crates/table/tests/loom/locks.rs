//! Locks against offers, claims and destroys.

use crate::world::{E1, MINE, TAKEN, model, pick};
use loom::thread;
use vidmm_table::{Class, Error, Offered, Reclaim, State};

/// The unlock publishes what was written under the lock: another thread offers, a claim takes.
#[test]
fn an_unlock_hands_the_content_on() {
    model(&["taken", "kept"], |world| {
        let handle = world.written(E1);
        let other = {
            let world = world.clone();
            thread::spawn(move || match world.slot(handle).offer(Class::Low.into()) {
                Ok(Offered::Now) => world.look_and_claim(handle).is_some(),
                answer => {
                    assert_eq!(answer, Err(Error::Locked));
                    false
                }
            })
        };
        match world.lock(handle) {
            Ok(extent) => {
                world.write(extent, MINE + 1);
                let word = world.word(handle);
                assert_eq!((word.state(), word.locks()), (State::Committed, 1));
                assert_eq!(world.slot(handle).unlock(), Ok(0));
            }
            Err(error) => assert_eq!(error, Error::Offered),
        }
        let taken = other.join().unwrap();
        assert_eq!(world.read(E1) == TAKEN, taken);
        pick(taken, "taken", "kept")
    });
}

/// One thread writes under a lock, another reads under the next.
#[test]
fn a_lock_sees_what_the_last_unlock_left() {
    model(&["after", "before"], |world| {
        let handle = world.written(E1);
        world.lock(handle).unwrap();
        let writer = {
            let world = world.clone();
            thread::spawn(move || {
                world.write(E1, MINE + 1);
                world.slot(handle).unlock().unwrap();
            })
        };
        let extent = world.lock(handle).unwrap();
        let after = world.word(handle).locks() == 1;
        if after {
            assert_eq!(world.read(extent), MINE + 1);
        }
        writer.join().unwrap();
        assert_eq!(world.slot(handle).unlock(), Ok(0));
        pick(after, "after", "before")
    });
}

/// What is offered cannot be locked, whether or not a claim is under way.
#[test]
fn a_lock_never_meets_a_claim() {
    model(&["claimed", "intact"], |world| {
        let (handle, _) = world.offered(E1);
        let claimer = {
            let world = world.clone();
            thread::spawn(move || world.look_and_claim(handle).is_some())
        };
        assert_eq!(world.lock(handle), Err(Error::Offered));
        let intact = matches!(world.slot(handle).reclaim().unwrap(), Reclaim::Intact(_));
        if intact {
            assert_eq!(world.read_locked(handle), MINE);
        } else {
            assert_eq!(world.lock(handle), Err(Error::Offered));
        }
        assert_ne!(claimer.join().unwrap(), intact);
        pick(intact, "intact", "claimed")
    });
}

/// A lock, an offer and a claim, each by a thread of its own.
#[test]
fn a_lock_an_offer_and_a_claim() {
    model(&["kept", "offered", "claimed"], |world| {
        let handle = world.written(E1);
        let offerer = {
            let world = world.clone();
            thread::spawn(move || world.slot(handle).offer(Class::Low.into()).is_ok())
        };
        let claimer = {
            let world = world.clone();
            thread::spawn(move || world.look_and_claim(handle).is_some())
        };
        if let Ok(extent) = world.lock(handle) {
            world.write(extent, MINE + 1);
            world.slot(handle).unlock().unwrap();
        }
        let (offered, claimed) = (offerer.join().unwrap(), claimer.join().unwrap());
        assert!(offered || !claimed);
        assert_eq!(world.read(E1) == TAKEN, claimed);
        if claimed {
            "claimed"
        } else {
            pick(offered, "offered", "kept")
        }
    });
}

#[test]
fn a_lock_and_a_destroy() {
    model(&["destroyed", "kept"], |world| {
        let handle = world.written(E1);
        let other = {
            let world = world.clone();
            thread::spawn(move || match world.table.destroy(handle) {
                Ok(taken) => {
                    world.write(taken.unwrap().extent, TAKEN);
                    true
                }
                Err(error) => {
                    assert_eq!(error, Error::Locked);
                    false
                }
            })
        };
        match world.lock(handle) {
            Ok(extent) => {
                world.write(extent, MINE + 1);
                assert_eq!(world.slot(handle).unlock(), Ok(0));
            }
            Err(error) => assert_eq!(error, Error::BadHandle),
        }
        let destroyed = other.join().unwrap();
        assert_eq!(world.read(E1) == TAKEN, destroyed);
        pick(destroyed, "destroyed", "kept")
    });
}
