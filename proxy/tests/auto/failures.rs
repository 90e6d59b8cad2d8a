//! Failures while contexts are being added. The contexts stop in time, and come back without intervention.

use rustix::process::Signal;
use tokio::time::sleep;

use crate::auto::fleet::{Fleet, PAUSE, expect_payloads};
use crate::support::in_process::InProcess;
use crate::support::redis::RealRedis;
use crate::support::servers;
use crate::support::wire::{Value, Wire};

#[tokio::test]
async fn a_subscribers_proxy_that_is_killed_takes_its_announcements_with_it() {
    for server in servers::all() {
        let fleet = Fleet::start(server);
        let proxy = fleet.proxy(&[]).await;
        let doomed = fleet.process(&[]);
        let mut subscriber = Wire::to(doomed.addresses[0]).await;
        subscriber.subscribe("SUBSCRIBE ch").await;
        let mut publisher = fleet.publisher(&proxy).await;
        publisher.until_context("PUBLISH", "ch").await;
        doomed.signal(Signal::KILL);
        doomed.ended();
        let mut direct = fleet.direct().await;
        direct.subscribe("SUBSCRIBE ch").await;
        publisher.until_without("PUBLISH", "ch").await;
        publisher.never_a_context("PUBLISH", "ch").await;
    }
}

#[tokio::test]
async fn a_subscribers_proxy_that_hangs_is_not_trusted_for_long() {
    for server in servers::all() {
        let fleet = Fleet::start(server);
        let proxy = fleet.proxy(&[]).await;
        let hanging = fleet.process(&[]);
        let mut subscriber = Wire::resp3(hanging.addresses[0]).await;
        let Value::Integer(id) = subscriber.call("CLIENT ID").await else { panic!("no id") };
        subscriber.subscribe("SUBSCRIBE ch").await;
        let mut publisher = fleet.publisher(&proxy).await;
        publisher.until_context("PUBLISH", "ch").await;
        hanging.signal(Signal::STOP);
        // Redis closes the connection of the proxy's client, which the proxy cannot notice, and a client without a
        // proxy takes its place.
        let mut direct = fleet.direct().await;
        let killed = direct.call(&format!("CLIENT KILL ID {id}")).await;
        assert_eq!(killed, Value::Integer(1));
        direct.subscribe("SUBSCRIBE ch").await;
        let (last, count) = publisher.last_context("PUBLISH", "ch").await;
        println!("{}: {count} messages with a context, the last after {last:?}", server.name);
        publisher.never_a_context("PUBLISH", "ch").await;
        hanging.signal(Signal::CONT);
        publisher.never_a_context("PUBLISH", "ch").await;
    }
}

#[tokio::test]
async fn a_proxy_that_recovers_is_trusted_again() {
    let fleet = Fleet::start(servers::chosen());
    let proxy = fleet.proxy(&[]).await;
    let hanging = fleet.process(&[]);
    let mut subscriber = Wire::to(hanging.addresses[0]).await;
    subscriber.subscribe("SUBSCRIBE ch").await;
    let mut publisher = fleet.publisher(&proxy).await;
    publisher.until_context("PUBLISH", "ch").await;
    hanging.signal(Signal::STOP);
    publisher.until_without("PUBLISH", "ch").await;
    hanging.signal(Signal::CONT);
    publisher.until_context("PUBLISH", "ch").await;
}

#[tokio::test]
async fn a_replica_ends_contexts_unless_the_operator_says_that_nobody_subscribes_there() {
    for server in servers::all() {
        let fleet = Fleet::start(server);
        let [careful, told] = [fleet.proxy(&[]).await, fleet.proxy(&["--auto-ignore-replicas"]).await];
        let mut subscriber = Wire::to(careful.address()).await;
        subscriber.subscribe("SUBSCRIBE ch").await;
        let mut publishers = [fleet.publisher(&careful).await, fleet.publisher(&told).await];
        for publisher in &mut publishers {
            publisher.until_context("PUBLISH", "ch").await;
        }
        let port = fleet.redis.address().port().to_string();
        let replica = RealRedis::start_server(server, &["--replicaof", "127.0.0.1", &port]);
        let mut direct = fleet.direct().await;
        while !matches!(direct.call("INFO replication").await, Value::Bulk(text) if text.windows(18).any(|field| field == b"connected_slaves:1"))
        {
            sleep(PAUSE).await;
        }
        let [careful, told] = &mut publishers;
        careful.until_without("PUBLISH", "ch").await;
        careful.never_a_context("PUBLISH", "ch").await;
        told.until_context("PUBLISH", "ch").await;
        drop(replica);
        careful.until_context("PUBLISH", "ch").await;
    }
}

