//! The same bytes several times: which message is whose follows from their order, or is not said.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{BESIDE, listening};
use crate::e2e::deployment::{Deployment, Sidecar, Transport};
use crate::e2e::spans::{Span, Spans};
use crate::support::DEADLINE;
use crate::support::wire::{Value, Wire, request};

/// The number of messages of a burst.
const BURST: usize = 20;

const CHANNEL: &str = "ticks";

fn sidecar(deployment: &Deployment, service: &str) -> Sidecar {
    let settings = [&BESIDE[..], &["--follow-window", "1s"]].concat();
    deployment.sidecar_with(service, &settings, Transport::Http, &[("OTEL_BSP_MAX_QUEUE_SIZE", "100000")])
}

/// The payload of a burst, whose length tells its spans. Every second one holds an id.
fn payload(number: usize) -> String {
    let id = if number.is_multiple_of(2) { "550e8400-e29b-41d4-a716-446655440000" } else { "not-an-id" };
    format!("{id} {}", "x".repeat(100 * (number % 2) + number))
}

/// The spans of a burst, in order. What one read brings begins at the same time and is exported in its order.
fn of_burst<'a>(spans: &'a Spans, services: &[&str], payload: &str) -> Vec<&'a Span> {
    let is_it =
        |span: &&Span| services.contains(&span.service.as_str()) && span.body_size() == Some(payload.len() as i64);
    let mut spans: Vec<_> = spans.0.iter().filter(is_it).collect();
    spans.sort_by_key(|span| span.start);
    spans
}

/// Publishes the burst with this number, in the way that its number says.
async fn publish(publisher: &mut Wire, number: usize, receivers: i64) {
    let payload = payload(number);
    let one = request(&[b"PUBLISH", CHANNEL.as_bytes(), payload.as_bytes()]);
    match number % 6 / 2 {
        0 => {
            publisher.send(&one.repeat(BURST)).await;
            for _ in 0..BURST {
                assert_eq!(publisher.read().await, Value::Integer(receivers));
            }
        }
        1 => {
            for _ in 0..BURST {
                assert_eq!(publisher.publish(CHANNEL, payload.as_bytes()).await, receivers);
            }
        }
        _ => {
            publisher.send(&[request(&[b"MULTI"]), one.repeat(BURST), request(&[b"EXEC"])].concat()).await;
            for _ in 0..=BURST {
                publisher.read().await;
            }
            let Value::Array(replies) = publisher.read().await else { panic!("it was executed") };
            assert!(replies.len() == BURST && replies.iter().all(|reply| *reply == Value::Integer(receivers)));
        }
    }
}

#[tokio::test]
async fn bursts_of_the_same_bytes_are_joined_in_their_order() {
    let deployment = Deployment::start().await;
    let mut direct = deployment.direct().await;
    let [api, worker, other] = ["api", "worker", "other"].map(|service| sidecar(&deployment, service));
    let (mut publisher, mut receiver, mut by_pattern) =
        (api.connect().await, worker.connect().await, other.connect().await);
    receiver.subscribe(&format!("SUBSCRIBE {CHANNEL}")).await;
    by_pattern.subscribe("PSUBSCRIBE tick*").await;
    listening(&mut direct, 2).await;
    let (began, mut bursts) = (Instant::now(), 0);
    // On a machine that is busy enough, a burst takes so long that nothing is said of it.
    loop {
        for _ in 0..6 {
            publish(&mut publisher, bursts, 2).await;
            for receiver in [&mut receiver, &mut by_pattern] {
                for _ in 0..BURST {
                    assert_eq!(receiver.message().await.payload, payload(bursts).as_bytes());
                }
            }
            bursts += 1;
        }
        for service in ["worker", "other"] {
            deployment.collector_has_such(bursts * BURST, |span| span.service_name() == service).await;
        }
        let are_joined = deployment.has_received(|spans| {
            let all = 6 * BURST * 2;
            spans.iter().filter(|span| span.service_name() != "api" && !span.parent_span_id().is_empty()).count() >= all
        });
        if are_joined {
            break;
        }
        assert!(began.elapsed() < DEADLINE, "of {bursts} bursts too few were joined");
    }
    drop((publisher, receiver, by_pattern));
    let spans = deployment.spans([api, worker, other]).await;
    let mut joined = [0; 6];
    for number in 0..bursts {
        let published = of_burst(&spans, &["api"], &payload(number));
        assert_eq!(published.len(), BURST);
        for service in ["worker", "other"] {
            let delivered = of_burst(&spans, &[service], &payload(number));
            assert_eq!(delivered.len(), BURST);
            let children: Vec<_> = published.iter().zip(&delivered).filter(|(_, span)| !span.is_root()).collect();
            for (nth, (published, delivered)) in children.iter().enumerate() {
                let expected = (&published.trace_id, &published.span_id);
                assert_eq!((&delivered.trace_id, &delivered.parent), expected, "{nth} of burst {number} of {service}");
            }
            joined[number % 6] += children.len();
        }
    }
    assert!(joined[0] + joined[1] > 0 && joined[4] + joined[5] > 0, "pipelines, and transactions: {joined:?}");
    println!("of {bursts} bursts of {BURST}, these were joined to two subscriptions, by their kind: {joined:?}");
}

