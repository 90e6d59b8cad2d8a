//! Between the connections and the exporter: a bounded queue that never makes anybody wait.
//!
//! Spans wait in parcels, in the form in which they will be sent. There is a shard for each thread that relays, with the
//! parcels that it is filling, one for each route. A connection uses its thread's shard and takes another one when that is
//! busy, which happens while the exporter is emptying it; so nobody waits for a thread that the system has put aside in the
//! middle. A parcel that is full changes hands as a whole, under a lock that is held for no longer than that, and the
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

use super::packer::{Packer, Parcel};
use crate::settings::otel::BatchSettings;

/// A parcel is full when it has this many bytes, however few spans: collectors take 4 MiB by default, and a channel's
/// name, which is in each span twice, may be long.
const MAX_PARCEL_BYTES: usize = 1 << 20;

/// Bytes of a span that the queue has room for, on average. Most have 350; the bound is for names of a thousand bytes.
const SPAN_BYTES: usize = 512;

/// Bytes that the queue has room for, however few spans.
const LEAST_BYTES: usize = MAX_PARCEL_BYTES;

#[derive(Debug)]
pub(super) struct SpanQueue {
    packers: Arc<[Packer]>,
    shards: Box<[Shard]>,
    full: Mutex<VecDeque<Packed>>,
    /// What the parcels take, begun and full ones. Added before others can see what it is for.
    bytes: AtomicUsize,
    /// Spans that wait.
    len: AtomicUsize,
    capacity: usize,
    /// Spans of a parcel at most.
    parcel_len: usize,
    dropped: AtomicU64,
    /// Set from the first wake-up until the exporter looks, so that a burst costs one.
    woken: AtomicBool,
    wake: Notify,
}

/// A parcel that no span will be added to.
#[derive(Debug)]
pub(super) struct Packed {
    /// Index of its route.
    pub(super) route: usize,
    pub(super) parcel: Parcel,
}

/// Apart in memory, so that threads do not slow each other down by writing side by side.
#[derive(Debug)]
#[repr(align(128))]
struct Shard(Mutex<Open>);

#[derive(Debug)]
struct Open {
    /// One place for each route.
    parcels: Box<[Option<Parcel>]>,
    closed: bool,
}

impl SpanQueue {
    /// For the routes that `packers` are for, and so many threads that relay.
    pub(super) fn new(packers: Arc<[Packer]>, settings: &BatchSettings, threads: NonZeroUsize) -> Self {
        Self {
            // One for each thread and one more, for while the exporter is emptying one.
            shards: (0..=threads.get()).map(|_| Shard::new(packers.len())).collect(),
            packers,
            full: Mutex::default(),
            bytes: AtomicUsize::new(0),
            len: AtomicUsize::new(0),
            capacity: settings.max_queue_size,
            parcel_len: settings.max_export_batch_size,
            dropped: AtomicU64::new(0),
            woken: AtomicBool::new(false),
            wake: Notify::new(),
        }
    }

