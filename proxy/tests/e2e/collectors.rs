//! A collector that refuses, hangs or is slow costs spans, which are counted, and nothing else.

use std::time::{Duration, Instant};

use otlp_receiver::{Behaviour, Refusal};

use crate::e2e::deployment::{BOTH_TRANSPORTS, Deployment, End, Transport};
use crate::support::DEADLINE;

const MESSAGES: usize = 300;

/// Sends messages through a sidecar whose collector has this behaviour, and which takes so long at most to send the last spans.
/// Returns the last lines of the sidecar's log.
async fn messages_flow(
    behaviour: Behaviour,
    transport: Transport,
    flush: &str,
    variables: &[(&str, &str)],
) -> (Deployment, End) {
    let deployment = Deployment::start().await;
    deployment.collector_behaves(behaviour);
    let own = [("OTEL_BSP_SCHEDULE_DELAY", "5"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "50")];
    let variables = [&own[..], variables].concat();
    let service = deployment.sidecar_with("service", &["--flush-timeout", flush], transport, &variables);
    let mut subscriber = service.connect().await;
    subscriber.subscribe("SUBSCRIBE orders").await;
    let mut publisher = service.connect().await;
    publisher.publish("orders", b"first").await;
    assert_eq!(subscriber.message().await.payload, b"first");
    // From here on, the collector is certain to have this behaviour.
    deployment.collector_was_asked().await;
    let began = Instant::now();
    for number in 1..MESSAGES {
        let payload = number.to_string();
        assert_eq!(publisher.publish("orders", payload.as_bytes()).await, 1);
        assert_eq!(subscriber.message().await.payload, payload.as_bytes());
    }
    assert!(began.elapsed() < DEADLINE, "{MESSAGES} messages took {:?}", began.elapsed());
    drop((subscriber, publisher));
    let end = service.stop().await;
    assert_eq!(end.cut_off, 0);
    assert_eq!(end.sent + end.failed + end.dropped + end.unsent, 2 * MESSAGES as u64, "every span is counted once");
    (deployment, end)
}

/// How long the last spans may take, where they are sent: on a machine that is busy, too.
const PATIENT: &str = "20s";

/// The same where they are not.
const IMPATIENT: &str = "300ms";

#[tokio::test]
async fn a_collector_that_refuses_for_good_costs_all_spans() {
    for transport in BOTH_TRANSPORTS {
        let (_world, end) = messages_flow(Behaviour::Refuse(Refusal::INVALID), transport, PATIENT, &[]).await;
        assert_eq!((end.sent, end.failed), (0, 2 * MESSAGES as u64), "{}", end.log);
        let warnings = end.log.lines().filter(|line| line.contains(" WARN ")).count();
        assert_eq!(warnings, 1, "one line, however often it happens:\n{}", end.log);
    }
}

#[tokio::test]
async fn a_collector_that_asks_to_come_again_later_costs_all_spans() {
    for transport in BOTH_TRANSPORTS {
        let (_world, end) = messages_flow(Behaviour::Refuse(Refusal::UNAVAILABLE), transport, IMPATIENT, &[]).await;
        assert_eq!(end.sent, 0, "{}", end.log);
        assert!(end.failed + end.dropped + end.unsent == 2 * MESSAGES as u64, "{end:?}");
    }
}

#[tokio::test]
async fn a_collector_that_never_answers_costs_all_spans_and_no_time_beyond_the_flush() {
    for transport in BOTH_TRANSPORTS {
        let queue = [("OTEL_BSP_MAX_QUEUE_SIZE", "100")];
        let (_world, end) = messages_flow(Behaviour::Hang, transport, IMPATIENT, &queue).await;
        assert_eq!(end.sent, 0, "{}", end.log);
        assert!(end.dropped > 0, "the queue was full: {end:?}");
        assert!(end.took < DEADLINE / 2, "it stopped in {:?}", end.took);
    }
}

#[tokio::test]
async fn a_collector_that_is_not_there_costs_all_spans() {
    let nobody = format!("http://{}", crate::support::fake_redis::unused_address().await);
    for protocol in ["http/protobuf", "grpc"] {
        let deployment = Deployment::start().await;
        let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", nobody.as_str()), ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)];
        let service = deployment.sidecar_with("service", &["--flush-timeout", "300ms"], Transport::Http, &variables);
        let mut subscriber = service.connect().await;
        subscriber.subscribe("SUBSCRIBE orders").await;
        let mut publisher = service.connect().await;
        for _ in 0..100 {
            publisher.publish("orders", b"text").await;
            assert_eq!(subscriber.message().await.payload, b"text");
        }
        drop((subscriber, publisher));
        let end = service.stop().await;
        assert_eq!((end.sent, end.failed + end.dropped + end.unsent), (0, 200), "{end:?}");
    }
}

#[tokio::test]
async fn a_collector_that_takes_twenty_milliseconds_costs_nothing() {
    for transport in BOTH_TRANSPORTS {
        let delay = Behaviour::Delay(Duration::from_millis(20));
        let (_world, end) = messages_flow(delay, transport, PATIENT, &[]).await;
        assert_eq!(end.sent, 2 * MESSAGES as u64, "{end:?}");
    }
}

#[tokio::test]
async fn a_collector_that_takes_only_some_spans_is_believed() {
    for transport in BOTH_TRANSPORTS {
        let (_world, end) = messages_flow(Behaviour::PartialSuccess(1), transport, PATIENT, &[]).await;
        assert!(end.failed > 0 && end.sent > end.failed, "{end:?}");
        assert_eq!(end.dropped + end.unsent, 0);
    }
}
