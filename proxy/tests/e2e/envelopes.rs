//! Contexts in the envelopes of job libraries (`--envelope`): a worker without a proxy finds the context of `send` in its job,
//! and one behind a proxy is in the same trace.

use redistributed_core::trace::SpanContext;

use crate::e2e::deployment::{Deployment, Transport};
use crate::e2e::spans::Span;
use crate::support::servers;
use crate::support::wire::{Value, Wire};

const ENVELOPES: [&str; 4] = ["--envelope", "celery,taskiq,sidekiq", "--key-template", "*"];

/// A queue of each library, and a job as the library writes it.
const JOBS: [(&str, &str); 3] = [
    (
        "celery",
        concat!(
            r#"{"body": "W10=", "content-encoding": "utf-8", "content-type": "application/json","#,
            r#" "headers": {"lang": "py", "task": "t", "id": "28bbef77-5088-44a3-9145-b6680fc323df"},"#,
            r#" "properties": {"delivery_tag": "860be6ca-d658-439a-951d-9d5c8983d122"}}"#
        ),
    ),
    (
        "taskiq",
        r#"{"task_id":"0f416ded6ffe455cb9df230d28385f4a","task_name":"t","labels":{},"labels_types":{},"args":[7],"kwargs":{}}"#,
    ),
    ("queue:default", r#"{"retry":true,"queue":"default","class":"Job","args":[7],"jid":"6d3b0a1e2f3c4d5e6f708192"}"#),
];

async fn call(wire: &mut Wire, words: &[&str]) -> Value {
    wire.call_words(&words.iter().map(|word| word.as_bytes()).collect::<Vec<_>>()).await
}

/// A script with the keys of BullMQ that add a job, of which it keeps as much.
const ADD: &str = "redis.call('HSET', KEYS[1] .. ':7', 'data', ARGV[2], 'opts', cjson.encode(cmsgpack.unpack(ARGV[3])))
    redis.call('LPUSH', KEYS[1], '7')
    return '7'";

/// A script with those of BullMQ that take one.
const TAKE: &str = "local id = redis.call('RPOPLPUSH', KEYS[1], KEYS[2])
    return {redis.call('HGETALL', KEYS[1] .. ':' .. id), id, 0, 0}";

/// Calls a script whose keys are these names behind `bull:mail:`.
async fn eval(wire: &mut Wire, script: &str, names: &str, arguments: &[&[u8]]) -> Value {
    let keys: Vec<String> = names.split(' ').map(|name| format!("bull:mail:{name}")).collect();
    let count = keys.len().to_string();
    let mut words = vec![&b"EVAL"[..], script.as_bytes(), count.as_bytes()];
    words.extend(keys.iter().map(String::as_bytes));
    words.extend_from_slice(arguments);
    wire.call_words(&words).await
}

/// The job that is taken from a queue.
async fn take(wire: &mut Wire, queue: &str) -> String {
    let Value::Array(taken) = call(wire, &["BRPOP", queue, "20"]).await else { panic!("no job in {queue}") };
    let Some(Value::Bulk(job)) = taken.into_iter().nth(1) else { panic!("no job in {queue}") };
    String::from_utf8(job).unwrap()
}

/// The context in a job, and the job without it.
fn context_in(job: &str) -> (SpanContext, String) {
    let at = job.find(r#""traceparent":""#).unwrap_or_else(|| panic!("no context in {job}"));
    let (before, rest) = job.split_at(at);
    let (member, behind) = rest.split_at(71);
    let context = SpanContext::parse_traceparent(&member.as_bytes()[15..70]).expect(job);
    (context, format!("{}{behind}", before.strip_suffix(',').unwrap_or(before)))
}

fn is_of(span: &Span, context: &SpanContext) -> bool {
    (&span.trace_id, &span.span_id) == (&context.trace_id.to_string(), &context.span_id.to_string())
}

#[tokio::test]
async fn a_worker_without_a_proxy_finds_the_context_and_one_behind_a_proxy_is_in_the_trace() {
    for server in servers::all() {
        for out_of_band in ["on", "off"] {
            let deployment = Deployment::on(server).await;
            let options = [&ENVELOPES[..], &["--out-of-band", out_of_band]].concat();
            let (api, worker) = (deployment.sidecar("api", &options), deployment.sidecar("worker", &options));
            let (mut adds, mut plain) = (api.connect().await, deployment.direct().await);
            let mut takes = worker.connect().await;
            let (mut in_plain, mut in_traced) = (Vec::new(), Vec::new());
            for (queue, job) in JOBS {
                for _ in 0..2 {
                    assert_eq!(call(&mut adds, &["LPUSH", queue, job]).await, Value::Integer(1));
                    let of_plain = in_plain.len() <= in_traced.len();
                    let taken = take(if of_plain { &mut plain } else { &mut takes }, queue).await;
                    let (context, without) = context_in(&taken);
                    assert_eq!(without, job, "no other byte changes");
                    if of_plain { &mut in_plain } else { &mut in_traced }.push((context, taken.len()));
                }
            }
            drop((adds, takes));
            let spans = deployment.spans([api, worker]).await;
            let sends: Vec<_> = spans.of("api").filter(|span| span.name.starts_with("send")).collect();
            assert_eq!((sends.len(), in_plain.len(), in_traced.len()), (6, 3, 3));
            for (context, len) in in_plain.iter().chain(&in_traced) {
                let send = sends.iter().find(|span| is_of(span, context)).expect("each context is that of a span");
                assert_eq!((send.body_size(), send.links.len()), (Some(*len as i64), 0));
            }
            let items: Vec<_> = spans.of("worker").filter(|span| span.name.starts_with("process")).collect();
            assert_eq!(items.len(), 3);
            for (item, (context, len)) in items.iter().zip(&in_traced) {
                assert_eq!(
                    (&item.trace_id, &item.parent),
                    (&context.trace_id.to_string(), &context.span_id.to_string())
                );
                assert_eq!((item.body_size(), item.links.len()), (Some(*len as i64), 0));
            }
        }
    }
}

#[tokio::test]
async fn a_job_of_bullmq_has_the_context_in_its_options_as_redis_reads_them() {
    for server in servers::all() {
        let deployment = Deployment::on(server).await;
        let options = ["--envelope", "bullmq"];
        let (api, worker) = (deployment.sidecar("api", &options), deployment.sidecar("worker", &options));
        let (mut adds, mut plain, mut takes) = (api.connect().await, deployment.direct().await, worker.connect().await);
        let names = "wait paused meta id completed delayed active events marker";
        let job: [&[u8]; 3] = [b"\x92\xaabull:mail:\xa0", b"{}", b"\xde\0\x01\xa8attempts\0"];
        assert_eq!(eval(&mut adds, ADD, names, &job).await, Value::Bulk(b"7".to_vec()));
        let Value::Bulk(options) = call(&mut plain, &["HGET", "bull:mail:wait:7", "opts"]).await else { panic!() };
        let options: serde_json::Value = serde_json::from_slice(&options).unwrap();
        assert_eq!((options.as_object().unwrap().len(), &options["attempts"]), (2, &serde_json::json!(0)));
        let texts: serde_json::Value = serde_json::from_str(options["tm"].as_str().unwrap()).unwrap();
        let context = SpanContext::parse_traceparent(texts["traceparent"].as_str().unwrap().as_bytes()).unwrap();
        let names = "wait active prioritized events stalled limiter delayed paused meta pc marker";
        eval(&mut takes, TAKE, names, &[b"bull:mail:", b"1700000000000", b"\x80"]).await;
        drop((adds, takes));
        let spans = deployment.spans([api, worker]).await;
        assert!(spans.of("api").any(|span| span.name.starts_with("send") && is_of(span, &context)));
        let items: Vec<_> = spans.of("worker").filter(|span| span.name.starts_with("process")).collect();
        let [item] = items[..] else { panic!("one job: {items:?}") };
        let expected = (context.trace_id.to_string(), context.span_id.to_string());
        assert_eq!((&item.trace_id, &item.parent), (&expected.0, &expected.1));
    }
}

#[tokio::test]
async fn what_is_put_back_or_removed_by_its_bytes_is_what_redis_has() {
    let deployment = Deployment::start().await;
    let sidecar = deployment.sidecar("api", &ENVELOPES);
    let mut wire = sidecar.connect().await;
    for (queue, job) in JOBS {
        call(&mut wire, &["LPUSH", queue, job]).await;
        let first = take(&mut wire, queue).await;
        call(&mut wire, &["LPUSH", queue, &first]).await;
        let Value::Bulk(moved) = call(&mut wire, &["LMOVE", queue, "working", "RIGHT", "LEFT"]).await else { panic!() };
        assert_eq!(String::from_utf8(moved).unwrap(), first, "what has a context keeps it");
        assert_eq!(call(&mut wire, &["LREM", "working", "1", &first]).await, Value::Integer(1));
    }
    drop(wire);
    deployment.spans([sidecar]).await;
}

#[tokio::test]
async fn a_mode_that_adds_nothing_and_a_disabled_proxy_write_nothing() {
    let deployment = Deployment::start().await;
    let mut plain = deployment.direct().await;
    for (mode, variables) in [
        ("observe", &[][..]),
        ("strip", &[]),
        ("inject", &[("OTEL_SDK_DISABLED", "true")]),
        ("inject", &[("OTEL_PROPAGATORS", "none")]),
    ] {
        let options = [&ENVELOPES[..], &["--mode", mode]].concat();
        let sidecar = deployment.sidecar_with("api", &options, Transport::Http, variables);
        let mut wire = sidecar.connect().await;
        for (queue, job) in JOBS {
            call(&mut wire, &["LPUSH", queue, job]).await;
            assert_eq!(take(&mut plain, queue).await, job, "{mode} {variables:?}");
        }
        drop(wire);
        sidecar.stop().await;
    }
}
