//! Who gets credit, who waits, who is refused, and who has to give for it.

mod common;

use common::*;
use vidmm_manager::*;
use vidmm_wire::*;

#[test]
fn two_that_want_sixty_percent_are_served_one_after_the_other() {
    let mut desk = Desk::bare(100);
    desk.join(1, 0);
    desk.join(2, 0);
    desk.join(3, 90);
    let (first, second) = (desk.ask(1, 60), desk.ask(2, 60));
    assert_eq!(desk.credits(), []);
    // What comes in by and by is the head's, never half one's and half the other's.
    for _ in 0..4 {
        desk.message(3, ToManager::Returned { bytes: 10 * MIB });
        assert_eq!(desk.credits(), []);
    }
    desk.message(3, ToManager::Returned { bytes: 10 * MIB });
    let credits = desk.credits();
    assert_eq!(credits.len(), 1);
    assert_eq!(
        (credits[0].request, credits[0].granted_bytes),
        (first, 60 * MIB)
    );
    assert_eq!((desk.charge(1), desk.charge(2)), (60, 0));
    // Its memory serves the other one once it is offered.
    desk.offers
        .insert(1, Offers::default().step(NORMAL, 5, 10, 60));
    desk.until(desk.now + 60);
    desk.obey();
    let credits = desk.credits();
    assert_eq!(credits.len(), 1);
    assert_eq!(
        (credits[0].request, credits[0].granted_bytes),
        (second, 60 * MIB)
    );
    assert_eq!(desk.charge(2), 60);
    assert_eq!(desk.refusals(), []);
}

#[test]
fn a_later_small_request_does_not_eat_what_the_head_waits_for() {
    let mut desk = Desk::bare(100);
    desk.join(1, 0);
    desk.join(2, 0);
    desk.join(3, 80);
    let big = desk.ask(1, 50);
    let small = desk.ask(2, 10);
    assert_eq!(desk.credits(), [], "20 are free, but they are the head's");
    desk.message(3, ToManager::Returned { bytes: 40 * MIB });
    let credits = desk.credits();
    let granted: Vec<u32> = credits.iter().map(|credit| credit.request).collect();
    assert_eq!(granted, [big, small], "10 are left beyond the head's 50");
}

#[test]
fn what_is_free_beyond_the_reserve_is_granted_at_once() {
    let mut desk = Desk::new(Settings::of_budget(160 * MIB));
    desk.join(1, 5);
    desk.join(2, 1);
    desk.ask(1, 145);
    desk.until(2000);
    assert_eq!(desk.refusals().len(), 1, "the last 10 are the reserve");
    desk.ask(1, 144);
    let credits = desk.credits();
    assert_eq!(credits[0].granted_bytes, 144 * MIB);
    assert_eq!((credits[0].own_bytes, credits[0].own_ms), (0, 0));
    assert_eq!(desk.orders(), []);
}

#[test]
fn slack_is_bounded_and_nothing_while_others_wait() {
    let mut desk = Desk::bare(320);
    desk.join(1, 0);
    desk.join(2, 0);
    desk.ask(1, 1);
    assert_eq!(
        desk.credits()[0].granted_bytes,
        11 * MIB,
        "1/32 of the budget"
    );
    desk.ask(2, 301);
    assert_eq!(
        desk.credits()[0].granted_bytes,
        303 * MIB,
        "a quarter of the 8 that are left"
    );
    desk.ask(1, 50);
    desk.ask(2, 2);
    assert_eq!(desk.credits(), [], "6 are the head's");
    desk.message(2, ToManager::Returned { bytes: 60 * MIB });
    let credits = desk.credits();
    let granted: Vec<u64> = credits.iter().map(|c| c.granted_bytes / MIB).collect();
    assert_eq!(granted[0], 50, "the other one waits");
}

#[test]
fn a_hoarder_that_offers_all_high_cannot_keep_a_newcomer_out() {
    let mut desk = Desk::new(Settings::of_budget(640 * MIB));
    desk.join(1, 600);
    desk.offers
        .insert(1, Offers::default().step(HIGH, u32::MAX, 1, 600));
    desk.join(2, 0);
    desk.ask(2, 10);
    let credits = desk.credits();
    assert_eq!(
        credits.len(),
        1,
        "its floor, from the reserve, without a wait"
    );
    desk.obey();
    assert_eq!(desk.charge(1), 590, "the reserve is refilled");
    desk.ask(2, 200);
    desk.obey();
    assert_eq!(desk.credits().len(), 1);
    assert!(
        desk.charge(1) >= 320,
        "down to its share, no further: {}",
        desk.charge(1)
    );
    assert_eq!(desk.now, 0);
}

