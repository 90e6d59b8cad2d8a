//! What a plain worker does because of an item that it has taken from a list or a stream is below the span of the item. That is below
//! the span of an instrumented producer, or in the trace of a plain one (`--follow`).

use std::time::{Duration, Instant};

use otlp_receiver::ReceivedSpan;
use otlp_receiver::proto::trace::v1::span::SpanKind;

use crate::e2e::deployment::{Deployment, Sidecar};
use crate::e2e::following::id;
use crate::e2e::spans::Span;
use crate::support::DEADLINE;
use crate::support::wire::{Value, Wire};

const FOLLOWING: [&str; 6] = ["--follow", "parent", "--follow-window", "1s", "--key-template", "jobs:*"];

/// A worker that reads a job's price, stores a result and announces it, on another connection than that on which it waits for
/// jobs.
struct Worker {
    waiting: Wire,
    commands: Wire,
}

impl Worker {
    async fn start(sidecar: &Sidecar) -> Self {
        Self { waiting: sidecar.connect().await, commands: sidecar.connect().await }
    }

    /// Takes a job, and works on it. The job is the last string of what is handed over.
    async fn work(&mut self, take: &str) -> Value {
        let taken = self.waiting.call(take).await;
        let mut job = &taken;
        while let Value::Array(values) = job {
            job = values.last().expect("something was handed over");
        }
        let Value::Bulk(job) = job else { panic!("{taken:?}") };
        let job = String::from_utf8_lossy(job).into_owned();
        self.commands.call(&format!("GET price:{job}")).await;
        self.commands.call(&format!("SET result:{job} done")).await;
        self.commands.call(&format!("PUBLISH done result:{job}")).await;
        taken
    }
}

/// Whether all work on some item has been received, below it.
fn has_whole_work(spans: &[ReceivedSpan]) -> bool {
    let items = spans.iter().filter(|span| span.span.name == "process jobs:*");
    items.into_iter().any(|item| spans.iter().filter(|span| span.parent_span_id() == item.span_id()).count() >= 3)
}

/// Runs jobs through a worker that takes them by `take`, and returns its spans. `give` puts a job there, and `end` says that it is done.
async fn run(deployment: &Deployment, give: &str, take: &str, end: Option<&str>) -> Vec<Span> {
    let worker = deployment.sidecar("worker", &FOLLOWING);
    let mut giver = deployment.direct().await;
    let mut service = Worker::start(&worker).await;
    // In its first five seconds the proxy cannot know what the service had received before.
    let began = Instant::now();
    for number in 1.. {
        giver.call(&give.replace("{id}", &id(number))).await;
        let taken = service.work(take).await;
        if let Some(end) = end {
            let entry = entry_id(&taken).expect("an entry has an id");
            service.commands.call(&end.replace("{entry}", &entry)).await;
        }
        if deployment.has_received(has_whole_work) {
            break;
        }
        assert!(began.elapsed() < DEADLINE, "no work is below its item after {number} jobs");
        // As many jobs as people make, and not as many as a loop can.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(service);
    deployment.spans([worker]).await.0
}

/// The id of the entry in a reply.
fn entry_id(reply: &Value) -> Option<String> {
    match reply {
        Value::Array(values) => values.iter().find_map(entry_id),
        Value::Bulk(bytes) => {
            let is_id =
                |text: &&str| text.contains('-') && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit());
            std::str::from_utf8(bytes).ok().filter(is_id).map(str::to_owned)
        }
        _ => None,
    }
}

/// Checks the spans of items, and that the work on one of them is below it and within its time.
fn check(spans: &[Span]) -> &Span {
    let items: Vec<_> = spans.iter().filter(|span| span.name == "process jobs:*").collect();
    for item in &items {
        assert!(item.parent.is_empty() && item.text("messaging.destination.name").is_none(), "{item:?}");
        assert_eq!(item.text("messaging.system"), Some("redis"));
        assert_eq!(item.text("messaging.operation.type"), Some("process"));
        assert_eq!(item.text("messaging.destination.template"), Some("jobs:*"));
        assert!(!format!("{item:?}").contains("jobs:secret"), "no key is told");
    }
    let below = |item: &Span| spans.iter().filter(|span| span.parent == item.span_id).cloned().collect::<Vec<_>>();
    let item = items.into_iter().find(|item| below(item).len() >= 3).expect("the work that had been received");
    for span in below(item) {
        assert!(span.text("redistributed.cause").is_some(), "{span:?}");
        // The item ends when its acknowledgement is sent, and not when that is answered.
        let end = if span.name.starts_with("XACK") { span.start } else { span.end };
        // They are dated one after the other, by a wall clock that may be slewed meanwhile.
        assert!(item.start <= span.start && end <= item.end + 1_000_000, "the item lasts as long as its work");
    }
    item
}

/// The context of a span of an instrumented producer, and of one that it did not sample.
const PRODUCER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const UNSAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

