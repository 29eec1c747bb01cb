//! What bytes are worth: intact, lost, zero, warm.

use crate::face::{Answer, Class, FaceFactory, Item, New};
use crate::world::{Done, UNIT, World, done};

pub(super) fn intact_is_every_byte_of_any_size(factory: &mut dyn FaceFactory) -> Done {
    let mut world = World::new(factory, 512)?;
    let sizes = [
        1,
        15,
        4095,
        4096,
        4097,
        UNIT + 1,
        (1 << 20) - 1,
        (2 << 20) + 12_345,
        4 << 20,
    ];
    let mut items = Vec::new();
    for size_bytes in sizes {
        items.push(world.item_of(size_bytes, None)?);
    }
    for class in [Class::Low, Class::Normal, Class::High, Class::Auto] {
        world.offer(&items, class)?;
        world.comes_back_intact(&items)?;
    }
    Ok(())
}

pub(super) fn discarded_is_discarded_whole(factory: &mut dyn FaceFactory) -> Done {
    let mut world = World::new(factory, 256)?;
    for units in [1, 2, 16, 48, 64] {
        let item = world.item(units)?;
        let bystander = world.item(units)?;
        world.offer(&[item], Class::Low)?;
        // Far less than it has is asked for.
        let lost = world.lost_by(|face| face.trim(1))?;
        assert_eq!(lost, [item]);
        assert_eq!(world.reclaim(&[item])?, [Answer::Discarded]);
        world.holds_its_content(&[bystander])?;
        world.destroy(item)?;
        world.destroy(bystander)?;
        done(world.face.trim(u64::MAX))?;
        assert_eq!(world.resident()?, 0);
    }
    Ok(())
}

pub(super) fn what_was_discarded_shares_no_memory_with_what_came_after(
    factory: &mut dyn FaceFactory,
) -> Done {
    let mut world = World::new(factory, 4)?;
    let first = world.items(4)?;
    world.offer(&first, Class::Low)?;
    // Takes the memory of the first four while they live.
    let second = world.items(2)?;
    let answers = world.reclaim(&first[2..])?;
    world.holds_its_content(&second)?;
    for (&item, answer) in first[2..].iter().zip(answers) {
        if answer.is_lost() {
            world.write(item)?;
        }
    }
    world.holds_its_content(&first[2..])?;
    world.holds_its_content(&second)?;
    world.falls_short(&first[..2], crate::Form::V1)?;
    assert_eq!(world.resident()?, 4 * UNIT);
    Ok(())
}

pub(super) fn new_memory_reads_as_zero(factory: &mut dyn FaceFactory) -> Done {
    let mut world = World::new(factory, 256)?;
    for size_bytes in [1, 4097, UNIT, (2 << 20) + 1, 4 << 20] {
        let item = world.untouched(size_bytes, None)?;
        world.reads_zero(item)?;
    }
    Ok(())
}

/// An allocation of `units` in memory that another one has written: no more is resident after
/// than before.
fn in_warm_memory(world: &mut World, units: u64) -> Result<Item, crate::Skipped> {
    let former = world.item(units)?;
    let before = world.resident()?;
    world.destroy(former)?;
    let item = world.untouched(units * UNIT, None)?;
    assert_eq!(world.resident()?, before, "the memory was given back");
    Ok(item)
}

pub(super) fn new_memory_reads_as_zero_where_others_wrote_before(
    factory: &mut dyn FaceFactory,
) -> Done {
    for units in [1, 3, 32, 64] {
        // No room beside it: the memory must be the former one's.
        let mut world = World::new(factory, units)?;
        let item = in_warm_memory(&mut world, units)?;
        world.reads_zero(item)?;
        assert_eq!(world.resident()?, units * UNIT);
    }
    Ok(())
}

pub(super) fn zeros_are_still_owed_after_an_intact_reclaim(factory: &mut dyn FaceFactory) -> Done {
    let mut world = World::new(factory, 4)?;
    let item = in_warm_memory(&mut world, 4)?;
    for _ in 0..2 {
        world.offer(&[item], Class::High)?;
        assert_eq!(world.reclaim(&[item])?, [Answer::Intact]);
    }
    world.reads_zero(item)
}

pub(super) fn not_zeroed_memory_is_warm_and_usable(factory: &mut dyn FaceFactory) -> Done {
    let mut world = World::new(factory, 4)?;
    let former = world.item(4)?;
    world.destroy(former)?;
    let new = New {
        size_bytes: 4 * UNIT,
        allow_not_zeroed: true,
        group: None,
    };
    let item = done(world.face.create(&new))?;
    assert_eq!(world.resident()?, 4 * UNIT, "the memory was given back");
    // Whatever it reads as, reading changes nothing, and what is written stays.
    let mut once = vec![1; 1 << 18];
    let mut twice = vec![2; 1 << 18];
    done(world.face.read(item, &mut once))?;
    done(world.face.read(item, &mut twice))?;
    assert!(once == twice, "its content changed by itself");
    crate::Pattern(99).fill(&mut once);
    done(world.face.write(item, &once))?;
    done(world.face.read(item, &mut twice))?;
    assert!(crate::Pattern(99).is_in(&twice));
    assert_eq!(world.resident()?, 4 * UNIT);
    Ok(())
}

pub(super) fn what_was_never_touched_can_be_discarded_and_used(
    factory: &mut dyn FaceFactory,
) -> Done {
    let mut world = World::new(factory, 4)?;
    let idle = world.untouched(4 * UNIT, None)?;
    world.offer(&[idle], Class::Low)?;
    // It counts although nothing is behind it: room for another is room that it gives up.
    let item = world.item(4)?;
    assert_eq!(world.resident()?, 4 * UNIT);
    world.falls_short(&[idle], crate::Form::V1)?;
    world.destroy(item)?;
    assert_eq!(world.reclaim(&[idle])?, [Answer::Discarded]);
    done(world.face.write(idle, &[7; 4096]))
}
