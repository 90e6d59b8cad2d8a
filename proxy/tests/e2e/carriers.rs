//! Contexts in JSON and in the OpenCensus format, and contexts that services put into messages themselves.

use redistributed_core::carrier::opencensus;
use redistributed_core::trace::SpanContext;
use serde_json::Value as Json;

use crate::e2e::deployment::Deployment;
use crate::e2e::spans::Spans;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

/// The form of a payload at each stage of its way from `api` to `worker`, whose sidecars both have `arguments`.
struct Journey {
    /// As a subscriber without a sidecar receives it.
    on_the_wire: Vec<u8>,
    delivered: Vec<u8>,
    spans: Spans,
}

async fn journey(arguments: &[&str], payload: &[u8]) -> Journey {
    let deployment = Deployment::start().await;
    let [api, worker] = ["api", "worker"].map(|service| deployment.sidecar(service, arguments));
    let mut raw = deployment.direct().await;
    raw.subscribe("SUBSCRIBE orders.eu").await;
    let mut subscriber = worker.connect().await;
    subscriber.subscribe("SUBSCRIBE orders.eu").await;
    let mut publisher = api.connect().await;
    assert_eq!(publisher.publish("orders.eu", payload).await, 2);
    let (on_the_wire, delivered) = (raw.message().await.payload, subscriber.message().await.payload);
    drop((publisher, subscriber, raw));
    Journey { on_the_wire, delivered, spans: deployment.spans([api, worker]).await }
}

impl Journey {
    /// Checks that there is one trace, with the worker's span under the api's span, whose parent is `parent`.
    #[track_caller]
    fn assert_trace(&self, parent: Option<(&str, &str)>) {
        let (producer, consumer) = (self.spans.only("api"), self.spans.only("worker"));
        assert_eq!((&consumer.trace_id, &consumer.parent), (&producer.trace_id, &producer.span_id));
        match parent {
            None => assert!(producer.is_root()),
            Some((trace, span)) => assert_eq!((producer.trace_id.as_str(), producer.parent.as_str()), (trace, span)),
        }
    }
}

#[tokio::test]
async fn json_carries_the_context_as_members_that_anybody_can_read() {
    for payload in [&br#"{"id":7}"#[..], b" {\r\n \"a\" : [1, {\"traceparent\": 1}] } \n", b"{}", b"{ }"] {
        let seen = journey(&["--carrier", "orders.*=json"], payload).await;
        assert_eq!(seen.delivered.escape_ascii().to_string(), payload.escape_ascii().to_string());
        let mut json: Json = serde_json::from_slice(&seen.on_the_wire).expect("it is JSON on the way");
        let added = json.as_object_mut().unwrap().remove("traceparent").expect("a member");
        let context = SpanContext::parse_traceparent(added.as_str().unwrap().as_bytes()).expect("a traceparent");
        assert!(seen.spans.only("api").has_context(&context));
        json.as_object_mut().unwrap().remove("tracestate");
        assert_eq!(json, serde_json::from_slice::<Json>(payload).unwrap(), "nothing else was added");
        seen.assert_trace(None);
    }
}

#[tokio::test]
async fn what_is_no_json_object_goes_without_a_context() {
    for payload in [&b"[1,2]"[..], b"text", b"", b"{\"id\":7", b"{\"id\":7}{}"] {
        let seen = journey(&["--carrier", "orders.*=json"], payload).await;
        assert_eq!(seen.on_the_wire, payload);
        assert_eq!(seen.delivered, payload);
        assert!(seen.spans.only("worker").is_root(), "the trace ends at the publish");
    }
}

