//! What operators see and do, what pressure and the reserve collect.

mod common;

use common::*;
use vidmm_manager::*;
use vidmm_wire::*;

fn rights(uid: u32, sees_all: bool, commands: bool) -> Rights {
    Rights {
        sees_all,
        commands,
        uid,
    }
}

fn done(bytes: u64, missing: u64) -> ToOperator {
    ToOperator::Done {
        bytes: bytes * MIB,
        missing_bytes: missing * MIB,
    }
}

#[test]
fn the_state_is_polled_and_only_ones_own_is_seen() {
    let mut desk = Desk::bare(100);
    desk.join(3, 10);
    desk.join(2, 20);
    let mut other = identity(1);
    other.uid = 7;
    desk.offers.insert(1, Offers::default());
    desk.say(Event::Joins {
        connection: ConnectionId(1),
        who: other,
        terms: Terms::default(),
        join: Join {
            held_bytes: 5 * MIB,
            ..Join::default()
        },
        resident_bytes: None,
    });
    desk.until(500);
    desk.operate_as(1, rights(1000, false, false), OperatorRequest::Stat);
    let told = desk.told();
    let ToOperator::Summary(summary) = &told[0] else {
        panic!("no summary: {told:?}");
    };
    assert_eq!(
        (summary.clients, summary.hidden, summary.charged_bytes),
        (3, 1, 35 * MIB)
    );
    let rows: Vec<(u32, u64, u32)> = (told.iter())
        .filter_map(|reply| match reply {
            ToOperator::Client(row) => Some((row.pid, row.charged_bytes / MIB, row.age_ms)),
            _ => None,
        })
        .collect();
    assert_eq!(
        rows,
        [(2, 20, 0), (3, 10, 0)],
        "figures that were just told"
    );
    assert_eq!(told.last(), Some(&done(0, 0)));
    // Whoever does not tell delays the others' rows for its time to answer, no longer.
    desk.offers.remove(&3);
    desk.until(1000);
    desk.operate(2, OperatorRequest::Stat);
    assert_eq!(desk.told(), []);
    desk.until(1099);
    assert_eq!(desk.told(), []);
    desk.until(1100);
    assert_eq!(desk.told().len(), 5);
    desk.operate(3, OperatorRequest::Stat);
    assert_eq!(
        desk.told().len(),
        5,
        "it is unresponsive: nobody waits for it again"
    );
}

#[test]
fn who_may_not_is_told_so() {
    let mut desk = Desk::bare(100);
    desk.join(1, 50);
    let may = rights(1000, false, false);
    for request in [
        OperatorRequest::Trim { bytes: 1 },
        OperatorRequest::SetBudget { bytes: 1 },
        OperatorRequest::Stop,
    ] {
        let actions = desk.operate_as(1, may, request);
        let no = ToOperator::Failed(CommandFailed::NotAllowed);
        assert_eq!(desk.told(), [no]);
        assert_eq!(actions.len(), 1, "nothing else: {actions:?}");
    }
    let actions = desk.operate(1, OperatorRequest::Stop);
    assert!(actions.contains(&Action::Stop));
    assert_eq!(desk.told(), [done(0, 0)]);
}

#[test]
fn a_trim_takes_by_rank_and_says_what_it_came_to() {
    let mut desk = Desk::bare(100);
    desk.join(1, 60);
    desk.join(2, 40);
    desk.offers
        .insert(1, Offers::default().step(NORMAL, 3, 5, 20));
    desk.offers.insert(2, Offers::default().step(LOW, 3, 5, 5));
    desk.operate(1, OperatorRequest::Trim { bytes: 10 * MIB });
    let orders = desk.orders();
    let bytes: Vec<(u32, u64)> = orders
        .iter()
        .map(|(n, order)| (*n, order.bytes / MIB))
        .collect();
    assert_eq!(bytes, [(1, 5), (2, 5)]);
    assert!(
        orders
            .iter()
            .all(|(_, order)| order.why == WhyOrdered::Trim && !order.standing)
    );
    desk.operate(2, OperatorRequest::Trim { bytes: MIB });
    assert_eq!(desk.told(), [ToOperator::Failed(CommandFailed::Busy)]);
    desk.answer(1, orders[0].1.order, 5);
    desk.answer(2, orders[1].1.order, 3);
    assert_eq!(desk.told(), [done(8, 2)]);
    desk.until(200);
    desk.operate(2, OperatorRequest::Trim { bytes: 50 * MIB });
    let orders = desk.orders();
    assert_eq!(orders.len(), 2);
    // One answers, one does not; the reply comes nevertheless.
    desk.answer(1, orders[0].1.order, 20);
    assert_eq!(desk.told(), []);
    desk.until(300);
    assert_eq!(desk.told(), [done(20, 30)]);
}

