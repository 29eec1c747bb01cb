use super::*;
use crate::demo::zipf::Zipf;
use crate::replay::play::{Job, play_all};
use rand_pcg::Pcg64;
use vidmm_replay::Policy;

/// Requests by Zipf's law for objects of several sizes, with costs of their own.
fn accesses(requests: u64, objects: usize, seed: u64) -> impl Iterator<Item = Access> {
    let zipf = Zipf::new(objects, 0.8);
    let mut random = Pcg64::new(u128::from(seed), 1);
    (0..requests).map(move |time| {
        let id = zipf.draw(&mut random) as u64;
        Access {
            time,
            id,
            size_bytes: 100 + id * id % 901,
            cost: Some((id % 7) as f32),
        }
    })
}

fn sampled(rate: &str, salt: u32, accesses: impl Iterator<Item = Access>) -> (Totals, Parts) {
    let mut sampler = Sampler::new(rate.parse().unwrap(), 1_000, salt);
    for access in accesses {
        sampler.see(&access).unwrap();
    }
    sampler.finish()
}

fn misses(policy: &str, size_bytes: u64, parts: &Parts) -> Vec<Misses> {
    let jobs: Vec<Job<'_>> = (parts.all().into_iter().zip(parts.sizes_bytes(size_bytes)))
        .map(|(part, size_bytes)| Job {
            policy: policy.parse::<Policy>().unwrap(),
            size_bytes,
            part,
        })
        .collect();
    let played = play_all(&jobs, |_| String::new());
    played.into_iter().map(|played| played.misses).collect()
}

#[test]
fn estimates_lie_within_a_few_of_their_errors_of_what_is_so() {
    let mut offs = Vec::new();
    for salt in 1..=6 {
        let trace = || accesses(40_000, 12_000, u64::from(salt));
        let (totals, whole) = sampled("100%", 0, trace());
        let (same, sample) = sampled("20%", salt, trace());
        assert_eq!(totals, same);
        let Parts::Sample(taken) = &sample else {
            panic!("that is no sample")
        };
        for policy in ["lru", "gdsf"] {
            for percent in [10, 40] {
                let size_bytes = totals.footprint_bytes / 100 * percent;
                let exact = misses(policy, size_bytes, &whole)[0];
                let played = misses(policy, size_bytes, &sample);
                let estimate = Estimate::new(taken.threshold, &totals, &played[0], &played[1..]);
                let (missed, error) = (estimate.missed, estimate.error);
                for (estimate, error, exact) in [
                    (missed.requests, error.requests, exact.request_ratio()),
                    (missed.bytes, error.bytes, exact.byte_ratio()),
                    (
                        missed.cost.unwrap(),
                        error.cost.unwrap(),
                        exact.cost_ratio().unwrap(),
                    ),
                ] {
                    let off = (estimate - exact).abs();
                    let what = format!(
                        "{policy} at {percent} %, salt {salt}: {estimate} ± {error}, is {exact}"
                    );
                    assert!(off < 4.0 * error, "{what}");
                    // an error that would cover anything says nothing
                    assert!(error < 0.06, "{what}");
                    offs.push(off / error);
                }
            }
        }
    }
    // As errors are: about two thirds within one of them. (With 40 salts: 70 %, and 97 % within two.)
    let within = offs.iter().filter(|&&off| off < 1.0).count();
    assert!(within * 2 > offs.len(), "{within} of {}", offs.len());
}

#[test]
fn without_the_correction_it_would_be_worse() {
    // One object takes a third of all requests: either all of them are in the sample or none.
    let hot = |time: u64| time.is_multiple_of(3);
    let trace = || {
        accesses(60_000, 8_000, 5).map(move |access| Access {
            id: if hot(access.time) { 1 << 40 } else { access.id },
            size_bytes: 100,
            ..access
        })
    };
    let (totals, whole) = sampled("100%", 0, trace());
    let (_, sample) = sampled("5%", 5, trace());
    let Parts::Sample(taken) = &sample else {
        panic!("that is no sample")
    };
    let size_bytes = totals.footprint_bytes / 5;
    let exact = misses("lru", size_bytes, &whole)[0].request_ratio();
    let played = misses("lru", size_bytes, &sample);
    let estimate = Estimate::new(taken.threshold, &totals, &played[0], &played[1..]);
    let off = (estimate.missed.requests - exact).abs();
    assert!(off < 4.0 * estimate.error.requests, "{estimate:?} {exact}");
    assert!(
        off < (played[0].request_ratio() - exact).abs() / 2.0,
        "{estimate:?} {exact}"
    );
}

#[test]
fn slices_share_no_object_and_make_up_the_sample() {
    let (totals, parts) = sampled("50%", 0, accesses(20_000, 3_000, 9));
    let Parts::Sample(sample) = parts else {
        panic!("that is no sample")
    };
    let objects: usize = sample
        .slices
        .iter()
        .map(|slice| slice.requests.objects())
        .sum();
    let requests: usize = sample.slices.iter().map(|slice| slice.requests.len()).sum();
    assert_eq!(objects, sample.all.requests.objects());
    assert_eq!(requests, sample.all.requests.len());
    assert!(objects.abs_diff(usize::try_from(totals.objects).unwrap() / 2) < 200);
    assert!(
        sample
            .slices
            .iter()
            .all(|slice| slice.requests.objects().abs_diff(objects / 8) < 80)
    );
}

#[test]
fn auto_takes_all_of_a_short_trace_and_halves_a_long_one() {
    let (totals, parts) = sampled("auto", 0, accesses(1_000, 500, 1));
    assert!(matches!(parts, Parts::Whole(whole) if whole.requests.len() == 1_000));
    assert_eq!(totals.requests, 1_000);
    let (totals, parts) = sampled(
        "auto",
        0,
        (0..40_000).map(|id| Access {
            time: id,
            id,
            size_bytes: 1,
            cost: None,
        }),
    );
    let Parts::Sample(sample) = parts else {
        panic!("that is no sample")
    };
    // no fewer objects than would say something
    assert!((OBJECTS_MIN * 8 / 10..=OBJECTS_MIN * 2).contains(&sample.all.requests.objects()));
    assert!((sample.threshold.rate().log2().fract()).abs() < 1e-12);
    assert_eq!(totals.objects, 40_000);
    assert!(totals.all_of_one_byte && !totals.has_costs);
}

#[test]
fn thresholds_are_shares_of_all_hashes() {
    let of = |millionths| Threshold::of(Percent::from_millionths(millionths).unwrap(), 0);
    assert!(of(1_000_000).is_all());
    assert!((of(10_000).rate() - 0.01).abs() < 1e-12);
    assert_eq!(of(500_000), Threshold::all(0).half());
    assert_eq!(of(1_000_000).scaled(u64::MAX, 1), u64::MAX);
    assert_eq!(of(500_000).scaled(1_000, 1), 500);
    assert_eq!(of(500_000).scaled(1_000, SLICES), 62);
    assert_eq!(of(1).scaled(1_000, 1), 0);
}
