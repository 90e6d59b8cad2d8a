//! The spans that wait: deliveries for the work that they cause, commands for the cause that may become known.

use std::collections::{HashMap, VecDeque};

use redistributed_core::policy::{Commands, Policy};
use redistributed_core::trace::{Context, Operation, UnixNanos};

use super::Leaving;

/// The most deliveries, and the most commands, that wait. With more the oldest waits no longer.
const MAX_WAITING: usize = 4096;

/// How long a command waits for its cause, in nanoseconds: as long as causes are remembered.
const COMMAND_WAITS: u64 = 10_000_000_000;

/// The spans of a service that wait.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    deliveries: Queue<Delivery>,
    /// Deliveries that are measured and not recorded, however many of them there are: they take no place of one that is recorded.
    measured: Queue<Delivery>,
    commands: Queue<Leaving>,
    /// The causes of commands that have not ended yet.
    causes: Queue<(Option<Context>, &'static str)>,
    /// Spans that have made room for others.
    pub(super) overflowed: Vec<Finished>,
}

/// The span of a delivery whose message may cause more work.
#[derive(Debug)]
struct Delivery {
    /// `None` until the message has been written to the service.
    span: Option<Leaving>,
    /// When the last work was seen that the message has caused.
    work: Option<UnixNanos>,
}

/// A span that waits no longer.
#[derive(Debug)]
pub(super) enum Finished {
    Delivery(Leaving),
    Command {
        span: Leaving,
        /// Its cause and the rule by which it was found, if it became known.
        cause: Option<(Context, &'static str)>,
    },
}

impl Finished {
    /// The span as it is handed over; `None` if it is not wanted.
    pub(super) fn decide(self, policy: &Policy) -> Option<Leaving> {
        let (mut span, cause) = match self {
            Self::Delivery(span) => return Some(span),
            Self::Command { span, cause } => (span, cause),
        };
        match cause {
            Some((cause, rule)) => policy.attribute(&mut span.record, &cause, rule),
            None if is_command(&span) && policy.commands == Commands::Caused => return None,
            None => {}
        }
        Some(span)
    }
}

fn is_command(span: &Leaving) -> bool {
    matches!(span.record.operation, Operation::Command { .. })
}

impl Waiting {
    /// The numbers of deliveries and of commands that wait. Deliveries that are only measured do not count.
    pub(super) fn len(&self) -> (usize, usize) {
        (self.deliveries.entries.len(), self.commands.entries.len())
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == (0, 0) && self.measured.entries.is_empty()
    }

    /// A message is about to be delivered whose span has this id, and is recorded or only measured.
    pub(super) fn delivery_begins(&mut self, now: UnixNanos, id: u64, is_recorded: bool) {
        let queue = if is_recorded { &mut self.deliveries } else { &mut self.measured };
        let oldest = queue.insert(now, id, Delivery { span: None, work: None });
        self.overflowed.extend(oldest.and_then(Delivery::finish));
    }

    /// The message with this id has been written to the service. Returns the span if it need not wait.
    pub(super) fn delivered(&mut self, id: u64, span: Leaving) -> Option<Leaving> {
        match self.delivery(id) {
            Some(delivery) => {
                delivery.span = Some(span);
                None
            }
            None => Some(span),
        }
    }

    /// The service has done something that this message has caused, if it is one.
    pub(super) fn work_of(&mut self, cause: u64, now: UnixNanos) {
        if let Some(delivery) = self.delivery(cause) {
            delivery.work = delivery.work.max(Some(now));
        }
    }

    fn delivery(&mut self, id: u64) -> Option<&mut Delivery> {
        let is_measured = self.measured.entries.contains_key(&id);
        if is_measured { &mut self.measured } else { &mut self.deliveries }.get(id)
    }

    /// A command has ended whose cause may become known. Returns its span if that is known by now.
    pub(super) fn command_ends(&mut self, now: UnixNanos, command: u64, span: Leaving) -> Option<Finished> {
        if let Some((cause, rule)) = self.causes.entries.remove(&command) {
            return Some(Finished::Command { span, cause: cause.map(|cause| (cause, rule)) });
        }
        let oldest = self.commands.insert(now, command, span);
        self.overflowed.extend(oldest.map(|span| Finished::Command { span, cause: None }));
        None
    }

    /// The command's cause has become known. Returns its span if the command has ended.
    pub(super) fn cause_found(
        &mut self,
        now: UnixNanos,
        command: u64,
        cause: Option<Context>,
        rule: &'static str,
    ) -> Option<Finished> {
        let Some(span) = self.commands.entries.remove(&command) else {
            self.causes.insert(now, command, (cause, rule));
            return None;
        };
        Some(Finished::Command { span, cause: cause.map(|cause| (cause, rule)) })
    }