#[test]
fn a_lower_budget_is_collected_and_the_operator_told() {
    let mut desk = Desk::bare(100);
    desk.join(1, 60);
    desk.join(2, 40);
    desk.offers
        .insert(1, Offers::default().step(HIGH, 3, 5, 20));
    desk.operate(1, OperatorRequest::SetBudget { bytes: 50 * MIB });
    let orders = desk.orders();
    let total: u64 = orders.iter().map(|(_, order)| order.bytes).sum();
    assert_eq!(total, 50 * MIB, "{orders:?}");
    assert!(
        orders
            .iter()
            .all(|(_, order)| order.standing && order.why == WhyOrdered::Budget)
    );
    assert_eq!(desk.told(), []);
    for (n, order) in &orders {
        desk.answer(*n, order.order, if *n == 1 { 20 } else { 0 });
    }
    assert_eq!(desk.told(), [done(20, 30)]);
    for (n, returned) in [(1, 15), (2, 15)] {
        desk.message(
            n,
            ToManager::Returned {
                bytes: returned * MIB,
            },
        );
    }
    let summary = desk.manager.summary(Millis(0));
    assert_eq!(
        (summary.charged_bytes, summary.budget_bytes),
        (50 * MIB, 50 * MIB)
    );
    desk.until(3000);
    assert_eq!(desk.orders(), []);
    desk.operate(1, OperatorRequest::SetBudget { bytes: 500 * MIB });
    assert_eq!(desk.told(), [done(0, 0)]);
}

#[test]
fn a_budget_that_cannot_be_is_refused() {
    let mut desk = Desk::new(Settings::of_budget(640 * MIB));
    desk.join_on(
        1,
        0,
        Terms {
            reservation_bytes: 100 * MIB,
            ..Terms::default()
        },
    );
    for bytes in [0, 99 * MIB] {
        desk.operate(1, OperatorRequest::SetBudget { bytes });
        let told = desk.told();
        assert!(
            matches!(&told[..], [ToOperator::Failed(CommandFailed::BadBudget(text))] if !text.is_empty()),
            "{told:?}"
        );
    }
    assert_eq!(desk.manager.settings().budget_bytes, 640 * MIB);
    desk.operate(1, OperatorRequest::SetBudget { bytes: 320 * MIB });
    assert_eq!(
        desk.manager.settings().reserve_bytes,
        20 * MIB,
        "its part stays"
    );
    let uneven = 100 * MIB + 7;
    desk.operate(1, OperatorRequest::SetBudget { bytes: uneven });
    desk.operate(1, OperatorRequest::SetBudget { bytes: 320 * MIB });
    assert_eq!(
        desk.manager.settings().reserve_bytes,
        20 * MIB,
        "of the configured one"
    );
    desk.told();
    // A configuration whose budget is the same leaves the operator's.
    let mut settings = Settings::of_budget(640 * MIB);
    settings.patience_ms = 1;
    desk.say(Event::Reconfigured { settings });
    assert_eq!(desk.manager.settings().budget_bytes, 320 * MIB);
    assert_eq!(desk.manager.settings().patience_ms, 1);
    let settings = Settings::of_budget(641 * MIB);
    desk.say(Event::Reconfigured { settings });
    assert_eq!(desk.manager.settings(), &settings);
}

#[test]
fn orders_and_discards_can_be_asked_after() {
    let mut desk = Desk::bare(100);
    desk.join(1, 100);
    desk.join(2, 0);
    desk.offers
        .insert(1, Offers::default().step(NORMAL, 3, 5, 50));
    for _ in 0..3 {
        desk.ask(2, 5);
        desk.obey();
    }
    desk.credits();
    desk.operate(1, OperatorRequest::Events { newest: 2 });
    let poll = desk.take(|action| match action {
        Action::Send {
            message: ToClient::Poll(poll),
            connection,
        } if connection.0 == 1 => Some(*poll),
        _ => None,
    });
    assert_eq!(poll[0].discards_max, 2);
    let discard = |number| Discard {
        number,
        ..Discard::default()
    };
    desk.message(
        1,
        ToManager::Told(Told {
            poll: poll[0].poll,
            supply: Supply::default(),
            figures: Figures::default(),
            discards: vec![discard(1), discard(2), discard(3)],
        }),
    );
    let told = desk.told();
    let orders: Vec<EventRow> = (told.iter())
        .filter_map(|reply| match reply {
            ToOperator::Event(row) => Some(*row),
            _ => None,
        })
        .collect();
    assert_eq!(
        orders.iter().map(|row| row.order).collect::<Vec<_>>(),
        [2, 3]
    );
    for row in &orders {
        assert_eq!((row.pid, row.beneficiary_pid), (1, 2));
        assert_eq!(row.returned_bytes, Some(row.bytes));
        assert_eq!(row.thresholds[1], Threshold::UpTo(3));
    }
    let discards = told.iter().find_map(|reply| match reply {
        ToOperator::Discards(whose) => Some((whose.pid, whose.discards.len())),
        _ => None,
    });
    assert_eq!(discards, Some((1, 2)), "as many as were asked for");
    assert_eq!(told.last(), Some(&done(0, 0)));
    desk.operate_as(
        2,
        rights(5, false, false),
        OperatorRequest::Events { newest: 9 },
    );
    assert_eq!(desk.told(), [done(0, 0)], "nothing of others");
}

