//! Items of lists, sorted sets and streams whose envelopes carry a context (`--follow`). The files in `envelopes` are what the
//! libraries wrote with their own instrumentation: Celery 5.7.0, taskiq 0.13.0, FastStream 0.7.8 (binary) and 0.5.48 (JSON).

use std::cell::RefCell;

use redistributed_core::policy::{Commands, Mode, Relation, Trust};
use redistributed_core::trace::{Propagators, SpanRecord};
use redistributed_core::{Policy, Side};

use crate::following::{both_ways, following};
use crate::support::multibulk;

const CELERY: &[u8] = include_bytes!("envelopes/celery.json");
const TASKIQ: &[u8] = include_bytes!("envelopes/taskiq.json");
const FASTSTREAM: &[u8] = include_bytes!("envelopes/faststream.bin");
const FASTSTREAM_JSON: &[u8] = include_bytes!("envelopes/faststream.json");
const SIDEKIQ: &[u8] =
    br#"{"retry":true,"queue":"default","class":"RenderJob","args":[7],"jid":"6d3b0a1e2f3c4d5e6f708192",
    "created_at":1796083248.9429,"traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "tracestate":"congo=t61","enqueued_at":1796083248.943}"#;
const RESQUE: &[u8] =
    br#"{"class":"RenderJob","args":[7],"traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}"#;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const NO_FORMAT: Propagators =
    Propagators { trace_context: false, baggage: false, b3: false, b3_multi: false, jaeger: false };

/// What the spans of the items that a command hands over descend from. Without a span, what it is told is still told to the
/// inference, and `traced` says as what.
fn ancestors(policy: &Policy, command: &[&str], reply: &[u8], traced: bool) -> Vec<String> {
    let found = RefCell::new(None);
    both_ways(policy, |mut talk| {
        talk.client(command);
        talk.feed(Side::Server, reply);
        let told = talk.told();
        let traced = format!(" traced={traced}");
        assert!(told.len() > 1 && told[1..].iter().all(|line| line.contains(&traced)), "{told:?}");
        let spans: Vec<_> = talk.driver.deliveries.iter().map(ancestor).collect();
        assert_eq!(*found.borrow_mut().get_or_insert(spans.clone()), spans);
    });
    found.into_inner().unwrap()
}

/// The parent of a span, or the span that it is linked to, with the `tracestate` from there.
fn ancestor(record: &SpanRecord) -> String {
    let trace_state = record.trace_state.as_deref().map(|state| format!(" {state}")).unwrap_or_default();
    match (record.parent, record.link) {
        (Some(parent), None) => format!("below {}-{parent}{trace_state}", record.context.trace_id),
        // It shares the trace of who has added the item, which follows from what names it.
        (None, Some(link)) if link.trace_id == record.context.trace_id => "root".to_owned(),
        (None, Some(link)) => format!("linked to {}-{}{trace_state}", link.trace_id, link.span_id),
        (None, None) => "root".to_owned(),
        (Some(_), Some(_)) => panic!("{record:?}"),
    }
}

fn list_reply(item: &[u8]) -> Vec<u8> {
    multibulk(&[b"queue:a", item])
}

/// The reply to a read of a stream with one entry, in RESP2 and in RESP3.
fn stream_replies(fields: &[&[u8]]) -> [Vec<u8>; 2] {
    ["*1\r\n*2\r\n", "%1\r\n"].map(|head| {
        let entry = [b"$7\r\nqueue:s\r\n*1\r\n*2\r\n$3\r\n1-0\r\n", &multibulk(fields)[..]].concat();
        [head.as_bytes(), &entry].concat()
    })
}

const POP: &[&str] = &["BRPOP", "queue:a", "1"];
const READ: &[&str] = &["XREADGROUP", "GROUP", "g", "c", "STREAMS", "queue:s", ">"];

fn of_list(policy: &Policy, item: &[u8]) -> String {
    ancestors(policy, POP, &list_reply(item), true).concat()
}

