//! Ordinary clients, each behind a sidecar of its own. They receive exactly what was published, and every publish is a
//! trace with one producer span and one consumer span for each delivery.
//!
//! A connection without a sidecar subscribes too. It shows that the trailer was really there, and that it names the
//! producer span.

use std::collections::BTreeMap;

use otlp_receiver::proto::trace::v1::span::SpanKind;
use redistributed_core::carrier::trailer;
use redistributed_core::trace::{Context, SpanContext, SpanId, TraceFlags, TraceId};

use crate::e2e::clients::{Client, Kind, POLL};
use crate::e2e::deployment::{Deployment, Sidecar, Transport};
use crate::e2e::spans::{Span, Spans};
use crate::support::wire::{Value, Wire};

/// All clients of a test.
struct Fleet {
    deployment: Deployment,
    members: Vec<Member>,
}

struct Member {
    kind: Kind,
    client: Client,
    sidecar: Sidecar,
}

impl Fleet {
    async fn start(kinds: &[Kind]) -> Self {
        Self::start_with(kinds, &[]).await
    }

    async fn start_with(kinds: &[Kind], arguments: &[&str]) -> Self {
        let deployment = Deployment::start().await;
        let mut members = Vec::new();
        for (&kind, transport) in kinds.iter().zip([Transport::Grpc, Transport::Http].into_iter().cycle()) {
            let sidecar = deployment.sidecar_with(kind.service(), arguments, transport, &[]);
            let client = Client::start(kind, &sidecar.url()).await;
            members.push(Member { kind, client, sidecar });
        }
        Self { deployment, members }
    }

    async fn subscribe(&mut self, how: &str, name: &str) {
        for member in &mut self.members {
            member.client.subscribe(how, name).await;
        }
    }

    /// Publishes through the client at index `publisher`. Fails unless there are as many receivers as given.
    async fn publish(&mut self, publisher: usize, channel: &str, payload: &[u8], receivers: i64) {
        let Member { kind, client, .. } = &mut self.members[publisher];
        let (kind, counted) = (*kind, client.publish(channel, payload).await);
        self.assert_receivers(kind, &[counted], &[receivers]).await;
    }

    /// Compares the number of receivers. A failure shows what Redis knows of its clients.
    async fn assert_receivers(&self, publisher: Kind, counted: &[i64], expected: &[i64]) {
        if counted != expected {
            let Value::Bulk(clients) = self.deployment.direct().await.call("CLIENT LIST").await else {
                panic!("no list")
            };
            let clients = String::from_utf8_lossy(&clients);
            panic!("{publisher:?} reached {counted:?} subscriptions and not {expected:?}; connected are\n{clients}");
        }
    }

    /// Ends the clients and the sidecars. Fails if a client has received messages that the test has not read.
    async fn finish(mut self) -> Spans {
        let mut sidecars = Vec::new();
        for member in self.members.drain(..) {
            let Member { kind, mut client, sidecar } = member;
            assert!(!client.has_message(), "{kind:?} got one more message");
            client.end().await;
            sidecars.push(sidecar);
        }
        self.deployment.spans(sidecars).await
    }
}

/// The service names of the deliveries of a publish, with the number of deliveries of each.
fn deliveries<'a>(spans: &'a Spans, producer: &'a Span) -> BTreeMap<&'a str, usize> {
    let mut counts = BTreeMap::new();
    for consumer in spans.children(producer) {
        assert_eq!(consumer.kind, SpanKind::Consumer);
        *counts.entry(consumer.service.as_str()).or_default() += 1;
    }
    counts
}

fn once_each(kinds: &[Kind]) -> BTreeMap<&'static str, usize> {
    kinds.iter().map(|kind| (kind.service(), 1)).collect()
}

/// The producer span whose context a subscriber without a sidecar has seen.
#[track_caller]
fn producer<'a>(spans: &'a Spans, context: &SpanContext) -> &'a Span {
    let mut found = spans.of_kind(SpanKind::Producer).filter(|span| span.has_context(context));
    let producer = found.next().expect("a producer span with the ids of the trailer");
    assert!(found.next().is_none());
    producer
}

fn payloads() -> Vec<Vec<u8>> {
    let context =
        Context::from(SpanContext { trace_id: TraceId::MIN, span_id: SpanId::MIN, flags: TraceFlags::SAMPLED });
    let mut damaged = b"payload".to_vec();
    trailer::write(&context, &mut damaged);
    damaged[12] ^= 1;
    let mut followed = b"payload".to_vec();
    trailer::write(&context, &mut followed);
    followed.push(b'\n');
    vec![
        b"hello".to_vec(),
        Vec::new(),
        b"\0".to_vec(),
        b"ends with NUL\0".to_vec(),
        b"\r\n$3\r\nfoo\r\n*3\r\n$7\r\nmessage\r\n".to_vec(),
        (0..=255).collect(),
        trailer::END.to_vec(),
        [&[0; 60][..], &trailer::END].concat(),
        damaged,
        followed,
        "{\"naïve\":\"✓\"}".into(),
    ]
}

