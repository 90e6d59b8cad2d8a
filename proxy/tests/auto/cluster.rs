//! In a cluster, other nodes have subscribers that cannot be counted on this one, so nothing is ever added.

use std::time::Instant;

use tokio::time::sleep;

use crate::auto::fleet::{FAST, Fleet, PAUSE, expect_payloads};
use crate::support::DEADLINE;
use crate::support::admin::Proxy;
use crate::support::servers;
use crate::support::wire::{Value, Wire};

#[tokio::test]
async fn on_a_node_of_a_cluster_nothing_is_added_and_the_metrics_say_why() {
    for server in servers::all() {
        let fleet = Fleet::start_with(server, &["--cluster-enabled", "yes"]);
        let mut direct = fleet.direct().await;
        assert_eq!(direct.call("CLUSTER ADDSLOTSRANGE 0 16383").await, Value::Status("OK".into()));
        // Until the cluster is ready, `SPUBLISH` is refused.
        while !matches!(direct.call("CLUSTER INFO").await, Value::Bulk(text) if text.starts_with(b"cluster_state:ok")) {
            sleep(PAUSE).await;
        }
        let proxy = Proxy::start(&fleet.redis.url(), &[&["--mode", "auto"], &FAST[..]].concat(), &[]);
        // All subscribers are behind the proxy, so on a Redis that is not a cluster the proof would succeed.
        let mut subscriber = Wire::to(proxy.address()).await;
        subscriber.subscribe("SUBSCRIBE ch").await;
        let mut of_shards = Wire::resp3(proxy.address()).await;
        of_shards.subscribe("SSUBSCRIBE shard").await;
        let mut publisher = fleet.publisher_at(proxy.address()).await;
        for (command, channel, subscriber) in
            [("PUBLISH", "ch", &mut subscriber), ("SPUBLISH", "shard", &mut of_shards)]
        {
            let payloads = publisher.never_a_context(command, channel).await;
            expect_payloads(subscriber, &payloads).await;
        }
        let page = proxy.metrics().await;
        let published = sum(&page, "redistributed_published_total{", "");
        let cluster = sum(&page, "redistributed_skipped_total{", "reason=\"auto_cluster\"");
        let unknown = sum(&page, "redistributed_skipped_total{", "reason=\"auto_unknown\"");
        assert!(cluster > 0.0 && cluster + unknown == published, "{page}");
        assert!(sum(&page, "redistributed_injected_total{", "") == 0.0, "{page}");
        // On a busy machine a verdict may have grown old by the time the page is read.
        let started = Instant::now();
        while sum(&proxy.metrics().await, "redistributed_auto_channels{", "verdict=\"cluster\"") != 2.0 {
            assert!(started.elapsed() < DEADLINE, "{}", proxy.metrics().await);
            assert!(!publisher.publish("PUBLISH", "ch").await.context);
            assert!(!publisher.publish("SPUBLISH", "shard").await.context);
            sleep(PAUSE).await;
        }
    }
}

/// The sum of the samples in the metrics `page` whose names begin with `name` and whose labels contain `label`.
fn sum(page: &str, name: &str, label: &str) -> f64 {
    let lines = page.lines().filter(|line| line.starts_with(name) && line.contains(label));
    let values: Vec<f64> = lines.map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap()).collect();
    assert!(!values.is_empty(), "no {name} with {label} in {page}");
    values.iter().sum()
}
