//! Ways out of *discarded*, and the first lock: the slow path.

use crate::world::{E1, E2, E3, MINE, TAKEN, World, model, pick};
use loom::thread;
use std::sync::atomic::{AtomicUsize, Ordering};
use vidmm_table::{
    Class, Error, ExtentWord, Installed, Lock, OfferMode, Offered, Reclaim, SlotRef, State,
};

/// Reclaims as the pool does: brings `extent` if there is none. Says whether it was taken.
fn reclaim_with(slot: &SlotRef<'_>, extent: ExtentWord) -> bool {
    match slot.reclaim().unwrap() {
        Reclaim::Discarded(_) => slot.install(extent).unwrap() == Installed::Here,
        _ => false,
    }
}

#[test]
fn two_reclaims_of_a_discarded_one_install_once() {
    model(&["here", "other"], |world| {
        let handle = world.discarded(E1);
        let other = {
            let world = world.clone();
            thread::spawn(move || {
                let taken = reclaim_with(&world.slot(handle), E2);
                if !taken {
                    world.write(E2, TAKEN);
                }
                taken
            })
        };
        let here = reclaim_with(&world.slot(handle), E3);
        if !here {
            world.write(E3, TAKEN);
        }
        // Whoever was second is committed on what the first brought.
        let extent = world.lock(handle).unwrap();
        assert_eq!(extent, if here { E3 } else { E2 });
        world.write(extent, MINE);
        assert_ne!(other.join().unwrap(), here);
        assert_eq!(world.slot(handle).slot().extent(), extent);
        pick(here, "here", "other")
    });
}

/// The first installer offers again and a claim takes its extent, while the second is under way.
#[test]
fn an_install_against_an_install_and_its_loss() {
    model(&["here", "other, then lost", "both"], |world| {
        let handle = world.discarded(E1);
        let other = {
            let world = world.clone();
            thread::spawn(move || world.slot(handle).install(E2).unwrap())
        };
        let here = world.slot(handle).install(E3).unwrap();
        world.offer(handle);
        let lost = world.look_and_claim(handle).map(|taken| taken.extent);
        let other = other.join().unwrap();
        match (here, other) {
            (Installed::Here, Installed::Here) => {
                // The other came after the claim had taken ours.
                assert_eq!(lost, Some(E3));
                assert_eq!(world.lock(handle), Ok(E2));
                "both"
            }
            (Installed::Here, _) => {
                assert_eq!(lost, Some(E3));
                "here"
            }
            (Installed::AlreadyCommitted, Installed::Here) => {
                assert_eq!(lost, Some(E2));
                "other, then lost"
            }
            answers => panic!("{answers:?}"),
        }
    });
}

#[test]
fn an_install_and_a_kill_have_one_winner() {
    model(&["killed", "installed"], |world| {
        let handle = world.written(E1);
        let decommit = OfferMode {
            class: Class::Low,
            allow_decommit: true,
        };
        world.slot(handle).offer(decommit).unwrap();
        assert!(world.look_and_claim(handle).is_some());
        let killer = {
            let world = world.clone();
            thread::spawn(move || world.slot(handle).kill().unwrap())
        };
        let installed = world.slot(handle).install(E2);
        if killer.join().unwrap() {
            assert_eq!(installed, Err(Error::NotCommitted));
            assert_eq!(world.slot(handle).reclaim(), Ok(Reclaim::Dead));
        } else {
            assert_eq!(installed, Ok(Installed::Here));
            assert_eq!(world.lock(handle), Ok(E2));
        }
        pick(installed.is_ok(), "installed", "killed")
    });
}

#[test]
fn an_install_and_a_destroy_lose_no_extent() {
    model(&["installed first", "destroyed first"], |world| {
        let handle = world.discarded(E1);
        let other = {
            let world = world.clone();
            thread::spawn(move || world.table.destroy(handle).unwrap())
        };
        let installed = world.slot(handle).install(E2);
        match other.join().unwrap() {
            Some(taken) => {
                assert_eq!((installed, taken.extent), (Ok(Installed::Here), E2));
                assert!(taken.fresh);
            }
            None => assert_eq!(installed, Err(Error::BadHandle)),
        }
        pick(installed.is_ok(), "installed first", "destroyed first")
    });
}

#[test]
fn two_first_locks_do_the_work_once() {
    model(&["done"], |world| {
        world.write(E1, TAKEN);
        let handle = world.create(E1, true);
        let worked = std::sync::Arc::new(AtomicUsize::new(0));
        let first_lock = move |world: &World, worked: &AtomicUsize| {
            let slot = world.slot(handle);
            let extent = match slot.lock().unwrap() {
                Lock::Locked(extent) => extent,
                Lock::Fresh => slot
                    .first_lock(|first| {
                        assert!(first.zero_owed);
                        world.write(first.extent, 0);
                        worked.fetch_add(1, Ordering::Relaxed);
                    })
                    .unwrap(),
            };
            assert_eq!(world.read(extent), 0);
            slot.unlock().unwrap();
        };
        let other = {
            let (world, worked) = (world.clone(), worked.clone());
            thread::spawn(move || first_lock(&world, &worked))
        };
        first_lock(world, &worked);
        other.join().unwrap();
        assert_eq!(worked.load(Ordering::Relaxed), 1);
        let word = world.word(handle);
        assert_eq!((word.is_fresh(), word.locks()), (false, 0));
        "done"
    });
}

