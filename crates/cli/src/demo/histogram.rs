//! Counts of durations in bins of at most 1/32 relative width: fixed memory.

use std::time::{Duration, Instant};

use serde::Serialize;

/// Bins per doubling, and the first value with more than one value per bin.
const STEPS: u64 = 1 << STEPS_LOG2;
const STEPS_LOG2: u32 = 5;
/// Bins for all 64-bit values.
const BINS: usize = (64 - STEPS_LOG2 as usize + 1) << STEPS_LOG2;

/// Durations in nanoseconds.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

/// The two figures that are reported, in nanoseconds; 0 where nothing was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Quantiles {
    pub(crate) p50: u64,
    pub(crate) p99: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; BINS],
            total: 0,
        }
    }
}

impl Histogram {
    pub(crate) fn record(&mut self, value_ns: u64) {
        self.counts[bin_of(value_ns)] += 1;
        self.total += 1;
    }

    pub(crate) fn quantiles(&self) -> Quantiles {
        Quantiles {
            p50: self.at_percent(50),
            p99: self.at_percent(99),
        }
    }

    /// The lower end of the bin that holds the value with `percent` of all at or below it.
    fn at_percent(&self, percent: u64) -> u64 {
        let wanted = self.total.saturating_mul(percent).div_ceil(100).max(1);
        let mut seen = 0;
        for (bin, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return lowest_of(bin);
            }
        }
        0
    }
}

fn bin_of(value: u64) -> usize {
    let shift = (u64::BITS - value.leading_zeros()).saturating_sub(STEPS_LOG2 + 1);
    let bin = u64::from(shift) * STEPS + (value >> shift);
    usize::try_from(bin).unwrap_or(BINS - 1)
}

fn lowest_of(bin: usize) -> u64 {
    let bin = bin as u64;
    let shift = (bin / STEPS).saturating_sub(1);
    (bin - shift * STEPS) << shift
}

/// A duration as whole nanoseconds (584 years and more are shown as such).
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// What reading the clock adds to a measured duration: the median of many empty measurements.
pub(crate) fn clock_cost_ns() -> u64 {
    let mut empty = Histogram::default();
    for _ in 0..10_000 {
        let start = Instant::now();
        empty.record(nanoseconds(start.elapsed()));
    }
    empty.quantiles().p50
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_are_narrow_and_in_order() {
        let mut last = 0;
        let values = (0..5_000).chain((13..64).flat_map(|bit| {
            let power = 1_u64 << bit;
            [power - 1, power, power + power / 3]
        }));
        for value in values {
            let bin = bin_of(value);
            assert!(bin < BINS);
            let lowest = lowest_of(bin);
            assert!(
                lowest <= value && value - lowest <= value / STEPS,
                "{value} {lowest}"
            );
            assert!(bin >= last);
            last = bin;
        }
        assert!(bin_of(u64::MAX) < BINS);
    }

    #[test]
    fn quantiles_of_known_values() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantiles(), Quantiles { p50: 0, p99: 0 });
        (1..=30).for_each(|value| histogram.record(value));
        assert_eq!(histogram.quantiles(), Quantiles { p50: 15, p99: 30 });
        (0..70).for_each(|_| histogram.record(31));
        assert_eq!(histogram.quantiles(), Quantiles { p50: 31, p99: 31 });
        assert_eq!(histogram.total, 100);
    }
}
