//! Between the connections and the exporter: a bounded queue that never makes anybody wait.
//!
//! Spans wait in chunks, and a chunk changes hands as a whole: the exporter takes it with one exchange of pointers and
//! reads it without another look at what the connections share. There are a few shards, each with the chunk that is
//! being filled. A connection uses its thread's shard and takes another one when that is busy, which happens while the
//! exporter is taking a chunk; so nobody waits for a thread that the system has put aside in the middle.
//!
//! Memory is taken as spans come, and given back: a ring for 65536 spans would hold 11 MB from the first moment in a
//! sidecar that may never be busy.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::{mem, thread};

use redistributed_core::trace::SpanRecord;
use tokio::sync::Notify;

use super::tap::Tap;

/// Spans of a chunk at most.
const CHUNK_LEN: usize = 128;

/// More shards than this would only make the exporter look at more of them.
const MAX_SHARDS: usize = 16;

/// Where one route's connections leave their spans. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SpanSink {
    route: usize,
    queue: Option<Arc<SpanQueue>>,
    tap: Arc<Tap>,
}

impl SpanSink {
    pub(super) fn new(route: usize, queue: Option<Arc<SpanQueue>>, tap: Arc<Tap>) -> Self {
        Self { route, queue, tap }
    }

    /// Leaves a span for export. Never waits: if the queue is full the span is dropped and counted. Without an
    /// exporter it is discarded and not counted.
    pub fn offer(&self, record: SpanRecord) {
        self.offer_all(std::iter::once(record));
    }

    /// The same for several, at the price of little more than one.
    pub fn offer_all(&self, records: impl ExactSizeIterator<Item = SpanRecord>) {
        if let Some(queue) = &self.queue
            && records.len() > 0
        {
            queue.push(self.route, records);
        }
    }

    /// Whether somebody watches the messages.
    pub fn is_watched(&self) -> bool {
        self.tap.is_open()
    }

    /// Shows a finished record to those who watch.
    pub fn show(&self, record: SpanRecord) {
        self.tap.show(self.route, record);
    }

    /// Whether a span that is offered goes anywhere.
    pub fn is_recording(&self) -> bool {
        self.queue.is_some()
    }
}

/// Spans with the routes they belong to.
type Chunk = VecDeque<(usize, SpanRecord)>;

#[derive(Debug)]
pub(super) struct SpanQueue {
    shards: Box<[Shard]>,
    /// Spans that wait, in the reader's hands too.
    len: AtomicUsize,
    capacity: usize,
    dropped: AtomicU64,
    /// From this length on the exporter is woken; below it, its timer is soon enough.
    wake_at: usize,
    /// Set from the first wake-up until the exporter looks, so that a burst costs one.
    woken: AtomicBool,
    wake: Notify,
}

/// Apart in memory, so that threads do not slow each other down by writing side by side.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(Mutex<Chunks>);

#[derive(Debug, Default)]
struct Chunks {
    filling: Chunk,
    full: VecDeque<Chunk>,
    /// One that is empty, to be filled next.
    spare: Chunk,
    closed: bool,
}

impl SpanQueue {
    pub(super) fn new(capacity: usize, wake_at: usize) -> Self {
        // One for each thread that relays and one for the exporter, so that there is always a free one.
        let threads = thread::available_parallelism().map_or(1, usize::from);
        Self {
            shards: (0..=threads.min(MAX_SHARDS)).map(|_| Shard::default()).collect(),
            len: AtomicUsize::new(0),
            capacity,
            dropped: AtomicU64::new(0),
            wake_at,
            woken: AtomicBool::new(false),
            wake: Notify::new(),
        }
    }

    fn push(&self, route: usize, records: impl ExactSizeIterator<Item = SpanRecord>) {
        let offered = records.len();
        // The places are taken before the spans are added, so that the bound holds with any number of threads.
        let before = self.len.fetch_add(offered, Ordering::Relaxed);
        let mut added = offered.min(self.capacity.saturating_sub(before));
        if added > 0 {
            let mut chunks = self.free_shard();
            if chunks.closed {
                added = 0;
            }
            records.take(added).for_each(|record| chunks.push(route, record));
        }
        let dropped = offered - added;
        if dropped > 0 {
            self.len.fetch_sub(dropped, Ordering::Relaxed);
            self.dropped.fetch_add(dropped as u64, Ordering::Relaxed);
        }
        if before + added >= self.wake_at
            && added > 0
            && !self.woken.load(Ordering::Relaxed)
            && !self.woken.swap(true, Ordering::AcqRel)
        {
            self.wake.notify_one();
        }
    }

