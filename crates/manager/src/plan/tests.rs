//! Plans by hand, and what holds for any.

use proptest::prelude::*;
use vidmm_wire::clamp_supply;

use super::*;

fn process(n: u32) -> ProcessId {
    ProcessId {
        pid: n,
        started_ticks: 0,
    }
}

/// Steps of a class: rank, idle time, pages.
type Steps<'a> = &'a [(u32, u32, u64)];

fn supply(unused: u64, classes: [Steps<'_>; 3]) -> Supply {
    let step = |&(rank, idle_ms, pages): &(u32, u32, u64)| Step {
        rank,
        idle_ms,
        bytes: pages * PAGE,
    };
    Supply {
        as_of: 7,
        unused_bytes: unused * PAGE,
        warm_bytes: 0,
        classes: classes.map(|steps| steps.iter().map(step).collect()),
    }
}

fn giver(n: u32, supply: &Supply, pages: [u64; 3]) -> Giver<'_> {
    let [charge, share, protected] = pages.map(|pages| pages * PAGE);
    Giver {
        process: process(n),
        supply,
        charge,
        share,
        guarded: share,
        protected,
        asks: false,
    }
}

fn wanted(pages: u64) -> Wanted {
    Wanted {
        bytes: pages * PAGE,
        ..Wanted::default()
    }
}

/// Who gives how many pages, with what may be discarded.
fn parts(plan: &Plan) -> Vec<(u32, u64, [Threshold; 3])> {
    let parts = plan.parts.iter();
    parts
        .map(|part| (part.process.pid, part.bytes / PAGE, part.thresholds))
        .collect()
}

use Threshold::{All, Nothing, UpTo};

#[test]
fn by_class_then_share_then_time() {
    let first = supply(0, [&[(5, 10, 10)], &[(1, 900, 10)], &[]]);
    let second = supply(0, [&[(9, 99, 10)], &[(1, 100, 10), (2, 50, 10)], &[]]);
    let givers = [
        giver(1, &first, [20, 20, 0]),
        giver(2, &second, [40, 25, 0]),
    ];
    // The second is beyond its share by 15: all its LOW, though the first's is as good.
    assert_eq!(
        parts(&plan(&givers, wanted(8))),
        [(2, 8, [UpTo(9), Nothing, Nothing])]
    );
    // Then LOW of whoever has any.
    let low_of_both = plan(&givers, wanted(17));
    assert_eq!(
        parts(&low_of_both),
        [
            (1, 7, [UpTo(5), Nothing, Nothing]),
            (2, 10, [UpTo(9), Nothing, Nothing])
        ]
    );
    // Then NORMAL of the second down to its share, before what is older of the first.
    assert_eq!(
        parts(&plan(&givers, wanted(25))),
        [
            (1, 10, [UpTo(5), Nothing, Nothing]),
            (2, 15, [All, UpTo(1), Nothing])
        ]
    );
    // Then by time: the first's.
    assert_eq!(
        parts(&plan(&givers, wanted(30))),
        [
            (1, 15, [All, UpTo(1), Nothing]),
            (2, 15, [All, UpTo(1), Nothing])
        ]
    );
    let all = plan(&givers, wanted(100));
    assert_eq!(all.missing, 50 * PAGE);
    assert_eq!(
        parts(&all),
        [
            (1, 20, [All, UpTo(1), Nothing]),
            (2, 30, [All, UpTo(2), Nothing])
        ]
    );
}

#[test]
fn steps_go_in_the_order_of_their_ranks() {
    // The later step has been offered longer: it waits for the first all the same.
    let odd = supply(0, [&[], &[(1, 10, 5), (2, 9000, 5)], &[]]);
    let other = supply(0, [&[], &[(7, 100, 8)], &[]]);
    let givers = [giver(1, &odd, [10, 10, 0]), giver(2, &other, [10, 10, 0])];
    assert_eq!(
        parts(&plan(&givers, wanted(10))),
        [
            (1, 2, [All, UpTo(1), Nothing]),
            (2, 8, [All, UpTo(7), Nothing])
        ]
    );
}

