//! What is ordered of whom, what an answer counts, and what happens to those that do not answer.

mod common;

use common::*;
use vidmm_manager::*;
use vidmm_wire::*;

/// The first who hold everything, beside a newcomer.
fn holders(held: &[u64]) -> (Desk, u32) {
    let mut desk = Desk::bare(held.iter().sum());
    let newcomer = u32::try_from(held.len()).expect("few") + 1;
    for (n, held) in (1..).zip(held) {
        desk.join(n, *held);
    }
    desk.join(newcomer, 0);
    (desk, newcomer)
}

#[test]
fn an_order_names_the_steps_and_the_beneficiary() {
    let (mut desk, newcomer) = holders(&[60, 60]);
    let first = Offers::default()
        .step(LOW, 7, 50, 4)
        .step(NORMAL, 10, 900, 5)
        .step(NORMAL, 20, 800, 5)
        .step(NORMAL, 30, 100, 5);
    desk.offers.insert(1, first);
    let second = Offers::default().unused(3).step(NORMAL, 1, 850, 5);
    desk.offers.insert(2, second);
    desk.ask(newcomer, 20);
    let orders = desk.orders();
    assert_eq!(orders.len(), 2);
    // 3 unused of the second, all 4 that are LOW, then by time: 5 of 900 ms, 5 of 850, 3 of 800.
    let (who, order) = orders[0];
    assert_eq!(who, 1);
    assert_eq!(order.bytes / MIB, 12);
    assert_eq!(
        order.thresholds,
        [Threshold::All, Threshold::UpTo(20), Threshold::Nothing]
    );
    let (who, order) = orders[1];
    assert_eq!((who, order.bytes / MIB), (2, 8));
    assert_eq!(
        order.thresholds,
        [Threshold::All, Threshold::UpTo(1), Threshold::Nothing]
    );
    for (_, order) in orders {
        assert_eq!(order.beneficiary_pid, newcomer);
        assert_eq!(order.why, WhyOrdered::Need);
        assert!(!order.standing);
    }
}

#[test]
fn what_was_told_before_much_was_granted_is_asked_for_anew() {
    // A sixteenth of the budget is 10 MiB.
    for (granted, whose) in [(4, 1), (20, 2)] {
        let (mut desk, newcomer) = holders(&[80, 80]);
        let offers = |idle_ms| Offers::default().step(NORMAL, 1, idle_ms, 40);
        desk.offers.insert(1, offers(900));
        desk.offers.insert(2, offers(100));
        desk.ask(newcomer, granted);
        let orders = desk.orders();
        assert_eq!(orders.len(), 1);
        assert_eq!(orders[0].0, 1);
        desk.answer_bytes(1, orders[0].1.order, orders[0].1.bytes);
        assert_eq!(desk.credits().len(), 1);
        desk.until(desk.now + 40);
        // The first has used all of it since.
        desk.offers.insert(1, offers(0));
        desk.ask(newcomer, 1);
        assert_eq!(desk.ordered(), [(whose, 1)], "after {granted} MiB");
    }
}

#[test]
fn unused_bytes_come_without_a_discard() {
    let (mut desk, newcomer) = holders(&[50, 50]);
    desk.offers
        .insert(1, Offers::default().unused(10).step(LOW, 1, 9999, 30));
    desk.offers.insert(2, Offers::default().unused(10));
    desk.ask(newcomer, 15);
    let orders = desk.orders();
    assert_eq!(orders.len(), 2);
    for (_, order) in orders {
        assert_eq!(order.thresholds, [Threshold::Nothing; 3]);
    }
}

#[test]
fn high_beyond_the_share_counts_as_normal() {
    // Shares of 50 among three, one of which wants something.
    let (mut desk, newcomer) = holders(&[100, 50]);
    desk.offers.insert(
        1,
        Offers::default()
            .step(NORMAL, 3, 1, 10)
            .step(HIGH, 9, 2, 80),
    );
    desk.offers
        .insert(2, Offers::default().step(NORMAL, 1, 5000, 40));
    desk.ask(newcomer, 40);
    let orders = desk.orders();
    assert_eq!(
        orders.len(),
        1,
        "the other one's NORMAL is within its share: {orders:?}"
    );
    let (who, order) = orders[0];
    assert_eq!((who, order.bytes / MIB), (1, 40));
    assert_eq!(
        order.thresholds,
        [Threshold::All, Threshold::All, Threshold::UpTo(9)]
    );
    desk.answer(1, order.order, 40);
    // Down to its share, no further: then NORMAL of all, then HIGH.
    desk.offers
        .insert(1, Offers::default().step(HIGH, 9, 2, 40));
    desk.until(200);
    desk.ask(newcomer, 30);
    assert_eq!(desk.ordered(), [(1, 10), (2, 20)]);
}

