//! Who goes, and in which order.

use crate::face::{Class, FaceFactory, Item, New};
use crate::world::{Done, UNIT, World, done};

/// Allocation priorities that AUTO turns into classes (`D3DDDI_ALLOCATIONPRIORITY_*`), and values
/// between the named ones.
const LOW: u32 = 0x5000_0000;
const JUST_NORMAL: u32 = LOW + 1;
const NORMAL: u32 = 0x7800_0000;
const JUST_HIGH: u32 = NORMAL + 1;
const MAXIMUM: u32 = 0xC800_0000;

pub(super) fn lower_classes_go_first(factory: &mut dyn FaceFactory) -> Done {
    let mut world = World::new(factory, 16)?;
    let items = world.items(6)?;
    let [high, low, normal, high2, low2, normal2] = [0, 1, 2, 3, 4, 5].map(|i: usize| items[i]);
    for (item, class) in [
        (high, Class::High),
        (low, Class::Low),
        (normal, Class::Normal),
        (high2, Class::High),
        (low2, Class::Low),
        (normal2, Class::Normal),
    ] {
        world.offer_in_turn(&[item], class)?;
    }
    world.lost_in_order(&[low, low2, normal, normal2, high, high2])
}

pub(super) fn within_a_class_the_oldest_goes_first(factory: &mut dyn FaceFactory) -> Done {
    let mut world = World::new(factory, 16)?;
    let items = world.items(6)?;
    let order = [3, 0, 5, 1, 4, 2].map(|place: usize| items[place]);
    world.offer_in_turn(&order, Class::Normal)?;
    world.lost_in_order(&order)
}

/// Eight items of `class`, and two of them taken, so that whoever keeps a list has one.
fn with_a_list(world: &mut World, class: Class) -> Result<Vec<Item>, crate::Skipped> {
    let mut items = world.items(8)?;
    world.offer_in_turn(&items, class)?;
    world.lost_in_order(&items[..2])?;
    items.drain(..2);
    Ok(items)
}

pub(super) fn a_lower_offer_goes_before_a_list_made_earlier(factory: &mut dyn FaceFactory) -> Done {
    let mut world = World::new(factory, 128)?;
    let late = world.items(3)?;
    let highs = with_a_list(&mut world, Class::High)?;
    world.offer(&late[..1], Class::Normal)?;
    world.lost_in_order(&[late[0], highs[0]])?;
    world.offer(&late[1..2], Class::Low)?;
    world.offer(&late[2..], Class::Normal)?;
    world.lost_in_order(&[late[1], late[2], highs[1]])?;
    let more = world.item(1)?;
    world.offer(&[more, late[2]], Class::Low)?;
    world.lost_in_order(&[more, highs[2], highs[3]])
}

pub(super) fn a_lower_renewal_goes_before_a_list_made_earlier(
    factory: &mut dyn FaceFactory,
) -> Done {
    for (list, lower) in [
        (Class::High, Class::Normal),
        (Class::High, Class::Low),
        (Class::Normal, Class::Low),
    ] {
        let mut world = World::new(factory, 128)?;
        let items = with_a_list(&mut world, list)?;
        world.offer(&items[4..5], lower)?;
        world.lost_in_order(&[items[4], items[0], items[1]])?;
    }
    Ok(())
}

pub(super) fn a_later_renewal_leaves_the_list_made_earlier(factory: &mut dyn FaceFactory) -> Done {
    let mut world = World::new(factory, 128)?;
    let items = world.items(6)?;
    // All of one age, as old as the list that the first loss makes.
    world.offer(&items, Class::Normal)?;
    world.lost_in_order(&items[..1])?;
    world.time_passes()?;
    world.comes_back_intact(&items[1..2])?;
    world.offer(&items[1..3], Class::Normal)?;
    world.lost_in_order(&[items[3], items[4], items[5], items[1], items[2]])
}

fn set_priority(world: &mut World, item: Item, priority: u32) -> Done {
    done(world.face.set_priority(item, priority))
}

pub(super) fn auto_follows_the_priority_when_the_victim_is_chosen(
    factory: &mut dyn FaceFactory,
) -> Done {
    let mut world = World::new(factory, 64)?;
    let items = world.items(9)?;
    let [low, normal, high] = [0, 1, 2].map(|place: usize| items[place]);
    let autos = &items[3..];
    // Older than the explicit ones of their class.
    world.offer_in_turn(autos, Class::Auto)?;
    world.offer_in_turn(&[low], Class::Low)?;
    world.offer_in_turn(&[normal], Class::Normal)?;
    world.offer_in_turn(&[high], Class::High)?;
    // While offered, and for most not for the first time.
    let priorities = [MAXIMUM, JUST_NORMAL, 0, NORMAL, JUST_HIGH, LOW];
    for (&item, priority) in autos.iter().zip(priorities) {
        set_priority(&mut world, item, MAXIMUM)?;
        set_priority(&mut world, item, priority)?;
    }
    world.lost_in_order(&[
        autos[2], autos[5], low, autos[1], autos[3], normal, autos[0], autos[4], high,
    ])
}

