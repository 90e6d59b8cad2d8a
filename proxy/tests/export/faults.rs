//! Collectors that refuse, hang, are slow or are not there: the counts tell the truth, and nobody waits.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use otlp_receiver::{Behaviour, Receiver, Refusal, Transport};
use redistributed::telemetry::{Connection, ExportSummary};
use tokio::io::AsyncReadExt;

use crate::export::setup::{Exporter, LONG, publish, redis, settings, start, variables};

const TRANSPORTS: [Transport; 2] = [Transport::Http, Transport::Grpc];

fn offer(telemetry: &Exporter, count: u64) {
    let sink = telemetry.sink();
    (1..=count).for_each(|span| sink.offer(&publish(span)));
}

fn sum(summary: ExportSummary) -> u64 {
    summary.sent + summary.failed + summary.dropped
}

#[tokio::test]
async fn a_collector_that_refuses_for_good_is_asked_once_and_every_span_counts_as_failed() {
    for transport in TRANSPORTS {
        let receiver = Receiver::start().await.unwrap();
        receiver.behave(Behaviour::Refuse(Refusal::INVALID));
        let telemetry = start(&receiver, transport, &[("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "10")]);
        offer(&telemetry, 25);
        let summary = telemetry.shutdown(LONG).await;
        assert_eq!(summary, ExportSummary { failed: 25, ..ExportSummary::default() }, "{transport:?}");
        assert!(receiver.spans().is_empty());
        let tried: usize = receiver.requests().iter().map(otlp_receiver::ReceivedRequest::span_count).sum();
        assert_eq!(tried, 25, "{transport:?}: a final answer is not questioned");
    }
}

#[tokio::test]
async fn a_collector_that_is_unavailable_for_a_while_loses_no_span() {
    for transport in TRANSPORTS {
        let receiver = Receiver::start().await.unwrap();
        // Away for 1.5 to 3 s, as a Collector is that restarts or that its memory limiter holds back.
        receiver.behave(Behaviour::RefuseTimes(4, Refusal::UNAVAILABLE));
        let telemetry = start(&receiver, transport, &[]);
        offer(&telemetry, 5);
        let summary = telemetry.shutdown(LONG).await;
        assert_eq!(summary, ExportSummary { sent: 5, ..ExportSummary::default() }, "{transport:?}");
        let accepted: Vec<bool> = receiver.requests().iter().map(|request| request.accepted).collect();
        assert_eq!(accepted, [false, false, false, false, true], "{transport:?}");
        assert_eq!(receiver.spans().len(), 5);
    }
}

#[tokio::test]
async fn a_collector_that_stays_unavailable_is_asked_until_the_timeout() {
    for transport in TRANSPORTS {
        let receiver = Receiver::start().await.unwrap();
        receiver.behave(Behaviour::Refuse(Refusal::UNAVAILABLE));
        let telemetry = start(&receiver, transport, &[("OTEL_EXPORTER_OTLP_TIMEOUT", "1000")]);
        offer(&telemetry, 5);
        let summary = telemetry.shutdown(LONG).await;
        assert_eq!(summary, ExportSummary { failed: 5, ..ExportSummary::default() }, "{transport:?}");
        // With the shortest delays it is asked at 0, 100, 300, 700 and 850 ms; with others, or on a slow machine, differently.
        let asked = receiver.requests().len();
        assert!((2..=6).contains(&asked), "{transport:?}: asked {asked} times within the timeout");
    }
}

#[tokio::test]
async fn after_a_refused_period_spans_arrive_again() {
    for transport in TRANSPORTS {
        let receiver = Receiver::start().await.unwrap();
        receiver.behave(Behaviour::Refuse(Refusal::INVALID));
        let telemetry = start(&receiver, transport, &[]);
        offer(&telemetry, 5);
        receiver
            .wait_for(LONG, |requests| requests.iter().map(|request| request.span_count()).sum::<usize>() == 5)
            .await
            .unwrap();
        receiver.behave(Behaviour::Accept);
        offer(&telemetry, 7);
        receiver.wait_for_spans(7, LONG).await.unwrap();
        let summary = telemetry.shutdown(LONG).await;
        assert_eq!(summary, ExportSummary { sent: 7, failed: 5, ..ExportSummary::default() }, "{transport:?}");
    }
}

#[tokio::test]
async fn a_collector_that_hangs_costs_its_spans_after_the_timeout() {
    for transport in TRANSPORTS {
        let receiver = Receiver::start().await.unwrap();
        receiver.behave(Behaviour::Hang);
        let telemetry = start(&receiver, transport, &[("OTEL_EXPORTER_OTLP_TIMEOUT", "200")]);
        offer(&telemetry, 5);
        let started = Instant::now();
        let summary = telemetry.shutdown(LONG).await;
        assert_eq!(summary, ExportSummary { failed: 5, ..ExportSummary::default() }, "{transport:?}");
        assert!(started.elapsed() < LONG / 2, "{transport:?}: {:?}", started.elapsed());
    }
}

#[tokio::test]
async fn shutdown_keeps_its_deadline_and_counts_what_is_unsent_as_dropped() {
    for transport in TRANSPORTS {
        let receiver = Receiver::start().await.unwrap();
        receiver.behave(Behaviour::Hang);
        let telemetry = start(&receiver, transport, &[("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "10")]);
        offer(&telemetry, 100);
        receiver.wait_for(LONG, |requests| requests.len() >= 4).await.unwrap();
        let deadline = Duration::from_millis(100);
        let started = Instant::now();
        let summary = telemetry.shutdown(deadline).await;
        assert!(started.elapsed() >= deadline, "there was time for an answer");
        assert!(started.elapsed() < deadline + LONG / 4, "{transport:?}: {:?}", started.elapsed());
        assert_eq!(summary, ExportSummary { dropped: 100, ..ExportSummary::default() }, "{transport:?}");
    }
}

#[tokio::test]
async fn a_slow_collector_gets_everything_because_several_requests_are_on_their_way() {
    for transport in TRANSPORTS {
        let receiver = Receiver::start().await.unwrap();
        receiver.behave(Behaviour::Delay(Duration::from_millis(20)));
        let telemetry = start(&receiver, transport, &[("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "100")]);
        offer(&telemetry, 5_000);
        let summary = telemetry.shutdown(LONG).await;
        assert_eq!(summary, ExportSummary { sent: 5_000, ..ExportSummary::default() }, "{transport:?}");
        assert_eq!(receiver.spans().len(), 5_000);
        assert!((2..=4).contains(&receiver.peak_in_flight()), "{transport:?}: {}", receiver.peak_in_flight());
    }
}

#[tokio::test]
async fn a_quiet_route_is_not_starved_by_a_busy_one_that_the_collector_cannot_keep_up_with() {
    let receiver = Receiver::start().await.unwrap();
    receiver.behave(Behaviour::Delay(Duration::from_millis(10)));
    let settings = settings(&variables(&receiver, Transport::Http), &[("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2")]);
    let telemetry = Exporter::start(settings);
    let [busy, quiet] = ["busy", "quiet"].map(|service| telemetry.sink_of(Some(service), &redis()));
    // Full requests wait from now on without end, and one that is not full.
    let keep_busy = || {
        while telemetry.summary().queued < 40 {
            busy.offer_all([publish(1), publish(2)].iter(), &Connection::default());
        }
    };
    keep_busy();
    quiet.offer(&publish(7));
    let arrived = async {
        while !receiver.spans().iter().any(|span| span.service_name() == "quiet") {
            keep_busy();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(LONG, arrived).await.unwrap();
    telemetry.shutdown(Duration::ZERO).await;
}

#[tokio::test]
async fn a_collector_that_asks_for_more_rest_than_there_is_time_is_not_asked_at_once_again() {
    for transport in TRANSPORTS {
        let receiver = Receiver::start().await.unwrap();
        receiver
            .behave(Behaviour::Refuse(Refusal { retry_after: Some(Duration::from_secs(30)), ..Refusal::UNAVAILABLE }));
        let more = [("OTEL_EXPORTER_OTLP_TIMEOUT", "1000"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")];
        let telemetry = start(&receiver, transport, &more);
        offer(&telemetry, 40);
        receiver.wait_for(LONG, |requests| requests.len() >= 4).await.unwrap();
        let started = Instant::now();
        receiver.wait_for(LONG, |requests| requests.len() > 4).await.unwrap();
        assert!(started.elapsed() > Duration::from_millis(500), "{transport:?}: {:?}", started.elapsed());
        telemetry.shutdown(Duration::ZERO).await;
    }
}

#[tokio::test]
async fn offering_never_waits_for_a_collector_that_hangs() {
    const OFFERED: u64 = 50_000;
    let receiver = Receiver::start().await.unwrap();
    receiver.behave(Behaviour::Hang);
    let more = [("OTEL_BSP_MAX_QUEUE_SIZE", "1000"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "10")];
    let telemetry = start(&receiver, Transport::Http, &more);
    // The collector never answers, so if one call waited for it this would not come back.
    offer(&telemetry, OFFERED);
    // Four requests hang, so nothing moves any more while the counts are read.
    receiver.wait_for(LONG, |requests| requests.len() == 4).await.unwrap();
    let summary = telemetry.summary();
    assert!(summary.dropped > OFFERED - 2_000, "{summary}");
    assert!(summary.queued <= 1_000 + 4 * 10, "{summary}");
    assert_eq!(sum(summary) + summary.queued, OFFERED, "{summary}");
    let summary = telemetry.shutdown(Duration::ZERO).await;
    assert_eq!(summary, ExportSummary { dropped: OFFERED, ..ExportSummary::default() });
}

#[tokio::test]
async fn the_counts_add_up_while_the_collector_comes_and_goes() {
    const EACH: u64 = 2_000;
    let receiver = Receiver::start().await.unwrap();
    let more = [("OTEL_BSP_MAX_QUEUE_SIZE", "500"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "50")];
    let telemetry = start(&receiver, Transport::Http, &more);
    let behaviours = [
        Behaviour::Accept,
        Behaviour::Refuse(Refusal::INVALID),
        Behaviour::Delay(Duration::from_millis(5)),
        Behaviour::RefuseTimes(3, Refusal::UNAVAILABLE),
    ];
    for behaviour in behaviours {
        let before = receiver.requests().len();
        receiver.behave(behaviour);
        offer(&telemetry, EACH);
        receiver.wait_for(LONG, |requests| requests.len() > before).await.unwrap();
    }
    let summary = telemetry.shutdown(LONG).await;
    assert_eq!(sum(summary), 4 * EACH, "{summary}");
    assert_eq!(summary.queued, 0);
    assert_eq!(receiver.spans().len() as u64, summary.sent);
}

#[tokio::test]
async fn a_collector_that_is_not_there_is_no_error_at_the_start() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let endpoint = format!("http://127.0.0.1:{port}");
    for protocol in ["http/protobuf", "grpc"] {
        let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.clone())];
        let more = [("OTEL_EXPORTER_OTLP_PROTOCOL", protocol), ("OTEL_EXPORTER_OTLP_TIMEOUT", "200")];
        let telemetry = Exporter::start(settings(&variables, &more));
        offer(&telemetry, 3);
        let summary = telemetry.shutdown(LONG).await;
        assert_eq!(summary, ExportSummary { failed: 3, ..ExportSummary::default() }, "{protocol}");
    }
}

#[tokio::test]
async fn spans_that_the_collector_turned_down_count_as_failed() {
    for transport in TRANSPORTS {
        let receiver = Receiver::start().await.unwrap();
        receiver.behave(Behaviour::PartialSuccess(2));
        let telemetry = start(&receiver, transport, &[]);
        offer(&telemetry, 5);
        let summary = telemetry.shutdown(LONG).await;
        assert_eq!(summary, ExportSummary { sent: 3, failed: 2, ..ExportSummary::default() }, "{transport:?}");
        assert_eq!(receiver.requests().len(), 1, "{transport:?}: a partial success is not repeated");
    }
}

#[tokio::test]
async fn resource_exhausted_is_final_over_grpc_unless_the_collector_says_when_to_come_back() {
    let receiver = Receiver::start().await.unwrap();
    receiver.behave(Behaviour::Refuse(Refusal::EXHAUSTED));
    let telemetry = start(&receiver, Transport::Grpc, &[]);
    offer(&telemetry, 5);
    let summary = telemetry.shutdown(LONG).await;
    assert_eq!(summary, ExportSummary { failed: 5, ..ExportSummary::default() });
    assert_eq!(receiver.requests().len(), 1);
}

#[tokio::test]
async fn a_collector_that_says_when_to_come_back_is_not_asked_before() {
    // Longer than the delay that the exporter would choose by itself.
    let delay = Duration::from_secs(2);
    for transport in TRANSPORTS {
        let receiver = Receiver::start().await.unwrap();
        receiver.behave(Behaviour::RefuseTimes(1, Refusal::EXHAUSTED.retry_after(delay)));
        let telemetry = start(&receiver, transport, &[]);
        let started = Instant::now();
        offer(&telemetry, 5);
        let summary = telemetry.shutdown(LONG).await;
        assert_eq!(summary, ExportSummary { sent: 5, ..ExportSummary::default() }, "{transport:?}");
        assert!(started.elapsed() >= delay, "{transport:?}: {:?}", started.elapsed());
        assert_eq!(receiver.requests().len(), 2, "{transport:?}");
    }
}

#[tokio::test]
async fn a_time_to_come_back_that_is_too_late_is_not_tried_within_the_timeout() {
    for transport in TRANSPORTS {
        let receiver = Receiver::start().await.unwrap();
        receiver.behave(Behaviour::Refuse(Refusal::UNAVAILABLE.retry_after(Duration::from_secs(3600))));
        let telemetry = start(&receiver, transport, &[("OTEL_EXPORTER_OTLP_TIMEOUT", "500")]);
        offer(&telemetry, 5);
        let summary = telemetry.shutdown(LONG).await;
        assert_eq!(summary, ExportSummary { failed: 5, ..ExportSummary::default() }, "{transport:?}");
        assert_eq!(receiver.requests().len(), 1, "{transport:?}");
    }
}

#[tokio::test]
async fn a_connection_that_ends_without_an_answer_costs_no_span() {
    for transport in TRANSPORTS {
        let receiver = Receiver::start().await.unwrap();
        let to = match transport {
            Transport::Http => receiver.http_addr(),
            Transport::Grpc => receiver.grpc_addr(),
        };
        // The first connection ends at its first bytes; the next ones lead to the receiver.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let between = tokio::spawn(async move {
            let (mut first, _) = listener.accept().await.unwrap();
            first.read_exact(&mut [0; 1]).await.unwrap();
            drop(first);
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut onward = tokio::net::TcpStream::connect(to).await.unwrap();
                tokio::spawn(async move { tokio::io::copy_bidirectional(&mut stream, &mut onward).await });
            }
        });
        let telemetry = start(&receiver, transport, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]);
        offer(&telemetry, 5);
        let summary = telemetry.shutdown(LONG).await;
        between.abort();
        assert_eq!(summary, ExportSummary { sent: 5, ..ExportSummary::default() }, "{transport:?}");
        assert_eq!(receiver.spans().len(), 5, "{transport:?}");
    }
}

#[tokio::test]
async fn a_long_channel_name_does_not_make_a_request_too_large() {
    // Twice 20 kB a span: 500 of them in one request would be 20 MB, and the receiver takes 4 MiB by gRPC.
    let channel = redistributed_core::trace::Destination::from(&*"c".repeat(20_000));
    let receiver = Receiver::start().await.unwrap();
    let telemetry = start(&receiver, Transport::Grpc, &[]);
    let sink = telemetry.sink();
    for span in 1..=500 {
        let mut record = publish(span);
        record.operation = redistributed_core::trace::Operation::Publish {
            channel: channel.clone(),
            sharded: false,
            receivers: None,
            body_size: 0,
        };
        sink.offer(&record);
    }
    let summary = telemetry.shutdown(LONG).await;
    assert_eq!(summary, ExportSummary { sent: 500, ..ExportSummary::default() });
}