#[test]
fn an_idle_hoarder_gives_before_a_busy_one() {
    let mut desk = Desk::bare(100);
    desk.join(1, 50);
    desk.join(2, 50);
    desk.join(3, 0);
    desk.offers
        .insert(1, Offers::default().step(NORMAL, 900, 1000, 20));
    desk.offers
        .insert(2, Offers::default().step(NORMAL, 1, 10, 20));
    desk.ask(3, 10);
    assert_eq!(
        desk.ordered(),
        [(1, 10)],
        "time compares between processes, ranks do not"
    );
}

#[test]
fn reservations_are_kept_and_come_first() {
    let mut desk = Desk::bare(100);
    let terms = Terms {
        reservation_bytes: 30 * MIB,
        ..Terms::default()
    };
    desk.join_on(1, 40, terms);
    desk.join(2, 60);
    desk.offers
        .insert(1, Offers::default().step(LOW, 1, 9000, 40));
    desk.join_on(
        3,
        0,
        Terms {
            reservation_bytes: 15 * MIB,
            ..Terms::default()
        },
    );
    desk.join(4, 0);
    let other = desk.ask(4, 40);
    assert_eq!(desk.ordered(), [], "only 10 of 40 may be taken");
    assert_eq!(desk.credits(), []);
    let reserved = desk.ask(3, 10);
    assert_eq!(
        desk.ordered(),
        [(1, 10)],
        "whoever is within its reservation is the head"
    );
    desk.answer(1, 1, 10);
    assert_eq!(desk.credits()[0].request, reserved);
    desk.until(2000);
    assert_eq!(desk.refusals(), [(other, WhyNot::Short)]);
    assert_eq!(desk.charge(1), 30);
}

#[test]
fn a_level_is_forgotten_with_age() {
    let mut desk = Desk::bare(100);
    desk.join(1, 100);
    desk.join(2, 0);
    desk.join_on(
        3,
        0,
        Terms {
            reservation_bytes: 50 * MIB,
            ..Terms::default()
        },
    );
    let old = desk.ask(2, 20);
    desk.until(450);
    let young = desk.ask(3, 20);
    desk.message(1, ToManager::Returned { bytes: 20 * MIB });
    assert_eq!(desk.credits()[0].request, old);
    desk.message(1, ToManager::Returned { bytes: 20 * MIB });
    assert_eq!(desk.credits()[0].request, young);
}

#[test]
fn caps_and_cgroups_limit_a_grant() {
    let mut desk = Desk::bare(100);
    desk.join_on(
        1,
        10,
        Terms {
            cap_bytes: Some(20 * MIB),
            ..Terms::default()
        },
    );
    desk.join(2, 5);
    let beyond = desk.ask(1, 21);
    assert_eq!(desk.refusals(), [(beyond, WhyNot::TooMuch)]);
    let beyond = desk.ask(1, 11);
    assert_eq!(
        desk.refusals(),
        [(beyond, WhyNot::Short)],
        "9 fit, nothing is its own to give"
    );
    desk.offers
        .insert(1, Offers::default().step(NORMAL, 4, 4, 10));
    desk.ask(1, 14);
    let credit = desk.credits()[0];
    assert_eq!(
        (credit.granted_bytes, credit.own_bytes),
        (10 * MIB, 4 * MIB)
    );
    assert_eq!(desk.charge(1), 20, "never beyond, no slack");
    let no_room = desk.ask_in(2, 5, Some(4 * MIB));
    assert_eq!(desk.refusals(), [(no_room, WhyNot::Cgroup)]);
    desk.ask_in(2, 4, Some(4 * MIB));
    assert_eq!(
        desk.credits()[0].granted_bytes,
        4 * MIB,
        "and no slack beyond the room"
    );
}