    /// Takes as many of `records` as there is room for, and counts the others as dropped.
    pub(super) fn push(&self, route: usize, records: &[SpanRecord]) {
        // The places are taken before the spans are added, so that the bound holds with any number of threads.
        let before = self.len.fetch_add(records.len(), Ordering::Relaxed);
        let fits = self.bytes.load(Ordering::Relaxed) < self.capacity.saturating_mul(SPAN_BYTES).max(LEAST_BYTES);
        let room = if fits { self.capacity.saturating_sub(before) } else { 0 };
        let (added, is_full) = self.pack(route, records.get(..room).unwrap_or(records));
        let dropped = records.len() - added;
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

    /// How many were packed, and whether a parcel is full now.
    fn pack(&self, route: usize, records: &[SpanRecord]) -> (usize, bool) {
        let (Some(packer), false) = (self.packers.get(route), records.is_empty()) else { return (0, false) };
        let mut shard = self.free_shard();
        let Open { parcels, closed: false } = &mut *shard else { return (0, false) };
        let Some(place) = parcels.get_mut(route) else { return (0, false) };
        // Not in its place meanwhile, so that a panic leaves no span behind that is half written.
        let mut begun = place.take();
        let mut known = begun.as_ref().map_or(0, Parcel::weight);
        let mut is_full = false;
        for record in records {
            let mut parcel = begun.take().unwrap_or_else(|| packer.open());
            packer.add(record, &mut parcel);
            if parcel.spans() >= self.parcel_len || parcel.len() >= MAX_PARCEL_BYTES {
                self.bytes.fetch_add(parcel.weight() - mem::take(&mut known), Ordering::Relaxed);
                self.hand_over([Packed { route, parcel }]);
                is_full = true;
            } else {
                begun = Some(parcel);
            }
        }
        if let Some(parcel) = begun {
            self.bytes.fetch_add(parcel.weight() - known, Ordering::Relaxed);
            *place = Some(parcel);
        }
        (records.len(), is_full)
    }

    fn hand_over(&self, packed: impl IntoIterator<Item = Packed>) {
        self.full().extend(packed);
    }

    /// This thread's shard, or the next one that is free.
    fn free_shard(&self) -> MutexGuard<'_, Open> {
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

    fn full(&self) -> MutexGuard<'_, VecDeque<Packed>> {
        self.full.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Completes when a parcel is full, or the queue is half full. Cancel safe.
    pub(super) async fn ready(&self) {
        self.wake.notified().await;
        self.woken.store(false, Ordering::Release);
    }

    /// The next full parcel. Its spans count as waiting until [`release`](Self::release) is called.
    pub(super) fn take(&self) -> Option<Packed> {
        let mut full = self.full();
        let packed = full.pop_front()?;
        self.bytes.fetch_sub(packed.parcel.weight(), Ordering::Relaxed);
        Some(packed)
    }

    /// How many parcels are full.
    pub(super) fn full_len(&self) -> usize {
        self.full().len()
    }

    /// So many spans have been taken, and are counted elsewhere: for a moment they were counted twice, rather than not at
    /// all.
    pub(super) fn release(&self, spans: usize) {
        self.len.fetch_sub(spans, Ordering::Relaxed);
    }

    /// Whether so many spans wait that they should go though no parcel is full: with several threads and routes they may
    /// be spread over many.
    pub(super) fn is_half_full(&self) -> bool {
        self.len() >= self.capacity.div_ceil(2)
    }

    /// Makes full parcels of what has been begun: one of each route, if that is not too much. Whether there was anything.
    pub(super) fn finish_open(&self) -> bool {
        let mut joined: Vec<Option<Parcel>> = self.packers.iter().map(|_| None).collect();
        for shard in &self.shards {
            // Locked no longer than it takes to take them.
            let begun: Vec<_> = shard.lock().parcels.iter_mut().map(Option::take).collect();
            for (route, (begun, joined)) in begun.into_iter().zip(&mut joined).enumerate() {
                let Some(begun) = begun else { continue };
                match joined {
                    Some(parcel)
                        if parcel.spans() + begun.spans() <= self.parcel_len
                            && parcel.len() + begun.len() <= MAX_PARCEL_BYTES =>
                    {
                        let apart = parcel.weight() + begun.weight();
                        parcel.join(begun);
                        self.bytes.fetch_sub(apart - parcel.weight(), Ordering::Relaxed);
                    }
                    place => self.hand_over(place.replace(begun).map(|parcel| Packed { route, parcel })),
                }
            }
        }
        let any = joined.iter().any(Option::is_some);
        let rest = joined.into_iter().enumerate();
        self.hand_over(rest.filter_map(|(route, parcel)| Some(Packed { route, parcel: parcel? })));
        any
    }

    /// From now on every span is dropped.
    pub(super) fn close(&self) {
        for shard in &self.shards {
            shard.lock().closed = true;
        }
    }

    /// Counts what is left as dropped.
    pub(super) fn abandon(&self) {
        self.finish_open();
        while let Some(packed) = self.take() {
            let spans = packed.parcel.spans();
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
    fn new(routes: usize) -> Self {
        Self(Mutex::new(Open { parcels: (0..routes).map(|_| None).collect(), closed: false }))
    }

    /// A panic elsewhere does not make a list of spans wrong.
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
    use crate::settings::otel::OtelSettings;
    use crate::telemetry::Service;

    fn record() -> SpanRecord {
        let context = SpanContext { trace_id: TraceId::MIN, span_id: SpanId::MIN, flags: TraceFlags::SAMPLED };
        let operation = Operation::Command { name: "GET".into(), database: 0, batch_size: None };
        SpanRecord::new(context, UnixNanos(1), operation)
    }

    fn queue(routes: usize, capacity: usize, parcel_len: usize) -> SpanQueue {
        let batch = BatchSettings { max_queue_size: capacity, max_export_batch_size: parcel_len, ..Default::default() };
        let services: Vec<_> = (0..routes)
            .map(|route| Service { name: None, server_address: route.to_string(), server_port: None })
            .collect();
        let otlp = OtelSettings::from_lookup(&|_| None).unwrap().0;
        SpanQueue::new(Packer::build_all(&otlp, &services).into(), &batch, NonZeroUsize::new(4).unwrap())
    }

    fn push(queue: &SpanQueue, route: usize, count: usize) {
        queue.push(route, &vec![record(); count]);
    }

    /// Route and spans of each parcel that is full.
    fn taken(queue: &SpanQueue) -> Vec<(usize, usize)> {
        let each = std::iter::from_fn(|| queue.take()).inspect(|packed| queue.release(packed.parcel.spans()));
        each.map(|packed| (packed.route, packed.parcel.spans())).collect()
    }

    #[test]
    fn a_full_queue_drops_and_counts() {
        let queue = queue(1, 2, 100);
        (0..5).for_each(|_| push(&queue, 0, 1));
        assert_eq!((queue.len(), queue.dropped()), (2, 3));
        queue.finish_open();
        assert_eq!(queue.take().map(|packed| packed.parcel.spans()), Some(2));
        assert_eq!(queue.len(), 2, "taken, but not yet counted elsewhere");
        queue.release(2);
        push(&queue, 0, 1);
        assert_eq!((queue.len(), queue.dropped()), (1, 3), "a place that became free is used again");
    }

    #[test]
    fn of_several_spans_those_are_taken_that_there_is_room_for() {
        let queue = queue(1, 5, 100);
        push(&queue, 0, 3);
        push(&queue, 0, 3);
        assert_eq!((queue.len(), queue.dropped()), (5, 1));
        push(&queue, 0, 3);
        assert_eq!((queue.len(), queue.dropped()), (5, 4));
        queue.finish_open();
        assert_eq!(taken(&queue), [(0, 5)]);
    }

    #[test]
    fn a_parcel_is_full_at_its_number_of_spans_and_the_next_one_begins() {
        let queue = queue(2, 100, 3);
        push(&queue, 1, 7);
        push(&queue, 0, 2);
        assert_eq!(taken(&queue), [(1, 3), (1, 3)]);
        assert_eq!(queue.len(), 3);
        assert!(queue.finish_open());
        assert_eq!(taken(&queue), [(0, 2), (1, 1)]);
        assert!(!queue.finish_open(), "nothing is left");
        assert_eq!((queue.len(), queue.bytes.load(Ordering::Relaxed)), (0, 0));
    }

    #[test]
    fn what_several_threads_have_begun_goes_together_if_it_fits() {
        let queue = queue(1, 100, 5);
        for _ in 0..2 {
            let own = queue.shards[thread_index() % queue.shards.len()].lock();
            push(&queue, 0, 2);
            drop(own);
            push(&queue, 0, 2);
            queue.finish_open();
            assert_eq!(taken(&queue), [(0, 4)]);
        }
        let own = queue.shards[thread_index() % queue.shards.len()].lock();
        push(&queue, 0, 4);
        drop(own);
        push(&queue, 0, 4);
        queue.finish_open();
        assert_eq!(taken(&queue), [(0, 4), (0, 4)], "together they would be too many");
    }

    #[test]
    fn long_names_fill_a_parcel_and_the_queue_by_their_bytes() {
        let mut long = record();
        long.operation =
            Operation::Publish { channel: "x".repeat(3_000).into(), sharded: false, receivers: None, body_size: 0 };
        let queue = queue(1, 10_000, 10_000);
        let records = vec![long; 1_000];
        (0..100).for_each(|_| queue.push(0, &records));
        let full = queue.bytes.load(Ordering::Relaxed);
        let allowed = 10_000 * SPAN_BYTES;
        assert!((allowed..allowed + 7 * 1_000 * 1_000).contains(&full), "{full} bytes");
        assert_eq!(queue.len() as u64 + queue.dropped(), 100_000);
        let parcel = queue.take().unwrap().parcel;
        assert!((MAX_PARCEL_BYTES..MAX_PARCEL_BYTES + 10_000).contains(&parcel.len()), "{} bytes", parcel.len());
    }

    #[test]
    fn a_route_that_does_not_exist_has_its_spans_dropped() {
        let queue = queue(1, 10, 10);
        push(&queue, 1, 3);
        assert_eq!((queue.len(), queue.dropped()), (0, 3));
    }

    #[test]
    fn a_closed_queue_keeps_what_it_has_and_takes_no_more() {
        let queue = queue(1, 10, 100);
        push(&queue, 0, 1);
        queue.close();
        push(&queue, 0, 1);
        assert_eq!((queue.len(), queue.dropped()), (1, 1));
        queue.abandon();
        assert_eq!((queue.len(), queue.dropped()), (0, 2));
    }

    #[test]
    fn many_threads_never_exceed_the_bound_and_every_span_is_counted() {
        const EACH: usize = 10_000;
        let queue = queue(4, 64, 8);
        let mut taken = 0;
        std::thread::scope(|scope| {
            let queue = &queue;
            let producers: Vec<_> =
                (0..4).map(|route| scope.spawn(move || (0..EACH / 5).for_each(|_| push(queue, route, 5)))).collect();
            let mut take = || {
                while let Some(packed) = queue.take() {
                    assert!(packed.parcel.spans() <= 8);
                    taken += packed.parcel.spans();
                    queue.release(packed.parcel.spans());
                }
            };
            while !producers.iter().all(std::thread::ScopedJoinHandle::is_finished) {
                take();
                queue.finish_open();
            }
            assert!(queue.len() <= 64);
            queue.finish_open();
            take();
        });
        assert_eq!((queue.len(), queue.bytes.load(Ordering::Relaxed)), (0, 0));
        assert_eq!(taken + usize::try_from(queue.dropped()).unwrap(), 4 * EACH);
    }

    #[tokio::test]
    async fn a_full_parcel_wakes_the_exporter_once_and_so_does_a_queue_that_is_half_full() {
        for (capacity, parcel_len) in [(1_000, 2), (4, 100)] {
            let queue = queue(1, capacity, parcel_len);
            push(&queue, 0, 1);
            assert!(!queue.woken.load(Ordering::Relaxed));
            push(&queue, 0, 1);
            push(&queue, 0, 2);
            queue.ready().await;
            let mut again = std::pin::pin!(queue.ready());
            let again = std::future::poll_fn(|context| std::task::Poll::Ready(again.as_mut().poll(context))).await;
            assert!(again.is_pending(), "four spans, one wake-up");
        }
    }
}
