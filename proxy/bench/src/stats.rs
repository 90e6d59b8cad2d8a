//! Medians with their spread, and percentiles of latencies.

use std::fmt;
use std::time::Duration;

/// Every latency of a run, in nanoseconds; more than 4 s counts as 4 s.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latencies(Vec<u32>);

/// In microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
}

/// Figures of several rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Latencies {
    pub(crate) fn add(&mut self, latency: Duration) {
        self.0.push(u32::try_from(latency.as_nanos()).unwrap_or(u32::MAX));
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// `None` without any latency.
    pub(crate) fn percentiles(mut self) -> Option<Percentiles> {
        self.0.sort_unstable();
        let last = self.0.len().checked_sub(1)?;
        let at = |share: f64| f64::from(self.0[((last as f64) * share).round() as usize]) / 1e3;
        Some(Percentiles { p50: at(0.5), p99: at(0.99), p999: at(0.999) })
    }
}

impl Spread {
    /// `None` without any figure.
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = figures.into_iter().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 };
        Some(Self { median, min, max })
    }
}

/// As a ratio: `0.98 (0.95-1.02)`.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} ({:.2}-{:.2})", self.median, self.min, self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_count_is_the_mean_of_the_middle_two() {
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]), Some(Spread { median: 2.5, min: 1.0, max: 4.0 }));
        assert_eq!(Spread::of([3.0, 1.0, 2.0]).unwrap().to_string(), "2.00 (1.00-3.00)");
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn percentiles_are_taken_from_the_sorted_latencies() {
        let mut latencies = Latencies::default();
        (0..=1000).rev().for_each(|us| latencies.add(Duration::from_micros(us)));
        assert_eq!(latencies.percentiles(), Some(Percentiles { p50: 500.0, p99: 990.0, p999: 999.0 }));
        assert_eq!(Latencies::default().percentiles(), None);
    }
}
