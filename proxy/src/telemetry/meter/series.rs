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

/// What several operations add to a series.
#[derive(Debug, Default)]
pub(super) struct Additions {
    /// The number of operations, those included that were not timed.
    pub(super) count: u64,
    /// The bucket that the last duration belongs to, and the number of durations for it.
    bucket: usize,
    timed: u64,
    /// The sum of the durations, in nanoseconds.
    sum: u64,
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

    /// Adds a duration in nanoseconds to what will be taken. The last exemplar of a bucket stays, unless somebody reads it
    /// just now.
    pub(super) fn time(&self, additions: &mut Additions, nanos: u64, exemplar: Option<Exemplar>) {
        let index = self.bounds.partition_point(|bound| *bound < nanos);
        if additions.bucket != index {
            self.take_bucket(additions);
            additions.bucket = index;
        }
        additions.timed += 1;
        additions.sum = additions.sum.wrapping_add(nanos);
        if exemplar.is_some() {
            match self.buckets.get(index).map(|bucket| bucket.exemplar.try_lock()) {
                Some(Ok(mut place)) => *place = exemplar,
                Some(Err(TryLockError::Poisoned(place))) => *place.into_inner() = exemplar,
                Some(Err(TryLockError::WouldBlock)) | None => {}
            }
        }
    }

    /// Takes what was added, with few atomic additions, because these cost more than all else here.
    pub(super) fn take(&self, additions: &mut Additions) {
        self.take_bucket(additions);
        self.count.fetch_add(std::mem::take(&mut additions.count), Ordering::Relaxed);
        self.sum.fetch_add(std::mem::take(&mut additions.sum), Ordering::Relaxed);
    }

    fn take_bucket(&self, additions: &mut Additions) {
        let timed = std::mem::take(&mut additions.timed);
        if let Some(bucket) = self.buckets.get(additions.bucket).filter(|_| timed > 0) {
            bucket.count.fetch_add(timed, Ordering::Relaxed);
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
