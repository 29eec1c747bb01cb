//! A handle, or a word, of an allocation that is destroyed at this moment, its slot being used
//! for the next one at once: nothing that still holds it acts on the next allocation.

use crate::world::{E1, E2, E3, MINE, TAKEN, World, model, pick};
use loom::sync::Arc;
use loom::thread::{self, JoinHandle};
use vidmm_table::{Class, Detached, Error, Handle, Installed, OfferMode, Offered, Reclaim, State};

/// Destroys `old` and creates the next allocation in its slot, on E2; `then` happens to that one
/// before anybody is told its handle. (`None`: `old` was locked, or destroyed by somebody else.)
fn replace(
    world: &Arc<World>,
    old: Handle,
    then: impl FnOnce(&World, Handle) + 'static,
) -> JoinHandle<Option<(Option<Detached>, Handle)>> {
    let world = world.clone();
    thread::spawn(move || {
        let taken = match world.table.destroy(old) {
            Ok(taken) => taken,
            Err(error) => {
                assert!(matches!(error, Error::Locked | Error::BadHandle), "{error}");
                return None;
            }
        };
        if let Some(taken) = taken {
            world.write(taken.extent, TAKEN);
        }
        let new = world.create(E2, false);
        assert_ne!(new, old);
        assert!(
            std::ptr::eq(world.slot(new).slot(), world.slot(old).slot()),
            "the test wants the slot used again at once"
        );
        then(&world, new);
        Some((taken, new))
    })
}

#[test]
fn a_stale_offer() {
    model(&["in time", "refused"], |world| {
        let old = world.written(E1);
        let replaced = replace(world, old, |_, _| {});
        let offered = world.slot(old).offer(Class::Low.into());
        assert!(
            [Ok(Offered::Now), Err(Error::BadHandle)].contains(&offered),
            "{offered:?}"
        );
        let (_, new) = replaced.join().unwrap().unwrap();
        assert_eq!(world.state(new), State::Committed);
        pick(offered.is_ok(), "in time", "refused")
    });
}

/// The new allocation goes through the same steps as the old one: its word differs all the same.
#[test]
fn a_stale_reclaim() {
    model(&["in time", "refused"], |world| {
        let (old, _) = world.offered(E1);
        let replaced = replace(world, old, |world, new| {
            world.write_locked(new);
            world.offer(new);
        });
        let answer = world.slot(old).reclaim();
        assert!(
            matches!(answer, Ok(Reclaim::Intact(_)) | Err(Error::BadHandle)),
            "{answer:?}"
        );
        let (taken, new) = replaced.join().unwrap().unwrap();
        assert_eq!(taken.unwrap().extent, E1);
        assert_eq!(world.state(new), State::Offered);
        pick(answer.is_ok(), "in time", "refused")
    });
}

#[test]
fn a_stale_undo() {
    model(&["undone", "too late", "refused"], |world| {
        let (old, _) = world.offered(E1);
        let replaced = replace(world, old, |_, _| {});
        let ending = match world.slot(old).reclaim() {
            Ok(Reclaim::Intact(before)) => {
                pick(world.slot(old).undo_reclaim(before), "undone", "too late")
            }
            answer => {
                assert_eq!(answer, Err(Error::BadHandle));
                "refused"
            }
        };
        let (_, new) = replaced.join().unwrap().unwrap();
        assert_eq!(world.state(new), State::Committed);
        ending
    });
}

#[test]
fn a_stale_lock() {
    model(&["in time", "unlocked in time", "refused"], |world| {
        let old = world.written(E1);
        let replaced = replace(world, old, |world, new| world.write_locked(new));
        let locked = match world.slot(old).lock() {
            Ok(vidmm_table::Lock::Locked(extent)) => {
                assert_eq!(extent, E1);
                world.write(extent, MINE);
                assert_eq!(world.slot(old).unlock(), Ok(0));
                true
            }
            answer => {
                assert_eq!(answer, Err(Error::BadHandle));
                false
            }
        };
        let Some((_, new)) = replaced.join().unwrap() else {
            return "in time";
        };
        assert_eq!(world.word(new).locks(), 0);
        assert_eq!(world.read_locked(new), MINE);
        pick(locked, "unlocked in time", "refused")
    });
}

#[test]
fn a_stale_first_lock() {
    model(&["in time", "refused"], |world| {
        let old = world.create(E1, true);
        let replaced = replace(world, old, |_, _| {});
        let locked = world.slot(old).first_lock(|first| {
            assert_eq!(first.extent, E1);
            world.write(first.extent, 0);
        });
        match replaced.join().unwrap() {
            Some((_, new)) => {
                assert_eq!(locked, Err(Error::BadHandle));
                let word = world.word(new);
                assert_eq!((word.is_fresh(), word.locks()), (true, 0));
                "refused"
            }
            None => {
                assert_eq!(locked, Ok(E1));
                "in time"
            }
        }
    });
}

#[test]
fn a_stale_unlock() {
    model(&["not locked", "refused"], |world| {
        let old = world.written(E1);
        let replaced = replace(world, old, |world, new| {
            world.lock(new).unwrap();
        });
        let error = world.slot(old).unlock().unwrap_err();
        let (_, new) = replaced.join().unwrap().unwrap();
        assert_eq!(world.word(new).locks(), 1);
        match error {
            Error::NotLocked => "not locked",
            Error::BadHandle => "refused",
            error => panic!("{error}"),
        }
    });
}

