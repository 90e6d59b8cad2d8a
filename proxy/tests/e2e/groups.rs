//! The span of an entry of a stream lasts until the worker acknowledges the entry, and what is claimed is handed over again
//! (`--follow`, `--ack-window`).

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use otlp_receiver::ReceivedSpan;
use tokio::process::Command;

use crate::e2e::clients::{installed, source};
use crate::e2e::deployment::{Deployment, Sidecar};
use crate::e2e::spans::{Span, Spans};
use crate::support::{servers, within};

const FOLLOWING: [&str; 8] =
    ["--follow", "parent", "--follow-window", "100ms", "--ack-window", "5s", "--key-template", "jobs:*"];

/// How far the wall clock may be slewed between two times, in nanoseconds.
const SLEWED: u64 = 10_000_000;

/// The deliveries of the six entries, and those of the two that are claimed.
const DELIVERIES: usize = 8;

/// The two workers of `group_worker.py` behind a sidecar, with a stream of their own.
struct Workers {
    service: String,
    sidecar: Sidecar,
    /// When each entry that was acknowledged was, by the worker's clock.
    acknowledged: BTreeMap<String, RangeInclusive<u64>>,
}

impl Workers {
    /// Runs the workers until they have done all of their work.
    async fn run(deployment: &Deployment, protocol: u8) -> Self {
        let (service, stream) = (format!("resp{protocol}"), format!("jobs:secret:{protocol}"));
        let mut giver = deployment.direct().await;
        giver.call(&format!("XGROUP CREATE {stream} workers $ MKSTREAM")).await;
        for number in 1..=6 {
            giver.call(&format!("XADD {stream} {number}-0 job {number}")).await;
        }
        let sidecar = deployment.sidecar(&service, &FOLLOWING);
        let mut command = Command::new(installed("REDISTRIBUTED_TEST_PYTHON"));
        command.arg(source("group_worker.py")).arg(sidecar.url()).args([&protocol.to_string(), &stream, "workers"]);
        let output = within("the workers", command.kill_on_drop(true).output()).await.expect("a Python");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let time = |text: &str| text.parse::<u64>().expect("nanoseconds");
        let line = |line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            let [id, before, after] = words[..] else { panic!("{line:?} is not three words") };
            (id.to_owned(), time(before)..=time(after))
        };
        let acknowledged = String::from_utf8_lossy(&output.stdout).lines().map(line).collect();
        Self { service, sidecar, acknowledged }
    }
}

fn is_item(span: &ReceivedSpan) -> bool {
    span.span.name == "process jobs:*"
}

/// The span of a delivery of an entry.
fn delivery<'a>(spans: &'a Spans, service: &'a str, id: &str, is_redelivery: bool) -> &'a Span {
    let is_so = |span: &&Span| {
        span.text("messaging.message.id") == Some(id)
            && span.attributes.contains_key("redistributed.redelivery") == is_redelivery
    };
    let found: Vec<_> = spans.of(service).filter(is_so).collect();
    let [span] = found[..] else { panic!("{id} {is_redelivery}: {found:#?}") };
    span
}

/// Checks the spans of the six entries.
fn check(spans: &Spans, service: &str, acknowledged: &BTreeMap<String, RangeInclusive<u64>>) {
    let ids: Vec<_> = acknowledged.keys().map(String::as_str).collect();
    assert_eq!(ids, ["1-0", "2-0", "3-0", "5-0", "6-0"]);
    for number in 1..=6 {
        let (id, is_claimed) = (format!("{number}-0"), number > 4);
        let first = delivery(spans, service, &id, false);
        assert_eq!(first.text("messaging.client.id"), Some("first"));
        let last = if is_claimed { delivery(spans, service, &id, true) } else { first };
        if is_claimed {
            assert_eq!(last.text("messaging.client.id"), Some("second"));
            assert!(last.links.contains(&(first.trace_id.clone(), first.span_id.clone())), "{last:?}");
            assert!(!first.links.contains(&(last.trace_id.clone(), last.span_id.clone())), "{first:?}");
            assert_eq!(first.attributes.get("redistributed.acknowledged"), Some(&false.into()), "{first:?}");
        }
        for span in [first, last] {
            assert_eq!(span.text("messaging.consumer.group.name"), Some("workers"));
            assert!(!format!("{span:?}").contains("secret"), "no key is told");
        }
        let is_acknowledged = acknowledged.get(&id);
        assert_eq!(
            last.attributes.get("redistributed.acknowledged"),
            Some(&is_acknowledged.is_some().into()),
            "{last:?}"
        );
        if let Some(times) = is_acknowledged {
            let (earliest, latest) = (times.start() - SLEWED, times.end() + SLEWED);
            assert!((earliest..=latest).contains(&last.end), "{id} ended at {} and not within {times:?}", last.end);
        }
    }
}

#[tokio::test]
async fn the_span_of_an_entry_ends_with_its_acknowledgement_and_a_claim_is_linked_to_the_first_delivery() {
    // All of them wait at the same time for the entry that is never acknowledged.
    let mut running = Vec::new();
    for server in servers::all() {
        let deployment = Deployment::on(server).await;
        let workers = [Workers::run(&deployment, 2).await, Workers::run(&deployment, 3).await];
        running.push((deployment, workers));
    }
    for (deployment, workers) in running {
        deployment.collector_has_such(2 * DELIVERIES, is_item).await;
        let is_handed_over =
            |span: &ReceivedSpan| span.span.events.iter().map(|event| event.name.as_str()).eq(["handed over"]);
        let handed_over =
            |spans: &[ReceivedSpan]| spans.iter().filter(|span| is_item(span) && is_handed_over(span)).count();
        // Those that were acknowledged last longer than until they were handed over.
        assert!(deployment.has_received(|spans| handed_over(spans) >= 2 * 5));
        let [two, three] = workers;
        let spans = deployment.spans([two.sidecar, three.sidecar]).await;
        check(&spans, &two.service, &two.acknowledged);
        check(&spans, &three.service, &three.acknowledged);
    }
}
