use redistributed_core::policy::{Commands, Follow, Policy};
use redistributed_core::trace::{CommandId, Context, Inferred, Operation, SpanRecord};

use super::super::deliveries::MAX_WORKING;
use super::super::queue::MAX_ENTRIES;
use super::*;
use crate::telemetry::{Connection, test_sink};

const MILLISECOND: u64 = 1_000_000;
const WINDOWS: Windows = Windows { work: 100 * MILLISECOND, ack: 1000 * MILLISECOND };
const ENTRY: u64 = 77;

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
    assert!(waiting.take_due(at(150), WINDOWS, |_| false).is_empty(), "there was work 70 ms ago");
    let records = records(waiting.take_due(at(180), WINDOWS, |_| false));
    let handed_over = records[0].inferred.as_ref().unwrap().handed_over;
    assert_eq!((records[0].end, handed_over, waiting.len()), (at(80), Some(at(2)), (0, 0)));
}

#[test]
fn a_delivery_that_is_only_measured_waits_too_and_takes_no_place_of_one_that_is_recorded() {
    let mut waiting = Waiting::default();
    waiting.delivery_begins(at(0), 9, true);
    waiting.delivered(9, delivery(at(2)));
    for id in 10..=10 + MAX_WORKING as u64 {
        waiting.delivery_begins(at(0), id, false);
        waiting.delivered(id, delivery(at(2)));
    }
    assert_eq!((waiting.len(), waiting.measured.finished.len()), ((1, 0), 1), "the oldest that is measured has left");
    waiting.work_of(10 + MAX_WORKING as u64, at(80));
    let ended: Vec<_> =
        records(waiting.take_due(at(150), WINDOWS, |_| false)).iter().map(|record| record.end).collect();
    assert_eq!((ended.len(), ended.iter().all(|end| *end == at(2))), (MAX_WORKING + 1, true));
    assert!(!waiting.is_empty());
    let last = records(waiting.take_due(at(180), WINDOWS, |_| false));
    assert_eq!((last.len(), last[0].end, waiting.is_empty()), (1, at(80), true));
}

#[test]
fn without_work_the_span_of_a_delivery_ends_when_the_message_is_handed_over() {
    let mut waiting = Waiting::default();
    waiting.delivery_begins(at(0), 9, true);
    waiting.delivered(9, delivery(at(2)));
    let records = records(waiting.take_due(at(100), WINDOWS, |_| false));
    assert_eq!((records[0].end, &records[0].inferred), (at(2), &None));
    // One that nobody follows does not wait.
    assert!(waiting.delivered(9, delivery(at(3))).is_some());
}

/// Hands an entry over at a time by the span with this id.
fn entry_begins(waiting: &mut Waiting, millis: u64, id: u64) -> Option<SpanContext> {
    let first = waiting.delivered_again(ENTRY, true);
    waiting.entry_begins(at(millis), ENTRY, id, Some(context(id)));
    first
}

/// When the spans ended, when what they are about was handed over if that was before, and whether it was acknowledged.
fn ends(finished: Vec<Finished>) -> Vec<(UnixNanos, Option<UnixNanos>, Option<bool>)> {
    let end = |record: &SpanRecord| {
        let inferred = record.inferred.as_deref().cloned().unwrap_or_default();
        (record.end, inferred.handed_over, inferred.is_acknowledged)
    };
    records(finished).iter().map(end).collect()
}

#[test]
fn the_span_of_an_entry_ends_with_its_acknowledgement_however_long_that_takes() {
    let mut waiting = Waiting::default();
    assert_eq!(entry_begins(&mut waiting, 1, 9), None);
    assert!(waiting.delivered(9, delivery(at(2))).is_none());
    waiting.work_of(9, at(80));
    assert!(waiting.take_due(at(700), WINDOWS, |_| false).is_empty(), "it waits for more than work");
    assert_eq!(waiting.len(), (1, 0));
    waiting.acknowledged(at(900), ENTRY + 1);
    waiting.acknowledged(at(900), ENTRY);
    waiting.acknowledged(at(950), ENTRY);
    assert_eq!(ends(waiting.take_due(at(900), WINDOWS, |_| false)), [(at(900), Some(at(2)), Some(true))]);
    assert_eq!(waiting.len(), (0, 0));
}

#[test]
fn an_entry_may_be_acknowledged_before_it_is_known_to_have_been_written() {
    let mut waiting = Waiting::default();
    entry_begins(&mut waiting, 1, 9);
    waiting.acknowledged(at(4), ENTRY);
    assert!(waiting.take_due(at(5), WINDOWS, |_| false).is_empty());
    let span = waiting.delivered(9, delivery(at(6))).unwrap();
    let end = ends(vec![Finished::Delivery(span)]);
    assert_eq!((end, waiting.len()), (vec![(at(6), None, Some(true))], (0, 0)), "it does not end before it was there");
}

