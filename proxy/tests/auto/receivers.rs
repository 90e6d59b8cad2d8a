//! Which receivers allow contexts, and which do not.

use crate::auto::fleet::{Fleet, expect_payloads};
use crate::support::servers;
use crate::support::wire::Wire;

#[tokio::test]
async fn channels_whose_subscribers_are_all_behind_proxies_get_contexts() {
    for server in servers::all() {
        let fleet = Fleet::start(server);
        let (first, second) = (fleet.proxy(&[]).await, fleet.proxy(&["--mode", "strip", "--announce"]).await);
        let mut subscribers = [
            Wire::to(first.address()).await,
            Wire::resp3(first.address()).await,
            Wire::to(second.address()).await,
            Wire::resp3(second.address()).await,
        ];
        let mut publisher = fleet.publisher(&first).await;
        for (subscribe, unsubscribe, publish) in [
            ("SUBSCRIBE ch", "UNSUBSCRIBE ch", "PUBLISH"),
            ("PSUBSCRIBE c*", "PUNSUBSCRIBE c*", "PUBLISH"),
            ("SSUBSCRIBE ch", "SUNSUBSCRIBE ch", "SPUBLISH"),
        ] {
            for subscriber in &mut subscribers {
                subscriber.subscribe(subscribe).await;
            }
            let (took, payloads) = publisher.until_context(publish, "ch").await;
            println!("{}: {subscribe}: contexts after {took:?}", server.name);
            for subscriber in &mut subscribers {
                expect_payloads(subscriber, &payloads).await;
                subscriber.subscribe(unsubscribe).await;
            }
        }
    }
}

#[tokio::test]
async fn patterns_and_channels_are_counted_together() {
    for server in servers::all() {
        let fleet = Fleet::start(server);
        let proxy = fleet.proxy(&[]).await;
        let mut subscriber = Wire::resp3(proxy.address()).await;
        subscriber.subscribe("SUBSCRIBE ch other").await;
        subscriber.subscribe("PSUBSCRIBE c* *h unrelated.*").await;
        let mut publisher = fleet.publisher(&proxy).await;
        publisher.until_context("PUBLISH", "ch").await;
        publisher.until_context("PUBLISH", "other").await;
        assert_eq!(publisher.publish("PUBLISH", "ch").await.receivers, 3);
        // The same pattern, subscribed by a client without a proxy.
        let mut direct = fleet.direct().await;
        direct.subscribe("PSUBSCRIBE c*").await;
        publisher.publish("PUBLISH", "ch").await;
        publisher.never_a_context("PUBLISH", "ch").await;
        publisher.until_context("PUBLISH", "other").await;
        drop(direct);
        publisher.until_context("PUBLISH", "ch").await;
        // Another pattern that no proxy announces. It could match any channel.
        let mut direct = fleet.direct().await;
        direct.subscribe("PSUBSCRIBE nothing.*").await;
        publisher.publish("PUBLISH", "other").await;
        publisher.until_without("PUBLISH", "other").await;
        publisher.never_a_context("PUBLISH", "other").await;
    }
}

#[tokio::test]
async fn one_subscriber_without_a_proxy_keeps_contexts_away_from_its_channel_only() {
    for server in servers::all() {
        let fleet = Fleet::start(server);
        let proxy = fleet.proxy(&[]).await;
        let mut proxied = Wire::to(proxy.address()).await;
        proxied.subscribe("SUBSCRIBE mixed clean").await;
        proxied.subscribe("SSUBSCRIBE mixed").await;
        let mut direct = fleet.direct().await;
        direct.subscribe("SUBSCRIBE mixed").await;
        direct.subscribe("SSUBSCRIBE mixed").await;
        let mut publisher = fleet.publisher(&proxy).await;
        publisher.until_context("PUBLISH", "clean").await;
        let payloads = publisher.never_a_context("PUBLISH", "mixed").await;
        expect_payloads(&mut direct, &payloads).await;
        publisher.never_a_context("SPUBLISH", "mixed").await;
        drop(direct);
        publisher.until_context("PUBLISH", "mixed").await;
        publisher.until_context("SPUBLISH", "mixed").await;
    }
}

#[tokio::test]
async fn a_publish_without_subscribers_gets_no_context() {
    let fleet = Fleet::start(servers::chosen());
    let proxy = fleet.proxy(&[]).await;
    fleet.publisher(&proxy).await.never_a_context("PUBLISH", "ch").await;
}

#[tokio::test]
async fn a_proxy_that_removes_nothing_announces_nothing() {
    let fleet = Fleet::start(servers::chosen());
    let proxy = fleet.proxy(&[]).await;
    let observing = fleet.proxy(&["--mode", "observe", "--announce", "--mode-for", "seen.*=strip"]).await;
    let mut subscriber = Wire::to(observing.address()).await;
    subscriber.subscribe("SUBSCRIBE ch seen.ch").await;
    let mut publisher = fleet.publisher(&proxy).await;
    publisher.until_context("PUBLISH", "seen.ch").await;
    publisher.never_a_context("PUBLISH", "ch").await;
}

#[tokio::test]
async fn a_connection_that_suppresses_replies_is_not_announced() {
    let fleet = Fleet::start(servers::chosen());
    let proxy = fleet.proxy(&[]).await;
    let mut subscriber = Wire::resp3(proxy.address()).await;
    subscriber.subscribe("SUBSCRIBE ch").await;
    let mut publisher = fleet.publisher(&proxy).await;
    publisher.until_context("PUBLISH", "ch").await;
    subscriber.send(b"CLIENT REPLY SKIP\r\n").await;
    publisher.until_without("PUBLISH", "ch").await;
    publisher.never_a_context("PUBLISH", "ch").await;
}

#[tokio::test]
async fn two_proxies_in_a_row_do_not_count_a_subscriber_twice() {
    let fleet = Fleet::start(servers::chosen());
    let inner = fleet.proxy(&[]).await;
    let outer = crate::support::in_process::InProcess::start(
        &inner.address().to_string(),
        &["--mode", "auto", "--auto-interval", "50ms"],
    )
    .await;
    let mut subscriber = Wire::to(outer.address()).await;
    subscriber.subscribe("SUBSCRIBE ch").await;
    let mut publisher = fleet.publisher(&inner).await;
    publisher.until_context("PUBLISH", "ch").await;
    let mut direct = fleet.direct().await;
    direct.subscribe("SUBSCRIBE ch").await;
    publisher.publish("PUBLISH", "ch").await;
    publisher.never_a_context("PUBLISH", "ch").await;
}
