//! ARC, LIRS, W-TinyLFU, LeCaR, GDSF and LHD: what must hold for each, and three of them against models
//! that are slow and plain.

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

/// Policies written down once more, from their rules: vectors, searched and added up anew each time.
mod models {
    use vidmm_replay::{ObjectId, Request};

    pub(crate) trait Model {
        fn request(&mut self, request: Request);
        fn contains(&self, object: ObjectId) -> bool;
    }

    /// Objects with their sizes, the longest unused first.
    type Queue = Vec<(ObjectId, u64)>;

    fn weight(queue: &Queue) -> u64 {
        queue.iter().map(|&(_, size_bytes)| size_bytes).sum()
    }

    fn holds(queue: &Queue, object: ObjectId) -> bool {
        queue.iter().any(|&(other, _)| other == object)
    }

    fn take(queue: &mut Queue, object: ObjectId) {
        queue.retain(|&(other, _)| other != object);
    }

    /// The cases of figure 4 of the paper, in bytes.
    pub(crate) struct NaiveArc {
        c: u64,
        p: f64,
        t1: Queue,
        t2: Queue,
        b1: Queue,
        b2: Queue,
    }

    impl NaiveArc {
        pub(crate) fn new(c: u64) -> Self {
            let [t1, t2, b1, b2] = Default::default();
            NaiveArc {
                c,
                p: 0.0,
                t1,
                t2,
                b1,
                b2,
            }
        }

        fn replace(&mut self, x: Request, in_b2: bool) {
            while weight(&self.t1) + weight(&self.t2) + x.size_bytes > self.c {
                let length = weight(&self.t1) as f64;
                let is_long = length > self.p || in_b2 && length >= self.p;
                if self.t2.is_empty() || !self.t1.is_empty() && is_long {
                    self.b1.push(self.t1.remove(0));
                } else {
                    self.b2.push(self.t2.remove(0));
                }
            }
        }
    }

    impl Model for NaiveArc {
        fn request(&mut self, x: Request) {
            let entry = (x.object, x.size_bytes);
            let (b1, b2) = (weight(&self.b1) as f64, weight(&self.b2) as f64);
            let step = x.size_bytes as f64;
            if self.contains(x.object) {
                take(&mut self.t1, x.object);
                take(&mut self.t2, x.object);
                self.t2.push(entry);
            } else if holds(&self.b1, x.object) {
                self.p = (self.p + step * f64::max(b2 / b1, 1.0)).min(self.c as f64);
                self.replace(x, false);
                take(&mut self.b1, x.object);
                self.t2.push(entry);
            } else if holds(&self.b2, x.object) {
                self.p = (self.p - step * f64::max(b1 / b2, 1.0)).max(0.0);
                self.replace(x, true);
                take(&mut self.b2, x.object);
                self.t2.push(entry);
            } else {
                while weight(&self.t1) + weight(&self.b1) + x.size_bytes > self.c {
                    if self.b1.is_empty() {
                        self.t1.remove(0);
                    } else {
                        self.b1.remove(0);
                    }
                }
                let all = |arc: &Self| {
                    [&arc.t1, &arc.t2, &arc.b1, &arc.b2]
                        .map(weight)
                        .iter()
                        .map(|&w| u128::from(w))
                        .sum::<u128>()
                };
                while all(self) + u128::from(x.size_bytes) > 2 * u128::from(self.c)
                    && !self.b2.is_empty()
                {
                    self.b2.remove(0);
                }
                self.replace(x, false);
                self.t1.push(entry);
            }
            assert!(weight(&self.t1) + weight(&self.b1) <= self.c);
        }

        fn contains(&self, object: ObjectId) -> bool {
            holds(&self.t1, object) || holds(&self.t2, object)
        }
    }

    /// One list of all that is remembered, by last use; what each is, is in other lists.
    pub(crate) struct NaiveLirs {
        size_bytes: u64,
        stack: Queue,
        lir: Queue,
        queue: Queue,
        /// In order of discard.
        gone: Queue,
        filling: bool,
        seen: Queue,
    }

    impl NaiveLirs {
        pub(crate) fn new(size_bytes: u64) -> Self {
            let [stack, lir, queue, gone, seen] = Default::default();
            NaiveLirs {
                size_bytes,
                stack,
                lir,
                queue,
                gone,
                filling: true,
                seen,
            }
        }

