//! Programs of two to four threads, each with allocations of its own, on shared ones beside them.

use std::sync::Barrier;
use std::thread;

use proptest::collection::vec;
use proptest::prelude::*;
use vidmm::{Allocation, Class, Error, Outcome, Pool, PressureMode};
use vidmm_contract::Pattern;

use crate::together::{Shared, check, check_nothing_is_left, write};

const SHARED: usize = 6;

/// What a thread does next, with which of its own or of the shared ones.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    Create(usize),
    Offer(usize, Class),
    Reclaim(usize),
    Destroy(usize),
    SharedOffer(usize, Class),
    SharedReclaim(usize),
    /// As a list that names it twice.
    SharedReclaimTwice(usize),
    SharedRead(usize),
    SharedRewrite(usize),
    Trim(u64),
}

pub(crate) fn programs() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let class = || {
        prop_oneof![
            Just(Class::Low),
            Just(Class::Normal),
            Just(Class::High),
            Just(Class::Auto)
        ]
    };
    let which = any::<usize>;
    let step = prop_oneof![
        3 => (1_usize..40_000).prop_map(Step::Create),
        4 => (which(), class()).prop_map(|(own, class)| Step::Offer(own, class)),
        4 => which().prop_map(Step::Reclaim),
        1 => which().prop_map(Step::Destroy),
        4 => (which(), class()).prop_map(|(one, class)| Step::SharedOffer(one, class)),
        4 => which().prop_map(Step::SharedReclaim),
        1 => which().prop_map(Step::SharedReclaimTwice),
        2 => which().prop_map(Step::SharedRead),
        2 => which().prop_map(Step::SharedRewrite),
        1 => (0_u64..40_000).prop_map(Step::Trim),
    ];
    vec(vec(step, 20..300), 2..5)
}

/// A thread's own allocation.
struct Own {
    allocation: Allocation,
    content: Pattern,
    offered: bool,
}

pub(crate) fn run(programs: &[Vec<Step>]) {
    let pool = Pool::builder()
        .pressure(PressureMode::Off)
        .budget_bytes(192 << 10)
        .build()
        .unwrap();
    let shared: Vec<Shared> = (0..SHARED)
        .map(|number| Shared::new(&pool, 5000 * (number + 1)))
        .collect();
    let start = Barrier::new(programs.len());
    thread::scope(|scope| {
        for program in programs {
            let (pool, shared, start) = (&pool, &shared, &start);
            scope.spawn(move || {
                let mut own = Vec::new();
                start.wait();
                for &step in program {
                    take(pool, shared, &mut own, step);
                }
                own.iter().filter(|one| !one.offered).for_each(|one| {
                    check(&one.allocation, one.content);
                });
            });
        }
    });
    assert!(pool.resident().unwrap().total_bytes() <= 192 << 10);
    shared.iter().for_each(Shared::read);
    drop(shared);
    check_nothing_is_left(&pool);
}

fn take(pool: &Pool, shared: &[Shared], own: &mut Vec<Own>, step: Step) {
    match step {
        Step::Create(size) => match pool.options().allocate_shared(size) {
            Ok(mut allocation) => {
                assert!(allocation.lock().unwrap().iter().all(|&byte| byte == 0));
                own.push(Own {
                    content: write(&mut allocation),
                    allocation,
                    offered: false,
                });
            }
            Err(Error::NoMemory { .. }) => own.clear(),
            Err(other) => panic!("{other}"),
        },
        Step::SharedOffer(one, class) => shared[one % SHARED].offer(class),
        Step::SharedReclaim(one) => {
            shared[one % SHARED].reclaim();
            shared[one % SHARED].read();
        }
        Step::SharedReclaimTwice(one) => {
            shared[one % SHARED].reclaim_by(|allocation| twice(pool, allocation));
        }
        Step::SharedRead(one) => shared[one % SHARED].read(),
        Step::SharedRewrite(one) => shared[one % SHARED].rewrite(),
        Step::Trim(bytes) => drop(pool.trim(bytes).unwrap()),
        Step::Offer(..) | Step::Reclaim(_) | Step::Destroy(_) if own.is_empty() => {}
        Step::Offer(which, class) => {
            let place = which % own.len();
            own[place].allocation.offer(class).unwrap();
            own[place].offered = true;
        }
        Step::Reclaim(which) => {
            let place = which % own.len();
            reclaim(&mut own[place]);
        }
        Step::Destroy(which) => drop(own.swap_remove(which % own.len())),
    }
}

fn twice(pool: &Pool, allocation: &Allocation) -> Result<Outcome, Error> {
    let mut outcomes = [Outcome::NotCommitted; 2];
    match pool.reclaim_list(&[allocation, allocation], &mut outcomes) {
        Ok(()) => {
            assert_eq!(outcomes[0], outcomes[1], "one claim, two answers");
            Ok(outcomes[0])
        }
        Err(refusal) => Err(refusal.error),
    }
}

fn reclaim(one: &mut Own) {
    match one.allocation.reclaim() {
        Ok(Outcome::Intact) => check(&one.allocation, one.content),
        Ok(_) => {
            assert!(one.offered, "lost, and never offered");
            one.content = write(&mut one.allocation);
        }
        Err(Error::NoMemory { .. }) => {
            assert!(one.offered);
            return;
        }
        Err(other) => panic!("{other}"),
    }
    one.offered = false;
}
