//! Items whose contexts other proxies tell, and what they cause.

use std::sync::Arc;

use redistributed_core::carrier::out_of_band::{About, MessagesOf, Notice};
use redistributed_core::policy::{Commands, Follow as Mode, OutOfBand, Policy, Relation};
use redistributed_core::service::{
    Attribution, Bulks, EntryId, Inference as _, NamedItem, NamedMessage, ObservedCommand, ObservedDelivery,
    ObservedItem, ObservedRead, PendingEntry, Told,
};
use redistributed_core::trace::{
    CommandId, Companion, Context, Inferred, Operation, PublishNumber, Sent, SpanContext, SpanRecord, UnixNanos,
};

use super::*;
use crate::out_of_band::Interests;
use crate::telemetry::test_sink;

const KEY: Companion = Companion(7);
const SECOND: u64 = 1_000_000_000;

fn span(trace: u64, id: u64) -> SpanContext {
    SpanContext::parse_traceparent(format!("00-{trace:032x}-{id:016x}-01").as_bytes()).unwrap()
}

/// The context that follows from what names a message.
fn derived(name: u64) -> SpanContext {
    span(name, 9000 + name)
}

/// An id that no other item has.
fn uuid(number: u64) -> String {
    let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("{:08x}-{:04x}-4{:03x}-8000-{:012x}", mixed >> 32, mixed & 0xffff, number & 0xfff, mixed >> 16)
}

/// A service whose items are told, and where its spans go.
struct Service {
    follow: Arc<Follow>,
    connection: FollowedConnection,
    redis: u64,
    sink: SpanSink,
    exported: Box<dyn Fn() -> Option<SpanRecord>>,
    now: UnixNanos,
    /// The name of the item that was handed over last.
    last: u64,
}

impl Service {
    /// A service that has run for long enough to be known.
    fn new(policy: Policy) -> Self {
        let policy = Policy { follow: Mode::Parent, commands: Commands::Caused, out_of_band: OutOfBand::On, ..policy };
        let follow = Follow::new(LivePolicy::new(Arc::new(policy.clone())), [7; 16], FollowSettings::default(), None);
        let interests = Arc::<Interests>::default();
        let redis = interests.number();
        let mut connection = follow.connection("redis").hearing(interests);
        // What ends is dated by the clock, so that the training has to be over by now.
        let now = UnixNanos(clock::now().0 - 20 * SECOND);
        assert!(connection.inference(&policy, now).is_some());
        let (sink, exported) = test_sink();
        let mut service = Self { follow, connection, redis, sink, exported: Box::new(exported), now, last: 0 };
        for number in 0..8 {
            service.now.0 += SECOND;
            let payload = uuid(1_000_000 + number);
            let delivered = ObservedDelivery {
                id: span(1, 1_000_000 + number).span_id,
                context: None,
                publish: None,
                channel: b"training",
                payload: payload.as_bytes(),
                awaits: None,
            };
            service.connection.delivered(service.now, &delivered);
            service.now.0 += SECOND / 1000;
            service.command_about(1_000_000 + number);
        }
        service.now = clock::now();
        service
    }

    /// Hands over the item with this name, whose span has this id and for now a trace of its own. Returns its span if it does not wait.
    fn hand_over(&mut self, name: u64, id: u64) -> Option<SpanRecord> {
        self.hand_over_while(name, id, |_| {})
    }

    /// The same where something happens after it was asked what is told of the item.
    fn hand_over_while(&mut self, name: u64, id: u64, happens: impl FnOnce(&Self)) -> Option<SpanRecord> {
        let named = NamedItem { name: span(name, 1).trace_id, companion: KEY, is_shared: false, is_id: false };
        let (context, awaits) = match self.connection.told(self.now, &named) {
            Told::Context(told) => (Context { span: span(told.span.trace_id.low_u64(), id), ..told }, None),
            Told::NothingYet => (Context::from(span(name, id)), Some(named)),
            Told::Nothing => (Context::from(span(name, id)), None),
        };
        happens(self);
        self.connection.reads(self.now, &ObservedRead { key: b"jobs", takes_work: true });
        self.last = name;
        let job = uuid(name);
        let values = Bulks::new([job.as_bytes()]);
        let item = ObservedItem {
            id: context.span.span_id,
            context: Some(&context),
            key: b"jobs",
            entry: b"",
            values,
            pending: None,
            awaits,
        };
        self.connection.handed_over(self.now, &item);
        let operation = Operation::Item { queue: None, group: None, id: None, body_size: 3 };
        let mut record = SpanRecord::new(context.span, self.now, operation);
        record.link = Some(span(name, 1));
        self.connection.spans().keep_delivery(record, &Connection::default(), &self.sink)
    }

