//! Learned from two experts.

use super::heap::Heap;
use super::list::Lists;
use crate::mix::Draws;
use crate::{Cache, ObjectId, Outcome, Request};

/// In the cache, in order of use.
const CACHED: usize = 0;
/// Discarded on the word of each expert, in order of discard.
const BY_LRU: usize = 1;
const BY_LFU: usize = 2;

const LEARNING_RATE: f64 = 0.45;
/// What regret is discounted to for an object that was discarded as many requests ago as the cache
/// has objects.
const DISCOUNT: f64 = 0.005;
/// Neither expert is believed less than 1 %.
const MOST_WEIGHT: f64 = 0.99;

#[derive(Debug, Clone, Copy, Default)]
struct Row {
    /// Requests since it was last in neither cache nor history.
    frequency: u32,
    /// The number of the request that discarded it.
    discarded: u64,
}

/// LeCaR: G. Vietri, L. V. Rodriguez, W. A. Martinez, S. Lyons, J. Liu, R. Rangaswami, M. Zhao,
/// G. Narasimhan, "Driving Cache Replacement with ML-based LeCaR", HotStorage 2018.
///
/// For each victim one of two experts is asked, least recently used or least frequently used, with
/// probabilities learned from regret: a request for an object that one of them had discarded makes
/// that one's weight smaller by `exp(-0.45 d^t)`, where `t` requests have passed since, and `d =
/// 0.005^(1/N)` for a cache of `N` objects. An object that both would discard teaches nothing. A
/// returning object that is still in a history has its old frequency. Of equally frequent objects
/// the longest unused goes first.
///
/// **Parameters:** learning rate 0.45, discount 0.005^(1/N), a history of the cache's size for each
/// expert, weights 0.5 at first and at most 0.99 (from the authors' later program; the paper has no
/// bound); a seed.
///
/// **Objects of different sizes** (the paper has pages): lengths of cache and histories are bytes;
/// experts are asked anew for each victim until the object fits. `N` is the size of the cache over
/// the mean size of what is in it.
#[derive(Debug)]
pub struct LeCaR {
    lists: Lists<3>,
    /// Of what is in the cache: frequency, then the number of the last request.
    frequent: Heap<(u32, u64)>,
    rows: Vec<Row>,
    lru_weight: f64,
    draws: Draws,
    requests: u64,
    size_bytes: u64,
}

impl LeCaR {
    /// A cache of so many bytes. Equal seeds make equal choices.
    #[must_use]
    pub fn new(size_bytes: u64, seed: u64) -> Self {
        LeCaR {
            lists: Lists::new(),
            frequent: Heap::new(),
            rows: Vec::new(),
            lru_weight: 0.5,
            draws: Draws::new(seed),
            requests: 0,
            size_bytes,
        }
    }

    /// Learns from a request for what was discarded on the word of the expert whose history it is in.
    fn learn(&mut self, object: ObjectId, history: usize) {
        let cached_bytes = self.used_bytes().max(1) as f64;
        let objects = self.frequent.len() as f64 * self.size_bytes as f64 / cached_bytes;
        let age = (self.requests - self.rows[object.index()].discarded) as f64;
        let regret = DISCOUNT.powf(age / objects.max(1.0));
        let shrink = (-LEARNING_RATE * regret).exp();
        let (mut lru, mut lfu) = (self.lru_weight, 1.0 - self.lru_weight);
        match history {
            BY_LRU => lru *= shrink,
            _ => lfu *= shrink,
        }
        self.lru_weight = (lru / (lru + lfu)).clamp(1.0 - MOST_WEIGHT, MOST_WEIGHT);
    }

    /// Discards one object; false if there is none.
    fn discard(&mut self) -> bool {
        let (Some(by_lru), Some((_, by_lfu))) = (self.lists.oldest(CACHED), self.frequent.least())
        else {
            return false;
        };
        let ask_lru = unit(&mut self.draws) < self.lru_weight;
        let victim = if ask_lru { by_lru } else { by_lfu };
        self.frequent.remove(victim);
        if by_lru == by_lfu {
            self.lists.remove(victim);
            return true;
        }
        let history = if ask_lru { BY_LRU } else { BY_LFU };
        self.rows[victim.index()].discarded = self.requests;
        self.lists.remember(history, victim, self.size_bytes);
        true
    }
}

/// A draw of at least 0 and below 1.
#[inline]
fn unit(draws: &mut Draws) -> f64 {
    (draws.next() >> 11) as f64 / (1_u64 << 53) as f64
}

