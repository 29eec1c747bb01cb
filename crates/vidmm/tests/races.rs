//! Reclaim, destroy and lock against threads that need room, for real: budgets so small that there
//! is always somebody who takes what another has just offered.
//!
//! `VIDMM_RACE_OPERATIONS` says how many operations each thread does.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod together;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Barrier, RwLock};
use std::thread;

use together::{Random, Shared, check, check_nothing_is_left, operations, write};
use vidmm::{Allocation, Class, Error, Group, Outcome, Pool, PressureMode, State};
use vidmm_contract::Pattern;

const KIB: u64 = 1024;
const THREADS: u64 = 4;

fn pool(budget_bytes: u64) -> Pool {
    let builder = Pool::builder().pressure(PressureMode::Off);
    builder.budget_bytes(budget_bytes).build().unwrap()
}

fn each() -> u64 {
    operations("VIDMM_RACE_OPERATIONS", 20_000)
}

/// Runs one body per thread, all begun at once; they get a number and random numbers of their own.
fn in_threads(count: u64, body: impl Fn(u64, &mut Random) + Sync) {
    let start = Barrier::new(usize::try_from(count).unwrap());
    thread::scope(|scope| {
        for number in 0..count {
            let (start, body) = (&start, &body);
            scope.spawn(move || {
                start.wait();
                body(number, &mut Random::new(number + 1));
            });
        }
    });
}

/// Tells the threads beside a test that it is over, also when it fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn resident_bytes(pool: &Pool) -> u64 {
    pool.resident().unwrap().total_bytes()
}

/// A thread's own allocation and what it knows of it.
struct Own {
    allocation: Allocation,
    content: Pattern,
    offered: bool,
}

/// There is no memory for this thread: it lets the others have its own.
fn offer_all(own: &mut [Own]) {
    for one in own {
        one.allocation.offer(Class::Low).unwrap();
        one.offered = true;
    }
}

/// One step of a thread with its own allocations.
fn step(pool: &Pool, own: &mut Vec<Own>, random: &mut Random, intact: &AtomicU64) {
    let choice = random.below(8);
    if own.is_empty() || (choice == 0 && own.len() < 16) {
        let options = match random.below(2) {
            0 => pool.options(),
            _ => pool.options().allow_not_zeroed(),
        };
        match options.allocate_shared(random.size()) {
            Ok(mut allocation) => own.push(Own {
                content: write(&mut allocation),
                allocation,
                offered: false,
            }),
            Err(Error::NoMemory { .. }) => offer_all(own),
            Err(other) => panic!("{other}"),
        }
        return;
    }
    let place = random.below(own.len());
    let one = &mut own[place];
    match choice {
        1 => drop(own.swap_remove(place)),
        2..5 => {
            one.allocation.offer(random.class()).unwrap();
            one.offered = true;
        }
        _ if !one.offered => check(&one.allocation, one.content),
        _ => match one.allocation.reclaim() {
            Ok(Outcome::Intact) => {
                one.offered = false;
                intact.fetch_add(1, Ordering::Relaxed);
                check(&one.allocation, one.content);
            }
            Ok(_) => {
                one.offered = false;
                one.content = write(&mut one.allocation);
            }
            Err(Error::NoMemory { .. }) => assert_eq!(one.allocation.state(), State::Discarded),
            Err(other) => panic!("{other}"),
        },
    }
}

#[test]
fn own_allocations_under_a_tiny_budget() {
    const BUDGET: u64 = 256 * KIB;
    /// Samples taken beside the others are not of one instant: pages that moved while the kernel
    /// looked count twice. An excess that lasts is none of these.
    const LASTING: u32 = 50;
    let pool = pool(BUDGET);
    // Held shared by whoever does a step, alone by whoever wants to see all at one instant.
    let steps = RwLock::new(());
    let done = AtomicBool::new(false);
    let intact = AtomicU64::new(0);
    thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let mut above = 0;
            let mut samples = 0_u64;
            while !done.load(Ordering::Relaxed) {
                let is_above = resident_bytes(&pool) > BUDGET;
                above = if is_above { above + 1 } else { 0 };
                assert!(
                    above < LASTING,
                    "above the budget in {above} samples in a row"
                );
                samples += 1;
                thread::yield_now();
            }
            samples
        });
        let over = Over(&done);
        in_threads(THREADS, |number, random| {
            let mut own = Vec::new();
            for count in 0..each() {
                {
                    let _one = steps.read().unwrap();
                    step(&pool, &mut own, random, &intact);
                }
                if number == 0 && count % 128 == 0 {
                    let _all = steps.write().unwrap();
                    let resident = resident_bytes(&pool);
                    assert!(resident <= BUDGET, "{resident} in all at one instant");
                }
            }
        });
        drop(over);
        assert!(sampler.join().unwrap() > 0);
    });
    let stats = pool.stats_now();
    assert!(
        stats.discards_total() > each() / 20 && intact.into_inner() > each() / 20,
        "{stats:?}"
    );
    check_nothing_is_left(&pool);
}