    /// Delivers the message with this name, whose span has this id, in a trace of its own if `is_kept` and nobody's otherwise.
    fn deliver(&mut self, name: u64, id: u64, is_kept: bool) -> Option<SpanRecord> {
        let (own, payload) = (span(5000 + name, id), uuid(name));
        let derived = Some(derived(name));
        let awaits = NamedMessage { name: span(name, 1).trace_id, holds_id: true, pattern: None, span: own, derived };
        let context = Context::from(own);
        let delivery = ObservedDelivery {
            id: own.span_id,
            context: Some(&context).filter(|_| is_kept),
            publish: None,
            channel: b"orders",
            payload: payload.as_bytes(),
            awaits: Some(awaits),
        };
        self.last = name;
        self.connection.delivered(self.now, &delivery);
        let operation = Operation::Deliver { channel: "orders".into(), pattern: None, sharded: false, body_size: 3 };
        let mut record = SpanRecord::new(own, self.now, operation);
        let inferred = Inferred { awaits_context: true, needs_context: !is_kept, ..Inferred::default() };
        record.inferred = Some(Box::new(inferred));
        self.connection.spans().keep_delivery(record, &Connection::default(), &self.sink)
    }

    /// Other proxies tell the context of a message, if they have any to tell.
    fn hear_of_messages(&self, name: u64, told: SpanContext) {
        let publish = PublishNumber { connection: told.span_id, number: 0 };
        let (name, context) = (span(name, 1).trace_id, Some(Context::from(told)));
        let channel = CompanionChannel::Messages(MessagesOf::Channel, b"orders"[..].into());
        self.follow.hear(self.redis, &channel, vec![Notice { name, context, about: About::Message(publish) }]);
    }

    /// Sends a command that names the last item.
    fn command(&mut self) -> Attribution {
        self.command_about(self.last)
    }

    fn command_about(&mut self, name: u64) -> Attribution {
        let key = format!("doc:{}", uuid(name));
        let arguments = Bulks::new([key.as_bytes(), b"x"]);
        let command = ObservedCommand { name: b"SET", database: 0, arguments };
        self.connection.command(self.now, &command)
    }

    /// Ends the span of a command. Returns it if it does not wait.
    fn end(&self, attribution: &Attribution, operation: Operation) -> Option<SpanRecord> {
        let undecided = attribution.command.filter(|_| attribution.is_undecided);
        let mut record = SpanRecord::new(span(999, 99), self.now, operation);
        record.inferred = Some(Box::new(Inferred { undecided, ..Inferred::default() }));
        let command: CommandId = undecided?;
        self.connection.spans().keep_command(record, command, &Connection::default(), &self.sink)
    }

    fn hear(&self, name: u64, context: Option<SpanContext>) {
        let notice = Notice { name: span(name, 1).trace_id, context: context.map(Context::from), about: About::Item };
        self.follow.hear(self.redis, &CompanionChannel::Key(KEY), vec![notice]);
    }

    /// What is exported until all spans have ended.
    fn rest(&self) -> Vec<SpanRecord> {
        self.follow.flush();
        std::iter::from_fn(|| (self.exported)()).collect()
    }
}

fn set() -> Operation {
    Operation::Command { name: "SET".into(), summary: None, database: 0, batch_size: None }
}

#[test]
fn an_item_moves_to_the_trace_that_is_told_of_it_with_what_it_has_caused_meanwhile() {
    let mut service = Service::new(Policy::default());
    service.hear(500, None);
    assert!(service.hand_over(1, 10).is_none());
    let attribution = service.command();
    assert!(attribution.is_undecided && attribution.cause.is_none(), "{attribution:?}");
    assert!(service.end(&attribution, set()).is_none(), "it waits with its cause");
    service.hear(1, Some(span(77, 70)));
    let command = (service.exported)().expect("its cause is certain");
    assert_eq!((command.context.trace_id, command.parent), (span(77, 1).trace_id, Some(span(1, 10).span_id)));
    let later = service.command();
    assert_eq!(later.cause.map(|(cause, _)| cause.span), Some(span(77, 10)));
    let [item] = &service.rest()[..] else { panic!() };
    assert_eq!((item.context, item.parent, item.link), (span(77, 10), Some(span(77, 70).span_id), None));
}

#[test]
fn a_context_that_has_come_before_its_item_is_there_at_once() {
    let mut service = Service::new(Policy::default());
    service.hear(1, Some(span(77, 70)));
    service.hand_over(1, 10);
    assert_eq!(service.command().cause.map(|(cause, _)| cause.span), Some(span(77, 10)));
}