#[test]
fn its_own_memory_may_be_what_goes_first() {
    let mut desk = Desk::bare(100);
    desk.join(1, 50);
    desk.join(2, 50);
    desk.offers
        .insert(1, Offers::default().step(LOW, 4, 400, 30));
    desk.offers
        .insert(2, Offers::default().step(NORMAL, 1, 1000, 50));
    desk.ask(1, 20);
    let credit = desk.credits()[0];
    assert_eq!(credit.granted_bytes, 0);
    assert_eq!(credit.own_ms, 100);
    assert_eq!(
        credit.own_bytes,
        (20 << 20) + 100 * MIB / 32,
        "and a quantum more without asking"
    );
    assert_eq!(desk.orders(), []);
    // Half from itself, half from others.
    desk.until(200);
    desk.offers
        .insert(1, Offers::default().step(LOW, 4, 400, 5));
    desk.ask(1, 20);
    assert_eq!(desk.ordered(), [(2, 15)]);
    desk.answer(2, 1, 15);
    let credit = desk.credits()[0];
    assert_eq!(
        (credit.granted_bytes, credit.own_bytes),
        (15 * MIB, 5 * MIB)
    );
    assert_eq!((desk.charge(1), desk.charge(2)), (65, 35));
}

#[test]
fn whoever_is_alone_turns_over_its_own() {
    let mut desk = Desk::bare(100);
    desk.join(1, 100);
    desk.join(2, 0);
    let none = desk.ask(1, 10);
    assert_eq!(
        desk.refusals(),
        [(none, WhyNot::Short)],
        "nobody else holds anything: no wait"
    );
    desk.offers
        .insert(1, Offers::default().step(HIGH, 4, 400, 10));
    desk.ask(1, 10);
    let credit = desk.credits()[0];
    assert_eq!((credit.granted_bytes, credit.own_bytes), (0, u64::MAX));
    let most = desk.ask(1, 101);
    assert_eq!(desk.refusals(), [(most, WhyNot::TooMuch)]);
}

#[test]
fn a_request_waits_for_others_to_offer_and_no_longer() {
    let mut desk = Desk::bare(100);
    desk.join(1, 100);
    desk.join(2, 0);
    desk.ask(2, 10);
    desk.until(200);
    assert_eq!(desk.refusals(), []);
    let notices = desk.notices();
    let trims = notices
        .iter()
        .filter(|(n, notice)| *n == 1 && *notice == Notice::Trim { bytes: 10 * MIB });
    assert_eq!(
        trims.count(),
        1,
        "who is beyond its share is asked to trim, once: {notices:?}"
    );
    desk.offers
        .insert(1, Offers::default().step(NORMAL, 4, 4, 50));
    desk.until(230);
    desk.obey();
    assert_eq!(desk.credits().len(), 1, "found at the next poll");
    desk.offers.insert(1, Offers::default());
    let short = desk.ask(2, 60);
    let asked_at = desk.now;
    desk.until(asked_at + 499);
    assert_eq!(desk.refusals(), []);
    desk.until(asked_at + 530);
    assert_eq!(desk.refusals(), [(short, WhyNot::Short)]);
    desk.until(10_000);
    assert_eq!(desk.manager.deadline(), None);
}

#[test]
fn those_behind_a_head_that_waits_need_not_wait_for_their_own() {
    let mut desk = Desk::bare(100);
    desk.join(1, 60);
    desk.join(2, 40);
    desk.join(3, 0);
    desk.ask(3, 90);
    desk.until(10);
    desk.offers
        .insert(2, Offers::default().step(NORMAL, 4, 4, 20));
    let own = desk.ask(2, 10);
    let credits = desk.credits();
    assert_eq!(credits.len(), 1);
    assert_eq!((credits[0].request, credits[0].granted_bytes), (own, 0));
    assert_eq!(credits[0].own_bytes, 10 * MIB);
}

#[test]
fn the_asker_is_polled_while_it_waits() {
    let mut desk = Desk::bare(100);
    desk.join(1, 60);
    desk.join(2, 40);
    desk.ask(1, 10);
    desk.until(100);
    assert_eq!(desk.credits(), []);
    desk.offers
        .insert(1, Offers::default().step(HIGH, 4, 4, 20));
    desk.until(130);
    let credit = desk.credits()[0];
    assert_eq!(credit.granted_bytes, 0);
    assert!(credit.own_bytes >= 10 * MIB);
}