#[test]
fn the_one_that_asks_gives_like_others_and_its_protected_last() {
    let own = supply(50, [&[(1, 5, 10)], &[], &[(3, 1, 10)]]);
    let other = supply(0, [&[(1, 9, 4)], &[], &[(2, 2, 10)]]);
    let mut asker = giver(1, &own, [20, 30, 15]);
    asker.asks = true;
    let givers = [asker, giver(2, &other, [20, 30, 5])];
    let own_enough = |pages| Wanted {
        own_enough: pages * PAGE,
        ..wanted(pages)
    };
    // LOW: 4 of the other, which is older, 5 of its own down to what is protected of it.
    let low = plan(&givers, own_enough(9));
    assert_eq!((low.own / PAGE, low.missing), (5, 0));
    assert_eq!(parts(&low), [(2, 4, [UpTo(1), Nothing, Nothing])]);
    // HIGH of the other down to its floor, then its own to the end. Its unused bytes do not count.
    let all = plan(&givers, own_enough(40));
    assert_eq!((all.own / PAGE, all.missing / PAGE), (20, 6));
    assert_eq!(parts(&all), [(2, 14, [All, All, UpTo(2)])]);
    // What it must give itself comes first.
    let least = Wanted {
        own_least: 8 * PAGE,
        ..own_enough(9)
    };
    let plan = plan(&givers, least);
    assert_eq!((plan.own / PAGE, plan.parts[0].bytes / PAGE), (8, 1));
}

#[test]
fn a_little_more_of_the_last_step_saves_a_message() {
    let first = supply(0, [&[(5, 10, 100)], &[], &[]]);
    let givers = [giver(1, &first, [100, 0, 95])];
    let more = |pages| Wanted {
        overshoot_most: 4 * PAGE,
        ..wanted(pages)
    };
    assert_eq!(plan(&givers, more(1)).parts[0].bytes / PAGE, 5);
    assert_eq!(
        plan(&givers, more(3)).parts[0].bytes / PAGE,
        5,
        "never from what is protected"
    );
}

fn any_supply() -> impl Strategy<Value = Supply> {
    let steps = || prop::collection::vec((0..4u32, 0..5u32, 0..6u64), 0..4);
    (0..6u64, steps(), steps(), steps()).prop_map(|(unused, low, normal, high)| {
        let mut supply = supply(unused, [&low, &normal, &high]);
        for steps in &mut supply.classes {
            steps.sort_by_key(|step| step.rank);
        }
        supply
    })
}

/// Supply, charge, share, protected.
type Figures = (Supply, u64, u64, u64);

fn any_givers() -> impl Strategy<Value = Vec<Figures>> {
    let one = (any_supply(), 0..40u64, 0..40u64, 0..20u64);
    prop::collection::vec(one, 0..6).prop_map(|mut all| {
        for (supply, charge, _, _) in &mut all {
            clamp_supply(supply, *charge * PAGE);
        }
        all
    })
}

/// The givers of these figures, each with so much of its share guarded, in percent.
fn givers_of(figures: &[Figures], guarded_percent: u64) -> Vec<Giver<'_>> {
    (0..)
        .zip(figures)
        .map(|(n, (supply, charge, share, protected))| {
            let giver = giver(n, supply, [*charge, *share, *protected]);
            let guarded = giver.share * guarded_percent / 100;
            Giver { guarded, ..giver }
        })
        .collect()
}

/// How many bytes a plan takes of a giver.
fn taken_of(plan: &Plan, giver: &Giver<'_>) -> u64 {
    let part = (plan.parts.iter()).find(|part| part.process == giver.process);
    part.map_or(0, |part| part.bytes)
}

