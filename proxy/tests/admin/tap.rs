//! `GET /tap`: who asks sees each message's envelope, and services notice nothing.

use redistributed_core::carrier::trailer;
use redistributed_core::trace::SpanContext;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::admin::Proxy;
use crate::support::redis::RealRedis;
use crate::support::wire::Wire;

/// `line` without what differs from run to run, which must be there.
fn told(mut line: Value) -> Value {
    let fields = line.as_object_mut().unwrap();
    let time = fields.remove("time").unwrap();
    assert!(time.as_str().unwrap().ends_with('Z'), "{time}");
    assert!(fields.remove("took_us").unwrap().is_u64());
    line
}

#[tokio::test]
async fn a_publish_and_its_deliveries_are_shown_with_their_ids() {
    let redis = RealRedis::start(&[]);
    let proxy = Proxy::start(&redis.url(), &[], &[("OTEL_SERVICE_NAME", "api")]);
    let (mut plain, mut pattern) = (Wire::resp3(proxy.address()).await, Wire::to(proxy.address()).await);
    plain.subscribe("SUBSCRIBE news").await;
    pattern.subscribe("PSUBSCRIBE n*").await;
    let mut publisher = Wire::to(proxy.address()).await;
    assert_eq!(publisher.publish("news", b"before").await, 2);
    for subscriber in [&mut plain, &mut pattern] {
        subscriber.message().await;
        // Behind it, so that the proxy has done with the message.
        subscriber.call("PING").await;
    }

    let mut watch = proxy.watch("").await;
    assert_eq!(publisher.publish("news", b"hello").await, 2);
    let mut lines = [watch.line().await, watch.line().await, watch.line().await].map(told);
    // The reply and the messages come on connections of their own.
    lines.sort_by_key(|line| (line["direction"] == "deliver", line.get("pattern").is_some()));
    let [publish, deliver, matched] = lines;
    let (trace, span) = (publish["trace"].clone(), publish["span"].clone());
    assert_eq!((trace.as_str().unwrap().len(), span.as_str().unwrap().len()), (32, 16));
    assert_eq!(
        publish,
        json!({"route": "api", "direction": "publish", "channel": "news", "bytes": 5, "receivers": 2,
            "context": "injected", "trace": trace, "span": span, "sampled": true})
    );
    assert_eq!(
        deliver,
        json!({"route": "api", "direction": "deliver", "channel": "news", "bytes": 5, "context": "stripped",
            "trace": trace, "span": deliver["span"], "parent": span, "sampled": true})
    );
    assert_eq!((&matched["pattern"], &matched["parent"]), (&json!("n*"), &span));
    assert_eq!((plain.message().await.payload, pattern.message().await.payload), (b"hello".into(), b"hello".into()));
    // What is not a message is not shown, and with nobody watching nothing is.
    publisher.call("SET k v").await;
    drop(watch);
    assert_eq!(publisher.publish("news", b"after").await, 2);
}

#[tokio::test]
async fn messages_without_spans_are_shown_too_and_none_of_them_is_exported() {
    let redis = RealRedis::start(&[]);
    let environment = [("OTEL_TRACES_EXPORTER", "console"), ("OTEL_TRACES_SAMPLER", "always_off")];
    let arguments = ["--mode-for", "plain=strip", "--exclude", "left out"];
    let proxy = Proxy::start(&redis.url(), &arguments, &environment);
    let mut publisher = Wire::to(proxy.address()).await;
    let mut watch = proxy.watch("?limit=3").await;
    publisher.publish("news", b"1").await;
    publisher.publish("plain", b"22").await;
    publisher.publish("left out", b"333").await;
    let unsampled = told(watch.line().await);
    assert_eq!((&unsampled["context"], &unsampled["sampled"]), (&json!("injected"), &json!(false)));
    let of = |channel, bytes, reason| {
        json!({"route": "unknown_service:redistributed", "direction": "publish", "channel": channel, "bytes": bytes,
            "receivers": 0, "context": "skipped", "reason": reason})
    };
    assert_eq!(told(watch.line().await), of("plain", 2, "mode"));
    assert_eq!(told(watch.line().await), of("left out", 3, "channel"));
    assert_eq!(watch.rest().await, "", "the limit was reached");
    drop(publisher);
    proxy.process.signal(Signal::TERM);
    let ended = tokio::task::spawn_blocking(|| proxy.process.ended()).await.unwrap();
    assert_eq!((ended.code, &*ended.stdout), (Some(0), ""));
}

#[tokio::test]
async fn what_is_not_asked_for_is_left_out() {
    let redis = RealRedis::start(&[]);
    let routes = ["a", "b"].map(|name| format!("{name}=127.0.0.1:0,{}", redis.url()));
    let proxy = Proxy::with_routes(2, &["--route", &routes[0], "--route", &routes[1]], &[]);
    let (mut a, mut b) = (Wire::to(proxy.process.addresses[0]).await, Wire::to(proxy.process.addresses[1]).await);
    let mut watch = proxy.watch("?route=b&channel=orders.*&limit=1").await;
    a.publish("orders.1", b"x").await;
    b.publish("other", b"x").await;
    b.publish("orders.2", b"x").await;
    let line = watch.line().await;
    assert_eq!((&line["route"], &line["channel"]), (&json!("b"), &json!("orders.2")));
}

