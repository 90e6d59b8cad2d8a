use std::collections::BTreeSet;

use redistributed_core::trace::TraceId;

use super::{Found, Kept, Query, Store};
use crate::entry::{self, Batch, Entry, Origin};
use crate::ids::TracePrefix;
use crate::proto::{KeyValue, Link, Resource, Scope, Span, Status, Value};

/// The begin of the first span, in nanoseconds since the epoch.
const START: u64 = 1_700_000_000_000_000_000;

fn origin(service: &str) -> Origin {
    let attributes = vec![KeyValue::new("service.name", Value::Text(service.to_owned()))];
    let resource = entry::Resource::new(Resource { attributes, dropped_attributes_count: 0 }, String::new());
    Origin { resource, scope: entry::Scope::new(Scope::default(), String::new()) }
}

fn span(trace: u128, id: u64, name: &str) -> Span {
    Span {
        trace_id: trace.to_be_bytes().to_vec(),
        span_id: id.to_be_bytes().to_vec(),
        name: name.to_owned(),
        start_time_unix_nano: START + id * 1_000_000,
        end_time_unix_nano: START + id * 1_000_000 + 500_000,
        ..Span::default()
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    KeyValue::new(key, Value::Text(value.to_owned()))
}

fn below(parent: u64, span: Span) -> Span {
    Span { parent_span_id: parent.to_be_bytes().to_vec(), ..span }
}

fn insert(store: &Store, service: &str, spans: impl IntoIterator<Item = Span>) -> u64 {
    let (mut batch, origin) = (Batch::default(), origin(service));
    for span in spans {
        batch.spans.push(Entry::of(&origin, &span).unwrap());
    }
    store.insert(batch).0
}

/// Brings so many transactions of one span, with the numbers from 1 on.
pub(crate) fn fill(store: &Store, transactions: usize) {
    insert(store, "api", (1..=transactions as u128).map(|trace| span(trace, 1, "GET /")));
}

fn search(store: &Store, query: Query) -> Vec<u128> {
    let mut found = Found::default();
    while !store.search(&query, &mut found) {}
    found.transactions.iter().map(|summary| u128::from_be_bytes(summary.trace.to_bytes())).collect()
}

fn all() -> Query {
    Query { limit: 100, ..Query::default() }
}

fn trace(number: u128) -> TraceId {
    TraceId::from_u128(number).unwrap()
}

#[test]
fn spans_of_a_trace_are_one_transaction_in_whatever_order_they_come() {
    let store = Store::new(1 << 20);
    let failed = Status { code: Status::ERROR, message: "no".to_owned() };
    let delivery = Span {
        kind: 5,
        attributes: vec![text("messaging.destination.name", "reports"), text("redistributed.cause", "only")],
        status: Some(failed),
        ..below(2, span(7, 3, "process reports"))
    };
    insert(&store, "worker", [delivery.clone()]);
    let of_seven = || store.transaction(trace(7)).unwrap();
    assert!(of_seven().summary.is_missing_root);
    assert_eq!(&*of_seven().summary.name, "process reports");
    insert(&store, "api", [span(7, 1, "POST /reports"), below(1, span(7, 2, "publish reports"))]);
    // Sent twice, which keeps it once.
    insert(&store, "worker", [delivery]);
    let snapshot = of_seven();
    let summary = snapshot.summary;
    assert_eq!((&*summary.name, &*summary.service), ("POST /reports", "api"));
    assert_eq!((summary.start, summary.duration), (START + 1_000_000, 2_500_000));
    assert_eq!((summary.spans, summary.errors, summary.inferred, summary.is_missing_root), (3, 1, 1, false));
    assert_eq!(summary.services.iter().map(|name| &**name).collect::<Vec<_>>(), ["api", "worker"]);
    assert_eq!(summary.channels.iter().map(|name| &**name).collect::<Vec<_>>(), ["reports"]);
    let names: Vec<_> = snapshot.spans.iter().map(|span| span.entry.name().to_owned()).collect();
    assert_eq!(names, ["POST /reports", "publish reports", "process reports"]);
    assert_eq!(store.kept().spans, 3);
}

#[test]
fn spans_that_begin_at_once_stand_in_the_order_in_which_they_came() {
    let store = Store::new(1 << 20);
    let at_once = |id, name| Span { start_time_unix_nano: START, ..span(7, id, name) };
    insert(&store, "worker", [at_once(9, "SET"), at_once(4, "HINCRBY"), at_once(6, "EXPIRE")]);
    insert(&store, "worker", [at_once(2, "GET")]);
    let spans = store.transaction(trace(7)).unwrap().spans;
    let names: Vec<_> = spans.iter().map(|span| span.entry.name().to_owned()).collect();
    assert_eq!(names, ["SET", "HINCRBY", "EXPIRE", "GET"]);
}

#[test]
fn a_question_is_answered_newest_first_and_page_by_page() {
    let store = Store::new(1 << 20);
    insert(&store, "api", (1..=9).map(|number| span(number, 1, "GET /")));
    let slow = Span { end_time_unix_nano: START + 9_000_000_000, ..span(5, 2, "SELECT") };
    let event = crate::proto::Event { name: "Retried".to_owned(), ..Default::default() };
    let failed = Span {
        kind: 4,
        status: Some(Status { code: Status::ERROR, message: "NOPERM".to_owned() }),
        attributes: vec![text("messaging.destination.template", "user:{id}"), KeyValue::new("port", Value::Int(6379))],
        events: vec![event],
        ..span(3, 2, "publish")
    };
    insert(&store, "worker", [slow, failed]);
    assert_eq!(search(&store, all()), [9, 8, 7, 6, 5, 4, 3, 2, 1]);
    let named = |name: &str| Some(name.to_owned());
    assert_eq!(search(&store, Query { service: named("worker"), ..all() }), [5, 3]);
    assert_eq!(search(&store, Query { service: named("worker"), channel: named("user:{id}"), ..all() }), [3]);
    assert_eq!(search(&store, Query { channel: named("nobody"), ..all() }), []);
    assert_eq!(search(&store, Query { has_errors: true, ..all() }), [3]);
    assert_eq!(search(&store, Query { least: Some(1_000_000_000), ..all() }), [5]);
    assert_eq!(search(&store, Query { most: Some(1_000_000), limit: 2, ..all() }), [9, 8]);
    for text in ["select", "noperm", "6379", "retried", "user:{"] {
        let expected = if text == "select" { [5] } else { [3] };
        assert_eq!(search(&store, Query { text: named(text), ..all() }), expected, "{text}");
    }
    assert_eq!(search(&store, Query { text: named("637"), ..all() }), [], "numbers are compared whole");
    let prefix = TracePrefix::parse("00000000000000000000000000000004");
    assert_eq!(search(&store, Query { trace: prefix, ..all() }), [4]);

    let mut found = Found::default();
    assert!(store.search(&Query { limit: 4, ..all() }, &mut found));
    let first = search(&store, Query { limit: 4, ..all() });
    let rest = search(&store, Query { before: found.next, ..all() });
    assert_eq!([first, rest].concat(), [9, 8, 7, 6, 5, 4, 3, 2, 1]);
    let mut last = Found::default();
    assert!(store.search(&Query { limit: 9, ..all() }, &mut last) && last.next.is_none());
}

#[test]
fn memory_stays_within_its_limit_and_the_oldest_is_forgotten_first() {
    let store = Store::new(1 << 20);
    let large = |number: u128| Span { attributes: vec![text("a", &"x".repeat(2_000))], ..span(number, 1, "large") };
    for number in 1..=2_000 {
        // Each in a batch, a resource and a service of its own, and linked to the one before.
        let links = vec![Link {
            trace_id: (number - 1).max(1_u128).to_be_bytes().to_vec(),
            span_id: 1_u64.to_be_bytes().to_vec(),
            ..Link::default()
        }];
        insert(&store, &format!("service-{number}"), [Span { links, ..large(number) }]);
        let kept = store.kept();
        assert!(kept.bytes <= kept.limit_bytes, "{kept:?}");
    }
    let kept = store.kept();
    assert!(kept.bytes > kept.limit_bytes * 9 / 10, "{kept:?}");
    assert_eq!(kept.forgotten_transactions + kept.transactions as u64, 2_000);
    assert!(kept.transactions > 200 && kept.spans == kept.transactions, "{kept:?}");
    let newest = search(&store, Query { limit: 10_000, ..Query::default() });
    assert_eq!(newest, (2_001 - kept.transactions as u128..=2_000).rev().collect::<Vec<_>>());
    // Nothing of what was forgotten stays.
    let inner = store.lock();
    assert_eq!(
        (inner.by_number.len(), inner.by_update.len(), inner.links.len()),
        (newest.len(), newest.len(), newest.len())
    );
    drop(inner);
    assert_eq!(search(&store, Query { service: Some("service-1".to_owned()), ..all() }), []);
}

#[test]
fn what_has_news_is_kept_and_everything_is_given_back_at_the_end() {
    let store = Store::new(1 << 20);
    let large =
        |number: u128, id| Span { attributes: vec![text("a", &"x".repeat(9_000))], ..span(number, id, "large") };
    insert(&store, "long", [large(1, 1)]);
    for number in 2..=400 {
        insert(&store, "short", [large(number, 1)]);
        if number % 10 == 0 {
            insert(&store, "long", [below(1, span(1, u64::try_from(number).unwrap(), "more"))]);
        }
    }
    assert_eq!(store.transaction(trace(1)).unwrap().spans.len(), 41);
    let mut inner = store.lock();
    while let Some((_, trace)) = inner.by_update.first_key_value().map(|(update, trace)| (*update, *trace)) {
        inner.forget(trace);
    }
    let Kept { bytes, spans, transactions, .. } = inner.kept;
    assert_eq!((bytes, spans, transactions), (0, 0, 0));
}

#[test]
fn a_trace_that_never_ends_takes_half_of_the_memory() {
    let store = Store::new(1 << 20);
    fill(&store, 50);
    let endless =
        (1..=5_000).map(|id| Span { attributes: vec![text("a", &"x".repeat(1_000))], ..span(999, id, "more") });
    let refused = insert(&store, "endless", endless);
    let kept = store.kept();
    assert!(refused > 4_000 && kept.refused_spans == refused, "{refused}");
    assert_eq!(store.transaction(trace(999)).unwrap().spans.len() as u64, 5_000 - refused);
    assert_eq!((kept.transactions, kept.forgotten_transactions), (51, 0));
}

#[test]
fn changes_are_told_once_the_latest_first() {
    let store = Store::new(1 << 20);
    fill(&store, 3);
    let changes = store.changes_since(0, 2);
    let traces: Vec<_> = changes.transactions.iter().map(|summary| summary.trace).collect();
    assert_eq!((traces, changes.is_cut, changes.sequence), (vec![trace(3), trace(2)], true, 3));
    insert(&store, "worker", [below(1, span(1, 9, "later"))]);
    let changes = store.changes_since(changes.sequence, 2);
    assert_eq!(changes.transactions.iter().map(|summary| summary.trace).collect::<Vec<_>>(), [trace(1)]);
    assert!(!changes.is_cut);
    assert!(store.changes_since(changes.sequence, 2).transactions.is_empty());
    assert_eq!(store.summaries(&BTreeSet::from([trace(2), trace(77)])).len(), 1);
}

#[test]
fn a_summary_stays_short() {
    let store = Store::new(16 << 20);
    let channel = |id: u64| Span {
        kind: 4,
        attributes: vec![text("messaging.destination.name", &format!("channel-{id}"))],
        ..below(1, span(1, id, "publish"))
    };
    insert(&store, "api", [span(1, 1, &"ü".repeat(100_000))]);
    insert(&store, "api", (2..200).map(channel));
    let summary = store.transaction(trace(1)).unwrap().summary;
    assert_eq!((summary.name.chars().count(), summary.channels.len(), summary.spans), (101, 50, 199));
    assert_eq!(search(&store, Query { channel: Some("channel-199".to_owned()), ..all() }), [1], "all can be found");
}

#[test]
fn links_are_known_at_both_ends_over_transactions() {
    let store = Store::new(1 << 20);
    let link = |trace: u128, id: u64| Link {
        trace_id: trace.to_be_bytes().to_vec(),
        span_id: id.to_be_bytes().to_vec(),
        ..Link::default()
    };
    insert(&store, "api", [Span { links: vec![link(2, 1), link(3, 1)], ..span(1, 1, "a") }, span(2, 1, "b")]);
    let one = store.transaction(trace(1)).unwrap();
    assert_eq!(one.spans[0].known_links, [true, false]);
    let two = store.transaction(trace(2)).unwrap();
    assert_eq!(two.spans[0].linked_from, [(trace(1), one.spans[0].entry.id)]);
}

#[test]
fn the_graph_shows_who_publishes_to_whom_with_times() {
    let store = Store::new(1 << 20);
    let channel = || text("messaging.destination.name", "reports");
    let receivers = KeyValue::new("redis.pubsub.receivers", Value::Int(3));
    let request = Span { kind: 2, ..span(1, 1, "POST /") };
    let publish =
        Span { kind: 4, attributes: vec![channel(), receivers.clone()], ..below(1, span(1, 2, "publish reports")) };
    let unseen = Span {
        kind: 4,
        attributes: vec![channel(), receivers, text("redistributed.context.skipped", "auto_unproxied")],
        ..span(2, 1, "publish reports")
    };
    let delivery = |id| Span { kind: 5, attributes: vec![channel()], ..below(2, span(1, id, "process reports")) };
    let command = Span {
        kind: 3,
        attributes: vec![text("db.system.name", "redis"), text("redistributed.cause", "only")],
        ..below(3, span(1, 5, "SET"))
    };
    insert(&store, "api", [request, publish, unseen]);
    insert(&store, "worker", [delivery(3), delivery(4), command]);

    let mut graph = store.graph();
    let edges: Vec<_> = graph.edges.iter().map(|((from, to), edge)| (format!("{from:?} {to:?}"), edge.count)).collect();
    let edge = |from_to: &str, count| (from_to.to_owned(), count);
    assert_eq!(
        edges,
        [
            edge("Service(\"api\") Channel(\"reports\")", 2),
            edge("Service(\"worker\") Redis", 1),
            edge("Channel(\"reports\") Service(\"worker\")", 2),
            edge("Client Service(\"api\")", 1),
        ]
    );
    let (messages, times) = graph.channels.get_mut("reports").unwrap();
    // From 2 ms to 3 ms, and to 4 ms.
    assert_eq!((*messages, times.percentile(50), times.percentile(95)), (2, Some(1_000_000), Some(2_000_000)));

    let channels = store.channels();
    let (channel, report) = channels.first_key_value().unwrap();
    assert_eq!((&*channel.name, channel.is_template), ("reports", false));
    assert_eq!((report.receivers_said, report.receivers["worker"], report.publishers["api"]), (6, 2, 2));
    assert_eq!(report.untraced["auto_unproxied"], 1);
    let untraced = store.untraced(10);
    assert_eq!((untraced.messages.len(), untraced.reasons["auto_unproxied"]), (1, 1));
    assert_eq!(untraced.messages[0].trace, trace(2));
}
