//! What an offer is, and what is forbidden while it stands.

use crate::face::{Class, FaceFactory, Item, Offer, Refusal};
use crate::world::{Done, UNIT, World, done, refused};

pub(super) fn a_lock_forbids_the_offer_and_nested_locks_all_have_to_go(
    factory: &mut dyn FaceFactory,
) -> Done {
    let mut world = World::new(factory, 16)?;
    let item = world.item(1)?;
    done(world.face.hold(item))?;
    done(world.face.hold(item))?;
    for _ in 0..2 {
        let offered = world.face.offer(&[item], Class::Low.into());
        refused(offered, &Refusal::Locked)?;
        assert_eq!(world.lost_to(u64::MAX)?, []);
        done(world.face.let_go(item))?;
    }
    world.holds_its_content(&[item])?;
    world.offer(&[item], Class::Low)?;
    assert_eq!(world.lost_to(u64::MAX)?, [item]);
    Ok(())
}

/// Two items, the first offered first; `renew` is done to one of them.
fn renewed(
    factory: &mut dyn FaceFactory,
    classes: [Class; 2],
    renew: impl FnOnce(&mut World, [Item; 2]) -> Done,
    order: [usize; 2],
) -> Done {
    let mut world = World::new(factory, 16)?;
    let items = [world.item(1)?, world.item(1)?];
    for (item, class) in items.into_iter().zip(classes) {
        world.offer_in_turn(&[item], class)?;
    }
    renew(&mut world, items)?;
    world.lost_in_order(&order.map(|place| items[place]))
}

pub(super) fn renewing_an_offer_renews_its_class(factory: &mut dyn FaceFactory) -> Done {
    use Class::{High, Low, Normal};
    let nothing = |_: &mut World, _| Ok(());
    renewed(factory, [Normal, High], nothing, [0, 1])?;
    let down = |world: &mut World, items: [Item; 2]| world.offer(&items[1..], Low);
    renewed(factory, [Normal, High], down, [1, 0])?;
    let up = |world: &mut World, items: [Item; 2]| world.offer(&items[..1], High);
    renewed(factory, [Low, Normal], up, [1, 0])
}

pub(super) fn renewing_an_offer_renews_its_age(factory: &mut dyn FaceFactory) -> Done {
    let again = |world: &mut World, items: [Item; 2]| world.offer(&items[..1], Class::Normal);
    renewed(factory, [Class::Normal; 2], again, [1, 0])
}

pub(super) fn offering_what_is_discarded_leaves_it_discarded(
    factory: &mut dyn FaceFactory,
) -> Done {
    let mut world = World::new(factory, 16)?;
    let item = world.item(1)?;
    world.offer(&[item], Class::Low)?;
    assert_eq!(world.lost_to(1)?, [item]);
    world.offer(&[item], Class::High)?;
    assert_eq!(world.resident()?, 0);
    assert!(world.reclaim(&[item])?[0].is_lost());
    Ok(())
}

pub(super) fn offering_immediately_forces_no_discard(factory: &mut dyn FaceFactory) -> Done {
    let mut world = World::new(factory, 16)?;
    let items = world.items(4)?;
    let before = world.resident()?;
    let at_once = Offer {
        immediately: true,
        ..Class::Low.into()
    };
    world.offer(&items, at_once)?;
    assert_eq!(world.resident()?, before);
    world.comes_back_intact(&items)
}

pub(super) fn what_is_offered_cannot_be_locked(factory: &mut dyn FaceFactory) -> Done {
    let mut world = World::new(factory, 16)?;
    let [kept, lost] = [world.item(1)?, world.item(1)?];
    world.offer(&[lost], Class::Low)?;
    assert_eq!(world.lost_to(1)?, [lost]);
    world.offer(&[kept], Class::Low)?;
    for item in [kept, lost] {
        refused(world.face.read(item, &mut [0; 16]), &Refusal::Offered)?;
        refused(world.face.write(item, &[0; 16]), &Refusal::Offered)?;
    }
    // A refused lock leaves none behind, and writes nothing.
    world.comes_back_intact(&[kept])?;
    world.offer(&[kept], Class::Low)?;
    assert_eq!(world.lost_to(1)?, [kept]);
    Ok(())
}

pub(super) fn what_is_offered_can_be_destroyed(factory: &mut dyn FaceFactory) -> Done {
    let mut world = World::new(factory, 4)?;
    let items = world.items(4)?;
    world.offer(&items, Class::Normal)?;
    let lost = world.lost_to(2)?;
    assert_eq!(lost.len(), 2);
    for &item in &items {
        world.destroy(item)?;
    }
    // All of the budget can be had again.
    let all = world.items(4)?;
    assert_eq!(world.resident()?, 4 * UNIT);
    world.holds_its_content(&all)
}

pub(super) fn after_a_reclaim_it_can_be_locked_at_once(factory: &mut dyn FaceFactory) -> Done {
    let mut world = World::new(factory, 16)?;
    let items = world.items(2)?;
    world.offer(&items[..1], Class::Low)?;
    assert_eq!(world.lost_to(1)?, items[..1]);
    world.offer(&items[1..], Class::Low)?;
    world.reclaim(&items)?;
    for &item in &items {
        done(world.face.hold(item))?;
        refused(
            world.face.offer(&[item], Class::Low.into()),
            &Refusal::Locked,
        )?;
        done(world.face.let_go(item))?;
    }
    world.holds_its_content(&items[1..])
}
