//! The metrics that OpenTelemetry's semantic conventions name, with the spans that they come from.

use std::collections::BTreeSet;
use std::time::Instant;

use otlp_receiver::Receiver;

use super::documented::{documented, shown};
use crate::support::DEADLINE;
use crate::support::admin::Proxy;
use crate::support::redis::RealRedis;
use crate::support::wire::{Value, Wire};
use crate::support::{connect, read_to_end, send};

const OPENMETRICS: &str = "Accept: application/openmetrics-text; version=1.0.0\r\n";

/// The samples whose name and labels begin with `series`: their labels behind that, and their values.
fn samples<'a>(page: &'a str, series: &str) -> Vec<(&'a str, &'a str)> {
    page.lines().filter_map(|line| line.strip_prefix(series)?.split_once("} ")).collect()
}

/// The ids of the exemplars of a metric, as `trace_id span_id`.
fn exemplars(page: &str, metric: &str) -> BTreeSet<String> {
    let behind = |line: &str| {
        let (_, exemplar) = line.split_once(" # {trace_id=\"")?;
        let (trace_id, rest) = exemplar.split_once("\",span_id=\"")?;
        let (span_id, rest) = rest.split_once("\"} ")?;
        assert!(rest.split(' ').all(|number| number.parse::<f64>().is_ok()), "{line}");
        Some(format!("{trace_id} {span_id}"))
    };
    page.lines().filter(|line| line.starts_with(&format!("{metric}_bucket{{"))).filter_map(behind).collect()
}

#[tokio::test]
async fn each_operation_is_counted_and_timed_and_has_its_span_as_exemplar() {
    let (collector, redis) = (Receiver::start().await.unwrap(), RealRedis::start(&[]));
    let environment = [
        ("OTEL_SERVICE_NAME", "api"),
        ("OTEL_TRACES_EXPORTER", "otlp"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*collector.http_endpoint()),
        ("OTEL_BSP_SCHEDULE_DELAY", "10"),
    ];
    // What is behind the HTTP port is Redis, which answers HTTP with the end of the connection.
    let http = format!("127.0.0.1:0,{}", redis.address());
    let listen = ["--listen", "127.0.0.1:0", "--upstream", &redis.url(), "--follow", "off"];
    let more = ["--commands", "all", "--http", &http];
    let proxy = Proxy::with_routes(2, &[&listen[..], &more].concat(), &environment);
    let (mut publisher, mut subscriber) = (Wire::to(proxy.address()).await, Wire::to(proxy.address()).await);
    subscriber.subscribe("SUBSCRIBE reports user:12345678").await;
    for channel in ["reports", "reports", "user:12345678"] {
        publisher.publish(channel, b"x").await;
        subscriber.message().await;
    }
    assert!(matches!(publisher.call("LPUSH list x").await, Value::Integer(1)));
    assert!(matches!(publisher.call("GET list").await, Value::Error(_)));
    let mut client = connect(proxy.process.addresses[1]).await;
    send(&mut client, b"GET /orders/7 HTTP/1.1\r\nHost: x\r\n\r\n").await;
    read_to_end(&mut client).await;
    drop(client);
    // Three publishes and deliveries, two commands, a subscription of each of two channels, and a request.
    let spans = collector.wait_for_spans(10, DEADLINE).await.unwrap();

    let (head, page) = proxy.exchange("GET /metrics", OPENMETRICS, "").await;
    assert!(head.contains("application/openmetrics-text; version=1.0.0"), "{head}");
    let port = redis.address().port();
    let server = format!("server_address=\"127.0.0.1\",server_port=\"{port}\"");
    let sent = "messaging_system=\"redis\",messaging_operation_name=\"publish\"";
    let series = format!("messaging_client_sent_messages_total{{route=\"api\",{sent},");
    let by_channel = ["messaging_destination_name=\"reports\"", "messaging_destination_template=\"user:{id}\""]
        .map(|channel| format!("{channel},{server}"));
    assert_eq!(samples(&page, &series), [(&*by_channel[0], "2"), (&*by_channel[1], "1")]);
    let consumed = "messaging_system=\"redis\",messaging_operation_name=\"process\"";
    let series = format!("messaging_client_consumed_messages_total{{route=\"api\",{consumed},");
    assert_eq!(samples(&page, &series), [(&*by_channel[0], "2"), (&*by_channel[1], "1")]);
    let series = "db_client_operation_duration_seconds_count{route=\"api\",db_system_name=\"redis\",";
    let failed = "db_response_status_code=\"WRONGTYPE\",error_type=\"WRONGTYPE\",";
    let get = format!("db_operation_name=\"GET\",db_namespace=\"0\",{failed}{server}");
    assert!(samples(&page, series).contains(&(&*get, "1")), "{page}");
    let series =
        "http_server_request_duration_seconds_count{route=\"api\",http_request_method=\"GET\",url_scheme=\"http\",";
    let [(asked, "1")] = samples(&page, series)[..] else { panic!("{page}") };
    assert!(asked.starts_with("http_route=\"/orders/{id}\",") && asked.contains("error_type=\""), "{asked}");

    for (metric, kind, most) in [
        ("messaging_client_operation_duration_seconds", "publish", 3),
        ("messaging_process_duration_seconds", "process", 3),
        ("db_client_operation_duration_seconds", "", 4),
        ("http_server_request_duration_seconds", "GET /", 1),
    ] {
        let alike = |name: &str| if kind.is_empty() { !name.contains(' ') } else { name.starts_with(kind) };
        let all = spans.iter().filter(|span| alike(&span.span.name));
        let ids: BTreeSet<_> = all.map(|span| format!("{} {}", span.trace_id(), span.span_id())).collect();
        let exemplars = exemplars(&page, metric);
        assert!((1..=most).contains(&exemplars.len()), "{metric}: {exemplars:?}");
        assert!(exemplars.is_subset(&ids), "{metric}: {exemplars:?} are not among {ids:?}");
    }
    let plain = proxy.metrics().await;
    assert!(!plain.contains("trace_id") && plain.contains("\nmessaging_process_duration_seconds_bucket{"), "{plain}");

    // The document has every label that there is, and those that there may be.
    let (shown, documented) = (shown(&plain).0, documented());
    for (name, (kind, labels)) in shown.iter().filter(|(name, _)| !name.starts_with("redistributed_")) {
        let (documented_kind, documented) = documented.get(name).unwrap_or_else(|| panic!("{name} is not documented"));
        assert_eq!(kind, documented_kind, "{name}");
        assert!(labels.is_subset(documented), "{name}: {labels:?}, documented are {documented:?}");
    }
}

