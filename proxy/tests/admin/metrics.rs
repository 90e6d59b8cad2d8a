//! `GET /metrics`: what is counted and timed.

use crate::support::admin::Proxy;
use crate::support::listener::{TestListener, Transport, words};
use crate::support::redis::RealRedis;
use crate::support::wire::{Value, Wire, request};

/// The value of a series as the page spells it.
fn value(page: &str, series: &str) -> f64 {
    let lines: Vec<_> = page.lines().filter_map(|line| line.strip_prefix(series)?.strip_prefix(' ')).collect();
    let [value] = lines[..] else { panic!("{} lines of {series} in\n{page}", lines.len()) };
    value.parse().unwrap()
}

#[tokio::test]
async fn what_has_happened_is_counted_by_route() {
    let redis = RealRedis::start(&[]);
    let routes = ["a", "b"].map(|name| format!("{name}=127.0.0.1:0,{}", redis.url()));
    let arguments = ["--route", &routes[0], "--route", &routes[1], "--exclude", "excluded"];
    let proxy = Proxy::with_routes(2, &arguments, &[]);
    let (mut a, mut b) = (Wire::to(proxy.process.addresses[0]).await, Wire::resp3(proxy.process.addresses[1]).await);
    b.subscribe("SUBSCRIBE news __keyspace@0__:k").await;
    a.publish("news", b"one").await;
    a.publish("nobody", b"two").await;
    a.publish("excluded", b"three").await;
    a.publish("__keyspace@0__:k", b"set").await;
    b.message().await;
    b.message().await;
    let page = proxy.metrics().await;
    let of = |route: &str, series: &str| value(&page, &series.replace("ROUTE", &format!("route=\"{route}\"")));
    for (series, in_a, in_b) in [
        ("redistributed_connections_accepted_total{ROUTE}", 1.0, 1.0),
        ("redistributed_connections_active{ROUTE}", 1.0, 1.0),
        ("redistributed_commands_total{ROUTE}", 4.0, 2.0),
        ("redistributed_published_total{ROUTE}", 4.0, 0.0),
        ("redistributed_injected_total{ROUTE}", 2.0, 0.0),
        ("redistributed_skipped_total{ROUTE,reason=\"channel\"}", 2.0, 0.0),
        ("redistributed_receivers_total{ROUTE}", 2.0, 0.0),
        ("redistributed_delivered_total{ROUTE}", 0.0, 2.0),
        ("redistributed_delivered_reserved_total{ROUTE}", 0.0, 1.0),
        ("redistributed_stripped_total{ROUTE}", 0.0, 1.0),
        ("redistributed_publish_round_trip_seconds_count{ROUTE}", 4.0, 0.0),
        ("redistributed_connect_seconds_count{ROUTE,result=\"ok\"}", 1.0, 1.0),
        ("redistributed_transit_seconds_count{ROUTE}", 0.0, 0.0),
    ] {
        assert_eq!((of("a", series), of("b", series)), (in_a, in_b), "{series}");
    }
    let sent = request(&[b"PUBLISH", b"news", b"one"]).len() + request(&[b"PUBLISH", b"nobody", b"two"]).len();
    let untouched =
        request(&[b"PUBLISH", b"excluded", b"three"]).len() + request(&[b"PUBLISH", b"__keyspace@0__:k", b"set"]).len();
    assert_eq!(of("a", "redistributed_received_bytes_total{ROUTE,from=\"client\"}"), (sent + untouched) as f64);
    // A trailer, and a digit more for the length, in each of two.
    let with_contexts = (sent + untouched + 2 * (41 + 1)) as f64;
    assert_eq!(of("a", "redistributed_sent_bytes_total{ROUTE,to=\"server\"}"), with_contexts);
    assert_eq!(value(&page, "redistributed_mode{mode=\"inject\"}"), 1.0);
}

#[tokio::test]
async fn the_time_on_the_way_is_measured_where_messages_say_when_they_were_published() {
    let redis = RealRedis::start(&[]);
    let publisher = Proxy::start(&redis.url(), &["--transit-time"], &[("OTEL_SERVICE_NAME", "api")]);
    let subscriber = Proxy::start(&redis.url(), &["--transit-time"], &[("OTEL_SERVICE_NAME", "worker")]);
    let mut worker = Wire::to(subscriber.address()).await;
    worker.subscribe("SUBSCRIBE news").await;
    let mut api = Wire::to(publisher.address()).await;
    for _ in 0..5 {
        api.publish("news", b"hello").await;
        assert_eq!(worker.message().await.payload, b"hello");
    }
    let page = subscriber.metrics().await;
    let measured = value(&page, "redistributed_transit_seconds_count{route=\"worker\"}");
    let negative = value(&page, "redistributed_transit_negative_total{route=\"worker\"}");
    assert_eq!(measured + negative, 5.0);
    assert!(measured > 0.0, "both sides have the same clock");
    assert!(value(&page, "redistributed_transit_seconds_sum{route=\"worker\"}") < 20.0, "no more than the test takes");
}

