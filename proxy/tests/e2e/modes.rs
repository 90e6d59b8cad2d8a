//! Messages that the proxy leaves alone: because of the mode or the channel, because they belong to Redis, or because a
//! change could do harm.

use crate::e2e::deployment::Deployment;
use crate::support::wire::Value;

#[tokio::test]
async fn strip_removes_contexts_and_adds_none() {
    let deployment = Deployment::start().await;
    let api = deployment.sidecar("api", &[]);
    let worker = deployment.sidecar("worker", &["--mode", "strip"]);
    let mut raw = deployment.direct().await;
    raw.subscribe("SUBSCRIBE in out").await;
    let mut subscriber = worker.connect().await;
    subscriber.subscribe("SUBSCRIBE in").await;
    let (mut publisher, mut answers) = (api.connect().await, worker.connect().await);
    publisher.publish("in", b"text").await;
    assert_eq!(subscriber.message().await.payload, b"text");
    assert_eq!(raw.message().await.trailer().0, b"text");
    answers.publish("out", b"answer").await;
    assert_eq!(raw.message().await.payload, b"answer");
    drop((raw, subscriber, publisher, answers));
    let spans = deployment.spans([api, worker]).await;
    let (producer, consumer) = (spans.only("api"), spans.only("worker"));
    assert_eq!((&consumer.trace_id, &consumer.parent), (&producer.trace_id, &producer.span_id));
}

#[tokio::test]
async fn observe_changes_no_byte_and_describes_what_carries_a_context() {
    let deployment = Deployment::start().await;
    let api = deployment.sidecar("api", &[]);
    let bridge = deployment.sidecar("bridge", &["--mode", "observe"]);
    let mut raw = deployment.direct().await;
    raw.subscribe("SUBSCRIBE in out").await;
    let mut subscriber = bridge.connect().await;
    subscriber.subscribe("SUBSCRIBE in").await;
    let mut publisher = api.connect().await;
    publisher.publish("in", b"text").await;
    let with_context = raw.message().await.payload;
    assert_eq!(subscriber.message().await.payload, with_context, "not even the trailer is removed");
    let mut again = bridge.connect().await;
    for payload in [&with_context[..], b"without"] {
        again.publish("out", payload).await;
        assert_eq!(raw.message().await.payload, payload);
    }
    drop((raw, subscriber, publisher, again));
    let spans = deployment.spans([api, bridge]).await;
    let producer = spans.only("api");
    let mut names: Vec<_> = spans.children(producer).map(|span| span.name.as_str()).collect();
    names.sort();
    assert_eq!(names, ["process in", "publish out"]);
    assert_eq!(spans.0.len(), 3, "what carries no context is not described");
}

#[tokio::test]
async fn channels_are_chosen_by_include_and_exclude() {
    let deployment = Deployment::start().await;
    let arguments = ["--include", "orders.*", "--include", "billing", "--exclude", "*.internal"];
    let [api, worker] = ["api", "worker"].map(|service| deployment.sidecar(service, &arguments));
    let channels = ["orders.eu", "orders.internal", "billing", "billing2", "other"];
    let mut raw = deployment.direct().await;
    raw.subscribe("PSUBSCRIBE *").await;
    let mut subscriber = worker.connect().await;
    subscriber.subscribe(&format!("SUBSCRIBE {}", channels.join(" "))).await;
    let mut publisher = api.connect().await;
    let mut carried = Vec::new();
    for channel in channels {
        publisher.publish(channel, b"text").await;
        if raw.message().await.payload != b"text" {
            carried.push(channel);
        }
        assert_eq!(subscriber.message().await.payload, b"text");
    }
    drop((raw, subscriber, publisher));
    assert_eq!(carried, ["orders.eu", "billing"]);
    let spans = deployment.spans([api, worker]).await;
    for (service, verb) in [("api", "publish"), ("worker", "process")] {
        let names: Vec<_> = spans.of(service).map(|span| span.name.clone()).collect();
        assert_eq!(names, [format!("{verb} orders.eu"), format!("{verb} billing")]);
    }
}

