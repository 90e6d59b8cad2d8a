//! How the process stops: what is under way may finish, but not for ever.

use std::time::{Duration, Instant};

use crate::support::fake_redis::FakeRedis;
use crate::support::in_process::InProcess;
use crate::support::{connect, expect, expect_closed, read_to_end, send, within};
use redistributed::telemetry::stats::ProxyCounter;
use tokio::net::TcpStream;

#[tokio::test]
async fn a_reply_under_way_still_arrives_after_the_order_to_stop() {
    let redis = FakeRedis::start().await;
    let mut proxy = InProcess::start(&redis.url(), &["--drain-timeout", "60s"]).await;
    let address = proxy.address();
    let mut client = connect(address).await;
    let mut server = redis.accept().await;
    send(&mut client, b"PING\r\n").await;
    expect(&mut server, b"PING\r\n").await;

    proxy.begin_to_stop();
    within("the listener to close", async {
        // Until the proxy has taken notice, connections are accepted as ever.
        while TcpStream::connect(address).await.is_ok() {}
    })
    .await;

    send(&mut server, b"+PONG\r\n").await;
    expect(&mut client, b"+PONG\r\n").await;
    drop(server);
    assert_eq!(read_to_end(&mut client).await, b"");
    drop(client);
    let report = proxy.ended().await;
    assert_eq!(report.cut_off, 0);
    assert_eq!(report.stats.get(ProxyCounter::ConnectionsActive), 0);
}

#[tokio::test]
async fn the_deadline_closes_what_is_still_open() {
    let redis = FakeRedis::start().await;
    let proxy = InProcess::start(&redis.url(), &["--drain-timeout", "300ms"]).await;
    let mut client = connect(proxy.address()).await;
    let mut server = redis.accept().await;
    send(&mut server, b"+OK\r\n").await;
    expect(&mut client, b"+OK\r\n").await;

    let started = Instant::now();
    let report = proxy.stop().await;
    assert_eq!(report.cut_off, 1);
    assert!(started.elapsed() >= Duration::from_millis(300), "the connection was not given its time");
    assert_eq!(report.stats.get(ProxyCounter::ConnectionsActive), 0);
    expect_closed(&mut client).await;
    expect_closed(&mut server).await;
}

#[tokio::test]
async fn with_nothing_open_it_stops_at_once() {
    let redis = FakeRedis::start().await;
    let proxy = InProcess::start(&redis.url(), &["--drain-timeout", "1h"]).await;
    let report = proxy.stop().await;
    assert_eq!(report.cut_off, 0);
}