fn of_stream(policy: &Policy, fields: &[&[u8]]) -> String {
    let [resp2, resp3] = stream_replies(fields).map(|reply| ancestors(policy, READ, &reply, true).concat());
    assert_eq!(resp2, resp3);
    resp2
}

fn policy() -> Policy {
    following(Commands::None)
}

const BELOW: &str = "below 4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";
const BELOW_CELERY: &str = "below a366eaf275a76ccb4e16dc268d25ce00-68d83f8a08073ce0";
const BELOW_TASKIQ: &str = "below 597bc72e387e13829fb848db01a98944-d554f5efc6e83242";
const BELOW_FASTSTREAM: &str = "below aecc65407604dd40692e1734469e13d4-90a2ceabfe4335a6";
const BELOW_FASTSTREAM_JSON: &str = "below dff9b1250a1e8f1c4522c0a9e9891c83-2e6e2114f6c03b40";

#[test]
fn an_item_is_below_the_span_whose_context_the_library_put_into_its_envelope() {
    for (item, expected) in [
        (CELERY, BELOW_CELERY),
        (TASKIQ, BELOW_TASKIQ),
        (FASTSTREAM, BELOW_FASTSTREAM),
        (FASTSTREAM_JSON, BELOW_FASTSTREAM_JSON),
        (SIDEKIQ, &format!("{BELOW} congo=t61")),
        (RESQUE, BELOW),
    ] {
        assert_eq!(of_list(&policy(), item), expected, "{}", item.escape_ascii());
        let member = multibulk(&[b"queue:a", item, b"7"]);
        assert_eq!(ancestors(&policy(), &["BZPOPMIN", "queue:a", "1"], &member, true), [expected]);
    }
    for (field, envelope, expected) in [
        ("data", TASKIQ, BELOW_TASKIQ),
        ("__data__", FASTSTREAM, BELOW_FASTSTREAM),
        ("__data__", FASTSTREAM_JSON, BELOW_FASTSTREAM_JSON),
    ] {
        assert_eq!(of_stream(&policy(), &[field.as_bytes(), envelope]), expected, "{field}");
        assert_eq!(of_stream(&policy(), &[b"id", b"7", field.as_bytes(), envelope]), expected, "{field}");
    }
}

#[test]
fn each_of_several_items_has_its_own_parent() {
    let reply = multibulk(&[CELERY, b"plain", TASKIQ, RESQUE]);
    let expected = [BELOW_CELERY, "root", BELOW_TASKIQ, BELOW];
    // A list that the service does not wait for is one of work all the same, if its key is that of a queue.
    assert_eq!(ancestors(&policy(), &["LPOP", "queue:a", "4"], &reply, true), expected);
}

#[test]
fn the_fields_of_an_entry_that_have_the_names_of_a_context_are_one() {
    let parent = PARENT.as_bytes();
    assert_eq!(of_stream(&policy(), &[b"id", b"7", b"traceparent", parent]), BELOW);
    let with_state = of_stream(&policy(), &[b"tracestate", b"a=1", b"id", b"7", b"traceparent", parent]);
    assert_eq!(with_state, format!("{BELOW} a=1"));
    for other in [
        &[b"Traceparent", parent][..],
        &[b"traceparent", b"00-4bf9"],
        &[b"traceparent", parent, b"traceparent", parent],
        &[b"id", b"traceparent", parent, b"7"],
    ] {
        assert_eq!(of_stream(&policy(), other), "root", "{other:?}");
    }
    let many: Vec<&[u8]> = [&b"f"[..], b"v"].repeat(15).into_iter().chain([&b"traceparent"[..], parent]).collect();
    assert_eq!(of_stream(&policy(), &many), BELOW);
    let too_many = [&[&b"f"[..], b"v"], &many[..]].concat();
    assert_eq!(of_stream(&policy(), &too_many), "root");
}