    /// Takes the spans that have waited for long enough.
    pub(super) fn take_due(&mut self, now: UnixNanos, window: u64) -> Vec<Finished> {
        let mut finished = std::mem::take(&mut self.overflowed);
        let is_due = |since: UnixNanos, waits: u64| now.0.saturating_sub(since.0) >= waits;
        for queue in [&mut self.deliveries, &mut self.measured] {
            let mut again = Vec::new();
            while let Some((id, delivery)) = queue.pop_if(|since| is_due(since, window)) {
                match delivery.work.filter(|work| !is_due(*work, window)) {
                    Some(work) => again.push((work, id, delivery)),
                    None => finished.extend(delivery.finish()),
                }
            }
            for (work, id, delivery) in again {
                queue.insert(work, id, delivery);
            }
        }
        while let Some((_, span)) = self.commands.pop_if(|since| is_due(since, COMMAND_WAITS)) {
            finished.push(Finished::Command { span, cause: None });
        }
        while self.causes.pop_if(|since| is_due(since, COMMAND_WAITS)).is_some() {}
        finished
    }

    /// Takes all spans that wait, because the process stops.
    pub(super) fn take_all(&mut self) -> Vec<Finished> {
        let mut finished = std::mem::take(&mut self.overflowed);
        for queue in [&mut self.deliveries, &mut self.measured] {
            while let Some((_, delivery)) = queue.pop_if(|_| true) {
                finished.extend(delivery.finish());
            }
        }
        while let Some((_, span)) = self.commands.pop_if(|_| true) {
            finished.push(Finished::Command { span, cause: None });
        }
        finished
    }
}

impl Delivery {
    /// Ends the span with the last work. Without work it ends when the message had been written.
    fn finish(self) -> Option<Finished> {
        let mut span = self.span?;
        if let Some(work) = self.work.filter(|work| *work > span.record.end) {
            let handed_over = std::mem::replace(&mut span.record.end, work);
            span.record.inferred.get_or_insert_default().handed_over = Some(handed_over);
        }
        Some(Finished::Delivery(span))
    }
}

/// Entries by a key, with the order in which they came.
#[derive(Debug)]
struct Queue<T> {
    entries: HashMap<u64, T>,
    /// Keys of entries that are gone are passed over.
    order: VecDeque<(UnixNanos, u64)>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new() }
    }
}

impl<T> Queue<T> {
    /// Adds an entry, and returns the oldest if there are too many.
    fn insert(&mut self, now: UnixNanos, key: u64, entry: T) -> Option<T> {
        self.order.push_back((now, key));
        self.entries.insert(key, entry);
        let oldest = (self.entries.len() > MAX_WAITING).then(|| self.pop_if(|_| true)).flatten();
        if self.order.len() > 2 * MAX_WAITING {
            self.order.retain(|(_, key)| self.entries.contains_key(key));
        }
        oldest.map(|(_, entry)| entry)
    }

    fn get(&mut self, key: u64) -> Option<&mut T> {
        self.entries.get_mut(&key)
    }

