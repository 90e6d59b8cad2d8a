use redistributed_core::policy::Follow as Mode;
use redistributed_core::service::EntryId;
use redistributed_core::trace::{Operation, SpanRecord};

use super::*;
use crate::live_policy::LivePolicy;
use crate::settings::FollowSettings;
use crate::telemetry::{Connection, test_sink};

fn connection() -> FollowedConnection {
    let policy = Policy { follow: Mode::Parent, ..Policy::default() };
    Follow::new(LivePolicy::new(Arc::new(policy)), [7; 16], FollowSettings::default(), None).connection("redis")
}

fn send(connection: &mut FollowedConnection, at: u64) -> CommandId {
    let command = ObservedCommand { name: b"GET", database: 0, arguments: Bulks::new([&b"key"[..]]) };
    connection.command(UnixNanos(at), &command).command.expect("its reply is wanted")
}

#[test]
fn commands_whose_replies_never_come_make_room_for_later_ones() {
    let mut connection = connection();
    let first = send(&mut connection, 1);
    for at in 0..MAX_UNANSWERED as u64 {
        send(&mut connection, at);
    }
    let last = send(&mut connection, 9_999);
    assert_eq!(connection.unanswered.len(), MAX_UNANSWERED);
    // A reply that nobody waits for any more costs no other one.
    connection.replied(UnixNanos(10_000), first, Bulks::new([&b"value"[..]]));
    assert_eq!(connection.unanswered.len(), MAX_UNANSWERED);
    connection.replied(UnixNanos(10_000), last, Bulks::new([&b"value"[..]]));
    assert!(connection.unanswered.is_empty());
}

#[test]
fn a_service_that_sends_too_much_is_left_alone_for_a_while() {
    let mut connection = connection();
    let following = Policy { follow: Mode::Link, ..Policy::default() };
    let now = |connection: &mut FollowedConnection, at| connection.inference(&following, UnixNanos(at)).is_some();
    assert!(now(&mut connection, 1));
    for at in 0..30_000 {
        send(&mut connection, at);
    }
    connection.follow.tick(UnixNanos(30_000));
    assert!(!now(&mut connection, 30_001));
    assert!(now(&mut connection, 30_000 + super::super::PAUSE), "and is followed again");
}

fn span(id: u64) -> SpanContext {
    let text = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{id:016x}-01");
    SpanContext::parse_traceparent(text.as_bytes()).unwrap()
}

/// Hands an entry over by a span with this id, and returns the span of its first delivery.
fn hand_over(connection: &mut FollowedConnection, at: u64, id: u64, is_redelivery: bool) -> Option<SpanContext> {
    let context = Context::from(span(id));
    let entry = EntryId { millis: 5, sequence: 0 };
    let pending = PendingEntry { database: 0, group: b"workers", id: entry, is_redelivery };
    let item = ObservedItem {
        id: context.span.span_id,
        context: Some(&context),
        key: b"jobs",
        entry: b"5-0",
        values: Bulks::new([&b"job"[..]]),
        pending: Some(pending),
        awaits: None,
    };
    connection.handed_over(UnixNanos(at), &item)
}

fn acknowledge(connection: &mut FollowedConnection, database: u32) {
    let ids = [EntryId { millis: 5, sequence: 0 }];
    let ack = ObservedAck { database, key: b"jobs", group: b"workers", ids: &ids, is_incomplete: false };
    connection.acknowledged(UnixNanos(9), &ack);
}

#[test]
fn an_entry_is_acknowledged_on_whatever_connection_of_the_service() {
    let mut reader = connection();
    let mut other = reader.follow.connection("redis");
    assert_eq!(hand_over(&mut reader, 1, 7, false), None);
    let again = hand_over(&mut other, 2, 8, true).expect("the service had it before");
    assert_eq!(id_of_span(again.span_id), 7);
    assert_eq!(reader.follow.waiting(), (2, 0));
    acknowledge(&mut reader, 1);
    assert!(hand_over(&mut other, 3, 9, true).is_some(), "that was another database");
    acknowledge(&mut reader, 0);
    assert!(hand_over(&mut other, 4, 10, true).is_none(), "it is acknowledged, and so it is forgotten");
    assert_eq!(hand_over(&mut other, 5, 11, false), None, "what is new has no first delivery");
}

#[test]
fn acknowledgements_may_be_missed_while_nothing_is_followed() {
    const SECOND: u64 = 1_000_000_000;
    let following = Policy { follow: Mode::Parent, ..Policy::default() };
    for is_interrupted in [false, true] {
        let mut connection = connection();
        assert!(connection.inference(&following, UnixNanos(SECOND)).is_some());
        hand_over(&mut connection, 2 * SECOND, 7, false);
        let (sink, next) = test_sink();
        let operation = Operation::Item { queue: None, group: None, id: None, body_size: 3 };
        let record = SpanRecord::new(span(7), UnixNanos(2 * SECOND), operation);
        assert!(connection.spans().keep_delivery(record, &Connection::default(), &sink).is_none());
        if is_interrupted {
            assert!(connection.inference(&Policy::default(), UnixNanos(3 * SECOND)).is_none());
        }
        connection.follow.tick(UnixNanos(40 * SECOND));
        let inferred = next().expect("its time is over").inferred.unwrap_or_default();
        assert_eq!(inferred.is_acknowledged, if is_interrupted { None } else { Some(false) });
    }
}

#[test]
fn a_policy_that_follows_nothing_has_no_inference() {
    let mut connection = connection();
    assert!(connection.inference(&Policy::default(), UnixNanos(1)).is_none());
    let following = Policy { follow: Mode::Link, ..Policy::default() };
    assert!(connection.inference(&following, UnixNanos(1)).is_some());
}
