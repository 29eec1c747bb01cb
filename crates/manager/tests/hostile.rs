//! Whatever is said, however often: no panic, bounded memory, bounded work, and the sums are right.

mod common;
mod world;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use common::{Desk, HIGH, LOW, MIB, NORMAL, Offers, identity, process};
use vidmm_manager::*;
use vidmm_wire::*;
use world::dice::Dice;

/// A number that somebody might try.
fn odd(dice: &mut Dice, usual: u64) -> u64 {
    match dice.below(8) {
        0 => 0,
        1 => 1,
        2 => u64::MAX,
        3 => u64::MAX / 2 + dice.below(3),
        4 => dice.word(),
        _ => dice.below(usual.saturating_mul(2).max(2)),
    }
}

fn any_supply(dice: &mut Dice, usual: u64) -> Supply {
    let mut class = || {
        let steps = dice.below(4);
        let step = |dice: &mut Dice| Step {
            rank: dice.u32_below(9),
            idle_ms: dice.u32_below(u32::MAX),
            bytes: odd(dice, usual),
        };
        (0..steps).map(|_| step(dice)).collect()
    };
    let classes = [class(), class(), class()];
    let unused_bytes = odd(dice, usual);
    let warm_bytes = odd(dice, usual);
    Supply {
        as_of: u32::MAX,
        unused_bytes,
        warm_bytes,
        classes,
    }
}

fn any_terms(dice: &mut Dice, usual: u64) -> Terms {
    let maybe = |dice: &mut Dice| dice.chance(400).then(|| odd(dice, usual));
    Terms {
        floor_bytes: maybe(dice),
        cap_bytes: maybe(dice),
        reservation_bytes: maybe(dice).unwrap_or(0),
        weight_hundredths: dice.u32_below(2) * dice.u32_below(u32::MAX),
    }
}

fn any_settings(dice: &mut Dice, usual: u64) -> Settings {
    Settings {
        budget_bytes: odd(dice, usual),
        reserve_bytes: odd(dice, usual / 16),
        guarded_percent: dice.u32_below(120),
        clients_max: dice.u32_below(12),
        patience_ms: dice.u32_below(600),
        answer_ms: dice.u32_below(120),
        audit_slack_bytes: odd(dice, usual),
    }
}

fn any_message(dice: &mut Dice, usual: u64, newest: (u32, u32)) -> ToManager {
    // Numbers that were given, or nearly.
    let near = |dice: &mut Dice, newest: u32| match dice.below(5) {
        0 => dice.u32_below(u32::MAX),
        1 => newest.wrapping_add(1),
        _ => newest,
    };
    match dice.below(9) {
        0..3 => ToManager::Ask(Ask {
            request: dice.u32_below(5),
            bytes: odd(dice, usual / 3),
            supply: any_supply(dice, usual),
        }),
        3 => ToManager::Withdraw {
            request: dice.u32_below(5),
        },
        4 | 5 => ToManager::Answer(Answer {
            order: near(dice, newest.0),
            returned_bytes: odd(dice, usual),
            discarded_bytes: std::array::from_fn(|_| odd(dice, usual)),
            discards: 3,
        }),
        6 => ToManager::Returned {
            bytes: odd(dice, usual),
        },
        7 => ToManager::Told(Told {
            poll: near(dice, newest.1),
            supply: any_supply(dice, usual),
            figures: Figures::default(),
            discards: vec![Discard::default(); 2],
        }),
        _ => ToManager::Reserve {
            bytes: odd(dice, usual),
        },
    }
}

fn any_request(dice: &mut Dice, usual: u64) -> OperatorRequest {
    match dice.below(5) {
        0 => OperatorRequest::Stat,
        1 => OperatorRequest::Events {
            newest: dice.u32_below(2000),
        },
        2 => OperatorRequest::Trim {
            bytes: odd(dice, usual),
        },
        3 if dice.chance(100) => OperatorRequest::SetBudget {
            bytes: odd(dice, usual),
        },
        _ => OperatorRequest::Stop,
    }
}

