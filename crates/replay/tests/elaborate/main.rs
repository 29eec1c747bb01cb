//! ARC, LIRS, W-TinyLFU, LeCaR, GDSF and LHD: what must hold for each, and three of them against models
//! that are slow and plain.

mod models;

use models::{Model, NaiveArc, NaiveGdsf, NaiveLirs};
use proptest::prelude::*;
use vidmm_replay::peers::{Arc, Gdsf, LeCaR, Lhd, Lirs, WTinyLfu};
use vidmm_replay::{Cache, ObjectId, Outcome, Request};

fn all(size_bytes: u64, seed: u64) -> Vec<(&'static str, Box<dyn Cache>)> {
    vec![
        ("arc", Box::new(Arc::new(size_bytes))),
        ("lirs", Box::new(Lirs::new(size_bytes))),
        ("w-tinylfu", Box::new(WTinyLfu::new(size_bytes))),
        ("lecar", Box::new(LeCaR::new(size_bytes, seed))),
        ("gdsf", Box::new(Gdsf::new(size_bytes))),
        ("lhd", Box::new(Lhd::new(size_bytes, seed))),
    ]
}

/// A cache's size and requests for objects with sizes and costs, none larger than the cache.
#[derive(Debug, Clone)]
struct Play {
    size_bytes: u64,
    requests: Vec<Request>,
}

/// Objects are numbered in the order of first appearance, as in a replay, and keep their sizes.
fn play(objects: impl IntoIterator<Item = usize>, size_bytes: u64, sizes: &[u64]) -> Play {
    let mut numbers = std::collections::BTreeMap::new();
    let mut requests = Vec::new();
    for (time, object) in objects.into_iter().enumerate() {
        let next = u32::try_from(numbers.len()).expect("a few hundred");
        requests.push(Request {
            time: time as u64,
            object: ObjectId(*numbers.entry(object).or_insert(next)),
            size_bytes: sizes[object % sizes.len()].clamp(1, size_bytes),
            // 0 is "no cost".
            cost: (object % 3) as f32,
        });
    }
    Play {
        size_bytes,
        requests,
    }
}

/// Sizes that are all one, alike, or far apart, up to the cache's; some objects wanted more often.
fn plays() -> impl Strategy<Value = Play> {
    let sizes = |size_bytes: u64| {
        prop_oneof![
            Just(vec![1]),
            Just(vec![size_bytes]),
            Just(vec![size_bytes.div_ceil(70)]),
            prop::collection::vec(1..=size_bytes.div_ceil(4), 40),
            prop::collection::vec(1..=size_bytes, 40),
        ]
    };
    let object = prop_oneof![0..8_usize, 0..40_usize, 0..400_usize];
    let objects = prop::collection::vec(object, 1..600);
    let size_bytes = prop_oneof![1..12_u64, 12..400_u64, Just(1 << 62)];
    (
        size_bytes.prop_flat_map(move |bytes| (Just(bytes), sizes(bytes))),
        objects,
    )
        .prop_map(|((size_bytes, sizes), objects)| play(objects, size_bytes, &sizes))
}

/// Plays, and looks at everything that a caller can see after each request.
fn look(play: &Play, cache: &mut dyn Cache, every: usize) -> Result<Vec<Outcome>, TestCaseError> {
    let mut sizes = Vec::new();
    let mut outcomes = Vec::new();
    for (index, &request) in play.requests.iter().enumerate() {
        if request.object.index() == sizes.len() {
            sizes.push(request.size_bytes);
        }
        let was_there = cache.contains(request.object);
        let outcome = cache.request(request);
        prop_assert_eq!(outcome == Outcome::Hit, was_there, "request {}", index);
        outcomes.push(outcome);
        prop_assert!(cache.used_bytes() <= play.size_bytes, "request {}", index);
        if index % every == 0 {
            let objects = (0..).map(ObjectId).zip(&sizes);
            let cached = objects.filter(|&(object, _)| cache.contains(object));
            let bytes: u64 = cached.map(|(_, &size_bytes)| size_bytes).sum();
            prop_assert_eq!(cache.used_bytes(), bytes, "request {}", index);
        }
    }
    Ok(outcomes)
}

