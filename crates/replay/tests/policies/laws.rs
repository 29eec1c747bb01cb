//! What holds for every policy by name, whatever it does.

use crate::support::{Case, Sizes, case, outcomes};
use proptest::prelude::*;
use vidmm_replay::{Future, Misses, ObjectId, Online, Outcome, Requests, belady, replay};

fn objects(requests: &Requests) -> Vec<(ObjectId, u64)> {
    let mut sizes = vec![0; requests.objects()];
    for request in requests.iter() {
        sizes[request.object.index()] = request.size_bytes;
    }
    let numbers = (0..).map(ObjectId);
    numbers.zip(sizes).collect()
}

/// A hit is what was there; what is there is counted, and is never more than fits.
fn keeps_its_books(policy: Online, case: &Case) -> Result<(), TestCaseError> {
    let Case {
        requests,
        size_bytes,
    } = case;
    let all = objects(requests);
    let mut cache = policy.build(*size_bytes, all.len(), 7);
    let mut missed = 0;
    for request in requests.iter() {
        if request.size_bytes > *size_bytes {
            missed += 1;
            continue;
        }
        let was_there = cache.contains(request.object);
        let outcome = cache.request(request);
        prop_assert_eq!(
            outcome == Outcome::Hit,
            was_there,
            "{:?} {:?}",
            policy,
            request
        );
        missed += u64::from(!was_there);
        let there = all.iter().filter(|(object, _)| cache.contains(*object));
        let sum: u64 = there.map(|(_, size)| size).sum();
        prop_assert_eq!(cache.used_bytes(), sum, "{:?} {:?}", policy, request);
        prop_assert!(
            sum <= *size_bytes,
            "{:?}: {} of {}",
            policy,
            sum,
            size_bytes
        );
    }
    for (object, size) in &all {
        prop_assert!(
            *size <= *size_bytes || !cache.contains(*object),
            "{:?}",
            policy
        );
    }
    let mut again = policy.build(*size_bytes, all.len(), 7);
    let counted = replay(requests, *size_bytes, again.as_mut(), |_| {});
    prop_assert_eq!(
        counted.missed,
        missed,
        "{:?}: the same seed, the same misses",
        policy
    );
    prop_assert_eq!(counted.requests, requests.len() as u64);
    Ok(())
}

fn renamed(requests: &Requests, name: impl Fn(u64) -> u64) -> Requests {
    let mut other = Requests::default();
    for request in requests.iter() {
        let cost = requests.has_costs().then_some(request.cost);
        let id = name(u64::from(request.object.0));
        other.push(request.time, id, request.size_bytes, cost);
    }
    other
}

fn not_below(least: &Misses, found: &Misses) -> bool {
    least.missed <= found.missed
        && least.missed_bytes <= found.missed_bytes
        && least.missed_cost <= found.missed_cost * (1.0 + 1e-9) + 1e-9
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn books_are_kept_with_sizes_of_all_kinds(case in case(Sizes::Many, 40, 400)) {
        for policy in Online::all() {
            keeps_its_books(policy, &case)?;
        }
    }

    #[test]
    fn books_are_kept_with_one_size(case in case(Sizes::One, 40, 400)) {
        for policy in Online::all() {
            keeps_its_books(policy, &case)?;
        }
    }

    /// Neither the order of ids nor their distances nor their low bits decide anything.
    #[test]
    fn names_mean_nothing(case in case(Sizes::Many, 30, 300), odd in any::<u64>(), xor in any::<u64>()) {
        let other = renamed(&case.requests, |id| (id ^ xor).wrapping_mul(odd | 1));
        for policy in Online::all() {
            let [one, two] = [&case.requests, &other].map(|requests| {
                let mut cache = policy.build(case.size_bytes, requests.objects(), 3);
                outcomes(requests, case.size_bytes, cache.as_mut())
            });
            prop_assert_eq!(one, two, "{:?}", policy);
        }
        let [one, two] = [&case.requests, &other]
            .map(|requests| belady(requests, &Future::of(requests), case.size_bytes));
        prop_assert_eq!(one, two);
    }

    #[test]
    fn nobody_beats_the_bound_with_one_size(case in case(Sizes::One, 30, 300)) {
        let bound = belady(&case.requests, &Future::of(&case.requests), case.size_bytes);
        prop_assert!(bound.exact.requests && bound.exact.bytes);
        for policy in Online::all() {
            let mut cache = policy.build(case.size_bytes, case.requests.objects(), 5);
            let found = replay(&case.requests, case.size_bytes, cache.as_mut(), |_| {});
            prop_assert!(not_below(&bound.least, &found), "{:?} {:?} {:?}", policy, bound, found);
        }
    }

    #[test]
    fn nobody_beats_the_bound_with_many_sizes(case in case(Sizes::Many, 30, 300)) {
        let bound = belady(&case.requests, &Future::of(&case.requests), case.size_bytes);
        for policy in Online::all() {
            let mut cache = policy.build(case.size_bytes, case.requests.objects(), 5);
            let found = replay(&case.requests, case.size_bytes, cache.as_mut(), |_| {});
            prop_assert!(not_below(&bound.least, &found), "{:?} {:?} {:?}", policy, bound, found);
        }
    }

    /// With room for all, all policies miss first requests only.
    #[test]
    fn where_all_fits_only_first_requests_miss(case in case(Sizes::Many, 30, 300)) {
        let room = case.requests.footprint_bytes();
        let firsts = case.requests.objects() as u64;
        for policy in Online::all() {
            let mut cache = policy.build(room, case.requests.objects(), 5);
            let found = replay(&case.requests, room, cache.as_mut(), |_| {});
            prop_assert_eq!(found.missed, firsts, "{:?}", policy);
            prop_assert_eq!(found.missed_bytes, room, "{:?}", policy);
        }
        let bound = belady(&case.requests, &Future::of(&case.requests), room);
        prop_assert_eq!((bound.least.missed, bound.exact.requests), (firsts, true));
    }
}
