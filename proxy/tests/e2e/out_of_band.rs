//! Proxies tell each other the contexts of items of queues and streams (`--out-of-band`), so that both ends of an item are in one trace.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::e2e::deployment::{Deployment, proxies_listen};
use crate::e2e::spans::Span;
use crate::support::admin::exchange;
use crate::support::wire::{Value, Wire};
use crate::support::{DEADLINE, servers};

const FOLLOWING: [&str; 6] = ["--follow", "parent", "--follow-window", "1s", "--key-template", "jobs:*"];

/// A job with an id and a number, which no other job has.
fn job(number: u64) -> String {
    format!(r#"{{"id":"550e8400-e29b-41d4-a716-{number:012x}","pad":"{}"}}"#, "x".repeat(number as usize))
}

/// Waits until proxies listen to so many keys.
async fn listening(direct: &mut Wire, keys: usize) {
    proxies_listen(direct, "context", keys).await;
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

/// Waits until the proxies with these admin ports have heard so many notices.
async fn heard(admins: &[SocketAddr], notices: u64) {
    let began = Instant::now();
    for admin in admins {
        loop {
            let page = exchange(*admin, "GET /metrics", "", "").await.1;
            let counts = page.lines().filter(|line| line.starts_with("redistributed_contexts_heard_total{"));
            let count: u64 = counts.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum();
            assert!(count <= notices, "{count} instead of {notices}");
            if count == notices {
                break;
            }
            assert!(began.elapsed() < DEADLINE, "{count} instead of {notices}");
            tokio::task::yield_now().await;
        }
    }
}

/// Who works on ids: the clients of two workers, and where they are asked what they have heard.
struct Workers {
    clients: [Wire; 2],
    admins: [SocketAddr; 2],
    /// What each of the two has heard.
    notices: u64,
}

impl Workers {
    const QUEUE: &'static str = "rq:queue:default";

    /// Someone adds an id, of which a proxy tells.
    async fn add(&mut self, adds: &mut Wire, id: &str) {
        let Value::Integer(_) = adds.call(&format!("RPUSH {} {id}", Self::QUEUE)).await else { panic!() };
        self.hear().await;
    }

    /// A worker tries the job again.
    async fn add_again(&mut self, worker: usize, id: &str) {
        self.clients[worker].call(&format!("RPUSH {} {id}", Self::QUEUE)).await;
        self.hear().await;
    }

    /// A worker takes the id.
    async fn take(&mut self, worker: usize, id: &str) {
        let taken = self.clients[worker].call(&format!("LPOP {}", Self::QUEUE)).await;
        assert_eq!(taken, Value::Bulk(id.into()));
        self.hear().await;
    }

    async fn hear(&mut self) {
        self.notices += 1;
        heard(&self.admins, self.notices).await;
    }
}

#[tokio::test]
async fn an_id_is_below_what_has_added_it_last_unless_two_additions_may_be_in_the_queue() {
    const TRIED_AGAIN: &str = "550e8400-e29b-41d4-a716-446655440000";
    const TWICE: &str = "b4a577edbccf1d805744efa9";
    const UNTOLD: &str = "b4a577edbccf1d805744efa9b4a577ed";
    for server in servers::all() {
        let deployment = Deployment::on(server).await;
        let mut direct = deployment.direct().await;
        let arguments = [&FOLLOWING[..], &["--admin", "0"]].concat();
        let mut sidecars = ["api", "worker", "other"].map(|service| deployment.sidecar(service, &arguments));
        let admins = sidecars.each_mut().map(|sidecar| sidecar.admin_port());
        let [api, worker, other] = &sidecars;
        let (mut adds, clients) = (api.connect().await, [worker.connect().await, other.connect().await]);
        let mut workers = Workers { clients, admins: [admins[1], admins[2]], notices: 0 };
        for client in &mut workers.clients {
            client.call(&format!("LPOP {}", Workers::QUEUE)).await;
        }
        subscribed(&mut direct, 2).await;

        workers.add(&mut adds, TRIED_AGAIN).await;
        workers.take(0, TRIED_AGAIN).await;
        workers.add_again(0, TRIED_AGAIN).await;
        workers.take(1, TRIED_AGAIN).await;
        workers.add_again(1, TRIED_AGAIN).await;
        workers.take(0, TRIED_AGAIN).await;

        workers.add(&mut adds, TWICE).await;
        workers.add(&mut adds, TWICE).await;
        workers.take(0, TWICE).await;
        workers.take(1, TWICE).await;

        direct.call(&format!("RPUSH {} {UNTOLD}", Workers::QUEUE)).await;
        workers.take(0, UNTOLD).await;
        workers.add_again(0, UNTOLD).await;
        workers.take(1, UNTOLD).await;

        drop((adds, workers));
        let spans = deployment.spans_after_warnings(sidecars, &["admin port"]).await.0;
        for (adds, takes) in [("api", "worker"), ("worker", "other"), ("other", "worker")] {
            let added = of_item(&spans, adds, "send", TRIED_AGAIN);
            let taken = of_item(&spans, takes, "process", TRIED_AGAIN);
            let [added] = added[..] else { panic!("{added:?}") };
            let taken: Vec<_> = taken.iter().filter(|taken| taken.parent == added.span_id).collect();
            let [taken] = taken[..] else { panic!("{taken:?}") };
            assert_eq!((&taken.trace_id, taken.links.len()), (&added.trace_id, 0));
        }
        for id in [TWICE, UNTOLD] {
            for takes in ["worker", "other"] {
                let taken = of_item(&spans, takes, "process", id);
                let [taken] = taken[..] else { panic!("{taken:?}") };
                assert!(taken.is_root() && taken.links.is_empty(), "{taken:?}");
            }
        }
    }
}

/// Waits until so many proxies listen to the only key.
async fn subscribed(direct: &mut Wire, proxies: i64) {
    listening(direct, 1).await;
    let began = Instant::now();
    let Value::Array(found) = direct.call("PUBSUB CHANNELS __redistributed:context:*").await else { panic!() };
    let [Value::Bulk(channel)] = &found[..] else { panic!("{found:?}") };
    let channel = String::from_utf8_lossy(channel).into_owned();
    loop {
        let Value::Array(counted) = direct.call(&format!("PUBSUB NUMSUB {channel}")).await else { panic!() };
        if counted.last() == Some(&Value::Integer(proxies)) {
            return;
        }
        assert!(began.elapsed() < DEADLINE, "{counted:?}");
        tokio::task::yield_now().await;
    }
}
