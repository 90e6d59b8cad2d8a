//! The events of a session besides spans: how long publishes took, when messages were published, and a record of every
//! message while somebody watches.

use std::sync::Arc;

use crate::support::{bulk, injecting, multibulk};
use redistributed_core::carrier::{ContextKeys, trailer};
use redistributed_core::glob::Glob;
use redistributed_core::policy::{Commands, Mode, Relation, Trust};
use redistributed_core::service::{Environment, Event};
use redistributed_core::trace::ids::CountingIds;
use redistributed_core::trace::sampler::{Ratio, Root};
use redistributed_core::trace::{
    Change, Context, Destination, Handling, Ids, Operation, Sampler, SpanContext, SpanId, SpanRecord, TraceFlags,
    TraceId, UnixNanos,
};
use redistributed_core::{Counter, Output, Policy, Session, Side};

/// A session whose clock the test sets.
struct Told {
    session: Session,
    policy: Arc<Policy>,
    watched: bool,
    wall_offset: i64,
    ids: CountingIds,
    out: Output,
}

impl Told {
    fn new(policy: Policy) -> Self {
        Self {
            session: Session::new(),
            policy: Arc::new(policy),
            watched: false,
            wall_offset: 0,
            ids: CountingIds::default(),
            out: Output::default(),
        }
    }

    fn watched(policy: Policy) -> Self {
        Self { watched: true, ..Self::new(policy) }
    }

    /// Feeds `bytes` to the session and returns what it sends on.
    fn receive(&mut self, from: Side, bytes: &[u8], now: u64) -> Vec<u8> {
        self.out.clear();
        let Self { session, policy, watched, wall_offset, ids, out } = self;
        let (watched, wall_offset) = (*watched, *wall_offset);
        let env = Environment { wall_offset, watched, ..Environment::new(UnixNanos(now), policy, ids) };
        session.receive(from, bytes, env, out);
        self.out.chunks(bytes).flatten().copied().collect()
    }

    /// The only record of a publish to `channel` that has been answered by `:3`.
    fn publish(&mut self, channel: &str, payload: &str) -> SpanRecord {
        self.receive(Side::Client, &multibulk(&["PUBLISH", channel, payload]), 1);
        self.receive(Side::Server, b":3\r\n", 2);
        only(self.spans())
    }

    /// The only record of a delivery.
    fn deliver(&mut self, channel: &str, payload: &[u8]) -> SpanRecord {
        self.receive(Side::Server, &message(channel, payload), 3);
        only(self.deliveries())
    }

    fn spans(&self) -> Vec<SpanRecord> {
        self.events(|event| if let Event::SpanEnded(span) = event { Some(span.clone()) } else { None })
    }

    fn deliveries(&self) -> Vec<SpanRecord> {
        self.events(|event| if let Event::Delivered(span) = event { Some(span.clone()) } else { None })
    }

    fn round_trips(&self) -> Vec<u64> {
        self.events(|event| if let Event::RoundTrip(nanos) = event { Some(*nanos) } else { None })
    }

    fn names(&self) -> Vec<Event> {
        self.events(|event| if let Event::ClientNamed(_) = event { Some(event.clone()) } else { None })
    }

    fn published_at(&self) -> Vec<UnixNanos> {
        self.events(|event| if let Event::PublishedAt(time) = event { Some(*time) } else { None })
    }

    /// The events of the last call that `pick` finds.
    fn events<T>(&self, pick: impl FnMut(&Event) -> Option<T>) -> Vec<T> {
        self.out.events.iter().filter_map(pick).collect()
    }
}

fn only(mut records: Vec<SpanRecord>) -> SpanRecord {
    assert_eq!(records.len(), 1);
    records.remove(0)
}

fn message(channel: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = b">3\r\n".to_vec();
    [b"message", channel.as_bytes(), payload].into_iter().for_each(|part| bulk(part, &mut bytes));
    bytes
}

fn unsampled() -> Policy {
    Policy { sampler: Sampler { parent_based: false, root: Root::AlwaysOff }, ..injecting() }
}

fn globs(pattern: &str) -> Vec<Glob> {
    vec![Glob::new(pattern).unwrap()]
}