        fn lir_share(&self) -> u64 {
            let seen: u128 = self.seen.iter().map(|&(_, size)| u128::from(size)).sum();
            let two =
                u64::try_from((2 * seen).div_ceil(self.seen.len() as u128)).expect("twice 2^62");
            self.size_bytes - (self.size_bytes / 100).max(two).min(self.size_bytes)
        }

        fn prune(&mut self) {
            let bottom = self
                .stack
                .iter()
                .position(|&(object, _)| holds(&self.lir, object));
            let pruned: Queue = self
                .stack
                .drain(..bottom.unwrap_or(self.stack.len()))
                .collect();
            self.gone.retain(|&(object, _)| !holds(&pruned, object));
        }

        fn demote_bottom(&mut self) {
            let bottom = self.stack.remove(0);
            take(&mut self.lir, bottom.0);
            self.queue.push(bottom);
            self.prune();
        }

        fn make_room(&mut self, size_bytes: u64) {
            while weight(&self.lir) + weight(&self.queue) + size_bytes > self.size_bytes {
                if self.queue.is_empty() {
                    self.demote_bottom();
                }
                let victim = self.queue.remove(0);
                if holds(&self.stack, victim.0) {
                    self.gone.push(victim);
                }
                while self
                    .gone
                    .iter()
                    .map(|&(_, size)| u128::from(size))
                    .sum::<u128>()
                    > 2 * u128::from(self.size_bytes)
                {
                    let (forgotten, _) = self.gone.remove(0);
                    take(&mut self.stack, forgotten);
                }
            }
        }
    }

    impl Model for NaiveLirs {
        fn request(&mut self, x: Request) {
            let entry = (x.object, x.size_bytes);
            if !holds(&self.seen, x.object) {
                self.seen.push(entry);
            }
            let in_stack = holds(&self.stack, x.object);
            let becomes_lir;
            if holds(&self.lir, x.object) {
                becomes_lir = false;
            } else if holds(&self.queue, x.object) {
                becomes_lir = in_stack;
                take(&mut self.queue, x.object);
                if !in_stack {
                    self.queue.push(entry);
                }
            } else {
                take(&mut self.gone, x.object);
                self.make_room(x.size_bytes);
                if self.lir.is_empty() {
                    self.filling = true;
                }
                if weight(&self.lir) + x.size_bytes > self.lir_share() {
                    self.filling = false;
                }
                becomes_lir = in_stack || self.filling;
                if !becomes_lir {
                    self.queue.push(entry);
                }
            }
            take(&mut self.stack, x.object);
            self.stack.push(entry);
            if becomes_lir {
                self.lir.push(entry);
                while weight(&self.lir) > self.lir_share() {
                    self.demote_bottom();
                }
            }
            self.prune();
        }

        fn contains(&self, object: ObjectId) -> bool {
            holds(&self.lir, object) || holds(&self.queue, object)
        }
    }

    /// The priority of each object in the cache, by the formula.
    pub(crate) struct NaiveGdsf {
        size_bytes: u64,
        inflation: f64,
        cached: Vec<Cached>,
    }

    struct Cached {
        object: ObjectId,
        size_bytes: u64,
        frequency: f64,
        priority: f64,
    }

    impl NaiveGdsf {
        pub(crate) fn new(size_bytes: u64) -> Self {
            NaiveGdsf {
                size_bytes,
                inflation: 0.0,
                cached: Vec::new(),
            }
        }
    }

    impl Model for NaiveGdsf {
        fn request(&mut self, x: Request) {
            // What was used last is last, so that of equals the first goes.
            let frequency = match self
                .cached
                .iter()
                .position(|cached| cached.object == x.object)
            {
                Some(place) => self.cached.remove(place).frequency + 1.0,
                None => 1.0,
            };
            let others = |gdsf: &Self| {
                gdsf.cached
                    .iter()
                    .map(|cached| cached.size_bytes)
                    .sum::<u64>()
            };
            while others(self) + x.size_bytes > self.size_bytes {
                let mut victim = 0;
                for place in 1..self.cached.len() {
                    if self.cached[place].priority < self.cached[victim].priority {
                        victim = place;
                    }
                }
                self.inflation = self.cached.remove(victim).priority;
            }
            let cost = if x.cost == 0.0 {
                1.0
            } else {
                f64::from(x.cost)
            };
            self.cached.push(Cached {
                object: x.object,
                size_bytes: x.size_bytes,
                frequency,
                priority: self.inflation + frequency * cost / x.size_bytes as f64,
            });
        }

        fn contains(&self, object: ObjectId) -> bool {
            self.cached.iter().any(|cached| cached.object == object)
        }
    }
}