/// A scan saw the old allocation offered; the new one is offered too when the claim comes.
#[test]
fn a_claim_with_a_word_of_the_allocation_before() {
    model(&["claimed", "destroyed"], |world| {
        let (old, seen) = world.offered(E1);
        let replaced = replace(world, old, |world, new| {
            world.write_locked(new);
            world.offer(new);
        });
        let claimed = world.claim(old, seen);
        let (taken, new) = replaced.join().unwrap().unwrap();
        match claimed {
            Some(claimed) => assert_eq!((claimed.extent, taken), (E1, None)),
            None => assert_eq!(taken.unwrap().extent, E1),
        }
        assert_eq!(world.state(new), State::Offered);
        pick(claimed.is_some(), "claimed", "destroyed")
    });
}

/// A scan holds no handle: what it sees is claimed on the extent that belongs to it.
#[test]
fn a_claim_of_whatever_is_in_the_slot() {
    model(&["the old one", "the new one", "nothing"], |world| {
        let (old, _) = world.offered(E1);
        let replaced = replace(world, old, |world, new| {
            world.write_locked(new);
            world.offer(new);
        });
        let claimed = world.look_and_claim(old).map(|claimed| claimed.extent);
        let (taken, new) = replaced.join().unwrap().unwrap();
        let taken = taken.map(|taken| taken.extent);
        assert!([Some(E1), None].contains(&taken));
        if taken.is_none() {
            assert_eq!(claimed, Some(E1));
        }
        let state = if claimed == Some(E2) {
            State::Discarded
        } else {
            State::Offered
        };
        assert_eq!(world.state(new), state);
        match claimed {
            Some(E1) => "the old one",
            Some(_) => "the new one",
            None => "nothing",
        }
    });
}

#[test]
fn a_stale_install() {
    model(&["in time", "refused"], |world| {
        let old = world.discarded(E1);
        let replaced = replace(world, old, |_, _| {});
        let installed = world.slot(old).install(E3);
        let (taken, new) = replaced.join().unwrap().unwrap();
        match installed {
            Ok(Installed::Here) => assert_eq!(taken.unwrap().extent, E3),
            answer => {
                assert_eq!((answer, taken), (Err(Error::BadHandle), None));
                // Still ours.
                world.write(E3, MINE);
            }
        }
        assert_eq!(world.lock(new), Ok(E2));
        pick(installed.is_ok(), "in time", "refused")
    });
}

/// The new allocation is discarded as well when the stale install comes.
#[test]
fn a_stale_install_into_the_next_discarded() {
    model(&["in time", "refused"], |world| {
        let old = world.discarded(E1);
        let replaced = replace(world, old, |world, new| {
            world.offer(new);
            assert!(world.look_and_claim(new).is_some());
        });
        let installed = world.slot(old).install(E3);
        let (taken, new) = replaced.join().unwrap().unwrap();
        assert_eq!(installed.is_ok(), taken.is_some());
        assert_eq!(world.state(new), State::Discarded);
        pick(installed.is_ok(), "in time", "refused")
    });
}

#[test]
fn a_stale_kill() {
    model(&["in time", "refused"], |world| {
        let decommit = OfferMode {
            class: Class::Low,
            allow_decommit: true,
        };
        let old = world.written(E1);
        world.slot(old).offer(decommit).unwrap();
        assert!(world.look_and_claim(old).is_some());
        let replaced = replace(world, old, move |world, new| {
            world.slot(new).offer(decommit).unwrap();
            assert!(world.look_and_claim(new).is_some());
        });
        let killed = world.slot(old).kill();
        assert!(
            [Ok(true), Err(Error::BadHandle)].contains(&killed),
            "{killed:?}"
        );
        let (_, new) = replaced.join().unwrap().unwrap();
        assert_eq!(world.state(new), State::Discarded);
        pick(killed.is_ok(), "in time", "refused")
    });
}

#[test]
fn a_stale_destroy() {
    model(&["here", "other"], |world| {
        let old = world.written(E1);
        let replaced = replace(world, old, |_, _| {});
        let here = world.table.destroy(old);
        match replaced.join().unwrap() {
            Some((taken, new)) => {
                assert_eq!(here, Err(Error::BadHandle));
                assert_eq!(taken.unwrap().extent, E1);
                assert_eq!(world.lock(new), Ok(E2));
                "other"
            }
            None => {
                assert_eq!(here.unwrap().unwrap().extent, E1);
                "here"
            }
        }
    });
}

/// A create may get the slot the moment it is free: never under the handle it had.
#[test]
fn a_create_beside_a_destroy() {
    model(&["the same slot", "another"], |world| {
        let old = world.written(E1);
        let destroyer = {
            let world = world.clone();
            thread::spawn(move || world.table.destroy(old).unwrap().unwrap().extent)
        };
        let new = world.create(E2, false);
        assert_ne!(new, old);
        assert_eq!(destroyer.join().unwrap(), E1);
        assert_eq!(world.slot(old).load(), Err(Error::BadHandle));
        assert_eq!(world.lock(new), Ok(E2));
        let same = std::ptr::eq(world.slot(new).slot(), world.slot(old).slot());
        pick(same, "the same slot", "another")
    });
}
