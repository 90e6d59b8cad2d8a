use redistributed_core::trace::TraceId;
use serde_json::{Value as Json, json};

use super::{jaeger_json, open, otlp_json};
use crate::entry::{self, Batch, Entry, Origin};
use crate::proto::{AnyValue, ArrayValue, Event, KeyValue, KeyValueList, Link, Resource, Scope, Span, Status, Value};
use crate::store::{Snapshot, Store};

const TRACE: u128 = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c;

fn text(key: &str, value: &str) -> KeyValue {
    KeyValue::new(key, Value::Text(value.to_owned()))
}

fn origin(service: &str, library: &str) -> Origin {
    let attributes = vec![text("service.name", service), text("host.name", "h\"1\"</script>")];
    let resource = Resource { attributes, dropped_attributes_count: 1 };
    let scope = Scope { name: library.to_owned(), version: "1.2".to_owned(), ..Scope::default() };
    Origin {
        resource: entry::Resource::new(resource, "https://schema/r".to_owned()),
        scope: entry::Scope::new(scope, "https://schema/s".to_owned()),
    }
}

/// A span with a value in every field, whose times are whole microseconds.
fn full() -> Span {
    let values = vec![
        text("text", "ü\u{202e}\n\"x\""),
        KeyValue::new("yes", Value::Bool(true)),
        KeyValue::new("small", Value::Int(-7)),
        KeyValue::new("large", Value::Int(i64::MAX)),
        KeyValue::new("double", Value::Double(0.1)),
        KeyValue::new("bytes", Value::Bytes(vec![0, 255])),
    ];
    Span {
        trace_id: TRACE.to_be_bytes().to_vec(),
        span_id: vec![2; 8],
        trace_state: "a=b".to_owned(),
        parent_span_id: vec![1; 8],
        name: "publish reports".to_owned(),
        kind: 4,
        start_time_unix_nano: 1_700_000_000_123_456_000,
        end_time_unix_nano: 1_700_000_000_123_999_000,
        attributes: values.clone(),
        dropped_attributes_count: 3,
        events: vec![Event {
            time_unix_nano: 1_700_000_000_123_500_000,
            name: "handed over".to_owned(),
            attributes: values,
            dropped_attributes_count: 0,
        }],
        dropped_events_count: 4,
        links: vec![Link {
            trace_id: vec![9; 16],
            span_id: vec![8; 8],
            trace_state: "c=d".to_owned(),
            attributes: vec![text("redistributed.link", "writer")],
            dropped_attributes_count: 0,
            flags: 1,
        }],
        dropped_links_count: 5,
        status: Some(Status { message: "NOPERM".to_owned(), code: Status::ERROR }),
        flags: 1,
    }
}

fn store(spans: &[(Origin, Span)]) -> Store {
    let (store, mut batch) = (Store::new(1 << 20), Batch::default());
    for (origin, span) in spans {
        batch.spans.push(Entry::of(origin, span).unwrap());
    }
    assert_eq!(store.insert(batch), (0, None));
    store
}

fn snapshot(store: &Store) -> Snapshot {
    store.transaction(TraceId::from_u128(TRACE).unwrap()).unwrap()
}

/// Each span of the transaction, with its resource and its scope.
fn spans(store: &Store) -> Vec<(Resource, Scope, Span)> {
    let parts = |origin: &Origin| (origin.resource.decode().resource.unwrap(), origin.scope.decode().scope.unwrap());
    let spans = snapshot(store).spans.into_iter();
    spans.map(|view| (parts(&view.entry.origin), view.entry.decode())).map(|((r, s), span)| (r, s, span)).collect()
}

fn reopened(text: &str) -> Store {
    let store = Store::new(1 << 20);
    assert_eq!(store.open(text.as_bytes()).unwrap().len(), 1);
    store
}

fn two_services() -> Store {
    let root = Span { span_id: vec![1; 8], parent_span_id: Vec::new(), links: Vec::new(), ..full() };
    let other = Span { span_id: vec![3; 8], kind: 5, status: None, ..full() };
    store(&[(origin("api", "x"), root), (origin("worker", "x"), full()), (origin("worker", "y"), other)])
}

#[test]
fn a_trace_saved_as_otlp_json_is_the_same_when_it_is_opened() {
    let mut odd = full();
    odd.span_id = vec![4; 8];
    let nested = AnyValue { value: Some(Value::Map(KeyValueList { values: vec![text("in", "map")] })) };
    odd.attributes = vec![
        KeyValue::new("array", Value::Array(ArrayValue { values: vec![nested, AnyValue::default()] })),
        KeyValue::new("inf", Value::Double(f64::NEG_INFINITY)),
        KeyValue { key: "empty".to_owned(), value: Some(AnyValue::default()) },
    ];
    let before = two_services();
    let mut batch = Batch::default();
    batch.spans.push(Entry::of(&origin("api", "x"), &odd).unwrap());
    before.insert(batch);
    let text: String = otlp_json::write(snapshot(&before)).collect();
    let saved: Json = serde_json::from_str(&text).unwrap();
    assert_eq!(saved["resourceSpans"].as_array().unwrap().len(), 3, "a group for each origin");
    let by_id = |mut spans: Vec<(Resource, Scope, Span)>| {
        spans.sort_by(|(.., one), (.., other)| one.span_id.cmp(&other.span_id));
        spans
    };
    assert_eq!(by_id(spans(&reopened(&text))), by_id(spans(&before)));
    let origins = snapshot(&reopened(&text)).spans[0].entry.origin.resource.decode();
    assert_eq!(origins.schema_url, "https://schema/r");
}

