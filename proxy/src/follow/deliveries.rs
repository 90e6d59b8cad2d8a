//! What was handed over to the service, while its spans wait: for the work that comes of it, or for its acknowledgement.
//!
//! An acknowledgement names a database, a key, a group and an id. Only a keyed hash of these comes here. With it are kept the
//! span of the first delivery, which later ones are linked to, and the id of the last one, which the acknowledgement ends.

use redistributed_core::trace::{Context, SpanContext, SpanRecord, UnixNanos};

use super::Leaving;
use super::queue::Queue;

/// How long an entry is remembered that is not acknowledged, in nanoseconds. It is not shorter than the longest `--ack-window`.
const KEPT: u64 = 10 * 60 * 1_000_000_000;

/// The most deliveries that wait for work. A message has its place until it is decided [whose it is](super::messages), even if as many
/// come as [are followed](super::budget).
pub(super) const MAX_WORKING: usize = 16_384;

/// How long deliveries wait, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Windows {
    /// How long a delivery waits after the last work (`--follow-window`).
    pub(super) work: u64,
    /// How long the entry of a stream waits for its acknowledgement (`--ack-window`).
    pub(super) ack: u64,
}

/// Deliveries that wait. There is a most of those that wait for work, and of the others, and with more the oldest waits no longer.
#[derive(Debug, Default)]
pub(super) struct Deliveries {
    /// Those that wait for work.
    working: Queue<Delivery, MAX_WORKING>,
    /// Entries of streams that wait for their acknowledgement.
    unacknowledged: Queue<Delivery>,
    /// The entries that are not acknowledged, by their hashes.
    entries: Queue<Entry>,
    /// Spans that wait no longer, and have not been taken yet: they have made room for others, or were acknowledged.
    pub(super) finished: Vec<Leaving>,
}

/// The span of a delivery whose message may cause more work, or may be acknowledged.
#[derive(Debug)]
pub(super) struct Delivery {
    began: UnixNanos,
    /// `None` until the message has been written to the service.
    span: Option<Leaving>,
    /// When the last work was seen that the message has caused.
    work: Option<UnixNanos>,
    /// When it was acknowledged.
    acknowledged: Option<UnixNanos>,
    /// Whether it was not acknowledged in time, or not before the entry was handed over again.
    is_unacknowledged: bool,
    /// The span that has added the item, if another proxy has told its context after the item was handed over.
    origin: Option<Origin>,
    /// The entry of a stream, by its hash.
    entry: Option<u64>,
}

/// What the span of a delivery comes from.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    /// The context of the span that has added the item.
    pub(super) context: Context,
    /// The span of the delivery.
    pub(super) span: SpanContext,
    /// Whether it is a child of that one. Otherwise it stays in its trace, and is linked to it.
    pub(super) is_child: bool,
}

/// An entry of a stream that is not acknowledged.
#[derive(Debug)]
struct Entry {
    /// The span of the first delivery, if it is recorded.
    first: Option<SpanContext>,
    /// The id of the last delivery.
    last: u64,
}

impl Deliveries {
    /// The number of deliveries whose spans wait for further work, or for an acknowledgement.
    pub(super) fn len(&self) -> usize {
        self.working.len() + self.unacknowledged.len()
    }

    /// Whether the delivery with this id waits.
    pub(super) fn contains(&self, id: u64) -> bool {
        self.working.contains(id) || self.unacknowledged.contains(id)
    }

    /// A message is about to be delivered whose span has this id.
    pub(super) fn begin(&mut self, now: UnixNanos, id: u64) {
        self.await_work(now, id, Delivery::new(now));
    }

    /// An entry is about to be delivered, by this span if it is recorded, that waits for its acknowledgement.
    pub(super) fn begin_entry(&mut self, now: UnixNanos, entry: u64, id: u64, span: Option<SpanContext>) {
        while let Some((_, old)) = self.entries.pop_if(|since| now.0.saturating_sub(since.0) >= KEPT) {
            self.forget(&old);
        }
        match self.entries.get(entry) {
            Some(known) => *known = Entry { first: known.first.or(span), last: id },
            None => {
                if let Some((_, oldest)) = self.entries.insert(now, entry, Entry { first: span, last: id }) {
                    self.forget(&oldest);
                }
            }
        }
        let delivery = Delivery { entry: Some(entry), ..Delivery::new(now) };
        if let Some((_, oldest)) = self.unacknowledged.insert(now, id, delivery) {
            self.finished.extend(oldest.finish());
        }
    }

    /// An entry is about to be delivered that may have been delivered before. Returns the span of its first delivery if this is a
    /// redelivery. Otherwise it is another entry with the same id, as after a stream was deleted and made again.
    pub(super) fn deliver_again(&mut self, entry: u64, is_redelivery: bool) -> Option<SpanContext> {
        let known = self.entries.get(entry)?;
        if !is_redelivery {
            known.first = None;
        }
        let (first, last) = (known.first, known.last);
        // Whoever has got it before may work on, but an acknowledgement counts for who has got it last.
        if let Some(mut delivery) = self.unacknowledged.remove(last) {
            delivery.is_unacknowledged = is_redelivery;
            self.await_work(delivery.last(), last, delivery);
        }
        first
    }

