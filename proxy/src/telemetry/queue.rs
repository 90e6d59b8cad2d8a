//! Between the connections and the exporter: a bounded queue that never makes anybody wait.
//!
//! Spans wait in batches, in the form in which they will be sent. There is a shard for each thread that relays, with the
//! batches that the thread is filling, one for each encoder. A connection uses its thread's shard and takes another one when
//! that is busy, which happens while the exporter is emptying it; so nobody waits for a thread that the system has put aside
//! in the middle. A batch that is full changes hands as a whole, under a lock that is held for no longer than that, and the
//! exporter does not look at what is in it.
//!
//! Memory is taken as spans come, and given back: room for 65536 spans of 350 bytes would be 22 MiB from the first moment
//! in a sidecar that may never be busy.

use std::cell::Cell;
use std::collections::VecDeque;
use std::mem;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use redistributed_core::trace::SpanRecord;
use tokio::sync::Notify;

use super::connection::Connection;
use super::encoder::{Batch, Encoder, EncoderKey};
use crate::settings::otel::BatchSettings;

/// The length in bytes at which a batch is full, however few spans it has: collectors accept 4 MiB by default, and a channel's
/// name, which is in each span twice, may be long.
const MAX_BATCH_BYTES: usize = 1 << 20;

/// The bytes that the queue has room for, for each span of its capacity. Most spans have 350; the bound is for channel names of
/// a thousand bytes.
const SPAN_BYTES: usize = 512;

/// The least number of bytes that the queue has room for, however small its capacity.
const LEAST_BYTES: usize = MAX_BATCH_BYTES;

#[derive(Debug)]
pub(super) struct SpanQueue {
    shards: Box<[Shard]>,
    full: Mutex<VecDeque<Batch>>,
    /// The memory of all batches, open and full ones, in bytes. It is added before other threads can see the batch.
    bytes: AtomicUsize,
    /// The number of spans that wait.
    len: AtomicUsize,
    capacity: usize,
    /// The most spans in one batch.
    batch_len: usize,
    dropped: AtomicU64,
    /// Set from the first wake-up until the exporter looks, so that a burst costs one.
    woken: AtomicBool,
    wake: Notify,
}

/// The batches of one thread. Shards are apart in memory, so that threads do not slow each other down by writing to the same
/// cache line.
#[derive(Debug)]
#[repr(align(128))]
struct Shard(Mutex<OpenBatches>);

/// The batches that are being filled.
#[derive(Debug, Default)]
struct OpenBatches {
    /// Indexed by [`EncoderKey`]; long enough for the greatest key that has been used in this shard.
    batches: Vec<Option<Batch>>,
    closed: bool,
}

impl SpanQueue {
    /// An empty queue for connections on so many threads.
    pub(super) fn new(settings: &BatchSettings, threads: NonZeroUsize) -> Self {
        Self {
            // One for each thread and one more, for while the exporter is emptying one.
            shards: (0..=threads.get()).map(|_| Shard(Mutex::default())).collect(),
            full: Mutex::default(),
            bytes: AtomicUsize::new(0),
            len: AtomicUsize::new(0),
            capacity: settings.max_queue_size,
            batch_len: settings.max_export_batch_size,
            dropped: AtomicU64::new(0),
            woken: AtomicBool::new(false),
            wake: Notify::new(),
        }
    }

