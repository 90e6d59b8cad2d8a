//! Histograms of durations.

use std::sync::atomic::{AtomicU64, Ordering};

/// The upper bounds of a histogram's buckets, in nanoseconds, ascending. The last bucket has no bound.
#[derive(Debug)]
pub struct Bounds(&'static [u64]);

/// The most bounds that a histogram may have.
const MAX_BOUNDS: usize = 17;

/// A microsecond and a millisecond, in nanoseconds.
pub(super) const US: u64 = 1_000;
pub(super) const MS: u64 = 1_000 * US;
const SECOND: u64 = 1_000_000_000;

/// The bounds of all histograms.
const ALL: [u64; 18] = [
    50 * US,
    100 * US,
    250 * US,
    500 * US,
    MS,
    2_500 * US,
    5 * MS,
    10 * MS,
    25 * MS,
    50 * MS,
    100 * MS,
    250 * MS,
    500 * MS,
    SECOND,
    2_500 * MS,
    5 * SECOND,
    10 * SECOND,
    30 * SECOND,
];

impl Bounds {
    /// For durations between a process and its Redis: from less than a round trip on one machine to 10 s, the time-out of a
    /// patient client.
    pub const REDIS: Self = Self(ALL.split_at(17).0);

    /// For the answers of a collector: from 1 ms, on the same machine, to 30 s, the default of `OTEL_BSP_EXPORT_TIMEOUT`.
    pub const COLLECTOR: Self = Self(ALL.split_at(4).1);
}

/// The counts of durations by bucket. Tasks add without waiting; a reader sees each count whole, but not all at one instant.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    /// One bucket more than there are bounds.
    buckets: Box<[AtomicU64]>,
    /// The sum of all values, in nanoseconds.
    sum: AtomicU64,
}

/// The values of a histogram at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The upper bounds in nanoseconds, each with the number of values up to it. The bucket without a bound is left out.
    pub buckets: Vec<(u64, u64)>,
    /// The number of values.
    pub count: u64,
    /// The sum of the values, in nanoseconds.
    pub sum: u64,
}

impl Histogram {
    /// A histogram without values.
    pub fn new(bounds: &Bounds) -> Self {
        debug_assert!(bounds.0.len() <= MAX_BOUNDS && bounds.0.is_sorted());
        Self {
            bounds: bounds.0,
            buckets: (0..=bounds.0.len()).map(|_| AtomicU64::default()).collect(),
            sum: AtomicU64::default(),
        }
    }

    /// Adds a value, in nanoseconds.
    pub fn observe(&self, nanos: u64) {
        self.observe_all([nanos]);
    }

    /// Adds values, in nanoseconds, with one atomic addition for each bucket that gets some.
    pub fn observe_all(&self, nanos: impl IntoIterator<Item = u64>) {
        let mut counts = [0; MAX_BOUNDS + 1];
        let mut sum = 0_u64;
        for value in nanos {
            counts[self.bounds.partition_point(|bound| *bound < value)] += 1;
            sum = sum.saturating_add(value);
        }
        for (bucket, count) in self.buckets.iter().zip(counts).filter(|(_, count)| *count > 0) {
            bucket.fetch_add(count, Ordering::Relaxed);
        }
        if sum > 0 {
            self.sum.fetch_add(sum, Ordering::Relaxed);
        }
    }

    /// Adds the values of `other`, which has the same bounds.
    pub fn merge(&self, other: &Self) {
        debug_assert_eq!(self.bounds, other.bounds);
        for (bucket, more) in self.buckets.iter().zip(&other.buckets) {
            bucket.fetch_add(more.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        self.sum.fetch_add(other.sum.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Reads the values that have been added so far.
    pub fn read(&self) -> Reading {
        let mut count = 0;
        let mut up_to = self.buckets.iter().map(|bucket| {
            count += bucket.load(Ordering::Relaxed);
            count
        });
        let buckets = self.bounds.iter().copied().zip(&mut up_to).collect();
        let count = up_to.next().unwrap_or_default();
        Reading { buckets, count, sum: self.sum.load(Ordering::Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_counted_in_every_bucket_whose_bound_it_does_not_exceed() {
        let histogram = Histogram::new(&Bounds(&[10, 20]));
        histogram.observe_all([0, 10, 11, 20, 21]);
        histogram.observe(1_000);
        assert_eq!(histogram.read(), Reading { buckets: vec![(10, 2), (20, 4)], count: 6, sum: 1_062 });
        let sum = Histogram::new(&Bounds(&[10, 20]));
        sum.merge(&histogram);
        sum.merge(&histogram);
        assert_eq!(sum.read(), Reading { buckets: vec![(10, 4), (20, 8)], count: 12, sum: 2_124 });
    }

    #[test]
    fn the_bounds_rise_and_are_within_the_limit() {
        for bounds in [Bounds::REDIS, Bounds::COLLECTOR] {
            assert!(bounds.0.is_sorted_by(|a, b| a < b) && bounds.0.len() <= MAX_BOUNDS);
        }
    }
}
