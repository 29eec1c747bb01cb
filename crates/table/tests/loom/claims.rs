//! Who wins an offered allocation, and in what state the winner finds its memory.

use crate::world::{E1, E2, MINE, TAKEN, World, model, pick};
use loom::thread;
use vidmm_table::{Class, Error, Installed, Offered, Reclaim, State};

#[test]
fn a_claim_and_a_reclaim_have_one_winner() {
    model(&["claimed", "intact"], |world| {
        let (handle, _) = world.offered(E1);
        let claimer = {
            let world = world.clone();
            thread::spawn(move || world.look_and_claim(handle).is_some())
        };
        let intact = match world.slot(handle).reclaim().unwrap() {
            Reclaim::Intact(before) => {
                assert_eq!(before.state(), State::Offered);
                assert_eq!(world.read_locked(handle), MINE);
                true
            }
            Reclaim::Discarded(_) => {
                let installed = world.slot(handle).install(E2).unwrap();
                assert_eq!(installed, Installed::Here);
                false
            }
            Reclaim::Dead => panic!("nobody killed it"),
        };
        assert_ne!(claimer.join().unwrap(), intact);
        assert_eq!(world.state(handle), State::Committed);
        pick(intact, "intact", "claimed")
    });
}

/// The offer must publish what its owner wrote: the claimer's next owner writes the same memory.
#[test]
fn the_claimer_comes_after_the_owners_writes() {
    model(&["claimed", "intact"], |world| {
        let handle = world.written(E1);
        let claimer = {
            let world = world.clone();
            thread::spawn(move || world.look_and_claim(handle).is_some())
        };
        world.write_locked(handle);
        world.offer(handle);
        let intact = match world.slot(handle).reclaim().unwrap() {
            Reclaim::Intact(_) => world.read_locked(handle) == MINE,
            _ => false,
        };
        assert_ne!(claimer.join().unwrap(), intact);
        pick(intact, "intact", "claimed")
    });
}

/// A claimer that looked too early, a reclaim, and an offer again: the old word claims nothing.
#[test]
fn a_claim_from_an_old_word_takes_nothing() {
    model(&["claimed", "intact"], |world| {
        let (handle, before) = world.offered(E1);
        let claimer = {
            let world = world.clone();
            thread::spawn(move || world.claim(handle, before).is_some())
        };
        let intact = matches!(world.slot(handle).reclaim().unwrap(), Reclaim::Intact(_));
        if intact {
            world.write_locked(handle);
            world.offer(handle);
        }
        assert_ne!(claimer.join().unwrap(), intact);
        if intact {
            assert_eq!(world.state(handle), State::Offered);
        }
        pick(intact, "intact", "claimed")
    });
}

/// Renewing an offer renews its age: a claim that was decided on the old age fails.
#[test]
fn a_renewed_offer_and_a_claim_have_one_winner() {
    model(&["claimed", "renewed"], |world| {
        let (handle, before) = world.offered(E1);
        let claimer = {
            let world = world.clone();
            thread::spawn(move || world.claim(handle, before).is_some())
        };
        let renewed = world.slot(handle).offer(Class::Normal.into()).unwrap();
        let claimed = claimer.join().unwrap();
        assert_eq!(claimed, renewed == Offered::AlreadyDiscarded);
        pick(claimed, "claimed", "renewed")
    });
}

#[test]
fn two_claimers_have_one_winner() {
    model(&["here", "other"], |world| {
        let (handle, _) = world.offered(E1);
        let other = {
            let world = world.clone();
            thread::spawn(move || world.look_and_claim(handle).is_some())
        };
        let here = world.look_and_claim(handle).is_some();
        assert_ne!(other.join().unwrap(), here);
        assert_eq!(world.read(E1), TAKEN);
        pick(here, "here", "other")
    });
}

/// The claimed extent is what the slot had at the claim, though a reclaim brings the next at once.
#[test]
fn a_claim_takes_the_extent_of_its_word() {
    model(&["claimed", "intact"], |world| {
        let (handle, _) = world.offered(E1);
        let claimer = {
            let world = world.clone();
            thread::spawn(move || world.look_and_claim(handle).map(|taken| taken.extent))
        };
        if let Reclaim::Discarded(_) = world.slot(handle).reclaim().unwrap() {
            world.write(E2, 0);
            assert_eq!(world.slot(handle).install(E2), Ok(Installed::Here));
            assert_eq!(world.lock(handle), Ok(E2));
            assert_eq!(world.read(E2), 0);
            assert_eq!(claimer.join().unwrap(), Some(E1));
            "claimed"
        } else {
            assert_eq!(claimer.join().unwrap(), None);
            "intact"
        }
    });
}

