//! Which spans are made. The context travels in any case.

use crate::e2e::deployment::{BOTH_TRANSPORTS, Deployment, Sidecar};
use crate::support::wire::Message;

/// A publish to a service behind a sidecar and to one without. Both must receive `payload`.
async fn publish_once(deployment: &Deployment, api: &Sidecar, worker: &Sidecar, payload: &[u8]) -> Message {
    let mut raw = deployment.direct().await;
    raw.subscribe("SUBSCRIBE orders").await;
    let mut subscriber = worker.connect().await;
    subscriber.subscribe("SUBSCRIBE orders").await;
    let mut publisher = api.connect().await;
    assert_eq!(publisher.publish("orders", payload).await, 2);
    assert_eq!(subscriber.message().await.payload, payload);
    raw.message().await
}

#[tokio::test]
async fn an_unsampled_trace_travels_and_leaves_no_span() {
    for transport in BOTH_TRANSPORTS {
        let deployment = Deployment::start().await;
        let api = deployment.sidecar_with("api", &[], transport, &[("OTEL_TRACES_SAMPLER", "always_off")]);
        let worker = deployment.sidecar_with("worker", &[], transport, &[]);
        let raw = publish_once(&deployment, &api, &worker, b"text").await;
        let (payload, context) = raw.trailer();
        assert_eq!(payload, b"text");
        assert!(!context.span.flags.is_sampled(), "so that the worker decides the same");
        assert_eq!(deployment.spans([api, worker]).await.0.len(), 0);
    }
}

#[tokio::test]
async fn a_sampler_without_regard_to_parents_decides_itself() {
    let deployment = Deployment::start().await;
    let api = deployment.sidecar_with("api", &[], BOTH_TRANSPORTS[0], &[("OTEL_TRACES_SAMPLER", "always_off")]);
    let worker = deployment.sidecar_with("worker", &[], BOTH_TRANSPORTS[0], &[("OTEL_TRACES_SAMPLER", "always_on")]);
    let raw = publish_once(&deployment, &api, &worker, b"text").await;
    let context = raw.trailer().1;
    let spans = deployment.spans([api, worker]).await;
    assert_eq!(spans.0.len(), 1);
    let consumer = spans.only("worker");
    assert_eq!(consumer.trace_id, context.span.trace_id.to_string());
    assert_eq!((&consumer.parent, consumer.flags & 1), (&context.span.span_id.to_string(), 1));
}

#[tokio::test]
async fn an_unsampled_parent_in_the_payload_is_respected_and_passed_on() {
    let deployment = Deployment::start().await;
    let arguments = ["--read-json", "*"];
    let (api, worker) = (deployment.sidecar("api", &arguments), deployment.sidecar("worker", &arguments));
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let payload = format!(r#"{{"id":7,"traceparent":"00-{trace}-b7ad6b7169203331-00"}}"#);
    let raw = publish_once(&deployment, &api, &worker, payload.as_bytes()).await;
    let (before, context) = raw.trailer();
    assert_eq!(before, payload.as_bytes(), "a context of the application is not altered");
    assert_eq!(context.span.trace_id.to_string(), trace);
    assert!(!context.span.flags.is_sampled());
    assert_eq!(deployment.spans([api, worker]).await.0.len(), 0);
}

#[tokio::test]
async fn a_share_of_the_traces_is_sampled_whole() {
    let deployment = Deployment::start().await;
    let variables = [("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0.5")];
    let api = deployment.sidecar_with("api", &[], BOTH_TRANSPORTS[0], &variables);
    let worker = deployment.sidecar_with("worker", &[], BOTH_TRANSPORTS[0], &[]);
    let mut raw = deployment.direct().await;
    raw.subscribe("SUBSCRIBE orders").await;
    let mut subscriber = worker.connect().await;
    subscriber.subscribe("SUBSCRIBE orders").await;
    let mut publisher = api.connect().await;
    let mut sampled = Vec::new();
    for _ in 0..200 {
        publisher.publish("orders", b"x").await;
        let context = raw.message().await.trailer().1.span;
        if context.flags.is_sampled() {
            sampled.push(context.trace_id.to_string());
        }
        subscriber.message().await;
    }
    drop((raw, subscriber, publisher));
    let spans = deployment.spans([api, worker]).await;
    // The probability of fewer than 40 or more than 160 heads in 200 tosses of a fair coin is about 10^-17.
    assert!((40..=160).contains(&sampled.len()), "{} of 200", sampled.len());
    sampled.sort();
    for service in ["api", "worker"] {
        let mut traces: Vec<_> = spans.of(service).map(|span| span.trace_id.clone()).collect();
        traces.sort();
        assert_eq!(traces, sampled);
    }
}

#[tokio::test]
async fn without_an_exporter_the_context_still_travels() {
    let deployment = Deployment::start().await;
    let api = deployment.sidecar_with("api", &[], BOTH_TRANSPORTS[0], &[("OTEL_TRACES_EXPORTER", "none")]);
    let worker = deployment.sidecar("worker", &[]);
    let raw = publish_once(&deployment, &api, &worker, b"text").await;
    let (payload, context) = raw.trailer();
    assert_eq!(payload, b"text");
    let spans = deployment.spans([api, worker]).await;
    let consumer = spans.only("worker");
    assert_eq!(consumer.trace_id, context.span.trace_id.to_string());
    assert_eq!(consumer.parent, context.span.span_id.to_string());
    assert_eq!(spans.0.len(), 1);
}

#[tokio::test]
async fn a_disabled_sidecar_makes_nothing_and_passes_on_what_there_is() {
    let deployment = Deployment::start().await;
    let disabled = [("OTEL_SDK_DISABLED", "true")];
    let api = deployment.sidecar_with("api", &[], BOTH_TRANSPORTS[0], &disabled);
    let worker = deployment.sidecar_with("worker", &[], BOTH_TRANSPORTS[0], &disabled);
    assert_eq!(publish_once(&deployment, &api, &worker, b"text").await.payload, b"text", "no context is made");

    let enabled = deployment.sidecar("enabled", &[]);
    let with_context = publish_once(&deployment, &enabled, &worker, b"text").await;
    assert_eq!(with_context.trailer().0, b"text");
    // The worker has received the payload without the trailer. Now the payload with the trailer is published through
    // the disabled sidecar.
    let mut raw = deployment.direct().await;
    raw.subscribe("SUBSCRIBE orders").await;
    let mut publisher = api.connect().await;
    publisher.publish("orders", &with_context.payload).await;
    assert_eq!(raw.message().await.payload, with_context.payload);
    drop((raw, publisher));
    let spans = deployment.spans([api, worker, enabled]).await;
    assert_eq!(spans.0.len(), 1);
    assert!(spans.only("enabled").has_context(&with_context.trailer().1.span));
}

#[tokio::test]
async fn without_propagators_no_context_is_added() {
    let deployment = Deployment::start().await;
    let api = deployment.sidecar_with("api", &[], BOTH_TRANSPORTS[0], &[("OTEL_PROPAGATORS", "none")]);
    let worker = deployment.sidecar("worker", &[]);
    assert_eq!(publish_once(&deployment, &api, &worker, b"text").await.payload, b"text");
    let spans = deployment.spans([api, worker]).await;
    assert_ne!(spans.only("api").trace_id, spans.only("worker").trace_id);
}