#[test]
fn a_publish_without_a_span_is_timed_if_the_next_reply_can_only_be_its_own() {
    for policy in [Policy { mode: Mode::Strip, ..Policy::default() }, unsampled()] {
        let mut told = Told::new(policy);
        let publish = multibulk(&["PUBLISH", "ch", "hi"]);
        told.receive(Side::Client, &publish.repeat(3), 100);
        told.receive(Side::Server, b":1\r\n:1\r\n:1\r\n", 400);
        assert_eq!(told.round_trips(), [300], "the first of a pipeline stands for it");
        told.receive(Side::Client, &[multibulk(&["GET", "k"]), publish.clone()].concat(), 500);
        told.receive(Side::Server, b"$-1\r\n:1\r\n", 600);
        assert!(told.round_trips().is_empty(), "behind another command");
        told.receive(Side::Client, &publish, 700);
        told.receive(Side::Server, b"-NOPERM no\r\n", 800);
        told.receive(Side::Client, &[multibulk(&["CLIENT", "REPLY", "SKIP"]), publish.clone()].concat(), 900);
        told.receive(Side::Client, &multibulk(&["GET", "k"]), 1000);
        told.receive(Side::Server, b":9\r\n", 1100);
        assert!(told.round_trips().is_empty(), "neither refused nor silenced publishes are timed");
    }
}

#[test]
fn a_message_says_when_it_was_published_if_both_sides_are_told_to() {
    let mut publisher = Told::new(Policy { transit_time: true, ..injecting() });
    publisher.wall_offset = -50;
    let sent = publisher.receive(Side::Client, &multibulk(&["PUBLISH", "ch", "hi"]), 1_000);
    assert_eq!(sent.len(), multibulk(&["PUBLISH", "ch", "hi"]).len() + 1 + trailer::MIN_LEN + 13);
    let payload = &sent[sent.len() - 2 - (2 + trailer::MIN_LEN + 13)..sent.len() - 2];
    let transit_time = true;
    for policy in [Policy { transit_time, ..injecting() }, Policy { transit_time, enabled: false, ..injecting() }] {
        let mut subscriber = Told::new(policy);
        subscriber.receive(Side::Server, &message("ch", payload), 7);
        assert_eq!(subscriber.published_at(), [UnixNanos(950)]);
        subscriber.receive(Side::Server, &message("ch", b"hi"), 8);
        assert_eq!(subscriber.published_at(), []);
    }
    let keys = ContextKeys::new(["key"]);
    for wary in [
        Policy { transit_time, trust: Trust::None, ..injecting() },
        injecting(),
        Policy { transit_time, keys: keys.clone(), ..injecting() },
    ] {
        let mut wary = Told::new(wary);
        wary.receive(Side::Server, &message("ch", payload), 7);
        assert_eq!(wary.published_at(), [], "anybody can write a trailer");
    }
    // With a key, the publisher's side is enough.
    let mut publisher = Told::new(Policy { transit_time, keys: keys.clone(), ..injecting() });
    let sent = publisher.receive(Side::Client, &multibulk(&["PUBLISH", "ch", "hi"]), 1_000);
    let payload = &sent[sent.len() - 2 - (2 + trailer::MIN_LEN + 13 + 19)..sent.len() - 2];
    let mut subscriber = Told::new(Policy { keys, ..injecting() });
    subscriber.receive(Side::Server, &message("ch", payload), 7);
    assert_eq!(subscriber.published_at(), [UnixNanos(1_000)]);
}

#[test]
fn who_watches_is_told_of_publishes_that_have_no_span_and_why() {
    let skipped = |reason| Handling { payload: Change::Skipped(reason), untraced: true };
    for (policy, reason) in [
        (Policy { mode: Mode::Strip, ..Policy::default() }, Counter::SkippedMode),
        (Policy { mode: Mode::Observe, inject_limit: 2, ..Policy::default() }, Counter::SkippedSize),
        (Policy { enabled: false, ..injecting() }, Counter::SkippedMode),
        (Policy { exclude: globs("ch"), ..injecting() }, Counter::SkippedChannel),
    ] {
        let record = Told::watched(policy).publish("ch", "hello");
        assert!(record.handling == skipped(reason) && !record.is_exported(), "{record:?}");
        // Who watches is told of a channel that is excluded, and nobody else.
        let channel = Destination::new("ch", None, reason == Counter::SkippedChannel);
        let operation = Operation::Publish { channel, sharded: false, receivers: Some(3), body_size: 5 };
        assert_eq!(record.operation, operation);
    }
    let unsampled = Told::watched(unsampled()).publish("ch", "hello");
    assert_eq!(unsampled.handling, Handling { payload: Change::Injected, untraced: false });
    assert!(!unsampled.is_exported());
    let too_long = Told::watched(Policy { inject_limit: 5, ..injecting() }).publish("ch", "hello");
    assert_eq!(too_long.handling, Handling { payload: Change::Skipped(Counter::SkippedSize), untraced: false });
    assert!(too_long.is_exported());
}

