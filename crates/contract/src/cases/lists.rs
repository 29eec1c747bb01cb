//! Calls on lists: validated whole, done whole or not at all; names that appear twice.

use crate::face::{Answer, Class, Face, FaceFactory, Form, Item, Offer, Refusal};
use crate::world::{Done, Skipped, UNIT, World, done, refused};

const COUNT: usize = 1000;
const WRONG: usize = 900;

/// A thousand items, and the same with a wrong one among them.
fn thousand(factory: &mut dyn FaceFactory) -> Result<(World, Vec<Item>, Vec<Item>), Skipped> {
    let mut world = World::new(factory, COUNT as u64 + 8)?;
    let items: Result<Vec<Item>, Skipped> = (0..COUNT).map(|_| world.item_of(4096, None)).collect();
    let items = items?;
    let mut wrong = items.clone();
    wrong[WRONG] = done(world.face.wrong_item())?;
    Ok((world, items, wrong))
}

pub(super) fn a_wrong_handle_at_900_of_1000_changes_nothing(factory: &mut dyn FaceFactory) -> Done {
    let (mut world, items, wrong) = thousand(factory)?;
    let before = world.resident()?;
    let offered = world.face.offer(&wrong, Class::Low.into());
    refused(offered, &Refusal::BadHandle)?;
    done(world.face.trim(u64::MAX))?;
    assert_eq!(world.resident()?, before, "something was offered");
    world.holds_its_content(&items)?;

    world.offer(&items, Class::Low)?;
    for form in [Form::V1, Form::V2, Form::V1Null, Form::V2Null] {
        let mut answers = vec![Answer::Untouched; COUNT];
        let reclaimed = world.face.reclaim(&wrong, form, &mut answers);
        refused(reclaimed, &Refusal::BadHandle)?;
        assert_eq!(answers, vec![Answer::Untouched; COUNT]);
    }
    done(world.face.trim(u64::MAX))?;
    assert_eq!(world.resident()?, 0, "something was reclaimed");
    Ok(())
}

pub(super) fn a_locked_item_at_900_of_1000_changes_nothing(factory: &mut dyn FaceFactory) -> Done {
    let (mut world, items, _) = thousand(factory)?;
    let before = world.resident()?;
    done(world.face.hold(items[WRONG]))?;
    let offered = world.face.offer(&items, Class::Low.into());
    refused(offered, &Refusal::Locked)?;
    done(world.face.trim(u64::MAX))?;
    assert_eq!(world.resident()?, before, "something was offered");
    done(world.face.let_go(items[WRONG]))?;
    world.offer(&items, Class::Low)?;
    world.comes_back_intact(&items)
}

/// Anything that takes a name.
type Call = fn(&mut dyn Face, Item) -> Result<(), Refusal>;

pub(super) fn a_name_that_was_destroyed_names_nothing_again(factory: &mut dyn FaceFactory) -> Done {
    let mut world = World::new(factory, 16)?;
    let bystander = world.item(1)?;
    for _ in 0..50 {
        let gone = world.item(1)?;
        world.destroy(gone)?;
        let heir = world.item(1)?;
        let face = world.face.as_mut();
        let calls: [Call; 5] = [
            |face, item| face.offer(&[item], Class::Low.into()),
            |face, item| face.reclaim(&[item], Form::V1, &mut [Answer::Untouched]),
            |face, item| face.read(item, &mut [0; 8]),
            |face, item| face.write(item, &[0; 8]),
            |face, item| face.destroy(item),
        ];
        for call in calls {
            refused(call(face, gone), &Refusal::BadHandle)?;
        }
        world.holds_its_content(&[heir, bystander])?;
        world.destroy(heir)?;
    }
    Ok(())
}

pub(super) fn a_name_may_be_offered_twice(factory: &mut dyn FaceFactory) -> Done {
    let mut world = World::new(factory, 16)?;
    let items = world.items(2)?;
    world.offer(&[items[0], items[1], items[0], items[0]], Class::Low)?;
    world.comes_back_intact(&items)?;
    world.offer(&[items[1], items[1]], Class::Low)?;
    assert_eq!(world.lost_to(u64::MAX)?, [items[1]]);
    Ok(())
}

pub(super) fn an_intact_name_may_appear_twice(factory: &mut dyn FaceFactory) -> Done {
    let mut world = World::new(factory, 128)?;
    let items = world.items(70)?;
    for form in [Form::V1, Form::V2, Form::V1Null, Form::V2Null] {
        world.offer(&items, Class::Low)?;
        // Near each other, and far apart.
        let mut twice = items.clone();
        twice.extend(&items);
        twice.push(items[0]);
        twice.push(items[0]);
        let answers = world.reclaim_as(&twice, form)?;
        if form.has_answers() {
            assert_eq!(answers, vec![Answer::Intact; 142]);
        }
        assert_eq!(world.lost_to(u64::MAX)?, []);
        world.holds_its_content(&items)?;
    }
    Ok(())
}

pub(super) fn a_discarded_name_may_appear_twice(factory: &mut dyn FaceFactory) -> Done {
    use Answer::{Discarded, Intact};
    for form in [Form::V1, Form::V2] {
        let mut world = World::new(factory, 2)?;
        let [lost, kept] = [world.item(1)?, world.item(1)?];
        world.offer(&[lost], Class::Low)?;
        assert_eq!(world.lost_to(1)?, [lost]);
        world.offer(&[kept], Class::Low)?;
        // One unit is room enough: it is one allocation.
        let answers = world.reclaim_as(&[lost, kept, lost, kept, lost], form)?;
        assert_eq!(answers, [Discarded, Intact, Discarded, Intact, Discarded]);
        world.write(lost)?;
        assert_eq!(world.resident()?, 2 * UNIT);
        world.holds_its_content(&[lost, kept])?;
    }
    Ok(())
}

pub(super) fn a_shortage_with_names_that_appear_twice_changes_nothing(
    factory: &mut dyn FaceFactory,
) -> Done {
    let mut world = World::new(factory, 5)?;
    let lost = world.item(1)?;
    world.offer(&[lost], Class::Low)?;
    assert_eq!(world.lost_to(1)?, [lost]);
    let [high, low, kept] = [world.item(1)?, world.item(1)?, world.item(1)?];
    world.offer_in_turn(&[high], Class::High)?;
    world.offer_in_turn(&[low], Class::Low)?;
    world.set_budget(3)?;
    let list = [high, low, high, lost, kept, low, high, lost, kept, low];
    for form in [Form::V1, Form::V2, Form::V1Null, Form::V2Null] {
        world.falls_short(&list, form)?;
    }
    world.lost_in_order(&[low, high])?;
    assert_eq!(world.lost_to(u64::MAX)?, [], "the third is committed still");
    world.holds_its_content(&[kept])
}

pub(super) fn lists_of_none_and_of_too_many_are_refused(factory: &mut dyn FaceFactory) -> Done {
    let mut world = World::new(factory, 4)?;
    let item = world.item(1)?;
    let before = world.resident()?;
    for list in [vec![], vec![item; 10_241]] {
        let offered = world.face.offer(&list, Offer::from(Class::Low));
        refused(offered, &Refusal::BadCount)?;
        let mut answers = vec![Answer::Untouched; list.len()];
        let reclaimed = world.face.reclaim(&list, Form::V1, &mut answers);
        refused(reclaimed, &Refusal::BadCount)?;
    }
    done(world.face.trim(u64::MAX))?;
    assert_eq!(world.resident()?, before);
    world.holds_its_content(&[item])?;
    world.offer(&vec![item; 10_240], Class::Low)?;
    world.comes_back_intact(&[item])
}
