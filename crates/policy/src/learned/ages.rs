//! Ages on a logarithmic scale with two buckets to a doubling.

/// So many buckets hold every age.
pub(super) const BUCKETS: usize = 63;

/// A number for each bucket.
pub(super) type ByAge = [f64; BUCKETS];

/// The natural logarithm of the ratio of the ages at the ends of a bucket.
pub(super) const LOG_WIDTH: f64 = std::f64::consts::LN_2 / 2.0;

/// The bucket of an age, in ticks.
#[inline]
pub(super) fn bucket_of(age_ticks: u32) -> usize {
    match age_ticks.checked_ilog2() {
        None | Some(0) => 0,
        Some(log2) => (2 * log2 - 1 + (age_ticks >> (log2 - 1) & 1)) as usize,
    }
}

/// How far through its bucket an age is: 0 at the beginning, 255 at most.
#[inline]
pub(super) fn place_in_bucket(age_ticks: u32) -> u32 {
    match age_ticks.checked_ilog2() {
        None | Some(0) => age_ticks * 128,
        Some(log2) => {
            let digits = log2 - 1;
            let rest = u64::from(age_ticks) & ((1 << digits) - 1);
            // Below 256: the rest is below 2^digits.
            #[allow(clippy::cast_possible_truncation)]
            let place = ((rest << 8) >> digits) as u32;
            place
        }
    }
}

/// The first age of a bucket, in ticks; of [`BUCKETS`], one above the highest age.
pub(super) fn begin_of(bucket: usize) -> f64 {
    match bucket {
        0 => 0.0,
        _ => {
            let (log2, upper) = (bucket.div_ceil(2), bucket.is_multiple_of(2));
            let begin = 1_u64 << log2;
            let begin = if upper { begin + begin / 2 } else { begin };
            // At most 2^32.
            #[allow(clippy::cast_precision_loss)]
            let begin = begin as f64;
            begin
        }
    }
}

/// The age in the middle of a bucket, in ticks.
pub(super) fn middle_of(bucket: usize) -> f64 {
    f64::midpoint(begin_of(bucket), begin_of(bucket + 1))
}

/// How many ticks a bucket has.
pub(super) fn width_of(bucket: usize) -> f64 {
    begin_of(bucket + 1) - begin_of(bucket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        assert_eq!(bucket_of(u32::MAX), BUCKETS - 1);
        assert!((begin_of(BUCKETS) - 2_f64.powi(32)).abs() < 0.5);
        for bucket in 0..BUCKETS {
            assert!(width_of(bucket) >= 1.0, "{bucket}");
        }
    }

    proptest! {
        #[test]
        fn an_age_is_in_its_bucket(shift in 0..32_u32, age in any::<u32>()) {
            let age = age >> shift;
            let bucket = bucket_of(age);
            prop_assert!(begin_of(bucket) <= f64::from(age));
            prop_assert!(f64::from(age) < begin_of(bucket + 1));
            let through = (f64::from(age) - begin_of(bucket)) / width_of(bucket);
            let place = f64::from(place_in_bucket(age)) / 256.0;
            prop_assert!((through - place).abs() <= 1.0 / 256.0, "{through} {place}");
        }
    }
}