#[test]
fn who_watches_is_told_of_deliveries_that_have_no_span() {
    let mut traced = b"hello".to_vec();
    let parent = SpanContext::parse_traceparent(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
    trailer::write(&parent.into(), &mut traced);
    let stripped = Handling { payload: Change::Stripped, untraced: true };
    let record = Told::watched(Policy { exclude: globs("ch"), ..injecting() }).deliver("ch", &traced);
    assert_eq!((record.handling, record.parent), (stripped, Some(parent.span_id)));
    assert_eq!(record.context.trace_id, parent.trace_id);
    assert!(!record.is_exported());

    let as_it_came = Handling { payload: Change::None, untraced: true };
    let strip = || Policy { mode: Mode::Strip, ..Policy::default() };
    let too_big = vec![b'x'; Policy::default().strip_limit() + 1];
    for (policy, payload) in [(strip(), &b"hello"[..]), (injecting(), &too_big)] {
        let record = Told::watched(policy).deliver("ch", payload);
        assert!(record.handling == as_it_came && !record.is_exported() && record.parent.is_none(), "{record:?}");
        let Operation::Deliver { body_size, .. } = record.operation else { panic!("{record:?}") };
        assert_eq!(body_size, payload.len() as u64);
    }
    // Such names hold keys.
    let mut watched = Told::watched(injecting());
    watched.receive(Side::Server, &message("__keyspace@0__:k", b"set"), 3);
    assert_eq!(watched.deliveries(), []);
    watched.receive(Side::Client, &multibulk(&["PUBLISH", "__keyspace@0__:k", "set"]), 3);
    watched.receive(Side::Server, b":1\r\n", 4);
    assert_eq!(watched.spans(), []);
    let mut unwatched = Told::new(strip());
    unwatched.receive(Side::Server, &message("ch", b"hello"), 3);
    assert_eq!(unwatched.deliveries(), []);
}

#[test]
fn the_decision_about_a_publish_counts_for_the_delivery_that_links_to_it() {
    let policy =
        |root| Policy { relation: Relation::Link, sampler: Sampler { parent_based: true, root }, ..Policy::default() };
    for (root, flags, recorded) in [(Root::AlwaysOff, 1, true), (Root::AlwaysOn, 0, false)] {
        let mut service = Told::new(policy(root));
        let mut payload = b"hi".to_vec();
        let mut context = Context::from(
            SpanContext::parse_traceparent(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap(),
        );
        context.span.flags = TraceFlags::from_byte(flags);
        context.trace_state = Some("vendor=a".into());
        trailer::write(&context, &mut payload);
        service.receive(Side::Server, &message("ch", &payload), 3);
        let records = service.deliveries();
        assert_eq!(records.len(), usize::from(recorded), "{root:?}");
        for record in records {
            assert_eq!((record.parent, record.link), (None, Some(context.span)));
            assert_eq!(record.trace_state.as_deref(), Some("vendor=a"), "it goes with the link");
            assert!(record.context.trace_id != context.span.trace_id && record.is_exported());
        }
    }
}

#[test]
fn a_new_trace_says_that_its_id_is_random_if_it_is() {
    struct Random(CountingIds);
    impl Ids for Random {
        fn trace_id(&mut self) -> TraceId {
            self.0.trace_id()
        }
        fn span_id(&mut self) -> SpanId {
            self.0.span_id()
        }
        fn are_random(&self) -> bool {
            true
        }
    }
    let (policy, mut ids, mut out) = (Arc::new(injecting()), Random(CountingIds::default()), Output::default());
    let input = multibulk(&["PUBLISH", "ch", "hi"]);
    Session::new().receive(Side::Client, &input, Environment::new(UnixNanos(1), &policy, &mut ids), &mut out);
    let sent: Vec<u8> = out.chunks(&input).flatten().copied().collect();
    let payload = sent.strip_suffix(b"\r\n").unwrap();
    let flags = trailer::find(payload).unwrap().context.unwrap().span.flags;
    assert_eq!(flags, TraceFlags::from_byte(3));
}

#[test]
fn a_name_of_the_connection_is_reported_when_redis_has_confirmed_it() {
    let mut service = Told::new(Policy::default());
    let named = |name: &str| Event::ClientNamed(Some(name.into()));
    for (request, reply, expected) in [
        (multibulk(&["CLIENT", "SETNAME", "worker-1"]), &b"+OK\r\n"[..], vec![named("worker-1")]),
        (multibulk(&["CLIENT", "SETNAME", "no"]), b"-NOPERM no\r\n", vec![]),
        (
            multibulk(&["HELLO", "2", "AUTH", "SETNAME", "pw", "SETNAME", "worker-2"]),
            b"*0\r\n",
            vec![named("worker-2")],
        ),
        (multibulk(&["HELLO", "4", "SETNAME", "no"]), b"-NOPROTO no\r\n", vec![]),
        (multibulk(&["MULTI"]), b"+OK\r\n", vec![]),
        (multibulk(&["CLIENT", "SETNAME", "worker-3"]), b"+QUEUED\r\n", vec![]),
        (multibulk(&["EXEC"]), b"*1\r\n+OK\r\n", vec![named("worker-3")]),
        (multibulk(&["RESET"]), b"+RESET\r\n", vec![Event::ClientNamed(None)]),
    ] {
        service.receive(Side::Client, &request, 1);
        assert_eq!(service.names(), [], "it has not been answered");
        service.receive(Side::Server, reply, 2);
        assert_eq!(service.names(), expected, "{}", request.escape_ascii());
    }
}

#[test]
fn a_server_cannot_make_the_count_of_receivers_begin_anew() {
    let mut told = Told::new(Policy::default());
    let mut sum = 0_u64;
    for _ in 0..3 {
        told.receive(Side::Client, &multibulk(&["PUBLISH", "ch", "hi"]), 1);
        told.receive(Side::Server, b":9223372036854775807\r\n", 2);
        sum = sum.checked_add(told.out.counts.get(Counter::Receivers)).expect("it is a small number");
    }
    assert_eq!(sum, 3 * u64::from(u32::MAX));
}

/// The names of commands whose records have come, and whether these are exported.
fn commands(records: &[SpanRecord]) -> Vec<(&str, bool)> {
    fn name(record: &SpanRecord) -> &str {
        let Operation::Command { name, .. } = &record.operation else { panic!("{record:?}") };
        name
    }
    records.iter().map(|record| (name(record), record.is_exported())).collect()
}

#[test]
fn a_command_that_is_measured_has_a_record_with_its_times_though_no_span_is_sampled() {
    for (selection, expected) in [
        (Commands::All, &[("GET", 5), ("LPUSH", 7)][..]),
        (Commands::Only { slow: None, errors: true }, &[("LPUSH", 7)]),
        (Commands::None, &[]),
    ] {
        for watched in [true, false] {
            let mut told = Told { watched, ..Told::new(Policy { commands: selection, ..unsampled() }) };
            told.receive(Side::Client, &multibulk(&["GET", "k"]), 1);
            told.receive(Side::Server, b"$-1\r\n", 6);
            let mut records = told.spans();
            told.receive(Side::Client, &multibulk(&["LPUSH", "k", "x"]), 10);
            told.receive(Side::Server, b"-WRONGTYPE no\r\n", 17);
            records.extend(told.spans());
            assert!(records.iter().all(|record| !record.is_exported()), "{records:?}");
            let took = records.iter().map(|record| record.end.0 - record.start.0);
            let found: Vec<_> = commands(&records).into_iter().map(|(name, _)| name).zip(took).collect();
            assert_eq!(found, if watched { expected } else { &[] }, "{selection}");
        }
    }
}

/// Ids of which only the first begins a trace that is sampled if half of them are.
struct FirstSampled(u64);

impl Ids for FirstSampled {
    fn trace_id(&mut self) -> TraceId {
        self.0 += 1;
        TraceId::from_u128(if self.0 == 1 { 1 } else { u128::from(u64::MAX) }).unwrap()
    }

    fn span_id(&mut self) -> SpanId {
        SpanId::from_u64(self.0).unwrap()
    }
}

#[test]
fn a_transaction_is_named_after_its_commands_whatever_is_sampled_and_whoever_watches() {
    for watched in [true, false] {
        let sampler = Sampler { parent_based: true, root: Root::Ratio(Ratio::new(0.5).unwrap()) };
        let policy = Arc::new(Policy { commands: Commands::All, sampler, ..injecting() });
        let (mut session, mut ids, mut out) = (Session::new(), FirstSampled(0), Output::default());
        let requests = [&["MULTI"][..], &["SET", "k", "1"], &["SET", "k", "2"], &["EXEC"]];
        let requests: Vec<u8> = requests.iter().flat_map(|words| multibulk(words)).collect();
        let replies = b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n+OK\r\n";
        let mut records = Vec::new();
        for (side, bytes) in [(Side::Client, &requests[..]), (Side::Server, replies)] {
            out.clear();
            let env = Environment { watched, ..Environment::new(UnixNanos(1), &policy, &mut ids) };
            session.receive(side, bytes, env, &mut out);
            let ended = out.events.drain(..).filter_map(|event| match event {
                Event::SpanEnded(span) => Some(span),
                _ => None,
            });
            records.extend(ended);
        }
        assert_eq!(commands(&records), [("MULTI SET", true)], "watched: {watched}");
    }
}