    /// Takes as many of `records` as there is room for, and counts the others as dropped.
    pub(super) fn push<'a>(
        &self,
        encoder: &Arc<Encoder>,
        connection: &Connection,
        records: impl Iterator<Item = &'a SpanRecord> + Clone,
    ) {
        let count = records.clone().count();
        if count == 0 {
            return;
        }
        // The spans are counted before they are added, so that the bound holds with any number of threads.
        let before = self.len.fetch_add(count, Ordering::Relaxed);
        let fits = self.bytes.load(Ordering::Relaxed) < self.capacity.saturating_mul(SPAN_BYTES).max(LEAST_BYTES);
        let room = if fits { self.capacity.saturating_sub(before) } else { 0 };
        let (added, is_full) = self.encode(encoder, connection, records.take(room));
        let dropped = count - added;
        if dropped > 0 {
            self.len.fetch_sub(dropped, Ordering::Relaxed);
            self.dropped.fetch_add(dropped as u64, Ordering::Relaxed);
        }
        if (is_full || added > 0 && self.is_half_full())
            && !self.woken.load(Ordering::Relaxed)
            && !self.woken.swap(true, Ordering::AcqRel)
        {
            self.wake.notify_one();
        }
    }

    /// Adds spans to the open batch of a shard. Returns how many were added, and whether a batch became full.
    fn encode<'a>(
        &self,
        encoder: &Arc<Encoder>,
        connection: &Connection,
        records: impl Iterator<Item = &'a SpanRecord>,
    ) -> (usize, bool) {
        let mut shard = self.free_shard();
        if shard.closed {
            return (0, false);
        }
        let place = shard.place(encoder.key());
        // Not in its place meanwhile, so that a panic leaves no span behind that is half written.
        let mut open = place.take();
        let mut known = open.as_ref().map_or(0, Batch::memory);
        let (mut added, mut is_full) = (0, false);
        for record in records {
            added += 1;
            let mut batch = open.take().unwrap_or_else(|| encoder.batch());
            batch.add(record, connection);
            if batch.spans() >= self.batch_len || batch.len() >= MAX_BATCH_BYTES {
                self.bytes.fetch_add(batch.memory() - mem::take(&mut known), Ordering::Relaxed);
                self.hand_over([batch]);
                is_full = true;
            } else {
                open = Some(batch);
            }
        }
        if let Some(batch) = open {
            self.bytes.fetch_add(batch.memory() - known, Ordering::Relaxed);
            *place = Some(batch);
        }
        (added, is_full)
    }

    fn hand_over(&self, batches: impl IntoIterator<Item = Batch>) {
        self.full().extend(batches);
    }

    /// Locks this thread's shard, or the next one that is free.
    fn free_shard(&self) -> MutexGuard<'_, OpenBatches> {
        let own = thread_index() % self.shards.len();
        let (before, from) = self.shards.split_at(own);
        for shard in from.iter().chain(before) {
            match shard.0.try_lock() {
                Ok(open) => return open,
                Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        // There are more threads than shards, and all shards have been busy for a moment: none is for long.
        self.shards[own].lock()
    }

    fn full(&self) -> MutexGuard<'_, VecDeque<Batch>> {
        self.full.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Completes when a batch is full, or the queue is half full. Cancel safe.
    pub(super) async fn ready(&self) {
        self.wake.notified().await;
        self.woken.store(false, Ordering::Release);
    }

    /// Takes the next full batch. Its spans count as waiting until [`release`](Self::release) is called.
    pub(super) fn take(&self) -> Option<Batch> {
        let batch = self.full().pop_front()?;
        self.bytes.fetch_sub(batch.memory(), Ordering::Relaxed);
        Some(batch)
    }

    /// The number of full batches.
    pub(super) fn full_len(&self) -> usize {
        self.full().len()
    }

    /// Stops counting so many spans, which have been taken and are counted elsewhere: for a moment they were counted twice,
    /// rather than not at all.
    pub(super) fn release(&self, spans: usize) {
        self.len.fetch_sub(spans, Ordering::Relaxed);
    }

    /// Whether so many spans wait that they should go though no batch is full: with several threads and encoders they may
    /// be spread over many batches.
    pub(super) fn is_half_full(&self) -> bool {
        self.len() >= self.capacity.div_ceil(2)
    }

    /// Makes full batches of the open ones: one for each encoder, if that is not too much. Returns whether there was any.
    pub(super) fn flush(&self) -> bool {
        let mut joined = OpenBatches::default();
        for shard in &self.shards {
            // Locked no longer than it takes to take them.
            let open: Vec<_> = shard.lock().batches.iter_mut().filter_map(Option::take).collect();
            for batch in open {
                match joined.place(batch.key()) {
                    Some(before)
                        if before.spans() + batch.spans() <= self.batch_len
                            && before.len() + batch.len() <= MAX_BATCH_BYTES =>
                    {
                        let apart = before.memory() + batch.memory();
                        before.join(batch);
                        self.bytes.fetch_sub(apart - before.memory(), Ordering::Relaxed);
                    }
                    place => self.hand_over(place.replace(batch)),
                }
            }
        }
        let any = joined.batches.iter().any(Option::is_some);
        self.hand_over(joined.batches.into_iter().flatten());
        any
    }

    /// Has every span dropped from now on.
    pub(super) fn close(&self) {
        for shard in &self.shards {
            shard.lock().closed = true;
        }
    }

    /// Counts what is left as dropped.
    pub(super) fn abandon(&self) {
        self.flush();
        while let Some(batch) = self.take() {
            let spans = batch.spans();
            self.dropped.fetch_add(spans as u64, Ordering::Relaxed);
            self.release(spans);
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
    fn lock(&self) -> MutexGuard<'_, OpenBatches> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenBatches {
    /// The place of an encoder's batch.
    fn place(&mut self, key: EncoderKey) -> &mut Option<Batch> {
        if key.index() >= self.batches.len() {
            self.batches.resize_with(key.index() + 1, || None);
        }
        &mut self.batches[key.index()]
    }
}

/// A number of this thread, which no other thread has.
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
    use crate::settings::otel::OtelSettings;
    use crate::telemetry::encoder::Encoders;
    use crate::telemetry::{Peer, Resource};

    fn record() -> SpanRecord {
        let context = SpanContext { trace_id: TraceId::MIN, span_id: SpanId::MIN, flags: TraceFlags::SAMPLED };
        let operation = Operation::Command { name: "GET".into(), summary: None, database: 0, batch_size: None };
        SpanRecord::new(context, UnixNanos(1), operation)
    }

    /// A queue, and so many encoders.
    fn queue(encoders: usize, capacity: usize, batch_len: usize) -> (SpanQueue, Vec<Arc<Encoder>>) {
        let settings =
            BatchSettings { max_queue_size: capacity, max_export_batch_size: batch_len, ..Default::default() };
        let all = Encoders::new(&OtelSettings::from_lookup(&|_| None).unwrap().0);
        let peer = |index: usize| Peer { address: index.to_string(), port: None };
        let encoders = (0..encoders).map(|index| all.get(&Arc::<Resource>::default(), &peer(index))).collect();
        (SpanQueue::new(&settings, NonZeroUsize::new(4).unwrap()), encoders)
    }

    fn push(queue: &SpanQueue, encoder: &Arc<Encoder>, count: usize) {
        queue.push(encoder, &Connection::default(), vec![record(); count].iter());
    }

    /// The encoder's key and the number of spans of each batch that is full.
    fn taken(queue: &SpanQueue) -> Vec<(usize, usize)> {
        let each = std::iter::from_fn(|| queue.take()).inspect(|batch| queue.release(batch.spans()));
        each.map(|batch| (batch.key().index(), batch.spans())).collect()
    }

    #[test]
    fn a_full_queue_drops_and_counts() {
        let (queue, encoders) = queue(1, 2, 100);
        (0..5).for_each(|_| push(&queue, &encoders[0], 1));
        assert_eq!((queue.len(), queue.dropped()), (2, 3));
        queue.flush();
        assert_eq!(queue.take().map(|batch| batch.spans()), Some(2));
        assert_eq!(queue.len(), 2, "taken, but not yet counted elsewhere");
        queue.release(2);
        push(&queue, &encoders[0], 1);
        assert_eq!((queue.len(), queue.dropped()), (1, 3), "a place that became free is used again");
    }

    #[test]
    fn of_several_spans_those_are_taken_that_there_is_room_for() {
        let (queue, encoders) = queue(1, 5, 100);
        push(&queue, &encoders[0], 3);
        push(&queue, &encoders[0], 3);
        assert_eq!((queue.len(), queue.dropped()), (5, 1));
        push(&queue, &encoders[0], 3);
        assert_eq!((queue.len(), queue.dropped()), (5, 4));
        queue.flush();
        assert_eq!(taken(&queue), [(0, 5)]);
    }

    #[test]
    fn a_batch_is_full_at_its_number_of_spans_and_the_next_one_begins() {
        let (queue, encoders) = queue(2, 100, 3);
        push(&queue, &encoders[1], 7);
        push(&queue, &encoders[0], 2);
        assert_eq!(taken(&queue), [(1, 3), (1, 3)]);
        assert_eq!(queue.len(), 3);
        assert!(queue.flush());
        assert_eq!(taken(&queue), [(0, 2), (1, 1)]);
        assert!(!queue.flush(), "nothing is left");
        assert_eq!((queue.len(), queue.bytes.load(Ordering::Relaxed)), (0, 0));
    }

    #[test]
    fn what_several_threads_have_begun_goes_together_if_it_fits() {
        let (queue, encoders) = queue(1, 100, 5);
        for _ in 0..2 {
            let own = queue.shards[thread_index() % queue.shards.len()].lock();
            push(&queue, &encoders[0], 2);
            drop(own);
            push(&queue, &encoders[0], 2);
            queue.flush();
            assert_eq!(taken(&queue), [(0, 4)]);
        }
        let own = queue.shards[thread_index() % queue.shards.len()].lock();
        push(&queue, &encoders[0], 4);
        drop(own);
        push(&queue, &encoders[0], 4);
        queue.flush();
        assert_eq!(taken(&queue), [(0, 4), (0, 4)], "together they would be too many");
    }

    #[test]
    fn long_names_fill_a_batch_and_the_queue_by_their_bytes() {
        let mut long = record();
        long.operation =
            Operation::Publish { channel: (*"x".repeat(3_000)).into(), sharded: false, receivers: None, body_size: 0 };
        let (queue, encoders) = queue(1, 10_000, 10_000);
        let records = vec![long; 1_000];
        (0..100).for_each(|_| queue.push(&encoders[0], &Connection::default(), records.iter()));
        let full = queue.bytes.load(Ordering::Relaxed);
        let allowed = 10_000 * SPAN_BYTES;
        assert!((allowed..allowed + 7 * 1_000 * 1_000).contains(&full), "{full} bytes");
        assert_eq!(queue.len() as u64 + queue.dropped(), 100_000);
        let batch = queue.take().unwrap();
        assert!((MAX_BATCH_BYTES..MAX_BATCH_BYTES + 10_000).contains(&batch.len()), "{} bytes", batch.len());
    }

    #[test]
    fn a_closed_queue_keeps_what_it_has_and_takes_no_more() {
        let (queue, encoders) = queue(1, 10, 100);
        push(&queue, &encoders[0], 1);
        queue.close();
        push(&queue, &encoders[0], 1);
        assert_eq!((queue.len(), queue.dropped()), (1, 1));
        queue.abandon();
        assert_eq!((queue.len(), queue.dropped()), (0, 2));
    }

    #[test]
    fn many_threads_never_exceed_the_bound_and_every_span_is_counted() {
        const EACH: usize = 10_000;
        let (queue, encoders) = queue(4, 64, 8);
        let mut taken = 0;
        std::thread::scope(|scope| {
            let queue = &queue;
            let producers: Vec<_> = encoders
                .iter()
                .map(|encoder| scope.spawn(move || (0..EACH / 5).for_each(|_| push(queue, encoder, 5))))
                .collect();
            let mut take = || {
                while let Some(batch) = queue.take() {
                    assert!(batch.spans() <= 8);
                    taken += batch.spans();
                    queue.release(batch.spans());
                }
            };
            while !producers.iter().all(std::thread::ScopedJoinHandle::is_finished) {
                take();
                queue.flush();
            }
            assert!(queue.len() <= 64);
            queue.flush();
            take();
        });
        assert_eq!((queue.len(), queue.bytes.load(Ordering::Relaxed)), (0, 0));
        assert_eq!(taken + usize::try_from(queue.dropped()).unwrap(), 4 * EACH);
    }

    #[tokio::test]
    async fn a_full_batch_wakes_the_exporter_once_and_so_does_a_queue_that_is_half_full() {
        for (capacity, batch_len) in [(1_000, 2), (4, 100)] {
            let (queue, encoders) = queue(1, capacity, batch_len);
            push(&queue, &encoders[0], 1);
            assert!(!queue.woken.load(Ordering::Relaxed));
            push(&queue, &encoders[0], 1);
            push(&queue, &encoders[0], 2);
            queue.ready().await;
            let mut again = std::pin::pin!(queue.ready());
            let again = std::future::poll_fn(|context| std::task::Poll::Ready(again.as_mut().poll(context))).await;
            assert!(again.is_pending(), "four spans, one wake-up");
        }
    }
}