    /// An entry is acknowledged. Its span ends, or will as soon as the entry has been written to the service.
    pub(super) fn acknowledge(&mut self, now: UnixNanos, entry: u64) {
        let Some(Entry { last, .. }) = self.entries.remove(entry) else { return };
        let Some(delivery) = self.unacknowledged.get(last) else { return };
        delivery.acknowledged = Some(now);
        if delivery.span.is_some() {
            let delivery = self.unacknowledged.remove(last);
            self.finished.extend(delivery.and_then(Delivery::finish));
        }
    }

    /// The message with this id has been written to the service. Returns the span if it need not wait.
    pub(super) fn written(&mut self, id: u64, span: Leaving) -> Option<Leaving> {
        let Some(delivery) = self.get(id) else { return Some(span) };
        delivery.span = Some(span);
        delivery.acknowledged?;
        self.unacknowledged.remove(id)?.finish()
    }

    /// Another proxy has told what this delivery comes from.
    pub(super) fn origin_found(&mut self, id: u64, origin: Origin) {
        let Some(delivery) = self.get(id) else { return };
        let (entry, span) = (delivery.entry, origin.span);
        delivery.origin = Some(origin);
        // Later deliveries are linked to the first one.
        if let Some(known) = entry.and_then(|entry| self.entries.get(entry))
            && let Some(first) = &mut known.first
            && first.span_id == span.span_id
        {
            *first = span;
        }
    }

    /// The service has done something that this message has caused, if it is one.
    pub(super) fn work_of(&mut self, cause: u64, now: UnixNanos) {
        if let Some(delivery) = self.get(cause) {
            delivery.work = delivery.work.max(Some(now));
        }
    }

    /// Ends the spans that have waited for long enough. Of an entry that was handed over no later than `missed` it is not known
    /// whether it was acknowledged.
    /// Those that have to wait all the same go on waiting.
    pub(super) fn end_due(
        &mut self,
        now: UnixNanos,
        windows: Windows,
        missed: UnixNanos,
        has_to_wait: &impl Fn(u64) -> bool,
    ) {
        let is_due = |since: UnixNanos, waits: u64| now.0.saturating_sub(since.0) >= waits;
        let mut due = Vec::new();
        while let Some((id, mut delivery)) = self.unacknowledged.pop_if(|since| is_due(since, windows.ack)) {
            delivery.is_unacknowledged = delivery.began > missed;
            due.push((id, delivery));
        }
        while let Some((id, delivery)) = self.working.pop_if(|since| is_due(since, windows.work)) {
            due.push((id, delivery));
        }
        for (id, delivery) in due {
            if has_to_wait(id) {
                self.await_work(now, id, delivery);
            } else if is_due(delivery.last(), windows.work) {
                self.finished.extend(delivery.finish());
            } else {
                self.await_work(delivery.last(), id, delivery);
            }
        }
    }

    /// Ends all spans that wait, because the process stops.
    pub(super) fn end_all(&mut self) {
        let mut all = Vec::new();
        while let Some((_, delivery)) = self.working.pop_if(|_| true).or_else(|| self.unacknowledged.pop_if(|_| true)) {
            all.push(delivery);
        }
        self.finished.extend(all.into_iter().filter_map(Delivery::finish));
    }

    fn await_work(&mut self, since: UnixNanos, id: u64, delivery: Delivery) {
        if let Some((_, oldest)) = self.working.insert(since, id, delivery) {
            self.finished.extend(oldest.finish());
        }
    }

    /// Nobody will know of the acknowledgement of this entry.
    fn forget(&mut self, entry: &Entry) {
        let delivery = self.unacknowledged.remove(entry.last);
        self.finished.extend(delivery.and_then(Delivery::finish));
    }

    fn get(&mut self, id: u64) -> Option<&mut Delivery> {
        self.working.get(id).or_else(|| self.unacknowledged.get(id))
    }
}

impl Origin {
    fn give_to(self, record: &mut SpanRecord) {
        record.trace_state = record.trace_state.take().or(self.context.trace_state);
        record.context = self.span;
        let origin = self.context.span;
        (record.parent, record.link) =
            if self.is_child { (Some(origin.span_id), None) } else { (record.parent, Some(origin)) };
        if let Some(inferred) = &mut record.inferred {
            inferred.needs_context = false;
        }
    }
}

impl Delivery {
    fn new(now: UnixNanos) -> Self {
        let (span, work, acknowledged, origin, entry) = (None, None, None, None, None);
        Self { began: now, span, work, acknowledged, is_unacknowledged: false, origin, entry }
    }

    /// When the last work was seen, or else when it began.
    fn last(&self) -> UnixNanos {
        self.work.unwrap_or(self.began)
    }

    /// Ends the span with its acknowledgement, otherwise with the last work. Without both it ends when the message had been written.
    fn finish(self) -> Option<Leaving> {
        let mut span = self.span?;
        if let Some(origin) = self.origin {
            origin.give_to(&mut span.record);
        }
        let is_acknowledged = self.acknowledged.is_some();
        if is_acknowledged || self.is_unacknowledged {
            span.record.inferred.get_or_insert_default().is_acknowledged = Some(is_acknowledged);
        }
        if let Some(end) = self.acknowledged.or(self.work).filter(|end| *end > span.record.end) {
            let handed_over = std::mem::replace(&mut span.record.end, end);
            span.record.inferred.get_or_insert_default().handed_over = Some(handed_over);
        }
        Some(span)
    }
}
