//! The scratch of all workers together, in the order in which their messages arrive.

use std::collections::VecDeque;

/// Who holds how much. Each worker bounds what it holds within its own part; of those that want
/// more than that, one at a time gets it.
#[derive(Debug)]
pub(crate) struct ScratchBook {
    held_bytes: Vec<u64>,
    peak_bytes: u64,
    large: Option<usize>,
    waiting: VecDeque<usize>,
}

impl ScratchBook {
    /// Nobody holds any.
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            held_bytes: vec![0; workers],
            peak_bytes: 0,
            large: None,
            waiting: VecDeque::new(),
        }
    }

    /// A worker holds so much now.
    pub(crate) fn holds(&mut self, worker: usize, bytes: u64) {
        self.held_bytes[worker] = bytes;
        let sum = self
            .held_bytes
            .iter()
            .fold(0, |sum: u64, held| sum.saturating_add(*held));
        self.peak_bytes = self.peak_bytes.max(sum);
        if bytes == 0 && self.large == Some(worker) {
            self.large = None;
        }
    }

    /// A worker wants a large hold.
    pub(crate) fn wants_large(&mut self, worker: usize) {
        self.waiting.push_back(worker);
    }

    /// A worker is no more.
    pub(crate) fn forget(&mut self, worker: usize) {
        self.waiting.retain(|waiting| *waiting != worker);
        if self.large == Some(worker) {
            self.large = None;
        }
        self.held_bytes[worker] = 0;
    }

    /// Who gets a large hold now.
    pub(crate) fn next_large(&mut self) -> Option<usize> {
        if self.large.is_some() {
            return None;
        }
        self.large = self.waiting.pop_front();
        self.large
    }

    /// The most that was held at once.
    pub(crate) fn peak_bytes(&self) -> u64 {
        self.peak_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_holds_go_one_at_a_time_and_the_dead_hold_none() {
        let mut book = ScratchBook::new(3);
        book.holds(0, 10);
        book.wants_large(1);
        book.wants_large(2);
        book.wants_large(0);
        assert_eq!(book.next_large(), Some(1));
        assert_eq!(book.next_large(), None);
        book.holds(1, 100);
        book.forget(2);
        book.holds(1, 0);
        assert_eq!(book.next_large(), Some(0));
        book.forget(0);
        assert_eq!(book.next_large(), None);
        book.wants_large(2);
        assert_eq!(book.next_large(), Some(2));
        assert_eq!(book.peak_bytes(), 110);
    }
}