#[test]
fn an_entry_that_is_not_acknowledged_in_time_ends_with_its_last_work_and_says_so() {
    let mut waiting = Waiting::default();
    entry_begins(&mut waiting, 1, 9);
    waiting.delivered(9, delivery(at(2)));
    waiting.work_of(9, at(80));
    assert_eq!(ends(waiting.take_due(at(1001), WINDOWS, |_| false)), [(at(80), Some(at(2)), Some(false))]);
    // While there is work it goes on as without an acknowledgement.
    entry_begins(&mut waiting, 2000, 10);
    waiting.delivered(10, delivery(at(2002)));
    waiting.work_of(10, at(2990));
    assert!(waiting.take_due(at(3010), WINDOWS, |_| false).is_empty());
    waiting.work_of(10, at(3020));
    waiting.acknowledged(at(3030), ENTRY);
    assert!(waiting.take_due(at(3100), WINDOWS, |_| false).is_empty());
    assert_eq!(ends(waiting.take_due(at(3200), WINDOWS, |_| false)), [(at(3020), Some(at(2002)), Some(false))]);
}

#[test]
fn whether_there_was_an_acknowledgement_is_not_said_if_it_may_have_been_missed() {
    let mut waiting = Waiting::default();
    entry_begins(&mut waiting, 1, 9);
    waiting.delivered(9, delivery(at(2)));
    waiting.missed_acknowledgements(at(500));
    assert_eq!(ends(waiting.take_due(at(1001), WINDOWS, |_| false)), [(at(2), None, None)]);
    entry_begins(&mut waiting, 2000, 10);
    waiting.delivered(10, delivery(at(2002)));
    assert_eq!(ends(waiting.take_all()), [(at(2002), None, None)], "nor if the process stops");
}

#[test]
fn an_entry_that_is_handed_over_again_is_acknowledged_by_whoever_got_it_last() {
    let mut waiting = Waiting::default();
    entry_begins(&mut waiting, 1, 9);
    waiting.delivered(9, delivery(at(2)));
    waiting.work_of(9, at(80));
    assert_eq!(entry_begins(&mut waiting, 500, 10), Some(context(9)));
    waiting.delivered(10, delivery(at(502)));
    assert_eq!(ends(waiting.take_due(at(510), WINDOWS, |_| false)), [(at(80), Some(at(2)), Some(false))]);
    assert_eq!(entry_begins(&mut waiting, 520, 11), Some(context(9)), "the first, not the last");
    waiting.delivered(11, delivery(at(522)));
    waiting.work_of(10, at(590));
    waiting.acknowledged(at(600), ENTRY);
    assert_eq!(ends(waiting.take_due(at(600), WINDOWS, |_| false)), [(at(600), Some(at(522)), Some(true))]);
    assert_eq!(ends(waiting.take_due(at(690), WINDOWS, |_| false)), [(at(590), Some(at(502)), Some(false))]);
    assert_eq!(entry_begins(&mut waiting, 700, 12), None, "what is acknowledged is forgotten");
}

#[test]
fn an_entry_that_is_only_measured_ends_with_its_acknowledgement_too() {
    let mut waiting = Waiting::default();
    waiting.entry_begins(at(1), ENTRY, 9, None);
    waiting.delivered(9, delivery(at(2)));
    assert_eq!((waiting.len(), waiting.is_empty()), ((0, 0), false));
    // Who gets it next is recorded, and is told of nobody before.
    assert_eq!(entry_begins(&mut waiting, 50, 10), None);
    waiting.delivered(10, delivery(at(52)));
    assert_eq!(ends(waiting.take_due(at(150), WINDOWS, |_| false)), [(at(2), None, Some(false))]);
    assert_eq!(waiting.delivered_again(ENTRY, true), Some(context(10)));
    waiting.entry_begins(at(160), ENTRY, 11, None);
    waiting.delivered(11, delivery(at(162)));
    waiting.acknowledged(at(180), ENTRY);
    let ended = [(at(52), None, Some(false)), (at(180), Some(at(162)), Some(true))];
    assert_eq!((ends(waiting.take_due(at(180), WINDOWS, |_| false)), waiting.is_empty()), (ended.to_vec(), true));
}

#[test]
fn an_entry_of_another_stream_with_the_same_id_is_no_redelivery() {
    let mut waiting = Waiting::default();
    entry_begins(&mut waiting, 1, 9);
    waiting.delivered(9, delivery(at(2)));
    assert_eq!(waiting.delivered_again(ENTRY, false), None);
    waiting.entry_begins(at(500), ENTRY, 10, Some(context(10)));
    assert_eq!(ends(waiting.take_due(at(510), WINDOWS, |_| false)), [(at(2), None, None)]);
    assert_eq!(waiting.delivered_again(ENTRY, true), Some(context(10)));
}

