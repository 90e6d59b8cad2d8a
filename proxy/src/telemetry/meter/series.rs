//! What has been measured with the same attributes: a count, and how long it took, with an example for each bucket.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use redistributed_core::trace::{SpanId, TraceId, UnixNanos};

use super::attributes::{Attribute, Attributes};
use crate::telemetry::Peer;

/// The measurements with the same attributes. Tasks add without waiting; a reader sees each number whole, but not all at one
/// instant.
#[derive(Debug)]
pub struct Series {
    pub(super) attributes: Box<[Attribute]>,
    pub(super) peer: Option<Arc<Peer>>,
    /// The number of operations, those included that were not timed.
    count: AtomicU64,
    bounds: &'static [u64],
    /// One bucket more than there are bounds.
    buckets: Box<[Bucket]>,
    /// The sum of all durations, in nanoseconds.
    sum: AtomicU64,
}

#[derive(Debug, Default)]
struct Bucket {
    count: AtomicU64,
    exemplar: Mutex<Option<Exemplar>>,
}

/// A measurement and the span that it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exemplar {
    /// The trace of the span.
    pub trace_id: TraceId,
    /// The span.
    pub span_id: SpanId,
    /// The duration, in nanoseconds.
    pub value: u64,
    /// When the operation ended, by the wall clock.
    pub time: UnixNanos,
}

/// The values of a series at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeriesReading {
    /// The number of operations, those included that were not timed.
    pub count: u64,
    /// The number of durations in each bucket, and the last one of which it is known which span it comes from. There is one
    /// bucket more than there are bounds.
    pub buckets: Vec<(u64, Option<Exemplar>)>,
    /// The sum of the durations, in nanoseconds.
    pub sum: u64,
}

impl Series {
    pub(super) fn new(attributes: Box<[Attribute]>, peer: Option<Arc<Peer>>, bounds: &'static [u64]) -> Self {
        let buckets = (0..=bounds.len()).map(|_| Bucket::default()).collect();
        Self { attributes, peer, count: AtomicU64::new(0), bounds, buckets, sum: AtomicU64::new(0) }
    }

    /// Whether these are the attributes of the series.
    pub(super) fn is_of(&self, peer: Option<&Arc<Peer>>, attributes: &Attributes<'_>) -> bool {
        attributes.are(&self.attributes) && self.peer.as_ref() == peer
    }

    /// Counts one operation, whether or not it is timed.
    pub(super) fn count(&self, number: u64) {
        self.count.fetch_add(number, Ordering::Relaxed);
    }

    /// Adds a duration in nanoseconds. The last exemplar of a bucket stays, unless somebody reads it just now.
    pub(super) fn time(&self, nanos: u64, exemplar: Option<Exemplar>) {
        let Some(bucket) = self.buckets.get(self.bounds.partition_point(|bound| *bound < nanos)) else { return };
        bucket.count.fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(nanos, Ordering::Relaxed);
        if exemplar.is_some() {
            match bucket.exemplar.try_lock() {
                Ok(mut place) => *place = exemplar,
                Err(TryLockError::Poisoned(place)) => *place.into_inner() = exemplar,
                Err(TryLockError::WouldBlock) => {}
            }
        }
    }

    /// The upper bounds of the buckets, in nanoseconds, ascending.
    pub fn bounds(&self) -> &'static [u64] {
        self.bounds
    }

    /// Reads what has been measured so far.
    pub fn read(&self) -> SeriesReading {
        let read = |bucket: &Bucket| {
            let exemplar = *bucket.exemplar.lock().unwrap_or_else(PoisonError::into_inner);
            (bucket.count.load(Ordering::Relaxed), exemplar)
        };
        SeriesReading {
            count: self.count.load(Ordering::Relaxed),
            buckets: self.buckets.iter().map(read).collect(),
            sum: self.sum.load(Ordering::Relaxed),
        }
    }
}

impl SeriesReading {
    /// The number of durations.
    pub fn timed(&self) -> u64 {
        self.buckets.iter().map(|(count, _)| count).sum()
    }
}
