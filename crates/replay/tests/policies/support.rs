//! Sequences of requests for tests.

use proptest::prelude::*;
use vidmm_replay::{Cache, Online, Outcome, Policy, Requests};

/// The policy of that name.
pub(crate) fn online(name: &str) -> Online {
    match name.parse() {
        Ok(Policy::Online(online)) => online,
        other => panic!("`{name}` is {other:?}"),
    }
}

/// Requests as written: a letter is an object, a number after it is its size (else 1).
pub(crate) fn written(text: &str) -> Requests {
    let mut requests = Requests::default();
    for (time, word) in text.split_whitespace().enumerate() {
        let (letter, size) = word.split_at(1);
        let size = if size.is_empty() {
            1
        } else {
            size.parse().unwrap()
        };
        requests.push(time as u64, u64::from(letter.as_bytes()[0]), size, None);
    }
    requests
}

/// The letters of the objects that a cache holds after `written(text)`.
pub(crate) fn held(text: &str, cache: &dyn Cache) -> String {
    let requests = written(text);
    let mut letters: Vec<char> = Vec::new();
    for (word, request) in text.split_whitespace().zip(requests.iter()) {
        let letter = word.chars().next().unwrap();
        if cache.contains(request.object) && !letters.contains(&letter) {
            letters.push(letter);
        }
    }
    letters.sort_unstable();
    letters.into_iter().collect()
}

/// `h` or `m` for each request, with those that are larger than the cache missed unseen.
pub(crate) fn outcomes(requests: &Requests, size_bytes: u64, cache: &mut dyn Cache) -> String {
    let each = requests.iter().map(|request| {
        let hit = request.size_bytes <= size_bytes && cache.request(request) == Outcome::Hit;
        if hit { 'h' } else { 'm' }
    });
    each.collect()
}

/// A trace for a property: its requests, and the cache's size in bytes.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) requests: Requests,
    pub(crate) size_bytes: u64,
}

/// Which sizes objects have.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sizes {
    /// All the same, and caches are whole multiples of it.
    One,
    /// Each its own, some larger than some caches.
    Many,
}

/// Up to `length` requests for up to `objects` objects, some much more often than others, with loops.
/// Half of the traces have costs.
pub(crate) fn case(sizes: Sizes, objects: u64, length: usize) -> impl Strategy<Value = Case> {
    // a draw below a draw: the low numbers come often
    let skewed = (1..=objects).prop_flat_map(|limit| 0..limit);
    let stretch = prop_oneof![
        3 => skewed.prop_map(|id| vec![id]),
        1 => (0..objects, 1..=objects).prop_map(|(from, to)| (from..to).collect()),
    ];
    let ids = prop::collection::vec(stretch, 1..=length)
        .prop_map(move |stretches| stretches.into_iter().flatten().take(length).collect());
    let size = match sizes {
        Sizes::One => (1..50_u64).prop_map(|size| vec![size]).boxed(),
        Sizes::Many => {
            let one = prop_oneof![3 => 1..10_u64, 1 => 1..60_u64];
            let count = usize::try_from(objects).unwrap();
            prop::collection::vec(one, count).boxed()
        }
    };
    let costs = prop::option::of(prop::collection::vec(0.0..10.0_f32, length));
    (ids, size, costs, 0..=objects).prop_map(
        move |(ids, size, costs, room): (Vec<u64>, _, _, _)| {
            let mut requests = Requests::default();
            for (place, &id) in ids.iter().enumerate() {
                let size_of = size[usize::try_from(id).unwrap() % size.len()];
                let cost = costs.as_ref().map(|costs| costs[place]);
                requests.push(place as u64, id, size_of, cost);
            }
            let unit = match sizes {
                Sizes::One => size[0],
                Sizes::Many => 5,
            };
            Case {
                requests,
                size_bytes: room * unit,
            }
        },
    )
}
