//! Each policy against a model: slow, plain, in the words of its paper, on queues that are searched
//! from end to end.

use crate::support::{Case, Sizes, case, online};
use proptest::prelude::*;
use vidmm_replay::Outcome;

/// An object in a queue. Queues have the oldest first.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Object {
    id: u32,
    size: u64,
    uses: u32,
}

type Queue = Vec<Object>;

fn bytes(queue: &Queue) -> u64 {
    queue.iter().map(|object| object.size).sum()
}

fn place(queue: &Queue, id: u32) -> Option<usize> {
    queue.iter().position(|object| object.id == id)
}

fn take(queue: &mut Queue, id: u32) -> Option<Object> {
    place(queue, id).map(|place| queue.remove(place))
}

/// Adds a name to a list of at most so many bytes. What is larger than the list is not added.
fn note(names: &mut Queue, object: Object, limit: u64) {
    if object.size <= limit {
        names.push(Object { uses: 0, ..object });
        while bytes(names) > limit {
            names.remove(0);
        }
    }
}

trait Model {
    /// The object is not larger than the cache.
    fn request(&mut self, object: Object, cache_size: u64) -> bool;
    fn held(&self) -> Vec<u32>;
}

fn ids(queues: &[&Queue]) -> Vec<u32> {
    let mut all: Vec<u32> = queues
        .iter()
        .flat_map(|queue| queue.iter())
        .map(|object| object.id)
        .collect();
    all.sort_unstable();
    all
}

#[derive(Default)]
struct Fifo(Queue);

impl Model for Fifo {
    fn request(&mut self, object: Object, cache_size: u64) -> bool {
        if place(&self.0, object.id).is_some() {
            return true;
        }
        while bytes(&self.0) + object.size > cache_size {
            self.0.remove(0);
        }
        self.0.push(object);
        false
    }

    fn held(&self) -> Vec<u32> {
        ids(&[&self.0])
    }
}

#[derive(Default)]
struct Lru(Queue);

impl Model for Lru {
    fn request(&mut self, object: Object, cache_size: u64) -> bool {
        let found = take(&mut self.0, object.id).is_some();
        while bytes(&self.0) + object.size > cache_size {
            self.0.remove(0);
        }
        self.0.push(object);
        found
    }

    fn held(&self) -> Vec<u32> {
        ids(&[&self.0])
    }
}

/// A ring of frames with a hand that stands before one of them.
#[derive(Default)]
struct Clock {
    ring: Queue,
    hand: usize,
}

impl Model for Clock {
    fn request(&mut self, object: Object, cache_size: u64) -> bool {
        if let Some(place) = place(&self.ring, object.id) {
            self.ring[place].uses = 1;
            return true;
        }
        while bytes(&self.ring) + object.size > cache_size {
            if self.ring[self.hand].uses == 1 {
                self.ring[self.hand].uses = 0;
                self.hand += 1;
            } else {
                self.ring.remove(self.hand);
            }
            if self.hand >= self.ring.len() {
                self.hand = 0;
            }
        }
        // just behind the hand
        self.ring.insert(self.hand, object);
        self.hand = (self.hand + 1) % self.ring.len();
        false
    }

    fn held(&self) -> Vec<u32> {
        ids(&[&self.ring])
    }
}

#[derive(Default)]
struct Sieve {
    queue: Queue,
    hand: usize,
}

impl Model for Sieve {
    fn request(&mut self, object: Object, cache_size: u64) -> bool {
        if let Some(place) = place(&self.queue, object.id) {
            self.queue[place].uses = 1;
            return true;
        }
        while bytes(&self.queue) + object.size > cache_size {
            while self.queue[self.hand].uses == 1 {
                self.queue[self.hand].uses = 0;
                self.hand = (self.hand + 1) % self.queue.len();
            }
            self.queue.remove(self.hand);
            if self.hand == self.queue.len() {
                self.hand = 0;
            }
        }
        self.queue.push(object);
        false
    }

    fn held(&self) -> Vec<u32> {
        ids(&[&self.queue])
    }
}

#[derive(Default)]
struct Slru {
    probation: Queue,
    protected: Queue,
}

impl Model for Slru {
    fn request(&mut self, object: Object, cache_size: u64) -> bool {
        let in_probation = take(&mut self.probation, object.id);
        if let Some(found) = in_probation.or_else(|| take(&mut self.protected, object.id)) {
            if found.size * 5 > cache_size * 4 {
                self.probation.push(found);
            } else {
                self.protected.push(found);
            }
            while bytes(&self.protected) * 5 > cache_size * 4 {
                let demoted = self.protected.remove(0);
                self.probation.push(demoted);
            }
            return true;
        }
        while bytes(&self.probation) + bytes(&self.protected) + object.size > cache_size {
            if self.probation.is_empty() {
                self.protected.remove(0);
            } else {
                self.probation.remove(0);
            }
        }
        self.probation.push(object);
        false
    }

