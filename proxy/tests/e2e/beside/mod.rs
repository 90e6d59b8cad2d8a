//! Contexts beside messages: proxies tell each other what they do not add to a payload.

mod load;
mod order;
mod scripts;
mod untold;

use std::time::{Duration, Instant};

use otlp_receiver::ReceivedSpan;

use crate::e2e::deployment::{Deployment, Sidecar, proxies_listen};
use crate::e2e::spans::{Span, Spans};
use crate::support::wire::Wire;
use crate::support::{DEADLINE, servers};

const BESIDE: [&str; 4] = ["--mode", "inject", "--carrier", "*=beside"];

/// Waits until proxies listen for so many subscriptions.
async fn listening(direct: &mut Wire, subscriptions: usize) {
    proxies_listen(direct, "message", subscriptions).await;
}

/// Waits until so many spans of the worker have a parent.
async fn joined(deployment: &Deployment, count: usize) {
    let is_joined = |span: &ReceivedSpan| span.service_name() == "worker" && !span.parent_span_id().is_empty();
    deployment.collector_has_such(count, is_joined).await;
}

/// A payload with a UUID, of a length that tells its spans.
fn payload(number: usize) -> String {
    format!(r#"{{"id":"550e8400-e29b-41d4-a716-{number:012x}","pad":"{}"}}"#, "x".repeat(number))
}

fn of_message<'a>(spans: &'a Spans, service: &'a str, payload: &'a str) -> Vec<&'a Span> {
    spans.of(service).filter(|span| span.body_size() == Some(payload.len() as i64)).collect()
}

#[track_caller]
fn assert_below(spans: &Spans, payload: &str, service: &str, times: usize) {
    let (published, delivered) = (of_message(spans, "api", payload), of_message(spans, service, payload));
    let [published] = published[..] else { panic!("{published:?}") };
    assert_eq!(delivered.len(), times, "{delivered:?}");
    for span in delivered {
        assert_eq!((&span.trace_id, &span.parent), (&published.trace_id, &published.span_id), "{service}");
    }
}

async fn started(deployment: &Deployment, settings: &[&str]) -> [Sidecar; 2] {
    ["api", "worker"].map(|service| deployment.sidecar(service, settings))
}

#[tokio::test]
async fn each_kind_of_subscription_has_its_span_below_the_publish_and_no_byte_is_added() {
    for server in servers::all() {
        let deployment = Deployment::on(server).await;
        let mut direct = deployment.direct().await;
        let [api, worker] = started(&deployment, &BESIDE).await;
        let (mut publisher, mut legacy) = (api.connect().await, deployment.direct().await);
        let (mut both, mut other) = (worker.connect().await, worker.connect().await);
        both.subscribe("SUBSCRIBE orders.new").await;
        both.subscribe("PSUBSCRIBE orders.*").await;
        other.subscribe("PSUBSCRIBE *.new").await;
        legacy.subscribe("SUBSCRIBE orders.new").await;
        listening(&mut direct, 3).await;
        let payload = payload(3);
        assert_eq!(publisher.publish("orders.new", payload.as_bytes()).await, 4);
        for subscriber in [&mut both, &mut other, &mut legacy] {
            assert_eq!(subscriber.message().await.payload, payload.as_bytes(), "on {}", server.name);
        }
        assert_eq!(both.message().await.payload, payload.as_bytes());
        joined(&deployment, 3).await;
        drop((publisher, both, other));
        let spans = deployment.spans([api, worker]).await;
        assert_below(&spans, &payload, "worker", 3);
        assert_eq!(spans.only("api").text("redistributed.context.skipped"), Some("beside"));
    }
}

