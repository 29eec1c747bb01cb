//! Many small worlds, each from a seed. See `world`: everything that must hold is checked after
//! every event. A seed that fails is replayed by its number.

mod world;

use world::client::Kind::{Honest, Liar, Slow};
use world::{Counts, Plan, World};

const CALM: Plan = Plan {
    clients: 6,
    kinds: [Honest; 3],
    steps: 1500,
    restarts: false,
    deaths: false,
    stops: false,
    ledger_faults: false,
    operators: false,
    caps: false,
};

fn run(plan: Plan, seeds: std::ops::Range<u64>) -> Counts {
    let mut all = Counts::default();
    for seed in seeds {
        let counts = std::panic::catch_unwind(|| {
            let mut world = World::new(seed, plan);
            world.run();
            quiet(&mut world);
            if plan == CALM {
                world.newcomer_is_served();
                quiet(&mut world);
            }
            world.counts
        });
        let counts = counts.unwrap_or_else(|_| panic!("seed {seed} of {plan:?}"));
        all.grants += counts.grants;
        all.own += counts.own;
        all.refusals += counts.refusals;
        all.orders += counts.orders;
        all.unrecorded += counts.unrecorded;
        all.restarts += counts.restarts;
        all.deaths += counts.deaths;
        all.rejoins += counts.rejoins;
        all.over_budget += counts.over_budget;
        all.unresponsive += counts.unresponsive;
        all.operated += counts.operated;
        all.waited += counts.waited;
    }
    all
}

/// When nothing happens any more, the manager waits for nothing.
fn quiet(world: &mut World) {
    for client in &mut world.clients {
        client.stopped_until = 0;
    }
    world.rest(3000);
    assert_eq!(world.manager.deadline(), None, "{:?}", world.manager);
    assert_eq!(
        world
            .manager
            .summary(vidmm_manager::Millis(world.now))
            .waiting,
        0
    );
}

#[test]
fn honest_clients_share() {
    let counts = run(CALM, 0..60);
    assert!(counts.grants > 1000 && counts.own > 100, "{counts:?}");
    assert!(counts.orders > 1000 && counts.waited > 500, "{counts:?}");
}

#[test]
fn processes_die_stop_and_come_back() {
    let plan = Plan {
        kinds: [Honest, Honest, Slow],
        deaths: true,
        stops: true,
        restarts: true,
        ..CALM
    };
    let counts = run(plan, 1000..1060);
    assert!(counts.deaths > 50 && counts.rejoins > 50, "{counts:?}");
    assert!(
        counts.restarts > 10 && counts.unresponsive > 100,
        "{counts:?}"
    );
    assert!(counts.over_budget > 0, "{counts:?}");
}

#[test]
fn a_ledger_that_fails_and_operators_that_meddle() {
    let plan = Plan {
        kinds: [Honest, Honest, Slow],
        deaths: true,
        restarts: true,
        ledger_faults: true,
        operators: true,
        caps: true,
        ..CALM
    };
    let counts = run(plan, 2000..2060);
    assert!(
        counts.unrecorded > 50 && counts.operated > 300,
        "{counts:?}"
    );
}

#[test]
fn liars_take_nothing_from_anybody() {
    let plan = Plan {
        kinds: [Honest, Liar, Slow],
        deaths: true,
        stops: true,
        restarts: true,
        ledger_faults: true,
        operators: true,
        caps: true,
        ..CALM
    };
    let counts = run(plan, 3000..3060);
    assert!(
        counts.grants > 200 && counts.unresponsive > 100,
        "{counts:?}"
    );
}

#[test]
fn the_same_events_give_the_same_actions() {
    let plan = Plan {
        kinds: [Honest, Liar, Slow],
        deaths: true,
        restarts: true,
        operators: true,
        ..CALM
    };
    let digest = |seed| {
        let mut world = World::new(seed, plan);
        world.run();
        world.digest
    };
    assert_eq!(digest(1), digest(1));
    assert_ne!(digest(1), digest(2));
}