/// Who publishes next, and how long after it has come: numbers that are the same in each run.
struct Chance(u32);

impl Chance {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) % limit
    }
}

#[tokio::test]
async fn the_same_bytes_of_several_publishers_one_after_the_other_are_never_joined_wrongly() {
    const ROUNDS: usize = 60;
    let deployment = Deployment::start().await;
    let mut direct = deployment.direct().await;
    let [api, second, worker] = ["api", "second", "worker"].map(|service| sidecar(&deployment, service));
    let mut publishers = [api.connect().await, api.connect().await, second.connect().await, deployment.direct().await];
    let legacy = publishers.len() - 1;
    let mut receiver = worker.connect().await;
    receiver.subscribe(&format!("SUBSCRIBE {CHANNEL}")).await;
    listening(&mut direct, 1).await;
    let (mut chance, mut truth) = (Chance(7), Vec::new());
    for number in 0..ROUNDS {
        // One publisher, one and somebody without a proxy, or any of them.
        let choices = [vec![0], vec![0, legacy], vec![0, 1, 2, legacy]][number % 3].clone();
        let by: Vec<_> =
            (0..2 + chance.below(5)).map(|_| choices[chance.below(choices.len() as u32) as usize]).collect();
        for publisher in &by {
            assert_eq!(publishers[*publisher].publish(CHANNEL, payload(number).as_bytes()).await, 1);
            assert_eq!(receiver.message().await.payload, payload(number).as_bytes());
            // What is published later may fall into the same moment or not.
            tokio::time::sleep(Duration::from_millis([0, 0, 1, 8, 30, 60][chance.below(6) as usize])).await;
        }
        truth.push(by);
    }
    let all = truth.iter().map(Vec::len).sum();
    deployment.collector_has_such(all, |span| span.service_name() == "worker").await;
    drop((publishers, receiver));
    let spans = deployment.spans([api, second, worker]).await;
    let mut joined = 0;
    for (number, by) in truth.iter().enumerate() {
        let mut published = of_burst(&spans, &["api", "second"], &payload(number)).into_iter();
        let delivered = of_burst(&spans, &["worker"], &payload(number));
        assert_eq!(delivered.len(), by.len());
        for (publisher, delivered) in by.iter().zip(delivered) {
            let publish = published.by_ref().take(usize::from(*publisher != legacy)).next();
            if delivered.is_root() {
                // On a machine that is busy enough, one with an id that is alone for long is linked to what follows from its bytes.
                assert!(delivered.links.is_empty() || number.is_multiple_of(2));
                continue;
            }
            let parent = publish.map(|publish| (&publish.trace_id, &publish.span_id));
            assert_eq!(Some((&delivered.trace_id, &delivered.parent)), parent, "round {number}: {by:?}");
            joined += 1;
        }
        assert!(published.next().is_none());
    }
    println!("{joined} of {all} messages were joined, none wrongly");
    assert!(joined * 10 > all, "only {joined} of {all} were joined");
}

#[tokio::test]
async fn bursts_of_the_same_bytes_of_several_at_once_are_not_joined() {
    const BURSTS: usize = 30;
    let deployment = Deployment::start().await;
    let mut direct = deployment.direct().await;
    let [api, second, worker] = ["api", "second", "worker"].map(|service| sidecar(&deployment, service));
    let (mut one, mut other, mut legacy) = (api.connect().await, second.connect().await, deployment.direct().await);
    let mut receiver = worker.connect().await;
    receiver.subscribe(&format!("SUBSCRIBE {CHANNEL}")).await;
    listening(&mut direct, 1).await;
    for number in 0..BURSTS {
        let beside = if number.is_multiple_of(2) { &mut other } else { &mut legacy };
        tokio::join!(publish(&mut one, number, 1), publish(beside, number, 1));
        for _ in 0..2 * BURST {
            assert_eq!(receiver.message().await.payload, payload(number).as_bytes());
        }
    }
    deployment.collector_has_such(BURSTS * 2 * BURST, |span| span.service_name() == "worker").await;
    drop((one, other, legacy, receiver));
    let spans = deployment.spans([api, second, worker]).await;
    // Where one burst was over long before the other began, it is certain whose it was.
    let mut parents = BTreeMap::new();
    for delivered in spans.of("worker").filter(|span| !span.is_root()) {
        let publish = spans.0.iter().find(|span| span.span_id == delivered.parent).expect("the parent is a publish");
        assert_eq!(publish.body_size(), delivered.body_size());
        assert!(publish.start <= delivered.start && parents.insert(&publish.span_id, delivered).is_none());
    }
    println!("{} of {} messages were joined", parents.len(), 2 * BURSTS * BURST);
    assert!(parents.len() < BURSTS * BURST / 2, "nobody can tell whose they are");
}