/// How many bytes of each class a part takes, given that the giver discards by class.
fn by_class(supply: &Supply, bytes: u64) -> [u64; 3] {
    let mut left = bytes.saturating_sub(supply.unused_bytes);
    std::array::from_fn(|class| {
        let taken = supply.class_bytes(class).min(left);
        left -= taken;
        taken
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_plan_is_within_bounds(
        figures in any_givers(),
        pages in 1..120u64,
        asker in prop::option::of(0..6usize),
        own_enough in 0..60u64,
        guarded_percent in 0..=100u64,
    ) {
        let mut givers = givers_of(&figures, guarded_percent);
        for (n, giver) in givers.iter_mut().enumerate() {
            giver.asks = asker == Some(n);
        }
        let own_enough = if asker.is_some() { own_enough * PAGE } else { 0 };
        let need = Wanted { own_enough, ..wanted(pages) };
        let plan = plan(&givers, need);
        let given: u64 = plan.parts.iter().map(|part| part.bytes).sum();
        let enough = own_enough > 0 && plan.own >= own_enough;
        prop_assert!(plan.own <= own_enough);
        if enough {
            prop_assert_eq!((given, plan.missing), (0, 0));
        } else {
            prop_assert_eq!(given + plan.own + plan.missing, pages * PAGE);
        }
        let mut most = 0;
        for giver in &givers {
            let all = giver.supply.unused_bytes + giver.supply.offered_bytes();
            let may = all.min(giver.charge.saturating_sub(giver.protected));
            let part = plan.parts.iter().find(|part| part.process == giver.process);
            if giver.asks {
                prop_assert!(part.is_none());
                most += giver.supply.offered_bytes().min(own_enough);
                continue;
            }
            most += may;
            prop_assert!(part.map_or(0, |part| part.bytes) <= may);
            let Some(part) = part else { continue };
            // The thresholds allow all that is planned, by the giver's own order.
            for (class, bytes) in by_class(giver.supply, part.bytes).into_iter().enumerate() {
                let steps = &giver.supply.classes[class];
                let allowed: u64 = steps.iter().filter(|step| match part.thresholds[class] {
                    Threshold::Nothing => false,
                    Threshold::UpTo(rank) => step.rank <= rank,
                    Threshold::All => true,
                }).map(|step| step.bytes).sum();
                prop_assert!(bytes <= allowed, "{:?} of {:?}", part, giver);
            }
        }
        // All that can be had is had before anything is missing.
        if plan.missing > 0 {
            prop_assert_eq!(given + plan.own, most);
        }
    }

    #[test]
    fn nothing_of_a_higher_class_goes_while_a_lower_one_would_do(
        figures in any_givers(),
        pages in 1..120u64,
        guarded_percent in 0..=100u64,
    ) {
        let givers = givers_of(&figures, guarded_percent);
        let plan = plan(&givers, wanted(pages));
        let taken = |giver: &Giver<'_>| taken_of(&plan, giver);
        // The highest class that anybody within its share gives of; HIGH beyond it is NORMAL.
        let deepest = givers.iter().filter_map(|giver| {
            let bytes = by_class(giver.supply, taken(giver));
            let class = (0..3).rev().find(|class| bytes[*class] > 0)?;
            let within_share = giver.charge - taken(giver) < giver.share;
            Some(if class == 2 && !within_share { 1 } else { class })
        }).max();
        let Some(deepest) = deepest else { return Ok(()) };
        for giver in &givers {
            let left = giver.charge.saturating_sub(giver.protected).saturating_sub(taken(giver));
            if left == 0 {
                continue;
            }
            let given = by_class(giver.supply, taken(giver));
            for (class, given) in given.into_iter().enumerate().take(deepest) {
                prop_assert_eq!(given, giver.supply.class_bytes(class), "{:?} keeps {}", giver, class);
            }
        }
    }

    #[test]
    fn nothing_guarded_goes_while_others_have_more_than_that(
        figures in any_givers(),
        pages in 1..120u64,
        guarded_percent in 0..=100u64,
    ) {
        let givers = givers_of(&figures, guarded_percent);
        let plan = plan(&givers, wanted(pages));
        let taken = |giver: &Giver<'_>| taken_of(&plan, giver);
        for giver in &givers {
            let bytes = by_class(giver.supply, taken(giver));
            let Some(class) = (0..3).rev().find(|class| bytes[*class] > 0) else { continue };
            if giver.charge - taken(giver) >= giver.guarded {
                continue;
            }
            for other in &givers {
                let has = other.charge - taken(other);
                let left = other.supply.class_bytes(class) - by_class(other.supply, taken(other))[class];
                prop_assert!(
                    left == 0 || has <= other.guarded.max(other.protected),
                    "{:?} gives of class {} while {:?} keeps some", giver, class, other
                );
            }
        }
    }
}

#[test]
fn of_what_has_been_idle_as_long_that_of_whoever_has_most_goes_first() {
    let same = supply(0, [&[], &[(1, 0, 10), (2, 0, 20)], &[]]);
    let (few, many) = (giver(1, &same, [31, 0, 0]), giver(2, &same, [40, 0, 0]));
    let [few_first, many_first] = [[few, many], [many, few]];
    for givers in [few_first, many_first] {
        // By steps: the one with more is asked until it has no more than the other.
        assert_eq!(
            parts(&plan(&givers, wanted(8))),
            [(2, 8, [All, UpTo(1), Nothing])]
        );
        let both = parts(&plan(&givers, wanted(20)));
        assert_eq!(both.iter().map(|part| part.1).sum::<u64>(), 20);
        assert_eq!(both.len(), 2, "{both:?}");
    }
}

fn guarded(giver: Giver<'_>, pages: u64) -> Giver<'_> {
    Giver {
        guarded: pages * PAGE,
        ..giver
    }
}

#[test]
fn what_is_guarded_of_a_share_is_safe_and_high_of_all_of_it() {
    let idle = supply(0, [&[], &[(1, 900, 30)], &[]]);
    let busy = supply(0, [&[], &[(1, 10, 10)], &[(2, 500, 30)]]);
    // Shares of 40; the first is within its own, but not within what is guarded of it.
    let first = guarded(giver(1, &idle, [30, 40, 0]), 10);
    let second = guarded(giver(2, &busy, [50, 40, 0]), 10);
    let all = [first, second];
    // By time, down to what is guarded.
    assert_eq!(
        parts(&plan(&all, wanted(18))),
        [(1, 18, [All, UpTo(1), Nothing])]
    );
    // Then the second's NORMAL, by which it is down to its share: its HIGH stays what it is.
    assert_eq!(
        parts(&plan(&all, wanted(30))),
        [
            (1, 20, [All, UpTo(1), Nothing]),
            (2, 10, [All, UpTo(1), Nothing])
        ]
    );
    assert_eq!(
        parts(&plan(&all, wanted(35))),
        [
            (1, 25, [All, UpTo(1), Nothing]),
            (2, 10, [All, UpTo(1), Nothing])
        ]
    );
    // All of the share guarded: the second is the only one beyond.
    let all = [guarded(first, 40), guarded(second, 40)];
    assert_eq!(
        parts(&plan(&all, wanted(8))),
        [(2, 8, [All, UpTo(1), Nothing])]
    );
}

/// Whoever is asked for memory is not asked for credit, and what is protected of it is memory.
#[test]
fn memory_is_not_credit() {
    let some = supply(8, [&[(1, 500, 4)], &[], &[]]);
    let givers = [giver(1, &some, [16, 0, 8])];
    let wanted = Wanted {
        bytes: 12 * PAGE,
        ..Wanted::default()
    };
    let credit = plan(&givers, wanted);
    assert_eq!(credit.parts[0].bytes, 8 * PAGE, "down to what is protected");
    let memory = Wanted {
        memory_only: true,
        ..wanted
    };
    // It has eight pages of memory, and eight are protected.
    assert_eq!(plan(&givers, memory).parts, []);
    let givers = [giver(1, &some, [16, 0, 6])];
    let memory = plan(&givers, memory);
    assert_eq!(memory.parts[0].bytes, 2 * PAGE);
    assert_eq!(memory.parts[0].thresholds[0], Threshold::UpTo(1));
}
