//! Which receivers allow contexts, and which do not.

use tokio::time::sleep;

use crate::auto::fleet::{Fleet, LONG, PAUSE, expect_payloads};
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

/// As the results of Celery and the replies to single requests: a channel has one subscriber, and one message.
#[tokio::test]
async fn a_channel_that_is_used_once_gets_a_context_with_its_first_message() {
    for server in servers::all() {
        let fleet = Fleet::start(server);
        let admin = crate::support::admin::Proxy::start(&fleet.redis.url(), &["--mode", "auto"], &[]);
        let subscribers = fleet.proxy(&[]).await;
        let mut publisher = fleet.publisher_at(admin.address()).await;
        for reply in 0..5 {
            let mut subscriber = Wire::to(subscribers.address()).await;
            subscriber.subscribe(&format!("SUBSCRIBE reply-{reply}")).await;
            admin.has_proven(1).await;
            let published = publisher.publish("PUBLISH", &format!("reply-{reply}")).await;
            assert!(published.context && published.receivers == 1, "{}: {published:?}", server.name);
            expect_payloads(&mut subscriber, &[published.payload]).await;
            subscriber.subscribe(&format!("UNSUBSCRIBE reply-{reply}")).await;
            admin.has_proven(0).await;
        }
    }
}

/// As the states of SAQ's jobs: nobody subscribes to the channel itself, but to a pattern.
#[tokio::test]
async fn a_channel_that_only_a_pattern_matches_gets_a_context_with_its_first_message() {
    for server in servers::all() {
        let fleet = Fleet::start(server);
        let proxy = fleet.proxy(&[]).await;
        let mut subscriber = Wire::to(proxy.address()).await;
        subscriber.subscribe("PSUBSCRIBE job:*").await;
        let mut publisher = fleet.publisher(&proxy).await;
        // Each channel is used once, so each is new to the proxy.
        let mut job = 0..;
        let mut next = || format!("job:{}", job.next().unwrap());
        let mut payloads = Vec::new();
        let started = std::time::Instant::now();
        loop {
            let published = publisher.publish("PUBLISH", &next()).await;
            payloads.push(published.payload);
            if published.context {
                break;
            }
            assert!(started.elapsed() < crate::support::DEADLINE, "{}: no context", server.name);
            sleep(PAUSE).await;
        }
        expect_payloads(&mut subscriber, &payloads).await;
        // A client without a proxy that is subscribed to the channel itself: the reply shows it, if no snapshot has before.
        let mut direct = fleet.direct().await;
        let channel = next();
        direct.subscribe(&format!("SUBSCRIBE {channel}")).await;
        assert!(publisher.until_without("PUBLISH", &channel).await <= 1, "{}", server.name);
        publisher.never_a_context("PUBLISH", &channel).await;
        // A pattern that no proxy announces could match any channel.
        direct.subscribe("PSUBSCRIBE j*").await;
        publisher.publish("PUBLISH", &next()).await;
        let started = std::time::Instant::now();
        while started.elapsed() < LONG {
            let published = publisher.publish("PUBLISH", &next()).await;
            assert!(!published.context, "{}: {published:?}", server.name);
            sleep(PAUSE).await;
        }
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
