//! A pool that is joined to a manager, against one that says what the test wants.

#![cfg(target_os = "linux")]

mod manager;

use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use manager::{Manager, PATIENCE};
use vidmm::{
    AgentMode, Class, Committed, Error, JoinMode, JoinOptions, Membership, Notice, Pool,
    PressureMode, Reason, Reclaimed,
};
use vidmm_wire::{NoCredit, Threshold, ToClient, ToManager, WhyNot};

const UNIT: usize = 64 << 10;
const UNIT_BYTES: u64 = UNIT as u64;
const OWN_UNITS: u64 = 4;

fn pool_of(manager: &Manager, mode: JoinMode, agent: AgentMode) -> Pool {
    Pool::builder()
        .budget_bytes(OWN_UNITS * UNIT_BYTES)
        .pressure(PressureMode::Off)
        .agent(agent)
        .join(JoinOptions {
            mode,
            sockets: vec![manager.path().to_owned()],
        })
        .build()
        .expect("a pool")
}

fn pool(manager: &Manager) -> Pool {
    pool_of(manager, JoinMode::Auto, AgentMode::Thread)
}

fn written(pool: &Pool, fill: u8) -> Result<Committed, Error> {
    let mut memory = pool.allocate(UNIT)?;
    memory.lock_mut()?.fill(fill);
    Ok(memory)
}

fn holds(memory: &Committed, fill: u8) -> bool {
    memory
        .lock()
        .expect("committed")
        .iter()
        .all(|&byte| byte == fill)
}

/// What `call` does in another thread while this one plays the manager.
fn meanwhile<T: Send>(call: impl FnOnce() -> T + Send, play: impl FnOnce()) -> T {
    thread::scope(|scope| {
        let call = scope.spawn(call);
        play();
        call.join().expect("no panic")
    })
}

#[test]
fn credit_is_asked_for_granted_whole_and_returned_when_nothing_needs_it() {
    for agent in [AgentMode::Thread, AgentMode::Host] {
        let manager = Manager::listen();
        let pool = pool_of(&manager, JoinMode::Auto, agent);
        assert_eq!(pool.membership(), Membership::Undecided);
        let mut client = None;
        let memory = meanwhile(
            || written(&pool, 7),
            || {
                let (joined, join) = manager.welcome(64 * UNIT_BYTES);
                assert_eq!(join.held_bytes, 0, "nothing was held");
                let ask = joined.grant(2 * UNIT_BYTES, 0);
                assert_eq!(ask.bytes, UNIT_BYTES);
                assert_eq!(ask.supply.offered_bytes(), 0);
                client = Some(joined);
            },
        )
        .expect("it was granted");
        let client = client.expect("joined");
        assert!(matches!(
            pool.membership(),
            Membership::Joined {
                incarnation: 1,
                pid: 4711
            }
        ));
        assert_eq!(pool.budget_bytes(), 64 * UNIT_BYTES);
        // The slack serves the next one, without a word.
        let second = written(&pool, 8).expect("there is slack");
        assert!(holds(&memory, 7) && holds(&second, 8));
        drop(second);
        if agent == AgentMode::Thread {
            // Nobody needs anything: what is unused goes back by itself, first what was slack
            // or warm, and all of it when nothing is held.
            drop(memory);
            let mut returned = 0;
            while returned < 2 * UNIT_BYTES {
                returned += client.hear_returned();
            }
            assert_eq!(returned, 2 * UNIT_BYTES);
            assert_eq!(pool.stats_now().room_bytes, 0);
        }
    }
}

#[test]
fn what_is_lacking_is_taken_from_the_own_memory_as_far_as_licensed() {
    let manager = Manager::listen();
    let pool = pool(&manager);
    let (client, offered) = joined_with_offered(&manager, &pool, 2);
    // Of two units that are needed one comes from others, one from here.
    let more = meanwhile(
        || [written(&pool, 3), written(&pool, 4)],
        || {
            let ask = client.grant(UNIT_BYTES, UNIT_BYTES);
            assert_eq!(ask.supply.class_bytes(1), 2 * UNIT_BYTES);
        },
    );
    assert!(more.iter().all(Result::is_ok), "{more:?}");
    let outcomes: Vec<bool> = offered
        .into_iter()
        .map(|offered| match meanwhile_reclaim(&client, offered) {
            Reclaimed::Intact(memory) => holds(&memory, 1),
            Reclaimed::Discarded(_) => false,
        })
        .collect();
    assert_eq!(outcomes.iter().filter(|intact| **intact).count(), 1);
    let discards = pool.discards(10);
    assert_eq!(discards.len(), 1);
    assert_eq!((discards[0].reason, discards[0].order), (Reason::Budget, 0));
}