#[tokio::test]
async fn without_permissions_on_redis_there_are_no_contexts_and_the_log_says_why() {
    for server in servers::all() {
        let fleet = Fleet::start(server);
        let mut operator = fleet.direct().await;
        // The permissions that services need, without those that the proxy needs.
        let rights = "ACL SETUSER default -info -@admin";
        assert_eq!(operator.call(rights).await, Value::Status("OK".into()));
        let mut proxy = fleet.process(&[]);
        let mut subscriber = Wire::to(proxy.addresses[0]).await;
        subscriber.subscribe("SUBSCRIBE ch").await;
        let mut publisher = Wire::to(proxy.addresses[0]).await;
        publisher.publish("ch", b"x").await;
        let line = proxy.wait_for_line("mode auto needs more rights");
        assert!(line.contains("NOPERM") && line.contains("info"), "{line}");
        for _ in 0..100 {
            publisher.publish("ch", b"x").await;
        }
        for _ in 0..101 {
            assert_eq!(subscriber.message().await.payload, b"x");
        }
        proxy.signal(Signal::TERM);
        let log = proxy.ended().stderr;
        assert!(log.contains("skipped_auto_unknown=101") && !log.contains("injected="), "{log}");
    }
}

#[tokio::test]
async fn without_permission_to_list_clients_only_channels_that_a_pattern_matches_get_no_contexts() {
    for server in servers::all() {
        let fleet = Fleet::start(server);
        let proxy = fleet.proxy(&[]).await;
        let mut subscriber = Wire::to(proxy.address()).await;
        subscriber.subscribe("SUBSCRIBE exact").await;
        subscriber.subscribe("PSUBSCRIBE p*").await;
        let mut publisher = fleet.publisher(&proxy).await;
        let rights = "ACL SETUSER default -client|list";
        assert_eq!(fleet.direct().await.call(rights).await, Value::Status("OK".into()));
        let payloads = publisher.never_a_context("PUBLISH", "pattern").await;
        expect_payloads(&mut subscriber, &payloads).await;
        publisher.until_context("PUBLISH", "exact").await;
    }
}

/// Redis before 7.0 has no shard channels, and answers in the same way.
#[tokio::test]
async fn without_an_answer_about_shard_channels_only_they_get_no_contexts() {
    for server in servers::all() {
        let fleet = Fleet::start(server);
        let proxy = fleet.proxy(&[]).await;
        let mut subscriber = Wire::to(proxy.address()).await;
        subscriber.subscribe("SUBSCRIBE ch").await;
        subscriber.subscribe("SSUBSCRIBE shard").await;
        let rights = "ACL SETUSER default -pubsub|shardnumsub";
        assert_eq!(fleet.direct().await.call(rights).await, Value::Status("OK".into()));
        let mut publisher = fleet.publisher(&proxy).await;
        publisher.never_a_context("SPUBLISH", "shard").await;
        publisher.until_context("PUBLISH", "ch").await;
        publisher.never_a_context("SPUBLISH", "shard").await;
    }
}

#[tokio::test]
async fn contexts_come_back_after_redis_has_restarted() {
    for server in servers::all() {
        let mut fleet = Fleet::start(server);
        let proxy = fleet.proxy(&[]).await;
        let mut subscriber = Wire::to(proxy.address()).await;
        subscriber.subscribe("SUBSCRIBE ch").await;
        fleet.publisher(&proxy).await.until_context("PUBLISH", "ch").await;
        fleet.redis.kill();
        subscriber.rest().await;
        fleet.redis.restart();
        // The service connects again at once, before the proxy has polled the new server.
        let mut subscriber = Wire::to(proxy.address()).await;
        subscriber.subscribe("SUBSCRIBE ch").await;
        let mut publisher = fleet.publisher(&proxy).await;
        let (took, payloads) = publisher.until_context("PUBLISH", "ch").await;
        println!("{}: contexts {took:?} after the restart", server.name);
        expect_payloads(&mut subscriber, &payloads).await;
    }
}

