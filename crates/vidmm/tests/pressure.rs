//! Pressure as a user meets it: ten thousand allocations under one budget, most of them offered,
//! and the budget cut to a half and restored.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use vidmm::{Allocation, Class, Error, Outcome, Pool, PressureMode, State};
use vidmm_contract::Pattern;

const COUNT: usize = 10_000;

const KIB: usize = 1024;

/// Sizes of 4 KiB to 256 KiB; most are small, as such things are.
const SIZES: [usize; 10] = [
    4 * KIB,
    4 * KIB + 1,
    8 * KIB,
    12 * KIB,
    16 * KIB,
    24 * KIB,
    48 * KIB,
    100 * KIB + 17,
    5 * KIB,
    256 * KIB,
];

/// What is kept, and the classes of what is offered.
const CLASSES: [Option<Class>; 8] = [
    None,
    Some(Class::Low),
    Some(Class::Normal),
    Some(Class::High),
    None,
    Some(Class::Low),
    Some(Class::Normal),
    Some(Class::Normal),
];

struct One {
    allocation: Allocation,
    content: Pattern,
    class: Option<Class>,
}

impl One {
    #[track_caller]
    fn check(&self) {
        let bytes = self.allocation.lock().unwrap();
        assert!(self.content.is_in(&bytes), "content {:?}", self.content);
    }

    fn is_lost(&self) -> bool {
        self.allocation.state() == State::Discarded
    }
}

/// Sizes and classes are mixed so that each class has each size.
fn all_of_them(pool: &Pool) -> Vec<One> {
    (0..COUNT)
        .map(|number| {
            let len = SIZES[number % SIZES.len()];
            let content = Pattern(number as u64);
            let mut allocation = pool.options().allocate_shared(len).unwrap();
            content.fill(&mut allocation.lock_mut().unwrap());
            let class = CLASSES[number / SIZES.len() % CLASSES.len()];
            One {
                allocation,
                content,
                class,
            }
        })
        .collect()
}

fn resident_bytes(pool: &Pool) -> u64 {
    pool.resident().unwrap().total_bytes()
}

/// How many of each class are offered now, and how many are lost.
fn census(all: &[One]) -> [(usize, usize); 3] {
    [Class::Low, Class::Normal, Class::High].map(|class| {
        let of_class = || all.iter().filter(|one| one.class == Some(class));
        let count = |state| of_class().filter(move |one| one.allocation.state() == state);
        (
            count(State::Offered).count(),
            count(State::Discarded).count(),
        )
    })
}

/// Nothing of a class went while something of a lower one is left.
#[track_caller]
fn check_order(census: [(usize, usize); 3]) {
    for (class, (_, lost)) in census.iter().enumerate() {
        let lower_left: usize = census[..class].iter().map(|(left, _)| left).sum();
        assert!(
            *lost == 0 || lower_left == 0,
            "(left, lost) by class: {census:?}"
        );
    }
}

#[test]
fn half_the_budget_and_back() {
    let budget_bytes: u64 = (0..COUNT)
        .map(|number| (SIZES[number % SIZES.len()].next_multiple_of(4 * KIB)) as u64)
        .sum();
    let pool = Pool::builder()
        .budget_bytes(budget_bytes)
        .pressure(PressureMode::Off)
        .build()
        .unwrap();
    let all = all_of_them(&pool);
    assert_eq!(resident_bytes(&pool), budget_bytes, "the budget is full");
    assert!(matches!(
        pool.allocate(1).unwrap_err(),
        Error::NoMemory { .. }
    ));
    for class in [Class::High, Class::Low, Class::Normal] {
        let of_class: Vec<&Allocation> = all
            .iter()
            .filter(|one| one.class == Some(class))
            .map(|one| &one.allocation)
            .collect();
        pool.offer_list(&of_class, class).unwrap();
    }

    pool.set_budget_bytes(budget_bytes / 2).unwrap();
    assert!(resident_bytes(&pool) <= budget_bytes / 2);
    let cut = census(&all);
    let offered: usize = cut.iter().map(|(left, lost)| left + lost).sum();
    assert_eq!(offered, COUNT * 3 / 4);
    check_order(cut);
    assert_eq!(cut[0].0, 0, "LOW is a quarter, so all of it went: {cut:?}");
    assert!(cut[1].0 > 0 && cut[1].1 > 0, "and of NORMAL some: {cut:?}");
    assert_eq!(cut[2].1, 0, "and no HIGH: {cut:?}");
    let lost_bytes: u64 = all
        .iter()
        .filter(|one| one.is_lost())
        .map(|one| one.allocation.charge_bytes())
        .sum();
    assert_eq!(resident_bytes(&pool), budget_bytes - lost_bytes);

    reclaim_of_all_falls_short(&pool, &all, cut);
    reclaim_of_all_succeeds(&pool, &all, budget_bytes);
}