#[test]
fn an_item_moves_to_the_trace_that_is_told_of_it_however_many_others_come_meanwhile() {
    let mut service = Service::new(Policy::default());
    service.hand_over(1, 10);
    for other in 1_000..11_000 {
        service.hand_over(other, other);
    }
    service.hear(1, Some(span(77, 70)));
    let records = service.rest();
    let item = records.iter().find(|record| record.context.span_id == span(1, 10).span_id).unwrap();
    assert_eq!((item.context, item.parent), (span(77, 10), Some(span(77, 70).span_id)));
}

#[test]
fn a_context_that_comes_while_its_item_is_handed_over_is_not_missed() {
    let mut service = Service::new(Policy::default());
    service.hand_over_while(1, 10, |service| service.hear(1, Some(span(77, 70))));
    assert_eq!(service.command().cause.map(|(cause, _)| cause.span), Some(span(77, 10)));
    let [item] = &service.rest()[..] else { panic!() };
    assert_eq!((item.context, item.parent, item.link), (span(77, 10), Some(span(77, 70).span_id), None));
}

#[test]
fn an_item_stays_in_its_trace_once_something_was_told_that_and_is_linked_to_who_has_added_it() {
    // At this key nothing was told before, so that nothing waits.
    let mut service = Service::new(Policy::default());
    service.hand_over(1, 10);
    assert_eq!(service.command().cause.map(|(cause, _)| cause.span), Some(span(1, 10)));
    service.hear(1, Some(span(77, 70)));
    let [item] = &service.rest()[..] else { panic!() };
    assert_eq!((item.context, item.parent, item.link), (span(1, 10), None, Some(span(77, 70))));
    // In the same trace it can still become a child.
    service.follow.tick(UnixNanos(service.now.0 + 120 * SECOND));
    let mut service = Service::new(Policy::default());
    service.hand_over(2, 20);
    service.command();
    service.hear(2, Some(span(2, 1)));
    let [item] = &service.rest()[..] else { panic!() };
    assert_eq!((item.context, item.parent, item.link), (span(2, 20), Some(span(2, 1).span_id), None));
}

#[test]
fn without_a_context_an_item_and_what_it_causes_stay_where_they_are() {
    let mut service = Service::new(Policy::default());
    service.hear(500, None);
    service.hand_over(1, 10);
    let attribution = service.command();
    assert!(service.end(&attribution, set()).is_none());
    service.follow.tick(UnixNanos(service.now.0 + arrivals::PATIENCE - 1));
    assert!((service.exported)().is_none());
    service.follow.tick(UnixNanos(service.now.0 + arrivals::PATIENCE));
    let command = (service.exported)().expect("nobody waits for longer");
    assert_eq!((command.context.trace_id, command.parent), (span(1, 1).trace_id, Some(span(1, 10).span_id)));
    // It is linked to who has added it all the same if that is told before its span ends.
    service.hear(1, Some(span(77, 70)));
    let [item] = &service.rest()[..] else { panic!() };
    assert_eq!((item.context, item.parent, item.link), (span(1, 10), None, Some(span(77, 70))));
}

#[test]
fn an_item_waits_for_its_context_though_its_span_would_end_before() {
    const MILLISECOND: u64 = 1_000_000;
    let mut service = Service::new(Policy::default());
    let windows = Windows { work: 10 * MILLISECOND, ack: 10 * MILLISECOND };
    let ticks = |service: &Service, millis: u64| {
        let now = UnixNanos(service.now.0 + millis * MILLISECOND);
        service.follow.tick_with(now, windows, now);
    };
    service.hand_over(1, 10);
    [20, 40, 249].iter().for_each(|millis| ticks(&service, *millis));
    assert!((service.exported)().is_none());
    service.hear(1, Some(span(77, 70)));
    ticks(&service, 300);
    assert_eq!((service.exported)().map(|item| item.context), Some(span(77, 10)));
    service.hand_over(2, 20);
    [20, 249].iter().for_each(|millis| ticks(&service, *millis));
    assert!((service.exported)().is_none());
    [250, 261].iter().for_each(|millis| ticks(&service, *millis));
    assert_eq!((service.exported)().map(|item| item.context), Some(span(2, 20)));
}

#[test]
fn where_spans_are_linked_an_item_keeps_its_trace() {
    let mut service = Service::new(Policy { relation: Relation::Link, ..Policy::default() });
    service.hand_over(1, 10);
    service.hear(1, Some(span(77, 70)));
    let [item] = &service.rest()[..] else { panic!() };
    assert_eq!((item.context, item.parent, item.link), (span(1, 10), None, Some(span(77, 70))));
}

#[test]
fn an_item_is_recorded_as_who_has_added_it_is() {
    let unsampled = SpanContext::parse_traceparent(format!("00-{:032x}-{:016x}-00", 77, 70).as_bytes()).unwrap();
    let mut service = Service::new(Policy::default());
    service.hand_over(1, 10);
    service.hear(1, Some(unsampled));
    assert_eq!(service.rest(), []);
}

