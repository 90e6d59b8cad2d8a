//! Contexts in the entries of streams (`--stream-carrier`): whoever reads without a proxy sees two fields more, and nobody else
//! does.

use redistributed_core::trace::SpanContext;

use crate::e2e::deployment::Deployment;
use crate::support::servers;
use crate::support::wire::{Value, Wire, request};

const FIELDS: [&str; 4] = ["--stream-carrier", "orders*=field", "--key-template", "orders*"];

/// The commands that fill the stream, and those that read it, in this order. What they are answered does not depend on the time.
const WRITES: [&str; 8] = [
    "XADD orders:1 1-0 id 7",
    "XADD orders:1 NOMKSTREAM MAXLEN = 100 LIMIT 0 2-0 id 8",
    "XADD orders:1 MAXLEN = 100 2-0 id 8 note text",
    "MULTI",
    "XADD orders:1 3-0 id 9",
    "XADD orders:1 4-0 id",
    "XADD orders:1 MAXLEN 5 4-0",
    "EXEC",
];
const READS: [&str; 25] = [
    "XADD orders:1 3-0 id 9",
    "XADD orders:1 4-0 id 10",
    "XADD orders:2 1-0 id 1",
    "XGROUP CREATE orders:1 g 0",
    "XLEN orders:1",
    "XRANGE orders:1 - +",
    "XREVRANGE orders:1 + - COUNT 2",
    "XREAD COUNT 1 STREAMS orders:1 orders:2 0 0",
    "XREAD BLOCK 1 STREAMS orders:1 9-0",
    "XREADGROUP GROUP g c COUNT 3 STREAMS orders:1 >",
    "XINFO STREAM orders:1",
    "XCLAIM orders:1 g d 0 1-0",
    "XCLAIM orders:1 g d 0 1-0 JUSTID",
    "XAUTOCLAIM orders:1 g e 0 0 COUNT 1",
    "XAUTOCLAIM orders:1 g e 0 0 JUSTID",
    "XDEL orders:1 1-0",
    "XREADGROUP GROUP g e STREAMS orders:1 0",
    "XTRIM orders:1 MAXLEN = 2",
    "MULTI",
    "XRANGE orders:1 - +",
    "XREAD STREAMS orders:1 0",
    "EXEC",
    "XRANGE plain - +",
    "XINFO STREAM orders:2 FULL",
    "XRANGE orders:1 - + COUNT x",
];

/// The bytes of the reply to a command.
async fn reply(wire: &mut Wire, command: &str) -> String {
    let words: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
    wire.send(&request(&words)).await;
    wire.frame().await.escape_ascii().to_string()
}

#[tokio::test]
async fn a_service_behind_a_proxy_reads_what_was_written_and_anybody_else_two_fields_more() {
    for server in servers::all() {
        let deployment = Deployment::on(server).await;
        let api = deployment.sidecar("api", &FIELDS);
        for (protocol, database) in [("2", "1"), ("3", "2")] {
            let (mut direct, mut proxied) = (deployment.direct().await, api.connect().await);
            direct.call(&format!("SELECT {database}")).await;
            proxied.call("FLUSHDB").await;
            for wire in [&mut direct, &mut proxied] {
                wire.call(&format!("HELLO {protocol}")).await;
                // What a service without a proxy has written is read as it is.
                wire.call("XADD plain 1-0 id 7").await;
            }
            for command in WRITES.into_iter().chain(READS) {
                let expected = reply(&mut direct, command).await;
                assert_eq!(reply(&mut proxied, command).await, expected, "{} RESP{protocol} {command}", server.name);
            }
        }
        let mut direct = deployment.direct().await;
        let Value::Array(entries) = direct.call("XRANGE orders:2 - +").await else { panic!("an array") };
        let [Value::Array(entry)] = &entries[..] else { panic!("{entries:?}") };
        let Value::Array(fields) = &entry[1] else { panic!("{entry:?}") };
        let text = |value: &Value| match value {
            Value::Bulk(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            other => panic!("{other:?}"),
        };
        let fields: Vec<String> = fields.iter().map(text).collect();
        assert_eq!(
            (&fields[..3], &fields[4]),
            (&["id", "1", "traceparent"].map(String::from)[..], &"tracestate".into())
        );
        let context = SpanContext::parse_traceparent(fields[3].as_bytes()).expect("a traceparent");
        drop(direct);
        let spans = deployment.spans([api]).await;
        let is_context = |span: &&crate::e2e::spans::Span| span.has_context(&context);
        let producer = spans.of("api").find(is_context).expect("the span that the context names");
        assert_eq!((producer.name.as_str(), producer.text("messaging.message.id")), ("send orders*", Some("1-0")));
    }
}

#[tokio::test]
async fn who_takes_an_entry_is_in_the_trace_of_who_has_added_it() {
    let deployment = Deployment::start().await;
    let [api, worker] = ["api", "worker"].map(|service| deployment.sidecar(service, &FIELDS));
    let mut producer = api.connect().await;
    producer.call("XGROUP CREATE orders workers $ MKSTREAM").await;
    producer.call("XADD orders * id 7").await;
    let mut consumer = worker.connect().await;
    let taken = consumer.call("XREADGROUP GROUP workers me BLOCK 5000 STREAMS orders >").await;
    assert!(!format!("{taken:?}").contains("traceparent"), "{taken:?}");
    drop((producer, consumer));
    let spans = deployment.spans([api, worker]).await;
    let named = |service: &str, name: &str| spans.of(service).find(|span| span.name == name).cloned().expect("a span");
    let (sent, processed) = (named("api", "send orders*"), named("worker", "process orders*"));
    assert_eq!((&processed.trace_id, &processed.parent), (&sent.trace_id, &sent.span_id));
}
