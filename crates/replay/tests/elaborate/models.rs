//! Policies written down once more, from their rules: vectors, searched and added up anew each time.

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
        let two = u64::try_from((2 * seen).div_ceil(self.seen.len() as u128)).expect("twice 2^62");
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
