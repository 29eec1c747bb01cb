//! Calls that name several allocations, fail for shortage, and take back what they did.

use crate::world::{E1, MINE, World, model, pick};
use loom::thread;
use vidmm_table::{Handle, Reclaim, State};

/// A call that reclaims `handle` as many times as its list names it, then fails for shortage.
fn failing_call(world: &World, handle: Handle, times: u32) -> bool {
    let slot = world.slot(handle);
    let first = slot.reclaim().unwrap();
    for _ in 1..times {
        slot.reclaim().unwrap();
    }
    match first {
        Reclaim::Intact(before) => slot.undo_reclaims(before, times),
        _ => false,
    }
}

/// Another call was told *intact* between the reclaim and its undoing: the undoing must fail.
#[test]
fn what_another_call_was_told_is_intact_is_not_offered_again() {
    model(&["claimed", "intact"], |world| {
        let (handle, _) = world.offered(E1);
        let other = {
            let world = world.clone();
            thread::spawn(move || {
                failing_call(&world, handle, 1);
                world.look_and_claim(handle).is_some()
            })
        };
        let intact = matches!(world.slot(handle).reclaim().unwrap(), Reclaim::Intact(_));
        if intact {
            assert_eq!(world.state(handle), State::Committed);
            assert_eq!(world.read_locked(handle), MINE);
        }
        assert_ne!(other.join().unwrap(), intact);
        pick(intact, "intact", "claimed")
    });
}

/// The same with a claimer of its own.
#[test]
fn a_failing_call_a_reclaim_and_a_claim() {
    model(&["claimed", "intact"], |world| {
        let (handle, _) = world.offered(E1);
        let failing = {
            let world = world.clone();
            thread::spawn(move || failing_call(&world, handle, 1))
        };
        let claimer = {
            let world = world.clone();
            thread::spawn(move || world.look_and_claim(handle).is_some())
        };
        let intact = matches!(world.slot(handle).reclaim().unwrap(), Reclaim::Intact(_));
        if intact {
            assert_eq!(world.read_locked(handle), MINE);
        }
        failing.join().unwrap();
        let claimed = claimer.join().unwrap();
        assert!(!(claimed && intact));
        let left = if claimed {
            State::Discarded
        } else {
            State::Committed
        };
        assert_eq!(world.state(handle), left);
        pick(intact, "intact", "claimed")
    });
}

/// A list may name an allocation twice; another call's reclaim may fall between the two.
#[test]
fn a_failing_call_that_names_an_item_twice() {
    model(&["claimed", "intact"], |world| {
        let (handle, _) = world.offered(E1);
        let other = {
            let world = world.clone();
            thread::spawn(move || {
                failing_call(&world, handle, 2);
                world.look_and_claim(handle).is_some()
            })
        };
        let intact = matches!(world.slot(handle).reclaim().unwrap(), Reclaim::Intact(_));
        if intact {
            assert_eq!(world.read_locked(handle), MINE);
        }
        assert_ne!(other.join().unwrap(), intact);
        pick(intact, "intact", "claimed")
    });
}

/// Somebody locked what the failing call had just committed: it stays committed.
#[test]
fn a_lock_inside_a_failing_call_keeps_the_memory() {
    model(&["locked", "claimed"], |world| {
        let (handle, _) = world.offered(E1);
        let other = {
            let world = world.clone();
            thread::spawn(move || {
                failing_call(&world, handle, 1);
                world.look_and_claim(handle).is_some()
            })
        };
        let locked = match world.lock(handle) {
            Ok(extent) => {
                assert_eq!(world.read(extent), MINE);
                assert_eq!(world.state(handle), State::Committed);
                world.slot(handle).unlock().unwrap();
                true
            }
            Err(_) => false,
        };
        assert_ne!(other.join().unwrap(), locked);
        pick(locked, "locked", "claimed")
    });
}

/// A failing call leaves the item as it was, with its class - or a claim has taken it.
#[test]
fn a_failing_call_and_a_claim() {
    model(&["claimed", "undone"], |world| {
        let (handle, before) = world.offered(E1);
        let claimer = {
            let world = world.clone();
            thread::spawn(move || world.look_and_claim(handle).is_some())
        };
        let undone = failing_call(world, handle, 1);
        let claimed = claimer.join().unwrap();
        assert!(undone || claimed);
        let word = world.word(handle);
        let left = if claimed {
            State::Discarded
        } else {
            State::Offered
        };
        assert_eq!((word.state(), word.mode()), (left, before.mode()));
        pick(claimed, "claimed", "undone")
    });
}

/// Two failing calls on one item: whatever is left of it, its content is whole.
#[test]
fn two_failing_calls_lose_no_content() {
    model(&["offered", "committed"], |world| {
        let (handle, _) = world.offered(E1);
        let other = {
            let world = world.clone();
            thread::spawn(move || failing_call(&world, handle, 1))
        };
        failing_call(world, handle, 1);
        other.join().unwrap();
        let Ok(Reclaim::Intact(before)) = world.slot(handle).reclaim() else {
            panic!("discarded by nobody");
        };
        assert_eq!(world.read_locked(handle), MINE);
        pick(before.state() == State::Offered, "offered", "committed")
    });
}
