//! Groups: offered, reclaimed and discarded together.

use crate::face::{Answer, Class, FaceFactory, Form, Refusal};
use crate::world::{Done, UNIT, World, done, refused, with_decommit};

pub(super) fn a_group_goes_as_one_victim(factory: &mut dyn FaceFactory) -> Done {
    let mut world = World::new(factory, 16)?;
    let (group, members) = world.group(4)?;
    let single = world.item(1)?;
    done(world.face.offer_groups(&[group], Class::Low.into()))?;
    world.offer(&[single], Class::Normal)?;
    assert_eq!(world.lost_to(1)?, members, "all of them, for one unit");
    assert_eq!(world.reclaim_group(group, Form::V1)?, Answer::Discarded);
    assert_eq!(world.lost_to(u64::MAX)?, [single]);
    for &member in &members {
        world.write(member)?;
    }
    world.holds_its_content(&members)
}

pub(super) fn a_group_ranks_in_the_highest_class_of_its_offered_members(
    factory: &mut dyn FaceFactory,
) -> Done {
    let mut world = World::new(factory, 16)?;
    let (_group, members) = world.group(3)?;
    let [normal, high] = [world.item(1)?, world.item(1)?];
    world.offer(&members[..1], Class::Low)?;
    world.offer(&members[1..2], Class::High)?;
    world.offer(&members[2..], Class::Low)?;
    world.time_passes()?;
    world.offer(&[normal], Class::Normal)?;
    world.offer(&[high], Class::High)?;
    assert_eq!(world.lost_to(1)?, [normal]);
    assert_eq!(world.lost_to(1)?, members, "the older of the HIGH ones");
    assert_eq!(world.lost_to(1)?, [high]);
    Ok(())
}

pub(super) fn a_group_ranks_anew_when_its_dearest_member_comes_back(
    factory: &mut dyn FaceFactory,
) -> Done {
    let mut world = World::new(factory, 64)?;
    let (_group, members) = world.group(2)?;
    let normals = world.items(8)?;
    world.offer(&members[..1], Class::High)?;
    world.offer(&members[1..], Class::Low)?;
    world.offer_in_turn(&normals, Class::Normal)?;
    // Whoever chooses victims has looked at all of them by now.
    world.lost_in_order(&normals[..2])?;
    world.comes_back_intact(&members[..1])?;
    world.lost_in_order(&members[1..])?;
    world.lost_in_order(&normals[2..])?;
    world.holds_its_content(&members[..1])
}

pub(super) fn members_that_are_not_offered_are_never_touched(
    factory: &mut dyn FaceFactory,
) -> Done {
    let mut world = World::new(factory, 16)?;
    let (group, members) = world.group(4)?;
    done(world.face.offer_groups(&[group], Class::Low.into()))?;
    world.comes_back_intact(&[members[0], members[2]])?;
    assert_eq!(world.lost_to(u64::MAX)?, [members[1], members[3]]);
    world.holds_its_content(&[members[0], members[2]])?;
    assert_eq!(world.reclaim_group(group, Form::V1)?, Answer::Discarded);
    world.holds_its_content(&[members[0], members[2]])
}

pub(super) fn a_group_answers_the_worst_of_its_members(factory: &mut dyn FaceFactory) -> Done {
    let mut world = World::new(factory, 16)?;
    let (group, members) = world.group(3)?;
    done(world.face.offer_groups(&[group], Class::High.into()))?;
    assert_eq!(world.reclaim_group(group, Form::V1)?, Answer::Intact);
    world.holds_its_content(&members)?;
    world.offer(&members[1..2], Class::Low)?;
    assert_eq!(world.lost_to(u64::MAX)?, [members[1]]);
    done(world.face.offer_groups(&[group], Class::High.into()))?;
    assert_eq!(world.reclaim_group(group, Form::V1)?, Answer::Discarded);
    world.holds_its_content(&[members[0], members[2]])
}

pub(super) fn not_committed_is_worse_than_discarded(factory: &mut dyn FaceFactory) -> Done {
    let mut world = World::new(factory, 4)?;
    let (group, members) = world.group(3)?;
    done(world.face.offer_groups(&[group], with_decommit(Class::Low)))?;
    world.comes_back_intact(&members[..1])?;
    assert_eq!(world.lost_to(2)?, members[1..]);
    // One unit is left for two.
    let _others = world.items(2)?;
    assert_eq!(world.reclaim_group(group, Form::V2)?, Answer::NotCommitted);
    world.holds_its_content(&members[..1])?;
    assert_eq!(world.reclaim_group(group, Form::V2)?, Answer::NotCommitted);
    assert!(world.reclaim_group(group, Form::V1)?.is_lost());
    Ok(())
}