/// The values of the series of a metric, in their order.
/// The values of a metric's series, the lowest first. The page has the series in the order in which they began.
fn values<'a>(page: &'a str, metric: &str) -> Vec<&'a str> {
    let mut values: Vec<_> = samples(page, &format!("{metric}{{")).into_iter().map(|(_, value)| value).collect();
    values.sort_unstable();
    values
}

#[tokio::test]
async fn what_is_not_sampled_is_counted_and_timed_like_what_is() {
    let redis = RealRedis::start(&[]);
    let environment = [("OTEL_SERVICE_NAME", "api"), ("OTEL_TRACES_SAMPLER", "always_off")];
    // What is behind the HTTP port is Redis, which answers HTTP with the end of the connection.
    let http = format!("127.0.0.1:0,{}", redis.address());
    for following in [&["--follow", "off"][..], &["--follow", "parent", "--follow-window", "10ms"]] {
        let listen = ["--listen", "127.0.0.1:0", "--upstream", &redis.url(), "--http", &http, "--commands", "errors"];
        let more = ["--mode-for", "stripped=strip", "--exclude", "user.*"];
        let proxy = Proxy::with_routes(2, &[&listen[..], &more, following].concat(), &environment);
        let (mut publisher, mut subscriber) = (Wire::to(proxy.address()).await, Wire::to(proxy.address()).await);
        subscriber.subscribe("SUBSCRIBE reports stripped user.alice user.bob.12345678").await;
        for channel in ["reports", "stripped", "user.alice", "user.bob.12345678"] {
            publisher.publish(channel, b"x").await;
            subscriber.message().await;
        }
        publisher.call("SET text x").await;
        assert!(matches!(publisher.call("LPUSH text x").await, Value::Error(_)));
        let mut client = connect(proxy.process.addresses[1]).await;
        send(&mut client, b"GET /orders/7 HTTP/1.1\r\nHost: x\r\n\r\n").await;
        read_to_end(&mut client).await;

        // Where causes are followed, a message waits for the work that it causes.
        const PROCESSES: &str = "messaging_process_duration_seconds_count";
        let began = Instant::now();
        let page = loop {
            let (_, page) = proxy.exchange("GET /metrics", OPENMETRICS, "").await;
            if values(&page, PROCESSES) == ["1", "1", "2"] {
                break page;
            }
            assert!(began.elapsed() < DEADLINE, "{following:?}: {page}");
        };
        for (metric, expected) in [
            ("messaging_client_sent_messages_total", &["1", "1", "2"][..]),
            ("messaging_client_operation_duration_seconds_count", &["1", "1", "2"]),
            ("messaging_client_consumed_messages_total", &["1", "1", "2"]),
            ("db_client_operation_duration_seconds_count", &["1"]),
            ("http_server_request_duration_seconds_count", &["1"]),
        ] {
            assert_eq!(values(&page, metric), expected, "those that are excluded have no name: {page}");
        }
        assert_eq!(
            samples(&page, "db_client_operation_duration_seconds_count{")[0].0.split(',').nth(2),
            Some("db_operation_name=\"LPUSH\"")
        );
        assert!(!page.contains("alice") && !page.contains("bob"), "{page}");
        assert!(!page.contains("trace_id"), "no span could be looked up: {page}");
    }
}

#[tokio::test]
async fn nothing_is_measured_without_an_sdk() {
    let redis = RealRedis::start(&[]);
    let proxy = Proxy::start(&redis.url(), &[], &[("OTEL_SDK_DISABLED", "true")]);
    let mut publisher = Wire::to(proxy.address()).await;
    publisher.publish("reports", b"x").await;
    assert_eq!(samples(&proxy.metrics().await, "messaging_"), []);
}
