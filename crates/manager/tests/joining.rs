//! Who joins at what, who parts, what the ledger does not take; what everybody is told.

mod common;

use common::*;
use vidmm_manager::*;
use vidmm_wire::*;

fn joins(n: u32, connection: u64, held: u64, resident: Option<u64>, terms: Terms) -> Event {
    Event::Joins {
        connection: ConnectionId(connection),
        who: identity(n),
        terms,
        join: Join {
            held_bytes: held * MIB,
            ..Join::default()
        },
        resident_bytes: resident.map(|mib| mib * MIB),
    }
}

fn restored(n: u32, mib: u64) -> Event {
    Event::Restored(Ledgered {
        who: identity(n),
        charged_bytes: mib * MIB,
        terms: Terms::default(),
    })
}

fn refused(actions: &[Action]) -> Option<WhyRefused> {
    actions.iter().find_map(|action| match action {
        Action::Refuse {
            reception: Reception::Refused(refusal),
            ..
        } => Some(refusal.why),
        _ => None,
    })
}

#[test]
fn a_joiner_is_believed_as_far_as_it_can_be_seen() {
    let capped = Terms {
        cap_bytes: Some(20 * MIB),
        ..Terms::default()
    };
    let usual = Terms::default();
    for (held, resident, terms, counted) in [
        (50, Some(60), usual, 50),
        (50, Some(30), usual, 30),
        (50, Some(60), capped, 20),
        (50, None, usual, 50),
        // Nobody has to give for what the kernel does not tell.
        (500, None, usual, 100),
        // But what it sees is there, whether there is a budget for it or not.
        (500, Some(600), usual, 500),
    ] {
        let mut desk = Desk::bare(100);
        desk.say(joins(1, 1, held, resident, terms));
        assert_eq!(desk.charge(1), counted, "{held} {resident:?}");
    }
    // What it was counted at before it may still hold, touched or not.
    let mut desk = Desk::bare(100);
    desk.say(restored(1, 40));
    desk.say(joins(1, 1, 60, Some(10), usual));
    assert_eq!(desk.charge(1), 40);
}

#[test]
fn a_restarted_manager_grants_nothing_that_may_be_held() {
    let mut desk = Desk::bare(100);
    desk.say(restored(1, 60));
    desk.say(restored(2, 30));
    desk.join(3, 0);
    let short = desk.ask(3, 20);
    assert_eq!(desk.credits(), []);
    // The first reports less: only then is there room.
    desk.say(joins(1, 1, 20, Some(100), Terms::default()));
    desk.settle();
    assert_eq!(desk.credits().len(), 1);
    assert_eq!(desk.refusals(), []);
    assert!(short > 0);
    assert_eq!(desk.charge(2), 30, "which cannot report");
}

#[test]
fn nothing_is_granted_from_a_lower_charge_before_the_ledger_has_taken_it() {
    let mut desk = Desk::bare(100);
    desk.say(restored(1, 90));
    desk.join(2, 0);
    desk.ask(2, 50);
    desk.until(10);
    let actions = desk.say(joins(1, 1, 10, Some(100), Terms::default()));
    assert!(
        actions
            .iter()
            .any(|action| matches!(action, Action::Welcome { .. }))
    );
    assert!(
        !actions
            .iter()
            .any(|action| matches!(action, Action::Grant { .. }))
    );
    let actions = desk.say(Event::Unrecorded {
        process: process(1),
        charged_bytes: 90 * MIB,
    });
    assert_eq!(refused(&actions), Some(WhyRefused::Unrecorded));
    desk.settle();
    assert_eq!(desk.credits(), []);
    assert_eq!(desk.charge(1), 90, "absent, as before");
    assert_eq!(desk.manager.summary(Millis(0)).absent, 1);
}

#[test]
fn an_unrecorded_newcomer_is_not_counted() {
    let mut desk = Desk::bare(100);
    desk.say(joins(1, 1, 10, Some(10), Terms::default()));
    let actions = desk.say(Event::Unrecorded {
        process: process(1),
        charged_bytes: 0,
    });
    assert_eq!(refused(&actions), Some(WhyRefused::Unrecorded));
    assert_eq!(desk.manager.charge_of(process(1)), None);
    desk.say(joins(1, 2, 10, Some(10), Terms::default()));
    assert_eq!(desk.charge(1), 10);
}