#[test]
fn low_of_whoever_is_within_its_share_goes_before_normal_of_whoever_is_not() {
    let (mut desk, newcomer) = holders(&[100, 20]);
    desk.offers
        .insert(1, Offers::default().step(NORMAL, 3, 9999, 100));
    desk.offers.insert(2, Offers::default().step(LOW, 3, 1, 10));
    desk.ask(newcomer, 10);
    assert_eq!(desk.ordered(), [(2, 10)], "class first, share second");
}

#[test]
fn floors_are_never_ordered_away() {
    let mut desk = Desk::bare(100);
    let terms = Terms {
        floor_bytes: Some(15 * MIB),
        ..Terms::default()
    };
    desk.join_on(1, 20, terms);
    desk.join(2, 80);
    desk.join(3, 0);
    desk.offers.insert(1, Offers::default().step(LOW, 3, 1, 20));
    desk.ask(3, 10);
    assert_eq!(desk.orders(), []);
    desk.ask(3, 5);
    desk.message(3, ToManager::Withdraw { request: 1 });
    assert_eq!(desk.ordered(), [(1, 5)]);
}

#[test]
fn an_answer_counts_once_and_up_to_its_order() {
    let (mut desk, newcomer) = holders(&[60, 40]);
    desk.offers
        .insert(1, Offers::default().step(NORMAL, 3, 1, 60));
    desk.ask(newcomer, 10);
    let (_, order) = desk.orders()[0];
    desk.answer(1, order.order + 1, 60);
    desk.answer(2, order.order, 30);
    assert_eq!(
        (desk.charge(1), desk.charge(2)),
        (60, 40),
        "not theirs to answer"
    );
    desk.answer(1, order.order, 60);
    assert_eq!(
        60 * MIB - order.bytes,
        desk.manager.charge_of(process(1)).expect("is there")
    );
    let credits = desk.credits();
    assert_eq!(credits.len(), 1);
    let after = desk.manager.charge_of(process(1));
    desk.answer(1, order.order, 10);
    assert_eq!(
        desk.manager.charge_of(process(1)),
        after,
        "a doubled answer"
    );
    let warned = desk.take(|action| match action {
        Action::Log(line) if line.severity == Severity::Warning => Some(line.clone()),
        _ => None,
    });
    assert_eq!(warned.len(), 2, "once a second for each: {warned:?}");
}

#[test]
fn nothing_is_returned_that_is_not_charged() {
    let (mut desk, _) = holders(&[60, 40]);
    desk.message(1, ToManager::Returned { bytes: 1000 * MIB });
    assert_eq!((desk.charge(1), desk.charge(2)), (0, 40));
    let summary = desk.manager.summary(Millis(0));
    assert_eq!(summary.charged_bytes, 40 * MIB);
}

#[test]
fn a_stopped_client_with_an_order_does_not_block_the_others() {
    let (mut desk, newcomer) = holders(&[60, 40]);
    desk.offers
        .insert(1, Offers::default().step(LOW, 3, 5000, 60));
    desk.offers
        .insert(2, Offers::default().step(NORMAL, 3, 1, 40));
    desk.ask(newcomer, 10);
    let (who, order) = desk.orders()[0];
    assert_eq!(who, 1);
    desk.offers.remove(&1);
    desk.until(99);
    assert_eq!(desk.orders(), []);
    desk.until(100);
    let orders = desk.ordered();
    assert_eq!(orders, [(2, 10)], "its time is over");
    let unresponsive = desk.manager.summary(Millis(0)).unresponsive;
    assert_eq!(unresponsive, 1);
    desk.answer(2, 2, 10);
    assert_eq!(desk.credits().len(), 1);
    // It gets nothing until it answers, and what it then says counts.
    desk.message(
        1,
        ToManager::Ask(Ask {
            request: 99,
            bytes: MIB,
            supply: Supply::default(),
        }),
    );
    assert_eq!(desk.refusals(), [(99, WhyNot::Unanswered)]);
    desk.answer_bytes(1, order.order, order.bytes);
    assert_eq!(
        desk.charge(1),
        49,
        "a late answer lowers the charge all the same"
    );
    desk.ask(1, 1);
    assert_eq!(desk.refusals(), []);
    assert_eq!(desk.manager.summary(Millis(0)).unresponsive, 0);
}

