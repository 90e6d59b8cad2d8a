//! Many messages at once, with the same bytes among them: how many are joined to their publish, and that none is joined to another one.
//!
//! ```sh
//! cargo build --release -p redistributed
//! REDISTRIBUTED_BIN=target/release/redistributed REDISTRIBUTED_TEST_MESSAGES=100000 REDISTRIBUTED_TEST_RECEIVERS=5 \
//!   REDISTRIBUTED_TEST_RATE=10000 cargo test --release -p redistributed --test suite beside::load -- --nocapture
//! ```

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use otlp_receiver::ReceivedSpan;
use tokio::task::JoinSet;

use super::{BESIDE, listening};
use crate::e2e::deployment::{Deployment, Sidecar, Transport};
use crate::e2e::spans::{Span, Spans};
use crate::support::DEADLINE;
use crate::support::wire::{Value, Wire, request};

/// The number of messages of each publisher that are sent before their replies are read.
const AT_ONCE: usize = 50;

/// The number of publishers, each with subscribers of its own.
const PAIRS: usize = 4;

/// After so many messages their lengths begin again. Those of one channel with the same length are far apart.
const LENGTHS: usize = 5_000;

const SETTINGS: [&str; 2] = ["--follow-window", "1s"];

/// The number of unique messages.
fn messages() -> usize {
    number("REDISTRIBUTED_TEST_MESSAGES").unwrap_or(4_000)
}

/// How many connections of each subscriber get a message.
fn receivers() -> usize {
    number("REDISTRIBUTED_TEST_RECEIVERS").unwrap_or(1)
}

/// How often a publisher sends its next messages. Without a rate of all messages in a second, as soon as the last ones were answered.
fn period() -> Duration {
    let rate = number("REDISTRIBUTED_TEST_RATE").map(|rate| rate as f64);
    rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64((AT_ONCE * PAIRS) as f64 / rate))
}

