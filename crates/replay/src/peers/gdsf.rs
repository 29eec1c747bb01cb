//! Greedy dual, by size and frequency.

use super::heap::Heap;
use crate::{Cache, ObjectId, Outcome, Request};

/// What an object is ranked by: its priority; then, of equals, the longest unused goes first.
type Key = (f64, u64);

#[derive(Debug, Clone, Copy, Default)]
struct Row {
    /// 0 is "not in the cache".
    size_bytes: u64,
    /// Requests since it came into the cache.
    frequency: u32,
}

/// GDSF: L. Cherkasova, "Improving WWW Proxies Performance with Greedy-Dual-Size-Frequency Caching
/// Policy", HP Laboratories 98-69, 1998; after P. Cao, S. Irani, "Cost-Aware WWW Proxy Caching
/// Algorithms", USITS 1997.
///
/// The priority of an object is `L + frequency x cost / size`, set anew by each request for it; the
/// lowest goes first, and `L` becomes the priority of what went, so that those long unused fall
/// behind. The frequency counts requests since the object came into the cache.
///
/// **Parameters:** none. The cost is the request's own where it is above 0, else 1 (so hits count,
/// not bytes).
///
/// **Objects of different sizes** are what it is made for. Victims go before the object comes in, as
/// in greedy dual by size, so every object is kept at first; a variant in which an object that would
/// be among the lowest is not let in never lets `L` rise while all in the cache are better than a
/// newcomer, and is not what is commonly compared with.
#[derive(Debug)]
pub struct Gdsf {
    rows: Vec<Row>,
    order: Heap<Key>,
    /// `L`: the priority of the last victim.
    inflation: f64,
    requests: u64,
    used_bytes: u64,
    size_bytes: u64,
}

impl Gdsf {
    /// A cache of so many bytes.
    #[must_use]
    pub fn new(size_bytes: u64) -> Self {
        Gdsf {
            rows: Vec::new(),
            order: Heap::new(),
            inflation: 0.0,
            requests: 0,
            used_bytes: 0,
            size_bytes,
        }
    }

    fn rank(&mut self, request: &Request) {
        let row = &mut self.rows[request.object.index()];
        row.frequency = row.frequency.saturating_add(1);
        let cost = if request.cost > 0.0 {
            f64::from(request.cost)
        } else {
            1.0
        };
        let worth = f64::from(row.frequency) * cost / request.size_bytes as f64;
        self.order
            .set(request.object, (self.inflation + worth, self.requests));
    }
}

impl Cache for Gdsf {
    fn request(&mut self, request: Request) -> Outcome {
        let index = request.object.index();
        if index >= self.rows.len() {
            self.rows.resize(index + 1, Row::default());
        }
        self.requests += 1;
        if self.contains(request.object) {
            self.rank(&request);
            return Outcome::Hit;
        }
        while self.used_bytes + request.size_bytes > self.size_bytes {
            let Some(((priority, _), victim)) = self.order.least() else {
                break;
            };
            self.inflation = priority;
            self.order.remove(victim);
            let row = std::mem::take(&mut self.rows[victim.index()]);
            self.used_bytes -= row.size_bytes;
        }
        self.rows[index].size_bytes = request.size_bytes;
        self.used_bytes += request.size_bytes;
        self.rank(&request);
        Outcome::Miss
    }

    fn contains(&self, object: ObjectId) -> bool {
        self.rows
            .get(object.index())
            .is_some_and(|row| row.size_bytes > 0)
    }

    fn used_bytes(&self) -> u64 {
        self.used_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requests an object, and shows what is in the cache with priorities, lowest first, and `L`.
    fn step(gdsf: &mut Gdsf, object: u32, size_bytes: u64, cost: f32) -> (Vec<(u32, f64)>, f64) {
        gdsf.request(Request {
            time: 0,
            object: ObjectId(object),
            size_bytes,
            cost,
        });
        let mut cached = Vec::new();
        let mut order = gdsf.order.clone();
        while let Some(((priority, _), object)) = order.least() {
            cached.push((object.0, priority));
            order.remove(object);
        }
        (cached, gdsf.inflation)
    }

    /// Sizes and costs are such that all sums are exact.
    #[test]
    fn priorities_are_as_worked_by_hand() {
        let mut gdsf = Gdsf::new(14);
        // No cost: 1. 1 / 4.
        assert_eq!(step(&mut gdsf, 1, 4, 0.0), (vec![(1, 0.25)], 0.0));
        // 1 / 8.
        let state = step(&mut gdsf, 2, 8, 0.0);
        assert_eq!(state, (vec![(2, 0.125), (1, 0.25)], 0.0));
        // 4 more are too much: 2 goes, L = 1/8; then 1/8 + 1/4.
        let state = step(&mut gdsf, 3, 4, 0.0);
        assert_eq!(state, (vec![(1, 0.25), (3, 0.375)], 0.125));
        // A hit: 1/8 + 2 x 1/4.
        let state = step(&mut gdsf, 1, 4, 0.0);
        assert_eq!(state, (vec![(3, 0.375), (1, 0.625)], 0.125));
        // 2 comes again, with a cost: 3 goes, L = 3/8; its frequency is 1 again: 3/8 + 6/8.
        let state = step(&mut gdsf, 2, 8, 6.0);
        assert_eq!(state, (vec![(1, 0.625), (2, 1.125)], 0.375));
        // As large as the cache: both go.
        let state = step(&mut gdsf, 4, 14, 7.0);
        assert_eq!(state, (vec![(4, 1.625)], 1.125));
    }

    #[test]
    fn of_equals_the_longest_unused_goes() {
        let mut gdsf = Gdsf::new(3);
        for object in [1, 2, 3, 4] {
            step(&mut gdsf, object, 1, 0.0);
        }
        let left = step(&mut gdsf, 5, 1, 0.0).0;
        assert_eq!(
            left.iter().map(|&(object, _)| object).collect::<Vec<_>>(),
            [3, 4, 5]
        );
    }
}