#[test]
fn what_an_acknowledgement_names_tells_entries_apart() {
    let waiting = Waiting::default();
    let entry = |database, key: &[u8], group: &[u8], id: &[u8]| {
        waiting.entry(database, key, group, EntryId::parse(id).unwrap())
    };
    let one = entry(0, b"s", b"g", b"5-0");
    assert_eq!(entry(0, b"s", b"g", b"5"), one);
    let others = [entry(1, b"s", b"g", b"5-0"), entry(0, b"sg", b"", b"5-0"), entry(0, b"s", b"g", b"5-1")];
    assert!(others.iter().all(|other| *other != one));
}

#[test]
fn with_too_many_entries_the_oldest_waits_no_longer_and_says_nothing() {
    let mut waiting = Waiting::default();
    for id in 1..=MAX_ENTRIES as u64 + 1 {
        waiting.entry_begins(at(1), id, id, Some(context(id)));
        waiting.delivered(id, delivery(at(2)));
    }
    assert_eq!(waiting.len(), (MAX_ENTRIES, 0));
    assert_eq!(ends(waiting.take_due(at(3), WINDOWS, |_| false)), [(at(2), None, None)]);
    waiting.acknowledged(at(4), 1);
    assert!(waiting.take_due(at(5), WINDOWS, |_| false).is_empty());
}

#[test]
fn a_command_moves_to_the_trace_of_a_cause_that_becomes_known_before_it_ends_or_later() {
    let cause = Some(Context::from(context(7)));
    let mut waiting = Waiting::default();
    assert!(waiting.cause_found(at(1), 1, Found::Cause(cause.clone(), "joined")).is_none());
    let before = waiting.command_ends(at(2), 1, command());
    assert!(waiting.command_ends(at(2), 2, command()).is_none());
    let later = waiting.cause_found(at(3), 2, Found::Cause(cause, "response"));
    let records = records(before.into_iter().chain(later).collect());
    let found: Vec<_> = records.iter().map(|record| (record.parent, record.inferred.as_ref().unwrap().rule)).collect();
    let parent = Some(context(7).span_id);
    assert_eq!(found, [(parent, Some("joined")), (parent, Some("response"))]);
}

#[test]
fn all_spans_of_a_script_that_publishes_share_its_cause() {
    let cause = || Found::Cause(Some(Context::from(context(7))), "joined");
    let mut waiting = Waiting::default();
    waiting.cause_found(at(1), 1, cause());
    let before = [(); 3].map(|()| waiting.command_ends(at(2), 1, publish()));
    assert!([(); 3].map(|()| waiting.command_ends(at(2), 2, publish())).iter().all(Option::is_none));
    let first = waiting.cause_found(at(3), 2, cause());
    let later = first.into_iter().chain(waiting.take_due(at(4), WINDOWS, |_| false));
    let records = records(before.into_iter().flatten().chain(later).collect());
    assert_eq!(records.iter().filter(|record| record.parent == Some(context(7).span_id)).count(), 6);
    assert!([(); 3].map(|()| waiting.command_ends(at(5), 3, publish())).iter().all(Option::is_none));
    assert_eq!(waiting.take_all().len(), 3, "without a cause each has its span too");
}

#[test]
fn without_a_cause_only_a_publish_has_a_span() {
    let mut waiting = Waiting::default();
    waiting.command_ends(at(0), 1, command());
    waiting.command_ends(at(0), 2, publish());
    assert!(waiting.take_due(at(9_999), WINDOWS, |_| false).is_empty());
    let records = records(waiting.take_due(at(10_000), WINDOWS, |_| false));
    assert!(matches!(records[..], [SpanRecord { operation: Operation::Publish { .. }, parent: None, .. }]));
}

#[test]
fn with_too_many_that_wait_the_oldest_waits_no_longer() {
    let mut waiting = Waiting::default();
    for id in 0..=MAX_WORKING as u64 {
        waiting.delivery_begins(at(id), id, true);
        waiting.delivered(id, delivery(at(id)));
    }
    for id in 0..=MAX_ENTRIES as u64 {
        waiting.command_ends(at(id), id, publish());
        waiting.cause_found(at(id), 1_000_000 + id, Found::Cause(None, "token"));
    }
    assert_eq!(waiting.len(), (MAX_WORKING, MAX_ENTRIES));
    let have_left = (waiting.recorded.finished.len(), waiting.finished.len());
    assert_eq!((have_left, waiting.causes.len()), ((1, 1), MAX_ENTRIES));
    assert_eq!(records(waiting.take_all()).len(), MAX_WORKING + MAX_ENTRIES + 2);
}
