use redistributed_core::trace::request::{Method, Version};
use redistributed_core::trace::{
    ConsumerGroup, Destination, ErrorType, Handling, Request, Sent, SpanContext, SpanId, TraceFlags, TraceId, UnixNanos,
};

use super::*;
use crate::settings::otel::OtelSettings;
use crate::telemetry::Host;

const SENT: &Metric = &METRICS[0];
const OPERATIONS: &Metric = &METRICS[1];
const CONSUMED: &Metric = &METRICS[2];
const PROCESSES: &Metric = &METRICS[3];
const DATABASE: &Metric = &METRICS[4];
const HTTP: &Metric = &METRICS[5];

fn recorder(exemplars: ExemplarFilter) -> Recorder {
    let resource = Resource::of_service(Some("api"), &OtelSettings::default(), &Host::default());
    Meters::new(exemplars).recorder(&Arc::new(resource), &Peer { address: "redis".to_owned(), port: Some(6379) })
}

/// An operation that took 3 ms, sampled or not.
fn record(operation: Operation, flags: TraceFlags) -> SpanRecord {
    let (trace_id, span_id) = (TraceId::from_u128(7).unwrap(), SpanId::from_u64(9).unwrap());
    let context = SpanContext { trace_id, span_id, flags };
    SpanRecord { end: UnixNanos(5_000_000), ..SpanRecord::new(context, UnixNanos(2_000_000), operation) }
}

fn publish(channel: Destination, receivers: Option<u64>) -> Operation {
    Operation::Publish { channel, sharded: false, receivers, body_size: 1 }
}

fn delivery(channel: &str) -> Operation {
    Operation::Deliver { channel: channel.into(), pattern: None, sharded: false, body_size: 1 }
}

fn request(status: u16) -> Operation {
    Operation::Request(Box::new(Request {
        method: Method::Get,
        original_method: None,
        route: Some("/orders/{id}".into()),
        is_secure: false,
        path: Some("/orders/7".into()),
        query: None,
        host: Some("host".into()),
        port: None,
        user_agent: None,
        version: Version::Http11,
        status: Some(status),
        request_size: 0,
        response_size: 0,
    }))
}

/// The attributes of each series of a metric as `name=value`, with the number of operations and of durations.
fn told(recorder: &Recorder, metric: &Metric) -> Vec<(String, u64, u64)> {
    let series = recorder.meter.series_of(metric);
    let told = series.iter().map(|series| {
        let attributes: Vec<_> =
            metric.attributes(series).map(|(name, value)| format!("{name}={}", value.to_text())).collect();
        let reading = series.read();
        (attributes.join(" "), reading.count, reading.timed())
    });
    told.collect()
}

