//! The counts of spans by their fate, and of export requests by their outcome.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::histogram::{Bounds, Histogram, Reading};
use super::queue::SpanQueue;

/// The spans that were offered, counted by their fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExportSummary {
    /// Spans that the collector accepted, or that were written to the console.
    pub sent: u64,
    /// Spans in an export that was rejected or took too long.
    pub failed: u64,
    /// Spans that were never exported: the queue was full, or the time to shut down was over.
    pub dropped: u64,
    /// Spans that still wait or are in flight.
    pub queued: u64,
}

impl fmt::Display for ExportSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} spans sent, {} failed, {} dropped", self.sent, self.failed, self.dropped)?;
        if self.queued > 0 { write!(f, ", {} queued", self.queued) } else { Ok(()) }
    }
}

/// The outcome of one export request, of spans or of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum ExportResult {
    /// The collector accepted all.
    Ok,
    /// The collector rejected some of the spans, or some of the points of metrics.
    Partial,
    /// The request was rejected or took too long.
    Failed,
}

impl ExportResult {
    /// Every outcome that an export can have.
    pub const ALL: [Self; 3] = [Self::Ok, Self::Partial, Self::Failed];

    /// The name that metrics have for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Partial => "partial",
            Self::Failed => "failed",
        }
    }
}

/// The counts of the exporter. Those of the queue are added when they are read.
#[derive(Debug)]
pub(super) struct Totals {
    sent: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
    /// Spans that have been taken from the queue, and whose fate is open.
    pending: AtomicU64,
    exports: [Histogram; ExportResult::ALL.len()],
    /// The numbers of export requests of metrics.
    metric_exports: [AtomicU64; ExportResult::ALL.len()],
}

impl Default for Totals {
    fn default() -> Self {
        Self {
            sent: AtomicU64::default(),
            failed: AtomicU64::default(),
            dropped: AtomicU64::default(),
            pending: AtomicU64::default(),
            exports: ExportResult::ALL.map(|_| Histogram::new(&Bounds::COLLECTOR)),
            metric_exports: Default::default(),
        }
    }
}

impl Totals {
    /// Adds the duration of an export.
    pub(super) fn exported(&self, result: ExportResult, took: Duration) {
        self.exports[result as usize].observe(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(super) fn exports(&self, result: ExportResult) -> Reading {
        self.exports[result as usize].read()
    }

    /// Counts an export request of metrics.
    pub(super) fn exported_metrics(&self, result: ExportResult) {
        self.metric_exports[result as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn metric_exports(&self, result: ExportResult) -> u64 {
        self.metric_exports[result as usize].load(Ordering::Relaxed)
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.pending.load(Ordering::Acquire)
    }

    pub(super) fn summary(&self, queue: Option<&SpanQueue>) -> ExportSummary {
        // Against the spans' own way, so that one which moves meanwhile is counted twice rather than not at all.
        let waiting = queue.map_or(0, |queue| queue.len() as u64);
        let queued = waiting + self.in_flight();
        ExportSummary {
            sent: self.sent.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed) + queue.map_or(0, SpanQueue::dropped),
            queued,
        }
    }
}

/// Spans that have left the queue, and whose fate is open. Whatever happens to the task that holds them, they are counted once:
/// as dropped, unless the task decides otherwise.
#[derive(Debug)]
pub(super) struct Unsettled {
    totals: Arc<Totals>,
    spans: u64,
}

impl Unsettled {
    /// Takes over so many spans.
    pub(super) fn new(totals: &Arc<Totals>, spans: u64) -> Self {
        totals.pending.fetch_add(spans, Ordering::Relaxed);
        Self { totals: Arc::clone(totals), spans }
    }

    /// The number of spans.
    pub(super) fn spans(&self) -> u64 {
        self.spans
    }

    /// Takes so many of them away, or all if there are fewer, to be counted by themselves.
    pub(super) fn split(&mut self, spans: u64) -> Self {
        let spans = spans.min(self.spans);
        self.spans -= spans;
        Self { totals: Arc::clone(&self.totals), spans }
    }

    /// Counts them as sent, except for the number that the collector `rejected`.
    pub(super) fn sent(mut self, rejected: u64) {
        let rejected = rejected.min(self.spans);
        self.totals.sent.fetch_add(self.spans - rejected, Ordering::Relaxed);
        self.totals.failed.fetch_add(rejected, Ordering::Relaxed);
        self.settle();
    }

    /// Counts them as failed.
    pub(super) fn failed(mut self) {
        self.totals.failed.fetch_add(self.spans, Ordering::Relaxed);
        self.settle();
    }

    fn settle(&mut self) {
        self.totals.pending.fetch_sub(self.spans, Ordering::Release);
        self.spans = 0;
    }
}

impl Drop for Unsettled {
    fn drop(&mut self) {
        self.totals.dropped.fetch_add(self.spans, Ordering::Relaxed);
        self.settle();
    }
}