/// With half the budget not all can come back, and then nothing does.
fn reclaim_of_all_falls_short(pool: &Pool, all: &[One], before: [(usize, usize); 3]) {
    let list: Vec<&Allocation> = all.iter().map(|one| &one.allocation).collect();
    let resident_before = resident_bytes(pool);
    let mut outcomes = vec![Outcome::NotCommitted; COUNT];
    let refused = pool.reclaim_list(&list, &mut outcomes).unwrap_err();
    assert!(matches!(refused.error, Error::NoMemory { .. }), "{refused}");
    assert_eq!(refused.index, None);
    assert!(outcomes.iter().all(|&o| o == Outcome::NotCommitted));
    assert_eq!(resident_bytes(pool), resident_before);
    assert_eq!(census(all), before);
    let kept = all.iter().filter(|one| one.class.is_none());
    kept.for_each(One::check);

    // Classes and ages: one more page takes the oldest NORMAL that is left, and nothing else.
    let oldest = all
        .iter()
        .find(|one| one.class == Some(Class::Normal) && !one.is_lost())
        .unwrap();
    pool.trim(1).unwrap();
    let mut after = before;
    after[1] = (after[1].0 - 1, after[1].1 + 1);
    assert_eq!(census(all), after);
    assert!(oldest.is_lost(), "the offers have lost their ages");
    assert!(resident_bytes(pool) < resident_before);
}

fn reclaim_of_all_succeeds(pool: &Pool, all: &[One], budget_bytes: u64) {
    pool.set_budget_bytes(budget_bytes).unwrap();
    let lost: Vec<bool> = all.iter().map(One::is_lost).collect();
    let list: Vec<&Allocation> = all.iter().map(|one| &one.allocation).collect();
    let mut outcomes = vec![Outcome::NotCommitted; COUNT];
    pool.reclaim_list(&list, &mut outcomes).unwrap();
    for ((one, outcome), lost) in all.iter().zip(&outcomes).zip(lost) {
        assert_eq!(*outcome == Outcome::Discarded, lost);
        assert_eq!(*outcome == Outcome::Intact, !lost);
        assert_eq!(one.allocation.state(), State::Committed);
        if !lost {
            one.check();
        }
    }
    assert_eq!(census(all), [(0, 0); 3]);
    let stats = pool.stats_now();
    assert_eq!(stats.committed.count, COUNT as u64);
    assert_eq!(stats.room_bytes, 0);
    let discarded = outcomes.iter().filter(|&&o| o == Outcome::Discarded);
    assert_eq!(stats.discards_total(), discarded.count() as u64);
    assert!(resident_bytes(pool) <= budget_bytes);
}

/// A list of victims made for an earlier need still counts on some that their owners have taken back
/// since: that must not cost the others their content for a need that cannot be met.
#[test]
fn an_old_list_does_not_promise_too_much() {
    const UNIT: usize = 64 << 10;
    let pool = Pool::builder()
        .budget_bytes(8 * UNIT as u64)
        .pressure(PressureMode::Off)
        .build()
        .unwrap();
    let tiles: Vec<Allocation> = (0..8_u8)
        .map(|number| {
            let mut tile = pool.options().allocate_shared(UNIT).unwrap();
            tile.lock_mut().unwrap().fill(number);
            tile
        })
        .collect();
    pool.offer_list(&tiles, Class::Low).unwrap();
    // The list that this makes has all eight, and one is gone.
    assert_eq!(pool.trim(UNIT as u64).unwrap(), UNIT as u64);
    let mut outcomes = [Outcome::Intact; 4];
    pool.reclaim_list(&tiles[1..5], &mut outcomes).unwrap();
    assert_eq!(outcomes, [Outcome::Intact; 4]);
    // One is free and three are offered: six cannot be had.
    let refused = pool.allocate(6 * UNIT).unwrap_err();
    assert!(matches!(refused, Error::NoMemory { .. }), "{refused}");
    let mut outcomes = [Outcome::Discarded; 3];
    pool.reclaim_list(&tiles[5..], &mut outcomes).unwrap();
    assert_eq!(outcomes, [Outcome::Intact; 3]);
}