#[test]
fn shared_allocations_under_a_tiny_budget() {
    const COUNT: usize = 12;
    let pool = pool(8 * 16 * KIB);
    let shared: Vec<Shared> = (0..COUNT)
        .map(|number| {
            let one = Shared::new(&pool, (1 + number % 3) * 8 * 1024 - number);
            one.offer(Class::Normal);
            one
        })
        .collect();
    let answers: [AtomicU64; 3] = Default::default();
    in_threads(THREADS, |_, random| {
        for _ in 0..each() {
            let one = &shared[random.below(COUNT)];
            match random.below(8) {
                0..3 => one.offer(random.class()),
                3..6 => {
                    let answer = one.reclaim();
                    let place = answer.map_or(2, |outcome| outcome as usize);
                    answers[place].fetch_add(1, Ordering::Relaxed);
                    one.read();
                }
                6 => one.read(),
                _ => one.rewrite(),
            }
        }
    });
    let answers = answers.map(AtomicU64::into_inner);
    assert!(answers[0] > 100 && answers[1] > 100, "{answers:?}");
    drop(shared);
    check_nothing_is_left(&pool);
}

/// One thread's allocations are named, beside one that can never be supplied, in lists of another
/// thread. Those calls reclaim and fail, so they offer again - but never what its owner has
/// reclaimed meanwhile.
#[test]
fn a_failing_list_never_takes_back_what_another_call_reclaimed() {
    const COUNT: usize = 6;
    let pool = pool(16 * 16 * KIB);
    let mut beyond = pool.options().allocate_shared(12 << 14).unwrap();
    write(&mut beyond);
    beyond.offer(Class::Low).unwrap();
    pool.trim(u64::MAX).unwrap();
    // From here on eleven units can be had at most, and it is twelve.
    let firm: Vec<Allocation> = (0..5)
        .map(|_| pool.options().allocate_shared(16 << 10).unwrap())
        .collect();
    let owned: Vec<RwLock<Allocation>> = (0..COUNT)
        .map(|_| RwLock::new(pool.options().allocate_shared(16 << 10).unwrap()))
        .collect();
    let done = AtomicBool::new(false);
    let refused = AtomicUsize::new(0);
    let (mut intact, mut lost) = (0, 0);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut outcomes = [Outcome::Intact; COUNT + 1];
                while !done.load(Ordering::Relaxed) {
                    let guards: Vec<_> = owned.iter().map(|one| one.read().unwrap()).collect();
                    let mut list: Vec<&Allocation> = guards.iter().map(|guard| &**guard).collect();
                    list.insert(COUNT / 2, &beyond);
                    let refusal = pool.reclaim_list(&list, &mut outcomes).unwrap_err();
                    assert!(matches!(refusal.error, Error::NoMemory { .. }), "{refusal}");
                    refused.fetch_add(1, Ordering::Relaxed);
                    drop(guards);
                    thread::yield_now();
                }
            });
        }
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                pool.trim(16 << 10).unwrap();
                thread::yield_now();
            }
        });
        let _over = Over(&done);
        let mut random = Random::new(1);
        let mut contents: Vec<Pattern> = owned
            .iter()
            .map(|one| write(&mut one.write().unwrap()))
            .collect();
        for count in 0..100 * each() {
            let met = refused.load(Ordering::Relaxed) > 100 && intact > 100 && lost > 100;
            if met && count >= each() {
                break;
            }
            let place = random.below(COUNT);
            let one = owned[place].read().unwrap();
            one.offer(random.class()).unwrap();
            if random.below(2) == 0 {
                thread::yield_now();
            }
            match one.reclaim().unwrap() {
                Outcome::Intact => {
                    intact += 1;
                    // Committed it is, and stays: only this thread offers.
                    check(&one, contents[place]);
                    assert_eq!(one.state(), State::Committed);
                }
                _ => {
                    lost += 1;
                    drop(one);
                    contents[place] = write(&mut owned[place].write().unwrap());
                }
            }
        }
    });
    let refused = refused.into_inner();
    assert!(
        refused > 100 && intact > 100 && lost > 100,
        "{refused} {intact} {lost}"
    );
    drop((owned, beyond, firm));
    check_nothing_is_left(&pool);
}