#[tokio::test]
async fn a_question_that_cannot_be_meant_is_answered_with_what_can_be() {
    let proxy = Proxy::start("redis://127.0.0.1:1", &[], &[("OTEL_SERVICE_NAME", "api")]);
    for (query, says) in [
        ("?limit=0", "limit=`0` is no number above 0"),
        ("?limit=x", "`x`"),
        ("?chanel=a", "`chanel` is not known; there are channel, route and limit"),
        ("?route=web", "there is no route `web`; there are: api"),
        ("?channel=a&channel=b", "`channel` is there twice"),
    ] {
        let (status, answer) = proxy.get(&format!("/tap{query}")).await;
        assert!(status == 400 && answer.contains(says), "{query}: {answer}");
    }
    assert_eq!(proxy.ask("PUT /tap", "", "").await.0, 405);
    assert_eq!(proxy.ask("GET /tap", "Sec-Fetch-Site: cross-site\r\n", "").await.0, 403);
}

#[tokio::test]
async fn few_may_watch_at_a_time_and_a_reader_that_has_gone_leaves_its_place() {
    let proxy = Proxy::start("redis://127.0.0.1:1", &[], &[]);
    let mut watching = Vec::new();
    for _ in 0..4 {
        watching.push(proxy.watch("").await);
    }
    let (status, answer) = proxy.get("/tap").await;
    assert!(status == 503 && answer.contains("4 watch already"), "{answer}");
    assert!(proxy.metrics().await.contains("redistributed_taps 4\n"));
    watching.pop();
    // Seen when the connection is: no message has to come first.
    let deadline = tokio::time::Instant::now() + crate::support::DEADLINE;
    while !proxy.metrics().await.contains("redistributed_taps 3\n") {
        assert!(tokio::time::Instant::now() < deadline, "the place of a reader that has gone is not free");
    }
    watching.push(proxy.watch("").await);
}

#[tokio::test]
async fn a_reader_that_is_too_slow_is_told_what_it_missed_and_slows_nobody() {
    const MESSAGES: usize = 40_000;
    let redis = RealRedis::start(&[]);
    let proxy = Proxy::start(&redis.url(), &[], &[]);
    let mut publisher = Wire::to(proxy.address()).await;
    // The channel's name makes lines long, so that what is between the proxy and its reader is full soon.
    let channel = "c".repeat(1000);
    let mut watch = proxy.watch("").await;
    let request = crate::support::wire::request(&[b"PUBLISH", channel.as_bytes(), b"x"]).repeat(100);
    for _ in 0..MESSAGES / 100 {
        publisher.send(&request).await;
        for _ in 0..100 {
            assert_eq!(publisher.read().await, crate::support::wire::Value::Integer(0));
        }
    }
    // Now it reads: everything was either shown or missed.
    let (mut shown, mut missed) = (0, 0);
    while shown + missed < MESSAGES as u64 {
        let line = watch.line().await;
        match line["missed"].as_u64() {
            Some(messages) => missed += messages,
            None => shown += u64::from(line["channel"] == channel),
        }
    }
    assert!(missed > 0 && shown > 0 && shown + missed == MESSAGES as u64, "{shown} shown, {missed} missed");
    assert!(proxy.metrics().await.contains(&format!("redistributed_tap_missed_total {missed}\n")));
}

#[tokio::test]
async fn a_tap_ends_when_the_process_begins_to_stop() {
    let redis = RealRedis::start(&[]);
    let proxy = Proxy::start(&redis.url(), &["--drain-timeout", "60s"], &[]);
    let mut client = Wire::to(proxy.address()).await;
    client.publish("news", b"x").await;
    let watch = proxy.watch("").await;
    proxy.process.signal(Signal::TERM);
    // The client keeps the process from ending: nothing but the signal ends the tap.
    assert_eq!(watch.rest().await, "{\"end\":\"the proxy is stopping\"}\n");
    assert_eq!(client.publish("news", b"x").await, 0);
}

#[tokio::test]
async fn a_context_that_only_the_message_carries_is_shown_as_its_parent() {
    let redis = RealRedis::start(&[]);
    let proxy = Proxy::start(&redis.url(), &["--exclude", "news"], &[]);
    let mut subscriber = Wire::resp3(proxy.address()).await;
    subscriber.subscribe("SUBSCRIBE news").await;
    let mut watch = proxy.watch("?limit=1").await;
    let parent = SpanContext::parse_traceparent(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
    let mut payload = b"hello".to_vec();
    trailer::write(&parent.into(), &mut payload);
    Wire::to(redis.address()).await.publish("news", &payload).await;
    assert_eq!(
        told(watch.line().await),
        json!({"route": "unknown_service:redistributed", "direction": "deliver", "channel": "news", "bytes": 5,
            "context": "stripped", "trace": "4bf92f3577b34da6a3ce929d0e0e4736", "parent": "00f067aa0ba902b7"})
    );
}
