//! The budget: what may be held, and what a lower one does.

use crate::face::{Answer, Class, FaceFactory, Form, New, Refusal};
use crate::world::{Done, UNIT, World, done, refused};

pub(super) fn the_budget_is_exact(factory: &mut dyn FaceFactory) -> Done {
    let mut world = World::new(factory, 8)?;
    let items = world.items(8)?;
    assert_eq!(world.resident()?, 8 * UNIT);
    world.is_full()?;
    world.destroy(items[3])?;
    let again = world.item(1)?;
    world.is_full()?;
    assert_eq!(world.resident()?, 8 * UNIT);
    world.holds_its_content(&[items[0], items[7], again])
}

pub(super) fn a_budget_below_what_is_committed_becomes_a_debt_that_shrinks(
    factory: &mut dyn FaceFactory,
) -> Done {
    let mut world = World::new(factory, 16)?;
    let committed = world.items(8)?;
    let offered = world.items(4)?;
    let unused = world.items(2)?;
    for &item in &unused {
        world.destroy(item)?;
    }
    world.offer(&offered, Class::High)?;
    assert_eq!(world.resident()?, 14 * UNIT);
    world.set_budget(4)?;
    assert_eq!(world.resident()?, 8 * UNIT, "all that can go goes at once");
    world.holds_its_content(&committed)?;
    for (left, &item) in (4_u64..8).rev().zip(&committed) {
        world.is_full()?;
        world.destroy(item)?;
        assert_eq!(
            world.resident()?,
            left * UNIT,
            "memory of a debt goes at once"
        );
    }
    world.is_full()?;
    world.destroy(committed[4])?;
    let new = world.item(1)?;
    world.is_full()?;
    assert_eq!(world.resident()?, 4 * UNIT);
    world.holds_its_content(&committed[5..])?;
    world.holds_its_content(&[new])
}

pub(super) fn in_debt_what_needs_room_fails_cleanly(factory: &mut dyn FaceFactory) -> Done {
    let mut world = World::new(factory, 8)?;
    let lost = world.items(2)?;
    let kept = world.items(4)?;
    world.offer(&lost, Class::Low)?;
    assert_eq!(world.lost_to(2)?, lost);
    world.set_budget(3)?;
    world.falls_short(&lost, Form::V1)?;
    world.falls_short(&[kept[0], lost[1]], Form::V1)?;
    world.is_full()?;
    // What needs none goes on.
    assert_eq!(world.reclaim(&kept)?, [Answer::Intact; 4]);
    world.holds_its_content(&kept)?;
    world.write(kept[1])?;
    assert_eq!(world.resident()?, 4 * UNIT);
    // Offering out of a debt: it goes for the debt and not for anything new.
    world.offer(&kept[..1], Class::High)?;
    world.set_budget(3)?;
    world.falls_short(&lost[..1], Form::V1)?;
    world.set_budget(8)?;
    assert_eq!(world.reclaim(&lost)?, [Answer::Discarded; 2]);
    world.holds_its_content(&kept[1..])
}

pub(super) fn in_debt_no_unused_memory_is_kept(factory: &mut dyn FaceFactory) -> Done {
    let mut world = World::new(factory, 16)?;
    let touched = world.item(1)?;
    let kept = world.items(2)?;
    let idle = world.untouched(4 * UNIT, None)?;
    world.set_budget(0)?;
    assert_eq!(world.resident()?, 3 * UNIT);
    // Both have to go: one gives back memory, the other had none.
    world.offer(&[touched, idle], Class::Low)?;
    done(world.face.trim(UNIT + 1))?;
    assert_eq!(world.resident()?, 2 * UNIT);
    world.holds_its_content(&kept)
}

pub(super) fn a_budget_of_nothing_and_back(factory: &mut dyn FaceFactory) -> Done {
    let mut world = World::new(factory, 8)?;
    let items = world.items(4)?;
    let unused = world.item(2)?;
    world.offer(&items, Class::High)?;
    world.destroy(unused)?;
    world.set_budget(0)?;
    assert_eq!(world.resident()?, 0);
    world.is_full()?;
    world.falls_short(&items, Form::V1)?;
    world.set_budget(8)?;
    assert_eq!(world.reclaim(&items)?, [Answer::Discarded; 4]);
    for &item in &items {
        world.write(item)?;
    }
    world.holds_its_content(&items)?;
    assert_eq!(world.resident()?, 4 * UNIT);
    Ok(())
}

pub(super) fn memory_never_exceeds_the_budget_while_it_turns_over(
    factory: &mut dyn FaceFactory,
) -> Done {
    let mut world = World::new(factory, 16)?;
    let mut ring = Vec::new();
    for round in 0_usize..64 {
        let item = world.item([1, 3, 2, 5][round % 4])?;
        ring.push(item);
        world.offer(&[item], [Class::Low, Class::High][round % 2])?;
        let back = ring[(round * 7) % ring.len()];
        if world.reclaim(&[back])?[0] == Answer::Intact {
            world.holds_its_content(&[back])?;
        } else {
            world.write(back)?;
        }
        world.offer(&[back], Class::Normal)?;
        assert!(world.resident()? <= 16 * UNIT, "round {round}");
    }
    Ok(())
}

pub(super) fn a_size_of_nothing_is_refused(factory: &mut dyn FaceFactory) -> Done {
    let mut world = World::new(factory, 4)?;
    let new = New {
        size_bytes: 0,
        allow_not_zeroed: false,
        group: None,
    };
    refused(world.face.create(&new), &Refusal::BadSize)?;
    let all = world.items(4)?;
    world.holds_its_content(&all)
}

pub(super) fn a_size_beyond_the_budget_is_refused_and_costs_nobody_anything(
    factory: &mut dyn FaceFactory,
) -> Done {
    let mut world = World::new(factory, 4)?;
    let items = world.items(4)?;
    world.offer(&items, Class::Low)?;
    for size_bytes in [4 * UNIT + 1, 5 * UNIT, 1 << 40] {
        let new = New {
            size_bytes,
            allow_not_zeroed: false,
            group: None,
        };
        refused(world.face.create(&new), &Refusal::NoMemory)?;
    }
    assert_eq!(world.resident()?, 4 * UNIT);
    world.comes_back_intact(&items)?;
    done(world.face.trim(u64::MAX))?;
    world.holds_its_content(&items)
}

pub(super) fn what_cannot_be_had_costs_nobody_anything(factory: &mut dyn FaceFactory) -> Done {
    let mut world = World::new(factory, 16)?;
    let lost = world.item(10)?;
    world.offer(&[lost], Class::Low)?;
    assert_eq!(world.lost_to(1)?, [lost]);
    let _committed = world.items(8)?;
    let offered = world.items(6)?;
    world.offer_in_turn(&offered, Class::Low)?;
    // Whoever keeps a list of victims has one now, and it is not enough.
    world.lost_in_order(&offered[..1])?;
    let new = New {
        size_bytes: 10 * UNIT,
        allow_not_zeroed: true,
        group: None,
    };
    refused(world.face.create(&new), &Refusal::NoMemory)?;
    world.falls_short(&[lost], Form::V1)?;
    assert_eq!(world.resident()?, 13 * UNIT);
    world.comes_back_intact(&offered[1..])
}
