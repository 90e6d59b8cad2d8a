//! Proxies tell each other the contexts of items of queues and streams (`--out-of-band`), so that both ends of an item are in one trace.

use std::time::{Duration, Instant};

use crate::e2e::deployment::Deployment;
use crate::e2e::spans::Span;
use crate::support::wire::{Value, Wire};
use crate::support::{DEADLINE, servers};

const FOLLOWING: [&str; 6] = ["--follow", "parent", "--follow-window", "1s", "--key-template", "jobs:*"];

/// A job with an id and a number, which no other job has.
fn job(number: u64) -> String {
    format!(r#"{{"id":"550e8400-e29b-41d4-a716-{number:012x}","pad":"{}"}}"#, "x".repeat(number as usize))
}

/// Waits until proxies listen to so many keys.
async fn listening(direct: &mut Wire, keys: usize) {
    let began = Instant::now();
    loop {
        let Value::Array(found) = direct.call("PUBSUB CHANNELS __redistributed:context:*").await else { panic!() };
        if found.len() == keys {
            return;
        }
        assert!(began.elapsed() < DEADLINE, "proxies listen to {found:?}");
        tokio::task::yield_now().await;
    }
}

/// The span of this service and name whose item is so long.
fn of_item<'a>(spans: &'a [Span], service: &str, name: &str, job: &str) -> Vec<&'a Span> {
    let is_it =
        |span: &&Span| span.service == service && span.name == name && span.body_size() == Some(job.len() as i64);
    spans.iter().filter(is_it).collect()
}

#[tokio::test]
async fn an_item_that_is_waited_for_is_below_the_span_that_has_added_it() {
    for server in servers::all() {
        let deployment = Deployment::on(server).await;
        let mut direct = deployment.direct().await;
        direct.call("XGROUP CREATE jobs:stream workers $ MKSTREAM").await;
        let (api, worker) = (deployment.sidecar("api", &FOLLOWING), deployment.sidecar("worker", &FOLLOWING));
        let (mut adds, mut list, mut stream) = (api.connect().await, worker.connect().await, worker.connect().await);
        let (list_job, entry) = (job(1), job(2));
        let taking = async {
            let read = "XREADGROUP GROUP workers me BLOCK 5000 STREAMS jobs:stream >";
            tokio::join!(list.call("BRPOP other celery 5"), stream.call(read));
        };
        let adding = async {
            listening(&mut direct, 3).await;
            adds.call(&format!("LPUSH celery {list_job}")).await;
            adds.call(&format!("XADD jobs:stream * job {entry}")).await;
        };
        tokio::join!(taking, adding);
        drop((adds, list, stream));
        let spans = deployment.spans([api, worker]).await;
        for name in ["send", "send jobs:*"] {
            let added: Vec<_> = spans.of("api").filter(|span| span.name == name).collect();
            let taken: Vec<_> =
                spans.of("worker").filter(|span| span.name == name.replace("send", "process")).collect();
            let ([added], [taken]) = (&added[..], &taken[..]) else { panic!("{added:?} {taken:?}") };
            assert_eq!((&taken.trace_id, &taken.parent), (&added.trace_id, &added.span_id), "{name}");
            assert!(taken.links.is_empty() && added.is_root(), "{name}");
        }
    }
}

/// The job that is added because of another one, which has the same id.
fn next(job: &str) -> String {
    format!("{job}{}", " ".repeat(1000)).replace(' ', "-")
}

#[tokio::test]
async fn a_job_that_is_added_because_of_another_one_is_in_one_trace_with_both() {
    let deployment = Deployment::start().await;
    let mut direct = deployment.direct().await;
    let sidecars = ["api", "passer", "worker"].map(|service| deployment.sidecar(service, &FOLLOWING));
    let [api, passer, worker] = &sidecars;
    let (mut adds, mut takes, mut passes) = (api.connect().await, passer.connect().await, passer.connect().await);
    let mut works = worker.connect().await;
    let (began, mut jobs) = (Instant::now(), Vec::new());
    // In its first five seconds a proxy cannot know what its service had received before.
    loop {
        let first = job(jobs.len() as u64 + 1);
        let second = next(&first);
        let passing = async {
            takes.call("BRPOP celery 20").await;
            passes.call(&format!("LPUSH taskiq {second}")).await;
        };
        let adding = async {
            listening(&mut direct, 2).await;
            adds.call(&format!("LPUSH celery {first}")).await;
        };
        tokio::join!(passing, works.call("BRPOP taskiq 20"), adding);
        jobs.push([first, second]);
        let is_whole = deployment.has_received(|spans| {
            let sends: Vec<_> =
                spans.iter().filter(|span| span.span.name == "send" && span.service_name() == "passer").collect();
            sends.iter().any(|span| !span.parent_span_id().is_empty())
        });
        if is_whole {
            break;
        }
        assert!(began.elapsed() < DEADLINE, "no job has a known cause after {} jobs", jobs.len());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop((adds, takes, passes, works));
    let spans = deployment.spans(sidecars).await.0;
    let mut whole = 0;
    for [first, second] in &jobs {
        let found = [
            ("api", "send", first),
            ("passer", "process", first),
            ("passer", "send", second),
            ("worker", "process", second),
        ]
        .map(|(service, name, job)| of_item(&spans, service, name, job));
        let [[added], [taken], [passed], [worked]] = found.each_ref().map(|found| &found[..]) else {
            panic!("{found:?}")
        };
        assert_eq!((&taken.trace_id, &taken.parent), (&added.trace_id, &added.span_id));
        assert_eq!((&worked.trace_id, &worked.parent), (&passed.trace_id, &passed.span_id));
        if !passed.parent.is_empty() {
            assert_eq!((&passed.trace_id, &passed.parent), (&taken.trace_id, &taken.span_id));
            whole += 1;
        }
    }
    assert!(whole > 0, "{} jobs", jobs.len());
}
