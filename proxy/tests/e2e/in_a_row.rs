//! A sidecar in front of another proxy, which other services use, too.

use crate::e2e::deployment::Deployment;

/// No connection of the proxies themselves is broken when the inner one stops.
const ASKS: [&str; 4] = ["--detect-proxies", "on", "--out-of-band", "off"];

#[tokio::test]
async fn the_outer_of_two_proxies_makes_the_spans_and_no_delivery_is_an_orphan() {
    let deployment = Deployment::start().await;
    let inner = deployment.sidecar("shared", &ASKS);
    let (api, worker) =
        (deployment.sidecar_behind(&inner, "api", &ASKS), deployment.sidecar_behind(&inner, "worker", &ASKS));
    let mut subscriber = worker.connect().await;
    subscriber.subscribe("SUBSCRIBE orders").await;
    let mut publisher = api.connect().await;
    for payload in [&b"one"[..], b"two"] {
        assert_eq!(publisher.publish("orders", payload).await, 1);
        assert_eq!(subscriber.message().await.payload, payload);
    }
    drop((publisher, subscriber));
    let server = inner.address;
    let log = inner.stop_with_log().await;
    assert!(log.contains("connections_from_proxies=2"), "{log}");
    let spans = deployment.spans_of_server([api, worker], &[], server).await;
    assert_eq!(spans.0.len(), 4);
    for published in spans.of("api") {
        let delivered: Vec<_> = spans.children(published).collect();
        assert_eq!(delivered.len(), 1);
        assert_eq!((delivered[0].service.as_str(), &delivered[0].trace_id), ("worker", &published.trace_id));
    }
}

/// Some services have a sidecar of their own in front of the shared proxy, and some have not.
#[tokio::test]
async fn a_service_of_the_inner_proxy_and_one_of_an_outer_proxy_understand_each_other() {
    let deployment = Deployment::start().await;
    let inner = deployment.sidecar("shared", &ASKS);
    let outer = deployment.sidecar_behind(&inner, "outer", &ASKS);
    let mut subscribers = [inner.connect().await, outer.connect().await];
    for subscriber in &mut subscribers {
        subscriber.subscribe("SUBSCRIBE orders").await;
    }
    for from in [&inner, &outer] {
        let mut publisher = from.connect().await;
        assert_eq!(publisher.publish("orders", b"text").await, 2);
        for subscriber in &mut subscribers {
            assert_eq!(subscriber.message().await.payload, b"text");
        }
    }
}
