//! The Gittins index: what it pays to hold something, by age, out of hazards.

use super::ages::{BUCKETS, ByAge};

/// What is left of 1 after so many times of life, on average: near enough `e^-times`, and by
/// multiplications alone, so the same to the last bit on every machine and without a library.
pub(super) fn fallen(times: f64) -> f64 {
    let mut power = 1.0 / (1.0 + times / 16.0);
    for _ in 0..4 {
        power *= power;
    }
    power
}

/// A stretch of ages that something is held through, as seen from its beginning.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    /// The chance of a reclaim in it.
    reclaims: f64,
    /// How long it is held, on average, in ticks: to the reclaim or to the end.
    ticks: f64,
    /// The chance of no reclaim in it.
    survives: f64,
}

impl Stretch {
    const NONE: Stretch = Stretch {
        reclaims: 0.0,
        ticks: 0.0,
        survives: 1.0,
    };

    fn new(hazard: f64, width_ticks: f64) -> Self {
        let survives = fallen(hazard * width_ticks);
        let reclaims = 1.0 - survives;
        let ticks = if reclaims > 1e-12 {
            reclaims / hazard
        } else {
            width_ticks
        };
        Stretch {
            reclaims,
            ticks,
            survives,
        }
    }

    fn then(self, next: Stretch) -> Stretch {
        Stretch {
            reclaims: self.reclaims + self.survives * next.reclaims,
            ticks: self.ticks + self.survives * next.ticks,
            survives: self.survives * next.survives,
        }
    }

    fn index(self) -> f64 {
        self.reclaims / self.ticks
    }
}

/// The Gittins index of each age: the highest ratio, over all times to give up, of the expected
/// number of reclaims to the expected time held until a reclaim or until giving up. What is in the
/// middle of its bucket has half of it before it.
///
/// From the last age back: the best stretch from an age on is its own bucket, and then every best
/// stretch that follows as long as that is better than what there is so far. Each is looked at a few
/// times only, since what was taken in is one with it from then on.
///
/// J. C. Gittins, "Bandit Processes and Dynamic Allocation Indices", J. R. Statist. Soc. B 41, 1979.
pub(super) fn gittins(hazards: &ByAge, widths: &ByAge) -> ByAge {
    let mut indices = [0.0; BUCKETS];
    // The best stretches from the next bucket on, the nearest last; each is better than what
    // follows it.
    let mut ahead = [Stretch::NONE; BUCKETS];
    let mut count = 0;
    for age in (0..BUCKETS).rev() {
        let mut from_the_middle = Stretch::new(hazards[age], widths[age] / 2.0);
        for next in ahead[..count].iter().rev() {
            if next.index() <= from_the_middle.index() {
                break;
            }
            from_the_middle = from_the_middle.then(*next);
        }
        indices[age] = from_the_middle.index();
        let mut whole = Stretch::new(hazards[age], widths[age]);
        while count > 0 && ahead[count - 1].index() > whole.index() {
            count -= 1;
            whole = whole.then(ahead[count]);
        }
        ahead[count] = whole;
        count += 1;
    }
    indices
}

#[cfg(test)]
mod tests {
    use super::super::ages::width_of;
    use super::*;
    use proptest::prelude::*;

    /// Every time to give up, one after the other.
    fn by_all_horizons(hazards: &ByAge) -> ByAge {
        let widths: ByAge = std::array::from_fn(width_of);
        std::array::from_fn(|age| {
            let mut so_far = Stretch::new(hazards[age], widths[age] / 2.0);
            let mut best = so_far.index();
            for next in age + 1..BUCKETS {
                so_far = so_far.then(Stretch::new(hazards[next], widths[next]));
                best = best.max(so_far.index());
            }
            best
        })
    }

    proptest! {
        #[test]
        fn the_index_is_the_best_over_all_horizons(
            digits in prop::collection::vec(-7.0..1.0_f64, BUCKETS),
        ) {
            let hazards: ByAge = std::array::from_fn(|age| 10_f64.powf(digits[age]));
            let widths: ByAge = std::array::from_fn(width_of);
            let (fast, slow) = (gittins(&hazards, &widths), by_all_horizons(&hazards));
            for age in 0..BUCKETS {
                prop_assert!((fast[age] / slow[age] - 1.0).abs() < 1e-9, "{age}: {fast:?} {slow:?}");
            }
        }
    }
}
