//! Scripts that only publish: the contexts of what they publish go beside the messages.

use std::time::Instant;

use otlp_receiver::ReceivedSpan;

use super::{BESIDE, joined, listening, of_message, payload, started};
use crate::e2e::deployment::Deployment;
use crate::e2e::spans::{Span, Spans};
use crate::support::wire::{Value, Wire};
use crate::support::{DEADLINE, servers};

/// The script by which Laravel broadcasts.
const BROADCAST: &str = "for i = 2, #ARGV do\n  redis.call('publish', ARGV[i], ARGV[1])\nend";

const CHANNELS: [&str; 3] = ["news", "orders", "alerts"];

async fn broadcast(publisher: &mut Wire, payload: &str) {
    let words = ["EVAL", BROADCAST, "0", payload].into_iter().chain(CHANNELS).map(str::as_bytes);
    assert_eq!(publisher.call_words(&words.collect::<Vec<_>>()).await, Value::Null);
}

fn of_channel<'a>(spans: &'a Spans, service: &'a str, payload: &'a str, channel: &str) -> Vec<&'a Span> {
    let is_of = |span: &&Span| span.text("messaging.destination.name") == Some(channel);
    of_message(spans, service, payload).into_iter().filter(is_of).collect()
}

/// Each channel has its own PRODUCER span, and so many deliveries below that.
#[track_caller]
fn assert_below_its_channel(spans: &Spans, payload: &str, times: [usize; 3]) {
    for (channel, times) in CHANNELS.into_iter().zip(times) {
        let published = of_channel(spans, "api", payload, channel);
        let [published] = published[..] else { panic!("{channel}: {published:?}") };
        assert_eq!(published.text("redistributed.context.skipped"), Some("beside"));
        let delivered = of_channel(spans, "worker", payload, channel);
        assert_eq!(delivered.len(), times, "{channel}: {delivered:?}");
        for span in delivered {
            assert_eq!((&span.trace_id, &span.parent), (&published.trace_id, &published.span_id), "{channel}");
        }
    }
}

#[tokio::test]
async fn each_delivery_of_a_broadcast_is_below_the_publish_on_its_channel() {
    for server in servers::all() {
        let deployment = Deployment::on(server).await;
        let mut direct = deployment.direct().await;
        let [api, worker] = started(&deployment, &BESIDE).await;
        let (mut publisher, mut legacy) = (api.connect().await, deployment.direct().await);
        let (mut names, mut pattern) = (worker.connect().await, worker.connect().await);
        names.subscribe("SUBSCRIBE news orders").await;
        pattern.subscribe("PSUBSCRIBE *s").await;
        legacy.subscribe("SUBSCRIBE orders alerts").await;
        listening(&mut direct, 3).await;
        let payload = payload(3);
        broadcast(&mut publisher, &payload).await;
        for (subscriber, count) in [(&mut names, 2), (&mut pattern, 3), (&mut legacy, 2)] {
            for _ in 0..count {
                assert_eq!(subscriber.message().await.payload, payload.as_bytes(), "on {}", server.name);
            }
        }
        joined(&deployment, 5).await;
        drop((publisher, names, pattern));
        let spans = deployment.spans([api, worker]).await;
        assert_below_its_channel(&spans, &payload, [2, 2, 1]);
    }
}

#[tokio::test]
async fn mode_auto_tells_what_a_script_publishes_whoever_gets_it() {
    for has_legacy in [false, true] {
        let deployment = Deployment::start().await;
        let mut direct = deployment.direct().await;
        let [api, worker] = started(&deployment, &["--mode", "auto", "--auto-interval", "50ms"]).await;
        let (mut publisher, mut legacy, mut receiver) =
            (api.connect().await, deployment.direct().await, worker.connect().await);
        if has_legacy {
            legacy.subscribe("SUBSCRIBE news").await;
        }
        receiver.subscribe("SUBSCRIBE news orders alerts").await;
        listening(&mut direct, 3).await;
        let (began, mut published) = (Instant::now(), Vec::new());
        // Until a snapshot has shown that nobody else would see what proxies tell each other, nothing is told.
        let is_of_worker = |span: &&ReceivedSpan| span.service_name() == "worker";
        while !deployment.has_received(|spans| spans.iter().filter(is_of_worker).count() >= 2 * CHANNELS.len()) {
            assert!(began.elapsed() < DEADLINE, "after {} broadcasts nothing was joined", published.len());
            let payload = payload(published.len());
            broadcast(&mut publisher, &payload).await;
            for _ in CHANNELS {
                assert_eq!(receiver.message().await.payload, payload.as_bytes());
            }
            if has_legacy {
                assert_eq!(legacy.message().await.payload, payload.as_bytes());
            }
            published.push(payload);
        }
        drop((publisher, receiver));
        let spans = deployment.spans([api, worker]).await;
        let is_joined = |payload: &&String| of_message(&spans, "worker", payload).len() == CHANNELS.len();
        let joined: Vec<_> = published.iter().filter(is_joined).collect();
        assert!(!joined.is_empty(), "of {} broadcasts none was joined on all channels", published.len());
        joined.iter().for_each(|payload| assert_below_its_channel(&spans, payload, [1; 3]));
    }
}