/// Reclaims; a request that comes of it is granted.
fn meanwhile_reclaim(client: &manager::Client, offered: vidmm::Offered) -> Reclaimed {
    thread::scope(|scope| {
        let reclaimed = scope.spawn(|| offered.reclaim().expect("granted"));
        while !reclaimed.is_finished() {
            if let Some(ToManager::Ask(ask)) = client.hear_within(Duration::from_millis(5)) {
                client.say(&ToClient::Credit(vidmm_wire::Credit {
                    request: ask.request,
                    granted_bytes: ask.bytes,
                    own_bytes: 0,
                    own_ms: 0,
                }));
            }
        }
        reclaimed.join().expect("no panic")
    })
}

/// A pool with `count` units offered NORMAL, all granted.
fn joined_with_offered(
    manager: &Manager,
    pool: &Pool,
    count: u64,
) -> (manager::Client, Vec<vidmm::Offered>) {
    let mut client = None;
    let made = meanwhile(
        || (0..count).map(|_| written(pool, 1)).collect::<Vec<_>>(),
        || {
            let (joined, _) = manager.welcome(64 * UNIT_BYTES);
            joined.grant(count * UNIT_BYTES, 0);
            client = Some(joined);
        },
    );
    let offered = made
        .into_iter()
        .map(|memory| memory.expect("granted").offer(Class::Normal))
        .collect();
    (client.expect("joined"), offered)
}

#[test]
fn a_refusal_is_no_memory_and_costs_nothing() {
    let manager = Manager::listen();
    let pool = pool(&manager);
    let (client, offered) = joined_with_offered(&manager, &pool, 1);
    let refused = meanwhile(
        || written(&pool, 2).map(drop),
        || {
            let ask = client.hear_ask();
            client.say(&ToClient::NoCredit(NoCredit {
                request: ask.request,
                why: WhyNot::Short,
            }));
        },
    );
    assert!(
        matches!(refused, Err(Error::NoMemory { .. })),
        "{refused:?}"
    );
    for offered in offered {
        let Ok(Reclaimed::Intact(memory)) = offered.reclaim() else {
            panic!("nothing had to go");
        };
        assert!(holds(&memory, 1));
    }
}

#[test]
fn an_order_takes_what_it_names_and_is_explained() {
    let manager = Manager::listen();
    let pool = pool(&manager);
    let (client, mut offered) = joined_with_offered(&manager, &pool, 4);
    let high = match offered.pop().expect("four").reclaim() {
        Ok(Reclaimed::Intact(memory)) => memory.offer(Class::High),
        other => panic!("{other:?}"),
    };
    let told = client.poll(5);
    assert_eq!(told.figures.held_bytes, 4 * UNIT_BYTES);
    assert_eq!(told.figures.offered[1].bytes, 3 * UNIT_BYTES);
    assert_eq!(told.supply.class_bytes(1), 3 * UNIT_BYTES);
    assert_eq!(told.supply.class_bytes(2), UNIT_BYTES);
    // More than the thresholds allow: what they allow goes, and nothing else is owed.
    client.order(
        4 * UNIT_BYTES,
        [Threshold::All, Threshold::All, Threshold::Nothing],
        false,
    );
    let answer = client.hear_answer();
    assert_eq!(answer.order, 77);
    assert_eq!(answer.returned_bytes, 3 * UNIT_BYTES);
    assert_eq!(answer.discarded_bytes, [0, 3 * UNIT_BYTES, 0]);
    assert_eq!(answer.discards, 3);
    assert_eq!(pool.stats_now().room_bytes, 0, "what went is others' now");
    assert_eq!(
        pool.resident().expect("the kernel tells").rss_bytes,
        UNIT_BYTES
    );
    let why = pool.discards(10);
    assert!(
        why.iter()
            .all(|discard| (discard.order, discard.beneficiary_pid) == (77, 4712))
    );
    assert_eq!(client.poll(6).discards.len(), 3);
    assert!(matches!(high.reclaim(), Ok(Reclaimed::Intact(_))));
}