pub(super) fn a_locked_member_keeps_the_whole_group_from_being_offered(
    factory: &mut dyn FaceFactory,
) -> Done {
    let mut world = World::new(factory, 16)?;
    let (group, members) = world.group(3)?;
    done(world.face.hold(members[2]))?;
    let offered = world.face.offer_groups(&[group], Class::Low.into());
    refused(offered, &Refusal::Locked)?;
    assert_eq!(world.lost_to(u64::MAX)?, []);
    done(world.face.let_go(members[2]))?;
    world.holds_its_content(&members)?;
    done(world.face.offer_groups(&[group], Class::Low.into()))?;
    assert_eq!(world.lost_to(u64::MAX)?, members);
    Ok(())
}

pub(super) fn a_shortage_leaves_all_members_offered(factory: &mut dyn FaceFactory) -> Done {
    let mut world = World::new(factory, 5)?;
    let (group, members) = world.group(3)?;
    world.offer(&members[..1], Class::Low)?;
    assert_eq!(world.lost_to(1)?, members[..1]);
    world.offer(&members[1..2], Class::High)?;
    world.offer(&members[2..], Class::Low)?;
    let kept = world.items(2)?;
    let normal = world.item(1)?;
    let mut answers = [Answer::Untouched];
    let short = world.face.reclaim_groups(&[group], Form::V1, &mut answers);
    refused(short, &Refusal::NoMemory)?;
    assert_eq!(answers, [Answer::Untouched]);
    // HIGH and LOW still, so as one victim it is dearer than the NORMAL one.
    world.offer(&[normal], Class::Normal)?;
    world.lost_in_order(&[normal])?;
    assert_eq!(world.lost_to(1)?, members[1..]);
    world.holds_its_content(&kept)
}

pub(super) fn an_empty_group_is_intact(factory: &mut dyn FaceFactory) -> Done {
    let mut world = World::new(factory, 4)?;
    let (group, _) = world.group(0)?;
    done(world.face.offer_groups(&[group], Class::Low.into()))?;
    assert_eq!(world.reclaim_group(group, Form::V1)?, Answer::Intact);
    Ok(())
}

pub(super) fn members_can_be_offered_one_by_one(factory: &mut dyn FaceFactory) -> Done {
    let mut world = World::new(factory, 16)?;
    let (group, members) = world.group(3)?;
    world.offer(&[members[1]], Class::Low)?;
    world.offer(&[members[0]], Class::Low)?;
    assert_eq!(world.reclaim_group(group, Form::V1)?, Answer::Intact);
    assert_eq!(world.lost_to(u64::MAX)?, []);
    world.offer(&[members[2]], Class::Low)?;
    assert_eq!(world.lost_to(1)?, [members[2]]);
    assert_eq!(
        world.reclaim(&[members[2], members[0]])?,
        [Answer::Discarded, Answer::Intact]
    );
    world.holds_its_content(&members[..2])
}

pub(super) fn an_offered_group_can_be_destroyed(factory: &mut dyn FaceFactory) -> Done {
    let mut world = World::new(factory, 4)?;
    let group = done(world.face.create_group())?;
    for size_bytes in [UNIT, 2 * UNIT, UNIT] {
        let new = crate::New {
            size_bytes,
            allow_not_zeroed: false,
            group: Some(group),
        };
        let member = done(world.face.create(&new))?;
        done(world.face.write(member, &[1; 4096]))?;
    }
    done(world.face.offer_groups(&[group], Class::Normal.into()))?;
    done(world.face.destroy_group(group))?;
    done(world.face.trim(u64::MAX))?;
    assert_eq!(world.resident()?, 0);
    let all = world.items(4)?;
    world.holds_its_content(&all)
}

pub(super) fn groups_of_a_list_answer_each_for_itself(factory: &mut dyn FaceFactory) -> Done {
    let mut world = World::new(factory, 16)?;
    let (kept, kept_members) = world.group(2)?;
    let (lost, lost_members) = world.group(2)?;
    let mut answers = [Answer::Untouched; 3];
    done(world.face.offer_groups(&[lost], Class::Low.into()))?;
    assert_eq!(world.lost_to(1)?, lost_members);
    done(world.face.offer_groups(&[kept], Class::Low.into()))?;
    done(
        world
            .face
            .reclaim_groups(&[lost, kept, lost], Form::V1, &mut answers),
    )?;
    use Answer::{Discarded, Intact};
    assert_eq!(answers, [Discarded, Intact, Discarded]);
    world.holds_its_content(&kept_members)
}