#[test]
fn operations_have_the_attributes_that_the_conventions_ask_for() {
    let recorder = recorder(ExemplarFilter::default());
    let user = Destination::new("user:12345678", Some("user:{id}".into()), true);
    let get = Operation::Command { name: "GET".into(), summary: None, database: 2, batch_size: None };
    let item = Operation::Item {
        queue: Some("jobs:*".into()),
        group: Some(Arc::new(ConsumerGroup { name: "workers".into(), consumer: Some("me".into()) })),
        id: None,
        body_size: 0,
    };
    let added = Sent { queue: Some("jobs:*".into()), count: 3, body_size: 30, ..Sent::default() };
    let failed = |operation, error| SpanRecord {
        error: Some(ErrorType::named(error)),
        ..record(operation, TraceFlags::SAMPLED)
    };
    let records = [
        record(publish("reports".into(), Some(2)), TraceFlags::SAMPLED),
        failed(publish(user, None), "NOPERM"),
        record(item, TraceFlags::SAMPLED),
        record(Operation::Send(Box::new(added)), TraceFlags::SAMPLED),
        failed(get.clone(), "WRONGTYPE"),
        failed(get, ErrorType::CONNECTION_CLOSED),
        failed(request(500), "500"),
    ];
    recorder.measure(records.iter());
    let server = "server.address=redis server.port=6379";
    let sent = "messaging.system=redis messaging.operation.name=publish";
    let by_channel =
        ["messaging.destination.name=reports", "messaging.destination.template=user:{id} error.type=NOPERM"];
    let of_channels = by_channel.map(|channel| (format!("{sent} {channel} {server}"), 1, 1));
    assert_eq!(told(&recorder, SENT)[..2], of_channels);
    let operation = "messaging.system=redis messaging.operation.type=send messaging.operation.name=publish";
    let mut expected = by_channel.map(|channel| (format!("{operation} {channel} {server}"), 1, 1)).to_vec();
    let added = "messaging.operation.name=send messaging.destination.template=jobs:*";
    expected.push((format!("messaging.system=redis messaging.operation.type=send {added} {server}"), 3, 1));
    assert_eq!(told(&recorder, OPERATIONS), expected, "one command, and three items");
    let item = "messaging.system=redis messaging.operation.name=process messaging.destination.template=jobs:* \
                messaging.consumer.group.name=workers";
    for metric in [CONSUMED, PROCESSES] {
        assert_eq!(told(&recorder, metric), [(format!("{item} {server}"), 1, 1)]);
    }
    let command = "db.system.name=redis db.operation.name=GET db.namespace=2";
    assert_eq!(
        told(&recorder, DATABASE),
        [
            "db.response.status_code=WRONGTYPE error.type=WRONGTYPE server.address=redis",
            "error.type=connection_closed server.address=redis",
        ]
        .map(|rest| (format!("{command} {rest}"), 1, 1)),
        "the port is the usual one, and only Redis's own errors have a code"
    );
    let asked = "http.request.method=GET url.scheme=http http.route=/orders/{id} http.response.status_code=500 \
                 network.protocol.version=1.1 error.type=500";
    assert_eq!(
        told(&recorder, HTTP),
        [(asked.to_owned(), 1, 1)],
        "the service is the server, and not what is behind it"
    );
}

#[test]
fn messages_are_counted_and_timed_whatever_is_sampled() {
    let recorder = recorder(ExemplarFilter::default());
    let untraced = |operation| SpanRecord {
        handling: Handling { untraced: true, ..Handling::default() },
        ..record(operation, TraceFlags::default())
    };
    let records = [
        record(publish("a".into(), Some(1)), TraceFlags::SAMPLED),
        untraced(publish("a".into(), Some(1))),
        record(publish("a".into(), None), TraceFlags::SAMPLED),
        record(delivery("a"), TraceFlags::SAMPLED),
        record(delivery("a"), TraceFlags::default()),
        untraced(delivery("a")),
    ];
    recorder.measure(records.iter());
    let counts = |metric| told(&recorder, metric).iter().map(|(_, all, timed)| (*all, *timed)).collect::<Vec<_>>();
    assert_eq!(counts(SENT), [(3, 2)], "one has no reply");
    assert_eq!(counts(CONSUMED), [(3, 3)]);
}

#[test]
fn a_bucket_has_the_last_exemplar_that_the_filter_lets_through() {
    for (filter, of_sampled, of_others) in [
        (ExemplarFilter::TraceBased, true, false),
        (ExemplarFilter::AlwaysOn, true, true),
        (ExemplarFilter::AlwaysOff, false, false),
    ] {
        for (flags, expected) in [(TraceFlags::SAMPLED, of_sampled), (TraceFlags::default(), of_others)] {
            let recorder = recorder(filter);
            let mut record = record(publish("a".into(), Some(1)), flags);
            recorder.measure([&record].into_iter());
            record.handling.untraced = true;
            record.context.flags = TraceFlags::default();
            recorder.measure([&record].into_iter());
            let [series] = &recorder.meter.series_of(OPERATIONS)[..] else { panic!("one series") };
            let reading = series.read();
            let found: Vec<_> = reading.buckets.iter().filter_map(|(_, exemplar)| *exemplar).collect();
            let context = record.context;
            let exemplar = Exemplar {
                trace_id: context.trace_id,
                span_id: context.span_id,
                value: 3_000_000,
                time: UnixNanos(5_000_000),
            };
            assert_eq!(found, if expected { vec![exemplar] } else { vec![] }, "{filter} {flags:?}");
            // Between 2.5 and 5 ms.
            assert_eq!(reading.buckets[6], (2, expected.then_some(exemplar)), "an untraced one takes no place");
            assert_eq!((reading.sum, series.bounds()[6]), (6_000_000, 5_000_000));
        }
    }
}