    /// This thread's shard, or the next one that is free.
    fn free_shard(&self) -> MutexGuard<'_, Chunks> {
        let own = thread_index() % self.shards.len();
        let (before, from) = self.shards.split_at(own);
        for shard in from.iter().chain(before) {
            match shard.0.try_lock() {
                Ok(chunks) => return chunks,
                Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        // There are more threads than shards, and all shards have been busy for a moment: none is for long.
        self.shards[own].lock()
    }

    /// Completes when a full batch waits. Cancel safe.
    pub(super) async fn ready(&self) {
        self.wake.notified().await;
        self.woken.store(false, Ordering::Release);
    }

    /// From now on every span is dropped.
    pub(super) fn close(&self) {
        for shard in &self.shards {
            shard.lock().closed = true;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Shard {
    /// A panic elsewhere does not make a list of spans wrong.
    fn lock(&self) -> MutexGuard<'_, Chunks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Chunks {
    fn push(&mut self, route: usize, record: SpanRecord) {
        if self.filling.len() == CHUNK_LEN {
            let next = mem::take(&mut self.spare);
            self.full.push_back(mem::replace(&mut self.filling, next));
        }
        if self.filling.capacity() == 0 {
            self.filling.reserve_exact(CHUNK_LEN);
        }
        self.filling.push_back((route, record));
    }

    /// Exchanges `empty` for a chunk with spans, if there is one.
    fn take(&mut self, empty: &mut Chunk) {
        let chunk = match self.full.pop_front() {
            Some(full) => full,
            None if self.filling.is_empty() => return,
            None => mem::take(&mut self.filling),
        };
        let empty = mem::replace(empty, chunk);
        if self.spare.capacity() == 0 {
            self.spare = empty;
        }
    }
}

/// The end of the queue that the exporter has.
#[derive(Debug)]
pub(super) struct QueueReader {
    queue: Arc<SpanQueue>,
    chunk: Chunk,
    /// The shard that is looked at next.
    shard: usize,
    /// Spans given out and not yet subtracted from the queue's length.
    given: usize,
}

impl QueueReader {
    pub(super) fn new(queue: Arc<SpanQueue>) -> Self {
        Self { queue, chunk: Chunk::new(), shard: 0, given: 0 }
    }

    /// The next span, with its route. It counts as waiting until [`settle`](Self::settle) is called.
    pub(super) fn pop(&mut self) -> Option<(usize, SpanRecord)> {
        if self.chunk.is_empty() {
            self.refill();
        }
        let popped = self.chunk.pop_front()?;
        self.given += 1;
        Some(popped)
    }

    /// Tells `count` how many spans were given out since the last call, and then has them wait no more: a span is
    /// counted twice for a moment rather than not at all.
    pub(super) fn settle(&mut self, count: impl FnOnce(u64)) {
        let given = mem::take(&mut self.given);
        if given > 0 {
            count(given as u64);
            self.queue.len.fetch_sub(given, Ordering::Relaxed);
        }
    }

    /// Counts what is left as dropped.
    pub(super) fn abandon(&mut self) {
        while self.pop().is_some() {}
        let queue = Arc::clone(&self.queue);
        self.settle(|left| {
            queue.dropped.fetch_add(left, Ordering::Relaxed);
        });
    }

    /// Each shard in turn, so that none waits for another to become empty.
    fn refill(&mut self) {
        for _ in 0..self.queue.shards.len() {
            let shard = &self.queue.shards[self.shard];
            self.shard = (self.shard + 1) % self.queue.shards.len();
            shard.lock().take(&mut self.chunk);
            if !self.chunk.is_empty() {
                return;
            }
        }
    }
}

/// A number that each thread has for itself.
fn thread_index() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static INDEX: Cell<usize> = Cell::new(NEXT.fetch_add(1, Ordering::Relaxed));
    }
    INDEX.get()
}

#[cfg(test)]
mod tests {
    use redistributed_core::trace::{Operation, SpanContext, SpanId, TraceFlags, TraceId, UnixNanos};

    use super::*;

    fn record() -> SpanRecord {
        let context = SpanContext { trace_id: TraceId::MIN, span_id: SpanId::MIN, flags: TraceFlags::SAMPLED };
        let operation = Operation::Command { name: "GET".into(), database: 0, batch_size: None };
        SpanRecord::new(context, UnixNanos(1), operation)
    }

    fn one() -> std::iter::Once<SpanRecord> {
        std::iter::once(record())
    }

    #[test]
    fn a_full_queue_drops_and_counts() {
        let queue = Arc::new(SpanQueue::new(2, 100));
        let mut reader = QueueReader::new(Arc::clone(&queue));
        let sink = SpanSink::new(7, Some(Arc::clone(&queue)), Arc::default());
        for _ in 0..5 {
            sink.offer(record());
        }
        assert_eq!((queue.len(), queue.dropped()), (2, 3));
        assert_eq!(reader.pop().map(|(route, _)| route), Some(7));
        assert_eq!(queue.len(), 2, "given out, but not yet counted elsewhere");
        reader.settle(|given| assert_eq!(given, 1));
        sink.offer(record());
        assert_eq!((queue.len(), queue.dropped()), (2, 3), "a place that became free is used again");
    }

    #[test]
    fn of_several_spans_those_are_taken_that_there_is_room_for() {
        let queue = Arc::new(SpanQueue::new(5, 100));
        let sink = SpanSink::new(0, Some(Arc::clone(&queue)), Arc::default());
        sink.offer_all(vec![record(); 3].into_iter());
        sink.offer_all(vec![record(); 3].into_iter());
        assert_eq!((queue.len(), queue.dropped()), (5, 1));
        sink.offer_all(vec![record(); 3].into_iter());
        assert_eq!((queue.len(), queue.dropped()), (5, 4));
        let mut reader = QueueReader::new(queue);
        assert_eq!(std::iter::from_fn(|| reader.pop()).count(), 5);
    }

    #[test]
    fn spans_of_one_thread_come_in_their_order_over_many_chunks() {
        let count = 3 * CHUNK_LEN + 7;
        let queue = Arc::new(SpanQueue::new(10 * count, count));
        let mut reader = QueueReader::new(Arc::clone(&queue));
        for _ in 0..2 {
            (0..count).for_each(|route| queue.push(route, one()));
            let routes: Vec<_> = std::iter::from_fn(|| reader.pop()).map(|(route, _)| route).collect();
            assert_eq!(routes, Vec::from_iter(0..count));
        }
    }

    #[test]
    fn a_busy_shard_is_passed_over() {
        let queue = SpanQueue::new(10, 100);
        let own = queue.free_shard();
        queue.push(3, one());
        drop(own);
        assert_eq!(QueueReader::new(Arc::new(queue)).pop().map(|(route, _)| route), Some(3));
    }

    #[test]
    fn a_closed_queue_keeps_what_it_has_and_takes_no_more() {
        let queue = Arc::new(SpanQueue::new(10, 100));
        let mut reader = QueueReader::new(Arc::clone(&queue));
        queue.push(0, one());
        queue.close();
        queue.push(0, one());
        assert_eq!((queue.len(), queue.dropped()), (1, 1));
        reader.abandon();
        assert_eq!((queue.len(), queue.dropped()), (0, 2));
    }

    #[test]
    fn many_threads_never_exceed_the_bound_and_every_span_is_counted() {
        const EACH: usize = 10_000;
        let queue = Arc::new(SpanQueue::new(64, 1));
        let mut reader = QueueReader::new(Arc::clone(&queue));
        let mut taken = 0;
        std::thread::scope(|scope| {
            let producers: Vec<_> = (0..4)
                .map(|route| {
                    let sink = SpanSink::new(route, Some(Arc::clone(&queue)), Arc::default());
                    scope.spawn(move || (0..EACH / 5).for_each(|_| sink.offer_all(vec![record(); 5].into_iter())))
                })
                .collect();
            while !producers.iter().all(std::thread::ScopedJoinHandle::is_finished) {
                taken += usize::from(reader.pop().is_some());
                reader.settle(drop);
            }
        });
        let left = queue.len();
        assert!(left <= 64);
        assert_eq!(std::iter::from_fn(|| reader.pop()).count(), left);
        assert_eq!(taken + left + usize::try_from(queue.dropped()).unwrap(), 4 * EACH);
    }

    #[tokio::test]
    async fn a_full_batch_wakes_the_exporter_once() {
        let queue = SpanQueue::new(10, 2);
        queue.push(0, one());
        assert!(!queue.woken.load(Ordering::Relaxed));
        queue.push(0, one());
        queue.push(0, one());
        queue.ready().await;
        let mut again = std::pin::pin!(queue.ready());
        let again = std::future::poll_fn(|context| std::task::Poll::Ready(again.as_mut().poll(context))).await;
        assert!(again.is_pending(), "three spans, one wake-up");
    }

    #[test]
    fn without_an_exporter_spans_are_discarded() {
        let sink = SpanSink::new(0, None, Arc::default());
        assert!(!sink.is_recording());
        sink.offer(record());
    }
}
