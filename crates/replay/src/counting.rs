//! The replay itself: requests against one cache, and what it missed.

use crate::{Cache, Outcome, Request, Requests};

/// What was asked for and what was missed.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Misses {
    /// All requests.
    pub requests: u64,
    /// Those that missed.
    pub missed: u64,
    /// What all asked for, in bytes.
    pub bytes: u64,
    /// What those that missed asked for, in bytes.
    pub missed_bytes: u64,
    /// What it would cost to miss all of them, in the trace's units; 0 if it does not say.
    pub cost: f64,
    /// What it cost to miss those that were missed.
    pub missed_cost: f64,
}

impl Misses {
    /// Nothing but misses.
    pub(crate) fn all_of(requests: &Requests) -> Self {
        let mut misses = Misses::default();
        for request in requests.iter() {
            misses.count(&request, Outcome::Miss);
        }
        misses
    }

    #[inline]
    fn count(&mut self, request: &Request, outcome: Outcome) {
        self.requests += 1;
        self.bytes = self.bytes.saturating_add(request.size_bytes);
        self.cost += f64::from(request.cost);
        if outcome == Outcome::Miss {
            self.missed += 1;
            self.missed_bytes = self.missed_bytes.saturating_add(request.size_bytes);
            self.missed_cost += f64::from(request.cost);
        }
    }

    /// Missed requests of all requests; 0 where there are none.
    #[must_use]
    pub fn request_ratio(&self) -> f64 {
        ratio(self.missed as f64, self.requests as f64)
    }

    /// Missed bytes of all bytes.
    #[must_use]
    pub fn byte_ratio(&self) -> f64 {
        ratio(self.missed_bytes as f64, self.bytes as f64)
    }

    /// Missed cost of all cost; `None` where the trace has no costs.
    #[must_use]
    pub fn cost_ratio(&self) -> Option<f64> {
        (self.cost > 0.0).then(|| ratio(self.missed_cost, self.cost))
    }
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole == 0.0 { 0.0 } else { part / whole }
}

/// So many requests are looked up together.
const BLOCK: usize = 64;

/// `every` is called after so many blocks.
const BLOCKS_PER_CALL: usize = 1_024;

/// Plays all requests against a cache of `size_bytes`. `every` is called now and then with how many
/// requests are done, for those who wait.
pub fn replay(
    requests: &Requests,
    size_bytes: u64,
    cache: &mut (impl Cache + ?Sized),
    mut every: impl FnMut(usize),
) -> Misses {
    let mut misses = Misses::default();
    let mut left = requests.iter();
    // The sizes of objects lie all over the memory. Looked up one by one, each is waited for; many in
    // a row, they come together.
    let mut block = Vec::with_capacity(BLOCK);
    for number in 0..requests.len().div_ceil(BLOCK) {
        if number.is_multiple_of(BLOCKS_PER_CALL) {
            every(number * BLOCK);
        }
        block.clear();
        block.extend(left.by_ref().take(BLOCK));
        for request in &block {
            let outcome = if request.size_bytes > size_bytes {
                Outcome::Miss
            } else {
                cache.request(*request)
            };
            misses.count(request, outcome);
        }
    }
    misses
}