#[tokio::test]
async fn what_any_client_publishes_every_client_receives_exactly_in_one_trace() {
    let mut fleet = Fleet::start(&Kind::ALL).await;
    fleet.subscribe("subscribe", "reports").await;
    let mut raw = fleet.deployment.direct().await;
    raw.subscribe("SUBSCRIBE reports").await;

    let mut published = Vec::new();
    for publisher in 0..fleet.members.len() {
        for payload in payloads() {
            fleet.publish(publisher, "reports", &payload, 6).await;
            let sent = raw.message().await;
            let (before, context) = sent.trailer();
            assert_eq!(before, payload);
            published.push((fleet.members[publisher].kind, payload.len(), context));
            for member in &mut fleet.members {
                let got = member.client.message().await;
                assert_eq!((got.channel.as_str(), got.pattern), ("reports", None), "{:?}", member.kind);
                assert_eq!(got.payload.escape_ascii().to_string(), payload.escape_ascii().to_string());
            }
        }
    }
    drop(raw);
    let spans = fleet.finish().await;

    assert_eq!(spans.0.len(), published.len() * 6);
    for (kind, size, context) in published {
        let producer = producer(&spans, &context.span);
        assert_eq!(producer.service, kind.service());
        assert_eq!(producer.name, "publish reports");
        assert!(producer.is_root());
        assert_eq!((producer.receivers(), producer.body_size()), (Some(6), Some(size as i64)));
        assert_eq!(deliveries(&spans, producer), once_each(&Kind::ALL));
        for consumer in spans.children(producer) {
            assert_eq!((consumer.name.as_str(), consumer.body_size()), ("process reports", Some(size as i64)));
            assert!(consumer.start <= consumer.end && !consumer.is_error);
        }
    }
}

#[tokio::test]
async fn each_matching_subscription_gets_a_clean_copy_and_a_span() {
    let mut fleet = Fleet::start(&Kind::ALL).await;
    fleet.subscribe("subscribe", "orders.eu.new").await;
    fleet.subscribe("psubscribe", "orders.*").await;
    fleet.subscribe("psubscribe", "*.new").await;
    for publisher in 0..fleet.members.len() {
        fleet.publish(publisher, "orders.eu.new", b"7\0\r\n", 15).await;
        for member in &mut fleet.members {
            let mut patterns = Vec::new();
            for _ in 0..3 {
                let got = member.client.message().await;
                assert_eq!((got.channel.as_str(), &got.payload[..]), ("orders.eu.new", &b"7\0\r\n"[..]));
                patterns.push(got.pattern);
            }
            patterns.sort();
            assert_eq!(patterns, [None, Some("*.new".to_owned()), Some("orders.*".to_owned())], "{:?}", member.kind);
        }
    }
    let spans = fleet.finish().await;

    let producers: Vec<&Span> = spans.of_kind(SpanKind::Producer).collect();
    assert_eq!(producers.len(), 5);
    assert_eq!(spans.0.len(), 5 + 5 * 15);
    for producer in producers {
        for kind in Kind::ALL {
            let own = spans.children(producer).filter(|span| span.service == kind.service());
            let mut patterns: Vec<_> = own.map(|span| span.text("messaging.destination.subscription.name")).collect();
            patterns.sort();
            assert_eq!(patterns, [None, Some("*.new"), Some("orders.*")], "{kind:?}");
        }
    }
}

#[tokio::test]
async fn sharded_messages_are_traced_as_others_are() {
    let mut fleet = Fleet::start(&Kind::SHARDED).await;
    fleet.subscribe("ssubscribe", "shard").await;
    let mut raw = fleet.deployment.direct().await;
    raw.subscribe("SSUBSCRIBE shard").await;
    let mut contexts = Vec::new();
    for publisher in 0..fleet.members.len() {
        assert_eq!(fleet.members[publisher].client.spublish("shard", b"\xff\0").await, 5);
        let sent = raw.message().await;
        assert_eq!(sent.trailer().0, b"\xff\0");
        contexts.push(sent.trailer().1);
        for member in &mut fleet.members {
            let got = member.client.message().await;
            assert_eq!((got.channel.as_str(), &got.payload[..]), ("shard", &b"\xff\0"[..]), "{:?}", member.kind);
        }
    }
    drop(raw);
    let spans = fleet.finish().await;
    for context in contexts {
        let producer = producer(&spans, &context.span);
        assert_eq!(deliveries(&spans, producer), once_each(&Kind::SHARDED));
        for span in [producer].into_iter().chain(spans.children(producer)) {
            assert_eq!(span.attributes.get("redis.pubsub.sharded"), Some(&true.into()));
        }
    }
}

