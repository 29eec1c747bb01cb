//! What subscribers are told, and what not: a host that runs the agent itself says when.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};

use vidmm_machine::BudgetSpec;
use vidmm_pool::{
    AgentMode, Class, JoinMode, LinuxKernel, Notice, Pool, PoolOptions, PressureMode, Request,
    SubscriptionId,
};

const MIB: u64 = 1 << 20;

fn pool() -> Arc<Pool> {
    let mut options = PoolOptions {
        budget: BudgetSpec::Bytes(64 * MIB),
        agent: AgentMode::Host,
        pressure: PressureMode::Off,
        ..PoolOptions::default()
    };
    options.join.mode = JoinMode::Embedded;
    Pool::new(LinuxKernel, options).unwrap()
}

/// What subscribers were told, in order, each with its name.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<(&'static str, Notice)>>>);

impl Told {
    fn subscribe(&self, pool: &Pool, name: &'static str) -> SubscriptionId {
        let told = self.0.clone();
        pool.subscribe(move |notice| told.lock().unwrap().push((name, notice)))
            .unwrap()
    }

    fn take(&self) -> Vec<(&'static str, Notice)> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn budget(bytes: u64) -> Notice {
    Notice::BudgetChanged {
        budget_bytes: bytes,
    }
}

#[test]
fn nobody_is_told_what_was_before() {
    let (pool, told) = (pool(), Told::default());
    let first = told.subscribe(&pool, "first");
    pool.set_budget_bytes(10 * MIB).unwrap();
    told.subscribe(&pool, "second");
    pool.agent_run().unwrap();
    assert_eq!(told.take(), [("first", budget(10 * MIB))]);
    // What is not told yet to one that goes is nobody's.
    pool.set_budget_bytes(11 * MIB).unwrap();
    pool.agent_run().unwrap();
    told.take();
    pool.set_budget_bytes(12 * MIB).unwrap();
    assert!(pool.unsubscribe(first));
    assert!(!pool.unsubscribe(first));
    told.subscribe(&pool, "third");
    pool.agent_run().unwrap();
    assert_eq!(told.take(), [("second", budget(12 * MIB))]);
    pool.agent_run().unwrap();
    assert_eq!(told.take(), []);
}

#[test]
fn the_newest_budget_and_the_largest_trim_are_told() {
    let (pool, told) = (pool(), Told::default());
    let handles: Vec<_> = (0..8)
        .map(|_| pool.create(&Request::of_size(MIB)).unwrap())
        .collect();
    told.subscribe(&pool, "one");
    pool.set_budget_bytes(20 * MIB).unwrap();
    pool.set_budget_bytes(3 * MIB).unwrap();
    pool.set_budget_bytes(5 * MIB).unwrap();
    pool.agent_run().unwrap();
    let trim = Notice::PleaseTrim { bytes: 5 * MIB };
    assert_eq!(told.take(), [("one", budget(5 * MIB)), ("one", trim)]);
    // The same budget again is no change, and what is offered suffices for the next.
    pool.set_budget_bytes(5 * MIB).unwrap();
    pool.offer_list(&handles[..6], Class::Low).unwrap();
    pool.set_budget_bytes(2 * MIB).unwrap();
    pool.agent_run().unwrap();
    assert_eq!(told.take(), [("one", budget(2 * MIB))]);
}

#[test]
fn whoever_keeps_changing_the_budget_keeps_nobody_from_being_told() {
    let (pool, told) = (pool(), Told::default());
    let (changed, other) = (Arc::downgrade(&pool), told.clone());
    pool.subscribe(move |notice| {
        let Notice::BudgetChanged { budget_bytes } = notice else {
            return;
        };
        let is_told = !other.0.lock().unwrap().is_empty();
        if !is_told && let Some(pool) = changed.upgrade() {
            pool.set_budget_bytes(budget_bytes + 1).unwrap();
        }
    })
    .unwrap();
    told.subscribe(&pool, "other");
    pool.set_budget_bytes(MIB).unwrap();
    pool.agent_run().unwrap();
    assert_eq!(told.take(), [("other", budget(MIB + 1))]);
}

#[test]
fn one_that_ends_itself_is_told_nothing_more() {
    let (pool, told) = (pool(), Told::default());
    let handle = pool.create(&Request::of_size(MIB)).unwrap();
    let id = Arc::new(Mutex::new(None));
    let (pool_inside, id_inside, told_inside) =
        (Arc::downgrade(&pool), Arc::clone(&id), told.clone());
    let subscribed = pool
        .subscribe(move |notice| {
            told_inside.0.lock().unwrap().push(("own", notice));
            let id = id_inside.lock().unwrap().unwrap();
            assert!(pool_inside.upgrade().unwrap().unsubscribe(id));
        })
        .unwrap();
    *id.lock().unwrap() = Some(subscribed);
    // A changed budget and a trim.
    pool.set_budget_bytes(MIB / 2).unwrap();
    pool.agent_run().unwrap();
    assert_eq!(told.take(), [("own", budget(MIB / 2))]);
    pool.destroy(handle).unwrap();
}