#[tokio::test]
async fn json_may_be_left_in_for_services_that_read_it() {
    let arguments = ["--carrier", "orders.*=json", "--keep-context", "orders.*"];
    let seen = journey(&arguments, br#"{"id":7}"#).await;
    let context = |payload: &[u8]| {
        let json: Json = serde_json::from_slice(payload).unwrap();
        SpanContext::parse_traceparent(json["traceparent"].as_str().unwrap().as_bytes()).unwrap()
    };
    assert!(seen.spans.only("api").has_context(&context(&seen.on_the_wire)));
    assert!(
        seen.spans.only("worker").has_context(&context(&seen.delivered)),
        "what the worker does is below its delivery"
    );
    assert_eq!(seen.delivered.len(), seen.on_the_wire.len());
    assert!(!String::from_utf8_lossy(&seen.delivered).contains("redistributed"), "it is the service's own now");
    seen.assert_trace(None);
}

/// What an OpenCensus library publishes that has read a proxy's prefix: a prefix of its own with the options of the one it read.
#[tokio::test]
async fn a_prefix_with_the_options_of_a_proxys_arrives() {
    let mut payload = vec![0, 0];
    payload.extend(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736u128.to_be_bytes());
    payload.push(1);
    payload.extend(0x00f0_67aa_0ba9_02b7u64.to_be_bytes());
    payload.extend(*b"\x02\x81result");
    let seen = journey(&["--carrier", "*=opencensus"], &payload).await;
    assert_eq!(
        (seen.on_the_wire.escape_ascii().to_string(), &seen.delivered),
        (payload.escape_ascii().to_string(), &payload)
    );
    assert_eq!(seen.spans.only("worker").trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
}

/// Members that a service has copied from a message that it received, as it stood in Redis.
#[tokio::test]
async fn members_with_the_entry_of_a_proxy_arrive() {
    for entry in [format!("redistributed={SPAN}"), format!("redistributed={SPAN}-01234567")] {
        let payload = format!(r#"{{"result":1,"traceparent":"00-{TRACE}-{SPAN}-01","tracestate":"{entry}"}}"#);
        let seen = journey(&["--carrier", "*=json"], payload.as_bytes()).await;
        assert_eq!(seen.delivered.escape_ascii().to_string(), payload.as_bytes().escape_ascii().to_string());
    }
}

#[tokio::test]
async fn with_keys_a_context_is_proven_and_one_without_is_removed_and_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    std::fs::write(&keys, "0123456789abcdef0123456789abcdef\n").unwrap();
    for carrier in ["*=trailer", "*=json"] {
        let seen = journey(&["--context-key-file", keys.to_str().unwrap(), "--carrier", carrier], b"{}").await;
        assert_eq!(seen.delivered, b"{}");
        seen.assert_trace(None);
    }
}

#[tokio::test]
async fn a_context_that_the_application_supplies_in_json_is_the_parent_and_stays() {
    let payload = format!(r#"{{"id":7,"traceparent":"00-{TRACE}-{SPAN}-01","tracestate":"vendor=x"}}"#);
    let seen = journey(&["--read-json", "orders.*"], payload.as_bytes()).await;
    assert_eq!(seen.delivered, payload.as_bytes());
    seen.assert_trace(Some((TRACE, SPAN)));
    assert_eq!(seen.spans.only("api").trace_state, "vendor=x");
    assert_eq!(seen.spans.only("worker").trace_state, "vendor=x", "it travelled in the trailer");

    let unread = journey(&[], payload.as_bytes()).await;
    assert_eq!(unread.delivered, payload.as_bytes());
    unread.assert_trace(None);
}

#[tokio::test]
async fn with_the_json_carrier_a_supplied_context_is_the_parent_of_both_spans() {
    let payload = format!(r#"{{"traceparent":"00-{TRACE}-{SPAN}-01"}}"#);
    let seen = journey(&["--carrier", "*=json"], payload.as_bytes()).await;
    assert_eq!((&seen.on_the_wire[..], &seen.delivered[..]), (payload.as_bytes(), payload.as_bytes()));
    for service in ["api", "worker"] {
        let span = seen.spans.only(service);
        assert_eq!((span.trace_id.as_str(), span.parent.as_str()), (TRACE, SPAN), "nothing may be replaced");
    }
}

#[tokio::test]
async fn opencensus_carries_the_context_in_front() {
    for payload in [&b"text"[..], b"", b"\0\0", &[0; 40]] {
        let seen = journey(&["--carrier", "orders.*=opencensus"], payload).await;
        assert_eq!(seen.delivered, payload);
        assert_eq!(&seen.on_the_wire[opencensus::LEN..], payload);
        let prefix = opencensus::find(&seen.on_the_wire).expect("a prefix");
        assert!(seen.spans.only("api").has_context(&prefix.context));
        seen.assert_trace(None);
    }
}

#[tokio::test]
async fn a_prefix_of_the_opencensus_library_is_the_parent_and_stays() {
    // The format of that library: version, trace id, span id, options.
    let mut payload = vec![0, 0];
    payload.extend([0x0a; 16]);
    payload.push(1);
    payload.extend([0x0b; 8]);
    payload.extend([2, 1]);
    payload.extend(b"text");
    let seen = journey(&["--carrier", "orders.*=opencensus"], &payload).await;
    assert_eq!((&seen.on_the_wire, &seen.delivered), (&payload, &payload));
    for service in ["api", "worker"] {
        let span = seen.spans.only(service);
        assert_eq!((span.trace_id.clone(), span.parent.clone()), ("0a".repeat(16), "0b".repeat(8)));
    }
}

#[tokio::test]
async fn a_prefix_may_be_left_in_for_services_that_read_it() {
    let seen = journey(&["--carrier", "orders.*=opencensus", "--keep-context", "orders.*"], b"text").await;
    let delivered = opencensus::find(&seen.delivered).expect("a prefix");
    assert!(seen.spans.only("worker").has_context(&delivered.context), "what the worker does is below its delivery");
    assert_eq!(
        (seen.on_the_wire[opencensus::LEN - 1], seen.delivered[opencensus::LEN - 1]),
        (0x81, 1),
        "no mark is left"
    );
    assert_eq!((&seen.delivered[opencensus::LEN..], seen.delivered.len()), (&b"text"[..], seen.on_the_wire.len()));
    seen.assert_trace(None);
}

#[tokio::test]
async fn a_plain_subscriber_of_an_instrumented_publisher_gets_the_message_alone() {
    let mut payload = [[0, 0].as_slice(), &[0x0a; 16], &[1], &[0x0b; 8], &[2, 1]].concat();
    payload.extend(b"text");
    let strip = ["--strip-supplied", "orders.*"];
    let joined = journey(&[&strip[..], &["--carrier", "orders.*=opencensus"]].concat(), &payload).await;
    assert_eq!((&joined.on_the_wire, &joined.delivered[..]), (&payload, &b"text"[..]));
    for service in ["api", "worker"] {
        let span = joined.spans.only(service);
        assert_eq!((span.trace_id.clone(), span.parent.clone()), ("0a".repeat(16), "0b".repeat(8)));
    }
    // With the default carrier the prefix is payload, which a trailer follows. Both are removed.
    let apart = journey(&strip, &payload).await;
    assert!(apart.on_the_wire.starts_with(&payload) && apart.on_the_wire.len() > payload.len());
    assert_eq!(apart.delivered, b"text");
    apart.assert_trace(None);
}

#[tokio::test]
async fn the_first_carrier_that_matches_is_taken() {
    let arguments = ["--carrier", "orders.us=opencensus", "--carrier", "orders.*=json", "--carrier", "*=opencensus"];
    let seen = journey(&arguments, b"{}").await;
    assert!(seen.on_the_wire.starts_with(b"{\"traceparent\":"));
    assert_eq!(seen.delivered, b"{}");
}