#[tokio::test]
async fn a_subscriber_that_does_not_read_is_not_announced_until_it_does() {
    for server in servers::all() {
        let fleet = Fleet::start(server);
        let proxy = fleet.proxy(&[]).await;
        let mut subscriber = Wire::to(proxy.address()).await;
        subscriber.subscribe("SUBSCRIBE ch flood").await;
        let mut publisher = fleet.publisher(&proxy).await;
        publisher.until_context("PUBLISH", "ch").await;
        // More than the sockets on the way can hold, but less than Redis allows a subscriber to leave unread.
        let mut direct = fleet.direct().await;
        let (piece, pieces) = (vec![b'x'; 1 << 20], 24);
        for _ in 0..pieces {
            direct.publish("flood", &piece).await;
        }
        publisher.last_context("PUBLISH", "ch").await;
        publisher.never_a_context("PUBLISH", "ch").await;
        let mut flooded = 0;
        while flooded < pieces {
            let message = subscriber.message().await;
            flooded += usize::from(message.channel == "flood");
            assert!(message.payload == piece || message.channel == "ch" && !message.payload.contains(&0));
        }
        publisher.until_context("PUBLISH", "ch").await;
    }
}

#[tokio::test]
async fn a_switch_to_auto_needs_no_new_connection_where_subscriptions_are_announced() {
    let fleet = Fleet::start(servers::chosen());
    let mut proxy = fleet.process(&["--mode", "strip", "--announce", "--admin", "0"]);
    let admin = proxy.wait_for_line("admin port");
    let (_, admin) = admin.split_once("address=").expect("an address");
    let admin = admin.split_whitespace().next().expect("an address").parse().expect("an address");
    let mut subscriber = Wire::to(proxy.addresses[0]).await;
    subscriber.subscribe("SUBSCRIBE ch").await;
    let mut publisher = fleet.publisher_at(proxy.addresses[0]).await;
    publisher.never_a_context("PUBLISH", "ch").await;
    let switch = "PUT /mode HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 4\r\n\r\nauto";
    assert!(ask(admin, switch).await.starts_with("HTTP/1.1 200 "));
    publisher.until_context("PUBLISH", "ch").await;
    let page = ask(admin, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    assert!(page.contains("redistributed_auto_channels{verdict=\"proxied\"} 1\n"), "{page}");
    let off = switch.replace("auto", "strip").replace(": 4", ": 5");
    assert!(ask(admin, &off).await.starts_with("HTTP/1.1 200 "));
    assert!(!publisher.publish("PUBLISH", "ch").await.context, "the kill switch acts at once");
    // Long enough for the task that polls to end. The one that announces goes on.
    publisher.never_a_context("PUBLISH", "ch").await;
    assert!(ask(admin, switch).await.starts_with("HTTP/1.1 200 "));
    publisher.until_context("PUBLISH", "ch").await;
}

/// Sends an HTTP request, and returns the whole response.
async fn ask(address: std::net::SocketAddr, request: &str) -> String {
    let mut wire = Wire::to(address).await;
    wire.send(request.as_bytes()).await;
    String::from_utf8(wire.rest().await).expect("text")
}

/// The permissions that `docs/auto.md` lists for the proxy's user.
#[tokio::test]
async fn the_permissions_in_the_documentation_suffice() {
    let text = include_str!("../../docs/auto.md");
    let (_, rights) = text.split_once("ACL SETUSER redistributed on >PASSWORD ").expect("the command");
    let (rights, _) = rights.split_once("```").expect("its end");
    let rights: Vec<&str> = rights.split_whitespace().filter(|word| *word != "\\").collect();
    for server in servers::all() {
        let fleet = Fleet { redis: RealRedis::start_server(server, &[]) };
        let mut operator = fleet.direct().await;
        let words = [&["ACL", "SETUSER", "redistributed", "on", ">hunter2"], &rights[..]].concat();
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        assert_eq!(operator.call_words(&words).await, Value::Status("OK".into()));
        let url = fleet.redis.url().replace("://", "://redistributed:hunter2@");
        let arguments = ["--mode", "auto", "--auto-interval", "50ms"];
        let proxy = InProcess::start(&url, &arguments).await;
        let mut subscriber = Wire::to(proxy.address()).await;
        let mut publisher = fleet.publisher(&proxy).await;
        subscriber.subscribe("SUBSCRIBE ch").await;
        subscriber.subscribe("PSUBSCRIBE c*").await;
        subscriber.subscribe("SSUBSCRIBE ch").await;
        publisher.until_context("PUBLISH", "ch").await;
        publisher.until_context("SPUBLISH", "ch").await;
    }
}
