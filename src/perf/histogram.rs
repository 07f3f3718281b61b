//! How often which latency was seen: buckets that widen with the value, so that the error is at
//! most 1/64 of it.
//!
//! Values below 128 us have a bucket each. Above, every power of two is cut into 64 buckets; a
//! value is reported as the upper end of its bucket. The least and the greatest value are exact.

/// Buckets per power of two, as a power of two.
const PRECISION_BITS: u32 = 6;
/// Values below this have a bucket each.
const EXACT: u64 = 2 << PRECISION_BITS;
/// Greatest value told apart: an hour and more in microseconds; what is above counts as this.
const VALUE_MAX: u64 = (1 << 32) - 1;
/// Buckets for everything up to `VALUE_MAX`.
const BUCKETS: usize = ((32 - PRECISION_BITS as usize) + 1) << PRECISION_BITS;

/// Counts of values, in microseconds.
#[derive(Debug, Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    min: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0, min: u64::MAX, max: 0 }
    }
}

impl Histogram {
    /// Counts one value.
    pub fn record(&mut self, value: u64) {
        let value = value.min(VALUE_MAX);
        self.counts[bucket(value)] += 1;
        self.total += 1;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    /// Takes over what another one counted.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// How many values were counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The least value; 0 when nothing was counted.
    #[must_use]
    pub fn min(&self) -> u64 {
        if self.total == 0 { 0 } else { self.min }
    }

    /// The greatest value; 0 when nothing was counted.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The least value that `per_mille` thousandths of all values do not exceed; 0 when nothing was
    /// counted.
    #[must_use]
    pub fn quantile(&self, per_mille: u64) -> u64 {
        let rank = (u128::from(self.total) * u128::from(per_mille)).div_ceil(1000).max(1);
        let mut seen = 0_u128;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += u128::from(*count);
            if seen >= rank {
                return upper_end(bucket).clamp(self.min(), self.max);
            }
        }
        self.max
    }
}

/// Bucket of a value up to `VALUE_MAX`: the value itself, or its power of two and the 6 bits below
/// the first one.
fn bucket(value: u64) -> usize {
    let shift = value.checked_ilog2().unwrap_or(0).saturating_sub(PRECISION_BITS);
    let index = (u64::from(shift) << PRECISION_BITS) + (value >> shift);
    usize::try_from(index).unwrap_or(BUCKETS - 1)
}

/// Greatest value of a bucket.
fn upper_end(bucket: usize) -> u64 {
    let index = bucket as u64;
    if index < EXACT {
        return index;
    }
    let shift = (index >> PRECISION_BITS) - 1;
    let base = index - (shift << PRECISION_BITS);
    ((base + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_values_are_exact() {
        let mut histogram = Histogram::default();
        for value in 1..=100 {
            histogram.record(value);
        }
        assert_eq!(histogram.total(), 100);
        assert_eq!((histogram.min(), histogram.max()), (1, 100));
        assert_eq!([500, 950, 990, 999].map(|rank| histogram.quantile(rank)), [50, 95, 99, 100]);
    }

    #[test]
    fn every_value_lies_in_its_bucket_and_the_error_is_small() {
        let mut value = 0;
        while value <= VALUE_MAX {
            let end = upper_end(bucket(value));
            assert!(end >= value, "{value}");
            assert!(end - value <= value / 64, "{value} is reported as {end}");
            value += 1 + value / 97;
        }
        assert_eq!(bucket(VALUE_MAX), BUCKETS - 1);
        assert_eq!(upper_end(BUCKETS - 1), VALUE_MAX);
    }

    #[test]
    fn nothing_counted_is_all_zero() {
        let histogram = Histogram::default();
        assert_eq!((histogram.min(), histogram.quantile(500), histogram.max()), (0, 0, 0));
    }

    #[test]
    fn merging_is_counting_both() {
        let (mut one, mut two, mut both) = Default::default();
        let halves: [&mut Histogram; 2] = [&mut one, &mut two];
        for (half, offset) in halves.into_iter().zip([3, 70_000]) {
            for step in 0..500 {
                half.record(offset + 17 * step);
                Histogram::record(&mut both, offset + 17 * step);
            }
        }
        one.merge(&two);
        assert_eq!(one.counts, both.counts);
        assert_eq!((one.total, one.min, one.max), (both.total, both.min, both.max));
    }

    #[test]
    fn a_value_beyond_all_buckets_counts_as_the_greatest() {
        let mut histogram = Histogram::default();
        histogram.record(u64::MAX);
        assert_eq!(histogram.quantile(500), VALUE_MAX);
    }
}
