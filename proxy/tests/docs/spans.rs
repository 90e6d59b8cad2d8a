//! `proxy/docs/spans.md` and the tap's fields in `proxy/docs/admin.md`, against what services do and the proxy tells.

use std::collections::{BTreeMap, BTreeSet};

use otlp_receiver::proto::trace::v1::span::SpanKind;
use otlp_receiver::{ReceivedSpan, Receiver};
use redistributed_core::trace::{ErrorType, UNKNOWN_COMMAND};
use rustix::process::Signal;

use crate::docs::page::{self, Page};
use crate::support::DEADLINE;
use crate::support::admin::Proxy;
use crate::support::redis::RealRedis;
use crate::support::wire::{Value, Wire};

/// What was told of services that used everything that a span or the tap can tell of.
struct Told {
    spans: Vec<ReceivedSpan>,
    /// The names of the fields of all messages on `/tap`.
    tapped: BTreeSet<String>,
}

/// A publisher's proxy, and one whose deliveries are linked, on one Redis.
async fn told() -> Told {
    let (redis, collector) = (RealRedis::start(&[]), Receiver::start().await.unwrap());
    let endpoint = collector.http_endpoint();
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_TRACES_EXPORTER", "otlp"),
        ("OTEL_SERVICE_NAME", "a"),
    ];
    let parents = Proxy::start(
        &redis.url(),
        &["--commands", "all", "--key-template", "*", "--mode-for", "plain=strip", "--mode-for", "alone=auto"],
        &variables,
    );
    let links = Proxy::start(&redis.url(), &["--relation", "link"], &variables);
    let (watched_parents, watched_links) = (parents.watch("?limit=8").await, links.watch("?limit=1").await);

    let mut subscriber = Wire::to(parents.address()).await;
    subscriber.subscribe("PSUBSCRIBE c*").await;
    subscriber.subscribe("SSUBSCRIBE shard").await;
    let mut linked = Wire::to(links.address()).await;
    linked.subscribe("SUBSCRIBE ch").await;
    let mut service = Wire::to(parents.address()).await;
    assert_eq!(service.publish("ch", b"hi").await, 2);
    assert_eq!(service.publish("plain", b"hi").await, 0);
    assert_eq!(service.publish("reply-12345678", b"hi").await, 0);
    assert_eq!(service.publish("alone", b"hi").await, 0);
    assert_eq!(service.call("SPUBLISH shard hi").await, Value::Integer(1));
    assert_eq!(service.call("SELECT 1").await, Value::Status("OK".to_owned()));
    assert_eq!(service.call("SET key value").await, Value::Status("OK".to_owned()));
    assert!(matches!(service.call("LPUSH key value").await, Value::Error(_)));
    service.call("XGROUP CREATE stream workers $ MKSTREAM").await;
    service.call("XADD stream 1-0 field value").await;
    assert!(matches!(service.call("XADD key * field value").await, Value::Error(_)));
    assert_eq!(service.call("RPUSH queue:mail one two").await, Value::Integer(2));
    assert!(matches!(service.call("XREADGROUP GROUP workers me STREAMS stream >").await, Value::Array(_)));
    assert!(matches!(service.call("XAUTOCLAIM stream workers other 0 0").await, Value::Array(_)));
    assert_eq!(service.call("XACK stream workers 1-0").await, Value::Integer(1));
    for command in ["MULTI", "SET key one", "SET key two", "EXEC"] {
        assert!(!matches!(service.call(command).await, Value::Error(_)), "{command}");
    }
    // A transaction that Redis aborts.
    service.call("MULTI").await;
    service.call("PUBLISH ch never").await;
    assert!(matches!(service.call("NOSUCHCOMMAND").await, Value::Error(_)));
    assert!(matches!(service.call("EXEC").await, Value::Error(_)));
    subscriber.message().await;
    subscriber.message().await;
    linked.message().await;
    drop((service, subscriber, linked));

    let mut tapped = BTreeSet::new();
    for line in format!("{}{}", watched_parents.rest().await, watched_links.rest().await).lines() {
        let serde_json::Value::Object(fields) = serde_json::from_str(line).unwrap() else { panic!("{line}") };
        tapped.extend(fields.keys().cloned());
    }
    for proxy in [parents, links] {
        proxy.process.signal(Signal::TERM);
        // Waiting blocks, and the collector runs here too.
        let ended = tokio::task::spawn_blocking(|| proxy.process.ended()).await.unwrap();
        assert_eq!(ended.code, Some(0));
    }
    let spans = collector.wait_for_spans(1, DEADLINE).await.unwrap();
    Told { spans, tapped }
}