#[tokio::test]
async fn failures_to_reach_redis_are_counted_and_timed() {
    let proxy = Proxy::start("redis://127.0.0.1:1", &["--connect-retry", "off"], &[("OTEL_SERVICE_NAME", "api")]);
    let mut client = Wire::to(proxy.address()).await;
    client.closed().await;
    let page = proxy.metrics().await;
    assert_eq!(value(&page, "redistributed_upstream_failures_total{route=\"api\",reason=\"unreachable\"}"), 1.0);
    assert_eq!(value(&page, "redistributed_connect_seconds_count{route=\"api\",result=\"failed\"}"), 1.0);
}

#[tokio::test]
async fn exports_are_counted_and_timed_by_their_result() {
    let collector = otlp_receiver::Receiver::start().await.unwrap();
    let redis = RealRedis::start(&[]);
    let environment = [
        ("OTEL_TRACES_EXPORTER", "otlp"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*collector.http_endpoint()),
        ("OTEL_BSP_SCHEDULE_DELAY", "10"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "4096"),
    ];
    let proxy = Proxy::start(&redis.url(), &[], &environment);
    let mut publisher = Wire::to(proxy.address()).await;
    publisher.publish("news", b"hello").await;
    collector.wait_for_spans(1, crate::support::DEADLINE).await.unwrap();
    collector.behave(otlp_receiver::Behaviour::Refuse(otlp_receiver::Refusal::INVALID));
    publisher.publish("news", b"hello").await;
    let series = |result: &str| format!("redistributed_export_seconds_count{{result=\"{result}\"}}");
    let deadline = tokio::time::Instant::now() + crate::support::DEADLINE;
    let page = loop {
        let page = proxy.metrics().await;
        if value(&page, &series("failed")) > 0.0 {
            break page;
        }
        assert!(tokio::time::Instant::now() < deadline, "the refusal is not counted:\n{page}");
    };
    assert_eq!((value(&page, &series("ok")), value(&page, &series("partial"))), (1.0, 0.0));
    assert_eq!(value(&page, "redistributed_spans_total{result=\"sent\"}"), 1.0);
    assert_eq!(value(&page, "redistributed_spans_total{result=\"failed\"}"), 1.0);
    assert_eq!(value(&page, "redistributed_spans_queue_capacity"), 4096.0);
}

#[tokio::test]
async fn the_process_is_told_of_as_by_every_prometheus_client() {
    let proxy = Proxy::start("redis://127.0.0.1:1", &["--max-connections", "7", "--threads", "3"], &[]);
    let page = proxy.metrics().await;
    assert_eq!(value(&page, "redistributed_max_connections"), 7.0);
    assert_eq!(value(&page, "redistributed_worker_threads"), 3.0);
    assert!(value(&page, "process_cpu_seconds_total") > 0.0);
    let started = value(&page, "process_start_time_seconds");
    let now = redistributed::clock::wall().0 as f64 / 1e9;
    assert!(started <= now && now - started < 60.0, "{started} and {now}");
    let resident = value(&page, "process_resident_memory_bytes");
    assert!((1e6..1e9).contains(&resident) && resident < value(&page, "process_virtual_memory_bytes"), "{resident}");
    let open = value(&page, "process_open_fds");
    assert!((5.0..100.0).contains(&open) && open < value(&page, "process_max_fds"), "{open}");
    assert!(value(&page, "process_threads") >= 4.0);
}

#[tokio::test]
async fn a_channels_name_is_no_label_of_the_proxys_own_metrics() {
    let redis = RealRedis::start(&[]);
    let proxy = Proxy::start(&redis.url(), &[], &[]);
    let own = |page: &str| {
        page.lines().filter(|line| line.starts_with("redistributed_")).map(str::to_owned).collect::<Vec<_>>()
    };
    let before = own(&proxy.metrics().await).len();
    let mut client = Wire::to(proxy.address()).await;
    for number in 0..50 {
        let channel = format!("channel-{number}");
        assert_eq!(client.publish(&channel, b"x").await, 0);
        assert!(matches!(client.call_words(&[channel.as_bytes()]).await, Value::Error(_)));
    }
    let page = own(&proxy.metrics().await);
    assert!(!page.iter().any(|line| line.contains("channel-")) && page.len() == before, "{page:?}");
}