proptest! {
    // As each looks at six policies.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_said_to_be_there_is_there_and_fits(play in plays(), seed: u64) {
        for (name, mut cache) in all(play.size_bytes, seed) {
            let outcomes = look(&play, &mut *cache, 1)
                .map_err(|error| TestCaseError::fail(format!("{name}: {error}")))?;
            let (_, mut again) = all(play.size_bytes, seed)
                .into_iter()
                .find(|(other, _)| *other == name)
                .unwrap();
            for (request, outcome) in play.requests.iter().zip(outcomes) {
                prop_assert_eq!(again.request(*request), outcome, "{} again", name);
            }
        }
    }

    /// Those without a rule for declining keep whatever was asked for last.
    #[test]
    fn what_was_missed_is_kept(play in plays(), seed: u64) {
        for (name, mut cache) in all(play.size_bytes, seed) {
            for &request in &play.requests {
                cache.request(request);
                prop_assert!(
                    name == "w-tinylfu" || cache.contains(request.object),
                    "{} does not keep {:?}", name, request
                );
            }
        }
    }

    /// A cache of all is a cache.
    #[test]
    fn where_all_fits_each_is_missed_once(play in plays(), seed: u64) {
        let mut sizes = std::collections::BTreeMap::new();
        for request in &play.requests {
            sizes.insert(request.object, request.size_bytes);
        }
        let footprint = sizes.values().fold(0_u64, |sum, &size| sum.saturating_add(size));
        prop_assume!(footprint < 1 << 62);
        for (name, mut cache) in all(footprint, seed) {
            let missed = play.requests.iter()
                .filter(|&&request| cache.request(request) == Outcome::Miss);
            prop_assert_eq!(missed.count(), sizes.len(), "{}", name);
        }
    }

    /// Everything larger by the same factor is the same: no number of bytes means anything. With a
    /// power of two this is exact for floating-point numbers too.
    #[test]
    fn bytes_are_only_relative(play in plays(), doublings in 1..12_u32) {
        prop_assume!(play.size_bytes < 1 << 40);
        let factor = 1 << doublings;
        // Shares of the cache that are rounded to whole bytes are the exception: whole here.
        let size_bytes = play.size_bytes * 1_000;
        for ((name, mut one), (_, mut other)) in
            all(size_bytes, 5).into_iter().zip(all(size_bytes * factor, 5))
        {
            for (index, &request) in play.requests.iter().enumerate() {
                let small = Request { size_bytes: request.size_bytes * 1_000, ..request };
                let large = Request { size_bytes: small.size_bytes * factor, ..request };
                prop_assert_eq!(
                    one.request(small), other.request(large), "{}, request {}", name, index
                );
            }
        }
    }

}

proptest! {
    #[test]
    fn arc_is_as_its_model(play in plays()) {
        compare(&play, &mut Arc::new(play.size_bytes), &mut NaiveArc::new(play.size_bytes))?;
    }

    #[test]
    fn lirs_is_as_its_model(play in plays()) {
        compare(&play, &mut Lirs::new(play.size_bytes), &mut NaiveLirs::new(play.size_bytes))?;
    }

    #[test]
    fn gdsf_is_as_its_model(play in plays()) {
        compare(&play, &mut Gdsf::new(play.size_bytes), &mut NaiveGdsf::new(play.size_bytes))?;
    }
}

fn compare(play: &Play, cache: &mut dyn Cache, model: &mut dyn Model) -> Result<(), TestCaseError> {
    let mut known = 0;
    for (index, &request) in play.requests.iter().enumerate() {
        cache.request(request);
        model.request(request);
        known = known.max(request.object.0 + 1);
        for object in (0..known).map(ObjectId) {
            prop_assert_eq!(
                cache.contains(object),
                model.contains(object),
                "object {} after request {}",
                object.0,
                index
            );
        }
    }
    Ok(())
}

/// Long enough for ageing, climbing and reconfiguring: loops, scans and a change of what is wanted.
#[test]
fn long_plays_hold_as_well() {
    let mut objects = Vec::new();
    for round in 0..12_usize {
        for index in 0..6_000 {
            let hot = (index * index + round) % (40 + 30 * (round % 3));
            objects.push(if index % 2 == 0 {
                hot
            } else {
                round / 6 * 5_000 + index % 2_900
            });
        }
    }
    let sizes: Vec<_> = (1..=997_u64).map(|size| size * size % 997 + 1).collect();
    for sizes in [&sizes[..], &[1][..]] {
        let size_bytes = 500 * sizes[0].max(sizes.iter().sum::<u64>() / sizes.len() as u64);
        let play = play(objects.iter().copied(), size_bytes, sizes);
        for (name, mut cache) in all(size_bytes, 1) {
            let outcomes = look(&play, &mut *cache, 499).unwrap_or_else(|e| panic!("{name}: {e}"));
            let hits = outcomes.iter().filter(|&&o| o == Outcome::Hit).count();
            // Half of the requests are for some hundred objects, a fifth of what fits.
            assert!(hits * 5 > outcomes.len() * 2, "{name}: {hits}");
        }
    }
}