#[test]
fn pressure_orders_by_rank_and_names_its_reason() {
    let mut desk = Desk::bare(100);
    desk.join(1, 60);
    desk.offers
        .insert(1, Offers::default().step(NORMAL, 3, 5, 20));
    let pressed = |bytes, reason| Event::Pressed {
        bytes,
        reason,
        psi_some_avg10: Some(123),
    };
    desk.say(pressed(30 * MIB, 2));
    let orders = desk.orders();
    assert_eq!(orders.len(), 1);
    assert_eq!(
        (orders[0].1.bytes, orders[0].1.why),
        (20 * MIB, WhyOrdered::Pressure(2))
    );
    assert_eq!(desk.manager.summary(Millis(0)).psi_some_avg10, Some(123));
    desk.say(pressed(30 * MIB, 2));
    assert_eq!(desk.orders(), [], "one at a time");
    desk.answer(1, orders[0].1.order, 20);
    desk.until(2000);
    assert_eq!(desk.manager.deadline(), None);
    desk.say(pressed(30 * MIB, 99));
    assert_eq!(desk.orders(), [], "a reason that nobody knows");
}

#[test]
fn the_reserve_is_refilled_once_and_nobody_ticks() {
    let mut desk = Desk::new(Settings::of_budget(640 * MIB));
    desk.join(1, 600);
    desk.join(2, 0);
    desk.offers
        .insert(1, Offers::default().step(NORMAL, 3, 5, 4));
    desk.ask(2, 10);
    let orders = desk.orders();
    assert_eq!(orders.len(), 1);
    assert_eq!(
        (orders[0].1.bytes, orders[0].1.why),
        (4 * MIB, WhyOrdered::Reserve)
    );
    desk.answer(1, orders[0].1.order, 4);
    desk.offers.insert(1, Offers::default());
    desk.until(5000);
    assert_eq!(desk.orders(), [], "nothing is offered");
    assert_eq!(
        desk.manager.deadline(),
        None,
        "and nobody looks again until something changes"
    );
}

#[test]
fn operators_are_bounded() {
    let mut desk = Desk::bare(100);
    desk.join(1, 60);
    desk.offers.remove(&1);
    for n in 0..64 {
        desk.operate(n, OperatorRequest::Stat);
    }
    assert_eq!(desk.told(), []);
    desk.operate(64, OperatorRequest::Stat);
    desk.operate(3, OperatorRequest::Stat);
    let busy = ToOperator::Failed(CommandFailed::Busy);
    assert_eq!(desk.told(), [busy.clone(), busy]);
    desk.say(Event::Closed {
        connection: ConnectionId(1_000_000),
    });
    desk.operate(64, OperatorRequest::Trim { bytes: 1 });
    desk.until(1000);
    let replies = desk.told();
    let ends = replies
        .iter()
        .filter(|reply| matches!(reply, ToOperator::Done { .. }));
    assert_eq!(ends.count(), 64);
}

#[test]
fn what_comes_late_is_not_counted_for_the_next_trim() {
    let mut desk = Desk::bare(100);
    desk.join(1, 50);
    desk.join(2, 50);
    desk.offers.insert(1, Offers::default().step(LOW, 3, 5, 5));
    desk.operate(1, OperatorRequest::Trim { bytes: 5 * MIB });
    let (_, late) = desk.orders()[0];
    desk.until(200);
    assert_eq!(desk.told(), [done(0, 5)]);
    desk.offers.insert(2, Offers::default().step(LOW, 3, 5, 7));
    desk.operate(1, OperatorRequest::Trim { bytes: 7 * MIB });
    let orders = desk.orders();
    assert_eq!(orders.len(), 1);
    desk.answer(1, late.order, 5);
    assert_eq!(desk.charge(1), 45);
    assert_eq!(desk.told(), []);
    desk.answer(2, orders[0].1.order, 7);
    assert_eq!(desk.told(), [done(7, 0)]);
}