#[tokio::test]
async fn spans_that_wait_never_exceed_the_capacity_that_is_shown() {
    let collector = otlp_receiver::Receiver::start().await.unwrap();
    collector.behave(otlp_receiver::Behaviour::Hang);
    let redis = RealRedis::start(&[]);
    let environment = [
        ("OTEL_TRACES_EXPORTER", "otlp"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*collector.http_endpoint()),
        ("OTEL_BSP_SCHEDULE_DELAY", "1"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "64"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "16"),
    ];
    let proxy = Proxy::start(&redis.url(), &[], &environment);
    let mut publisher = Wire::to(proxy.address()).await;
    let deadline = tokio::time::Instant::now() + crate::support::DEADLINE;
    loop {
        for _ in 0..50 {
            publisher.publish("news", b"hello").await;
        }
        let page = proxy.metrics().await;
        let (queued, capacity) =
            (value(&page, "redistributed_spans_queued"), value(&page, "redistributed_spans_queue_capacity"));
        assert!(capacity == 64.0 && queued <= capacity, "{queued} of {capacity}");
        let dropped = value(&page, "redistributed_spans_total{result=\"dropped\"}");
        if dropped > 0.0 && value(&page, "redistributed_spans_in_flight") > 0.0 {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "the queue does not fill:\n{page}");
    }
}

#[tokio::test]
async fn the_expiry_of_certificates_and_the_last_reload_are_told() {
    let listener = TestListener::new(Transport::Tls);
    let replace = |years| {
        let (certificate, key) = listener.authority.issue_between("localhost", years);
        listener.authority.write("proxy.pem", &certificate);
        listener.authority.write("proxy.key", &key);
    };
    replace((2020, 2040));
    let config = listener.authority.write("r.toml", "");
    let mut arguments = listener.arguments("redis://127.0.0.1:1", &["--config", &config.display().to_string()]);
    arguments.extend(["--listen-client-ca".to_owned(), listener.authority.file()]);
    let proxy = Proxy::with_routes(1, &words(&arguments), &[]);
    let page = proxy.metrics().await;
    let expiry = |name: &str| {
        let file = listener.path(name).display().to_string();
        format!("redistributed_certificate_expiry_timestamp_seconds{{setting=\"listen-{name}\",file=\"{file}\"}}")
            .replace("listen-proxy.pem", "listen-cert")
            .replace("listen-ca.pem", "listen-client-ca")
    };
    assert_eq!(value(&page, &expiry("proxy.pem")), 2_208_988_800.0, "the first day of 2040");
    assert!(value(&page, &expiry("ca.pem")) > 2_208_988_800.0);
    let of = |what: &str| format!("redistributed_last_reload_successful{{of=\"{what}\"}}");
    assert_eq!((value(&page, &of("settings")), value(&page, &of("secrets"))), (1.0, 1.0));
    let began = value(&page, "redistributed_last_reload_timestamp_seconds");

    replace((2020, 2041));
    listener.authority.write("r.toml", "mode = 'nonsense'");
    assert_eq!(proxy.ask("POST /reload", "", "").await.0, 409);
    let page = proxy.metrics().await;
    assert_eq!(value(&page, &expiry("proxy.pem")), 2_240_611_200.0, "the first day of 2041");
    assert_eq!((value(&page, &of("settings")), value(&page, &of("secrets"))), (0.0, 1.0));
    assert!(value(&page, "redistributed_last_reload_timestamp_seconds") > began);

    listener.authority.write("r.toml", "mode = 'strip'");
    replace((2001, 2002));
    assert_eq!(proxy.ask("POST /reload", "", "").await.0, 409);
    let page = proxy.metrics().await;
    assert_eq!(value(&page, &expiry("proxy.pem")), 2_240_611_200.0, "the one in force");
    assert_eq!((value(&page, &of("settings")), value(&page, &of("secrets"))), (1.0, 0.0));
}

#[tokio::test]
async fn http_on_the_port_of_redis_is_counted_as_not_resp() {
    let redis = RealRedis::start(&[]);
    let proxy = Proxy::start(&redis.url(), &[], &[]);
    let series = "redistributed_opaque_total{route=\"unknown_service:redistributed\",reason=\"client\"}";
    let requests = ["GET / HTTP/1.1\r\nHost: x\r\n\r\n", "POST /v1/traces HTTP/1.1\r\n\r\n", "PRI * HTTP/2.0\r\n\r\n"];
    for (count, request) in (1..).zip(requests) {
        let mut client = Wire::to(proxy.address()).await;
        client.send(request.as_bytes()).await;
        client.finish().await;
        assert_eq!(value(&proxy.metrics().await, series), f64::from(count), "{request}");
    }
}
