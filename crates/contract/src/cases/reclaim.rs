//! What a reclaim answers, and what it leaves alone when memory is short.

use crate::face::{Answer, Class, FaceFactory, Form, Item};
use crate::world::{Done, Skipped, UNIT, World};

/// A pool with as many items, of which those at the places `lost` are lost.
fn half_lost(
    factory: &mut dyn FaceFactory,
    count: usize,
    lost: &[usize],
) -> Result<(World, Vec<Item>), Skipped> {
    let mut world = World::new(factory, 2 * count as u64)?;
    let items = world.items(count)?;
    let victims: Vec<Item> = lost.iter().map(|&place| items[place]).collect();
    world.offer(&victims, Class::Low)?;
    let mut gone = world.lost_to(lost.len() as u64)?;
    gone.sort_unstable_by_key(|item| items.iter().position(|other| other == item));
    assert_eq!(gone, victims);
    Ok((world, items))
}

pub(super) fn answers_come_in_the_callers_order(factory: &mut dyn FaceFactory) -> Done {
    let (mut world, items) = half_lost(factory, 8, &[1, 2, 5, 7])?;
    let kept = [items[0], items[3], items[4], items[6]];
    world.offer(&kept, Class::High)?;
    let shuffled: Vec<Item> = [5, 0, 7, 3, 2, 6, 1, 4]
        .map(|place: usize| items[place])
        .to_vec();
    let answers = world.reclaim(&shuffled)?;
    let expected: Vec<Answer> = shuffled
        .iter()
        .map(|item| match kept.contains(item) {
            true => Answer::Intact,
            false => Answer::Discarded,
        })
        .collect();
    assert_eq!(answers, expected);
    world.holds_its_content(&kept)
}

pub(super) fn reclaiming_what_is_not_offered_answers_intact(factory: &mut dyn FaceFactory) -> Done {
    let mut world = World::new(factory, 16)?;
    let items = world.items(3)?;
    for form in [Form::V1, Form::V2, Form::V1Null, Form::V2Null] {
        let answers = world.reclaim_as(&items, form)?;
        if form.has_answers() {
            assert_eq!(answers, [Answer::Intact; 3]);
        }
    }
    assert_eq!(world.lost_to(u64::MAX)?, []);
    world.holds_its_content(&items)
}

pub(super) fn after_either_answer_it_is_committed_and_usable(
    factory: &mut dyn FaceFactory,
) -> Done {
    let (mut world, items) = half_lost(factory, 4, &[0, 2])?;
    world.offer(&[items[1], items[3]], Class::Low)?;
    let answers = world.reclaim(&items)?;
    use Answer::{Discarded, Intact};
    assert_eq!(answers, [Discarded, Intact, Discarded, Intact]);
    world.holds_its_content(&[items[1], items[3]])?;
    for &item in &items {
        world.write(item)?;
    }
    assert_eq!(world.resident()?, 4 * UNIT);
    assert_eq!(world.lost_to(u64::MAX)?, [], "they are committed");
    world.holds_its_content(&items)
}

/// A pool of four units that four offered items fill, beside one that is lost.
struct Short {
    world: World,
    lost: Item,
    own: [Item; 4],
}

fn short(factory: &mut dyn FaceFactory) -> Result<Short, Skipped> {
    let mut world = World::new(factory, 6)?;
    let lost = world.item(1)?;
    world.offer(&[lost], Class::Low)?;
    assert_eq!(world.lost_to(1)?, [lost]);
    let own = [
        world.item(1)?,
        world.item(1)?,
        world.item(1)?,
        world.item(1)?,
    ];
    world.offer_in_turn(&[own[0]], Class::High)?;
    world.offer_in_turn(&[own[1]], Class::Normal)?;
    world.offer_in_turn(&[own[2]], Class::Normal)?;
    world.offer_in_turn(&[own[3]], Class::Low)?;
    // The budget is down to them: nothing is left for the lost one.
    world.set_budget(4)?;
    assert_eq!(world.resident()?, 4 * UNIT);
    Ok(Short { world, lost, own })
}