    fn held(&self) -> Vec<u32> {
        ids(&[&self.probation, &self.protected])
    }
}

#[derive(Default)]
struct TwoQ {
    a1in: Queue,
    a1out: Queue,
    am: Queue,
}

impl Model for TwoQ {
    fn request(&mut self, object: Object, cache_size: u64) -> bool {
        if let Some(found) = take(&mut self.am, object.id) {
            self.am.push(found);
            return true;
        }
        if place(&self.a1in, object.id).is_some() {
            return true;
        }
        let named = take(&mut self.a1out, object.id).is_some();
        while bytes(&self.a1in) + bytes(&self.am) + object.size > cache_size {
            if bytes(&self.a1in) * 4 > cache_size || self.am.is_empty() {
                let out = self.a1in.remove(0);
                note(&mut self.a1out, out, cache_size / 2);
            } else {
                self.am.remove(0);
            }
        }
        if named {
            self.am.push(object);
        } else {
            self.a1in.push(object);
        }
        false
    }

    fn held(&self) -> Vec<u32> {
        ids(&[&self.a1in, &self.am])
    }
}

#[derive(Default)]
struct S3Fifo {
    small: Queue,
    main: Queue,
    names: Queue,
}

impl S3Fifo {
    fn evict_small(&mut self, cache_size: u64) {
        while !self.small.is_empty() {
            let mut oldest = self.small.remove(0);
            if oldest.uses <= 1 {
                note(&mut self.names, oldest, cache_size * 9 / 10);
                return;
            }
            oldest.uses = 0;
            if oldest.size * 10 > cache_size * 9 {
                self.small.push(oldest);
                continue;
            }
            while (bytes(&self.main) + oldest.size) * 10 > cache_size * 9 {
                self.evict_main();
            }
            self.main.push(oldest);
        }
    }

    fn evict_main(&mut self) {
        while !self.main.is_empty() {
            let mut oldest = self.main.remove(0);
            if oldest.uses == 0 {
                return;
            }
            oldest.uses -= 1;
            self.main.push(oldest);
        }
    }
}

impl Model for S3Fifo {
    fn request(&mut self, object: Object, cache_size: u64) -> bool {
        for queue in [&mut self.small, &mut self.main] {
            if let Some(place) = place(queue, object.id) {
                queue[place].uses = 3.min(queue[place].uses + 1);
                return true;
            }
        }
        while bytes(&self.small) + bytes(&self.main) + object.size > cache_size {
            if bytes(&self.small) * 10 >= cache_size || self.main.is_empty() {
                self.evict_small(cache_size);
            } else {
                self.evict_main();
            }
        }
        if take(&mut self.names, object.id).is_some() {
            self.main.push(object);
        } else {
            self.small.push(object);
        }
        false
    }

    fn held(&self) -> Vec<u32> {
        ids(&[&self.small, &self.main])
    }
}

fn agrees(name: &str, mut model: impl Model, case: &Case) -> Result<(), TestCaseError> {
    let mut cache = online(name).build(case.size_bytes, case.requests.objects(), 0);
    let all: Vec<_> = case.requests.iter().map(|request| request.object).collect();
    for (place, request) in case.requests.iter().enumerate() {
        if request.size_bytes > case.size_bytes {
            continue;
        }
        let object = Object {
            id: request.object.0,
            size: request.size_bytes,
            uses: 0,
        };
        let expected = model.request(object, case.size_bytes);
        let hit = cache.request(request) == Outcome::Hit;
        prop_assert_eq!(hit, expected, "{}: request {}", name, place);
        let seen = all.iter().filter(|object| cache.contains(**object));
        let mut held: Vec<u32> = seen.map(|object| object.0).collect();
        held.sort_unstable();
        held.dedup();
        prop_assert_eq!(held, model.held(), "{}: after request {}", name, place);
    }
    Ok(())
}

fn all_agree(case: &Case) -> Result<(), TestCaseError> {
    agrees("fifo", Fifo::default(), case)?;
    agrees("lru", Lru::default(), case)?;
    agrees("clock", Clock::default(), case)?;
    agrees("sieve", Sieve::default(), case)?;
    agrees("slru", Slru::default(), case)?;
    agrees("2q", TwoQ::default(), case)?;
    agrees("s3-fifo", S3Fifo::default(), case)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn policies_are_their_models_with_many_sizes(case in case(Sizes::Many, 25, 300)) {
        all_agree(&case)?;
    }

    #[test]
    fn policies_are_their_models_with_one_size(case in case(Sizes::One, 25, 300)) {
        all_agree(&case)?;
    }
}