fn number(variable: &str) -> Option<usize> {
    let number = std::env::var(variable).ok()?;
    Some(number.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

/// A payload that no other message has. Those of every second channel hold an id.
fn unique(number: usize) -> String {
    let id = if number.is_multiple_of(2) {
        format!("550e8400-e29b-41d4-a716-{number:012x}")
    } else {
        format!("n{number:035}")
    };
    format!(r#"{{"id":"{id}","pad":"{}"}}"#, "x".repeat(number % LENGTHS / PAIRS))
}

/// Publishes those messages whose numbers have this remainder, on a channel of their own.
async fn publish(publisher: &mut Wire, remainder: usize, all: usize, receivers: usize) {
    let (channel, numbers) = (channel(remainder), numbers(remainder, all));
    let (began, period) = (Instant::now(), period());
    for (turn, numbers) in numbers.chunks(AT_ONCE).enumerate() {
        tokio::time::sleep_until((began + period * turn as u32).into()).await;
        let of = |number: &usize| request(&[b"PUBLISH", channel.as_bytes(), unique(*number).as_bytes()]);
        publisher.send(&numbers.iter().map(of).collect::<Vec<_>>().concat()).await;
        for _ in numbers {
            assert_eq!(publisher.read().await, Value::Integer(receivers as i64), "all have subscribed");
        }
    }
}

/// The longest payload of those that are published before anything is measured.
const LONGEST_FIRST: i64 = 9;

/// Publishes until a message without an id is joined. Those of the first moment of a subscription are not.
async fn settled(deployment: &Deployment, remainder: usize, publisher: &mut Wire, subscribed: &mut [Wire]) {
    let (began, channel, len) = (Instant::now(), channel(remainder), 5 + remainder as i64);
    let is_joined = |span: &ReceivedSpan| {
        span.service_name() == "worker" && size_of(span) == len && !span.parent_span_id().is_empty()
    };
    for number in 0.. {
        let payload = format!("{number:0len$}", len = 5 + remainder);
        publisher.publish(&channel, payload.as_bytes()).await;
        for receiver in &mut *subscribed {
            receiver.message().await;
        }
        if deployment.has_received(|spans| spans.iter().any(is_joined)) {
            return;
        }
        assert!(began.elapsed() < DEADLINE, "after {number} messages nothing was joined");
    }
}

fn size_of(span: &ReceivedSpan) -> i64 {
    span.int("messaging.message.body.size").unwrap_or_default()
}

fn numbers(remainder: usize, all: usize) -> Vec<usize> {
    (remainder..all).step_by(PAIRS).collect()
}

fn channel(remainder: usize) -> String {
    format!("load.{remainder}")
}

fn sidecar(deployment: &Deployment, service: &str) -> Sidecar {
    let settings = [&BESIDE[..], &SETTINGS].concat();
    let queue = [("OTEL_BSP_MAX_QUEUE_SIZE", "2000000")];
    deployment.sidecar_with(service, &settings, Transport::Http, &queue)
}

/// Checks that whoever has a parent has the right one, which is that of `receivers` at most, and returns how many have.
#[track_caller]
fn joined(spans: &Spans, receivers: usize) -> usize {
    let published: BTreeMap<&str, &Span> = spans.of("api").map(|span| (span.span_id.as_str(), span)).collect();
    let mut children = BTreeMap::<&str, usize>::new();
    let is_measured = |span: &&Span| span.body_size().is_some_and(|size| size > LONGEST_FIRST);
    for delivered in spans.of("worker").filter(is_measured).filter(|span| !span.parent.is_empty()) {
        let publish = published.get(delivered.parent.as_str()).expect("the parent is a publish");
        let of = |span: &Span| (span.trace_id.clone(), span.body_size());
        assert_eq!(of(delivered), of(publish), "a message is below the publish of another one");
        *children.entry(&delivered.parent).or_default() += 1;
    }
    assert!(children.values().all(|count| *count <= receivers), "two messages of a connection are below one publish");
    children.values().sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_messages_are_joined_and_none_wrongly() {
    let (deployment, published, receivers) = (Deployment::start().await, messages(), receivers());
    let all = published * receivers;
    let mut direct = deployment.direct().await;
    let (mut sidecars, mut ends) = (Vec::new(), Vec::new());
    for remainder in 0..PAIRS {
        let (api, worker) = (sidecar(&deployment, "api"), sidecar(&deployment, "worker"));
        let mut subscribed = Vec::new();
        for _ in 0..receivers {
            let mut receiver = worker.connect().await;
            receiver.subscribe(&format!("SUBSCRIBE {}", channel(remainder))).await;
            subscribed.push(receiver);
        }
        ends.push((remainder, api.connect().await, subscribed));
        sidecars.extend([api, worker]);
    }
    listening(&mut direct, PAIRS).await;
    for (remainder, publisher, subscribed) in &mut ends {
        settled(&deployment, *remainder, publisher, subscribed).await;
    }
    let began = Instant::now();
    let mut running = JoinSet::new();
    for (remainder, mut publisher, subscribed) in ends {
        running.spawn(async move {
            publish(&mut publisher, remainder, published, receivers).await;
            vec![publisher]
        });
        for mut receiver in subscribed {
            running.spawn(async move {
                for _ in numbers(remainder, published) {
                    receiver.message().await;
                }
                vec![receiver]
            });
        }
    }
    let ends = running.join_all().await;
    let took = began.elapsed();
    // All spans of the subscribers are there once the last one has waited for work.
    let is_measured = |span: &ReceivedSpan| span.service_name() == "worker" && size_of(span) > LONGEST_FIRST;
    deployment.collector_has_such(all, is_measured).await;
    drop(ends);
    let spans = deployment.spans(sidecars).await;
    let joined = joined(&spans, receivers);
    println!(
        "{joined} of {all} messages were joined, none wrongly, at {:.0} a second",
        all as f64 / took.as_secs_f64()
    );
    assert!(joined * 2 > all, "only {joined} of {all} were joined");
}

/// A payload that is published twice, once by somebody without a proxy, and first by him if the number is even.
fn twice(number: usize) -> String {
    format!(r#"{{"n":{number:04},"pad":"{}"}}"#, "x".repeat(number))
}

#[tokio::test]
async fn the_same_bytes_of_somebody_without_a_proxy_get_no_context() {
    const PAYLOADS: usize = 300;
    let deployment = Deployment::start().await;
    let mut direct = deployment.direct().await;
    let (api, worker) = (sidecar(&deployment, "api"), sidecar(&deployment, "worker"));
    let (mut publisher, mut legacy) = (api.connect().await, deployment.direct().await);
    let mut receiver = worker.connect().await;
    receiver.subscribe("SUBSCRIBE load").await;
    listening(&mut direct, 1).await;
    for number in 0..PAYLOADS {
        let payload = twice(number);
        let both: [&mut Wire; 2] =
            if number.is_multiple_of(2) { [&mut legacy, &mut publisher] } else { [&mut publisher, &mut legacy] };
        for publisher in both {
            publisher.publish("load", payload.as_bytes()).await;
        }
        for _ in 0..2 {
            assert_eq!(receiver.message().await.payload, payload.as_bytes());
        }
    }
    deployment.collector_has_such(2 * PAYLOADS, |span| span.service_name() == "worker").await;
    drop((publisher, receiver));
    let spans = deployment.spans([api, worker]).await;
    let joined = joined(&spans, 1);
    for number in 0..PAYLOADS {
        let length = Some(twice(number).len() as i64);
        let mut pair: Vec<_> = spans.of("worker").filter(|span| span.body_size() == length).collect();
        pair.sort_by_key(|span| span.start);
        assert_eq!(pair.len(), 2);
        // On a machine that is busy enough, the second message comes so late that the first is certain.
        let of_legacy = pair[number % 2];
        assert!(of_legacy.is_root() && of_legacy.links.is_empty(), "nobody has told anything of it: {of_legacy:?}");
    }
    println!("{joined} of {PAYLOADS} messages were joined that somebody without a proxy had published as well");
}