pub(super) fn a_priority_lowered_late_goes_before_a_list_made_earlier(
    factory: &mut dyn FaceFactory,
) -> Done {
    let mut world = World::new(factory, 128)?;
    let auto = world.item(1)?;
    set_priority(&mut world, auto, MAXIMUM)?;
    world.offer(&[auto], Class::Auto)?;
    world.time_passes()?;
    let normals = with_a_list(&mut world, Class::Normal)?;
    set_priority(&mut world, auto, LOW)?;
    world.lost_in_order(&[auto, normals[0]])?;
    // A class that was named does not follow.
    set_priority(&mut world, normals[1], MAXIMUM)?;
    let other = world.item(1)?;
    set_priority(&mut world, other, LOW)?;
    world.offer(&[other], Class::Auto)?;
    world.lost_in_order(&[other, normals[1]])?;
    let raised = world.items(2)?;
    for &item in &raised {
        set_priority(&mut world, item, LOW)?;
    }
    world.offer(&raised, Class::Auto)?;
    set_priority(&mut world, raised[0], MAXIMUM)?;
    world.lost_in_order(&[raised[1], normals[2], normals[3]])?;
    assert_eq!(world.lost_to(u64::MAX)?.len(), 3, "two NORMAL, and it");
    Ok(())
}

pub(super) fn what_is_not_offered_is_never_discarded(factory: &mut dyn FaceFactory) -> Done {
    let mut world = World::new(factory, 64)?;
    let committed = world.items(8)?;
    let reclaimed = world.items(8)?;
    let offered = world.items(8)?;
    world.offer(&reclaimed, Class::Low)?;
    world.offer(&offered, Class::High)?;
    world.comes_back_intact(&reclaimed)?;
    assert_eq!(world.lost_to(u64::MAX)?, offered);
    assert_eq!(world.lost_to(u64::MAX)?, []);
    world.set_budget(0)?;
    assert_eq!(world.resident()?, 16 * UNIT);
    world.holds_its_content(&committed)?;
    world.holds_its_content(&reclaimed)
}

pub(super) fn no_more_goes_than_has_to(factory: &mut dyn FaceFactory) -> Done {
    let mut world = World::new(factory, 64)?;
    let mut items = Vec::new();
    for units in [1, 2, 4, 8, 1, 1] {
        items.push(world.item(units)?);
    }
    world.offer_in_turn(&items, Class::Normal)?;
    assert_eq!(world.lost_to(3)?, items[..2]);
    assert_eq!(world.lost_to(5)?, items[2..4]);
    world.comes_back_intact(&items[4..])
}

pub(super) fn own_need_takes_the_lowest_class(factory: &mut dyn FaceFactory) -> Done {
    let mut world = World::new(factory, 4)?;
    let items = world.items(4)?;
    for (&item, class) in items
        .iter()
        .zip([Class::High, Class::Normal, Class::Low, Class::Normal])
    {
        world.offer(&[item], class)?;
    }
    let first = world.item(1)?;
    assert_eq!(world.resident()?, 4 * UNIT);
    let second = world.item(1)?;
    assert_eq!(world.resident()?, 4 * UNIT);
    world.comes_back_intact(&[items[0], items[3]])?;
    world.is_full()?;
    world.holds_its_content(&[first, second])
}

pub(super) fn unused_memory_goes_before_anything_offered(factory: &mut dyn FaceFactory) -> Done {
    let mut world = World::new(factory, 8)?;
    let offered = world.items(4)?;
    let gone = world.items(4)?;
    world.offer(&offered, Class::Low)?;
    for &item in &gone {
        world.destroy(item)?;
    }
    done(world.face.trim(4 * UNIT))?;
    assert_eq!(world.resident()?, 4 * UNIT);
    // Nor does a new allocation cost anybody anything while there is unused memory of any size.
    let refill = world.items(4)?;
    for &item in &refill {
        world.destroy(item)?;
    }
    let large = world.item(4)?;
    world.holds_its_content(&[large])?;
    world.comes_back_intact(&offered)?;
    let full: Result<Item, _> = world.face.create(&New {
        size_bytes: 1,
        allow_not_zeroed: true,
        group: None,
    });
    crate::world::refused(full, &crate::Refusal::NoMemory)
}
