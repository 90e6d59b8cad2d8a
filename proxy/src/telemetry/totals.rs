//! What became of the spans.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::histogram::{Bounds, Histogram, Reading};
use super::queue::SpanQueue;

/// How many spans were offered, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExportSummary {
    /// Taken by the collector, or written to the console.
    pub sent: u64,
    /// In an export that was refused or took too long.
    pub failed: u64,
    /// Never exported: the queue was full, or the time to shut down was over.
    pub dropped: u64,
    /// Still waiting or on their way.
    pub queued: u64,
}

impl fmt::Display for ExportSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} spans sent, {} failed, {} dropped", self.sent, self.failed, self.dropped)?;
        if self.queued > 0 { write!(f, ", {} queued", self.queued) } else { Ok(()) }
    }
}

/// What became of one export request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum ExportResult {
    /// The collector took all of it.
    Ok,
    /// It turned some of its spans down.
    Partial,
    /// It was refused or took too long.
    Failed,
}

impl ExportResult {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ok, Self::Partial, Self::Failed];

    /// As metrics spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Partial => "partial",
            Self::Failed => "failed",
        }
    }
}

/// The counts of the exporter; those of the queue are added on reading.
#[derive(Debug)]
pub(super) struct Totals {
    sent: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
    /// Taken from the queue, fate unknown.
    pending: AtomicU64,
    exports: [Histogram; ExportResult::ALL.len()],
}

impl Default for Totals {
    fn default() -> Self {
        Self {
            sent: AtomicU64::default(),
            failed: AtomicU64::default(),
            dropped: AtomicU64::default(),
            pending: AtomicU64::default(),
            exports: ExportResult::ALL.map(|_| Histogram::new(&Bounds::COLLECTOR)),
        }
    }
}

impl Totals {
    /// An export is over.
    pub(super) fn exported(&self, result: ExportResult, took: Duration) {
        self.exports[result as usize].observe(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(super) fn exports(&self, result: ExportResult) -> Reading {
        self.exports[result as usize].read()
    }

    pub(super) fn summary(&self, queue: Option<&SpanQueue>) -> ExportSummary {
        // Against the spans' own way, so that one which moves meanwhile is counted twice rather than not at all.
        let waiting = queue.map_or(0, |queue| queue.len() as u64);
        let queued = waiting + self.pending.load(Ordering::Acquire);
        ExportSummary {
            sent: self.sent.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed) + queue.map_or(0, SpanQueue::dropped),
            queued,
        }
    }
}

/// Spans that have left the queue. Whatever happens to the task that holds them, they are counted once: as dropped,
/// unless it says otherwise.
#[derive(Debug)]
pub(super) struct Unsettled {
    totals: Arc<Totals>,
    spans: u64,
}

impl Unsettled {
    /// So many.
    pub(super) fn new(totals: &Arc<Totals>, spans: u64) -> Self {
        totals.pending.fetch_add(spans, Ordering::Relaxed);
        Self { totals: Arc::clone(totals), spans }
    }

    /// How many there are.
    pub(super) fn spans(&self) -> u64 {
        self.spans
    }

    /// The collector has taken them, except for `rejected`.
    pub(super) fn sent(mut self, rejected: u64) {
        let rejected = rejected.min(self.spans);
        self.totals.sent.fetch_add(self.spans - rejected, Ordering::Relaxed);
        self.totals.failed.fetch_add(rejected, Ordering::Relaxed);
        self.settle();
    }

    /// The export failed.
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