fn any_event(dice: &mut Dice, usual: u64, newest: &BTreeMap<u64, (u32, u32)>) -> Event {
    let connection = ConnectionId(dice.below(16));
    let who = 1 + dice.u32_below(8);
    let of = process(who);
    match dice.below(40) {
        0 if dice.chance(50) => Event::Restored(Ledgered {
            who: identity(who),
            charged_bytes: odd(dice, usual / 4),
            terms: any_terms(dice, usual),
        }),
        1..4 => Event::Joins {
            connection,
            who: identity(who),
            terms: any_terms(dice, usual),
            join: Join {
                held_bytes: odd(dice, usual / 4),
                reservation_bytes: odd(dice, usual / 4),
                incarnation: 0,
            },
            resident_bytes: match dice.below(40) {
                0 => None,
                1 => Some(odd(dice, usual / 4)),
                _ => Some(dice.below(usual / 8)),
            },
        },
        4 => Event::Closed { connection },
        5 => Event::Died { process: of },
        6 => Event::Unrecorded {
            process: of,
            charged_bytes: odd(dice, usual),
        },
        7 => Event::Pressed {
            bytes: odd(dice, usual),
            reason: u8::try_from(dice.below(9)).expect("small"),
            psi_some_avg10: None,
        },
        8 => Event::Audited {
            process: of,
            resident_bytes: odd(dice, usual),
        },
        9 => Event::NewTerms {
            process: of,
            terms: any_terms(dice, usual),
        },
        10 if dice.chance(100) => Event::Reconfigured {
            settings: any_settings(dice, usual),
        },
        10..14 => Event::Asks {
            connection: ConnectionId(16 + dice.below(80)),
            rights: Rights {
                sees_all: dice.chance(500),
                commands: dice.chance(500),
                uid: 1000,
            },
            request: any_request(dice, usual),
        },
        14..17 => Event::Tick,
        _ => Event::Said {
            connection,
            message: {
                let newest = newest.get(&connection.0).copied().unwrap_or_default();
                any_message(dice, usual, newest)
            },
            cgroup_room_bytes: dice.chance(200).then(|| odd(dice, usual)),
        },
    }
}

#[test]
fn anything_may_be_said_in_any_order() {
    let (mut granted, mut ordered) = (0, 0);
    for seed in 0..60 {
        let mut dice = Dice(seed);
        let usual = 64 * MIB;
        let first = match dice.chance(500) {
            true => any_settings(&mut dice, usual),
            false => Settings::of_budget(usual),
        };
        let mut manager = Manager::new(first, 1, Millis(0));
        let (mut now, mut newest) = (0, BTreeMap::<u64, (u32, u32)>::new());
        for _ in 0..1500 {
            now += dice.below(20);
            let event = any_event(&mut dice, usual, &newest);
            let mut actions = Vec::new();
            manager.handle(Millis(now), now, event, &mut actions);
            for action in &actions {
                if let Action::Send {
                    connection,
                    message,
                } = action
                {
                    let newest = newest.entry(connection.0).or_default();
                    match message {
                        ToClient::Order(order) => {
                            newest.0 = order.order;
                            ordered += 1;
                        }
                        ToClient::Poll(poll) => newest.1 = poll.poll,
                        _ => {}
                    }
                }
                if let Action::Grant { .. } = action {
                    granted += 1;
                    let charged: u128 = (manager.rows(Millis(now)))
                        .map(|(_, row)| u128::from(row.charged_bytes))
                        .sum();
                    let budget = u128::from(manager.settings().budget_bytes);
                    assert!(charged <= budget, "seed {seed}: {charged} of {budget}");
                }
            }
            let grown: Vec<&ProcessId> = (actions.iter())
                .filter_map(|action| match action {
                    Action::Grant { process, .. } | Action::Welcome { process, .. } => {
                        Some(process)
                    }
                    _ => None,
                })
                .collect();
            let mut once = grown.clone();
            once.sort();
            once.dedup();
            assert_eq!(
                once.len(),
                grown.len(),
                "seed {seed}: a charge grows once in a call"
            );
        }
    }
    assert!(granted > 100 && ordered > 200, "{granted} {ordered}");
}

