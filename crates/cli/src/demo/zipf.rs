//! Zipf's law over ranks: rank r (from 1) is drawn with probability in proportion to 1 / r^s.

use rand_pcg::Pcg64;
use rand_pcg::rand_core::Rng;

/// A sampler over ranks `0..count`.
#[derive(Debug)]
pub(crate) struct Zipf {
    /// Sums of the weights up to and including each rank.
    cumulative: Vec<f64>,
}

impl Zipf {
    /// `count` ranks, at least one, with the given exponent.
    pub(crate) fn new(count: usize, exponent: f64) -> Self {
        let mut total = 0.0;
        let weights = (1..=count.max(1)).map(|rank| {
            total += (rank as f64).powf(-exponent);
            total
        });
        Self {
            cumulative: weights.collect(),
        }
    }

    /// Draws a rank.
    pub(crate) fn draw(&self, random: &mut Pcg64) -> usize {
        let last = self.cumulative.len() - 1;
        let point = unit(random) * self.cumulative[last];
        self.cumulative
            .partition_point(|&sum| sum <= point)
            .min(last)
    }
}

/// A number in [0, 1) with 53 random bits.
fn unit(random: &mut Pcg64) -> f64 {
    (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

/// A number in `0..count`, evenly; `count` at least 1. (By multiplication: the bias is below
/// `count` / 2^64.)
pub(crate) fn below(random: &mut Pcg64, count: usize) -> usize {
    let product = u128::from(random.next_u64()) * count as u128;
    usize::try_from(product >> 64).unwrap_or(0)
}

/// `0..count` in random order (Fisher and Yates).
pub(crate) fn permutation(random: &mut Pcg64, count: usize) -> Vec<u32> {
    let mut order: Vec<u32> = (0..u32::try_from(count).unwrap_or(u32::MAX)).collect();
    for index in (1..order.len()).rev() {
        order.swap(index, below(random, index + 1));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequencies_follow_the_law() {
        const COUNT: usize = 50;
        const DRAWS: u32 = 400_000;
        let zipf = Zipf::new(COUNT, 0.9);
        let mut random = Pcg64::new(7, 1);
        let mut seen = [0_u32; COUNT];
        for _ in 0..DRAWS {
            seen[zipf.draw(&mut random)] += 1;
        }
        let total: f64 = (1..=COUNT).map(|rank| (rank as f64).powf(-0.9)).sum();
        for (index, &count) in seen.iter().enumerate() {
            let expected = f64::from(DRAWS) * ((index + 1) as f64).powf(-0.9) / total;
            // Six standard deviations of a binomial count.
            let slack = 6.0 * expected.sqrt();
            assert!(
                (f64::from(count) - expected).abs() < slack,
                "rank {index}: {count} {expected}"
            );
        }
    }

    #[test]
    fn one_rank_is_always_drawn() {
        let zipf = Zipf::new(1, 0.9);
        let mut random = Pcg64::new(1, 1);
        assert!((0..100).all(|_| zipf.draw(&mut random) == 0));
    }

    #[test]
    fn a_permutation_has_each_number_once() {
        let mut order = permutation(&mut Pcg64::new(3, 4), 1000);
        assert!(order.windows(2).any(|pair| pair[0] > pair[1]));
        order.sort_unstable();
        assert!(order.iter().copied().eq(0..1000));
    }
}