#[tokio::test]
async fn an_item_is_below_the_span_of_the_instrumented_producer_whose_context_is_in_its_envelope() {
    let deployment = Deployment::start().await;
    let mut producer = deployment.direct().await;
    producer.call("XGROUP CREATE jobs:stream workers $ MKSTREAM").await;
    let worker = deployment.sidecar("worker", &FOLLOWING);
    let (mut resp2, mut resp3) = (worker.connect().await, Wire::resp3(worker.address).await);
    for (give, key) in [
        (format!(r#"LPUSH jobs:list {{"body":"W10=","headers":{{"id":"7","traceparent":"{PRODUCER}"}}}}"#), "list"),
        (format!(r#"LPUSH jobs:list {{"body":"W10=","headers":{{"id":"8","traceparent":"{UNSAMPLED}"}}}}"#), "list"),
        (format!(r#"XADD jobs:stream * data {{"labels":{{"traceparent":"{PRODUCER}"}}}}"#), "stream"),
        (format!("XADD jobs:stream * id 7 traceparent {PRODUCER} tracestate congo=t61"), "stream"),
        ("LPUSH jobs:list plain".to_owned(), "list"),
    ] {
        producer.call(&give).await;
        let pop = "BRPOP jobs:list 5";
        let read = "XREADGROUP GROUP workers me BLOCK 5000 STREAMS jobs:stream >";
        let (service, take) = if key == "list" { (&mut resp2, pop) } else { (&mut resp3, read) };
        assert!(matches!(service.call(take).await, Value::Array(_)), "{give}");
    }
    drop((resp2, resp3));
    let spans = deployment.spans([worker]).await.0;
    let mut items: Vec<_> = spans.iter().filter(|span| span.name == "process jobs:*").collect();
    items.sort_by_key(|item| item.start);
    let ancestors = items.iter().map(|item| (item.parent.as_str(), item.trace_state.as_str())).collect::<Vec<_>>();
    let parent = "00f067aa0ba902b7";
    assert_eq!(ancestors, [(parent, ""), (parent, ""), (parent, "congo=t61"), ("", "")]);
    assert!(items[..3].iter().all(|item| PRODUCER.contains(&item.trace_id)), "{items:?}");
    assert!(!PRODUCER.contains(&items[3].trace_id));
}

#[tokio::test]
async fn the_work_of_a_plain_worker_is_below_the_item_of_the_list_that_caused_it() {
    let deployment = Deployment::start().await;
    let spans = run(&deployment, "LPUSH jobs:secret {id}", "BRPOP other jobs:secret 5", None).await;
    let item = check(&spans);
    assert_eq!((item.text("messaging.message.id"), item.text("messaging.consumer.group.name")), (None, None));
}

#[tokio::test]
async fn the_work_of_a_plain_worker_is_below_the_entry_of_the_stream_that_caused_it() {
    let deployment = Deployment::start().await;
    deployment.direct().await.call("XGROUP CREATE jobs:secret workers $ MKSTREAM").await;
    let take = "XREADGROUP GROUP workers me COUNT 10 BLOCK 5000 STREAMS jobs:secret >";
    let spans = run(&deployment, "XADD jobs:secret * job {id}", take, Some("XACK jobs:secret workers {entry}")).await;
    let item = check(&spans);
    assert!(item.text("messaging.message.id").is_some_and(|id| id.contains('-')), "{item:?}");
    assert_eq!(item.text("messaging.consumer.group.name"), Some("workers"));
}

/// Adds an item by one sidecar and takes it out by another, and returns the spans of both ends.
async fn both_ends(deployment: &Deployment, add: &str, take: &str) -> [Span; 2] {
    let arguments = [&FOLLOWING[..], &["--out-of-band", "off"]].concat();
    let (api, worker) = (deployment.sidecar("api", &arguments), deployment.sidecar("worker", &arguments));
    let (mut adds, mut takes) = (api.connect().await, worker.connect().await);
    // They are in another database, which the names of the items tell apart.
    for service in [&mut adds, &mut takes] {
        service.call("SELECT 3").await;
    }
    adds.call(add).await;
    takes.call(take).await;
    drop((adds, takes));
    let spans = deployment.spans([api, worker]).await;
    [spans.only("api").clone(), spans.only("worker").clone()]
}

#[tokio::test]
async fn who_adds_a_job_and_who_takes_it_share_a_trace_though_no_byte_is_added() {
    let deployment = Deployment::start().await;
    let job = r#"{"id":"550e8400-e29b-41d4-a716-446655440000","task":"add"}"#;
    let [added, taken] = both_ends(&deployment, &format!("LPUSH celery {job}"), "BRPOP celery 5").await;
    assert_eq!((added.name.as_str(), added.kind, added.parent.as_str()), ("send", SpanKind::Producer, ""));
    assert_eq!(added.text("messaging.operation.name"), Some("send"));
    assert_eq!(added.attributes["messaging.message.body.size"], (job.len() as i64).into());
    assert_eq!((taken.name.as_str(), &taken.trace_id), ("process", &added.trace_id));
    assert_eq!(taken.links, [(added.trace_id, added.span_id)]);
    assert!(taken.parent.is_empty() && taken.start >= added.start);
}

#[tokio::test]
async fn who_adds_an_entry_to_a_stream_and_who_takes_it_share_a_trace() {
    let deployment = Deployment::start().await;
    let mut direct = deployment.direct().await;
    direct.call("SELECT 3").await;
    direct.call("XGROUP CREATE jobs:secret workers $ MKSTREAM").await;
    let take = "XREADGROUP GROUP workers me BLOCK 5000 STREAMS jobs:secret >";
    let [added, taken] = both_ends(&deployment, "XADD jobs:secret MAXLEN ~ 100 * job 7", take).await;
    assert_eq!((added.name.as_str(), taken.name.as_str()), ("send jobs:*", "process jobs:*"));
    assert_eq!(
        (&taken.trace_id, &taken.links[..]),
        (&added.trace_id, &[(added.trace_id.clone(), added.span_id.clone())][..])
    );
    let id = added.text("messaging.message.id");
    assert!(id.is_some() && id == taken.text("messaging.message.id"), "{added:?}");
    assert!(!format!("{added:?}").contains("jobs:secret"), "no key is told");
}