#[test]
fn one_connection_for_a_process_and_as_many_processes_as_may() {
    let mut settings = Settings::of_budget(100 * MIB);
    settings.clients_max = 2;
    let mut desk = Desk::new(settings);
    let usual = Terms::default();
    assert_eq!(refused(&desk.say(joins(1, 1, 10, None, usual))), None);
    assert_eq!(refused(&desk.say(joins(2, 2, 10, None, usual))), None);
    assert_eq!(
        refused(&desk.say(joins(3, 3, 10, None, usual))),
        Some(WhyRefused::Full)
    );
    assert_eq!(
        refused(&desk.say(joins(1, 4, 0, None, usual))),
        Some(WhyRefused::AlreadyJoined)
    );
    assert_eq!(desk.charge(1), 10);
    desk.say(Event::Closed {
        connection: ConnectionId(3),
    });
    desk.say(Event::Closed {
        connection: ConnectionId(4),
    });
    desk.say(Event::Closed {
        connection: ConnectionId(1),
    });
    assert_eq!(desk.charge(1), 10, "absent, and counted");
    assert_eq!(
        refused(&desk.say(joins(3, 5, 10, None, usual))),
        Some(WhyRefused::Full)
    );
    assert_eq!(refused(&desk.say(joins(1, 6, 4, None, usual))), None);
    assert_eq!(desk.charge(1), 4);
    // A number that is used again is another process.
    desk.say(Event::Died {
        process: process(2),
    });
    let mut again = identity(1);
    again.process.started_ticks += 1;
    let actions = desk.say(Event::Joins {
        connection: ConnectionId(7),
        who: again,
        terms: usual,
        join: Join::default(),
        resident_bytes: None,
    });
    assert_eq!(refused(&actions), None);
    assert_eq!(desk.charge(1), 4);
}

#[test]
fn death_frees_at_once_and_closes_what_children_inherited() {
    let mut desk = Desk::bare(100);
    desk.join(1, 90);
    desk.join(2, 0);
    desk.ask(2, 50);
    let actions = desk.say(Event::Died {
        process: process(1),
    });
    let forgotten = actions.iter().position(|a| {
        *a == Action::Forget {
            process: process(1),
        }
    });
    let granted = actions
        .iter()
        .position(|a| matches!(a, Action::Grant { .. }));
    assert!(forgotten.expect("is forgotten") < granted.expect("is granted"));
    assert!(actions.contains(&Action::Close {
        connection: ConnectionId(1)
    }));
    desk.message(1, ToManager::Returned { bytes: 1 });
    assert_eq!(desk.charge(2), 53, "50, and 1/32 of the budget beside");
}

#[test]
fn a_joiner_with_more_than_there_is_has_the_excess_collected_as_debts() {
    let mut desk = Desk::bare(100);
    desk.join(1, 30);
    desk.join(2, 70);
    desk.offers.insert(2, Offers::default().step(LOW, 5, 5, 10));
    desk.join(3, 60);
    let orders = desk.orders();
    assert!(
        orders
            .iter()
            .all(|(_, order)| order.standing && order.why == WhyOrdered::Budget)
    );
    let of = |n| {
        let mut own = orders.iter().filter(|(who, _)| *who == n);
        own.next().map(|(_, order)| order.bytes)
    };
    // 60 too much; shares of 33: the second owes most.
    assert_eq!(of(1), None);
    assert_eq!(
        of(2).unwrap_or(0) + of(3).unwrap_or(0),
        60 * MIB,
        "{orders:?}"
    );
    assert!(
        of(2) >= Some(33 * MIB) && of(3) >= Some(20 * MIB),
        "{orders:?}"
    );
    for (n, order) in &orders {
        desk.answer(*n, order.order, 5);
    }
    desk.until(desk.now + 1000);
    assert_eq!(desk.orders(), [], "the rest is owed, and not ordered twice");
    desk.join(4, 0);
    desk.ask(4, 1);
    assert_eq!(desk.credits(), [], "no new credit meanwhile");
}

#[test]
fn a_cap_that_sinks_is_collected() {
    let mut desk = Desk::bare(100);
    desk.join(1, 50);
    let terms = Terms {
        cap_bytes: Some(20 * MIB),
        ..Terms::default()
    };
    desk.say(Event::NewTerms {
        process: process(1),
        terms,
    });
    let orders = desk.orders();
    assert_eq!(orders.len(), 1);
    assert_eq!((orders[0].1.bytes, orders[0].1.standing), (30 * MIB, true));
    desk.answer(1, orders[0].1.order, 10);
    desk.until(5000);
    assert_eq!(desk.orders(), []);
    assert_eq!(desk.manager.deadline(), None);
}

