//! Keys of contexts in files: what is believed and removed by whom, and how a key is replaced while messages are under way.

use std::path::Path;

use redistributed_core::carrier::trailer;
use redistributed_core::trace::{Context, SpanContext};

use crate::support::admin::Proxy;
use crate::support::redis::RealRedis;
use crate::support::spawn::{command, run};
use crate::support::wire::Wire;

const OLD: &str = "0123456789abcdef0123456789abcdef\n";
const NEW: &str = "fedcba9876543210fedcba9876543210\n";

fn start(redis: &RealRedis, keys: &Path, more: &[&str]) -> Proxy {
    let all = ["--mode", "inject", "--context-key-file", keys.to_str().unwrap()];
    Proxy::start(&redis.url(), &[&all[..], more].concat(), &[])
}

/// Writes other keys, and has them read.
async fn replace(proxy: &Proxy, file: &Path, keys: &str) -> (u16, String) {
    std::fs::write(file, keys).unwrap();
    proxy.ask("POST /reload", "", "").await
}

fn forged(payload: &[u8]) -> Vec<u8> {
    let text = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let context = Context::from(SpanContext::parse_traceparent(text).unwrap());
    let mut out = payload.to_vec();
    trailer::write(&context, &mut out);
    out
}

#[tokio::test]
async fn a_key_is_replaced_while_messages_are_under_way() {
    let (redis, folder) = (RealRedis::start(&[]), tempfile::tempdir().unwrap());
    let [of_api, of_worker] = ["api", "worker"].map(|name| folder.path().join(name));
    std::fs::write(&of_api, OLD).unwrap();
    std::fs::write(&of_worker, OLD).unwrap();
    // Whatever is not proven is seen by the worker, so what it does not see was proven.
    let api = start(&redis, &of_api, &[]);
    let worker = start(&redis, &of_worker, &["--forged", "keep"]);
    let mut subscriber = Wire::to(worker.address()).await;
    subscriber.subscribe("SUBSCRIBE news").await;
    let mut publisher = Wire::to(api.address()).await;
    publisher.publish("news", b"by the old key").await;
    assert_eq!(subscriber.message().await.payload, b"by the old key");
    for (proxy, file, keys) in [
        (&worker, &of_worker, [OLD, NEW].concat()),
        (&api, &of_api, [NEW, OLD].concat()),
        (&worker, &of_worker, NEW.to_owned()),
    ] {
        assert_eq!(replace(proxy, file, &keys).await.0, 200);
        publisher.publish("news", b"meanwhile").await;
        assert_eq!(subscriber.message().await.payload, b"meanwhile");
    }
    // A file that cannot be used changes nothing.
    let (status, answer) = replace(&worker, &of_worker, "too short").await;
    assert!(status == 409 && answer.contains("less than 32 characters"), "{answer}");
    publisher.publish("news", b"still").await;
    assert_eq!(subscriber.message().await.payload, b"still");
    // A key that the worker does not have proves nothing.
    assert_eq!(replace(&api, &of_api, OLD).await.0, 200);
    publisher.publish("news", b"by another key").await;
    assert!(subscriber.message().await.payload.len() > b"by another key".len());
}

#[tokio::test]
async fn a_context_that_no_key_proves_is_removed_or_kept_and_counted() {
    let (redis, folder) = (RealRedis::start(&[]), tempfile::tempdir().unwrap());
    let keys = folder.path().join("keys");
    std::fs::write(&keys, OLD).unwrap();
    for (choice, removed) in [(&[][..], true), (&["--forged", "drop"], true), (&["--forged", "keep"], false)] {
        let proxy = start(&redis, &keys, choice);
        let mut subscriber = Wire::to(proxy.address()).await;
        subscriber.subscribe("SUBSCRIBE news").await;
        let payload = forged(b"hello");
        let mut direct = Wire::to(redis.address()).await;
        direct.publish("news", &payload).await;
        let expected = if removed { b"hello".to_vec() } else { payload.clone() };
        assert_eq!(subscriber.message().await.payload, expected);
        // What a service itself publishes is delivered as it published it, whatever it looks like.
        let mut publisher = Wire::to(proxy.address()).await;
        publisher.publish("news", &payload).await;
        assert_eq!(subscriber.message().await.payload, payload);
        drop((subscriber, publisher));
        let page = proxy.metrics().await;
        let forged = page.lines().find(|line| line.starts_with("redistributed_forged_total{")).unwrap();
        assert!(forged.ends_with(" 2"), "{forged}");
    }
}

#[test]
fn a_file_that_cannot_be_used_and_a_carrier_without_room_for_a_mac_are_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    let refused = |more: &[&str]| {
        let all =
            ["--listen", "127.0.0.1:0", "--upstream", "127.0.0.1:1", "--context-key-file", keys.to_str().unwrap()];
        let ended = run(command(&[&all[..], more].concat()));
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        ended.stderr
    };
    assert!(refused(&[]).contains("cannot be read"));
    std::fs::write(&keys, "hunter2").unwrap();
    let error = refused(&[]);
    assert!(error.contains("openssl rand -hex 32") && !error.contains("hunter2"), "{error}");
    std::fs::write(&keys, OLD).unwrap();
    assert!(refused(&["--carrier", "old.*=opencensus"]).contains("no room for a MAC"));
}