#[tokio::test]
async fn an_excluded_channel_is_cleaned_all_the_same() {
    let deployment = Deployment::start().await;
    let api = deployment.sidecar("api", &[]);
    let worker = deployment.sidecar("worker", &["--exclude", "*"]);
    let mut subscriber = worker.connect().await;
    subscriber.subscribe("SUBSCRIBE orders").await;
    let mut publisher = api.connect().await;
    publisher.publish("orders", b"text").await;
    assert_eq!(subscriber.message().await.payload, b"text");
    drop((subscriber, publisher));
    let spans = deployment.spans([api, worker]).await;
    assert_eq!(spans.0.len(), 1);
}

#[tokio::test]
async fn channels_of_redis_and_sentinel_are_neither_traced_nor_touched() {
    let deployment = Deployment::start().await;
    let service = deployment.sidecar("service", &[]);
    let mut raw = deployment.direct().await;
    raw.subscribe("PSUBSCRIBE __*").await;
    let mut publisher = service.connect().await;
    for channel in ["__sentinel__:hello", "__keyspace@0__:k", "__redis__:invalidate", "__"] {
        publisher.publish(channel, b"text").await;
        assert_eq!(raw.message().await.payload, b"text");
    }
    let mut subscriber = service.connect().await;
    subscriber.subscribe("PSUBSCRIBE __*").await;
    let mut operator = deployment.direct().await;
    assert_eq!(operator.call("CONFIG SET notify-keyspace-events KEA").await, Value::Status("OK".into()));
    assert_eq!(operator.call("SET k v").await, Value::Status("OK".into()));
    for (channel, event) in [("__keyspace@0__:k", "set"), ("__keyevent@0__:set", "k")] {
        let message = subscriber.message().await;
        assert_eq!((message.channel.as_str(), &message.payload[..]), (channel, event.as_bytes()));
    }
    drop((raw, publisher, subscriber, operator));
    assert_eq!(deployment.spans([service]).await.0.len(), 0);
}

#[tokio::test]
async fn the_injection_limit_counts_the_payload_with_its_trailer() {
    let deployment = Deployment::start().await;
    let api = deployment.sidecar("api", &["--inject-limit", "51"]);
    let mut raw = deployment.direct().await;
    raw.subscribe("SUBSCRIBE orders").await;
    let mut publisher = api.connect().await;
    publisher.publish("orders", b"0123456789").await;
    assert_eq!(raw.message().await.trailer().0, b"0123456789");
    publisher.publish("orders", b"0123456789a").await;
    assert_eq!(raw.message().await.payload, b"0123456789a");
    drop((raw, publisher));
    let spans = deployment.spans([api]).await;
    let sizes: Vec<_> = spans.of("api").map(|span| (span.body_size(), span.receivers())).collect();
    assert_eq!(sizes, [(Some(10), Some(1)), (Some(11), Some(1))], "both are described");
}

#[tokio::test]
async fn before_authentication_nothing_is_pushed_over_the_limit_of_redis() {
    // Redis closes a connection that sends more than 16 KiB before it has authenticated.
    for (size, text) in [(16_384 - 41, "short enough"), (16_384, "at the limit")] {
        let deployment = Deployment::with_redis(&["--requirepass", "pw"]).await;
        let api = deployment.sidecar("api", &[]);
        let mut publisher = api.connect().await;
        let refused = publisher.call_words(&[b"PUBLISH", b"orders", &vec![b'x'; size]]).await;
        assert!(matches!(&refused, Value::Error(line) if line.starts_with("NOAUTH")), "{text}: {refused:?}");
        assert_eq!(publisher.call("AUTH pw").await, Value::Status("OK".into()), "{text}: the connection lives");
        drop(publisher);
        let spans = deployment.spans([api]).await;
        assert_eq!(spans.only("api").text("error.type"), Some("NOAUTH"));
    }
}