#[test]
fn a_threshold_spares_what_was_touched_since() {
    let manager = Manager::listen();
    let pool = pool(&manager);
    let (client, mut offered) = joined_with_offered(&manager, &pool, 4);
    let told = client.poll(1);
    let rank = told.supply.classes[1]
        .last()
        .expect("four are offered")
        .rank;
    let touched: Vec<_> = offered
        .split_off(2)
        .into_iter()
        .map(|offered| match offered.reclaim() {
            Ok(Reclaimed::Intact(memory)) => memory,
            other => panic!("{other:?}"),
        })
        .collect();
    // The clock moves on, so that what is touched is no longer as new as it was.
    let more = meanwhile(
        || (0..3).map(|_| written(&pool, 2)).collect::<Vec<_>>(),
        || {
            client.grant(3 * UNIT_BYTES, 0);
        },
    );
    let touched: Vec<_> = touched
        .into_iter()
        .map(|memory| memory.offer(Class::Normal))
        .collect();
    drop(more);
    client.order_as_of(
        told.supply.as_of,
        7 * UNIT_BYTES,
        [
            Threshold::Nothing,
            Threshold::UpTo(rank),
            Threshold::Nothing,
        ],
        false,
    );
    // Three units are in nobody's use any more; two were offered when the supply was told.
    assert_eq!(client.hear_answer().returned_bytes, 5 * UNIT_BYTES);
    for offered in touched {
        assert!(matches!(offered.reclaim(), Ok(Reclaimed::Intact(_))));
    }
}

#[test]
fn a_standing_order_is_a_debt_that_is_paid_as_memory_comes_free() {
    let manager = Manager::listen();
    let pool = pool(&manager);
    let mut client = None;
    let memory = meanwhile(
        || written(&pool, 1).expect("granted"),
        || {
            let (joined, _) = manager.welcome(64 * UNIT_BYTES);
            joined.grant(2 * UNIT_BYTES, 0);
            client = Some(joined);
        },
    );
    let client = client.expect("joined");
    client.order(2 * UNIT_BYTES, [Threshold::All; 3], true);
    assert_eq!(
        client.hear_answer().returned_bytes,
        UNIT_BYTES,
        "the unused part"
    );
    assert_eq!(
        pool.stats_now().room_bytes,
        -i64::try_from(UNIT_BYTES).unwrap()
    );
    assert!(holds(&memory, 1), "what is in use stays");
    drop(memory);
    assert_eq!(client.hear_returned(), UNIT_BYTES);
    assert_eq!(pool.stats_now().room_bytes, 0);
}

#[test]
fn a_manager_that_hangs_costs_one_deadline() {
    // From the start: then the budget is the pool's own.
    let manager = Manager::listen();
    let pool = pool(&manager);
    let began = Instant::now();
    let memory: Vec<_> = (0..OWN_UNITS).map(|_| written(&pool, 1)).collect();
    assert!(memory.iter().all(Result::is_ok), "{memory:?}");
    let took = began.elapsed();
    assert!((1..2).contains(&took.as_secs()), "one second, not {took:?}");
    assert!(matches!(pool.allocate(UNIT), Err(Error::NoMemory { .. })));
    // It wakes up: what is held is what it grants.
    let (client, join) = manager.accept();
    assert_eq!(join.held_bytes, 0, "when it was said");
    client.receive_as(9, 0, 64 * UNIT_BYTES);
    let ask = client.grant(OWN_UNITS * UNIT_BYTES, 0);
    assert_eq!(ask.bytes, OWN_UNITS * UNIT_BYTES, "the debt");
    drop(memory);

    // Later: then what was granted stays, and the own offered memory is all there is.
    let manager = Manager::listen();
    let pool = self::pool(&manager);
    let (_client, mut offered) = joined_with_offered(&manager, &pool, 2);
    let kept = offered.pop();
    let began = Instant::now();
    assert!(written(&pool, 2).is_ok(), "one offered unit goes");
    let first = began.elapsed();
    assert!(
        (1..2).contains(&first.as_secs()),
        "one second, not {first:?}"
    );
    drop(kept);
    let began = Instant::now();
    let _ = written(&pool, 2);
    assert!(began.elapsed() < Duration::from_millis(500), "and no other");
}

#[test]
fn with_no_manager_the_budget_is_the_own_one_and_one_that_appears_is_joined() {
    let dead = Manager::listen().die();
    let manager = dead.restart();
    let pool = pool(&manager);
    let dead = manager.die();
    let memory = written(&pool, 5).expect("the own budget");
    assert_eq!(pool.membership(), Membership::Alone);
    let manager = dead.restart();
    let (client, join) = manager.welcome(64 * UNIT_BYTES);
    assert_eq!(join.held_bytes, UNIT_BYTES, "it says what it holds");
    let more = meanwhile(
        || written(&pool, 6),
        || {
            assert_eq!(client.grant(UNIT_BYTES, 0).bytes, UNIT_BYTES);
        },
    );
    assert!(more.is_ok() && holds(&memory, 5));
}