#[test]
fn a_trace_saved_as_jaeger_json_is_the_same_but_for_what_jaeger_lacks() {
    let before = two_services();
    let text: String = jaeger_json::write(snapshot(&before)).collect();
    let saved: Json = serde_json::from_str(&text).unwrap();
    let trace = &saved["data"][0];
    assert_eq!(trace["traceID"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(trace["processes"].as_object().unwrap().len(), 2);
    let after = reopened(&text);
    for ((resource, scope, span), (as_resource, as_scope, as_span)) in spans(&before).into_iter().zip(spans(&after)) {
        assert_eq!(Resource { dropped_attributes_count: 0, ..resource }, as_resource);
        assert_eq!(scope, as_scope);
        let links = span.links.iter().map(|link| Link {
            trace_id: link.trace_id.clone(),
            span_id: link.span_id.clone(),
            ..Link::default()
        });
        let expected = Span {
            links: links.collect(),
            dropped_attributes_count: 0,
            dropped_events_count: 0,
            dropped_links_count: 0,
            ..span.clone()
        };
        assert_eq!(as_span, expected);
    }
}

#[test]
fn otlp_json_is_read_as_loosely_as_protobuf_allows() {
    let span = json!({
        "trace_id": "0AF7651916CD43DD8448EB211C80319C", "spanId": "0202020202020202", "name": "a",
        "kind": "SPAN_KIND_PRODUCER", "startTimeUnixNano": 5, "end_time_unix_nano": "9",
        "status": {"code": "STATUS_CODE_ERROR"}, "unknown": [1, {"a": 2}], "attributes": null,
    });
    let lines = [1, 2].map(|_| json!({"resource_spans": [{"scope_spans": [{"spans": [span]}]}]}).to_string());
    let store = reopened(&lines.join("\n"));
    let (resource, _, read) = spans(&store).remove(0);
    assert_eq!((read.kind, read.start_time_unix_nano, read.end_time_unix_nano), (4, 5, 9));
    assert_eq!(read.status.unwrap().code, Status::ERROR);
    assert_eq!((resource, store.kept().spans), (Resource::default(), 1));
}

#[test]
fn what_cannot_be_opened_is_said_with_what_to_do() {
    let store = Store::new(1 << 20);
    let no_id =
        json!({"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "12", "spanId": "34"}]}]}]}).to_string();
    let deep = format!("{{\"data\": [{{\"spans\": [{{\"tags\": {}1{}}}]}}]}}", "[".repeat(200), "]".repeat(200));
    for (text, part) in [
        ("", "is empty"),
        ("{}", "neither `resourceSpans`"),
        ("[1", "neither of the two forms: EOF"),
        ("<html>", "expected value at line 1 column 1"),
        ("{\"data\": 7}", "expected a list"),
        ("{\"data\": [7]}", "expected an object"),
        ("{\"data\": []}", "no span in the file"),
        ("{\"resourceSpans\": [{\"scopeSpans\": 1}]}", "expected a list"),
        (&no_id, "none of the 1 spans in the file can be shown: the trace id of a span has 16 bytes"),
        (&deep, "nested 127 times"),
    ] {
        let why = store.open(text.as_bytes()).unwrap_err();
        assert!(why.contains(part), "{text}: {why}");
    }
    assert!(store.open(b"\xff").unwrap_err().contains("UTF-8, at byte 0"));
    assert_eq!(store.kept().spans, 0);
    assert!(open::read(&vec![b' '; open::MAX_FILE + 1], &mut |_| {}).unwrap_err().contains("64 MiB"));
}

#[test]
fn a_span_in_jaeger_json_without_an_id_does_not_spoil_the_others() {
    let good = json!({"traceID": "af7651916cd43dd8448eb211c80319c", "spanID": "2", "operationName": "a"});
    let text = json!({"traceID": "1", "spans": [{"spanID": "zz"}, good, 5]}).to_string();
    let store = reopened(&text);
    assert_eq!((store.kept().spans, store.kept().refused_spans), (1, 2));
    let (resource, ..) = spans(&store).remove(0);
    assert_eq!(resource.attributes, [text_of_unknown()]);
}

fn text_of_unknown() -> KeyValue {
    text("service.name", "unknown_service")
}

#[test]
fn protobuf_and_json_of_one_request_are_kept_alike() {
    let before = two_services();
    let json: String = otlp_json::write(snapshot(&before)).collect();
    let by_json = reopened(&json);
    let mut request = Vec::new();
    for view in snapshot(&before).spans {
        let mut of_resource = view.entry.origin.resource.decode();
        let of_scope = view.entry.origin.scope.decode();
        of_resource.scope_spans = vec![crate::proto::ScopeSpans { spans: vec![view.entry.decode()], ..of_scope }];
        prost::encoding::message::encode(1, &of_resource, &mut request);
    }
    let by_protobuf = Store::new(1 << 20);
    crate::request::read(&request, |batch| assert_eq!(by_protobuf.insert(batch), (0, None))).unwrap();
    assert_eq!(spans(&by_json), spans(&by_protobuf));
    assert_eq!(by_protobuf.kept().bytes, by_json.kept().bytes);
}