#[tokio::test]
async fn mode_auto_goes_beside_the_message_while_somebody_has_no_proxy() {
    let deployment = Deployment::start().await;
    let mut direct = deployment.direct().await;
    let [api, worker] = started(&deployment, &["--mode", "auto", "--auto-interval", "50ms"]).await;
    let (mut publisher, mut legacy, mut receiver) =
        (api.connect().await, deployment.direct().await, worker.connect().await);
    receiver.subscribe("SUBSCRIBE orders").await;
    legacy.subscribe("SUBSCRIBE orders").await;
    listening(&mut direct, 1).await;
    let (began, mut published) = (Instant::now(), Vec::new());
    // Until a snapshot has shown that nobody else would see what proxies tell each other, nothing is told.
    loop {
        let payload = payload(published.len());
        publisher.publish("orders", payload.as_bytes()).await;
        assert_eq!(receiver.message().await.payload, payload.as_bytes());
        assert_eq!(legacy.message().await.payload, payload.as_bytes(), "nobody adds anything");
        published.push(payload);
        let is_joined = |span: &ReceivedSpan| span.service_name() == "worker" && !span.parent_span_id().is_empty();
        if deployment.has_received(|spans| spans.iter().any(is_joined)) {
            break;
        }
        assert!(began.elapsed() < DEADLINE, "after {} messages nothing was joined", published.len());
    }
    drop((publisher, receiver));
    let spans = deployment.spans([api, worker]).await;
    // On a machine that is busy enough, a context comes so late that it is not awaited any more.
    for late in spans.of("worker").filter(|span| span.is_root()) {
        let traces: Vec<_> = late.links.iter().map(|(trace, _)| trace).collect();
        assert_eq!(traces, [&late.trace_id], "it is in the trace that follows from its bytes");
    }
    let is_joined = |payload: &&String| of_message(&spans, "worker", payload).iter().any(|span| !span.is_root());
    let joined: Vec<_> = published.iter().filter(is_joined).collect();
    assert!(!joined.is_empty());
    joined.iter().for_each(|payload| assert_below(&spans, payload, "worker", 1));
    let reasons: Vec<_> = spans.of("api").filter_map(|span| span.text("redistributed.context.skipped")).collect();
    assert!(reasons.contains(&"auto_unproxied"), "{reasons:?}");
}

#[tokio::test]
async fn who_has_subscribed_to_everything_gets_only_what_was_published() {
    let deployment = Deployment::start().await;
    // What a snapshot has shown counts for two intervals, so this one is there before the first snapshot.
    let (mut legacy, mut everything) = (deployment.direct().await, deployment.direct().await);
    everything.subscribe("PSUBSCRIBE *").await;
    legacy.subscribe("SUBSCRIBE orders").await;
    let [api, worker] = started(&deployment, &["--mode", "auto", "--auto-interval", "50ms"]).await;
    let (mut publisher, mut receiver) = (api.connect().await, worker.connect().await);
    receiver.subscribe("SUBSCRIBE orders").await;
    for number in 0..200 {
        let payload = payload(number);
        publisher.publish("orders", payload.as_bytes()).await;
        assert_eq!(receiver.message().await.payload, payload.as_bytes());
        let seen = loop {
            let message = everything.message().await;
            // Proxies tell each other who subscribes; that is not about messages.
            if !["__redistributed:1:", "__redistributed:news:"].iter().any(|own| message.channel.starts_with(own)) {
                break message;
            }
        };
        assert_eq!((seen.channel.as_str(), &seen.payload[..]), ("orders", payload.as_bytes()));
    }
    drop((publisher, receiver));
    let spans = deployment.spans([api, worker]).await;
    assert_eq!(spans.of("worker").count(), 0, "nothing was told, so that no delivery has a span");
}