#[test]
fn a_manager_that_dies_leaves_the_grant_and_another_one_hears_of_it() {
    let manager = Manager::listen();
    let pool = pool(&manager);
    let (client, offered) = joined_with_offered(&manager, &pool, 2);
    let dead = manager.die();
    // Credit that comes with the end of the connection is not heeded, or is reported: never lost.
    drop(client);
    let until = Instant::now() + PATIENCE;
    while pool.membership() != Membership::Apart {
        assert!(Instant::now() < until, "{:?}", pool.membership());
        thread::yield_now();
    }
    let taken = [written(&pool, 9), written(&pool, 9)];
    assert!(
        taken.iter().all(Result::is_ok),
        "the own offered memory is there: {taken:?}"
    );
    let manager = dead.restart();
    let (client, join) = manager.accept();
    assert_eq!((join.held_bytes, join.incarnation), (2 * UNIT_BYTES, 1));
    client.receive_as(2, join.held_bytes, 64 * UNIT_BYTES);
    let more = meanwhile(
        || pool.allocate(UNIT).map(drop),
        || {
            client.grant(UNIT_BYTES, 0);
        },
    );
    assert!(more.is_ok(), "{more:?}");
    drop(offered);
}

#[test]
fn garbage_from_a_manager_ends_the_connection_and_nothing_else() {
    let manager = Manager::listen();
    let pool = pool(&manager);
    let (client, offered) = joined_with_offered(&manager, &pool, 1);
    client.send_bytes(&[0xFF; 100]);
    assert!(client.is_gone());
    let (_again, join) = manager.accept();
    assert_eq!(join.held_bytes, UNIT_BYTES);
    for offered in offered {
        assert!(matches!(offered.reclaim(), Ok(Reclaimed::Intact(_))));
    }
}

#[test]
fn a_version_that_is_not_served_is_told_and_the_budget_is_the_own_one() {
    let manager = Manager::listen();
    let pool = pool(&manager);
    let memory = meanwhile(
        || written(&pool, 1),
        || {
            let (client, _) = manager.accept();
            let mut refusal = b"vidmm\0".to_vec();
            refusal.extend([8, 0, 9, 0, 0xFF, 0xFF]);
            client.send_bytes(&refusal);
        },
    );
    assert!(memory.is_ok(), "{memory:?}");
    let refusal = pool.manager_refusal().expect("it is known why");
    assert!(refusal.contains("8 to 9"), "{refusal}");
}

#[test]
fn without_a_manager_shared_mode_has_no_memory() {
    let manager = Manager::listen();
    let pool = pool_of(&manager, JoinMode::Shared, AgentMode::Thread);
    let dead = manager.die();
    let refused = pool.allocate(UNIT).map(drop);
    assert!(matches!(refused, Err(Error::NoManager)), "{refused:?}");
    let manager = dead.restart();
    let mut client = None;
    let granted = meanwhile(
        || pool.allocate(UNIT).map(drop),
        || {
            let (joined, _) = manager.welcome(64 * UNIT_BYTES);
            joined.grant(UNIT_BYTES, 0);
            client = Some(joined);
        },
    );
    assert!(granted.is_ok(), "{granted:?}");
}

#[test]
fn notices_come_by_callback_and_by_descriptor() {
    let manager = Manager::listen();
    let pool = pool(&manager);
    let (client, offered) = joined_with_offered(&manager, &pool, 1);
    let (sender, notices) = channel();
    let id = pool
        .subscribe(move |notice| sender.send(notice).expect("somebody listens"))
        .expect("an agent");
    let readable = pool.notice_fd().expect("a descriptor");
    client.say(&ToClient::Notice(vidmm_wire::Notice::Budget {
        budget_bytes: 5 * UNIT_BYTES,
        reservation_bytes: 1,
        available_for_reservation_bytes: 2,
        whole_bytes: 64 * UNIT_BYTES,
    }));
    let budget = Notice::BudgetChanged {
        budget_bytes: 5 * UNIT_BYTES,
    };
    assert_eq!(notices.recv_timeout(PATIENCE), Ok(budget));
    assert_eq!(pool.reservation_bytes(), (1, 2));
    client.say(&ToClient::Notice(vidmm_wire::Notice::Trim { bytes: 3 }));
    assert_eq!(
        notices.recv_timeout(PATIENCE),
        Ok(Notice::PleaseTrim { bytes: 3 })
    );
    let mut ready = [rustix::event::PollFd::new(
        &readable,
        rustix::event::PollFlags::IN,
    )];
    assert_eq!(rustix::event::poll(&mut ready, None), Ok(1));
    assert_eq!(
        pool.take_notices(),
        [budget, Notice::PleaseTrim { bytes: 3 }]
    );
    assert_eq!(pool.take_notices(), []);
    assert!(pool.unsubscribe(id) && !pool.unsubscribe(id));
    assert!(notices.recv().is_err(), "the callback is gone");
    assert!(pool.set_reservation_bytes(2).is_ok());
    assert_eq!(client.hear(), ToManager::Reserve { bytes: 2 });
    assert!(matches!(
        pool.set_reservation_bytes(3),
        Err(Error::BadReservation {
            available_bytes: 2,
            ..
        })
    ));
    drop(offered);
}