    /// Removes the oldest entry, if it came at a time of which this is true.
    fn pop_if(&mut self, is_due: impl Fn(UnixNanos) -> bool) -> Option<(u64, T)> {
        while let Some(&(_, key)) = self.order.front().filter(|(since, _)| is_due(*since)) {
            self.order.pop_front();
            if let Some(entry) = self.entries.remove(&key) {
                return Some((key, entry));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use redistributed_core::policy::Follow;
    use redistributed_core::trace::{CommandId, Inferred, SpanContext, SpanRecord};

    use super::*;
    use crate::telemetry::{Connection, test_sink};

    const MILLISECOND: u64 = 1_000_000;
    const WINDOW: u64 = 100 * MILLISECOND;

    fn at(millis: u64) -> UnixNanos {
        UnixNanos(millis * MILLISECOND)
    }

    fn context(id: u64) -> SpanContext {
        let text = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{id:016x}-01");
        SpanContext::parse_traceparent(text.as_bytes()).unwrap()
    }

    fn span(operation: Operation, end: UnixNanos) -> Leaving {
        let record = SpanRecord { end, ..SpanRecord::new(context(9), at(0), operation) };
        Leaving { record, connection: Connection::default(), sink: test_sink().0 }
    }

    fn delivery(end: UnixNanos) -> Leaving {
        span(Operation::Deliver { channel: "ch".into(), pattern: None, sharded: false, body_size: 1 }, end)
    }

    fn undecided(operation: Operation) -> Leaving {
        let mut leaving = span(operation, at(1));
        let undecided = std::num::NonZeroU32::new(1).map(CommandId);
        leaving.record.inferred = Some(Box::new(Inferred { undecided, ..Inferred::default() }));
        leaving
    }

    fn command() -> Leaving {
        undecided(Operation::Command { name: "SET".into(), summary: None, database: 0, batch_size: None })
    }

    fn publish() -> Leaving {
        undecided(Operation::Publish { channel: "ch".into(), sharded: false, receivers: None, body_size: 1 })
    }

    fn following() -> Policy {
        Policy { follow: Follow::Parent, commands: Commands::Caused, ..Policy::default() }
    }

    /// The records that are handed over.
    fn records(finished: Vec<Finished>) -> Vec<SpanRecord> {
        let policy = following();
        finished.into_iter().filter_map(|finished| finished.decide(&policy)).map(|leaving| leaving.record).collect()
    }

    #[test]
    fn the_span_of_a_delivery_ends_with_the_last_work_and_says_when_it_was_handed_over() {
        let mut waiting = Waiting::default();
        waiting.delivery_begins(at(0), 9, true);
        assert!(waiting.delivered(9, delivery(at(2))).is_none());
        waiting.work_of(9, at(80));
        waiting.work_of(8, at(90));
        assert!(waiting.take_due(at(150), WINDOW).is_empty(), "there was work 70 ms ago");
        let records = records(waiting.take_due(at(180), WINDOW));
        let handed_over = records[0].inferred.as_ref().unwrap().handed_over;
        assert_eq!((records[0].end, handed_over, waiting.len()), (at(80), Some(at(2)), (0, 0)));
    }

    #[test]
    fn a_delivery_that_is_only_measured_waits_too_and_takes_no_place_of_one_that_is_recorded() {
        let mut waiting = Waiting::default();
        waiting.delivery_begins(at(0), 9, true);
        waiting.delivered(9, delivery(at(2)));
        for id in 10..=10 + MAX_WAITING as u64 {
            waiting.delivery_begins(at(0), id, false);
            waiting.delivered(id, delivery(at(2)));
        }
        assert_eq!((waiting.len(), waiting.overflowed.len()), ((1, 0), 1), "the oldest that is measured has left");
        waiting.work_of(10 + MAX_WAITING as u64, at(80));
        let ended: Vec<_> = records(waiting.take_due(at(150), WINDOW)).iter().map(|record| record.end).collect();
        assert_eq!((ended.len(), ended.iter().all(|end| *end == at(2))), (MAX_WAITING + 1, true));
        assert!(!waiting.is_empty());
        let last = records(waiting.take_due(at(180), WINDOW));
        assert_eq!((last.len(), last[0].end, waiting.is_empty()), (1, at(80), true));
    }

    #[test]
    fn without_work_the_span_of_a_delivery_ends_when_the_message_is_handed_over() {
        let mut waiting = Waiting::default();
        waiting.delivery_begins(at(0), 9, true);
        waiting.delivered(9, delivery(at(2)));
        let records = records(waiting.take_due(at(100), WINDOW));
        assert_eq!((records[0].end, &records[0].inferred), (at(2), &None));
        // One that nobody follows does not wait.
        assert!(waiting.delivered(9, delivery(at(3))).is_some());
    }

    #[test]
    fn a_command_moves_to_the_trace_of_a_cause_that_becomes_known_before_it_ends_or_later() {
        let cause = Some(Context::from(context(7)));
        let mut waiting = Waiting::default();
        assert!(waiting.cause_found(at(1), 1, cause.clone(), "joined").is_none());
        let before = waiting.command_ends(at(2), 1, command());
        assert!(waiting.command_ends(at(2), 2, command()).is_none());
        let later = waiting.cause_found(at(3), 2, cause, "response");
        let records = records(before.into_iter().chain(later).collect());
        let found: Vec<_> =
            records.iter().map(|record| (record.parent, record.inferred.as_ref().unwrap().rule)).collect();
        let parent = Some(context(7).span_id);
        assert_eq!(found, [(parent, Some("joined")), (parent, Some("response"))]);
    }

    #[test]
    fn without_a_cause_only_a_publish_has_a_span() {
        let mut waiting = Waiting::default();
        waiting.command_ends(at(0), 1, command());
        waiting.command_ends(at(0), 2, publish());
        assert!(waiting.take_due(at(9_999), WINDOW).is_empty());
        let records = records(waiting.take_due(at(10_000), WINDOW));
        assert!(matches!(records[..], [SpanRecord { operation: Operation::Publish { .. }, parent: None, .. }]));
    }

    #[test]
    fn with_too_many_that_wait_the_oldest_waits_no_longer() {
        let mut waiting = Waiting::default();
        for id in 0..=MAX_WAITING as u64 {
            waiting.delivery_begins(at(id), id, true);
            waiting.delivered(id, delivery(at(id)));
            waiting.command_ends(at(id), id, publish());
            waiting.cause_found(at(id), 1_000_000 + id, None, "token");
        }
        assert_eq!(waiting.len(), (MAX_WAITING, MAX_WAITING));
        assert_eq!((waiting.overflowed.len(), waiting.causes.entries.len()), (2, MAX_WAITING));
        assert_eq!(records(waiting.take_all()).len(), 2 * MAX_WAITING + 2);
    }
}