pub(super) fn a_shortage_leaves_class_and_age_of_its_own_items(
    factory: &mut dyn FaceFactory,
) -> Done {
    for form in [Form::V1, Form::V2, Form::V1Null, Form::V2Null] {
        let Short {
            mut world,
            lost,
            own: [high, old, young, low],
        } = short(factory)?;
        // Committed again and offered again, they would be of one age.
        world.falls_short(&[low, young, lost, high, old], form)?;
        world.lost_in_order(&[low, old, young, high])?;
    }
    Ok(())
}

pub(super) fn a_shortage_loses_nothing_of_its_own_items(factory: &mut dyn FaceFactory) -> Done {
    let Short {
        mut world,
        lost,
        own,
    } = short(factory)?;
    let all = [own[0], lost, own[1], own[2], own[3]];
    for form in [Form::V1, Form::V2, Form::V1Null, Form::V2Null] {
        world.falls_short(&all, form)?;
        assert_eq!(world.resident()?, 4 * UNIT);
    }
    world.comes_back_intact(&own)?;
    world.set_budget(5)?;
    let answers = world.reclaim(&[own[0], lost])?;
    assert_eq!(answers, [Answer::Intact, Answer::Discarded]);
    world.holds_its_content(&own)
}

pub(super) fn room_is_never_taken_from_items_of_the_same_call(
    factory: &mut dyn FaceFactory,
) -> Done {
    let mut world = World::new(factory, 4)?;
    let lost = world.items(2)?;
    world.offer(&lost, Class::Low)?;
    assert_eq!(world.lost_to(2)?.len(), 2);
    let own = world.items(3)?;
    let other = world.item(1)?;
    world.offer(&own, Class::Low)?;
    world.offer(&[other], Class::High)?;
    // Two are lost and one unit can be had: from the dearer one, which is not in the list.
    let all = [lost[0], own[0], own[1], own[2], lost[1]];
    world.falls_short(&all, Form::V1)?;
    assert_eq!(
        world.reclaim(&all[..4])?,
        [
            Answer::Discarded,
            Answer::Intact,
            Answer::Intact,
            Answer::Intact
        ]
    );
    world.holds_its_content(&own)
}

pub(super) fn room_is_taken_from_what_else_is_offered(factory: &mut dyn FaceFactory) -> Done {
    let mut world = World::new(factory, 4)?;
    let lost = world.item(2)?;
    world.offer(&[lost], Class::Low)?;
    assert_eq!(world.lost_to(2)?, [lost]);
    let kept = world.item(1)?;
    let others = world.items(3)?;
    world.offer(&others, Class::High)?;
    assert_eq!(world.resident()?, 4 * UNIT);
    assert_eq!(world.reclaim(&[lost])?, [Answer::Discarded]);
    world.write(lost)?;
    assert_eq!(world.resident()?, 4 * UNIT, "its memory is theirs");
    // Two of the three had to go: of equals, the first ones. The last could stay.
    world.comes_back_intact(&others[2..])?;
    for &gone in &others[..2] {
        world.falls_short(&[gone], Form::V1)?;
    }
    world.holds_its_content(&[kept, lost])
}

pub(super) fn without_a_result_array_it_is_reclaimed_all_the_same(
    factory: &mut dyn FaceFactory,
) -> Done {
    for form in [Form::V1Null, Form::V2Null] {
        let (mut world, items) = half_lost(factory, 4, &[1, 2])?;
        world.offer(&[items[0], items[3]], Class::Low)?;
        world.reclaim_as(&items, form)?;
        assert_eq!(world.lost_to(u64::MAX)?, [], "they are committed");
        for &item in &items {
            world.write(item)?;
        }
        assert_eq!(world.resident()?, 4 * UNIT);
        world.holds_its_content(&items)?;
    }
    Ok(())
}

pub(super) fn without_a_result_array_a_shortage_fails_all_the_same(
    factory: &mut dyn FaceFactory,
) -> Done {
    for form in [Form::V1Null, Form::V2Null] {
        let mut world = World::new(factory, 4)?;
        let lost = world.item(1)?;
        world.offer_decommit(&[lost], Class::Low)?;
        assert_eq!(world.lost_to(1)?, [lost]);
        let _full = world.items(4)?;
        world.falls_short(&[lost], form)?;
        // It is not dead: with memory it comes back.
        world.set_budget(5)?;
        assert_eq!(world.reclaim_as(&[lost], Form::V2)?, [Answer::Discarded]);
    }
    Ok(())
}