#[test]
fn other_json_and_other_places_are_not_looked_at() {
    let parent = format!("{{\"traceparent\":\"{PARENT}\"}}");
    for item in [
        format!("[{parent}]"),
        format!("\"{PARENT}\""),
        PARENT.to_owned(),
        format!("{{\"body\":{parent}}}"),
        format!("{{\"headers\":[{parent}]}}"),
        format!("{{\"headers\":{{\"headers\":{parent}}}}}"),
        format!("{{\"args\":[{parent}],\"data\":{parent},\"options\":{parent}}}"),
        format!("{{\"\":{parent}}}"),
        format!("{parent},"),
        format!("{parent}{parent}"),
    ] {
        assert_eq!(of_list(&policy(), item.as_bytes()), "root", "{item}");
    }
    let wrapped = |object: &str| format!("{{\"{object}\":{parent}}}").into_bytes();
    for (field, value) in [
        (&b"data"[..], parent.clone().into_bytes()),
        (b"data", wrapped("headers")),
        (b"__data__", wrapped("labels")),
        (b"body", wrapped("labels")),
        (b"Data", wrapped("labels")),
    ] {
        assert_eq!(of_stream(&policy(), &[field, &value]), "root", "{}", field.escape_ascii());
    }
}

#[test]
fn the_policy_says_whether_and_how_a_context_of_an_envelope_counts() {
    let linked = Policy { relation: Relation::Link, ..policy() };
    assert_eq!(of_list(&linked, SIDEKIQ), format!("{} congo=t61", BELOW.replace("below", "linked to")));
    for trust in [Trust::All, Trust::Redis] {
        assert_eq!(of_list(&Policy { trust, ..policy() }, RESQUE), BELOW);
    }
    assert_eq!(of_list(&Policy { trust: Trust::None, ..policy() }, RESQUE), "root");
    assert_eq!(of_list(&Policy { propagators: NO_FORMAT, ..policy() }, RESQUE), "root");
    let b3 = Policy { propagators: Propagators { b3: true, ..NO_FORMAT }, ..policy() };
    let b3_text = b"4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1";
    assert_eq!(of_list(&b3, RESQUE), "root");
    assert_eq!(of_stream(&b3, &[b"b3", b3_text, b"id", b"7"]), BELOW);
    let celery = [b"{\"headers\":{\"b3\":\"", &b3_text[..], b"\"}}"].concat();
    assert_eq!((of_list(&b3, &celery), of_list(&policy(), &celery)), (BELOW.to_owned(), "root".to_owned()));
    // Where a service is only observed, an item is traced if it carries a context.
    let observed = Policy { mode: Mode::Observe, ..policy() };
    assert_eq!(of_list(&observed, RESQUE), BELOW);
    assert!(ancestors(&observed, POP, &list_reply(b"plain"), false).is_empty());
    let disabled = Policy { enabled: false, ..policy() };
    assert!(ancestors(&disabled, POP, &list_reply(RESQUE), false).is_empty());
}

#[test]
fn an_item_below_a_span_that_is_not_sampled_has_no_span_and_is_told_as_traced() {
    let item = String::from_utf8(RESQUE.to_vec()).unwrap().replace("-01\"", "-00\"");
    assert!(ancestors(&policy(), POP, &list_reply(item.as_bytes()), true).is_empty());
}

#[test]
fn of_an_item_that_is_not_kept_whole_only_what_is_complete_counts() {
    let filler = "x".repeat(600_000);
    let first = format!("{{\"traceparent\":\"{PARENT}\",\"args\":[\"{filler}\"]}}");
    let last = format!("{{\"args\":[\"{filler}\"],\"traceparent\":\"{PARENT}\"}}");
    for (item, by_byte) in [(&first, BELOW), (&last, "root")] {
        both_ways(&policy(), |mut talk| {
            talk.client(POP);
            // In two reads, so that only the beginning is kept.
            let reply = list_reply(item.as_bytes());
            talk.feed(Side::Server, &reply[..100]);
            talk.feed(Side::Server, &reply[100..]);
            let spans: Vec<_> = talk.driver.deliveries.iter().map(ancestor).collect();
            assert_eq!(spans, [by_byte]);
        });
    }
}