#[tokio::test]
async fn payloads_around_the_limit_arrive_whole() {
    /// With a trailer of 41 bytes, it is exactly as long as the injection limit of 1 MiB less 2 bytes.
    const LONGEST: usize = (1 << 20) - 2 - 41;
    let mut fleet = Fleet::start(&Kind::ALL).await;
    fleet.subscribe("subscribe", "big").await;
    let mut raw = fleet.deployment.direct().await;
    raw.subscribe("SUBSCRIBE big").await;
    let sizes = [LONGEST, LONGEST + 1, 1 << 20, (1 << 20) + 1];
    for publisher in 0..fleet.members.len() {
        for size in sizes {
            let payload = pattern(size);
            fleet.publish(publisher, "big", &payload, 6).await;
            let sent = raw.message().await;
            if size <= LONGEST {
                assert!(sent.trailer().0 == payload);
            } else {
                assert!(sent.payload == payload, "a payload over the limit was changed");
            }
            for member in &mut fleet.members {
                assert!(member.client.message().await.payload == payload, "{:?} at {size}", member.kind);
            }
        }
    }
    drop(raw);
    let spans = fleet.finish().await;
    let producers: Vec<&Span> = spans.of_kind(SpanKind::Producer).collect();
    assert_eq!(producers.len(), 5 * sizes.len());
    for producer in producers {
        let within_limit = producer.body_size() <= Some(LONGEST as i64);
        let expected = if within_limit { once_each(&Kind::ALL) } else { BTreeMap::new() };
        assert_eq!(deliveries(&spans, producer), expected);
        assert_eq!(producer.receivers(), Some(6));
    }
}

#[tokio::test]
async fn twenty_mebibytes_pass_untouched() {
    let mut fleet = Fleet::start(&[Kind::RedisRsResp3, Kind::RedisPyResp2, Kind::Ioredis]).await;
    fleet.subscribe("subscribe", "big").await;
    let payload = pattern(20 << 20);
    fleet.publish(0, "big", &payload, 3).await;
    for member in &mut fleet.members {
        assert!(member.client.message().await.payload == payload, "{:?}", member.kind);
    }
    let spans = fleet.finish().await;
    let producer = spans.only(Kind::RedisRsResp3.service());
    assert_eq!((producer.kind, producer.body_size()), (SpanKind::Producer, Some(20 << 20)));
    assert_eq!(producer.receivers(), Some(3));
    assert_eq!(spans.0.len(), 1, "what is too big to carry a context is not looked at when it is delivered");
}

/// `size` bytes in which no piece repeats.
fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8).collect()
}

#[tokio::test]
async fn a_pipeline_of_a_thousand_publishes_stays_in_order_and_each_is_traced() {
    const COUNT: usize = 1000;
    let mut fleet = Fleet::start(&Kind::ALL).await;
    // Each client publishes only to the next one.
    for (index, member) in fleet.members.iter_mut().enumerate() {
        member.client.subscribe("subscribe", &format!("to-{index}")).await;
    }
    for publisher in 0..fleet.members.len() {
        let reader = (publisher + 1) % fleet.members.len();
        let receivers = fleet.members[publisher].client.pipeline(&format!("to-{reader}"), COUNT).await;
        fleet.assert_receivers(fleet.members[publisher].kind, &receivers, &[1; COUNT]).await;
        for number in 0..COUNT {
            let got = fleet.members[reader].client.message().await;
            assert_eq!(String::from_utf8_lossy(&got.payload), number.to_string(), "{:?}", fleet.members[reader].kind);
        }
    }
    let spans = fleet.finish().await;
    assert_eq!(spans.0.len(), 5 * COUNT * 2);
    let consumers: BTreeMap<(&str, &str), &Span> =
        spans.of_kind(SpanKind::Consumer).map(|span| ((span.trace_id.as_str(), span.parent.as_str()), span)).collect();
    assert_eq!(consumers.len(), 5 * COUNT, "each delivery has a parent of its own");
    for producer in spans.of_kind(SpanKind::Producer) {
        assert_eq!(producer.receivers(), Some(1));
        let publisher = Kind::ALL.iter().position(|kind| kind.service() == producer.service).unwrap();
        let reader = Kind::ALL[(publisher + 1) % Kind::ALL.len()];
        let consumer = consumers[&(producer.trace_id.as_str(), producer.span_id.as_str())];
        assert_eq!(consumer.service, reader.service());
    }
}

