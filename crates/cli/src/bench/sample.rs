//! Taking samples: ours and the peer's by turns, so that what else the machine does hits both.

use std::time::Instant;

use rand_pcg::Pcg64;
use rand_pcg::rand_core::Rng;

use crate::output::Failure;

/// How many turns a quick measure takes. Odd, so that the median is one of them.
pub(crate) const TURNS: usize = 21;
/// How many turns a long one takes: the fewest that are allowed.
pub(crate) const TURNS_LONG: usize = 7;

/// The figures of one side, in the order of size.
#[derive(Clone, Debug)]
pub(crate) struct Sorted(Vec<f64>);

impl Sorted {
    pub(crate) fn new(mut figures: Vec<f64>) -> Self {
        figures.sort_unstable_by(f64::total_cmp);
        Self(figures)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The middle one; 0 of none.
    pub(crate) fn median(&self) -> f64 {
        self.at(1, 2)
    }

    /// How far the quartiles are apart.
    pub(crate) fn spread(&self) -> f64 {
        self.at(3, 4) - self.at(1, 4)
    }

    /// The figure that `part` of `whole` are not above.
    pub(crate) fn at(&self, part: usize, whole: usize) -> f64 {
        let last = self.0.len().saturating_sub(1);
        self.0.get(last * part / whole).copied().unwrap_or(0.0)
    }
}

/// The figures of both sides.
#[derive(Clone, Debug)]
pub(crate) struct Samples {
    pub(crate) ours: Sorted,
    pub(crate) peer: Sorted,
}

impl Samples {
    pub(crate) fn of(ours: Vec<f64>, peer: Vec<f64>) -> Self {
        Self {
            ours: Sorted::new(ours),
            peer: Sorted::new(peer),
        }
    }

    /// Ours beside a figure that is not measured: a limit.
    pub(crate) fn beside(ours: Vec<f64>, limit: f64) -> Self {
        Self::of(ours, vec![limit])
    }
}

/// Calls both, `turns` times each, the one or the other first by turns, after one turn that does
/// not count. Each says what it measured.
///
/// # Errors
/// The first of theirs.
pub(crate) fn by_turns(
    turns: usize,
    mut ours: impl FnMut() -> Result<f64, Failure>,
    mut peer: impl FnMut() -> Result<f64, Failure>,
) -> Result<Samples, Failure> {
    ours()?;
    peer()?;
    let (mut our_figures, mut peer_figures) = (Vec::new(), Vec::new());
    for turn in 0..turns {
        if turn % 2 == 0 {
            our_figures.push(ours()?);
            peer_figures.push(peer()?);
        } else {
            peer_figures.push(peer()?);
            our_figures.push(ours()?);
        }
    }
    Ok(Samples::of(our_figures, peer_figures))
}

/// Nanoseconds since `start`.
pub(crate) fn ns_since(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e9
}

/// Nanoseconds that each of `count` rounds of `work` takes.
pub(crate) fn ns_each(count: u32, mut work: impl FnMut()) -> f64 {
    let start = Instant::now();
    for _ in 0..count {
        work();
    }
    ns_since(start) / f64::from(count)
}

/// The numbers below `count` in an order without order; the next call gives another one.
pub(crate) fn shuffled(random: &mut Pcg64, count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    for place in (1..count).rev() {
        let below = u64::try_from(place + 1).unwrap_or(u64::MAX);
        // Not quite even for counts that are no power of two: for a workload it will do.
        let other = usize::try_from(random.next_u64() % below).unwrap_or(0);
        order.swap(place, other);
    }
    order
}

/// The order of things is the same in every run.
pub(crate) fn random() -> Pcg64 {
    Pcg64::new(0x7669_646d_6d00_0001, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_and_quartiles() {
        let sorted = Sorted::new(vec![5.0, 1.0, 3.0, 2.0, 4.0]);
        assert_eq!(sorted.median(), 3.0);
        assert_eq!(sorted.spread(), 2.0);
        assert_eq!(sorted.at(99, 100), 4.0);
        assert_eq!(Sorted::new(Vec::new()).median(), 0.0);
    }

    #[test]
    fn the_first_turn_does_not_count_and_both_sides_have_equal_turns() {
        let (mut ours, mut peer) = (0.0, 100.0);
        let samples = by_turns(
            3,
            || {
                ours += 1.0;
                Ok(ours)
            },
            || {
                peer += 1.0;
                Ok(peer)
            },
        )
        .unwrap();
        assert_eq!((samples.ours.median(), samples.peer.median()), (3.0, 103.0));
        assert_eq!((samples.ours.len(), samples.peer.len()), (3, 3));
    }

    #[test]
    fn a_shuffle_loses_nothing_and_changes_the_order() {
        let mut order = shuffled(&mut random(), 1000);
        assert!(!order.is_sorted());
        order.sort_unstable();
        assert!(order.into_iter().eq(0..1000));
    }
}