#[test]
fn whoever_does_not_answer_a_poll_is_asked_last() {
    let (mut desk, newcomer) = holders(&[50, 50]);
    desk.offers
        .insert(1, Offers::default().step(LOW, 3, 5000, 50));
    desk.offers
        .insert(2, Offers::default().step(HIGH, 3, 1, 20));
    desk.ask(newcomer, 1);
    desk.obey();
    desk.credits();
    assert_eq!(desk.charge(2), 50);
    // From now on the first is silent.
    desk.offers.remove(&1);
    desk.until(300);
    desk.ask(newcomer, 10);
    assert_eq!(desk.ordered(), [], "it has its time to answer the poll");
    desk.until(400);
    assert_eq!(desk.ordered(), [(2, 10)]);
    desk.answer(2, 2, 10);
    desk.credits();
    desk.offers
        .insert(2, Offers::default().step(HIGH, 3, 1, 10));
    desk.until(600);
    desk.ask(newcomer, 20);
    // What the others lack is asked of it all the same.
    assert_eq!(desk.ordered(), [(2, 10), (1, 9)], "a little was left");
}

#[test]
fn one_order_at_a_time_and_a_short_answer_is_not_asked_again_at_once() {
    let (mut desk, newcomer) = holders(&[60, 40]);
    desk.offers
        .insert(1, Offers::default().step(NORMAL, 3, 5000, 60));
    desk.ask(newcomer, 10);
    let mut orders = 0;
    for now in 0..=530 {
        desk.until(now);
        for (n, order) in desk.orders() {
            orders += 1;
            desk.answer(n, order.order, 0);
        }
    }
    assert_eq!(
        desk.refusals().len(),
        1,
        "who lies makes nobody wait longer than others"
    );
    assert!(orders <= 6, "{orders} orders to a liar");
}

#[test]
fn what_comes_back_short_is_asked_of_others() {
    let (mut desk, newcomer) = holders(&[60, 40]);
    desk.offers
        .insert(1, Offers::default().step(LOW, 3, 5000, 30));
    desk.offers
        .insert(2, Offers::default().step(NORMAL, 3, 5000, 30));
    desk.ask(newcomer, 10);
    let (_, order) = desk.orders()[0];
    // Its owner has taken back all but 4.
    desk.offers.insert(1, Offers::default());
    desk.answer(1, order.order, 4);
    assert_eq!(desk.ordered(), [(2, 6)]);
    desk.answer(2, 2, 6);
    assert_eq!(desk.credits().len(), 1);
}

#[test]
fn whoever_owes_an_answer_to_an_order_does_not_get_by_with_figures() {
    let (mut desk, newcomer) = holders(&[60, 40]);
    desk.offers
        .insert(1, Offers::default().step(LOW, 3, 5000, 60));
    desk.ask(newcomer, 10);
    let (_, order) = desk.orders()[0];
    let offers = desk.offers.remove(&1).expect("is there");
    desk.until(50);
    desk.operate(1, OperatorRequest::Stat);
    desk.until(99);
    let polls = desk.take(|action| match action {
        Action::Send {
            connection,
            message: ToClient::Poll(poll),
        } if connection.0 == 1 => Some(*poll),
        _ => None,
    });
    desk.until(120);
    assert_eq!(desk.manager.summary(Millis(0)).unresponsive, 1);
    // It answers what was asked later, and not the order.
    for poll in polls {
        desk.tell(1, poll, offers.clone());
    }
    assert_eq!(desk.manager.summary(Millis(0)).unresponsive, 1);
    desk.answer(1, order.order, 0);
    assert_eq!(desk.manager.summary(Millis(0)).unresponsive, 0);
}

/// An operator looks, so that all have told at this time what they could give.
fn told_by_all(desk: &mut Desk) {
    desk.operate(1, OperatorRequest::Stat);
    desk.settle();
    desk.actions.clear();
}

#[test]
fn what_was_told_before_a_request_came_is_told_anew_before_that_waits() {
    let (mut desk, newcomer) = holders(&[50, 50]);
    told_by_all(&mut desk);
    desk.until(60);
    // Offered since; what was told is not old enough to be asked for as a matter of course.
    desk.offers
        .insert(2, Offers::default().step(NORMAL, 1, 30, 30));
    desk.ask(newcomer, 10);
    assert_eq!(desk.ordered(), [(2, 10)], "at once");
}

#[test]
fn a_supply_that_had_grown_old_is_no_lie() {
    let (mut desk, newcomer) = holders(&[50, 50]);
    desk.offers.insert(2, Offers::default().unused(20));
    told_by_all(&mut desk);
    desk.until(60);
    // In use since, and something else offered.
    desk.offers
        .insert(2, Offers::default().step(NORMAL, 1, 30, 30));
    desk.ask(newcomer, 10);
    let orders = desk.orders();
    assert_eq!((orders.len(), orders[0].0), (1, 2));
    assert_eq!(orders[0].1.thresholds, [Threshold::Nothing; 3]);
    desk.answer(2, orders[0].1.order, 0);
    assert_eq!(
        desk.ordered(),
        [(2, 10)],
        "asked anew and believed, at once"
    );
}