/// The work of a first lock writes the extent: an offer must not give it away meanwhile.
#[test]
fn the_work_of_a_first_lock_is_not_on_a_claimed_extent() {
    model(&["claimed", "locked, then claimed", "kept"], |world| {
        world.write(E1, TAKEN);
        let handle = world.create(E1, true);
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
        let locked = match world.lock(handle) {
            Ok(extent) => {
                assert_eq!(world.read(extent), 0);
                assert_eq!(world.slot(handle).unlock(), Ok(0));
                true
            }
            Err(error) => {
                assert_eq!(error, Error::Offered);
                false
            }
        };
        match (locked, other.join().unwrap()) {
            (true, true) => "locked, then claimed",
            (true, false) => "kept",
            (false, true) => "claimed",
            (false, false) => panic!("neither locked nor offered"),
        }
    });
}

/// An unlock too many, by another thread, must not take away the lock under which the work runs.
#[test]
fn nobody_undoes_the_lock_of_the_work() {
    model(&["done"], |world| {
        let handle = world.create(E1, true);
        let other = {
            let world = world.clone();
            thread::spawn(move || {
                let slot = world.slot(handle);
                if slot.slot().word().is_fresh() && slot.unlock().is_ok() {
                    // The checker sees it if the work is still writing.
                    if slot.slot().word().is_fresh() && slot.offer(Class::Low.into()).is_ok() {
                        world.look_and_claim(handle);
                    }
                }
            })
        };
        if let Ok(extent) = world
            .slot(handle)
            .first_lock(|first| world.write(first.extent, 0))
        {
            assert_eq!(extent, E1);
        }
        other.join().unwrap();
        assert!(!world.word(handle).is_fresh());
        "done"
    });
}

/// A reclaim of a committed allocation advances its word: also under the work of a first lock.
#[test]
fn a_reclaim_under_a_first_lock_changes_nothing() {
    model(&["done"], |world| {
        let handle = world.create(E1, true);
        let other = {
            let world = world.clone();
            thread::spawn(move || {
                let answer = world.slot(handle).reclaim();
                assert!(matches!(answer, Ok(Reclaim::Intact(_))), "{answer:?}");
            })
        };
        assert_eq!(world.lock(handle), Ok(E1));
        other.join().unwrap();
        let word = world.word(handle);
        assert_eq!(
            (word.state(), word.is_fresh(), word.locks()),
            (State::Committed, false, 1)
        );
        "done"
    });
}

/// What an intact reclaim owes before the first lock, the first lock still pays.
#[test]
fn zeroes_are_owed_through_an_offer() {
    model(&["claimed", "intact"], |world| {
        world.write(E1, TAKEN);
        let handle = world.create(E1, true);
        world.offer(handle);
        let claimer = {
            let world = world.clone();
            thread::spawn(move || {
                world
                    .look_and_claim(handle)
                    .is_some_and(|taken| taken.fresh)
            })
        };
        let intact = matches!(world.slot(handle).reclaim().unwrap(), Reclaim::Intact(_));
        if intact {
            assert_eq!(world.read_locked(handle), 0);
        }
        assert_ne!(claimer.join().unwrap(), intact);
        pick(intact, "intact", "claimed")
    });
}

/// A new offer of what is discarded says that it may not die any more: either it was killed before, or
/// it is not killed.
#[test]
fn a_renewed_offer_and_a_kill() {
    model(&["killed", "kept"], |world| {
        let handle = world.discarded(E1);
        let lossy = OfferMode {
            class: Class::Low,
            allow_decommit: true,
        };
        world.slot(handle).renew_discarded(lossy).unwrap();
        let killer = {
            let world = world.clone();
            thread::spawn(move || world.slot(handle).kill().unwrap())
        };
        let renewed = world.slot(handle).renew_discarded(Class::High.into());
        assert_eq!(renewed, Ok(()));
        let killed = killer.join().unwrap();
        let word = world.word(handle);
        if killed {
            assert_eq!((word.state(), word.mode()), (State::Dead, lossy));
        } else {
            assert_eq!(
                (word.state(), word.mode()),
                (State::Discarded, Class::High.into())
            );
        }
        pick(killed, "killed", "kept")
    });
}

/// An install counts on the word that it saw: a renewal waits for it, or it for the renewal.
#[test]
fn a_renewed_offer_and_an_install() {
    model(&["before", "after"], |world| {
        let handle = world.discarded(E1);
        let installer = {
            let world = world.clone();
            thread::spawn(move || world.slot(handle).install(E2).unwrap())
        };
        world
            .slot(handle)
            .renew_discarded(Class::High.into())
            .unwrap();
        assert_eq!(installer.join().unwrap(), Installed::Here);
        let word = world.word(handle);
        assert_eq!(word.state(), State::Committed);
        assert_eq!(world.lock(handle), Ok(E2));
        pick(word.mode() == Class::High.into(), "before", "after")
    });
}