#[test]
fn a_thousand_idle_clients_are_waited_for_by_nobody() {
    let mut desk = Desk::new(Settings::of_budget(1024 * MIB));
    for n in 1..=1000 {
        desk.join(n, u64::from(n % 2));
    }
    let started = desk.now;
    desk.until(started + 1000);
    assert_eq!(desk.manager.deadline(), None);
    desk.ask(7, 100);
    desk.obey();
    desk.until(desk.now + 5000);
    assert_eq!(desk.manager.deadline(), None);
}

#[test]
fn budgets_are_told_when_they_change() {
    let mut desk = Desk::new(Settings::of_budget(640 * MIB));
    desk.join(1, 0);
    desk.until(1000);
    let notices = desk.notices();
    let last = notices.iter().rfind(|(n, _)| *n == 1).expect("is told");
    let whole = Notice::Budget {
        budget_bytes: 640 * MIB,
        reservation_bytes: 0,
        available_for_reservation_bytes: 320 * MIB,
        whole_bytes: 640 * MIB,
    };
    assert_eq!(last.1, whole, "all of it, for a single client");
    desk.join(2, 200);
    desk.until(2000);
    let notices = desk.notices();
    let budget = notices.iter().rev().find_map(|(n, notice)| match notice {
        Notice::Budget { budget_bytes, .. } if *n == 1 => Some(budget_bytes / MIB),
        _ => None,
    });
    assert_eq!(budget, Some(400), "what the other has in use is not its");
    // Small changes are not told.
    desk.message(2, ToManager::Returned { bytes: 4 * MIB });
    desk.until(3000);
    desk.message(2, ToManager::Returned { bytes: 5 * MIB });
    desk.until(3200);
    let told = desk.notices();
    assert!(told.iter().all(|(n, _)| *n != 1), "{told:?}");
}

#[test]
fn reservations_that_are_asked_for_come_to_half_the_budget() {
    let mut desk = Desk::new(Settings::of_budget(640 * MIB));
    let terms = Terms {
        reservation_bytes: 100 * MIB,
        ..Terms::default()
    };
    desk.join_on(1, 0, terms);
    desk.join(2, 0);
    desk.join(3, 0);
    let reservation = |desk: &mut Desk, n: u32| {
        desk.until(desk.now + 200);
        let notices = desk.notices();
        notices.iter().rev().find_map(|(who, notice)| match notice {
            Notice::Budget {
                reservation_bytes,
                available_for_reservation_bytes,
                ..
            } if *who == n => Some((
                reservation_bytes / MIB,
                available_for_reservation_bytes / MIB,
            )),
            _ => None,
        })
    };
    desk.message(2, ToManager::Reserve { bytes: 150 * MIB });
    assert_eq!(reservation(&mut desk, 2), Some((150, 220)));
    desk.message(3, ToManager::Reserve { bytes: 150 * MIB });
    assert_eq!(reservation(&mut desk, 3), Some((70, 70)));
    desk.message(1, ToManager::Reserve { bytes: 50 * MIB });
    assert_eq!(
        reservation(&mut desk, 1),
        Some((100, 100)),
        "what is configured stays"
    );
    desk.message(2, ToManager::Reserve { bytes: 0 });
    assert_eq!(reservation(&mut desk, 2), Some((0, 150)));
    // A lower budget cuts what was asked for.
    desk.message(2, ToManager::Reserve { bytes: 150 * MIB });
    desk.operate(1, OperatorRequest::SetBudget { bytes: 300 * MIB });
    assert_eq!(desk.manager.summary(Millis(0)).reserved_bytes, 150 * MIB);
}

#[test]
fn whoever_holds_more_than_it_was_granted_is_named() {
    let mut desk = Desk::new(Settings {
        audit_slack_bytes: 10 * MIB,
        ..Settings::of_budget(100 * MIB)
    });
    desk.join(1, 20);
    let exceeds = |desk: &Desk| {
        let mut rows = desk.manager.rows(Millis(0));
        rows.next().is_some_and(|(_, row)| row.exceeds)
    };
    let audited = |mib: u64| Event::Audited {
        process: process(1),
        resident_bytes: mib * MIB,
    };
    desk.say(audited(30));
    assert!(!exceeds(&desk));
    let actions = desk.say(audited(31));
    assert!(exceeds(&desk));
    assert!(matches!(&actions[0], Action::Log(line) if line.severity == Severity::Warning));
    desk.say(audited(25));
    assert!(!exceeds(&desk));
}