#[tokio::test]
async fn publishes_in_a_transaction_are_traced_one_by_one() {
    let mut fleet = Fleet::start(&Kind::ALL).await;
    // Each client publishes only to the next one. If a RESP3 client publishes to itself, Redis 7.0 sends the messages
    // inside the reply to EXEC, and redis-rs takes them for results.
    for (index, member) in fleet.members.iter_mut().enumerate() {
        member.client.subscribe("subscribe", &format!("to-{index}")).await;
    }
    for publisher in 0..fleet.members.len() {
        let reader = (publisher + 1) % fleet.members.len();
        let payloads = [&b"one"[..], b"", b"three\0"];
        let receivers = fleet.members[publisher].client.transaction(&format!("to-{reader}"), &payloads).await;
        fleet.assert_receivers(fleet.members[publisher].kind, &receivers, &[1, 1, 1]).await;
        for expected in payloads {
            let Member { kind, client, .. } = &mut fleet.members[reader];
            assert_eq!(client.message().await.payload, expected, "{kind:?}");
        }
    }
    let spans = fleet.finish().await;
    let producers: Vec<&Span> = spans.of_kind(SpanKind::Producer).collect();
    assert_eq!(producers.len(), 5 * 3);
    for producer in producers {
        assert_eq!(producer.receivers(), Some(1));
        assert_eq!(deliveries(&spans, producer).len(), 1);
    }
}

#[tokio::test]
async fn subscriptions_come_and_go() {
    let mut fleet = Fleet::start(&Kind::ALL).await;
    let mut raw = fleet.deployment.direct().await;
    for _ in 0..3 {
        fleet.subscribe("subscribe", "a").await;
        fleet.subscribe("subscribe", "b").await;
        fleet.subscribe("unsubscribe", "a").await;
        for publisher in 0..fleet.members.len() {
            fleet.publish(publisher, "a", b"nobody listens", 0).await;
            fleet.publish(publisher, "b", b"heard", 5).await;
            for member in &mut fleet.members {
                assert_eq!(member.client.message().await.payload, b"heard", "{:?}", member.kind);
            }
        }
        fleet.subscribe("unsubscribe", "b").await;
        assert_eq!(raw.publish("b", b"nobody listens").await, 0);
    }
    let spans = fleet.finish().await;
    assert_eq!(spans.of_kind(SpanKind::Producer).count(), 3 * 5 * 2);
    assert_eq!(spans.of_kind(SpanKind::Consumer).count(), 3 * 5 * 5);
}

#[tokio::test]
async fn a_subscriber_whose_connection_was_killed_connects_again_and_is_traced_again() {
    // redis-rs does not reconnect by itself.
    let kinds = [Kind::RedisPyResp2, Kind::RedisPyResp3, Kind::Ioredis];
    // No proxy has a subscribed connection of its own, which would be killed as well.
    let mut fleet = Fleet::start_with(&kinds, &["--out-of-band", "off"]).await;
    fleet.subscribe("subscribe", "news").await;
    let mut operator = fleet.deployment.direct().await;
    assert_eq!(operator.call("CLIENT KILL TYPE pubsub").await, Value::Integer(3));
    wait_for_subscribers(&mut operator, "news", 3).await;
    for publisher in 0..kinds.len() {
        fleet.publish(publisher, "news", b"again", 3).await;
        for member in &mut fleet.members {
            assert_eq!(member.client.message().await.payload, b"again", "{:?}", member.kind);
        }
    }
    drop(operator);
    let spans = fleet.finish().await;
    for producer in spans.of_kind(SpanKind::Producer) {
        assert_eq!(deliveries(&spans, producer), once_each(&kinds));
    }
    assert_eq!(spans.0.len(), 3 + 9);
}

/// The old connection has ended when the kill is answered, so only new subscriptions are counted.
async fn wait_for_subscribers(operator: &mut Wire, channel: &str, count: i64) {
    let expected = Value::Array(vec![Value::Bulk(channel.into()), Value::Integer(count)]);
    let subscribed = async {
        while operator.call(&format!("PUBSUB NUMSUB {channel}")).await != expected {
            tokio::time::sleep(POLL).await;
        }
    };
    crate::support::within("the clients to subscribe again", subscribed).await;
}