impl Cache for LeCaR {
    fn request(&mut self, request: Request) -> Outcome {
        let object = request.object;
        let index = object.index();
        self.lists.know(object);
        if index >= self.rows.len() {
            self.rows.resize(index + 1, Row::default());
        }
        self.requests += 1;
        let found = self.lists.list_of(object);
        match found {
            Some(CACHED) => self.lists.renew(CACHED, object),
            Some(history) => {
                self.learn(object, history);
                self.lists.remove(object);
            }
            None => self.rows[index].frequency = 0,
        }
        if found != Some(CACHED) {
            while self.used_bytes() + request.size_bytes > self.size_bytes && self.discard() {}
            self.lists.put(CACHED, &request);
        }
        let row = &mut self.rows[index];
        row.frequency = row.frequency.saturating_add(1);
        self.frequent.set(object, (row.frequency, self.requests));
        match found {
            Some(CACHED) => Outcome::Hit,
            _ => Outcome::Miss,
        }
    }

    fn contains(&self, object: ObjectId) -> bool {
        self.lists.list_of(object) == Some(CACHED)
    }

    fn used_bytes(&self) -> u64 {
        self.lists.bytes(CACHED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requests an object with a weight set before; shows the cache and the histories, newest first.
    fn step(lecar: &mut LeCaR, lru_weight: f64, object: u32) -> [Vec<u32>; 3] {
        lecar.lru_weight = lru_weight;
        lecar.request(Request {
            time: 0,
            object: ObjectId(object),
            size_bytes: 1,
            cost: 0.0,
        });
        [CACHED, BY_LRU, BY_LFU].map(|list| lecar.lists.newest_first(list))
    }

    fn lists<const N: usize>(lists: [&[u32]; N]) -> [Vec<u32>; N] {
        lists.map(<[u32]>::to_vec)
    }

    /// 3 pages. With a weight of 1 the least recently used goes, with 0 the least frequently used.
    #[test]
    fn choices_and_regret_are_as_worked_by_hand() {
        let mut lecar = LeCaR::new(3, 0);
        for object in [1, 1, 2, 3] {
            step(&mut lecar, 0.5, object);
        }
        // 1 is the longest unused; 2 and 3 were used less often, 2 the longer ago.
        let state = step(&mut lecar, 1.0, 4);
        assert_eq!(state, lists([&[4, 3, 2], &[1], &[]]));
        // 1 was discarded on LRU's word a request ago, and LRU's weight is less by
        // exp(-0.45 x 0.005^(1/3)) = exp(-0.45 x 0.1710) = 0.9259: 0.4630 of 0.9630.
        // Both experts would discard 2, so it is in no history.
        let state = step(&mut lecar, 0.5, 1);
        assert_eq!(state, lists([&[1, 4, 3], &[], &[]]));
        assert!(
            (lecar.lru_weight - 0.4808).abs() < 1e-4,
            "{}",
            lecar.lru_weight
        );
        // Its three requests are remembered; so when 3 is used, 4 is the longest unused and, of
        // those used once, LFU's as well; 3 with two is safe.
        step(&mut lecar, 0.5, 3);
        let state = step(&mut lecar, 0.0, 5);
        assert_eq!(state, lists([&[5, 3, 1], &[], &[]]));
        // Now LRU would discard 1, used three times, LFU 5, used once.
        let state = step(&mut lecar, 0.0, 6);
        assert_eq!(state, lists([&[6, 3, 1], &[], &[5]]));
        // Two requests later 5 is wanted: LFU loses exp(-0.45 x 0.005^(2/3)) = 0.9869, so LRU has
        // 0.5 of 0.9935.
        step(&mut lecar, 0.5, 3);
        step(&mut lecar, 0.5, 5);
        assert!(
            (lecar.lru_weight - 0.5033).abs() < 1e-4,
            "{}",
            lecar.lru_weight
        );
    }

    /// A history holds as many bytes as the cache, and a name that left it has no frequency.
    #[test]
    fn histories_are_bounded() {
        let mut lecar = LeCaR::new(3, 0);
        for object in [1, 1, 1, 1] {
            step(&mut lecar, 1.0, object);
        }
        // 1 stays until it is the longest unused.
        for object in 2..9 {
            step(&mut lecar, 0.0, object);
        }
        assert_eq!(lecar.lists.newest_first(BY_LFU), [6, 5, 4]);
        assert_eq!(lecar.lists.newest_first(CACHED), [8, 7, 1]);
    }
}
