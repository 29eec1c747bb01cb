//! *Not committed*: when it may be answered, and what is left of what is dead.

use crate::face::{Answer, Class, FaceFactory, Form, Item, Refusal};
use crate::world::{Done, Skipped, UNIT, World, refused, with_decommit};

/// A full pool of four units beside an item that is lost and was offered with *allow decommit*.
fn unsuppliable(factory: &mut dyn FaceFactory) -> Result<(World, Item, Vec<Item>), Skipped> {
    let mut world = World::new(factory, 4)?;
    let lost = world.item(1)?;
    world.offer_decommit(&[lost], Class::Low)?;
    assert_eq!(world.lost_to(1)?, [lost]);
    let full = world.items(4)?;
    Ok((world, lost, full))
}

pub(super) fn not_committed_is_answered_by_a_full_second_version_call_only(
    factory: &mut dyn FaceFactory,
) -> Done {
    let (mut world, lost, full) = unsuppliable(factory)?;
    for form in [Form::V1Null, Form::V1, Form::V2Null] {
        world.falls_short(&[lost], form)?;
    }
    assert_eq!(world.reclaim_as(&[lost], Form::V2)?, [Answer::NotCommitted]);
    world.holds_its_content(&full)
}

pub(super) fn in_debt_it_is_answered_too(factory: &mut dyn FaceFactory) -> Done {
    let (mut world, lost, full) = unsuppliable(factory)?;
    let intact = full[..2].to_vec();
    world.set_budget(1)?;
    world.falls_short(&[lost], Form::V1)?;
    let list = [intact[0], lost, intact[1]];
    let answers = world.reclaim_as(&list, Form::V2)?;
    assert_eq!(
        answers,
        [Answer::Intact, Answer::NotCommitted, Answer::Intact]
    );
    world.holds_its_content(&full)
}

pub(super) fn what_can_be_supplied_is_discarded_not_dead(factory: &mut dyn FaceFactory) -> Done {
    let (mut world, lost, full) = unsuppliable(factory)?;
    world.offer(&full[..1], Class::High)?;
    assert_eq!(world.reclaim_as(&[lost], Form::V2)?, [Answer::Discarded]);
    world.write(lost)?;
    assert!(world.resident()? <= 4 * UNIT);
    world.holds_its_content(&[lost, full[1], full[2], full[3]])
}

pub(super) fn without_allow_decommit_nothing_dies(factory: &mut dyn FaceFactory) -> Done {
    let (mut world, lost, _full) = unsuppliable(factory)?;
    world.set_budget(5)?;
    assert_eq!(world.reclaim_as(&[lost], Form::V2)?, [Answer::Discarded]);
    world.write(lost)?;
    // The newest offer counts, and it does not allow it.
    world.offer(&[lost], with_decommit(Class::Low))?;
    world.offer(&[lost], Class::Low)?;
    assert_eq!(world.lost_to(1)?, [lost]);
    world.set_budget(4)?;
    world.falls_short(&[lost], Form::V2)?;
    world.set_budget(5)?;
    assert_eq!(world.reclaim_as(&[lost], Form::V2)?, [Answer::Discarded]);
    Ok(())
}

pub(super) fn a_new_offer_of_what_is_discarded_says_whether_it_may_die(
    factory: &mut dyn FaceFactory,
) -> Done {
    let (mut world, lost, _full) = unsuppliable(factory)?;
    // The newest offer counts, also of what is discarded already.
    world.offer(&[lost], Class::Low)?;
    world.falls_short(&[lost], Form::V2)?;
    world.offer_decommit(&[lost], Class::High)?;
    assert_eq!(world.reclaim_as(&[lost], Form::V2)?, [Answer::NotCommitted]);
    Ok(())
}

pub(super) fn what_is_dead_stays_dead_and_can_be_destroyed(factory: &mut dyn FaceFactory) -> Done {
    let (mut world, dead, _full) = unsuppliable(factory)?;
    assert_eq!(world.reclaim_as(&[dead], Form::V2)?, [Answer::NotCommitted]);
    world.set_budget(16)?;
    assert_eq!(world.reclaim_as(&[dead], Form::V2)?, [Answer::NotCommitted]);
    assert!(world.reclaim_as(&[dead], Form::V1)?[0].is_lost());
    refused(
        world.face.offer(&[dead], Class::Low.into()),
        &Refusal::NotCommitted,
    )?;
    refused(world.face.read(dead, &mut [0; 16]), &Refusal::NotCommitted)?;
    refused(world.face.write(dead, &[0; 16]), &Refusal::NotCommitted)?;
    assert_eq!(world.resident()?, 4 * UNIT);
    world.destroy(dead)
}

pub(super) fn a_call_that_fails_kills_nothing(factory: &mut dyn FaceFactory) -> Done {
    let mut world = World::new(factory, 4)?;
    let may_die = world.item(1)?;
    let must_live = world.item(1)?;
    world.offer_decommit(&[may_die], Class::Low)?;
    world.offer(&[must_live], Class::Low)?;
    assert_eq!(world.lost_to(2)?.len(), 2);
    let _full = world.items(4)?;
    world.falls_short(&[may_die, must_live], Form::V2)?;
    world.set_budget(6)?;
    assert_eq!(
        world.reclaim_as(&[may_die, must_live], Form::V2)?,
        [Answer::Discarded; 2]
    );
    Ok(())
}

pub(super) fn the_others_of_the_list_come_back(factory: &mut dyn FaceFactory) -> Done {
    let mut world = World::new(factory, 4)?;
    let dying = world.items(3)?;
    world.offer_decommit(&dying, Class::Low)?;
    assert_eq!(world.lost_to(3)?.len(), 3);
    let own = world.items(3)?;
    world.offer(&own, Class::Low)?;
    // One unit is left, which one of the three gets.
    let all = [dying[0], own[0], dying[1], own[1], own[2], dying[2]];
    let answers = world.reclaim_as(&all, Form::V2)?;
    let count = |answer| answers.iter().filter(|&&a| a == answer).count();
    assert_eq!(
        [
            count(Answer::Intact),
            count(Answer::Discarded),
            count(Answer::NotCommitted)
        ],
        [3, 1, 2]
    );
    for (item, answer) in all.into_iter().zip(answers) {
        assert_eq!(own.contains(&item), answer == Answer::Intact);
        if answer == Answer::Discarded {
            world.write(item)?;
        }
    }
    assert_eq!(world.resident()?, 4 * UNIT);
    world.holds_its_content(&own)
}