/// The words for kinds of spans on the page, by attribute.
fn documented_attributes(page: &Page) -> BTreeMap<String, BTreeSet<String>> {
    let rows = page.table("attribute").into_iter();
    rows.map(|row| {
        let kinds: BTreeSet<_> = match row[1].text.as_str() {
            "all" => ["publish", "delivery", "send", "item", "command"].map(str::to_owned).into(),
            kinds => kinds.split(", ").map(str::to_owned).collect(),
        };
        (row[0].text.clone(), kinds)
    })
    .collect()
}

fn kind(span: &ReceivedSpan) -> &'static str {
    match span.span.kind() {
        SpanKind::Producer if span.span.name.starts_with("send") => "send",
        SpanKind::Producer => "publish",
        SpanKind::Consumer if span.span.attributes.iter().any(|other| other.key == "messaging.message.id") => "item",
        SpanKind::Consumer => "delivery",
        SpanKind::Client => "command",
        other => panic!("a span of the kind {other:?}"),
    }
}

#[tokio::test]
async fn every_attribute_and_every_field_of_the_tap_is_documented_and_no_other() {
    let told = told().await;
    let page = page::page("proxy/docs/spans.md");

    let mut seen = BTreeMap::<String, BTreeSet<String>>::new();
    for span in &told.spans {
        for attribute in &span.span.attributes {
            seen.entry(attribute.key.clone()).or_default().insert(kind(span).to_owned());
        }
    }
    // Why a delivery or an item fails is a client that has gone, which cannot be made to happen at will.
    seen.entry("error.type".to_owned()).or_default().extend(["delivery", "item"].map(str::to_owned));
    // Causes are told when a service has been seen for a while, for which `e2e::following` waits.
    seen.insert("redistributed.cause".to_owned(), ["publish", "send", "command"].map(str::to_owned).into());
    assert_eq!(documented_attributes(&page), seen, "the document has left, the spans right");

    let of_resources = told.spans.iter().flat_map(|span| &span.resource.attributes);
    let mut seen: BTreeSet<_> = of_resources.map(|attribute| attribute.key.clone()).collect();
    // Where the system has neither a machine id nor Linux's id of the kernel, there is none.
    seen.insert("host.id".to_owned());
    let resource = page.rows.iter().filter(|row| row.len() == 2 && row[0].code.iter().any(|code| code.contains('.')));
    let documented: BTreeSet<_> = resource.flat_map(|row| row[0].code.clone()).collect();
    assert_eq!(documented, seen, "the resource: the document has left, the spans right");

    let admin = page::page("proxy/docs/admin.md");
    let documented: BTreeSet<_> = admin.table("field").iter().flat_map(|row| row[0].code.clone()).collect();
    assert_eq!(documented, told.tapped, "the tap: the document has left, the proxy right");
}

#[test]
fn every_reason_for_which_a_span_fails_is_documented() {
    let page = page::page("proxy/docs/spans.md");
    let reasons = [
        ErrorType::CLIENT_CLOSED,
        ErrorType::CONNECTION_CLOSED,
        ErrorType::NOT_EXECUTED,
        ErrorType::OTHER,
        UNKNOWN_COMMAND,
    ];
    for reason in reasons {
        assert!(page.code.iter().any(|code| code == reason), "{reason} is not documented");
    }
}