#[test]
fn groups_under_a_tiny_budget() {
    const MEMBERS: usize = 4;
    // Two of the four have a place.
    let pool = pool(96 * KIB);
    let intact = AtomicU64::new(0);
    in_threads(THREADS, |_, random| {
        let mut group = Group::new(&pool).unwrap();
        let mut contents = Vec::new();
        for number in 0..MEMBERS {
            // Not all have a place at once; who has none waits for another's offer.
            while let Err(error) = group.add(pool.options(), (number + 1) * 4096) {
                assert!(matches!(error, Error::NoMemory { .. }), "{error}");
                if number > 0 {
                    group.offer(Class::Low).unwrap();
                }
                thread::yield_now();
            }
            contents.push(None);
        }
        for _ in 0..each() / 4 {
            match random.below(6) {
                0 => group.offer(random.class()).unwrap(),
                1 => {
                    let member = &group.members()[random.below(MEMBERS)];
                    member.offer(random.class()).unwrap();
                }
                2 => drop(pool.trim(random.next() % (16 * KIB)).unwrap()),
                _ => match group.reclaim() {
                    Ok(Outcome::Intact) => {
                        intact.fetch_add(1, Ordering::Relaxed);
                        rewrite_one(&mut group, &mut contents, random);
                    }
                    Ok(_) => contents.fill(None),
                    Err(refusal) => {
                        assert!(matches!(refusal.error, Error::NoMemory { .. }), "{refusal}");
                        thread::yield_now();
                    }
                },
            }
        }
    });
    let discards = pool.stats_now().discards_total();
    let intact = intact.into_inner();
    assert!(intact > 100 && discards > 100, "{intact} {discards}");
    check_nothing_is_left(&pool);
}

/// All members are intact: checks what is known of them, gives one a new content and offers all.
fn rewrite_one(group: &mut Group, contents: &mut [Option<Pattern>], random: &mut Random) {
    for (member, content) in group.members().iter().zip(&*contents) {
        if let Some(content) = content {
            check(member, *content);
        }
    }
    let place = random.below(contents.len());
    contents[place] = Some(write(group.member_mut(place).unwrap()));
    group.offer(random.class()).unwrap();
}

/// Budgets that come and go beside everything else: contents and the books stay right.
/// A debt is paid once, whoever notices it: the thread that cut the budget, another one that cuts it to
/// the same, or the agent.
#[test]
fn a_debt_is_not_paid_twice() {
    const UNIT: u64 = 4 * KIB;
    const UNITS: u64 = 64;
    let pool = pool(UNITS * UNIT);
    let len_bytes = usize::try_from(UNIT).unwrap();
    let mut tiles: Vec<Allocation> = (0..UNITS)
        .map(|_| pool.options().allocate_shared(len_bytes).unwrap())
        .collect();
    let mut outcomes = vec![Outcome::Intact; tiles.len()];
    for round in 0..each() / 20 {
        for tile in &mut tiles {
            write(tile);
        }
        pool.offer_list(&tiles, Class::Normal).unwrap();
        in_threads(2, |_, _| pool.set_budget_bytes((UNITS - 2) * UNIT).unwrap());
        pool.set_budget_bytes(UNITS * UNIT).unwrap();
        pool.reclaim_list(&tiles, &mut outcomes).unwrap();
        let lost = outcomes.iter().filter(|&&o| o == Outcome::Discarded);
        assert_eq!(lost.count(), 2, "round {round}");
    }
}

#[test]
fn the_budget_moves_under_everybody() {
    const BUDGET: u64 = 512 * KIB;
    let pool = pool(BUDGET);
    let done = AtomicBool::new(false);
    let intact = AtomicU64::new(0);
    let steps = AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = Random::new(99);
            let mut next = 0;
            while !done.load(Ordering::Relaxed) {
                // A budget lasts for some steps of the others.
                if steps.load(Ordering::Relaxed) >= next {
                    next = steps.load(Ordering::Relaxed) + 1 + random.next() % 50;
                    let share = random.next() % 5;
                    pool.set_budget_bytes(BUDGET * share / 4).unwrap();
                    pool.trim(random.next() % (64 * KIB)).unwrap();
                }
                thread::yield_now();
            }
            pool.set_budget_bytes(BUDGET).unwrap();
        });
        let _over = Over(&done);
        in_threads(THREADS, |_, random| {
            let mut own = Vec::new();
            for _ in 0..each() {
                step(&pool, &mut own, random, &intact);
                steps.fetch_add(1, Ordering::Relaxed);
            }
        });
    });
    assert!(intact.into_inner() > 100);
    check_nothing_is_left(&pool);
}
