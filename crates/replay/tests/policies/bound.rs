//! The bound against everything that can be done at all, on tiny sequences.

use crate::support::{Case, Sizes, case};
use proptest::prelude::*;
use std::collections::HashMap;
use vidmm_replay::{Future, Requests, belady};

/// The least sum of `weight` over misses: all that may be kept after each request is tried.
fn least(requests: &Requests, size_bytes: u64, weight: impl Fn(usize) -> f64) -> f64 {
    let mut sizes = vec![0; requests.objects()];
    for request in requests.iter() {
        sizes[request.object.index()] = request.size_bytes;
    }
    let weighs = |set: u32| -> u64 {
        let members = (0..sizes.len()).filter(|&object| set >> object & 1 == 1);
        members.map(|object| sizes[object]).sum()
    };
    // by what is held (a bit per object): the least so far
    let mut states = HashMap::from([(0_u32, 0.0)]);
    for (place, request) in requests.iter().enumerate() {
        let bit = 1_u32 << request.object.0;
        let mut next: HashMap<u32, f64> = HashMap::new();
        for (&held, &so_far) in &states {
            let missed = held & bit == 0;
            let sum = so_far + if missed { weight(place) } else { 0.0 };
            let most = held | bit;
            // all subsets of it
            let mut kept = most;
            loop {
                if weighs(kept) <= size_bytes {
                    let best = next.entry(kept).or_insert(f64::INFINITY);
                    *best = best.min(sum);
                }
                if kept == 0 {
                    break;
                }
                kept = (kept - 1) & most;
            }
        }
        states = next;
    }
    states.into_values().fold(f64::INFINITY, f64::min)
}

struct Least {
    requests: f64,
    bytes: f64,
    cost: f64,
}

impl Least {
    fn of(case: &Case) -> Least {
        let requests = &case.requests;
        let at = |place| requests.get(place).unwrap();
        Least {
            requests: least(requests, case.size_bytes, |_| 1.0),
            bytes: least(requests, case.size_bytes, |place| {
                at(place).size_bytes as f64
            }),
            cost: least(requests, case.size_bytes, |place| f64::from(at(place).cost)),
        }
    }
}

fn about(found: f64, exact: f64) -> bool {
    (found - exact).abs() <= 1e-6 * (1.0 + exact)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn it_is_exact_where_it_says_so(case in case(Sizes::One, 5, 12)) {
        let bound = belady(&case.requests, &Future::of(&case.requests), case.size_bytes);
        let least = Least::of(&case);
        prop_assert!(bound.exact.requests && bound.exact.bytes);
        prop_assert_eq!(bound.least.missed as f64, least.requests);
        prop_assert_eq!(bound.least.missed_bytes as f64, least.bytes);
        prop_assert!(bound.least.missed_cost <= least.cost * (1.0 + 1e-9) + 1e-9);
        if bound.exact.cost {
            prop_assert!(about(bound.least.missed_cost, least.cost), "{:?} {}", bound, least.cost);
        }
    }

    #[test]
    fn it_is_never_above_what_can_be_done(case in case(Sizes::Many, 5, 12)) {
        let bound = belady(&case.requests, &Future::of(&case.requests), case.size_bytes);
        let least = Least::of(&case);
        prop_assert!(bound.least.missed as f64 <= least.requests, "{:?} {}", bound, least.requests);
        prop_assert!(bound.least.missed_bytes as f64 <= least.bytes, "{:?} {}", bound, least.bytes);
        prop_assert!(bound.least.missed_cost <= least.cost * (1.0 + 1e-9) + 1e-9);
        let exact = bound.exact;
        prop_assert!(!exact.requests || bound.least.missed as f64 == least.requests);
        prop_assert!(!exact.bytes || bound.least.missed_bytes as f64 == least.bytes);
        prop_assert!(!exact.cost || about(bound.least.missed_cost, least.cost));
    }
}