#[test]
fn what_is_handed_over_together_is_measured_like_what_comes_alone() {
    let (reports, orders) = (Destination::from("reports"), Destination::from("orders"));
    // 3 ms, and what the end says.
    let took =
        |end| SpanRecord { end: UnixNanos(end), ..record(publish(reports.clone(), Some(1)), TraceFlags::SAMPLED) };
    let failed = SpanRecord { error: Some(ErrorType::named("NOPERM")), ..took(5_000_000) };
    let records = [
        took(5_000_000),
        took(5_000_001),
        took(22_000_000),
        record(publish(reports.clone(), None), TraceFlags::SAMPLED),
        took(5_000_000),
        failed,
        record(publish(orders, Some(1)), TraceFlags::SAMPLED),
        took(5_000_000),
    ];
    let (together, alone) = (recorder(ExemplarFilter::default()), recorder(ExemplarFilter::default()));
    together.measure(records.iter());
    records.iter().for_each(|record| alone.measure(std::iter::once(record)));
    let read = |recorder: &Recorder| -> Vec<_> {
        recorder.meter.series_of(OPERATIONS).iter().map(|series| series.read()).collect()
    };
    assert_eq!(read(&together), read(&alone));
    let [reports, failed, orders] = &read(&together)[..] else { panic!("three series") };
    assert_eq!((reports.count, reports.timed(), reports.sum), (6, 5, 3 * 3_000_000 + 3_000_001 + 20_000_000));
    assert_eq!((failed.count, orders.count), (1, 1));
}

#[test]
fn more_series_than_there_is_room_for_share_one() {
    let recorder = recorder(ExemplarFilter::default());
    let channel = |index: usize| record(publish(format!("c{index}").as_str().into(), Some(1)), TraceFlags::SAMPLED);
    let records: Vec<_> = (0..MAX_SERIES + 10).chain(0..MAX_SERIES + 10).map(channel).collect();
    recorder.measure(records.iter());
    let told = told(&recorder, OPERATIONS);
    assert_eq!(told.len(), MAX_SERIES + 1);
    assert!(told[..MAX_SERIES].iter().all(|(_, count, _)| *count == 2), "those that are known go on: {told:?}");
    assert_eq!(told[MAX_SERIES], ("otel.metric.overflow=true".to_owned(), 20, 20));
}

#[test]
fn the_bounds_hold_those_of_the_conventions() {
    let seconds = |bounds: &[u64]| bounds.iter().map(|bound| *bound as f64 / 1e9).collect::<Vec<_>>();
    let advised = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
    assert_eq!(seconds(&HTTP_BOUNDS), advised);
    for (bounds, advised) in [
        (seconds(&MESSAGING_BOUNDS), &advised[..]),
        (seconds(&DATABASE_BOUNDS), &[0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0]),
    ] {
        assert!(bounds.is_sorted_by(|a, b| a < b) && bounds.ends_with(advised), "{bounds:?}");
    }
}

#[test]
fn endpoints_of_a_service_share_its_series_where_they_lead_to_the_same_redis() {
    let meters = Meters::new(ExemplarFilter::default());
    let resource = Arc::<Resource>::default();
    let peer = |port| Peer { address: "redis".to_owned(), port: Some(port) };
    let records =
        [record(publish("a".into(), Some(1)), TraceFlags::SAMPLED), record(request(200), TraceFlags::SAMPLED)];
    for port in [1, 2, 1] {
        meters.recorder(&resource, &peer(port)).measure(records.iter());
    }
    let [meter] = &meters.all()[..] else { panic!("one service") };
    let counts = |metric| meter.series_of(metric).iter().map(|series| series.read().count).collect::<Vec<_>>();
    assert_eq!((counts(SENT), counts(HTTP)), (vec![2, 1], vec![3]));
}