#[tokio::test]
async fn the_same_bytes_from_several_publishers_are_nobodys() {
    let deployment = Deployment::start().await;
    let mut direct = deployment.direct().await;
    let [api, worker] = started(&deployment, &[&BESIDE[..], &["--follow-window", "1s"]].concat()).await;
    let (mut publisher, mut legacy, mut receiver) =
        (api.connect().await, deployment.direct().await, worker.connect().await);
    receiver.subscribe("SUBSCRIBE ticks").await;
    listening(&mut direct, 1).await;
    for _ in 0..50 {
        tokio::join!(publisher.publish("ticks", b"tick"), legacy.publish("ticks", b"tick"));
    }
    for _ in 0..100 {
        assert_eq!(receiver.message().await.payload, b"tick");
    }
    // What is unique among them is joined all the same.
    let unique = payload(1);
    publisher.publish("ticks", unique.as_bytes()).await;
    assert_eq!(receiver.message().await.payload, unique.as_bytes());
    joined(&deployment, 1).await;
    drop((publisher, receiver));
    let spans = deployment.spans([api, worker]).await;
    assert_below(&spans, &unique, "worker", 1);
    // In this mode each delivery has a span.
    let of_ticks: Vec<_> = spans.of("worker").filter(|span| span.body_size() == Some(4)).collect();
    assert_eq!(of_ticks.len(), 100);
    assert!(of_ticks.iter().all(|span| span.is_root() && span.links.is_empty()), "nobody can tell whose it is");
}

/// What is caused by a message in the same way.
fn answer(payload: &str) -> String {
    format!("{payload}{}", "-".repeat(5_000))
}

#[tokio::test]
async fn what_a_message_causes_goes_on_in_its_trace_beside_further_messages() {
    let deployment = Deployment::start().await;
    let mut direct = deployment.direct().await;
    let [api, worker] = started(&deployment, &[&BESIDE[..], &["--follow-window", "1s"]].concat()).await;
    let (mut publisher, mut receiver) = (api.connect().await, worker.connect().await);
    let (mut answers, mut results) = (worker.connect().await, api.connect().await);
    receiver.subscribe("SUBSCRIBE orders").await;
    results.subscribe("SUBSCRIBE orders.done").await;
    listening(&mut direct, 2).await;
    let (began, mut published) = (Instant::now(), Vec::new());
    // In its first five seconds a proxy cannot know what its service had received before.
    loop {
        let payload = payload(published.len());
        publisher.publish("orders", payload.as_bytes()).await;
        assert_eq!(receiver.message().await.payload, payload.as_bytes());
        let answer = answer(&payload);
        answers.publish("orders.done", answer.as_bytes()).await;
        assert_eq!(results.message().await.payload, answer.as_bytes());
        published.push([payload, answer]);
        let is_whole = deployment.has_received(|spans| {
            let is_caused =
                |span: &&ReceivedSpan| span.service_name() == "worker" && span.span.name.contains("publish");
            spans.iter().filter(is_caused).any(|span| !span.parent_span_id().is_empty())
        });
        if is_whole {
            break;
        }
        assert!(began.elapsed() < DEADLINE, "no answer has a known cause after {} messages", published.len());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // All are there: publishes, and deliveries when they wait no longer.
    for service in ["api", "worker"] {
        deployment.collector_has_such(2 * published.len(), |span| span.service_name() == service).await;
    }
    drop((publisher, receiver, answers, results));
    let spans = deployment.spans([api, worker]).await;
    let mut whole = 0;
    for [payload, answer] in &published {
        let find = |service: &str, payload: &str| match of_message(&spans, service, payload)[..] {
            [span] => Some(span.clone()),
            _ => None,
        };
        let all = [("api", payload), ("worker", payload), ("worker", answer), ("api", answer)];
        let [Some(asked), Some(taken), Some(answered), Some(received)] =
            all.map(|(service, payload)| find(service, payload))
        else {
            panic!("spans of {payload} are missing")
        };
        let below = |child: &Span, parent: &Span| child.trace_id == parent.trace_id && child.parent == parent.span_id;
        assert!(taken.is_root() || below(&taken, &asked), "{taken:?} {asked:?}");
        assert!(received.is_root() || below(&received, &answered), "{received:?} {answered:?}");
        whole += usize::from(below(&taken, &asked) && below(&answered, &taken) && below(&received, &answered));
    }
    assert!(whole > 0, "of {} messages", published.len());
}