#[test]
fn a_request_is_bounded_in_number_and_size() {
    let mut desk = Desk::bare(100);
    desk.join(1, 100);
    desk.join(2, 0);
    let zero = desk.ask(2, 0);
    assert_eq!(desk.refusals(), [(zero, WhyNot::TooMuch)]);
    for _ in 0..64 {
        desk.ask(2, 1);
    }
    assert_eq!(desk.refusals(), []);
    let many = desk.ask(2, 1);
    assert_eq!(desk.refusals(), [(many, WhyNot::TooMany)]);
    desk.message(2, ToManager::Withdraw { request: many - 1 });
    assert_eq!(desk.refusals(), [(many - 1, WhyNot::Withdrawn)]);
    desk.ask(2, 1);
    assert_eq!(desk.refusals(), []);
    assert_eq!(desk.manager.summary(Millis(0)).waiting, 64);
    desk.say(Event::Closed {
        connection: Desk::connection(2),
    });
    assert_eq!(desk.manager.summary(Millis(0)).waiting, 0);
}

#[test]
fn an_unrecorded_grant_is_none() {
    let mut desk = Desk::bare(100);
    desk.join(1, 10);
    let request = desk.ask(1, 20);
    assert_eq!(desk.credits().len(), 1);
    let charged_bytes = 10 * MIB;
    desk.say(Event::Unrecorded {
        process: process(1),
        charged_bytes,
    });
    assert_eq!(desk.refusals(), [(request, WhyNot::Unrecorded)]);
    assert_eq!(desk.charge(1), 10);
    desk.say(Event::Unrecorded {
        process: process(1),
        charged_bytes: 0,
    });
    assert_eq!(desk.charge(1), 10, "it was said once");
}

#[test]
fn a_charge_grows_once_in_a_call() {
    let mut desk = Desk::bare(100);
    desk.join(1, 0);
    desk.join(2, 100);
    for _ in 0..3 {
        desk.ask(1, 10);
    }
    // The ledger may not take the first: what the others are of is not known before it did.
    let returned = ToManager::Returned { bytes: 30 * MIB };
    let actions = desk.message(2, returned);
    let grants = |actions: &[Action]| {
        let grants = actions.iter();
        grants
            .filter(|action| matches!(action, Action::Grant { .. }))
            .count()
    };
    assert_eq!(grants(&actions), 1);
    let charged_bytes = 0;
    let process = process(1);
    let actions = desk.say(Event::Unrecorded {
        process,
        charged_bytes,
    });
    assert_eq!(grants(&actions), 0);
    assert_eq!(desk.charge(1), 0);
    desk.settle();
    assert_eq!(desk.charge(1), 22, "two, and what the last one gets beside");
}

#[test]
fn no_request_waits_for_ever_behind_others_that_are_served() {
    let mut desk = Desk::bare(100);
    desk.join(1, 100);
    desk.join(2, 0);
    desk.offers
        .insert(1, Offers::default().step(NORMAL, 1, 1, 100));
    for _ in 0..20 {
        desk.ask(2, 2);
    }
    // Whoever gives takes all the time it may.
    let mut refused_at = 0;
    while desk.manager.summary(Millis(0)).waiting > 0 {
        let orders = desk.orders();
        desk.until(desk.now + 99);
        for (n, order) in orders {
            desk.answer_bytes(n, order.order, order.bytes);
        }
        if !desk.refusals().is_empty() {
            refused_at = desk.now;
        }
        assert!(desk.now < 1000);
    }
    assert!((900..1000).contains(&refused_at), "{refused_at}");
    assert!(desk.credits().len() >= 8);
}

#[test]
fn whoever_asks_for_too_much_again_and_again_holds_others_up_once() {
    let mut desk = Desk::bare(100);
    desk.join(1, 10);
    desk.join(2, 80);
    desk.join(3, 0);
    desk.ask(1, 90);
    let behind = desk.ask(3, 5);
    desk.until(100);
    assert_eq!(desk.credits(), [], "the 10 that are free are the head's");
    desk.until(600);
    assert_eq!(
        desk.credits().len(),
        1,
        "{behind} is served when the head was refused"
    );
    desk.refusals();
    for _ in 0..3 {
        let too_much = desk.ask(1, 90);
        desk.until(desk.now + 50);
        assert_eq!(desk.refusals(), [], "it waits as others do");
        desk.ask(3, 1);
        assert_eq!(desk.credits().len(), 1, "but holds up nobody");
        desk.until(desk.now + 550);
        assert_eq!(desk.refusals(), [(too_much, WhyNot::Short)]);
    }
}
