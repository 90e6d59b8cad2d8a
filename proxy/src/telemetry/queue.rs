//! Between the connections and the exporter: a bounded queue that never makes anybody wait.
//!
//! It is a linked list of blocks with a count of its own rather than a ring of fixed size, because a ring for 65536 spans
//! would hold 12 MB from the first moment in a sidecar that may never be busy.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crossbeam_queue::SegQueue;
use redistributed_core::trace::SpanRecord;
use tokio::sync::Notify;

/// Where one route's connections leave their spans. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SpanSink {
    route: usize,
    queue: Option<Arc<SpanQueue>>,
}

impl SpanSink {
    pub(super) fn new(route: usize, queue: Option<Arc<SpanQueue>>) -> Self {
        Self { route, queue }
    }

    /// Leaves a span for export. Never waits: if the queue is full the span is dropped and counted. Without an
    /// exporter it is discarded and not counted.
    pub fn offer(&self, record: SpanRecord) {
        if let Some(queue) = &self.queue {
            queue.push(self.route, record);
        }
    }

    /// Whether a span that is offered goes anywhere.
    pub fn is_recording(&self) -> bool {
        self.queue.is_some()
    }
}

#[derive(Debug)]
pub(super) struct SpanQueue {
    records: SegQueue<(usize, SpanRecord)>,
    len: AtomicUsize,
    capacity: usize,
    dropped: AtomicU64,
    closed: AtomicBool,
    /// From this length on the exporter is woken; below it, its timer is soon enough.
    wake_at: usize,
    /// Set from the first wake-up until the exporter looks, so that a burst costs one.
    woken: AtomicBool,
    wake: Notify,
}

impl SpanQueue {
    pub(super) fn new(capacity: usize, wake_at: usize) -> Self {
        Self {
            records: SegQueue::new(),
            len: AtomicUsize::new(0),
            capacity,
            dropped: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            wake_at,
            woken: AtomicBool::new(false),
            wake: Notify::new(),
        }
    }

    fn push(&self, route: usize, record: SpanRecord) {
        // The place is taken before the span is added, so that the bound holds with any number of threads.
        let before = self.len.fetch_add(1, Ordering::Relaxed);
        if before >= self.capacity || self.closed.load(Ordering::Acquire) {
            self.len.fetch_sub(1, Ordering::Relaxed);
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.records.push((route, record));
        if before + 1 >= self.wake_at && !self.woken.load(Ordering::Relaxed) && !self.woken.swap(true, Ordering::AcqRel)
        {
            self.wake.notify_one();
        }
    }

    pub(super) fn pop(&self) -> Option<(usize, SpanRecord)> {
        let popped = self.records.pop()?;
        self.len.fetch_sub(1, Ordering::Relaxed);
        Some(popped)
    }

    /// Completes when a full batch waits. Cancel safe.
    pub(super) async fn ready(&self) {
        self.wake.notified().await;
        self.woken.store(false, Ordering::Release);
    }

    /// From now on every span is dropped.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Counts what is left as dropped.
    pub(super) fn abandon(&self) {
        while self.pop().is_some() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use redistributed_core::trace::{Operation, SpanContext, SpanId, TraceFlags, TraceId, UnixNanos};

    use super::*;

    fn record() -> SpanRecord {
        SpanRecord {
            context: SpanContext { trace_id: TraceId::MIN, span_id: SpanId::MIN, flags: TraceFlags::SAMPLED },
            parent: None,
            link: None,
            trace_state: None,
            start: UnixNanos(1),
            end: UnixNanos(2),
            error: None,
            operation: Operation::Command { name: "GET".into(), database: 0, batch_size: None },
        }
    }

    #[test]
    fn a_full_queue_drops_and_counts() {
        let queue = Arc::new(SpanQueue::new(2, 100));
        let sink = SpanSink::new(7, Some(Arc::clone(&queue)));
        for _ in 0..5 {
            sink.offer(record());
        }
        assert_eq!((queue.len(), queue.dropped()), (2, 3));
        assert_eq!(queue.pop().map(|(route, _)| route), Some(7));
        sink.offer(record());
        assert_eq!((queue.len(), queue.dropped()), (2, 3), "a place that became free is used again");
    }

    #[test]
    fn a_closed_queue_keeps_what_it_has_and_takes_no_more() {
        let queue = SpanQueue::new(10, 100);
        queue.push(0, record());
        queue.close();
        queue.push(0, record());
        assert_eq!((queue.len(), queue.dropped()), (1, 1));
        queue.abandon();
        assert_eq!((queue.len(), queue.dropped()), (0, 2));
    }

    #[test]
    fn many_threads_never_exceed_the_bound_and_every_span_is_counted() {
        const EACH: usize = 10_000;
        let queue = Arc::new(SpanQueue::new(64, 1));
        let taken = std::thread::scope(|scope| {
            let producers: Vec<_> = (0..4)
                .map(|route| {
                    let sink = SpanSink::new(route, Some(Arc::clone(&queue)));
                    scope.spawn(move || (0..EACH).for_each(|_| sink.offer(record())))
                })
                .collect();
            let mut taken = 0;
            while !producers.iter().all(std::thread::ScopedJoinHandle::is_finished) {
                taken += usize::from(queue.pop().is_some());
            }
            taken
        });
        assert!(queue.len() <= 64);
        assert_eq!(taken + queue.len() + usize::try_from(queue.dropped()).unwrap(), 4 * EACH);
    }

    #[tokio::test]
    async fn a_full_batch_wakes_the_exporter_once() {
        let queue = SpanQueue::new(10, 2);
        queue.push(0, record());
        assert!(!queue.woken.load(Ordering::Relaxed));
        queue.push(0, record());
        queue.push(0, record());
        queue.ready().await;
        let mut again = std::pin::pin!(queue.ready());
        let again = std::future::poll_fn(|context| std::task::Poll::Ready(again.as_mut().poll(context))).await;
        assert!(again.is_pending(), "three spans, one wake-up");
    }

    #[test]
    fn without_an_exporter_spans_are_discarded() {
        let sink = SpanSink::new(0, None);
        assert!(!sink.is_recording());
        sink.offer(record());
    }
}