/// The victim's memory goes to another allocation, whose owner sees what was put there.
#[test]
fn an_extent_moves_from_a_victim_to_a_reclaimer() {
    model(&["moved", "intact"], |world| {
        let (victim, _) = world.offered(E1);
        let needy = world.discarded(E2);
        let maker = {
            let world = world.clone();
            thread::spawn(move || {
                let taken = world.look_and_claim(victim)?;
                assert_eq!(world.slot(needy).install(taken.extent), Ok(Installed::Here));
                Some(())
            })
        };
        let lost = match world.slot(victim).reclaim().unwrap() {
            Reclaim::Intact(_) => {
                assert_eq!(world.read_locked(victim), MINE);
                false
            }
            _ => true,
        };
        match world.lock(needy) {
            Ok(extent) => assert_eq!((extent, world.read(extent)), (E1, TAKEN)),
            Err(error) => assert_eq!(error, Error::Offered),
        }
        assert_eq!(maker.join().unwrap().is_some(), lost);
        pick(lost, "moved", "intact")
    });
}

#[test]
fn a_claim_and_a_destroy_take_the_extent_once() {
    model(&["claimed", "destroyed"], |world| {
        let (handle, _) = world.offered(E1);
        let claimer = {
            let world = world.clone();
            thread::spawn(move || world.look_and_claim(handle).is_some())
        };
        let destroyed = world.table.destroy(handle).unwrap();
        if let Some(taken) = destroyed {
            assert_eq!(taken.extent, E1);
            world.write(E1, TAKEN);
        }
        assert_ne!(claimer.join().unwrap(), destroyed.is_some());
        assert_eq!(world.slot(handle).load(), Err(Error::BadHandle));
        pick(destroyed.is_some(), "destroyed", "claimed")
    });
}

#[test]
fn two_destroys_free_the_slot_once() {
    model(&["here", "other"], |world| {
        let handle = world.written(E1);
        let other = {
            let world = world.clone();
            thread::spawn(move || world.table.destroy(handle))
        };
        let here = world.table.destroy(handle);
        let other = other.join().unwrap();
        assert!(here.is_ok() != other.is_ok(), "{here:?}, {other:?}");
        assert!([here, other].contains(&Err(Error::BadHandle)));
        assert_eq!(world.table.memory_use().allocations, 0);
        // A slot that was queued twice would be given out twice.
        let (first, second) = (world.create(E1, false), world.create(E2, false));
        let extents = [first, second].map(|handle| world.lock(handle).unwrap());
        assert_eq!(extents, [E1, E2]);
        pick(here.is_ok(), "here", "other")
    });
}

/// Two members, two claimers that walk in the same order and stop at the first member they lose:
/// a group never falls to two claimers.
#[test]
fn a_group_falls_to_one_claimer() {
    model(&["here", "other"], |world| {
        let group = [world.offered(E1).0, world.offered(E2).0];
        let walk = move |world: &World| {
            let mut won = 0;
            for member in group {
                if world.look_and_claim(member).is_none() {
                    break;
                }
                won += 1;
            }
            won
        };
        let other = {
            let world = world.clone();
            thread::spawn(move || walk(&world))
        };
        let here = walk(world);
        let mut won = [here, other.join().unwrap()];
        won.sort_unstable();
        assert_eq!(won, [0, 2]);
        pick(here == 2, "here", "other")
    });
}

/// A group claimed from two sides while its owner takes it back: each member has one winner.
#[test]
fn a_group_is_claimed_twice_and_reclaimed() {
    model(&["all lost", "all intact", "one intact"], |world| {
        let group = [world.offered(E1).0, world.offered(E2).0];
        let walk = move |world: &World| {
            let walked = group
                .iter()
                .take_while(|&&member| world.look_and_claim(member).is_some());
            walked.count()
        };
        let claimers = [(); 2].map(|()| {
            let world = world.clone();
            thread::spawn(move || walk(&world))
        });
        let answers = group.map(|member| world.slot(member).reclaim().unwrap());
        let mut intact = 0;
        for (member, answer) in group.into_iter().zip(answers) {
            if let Reclaim::Intact(_) = answer {
                assert_eq!(world.read_locked(member), MINE);
                intact += 1;
            }
        }
        let won: usize = claimers
            .into_iter()
            .map(|claimer| claimer.join().unwrap())
            .sum();
        assert_eq!(won + intact, 2);
        ["all lost", "one intact", "all intact"][intact]
    });
}