#[test]
fn a_flood_of_requests_is_bounded_and_starves_nobody() {
    let mut settings = Settings::of_budget(1024 * MIB);
    settings.clients_max = 100;
    let mut desk = Desk::new(settings);
    for n in 1..=100 {
        desk.join(n, 10);
    }
    desk.until(1000);
    let started = Instant::now();
    // All ask as much as they can, for more than there is; nobody gives anything.
    for n in 1..=100 {
        for _ in 0..100 {
            desk.ask(n, 200);
        }
    }
    assert_eq!(desk.manager.summary(Millis(0)).waiting, 100 * 64);
    let refused = desk.refusals();
    assert_eq!(refused.len(), 100 * 36);
    assert!(refused.iter().all(|(_, why)| *why == WhyNot::TooMany));
    desk.until(2000);
    assert_eq!(
        desk.refusals().len(),
        100 * 64,
        "all within patience and four answers"
    );
    assert_eq!(desk.manager.deadline(), None);
    let took = started.elapsed();
    assert!(
        took < Duration::from_secs(20),
        "{took:?} for 16,400 messages"
    );
}

#[test]
fn polls_and_orders_do_not_multiply() {
    let mut desk = Desk::bare(100);
    for n in 1..=20 {
        desk.join(n, 5);
    }
    desk.offers.clear();
    let mut polls: BTreeMap<u64, u64> = BTreeMap::new();
    for now in 1..=2000 {
        desk.now = now;
        for n in 1..=20 {
            desk.message(
                n,
                ToManager::Ask(Ask {
                    request: 1,
                    bytes: MIB,
                    supply: Supply::default(),
                }),
            );
        }
        desk.say(Event::Tick);
        for action in desk.actions.drain(..) {
            if let Action::Send {
                connection,
                message: ToClient::Poll(_),
            } = action
            {
                *polls.entry(connection.0).or_default() += 1;
            }
        }
    }
    // Nobody answers: one poll each, and no more until it is answered.
    assert!(polls.values().all(|polls| *polls == 1), "{polls:?}");
    assert!(!polls.is_empty());
}

#[test]
fn who_dawdles_delays_nobody_longer_than_it_must() {
    let mut desk = Desk::bare(100);
    desk.join(1, 50);
    desk.join(2, 50);
    desk.join(3, 0);
    desk.offers
        .insert(1, Offers::default().step(NORMAL, 1, 1, 20));
    // The second will answer, at the last moment.
    desk.offers.remove(&2);
    desk.ask(3, 10);
    desk.until(19);
    assert_eq!(desk.orders(), []);
    desk.until(20);
    assert_eq!(desk.ordered(), [(1, 10)]);
    // Where the others do not suffice, it is waited for.
    desk.answer_bytes(1, 1, 10 * MIB + 100 * MIB / 256);
    desk.credits();
    desk.ask(3, 30);
    desk.until(60);
    assert_eq!(desk.orders(), []);
    let poll = desk.take(|action| match action {
        Action::Send {
            connection,
            message: ToClient::Poll(poll),
        } if connection.0 == 2 => Some(*poll),
        _ => None,
    });
    assert_eq!(poll, [], "taken with the first orders");
}

#[test]
fn a_forged_curve_gives_no_more_than_its_charge() {
    let mut desk = Desk::bare(100);
    desk.join(1, 10);
    desk.join(2, 90);
    desk.join(3, 0);
    let mut forged = Offers::default().step(LOW, 1, u32::MAX, 1 << 40);
    forged = forged.step(HIGH, 1, u32::MAX, 1 << 40).unused(1 << 40);
    desk.offers.insert(1, forged);
    desk.offers.insert(2, Offers::default().step(LOW, 1, 1, 90));
    desk.ask(3, 40);
    let ordered = desk.ordered();
    assert_eq!(ordered, [(1, 10), (2, 30)]);
}