#[test]
fn a_cap_of_the_programs_own_holds_and_what_is_above_it_goes_back() {
    let manager = Manager::listen();
    let pool = pool(&manager);
    let (client, offered) = joined_with_offered(&manager, &pool, 3);
    pool.set_budget_bytes(2 * UNIT_BYTES).expect("a cap");
    assert_eq!(client.hear_returned(), UNIT_BYTES);
    assert_eq!(pool.budget_bytes(), 2 * UNIT_BYTES);
    // At the cap nobody is asked: the own memory has to do.
    assert!(written(&pool, 1).is_ok());
    assert!(matches!(
        pool.allocate(3 * UNIT),
        Err(Error::NoMemory { .. })
    ));
    drop(offered);
}

#[test]
fn a_callback_may_need_memory() {
    let manager = Manager::listen();
    let pool = pool(&manager);
    let (client, offered) = joined_with_offered(&manager, &pool, 1);
    let (sender, outcomes) = channel();
    let same_pool = pool.clone();
    pool.subscribe(move |_| {
        let outcome = written(&same_pool, 6).map(|memory| holds(&memory, 6));
        sender.send(outcome).expect("somebody listens");
    })
    .expect("an agent");
    client.say(&ToClient::Notice(vidmm_wire::Notice::Trim { bytes: 1 }));
    client.grant(UNIT_BYTES, 0);
    assert_eq!(
        outcomes.recv_timeout(PATIENCE).expect("it is called"),
        Ok(true)
    );
    drop(offered);
}

#[test]
fn what_cannot_be_said_is_said_by_joining_again() {
    let manager = Manager::listen();
    let pool = pool(&manager);
    let (client, offered) = joined_with_offered(&manager, &pool, 2);
    // It asks and does not listen, until no more can be said.
    let asking = thread::spawn(move || {
        for number in 1.. {
            if !client.try_poll(number) {
                return;
            }
        }
    });
    let (again, join) = manager.accept();
    assert_eq!(
        join.held_bytes,
        2 * UNIT_BYTES,
        "nothing is lost of what counts"
    );
    again.receive_as(1, join.held_bytes, 64 * UNIT_BYTES);
    assert_eq!(again.poll(1).figures.held_bytes, 2 * UNIT_BYTES);
    asking.join().expect("no panic");
    for offered in offered {
        assert!(matches!(offered.reclaim(), Ok(Reclaimed::Intact(_))));
    }
}

#[test]
fn a_trim_is_of_memory_not_of_credit() {
    let manager = Manager::listen();
    let pool = pool(&manager);
    let mut client = None;
    let memory = meanwhile(
        || written(&pool, 1).expect("granted"),
        || {
            let (joined, _) = manager.welcome(64 * UNIT_BYTES);
            joined.grant(3 * UNIT_BYTES, 0);
            client = Some(joined);
        },
    );
    let client = client.expect("joined");
    let supply = client.poll(1).supply;
    assert_eq!(
        (supply.unused_bytes, supply.warm_bytes),
        (2 * UNIT_BYTES, 0)
    );
    client.trim(UNIT_BYTES);
    assert_eq!(
        client.hear_answer().returned_bytes,
        0,
        "all memory is in use"
    );
    drop(memory);
    assert_eq!(client.poll(2).supply.warm_bytes, UNIT_BYTES);
    client.trim(3 * UNIT_BYTES);
    assert_eq!(client.hear_answer().returned_bytes, UNIT_BYTES);
    assert_eq!(pool.resident().expect("the kernel tells").rss_bytes, 0);
    assert_eq!(
        pool.stats_now().room_bytes,
        2 * i64::try_from(UNIT_BYTES).unwrap()
    );
}