#[test]
fn the_first_delivery_of_an_entry_is_linked_to_by_the_trace_that_it_has_moved_to() {
    let mut service = Service::new(Policy::default());
    let entry = EntryId { millis: 5, sequence: 0 };
    let named = NamedItem { name: span(1, 1).trace_id, companion: KEY, is_shared: true, is_id: false };
    let hand_over = |service: &mut Service, id, is_redelivery| {
        let context = Context::from(span(1, id));
        let pending = Some(PendingEntry { database: 0, group: b"workers", id: entry, is_redelivery });
        let (id, context) = (context.span.span_id, Some(&context));
        let values = Bulks::new([&b"job"[..]]);
        let item = ObservedItem { id, context, key: b"jobs", entry: b"5-0", values, pending, awaits: Some(named) };
        service.connection.handed_over(service.now, &item)
    };
    assert_eq!(hand_over(&mut service, 10, false), None);
    service.hear(1, Some(span(77, 70)));
    assert_eq!(hand_over(&mut service, 11, true), Some(span(77, 10)));
}

#[test]
fn others_are_told_of_an_item_though_its_cause_is_not_known_and_then_its_span_stays() {
    let mut service = Service::new(Policy::default());
    service.hear(500, None);
    service.hand_over(1, 10);
    let attribution = service.command();
    let sent = Sent { companion: Some(KEY), ..Sent::default() };
    assert!(service.end(&attribution, Operation::Send(Box::new(sent))).is_none());
    service.follow.tick(UnixNanos(clock::now().0 + 100_000_000));
    service.hear(1, Some(span(77, 70)));
    let sent = (service.exported)().expect("its cause is certain");
    assert_eq!((sent.context, sent.parent, sent.link), (span(999, 99), None, Some(span(77, 10))));
}

/// When the context of a message has not come for so long that it is awaited no longer.
fn in_vain(service: &Service) -> UnixNanos {
    UnixNanos(service.now.0 + arrivals::PATIENCE)
}

#[test]
fn a_message_of_which_nothing_was_told_is_in_the_trace_that_follows_from_its_name() {
    let mut service = Service::new(Policy::default());
    assert!(service.deliver(1, 10, true).is_none());
    service.follow.tick(in_vain(&service));
    assert_eq!(service.command().cause.map(|(cause, _)| cause.span), Some(span(1, 10)), "so is what it causes");
    let [delivery] = &service.rest()[..] else { panic!() };
    assert_eq!((delivery.context, delivery.parent, delivery.link), (span(1, 10), None, Some(derived(1))));
    // Nobody can tell which publish the same bytes come from that come again.
    assert!(service.deliver(1, 11, true).is_none());
    service.follow.tick(in_vain(&service));
    let [again] = &service.rest()[..] else { panic!() };
    assert_eq!((again.context, again.link), (span(5001, 11), None));
}

#[test]
fn a_message_stays_in_its_trace_once_something_was_told_that_and_is_linked_all_the_same() {
    let mut service = Service::new(Policy::default());
    service.deliver(1, 10, true);
    assert_eq!(service.command().cause.map(|(cause, _)| cause.span), Some(span(5001, 10)));
    service.follow.tick(in_vain(&service));
    let [delivery] = &service.rest()[..] else { panic!() };
    assert_eq!((delivery.context, delivery.parent, delivery.link), (span(5001, 10), None, Some(derived(1))));
}

#[test]
fn where_a_message_has_no_span_of_its_own_it_is_linked_only_if_others_are_told_something() {
    let mut service = Service::new(Policy::default());
    service.deliver(1, 10, false);
    service.follow.tick(in_vain(&service));
    assert_eq!(service.rest(), []);
    service.hear_of_messages(500, span(77, 70));
    service.deliver(2, 20, false);
    let attribution = service.command();
    assert!(attribution.is_undecided, "what it causes waits with it");
    assert!(service.end(&attribution, set()).is_none());
    service.follow.tick(in_vain(&service));
    let rest = service.rest();
    let [command, delivery] = &rest[..] else { panic!("{rest:#?}") };
    assert_eq!((delivery.context, delivery.parent, delivery.link), (span(2, 20), None, Some(derived(2))));
    assert_eq!((command.context.trace_id, command.parent), (span(2, 1).trace_id, Some(span(2, 20).span_id)));
    // One of which something was told is below that.
    service.deliver(3, 30, false);
    service.hear_of_messages(3, span(77, 71));
    service.follow.tick(UnixNanos(service.now.0 + SECOND / 10));
    let [delivery] = &service.rest()[..] else { panic!() };
    assert_eq!((delivery.context, delivery.parent, delivery.link), (span(77, 30), Some(span(77, 71).span_id), None));
}
