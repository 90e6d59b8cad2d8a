//! What clients see when they cannot be served.

use std::time::Instant;

use crate::support::fake_redis::{FakeRedis, unused_address};
use crate::support::in_process::InProcess;
use crate::support::{connect, expect, expect_closed, read_to_end, send};
use redistributed::telemetry::stats::ProxyCounter;
use socket2::{Domain, Socket, Type};

#[tokio::test]
async fn a_client_is_closed_at_once_when_redis_refuses_and_nothing_is_tried_again() {
    let nobody = unused_address().await;
    let proxy = InProcess::start(&nobody.to_string(), &["--connect-timeout", "60s", "--connect-retry", "off"]).await;
    let mut client = connect(proxy.address()).await;
    expect_closed(&mut client).await;
    let report = proxy.stop().await;
    assert_eq!(report.stats.get(ProxyCounter::UpstreamFailures), 1);
    assert_eq!(report.stats.get(ProxyCounter::UpstreamRetries), 0);
}

#[tokio::test]
async fn a_client_is_closed_when_redis_does_not_answer_in_time() {
    // A listener that accepts nothing, and whose queue is full, lets further connections wait for ever.
    let silent = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    silent.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    silent.listen(0).unwrap();
    let address = silent.local_addr().unwrap().as_socket().unwrap();
    let _queued = std::net::TcpStream::connect(address).unwrap();

    let proxy = InProcess::start(&address.to_string(), &["--connect-timeout", "200ms"]).await;
    let started = Instant::now();
    let mut client = connect(proxy.address()).await;
    expect_closed(&mut client).await;
    assert!(started.elapsed().as_millis() >= 200, "closed before the time was over");
    let report = proxy.stop().await;
    assert_eq!(report.stats.get(ProxyCounter::UpstreamFailures), 1);
}

#[tokio::test]
async fn one_client_too_many_hears_what_redis_would_say_and_the_next_is_served() {
    let redis = FakeRedis::start().await;
    let proxy = InProcess::start(&redis.url(), &["--max-connections", "1", "--drain-timeout", "0s"]).await;
    let mut first = connect(proxy.address()).await;
    let mut server = redis.accept().await;
    let mut second = connect(proxy.address()).await;
    assert_eq!(read_to_end(&mut second).await, b"-ERR max number of clients reached\r\n");

    // The one within the limit is served on.
    send(&mut first, b"PING\r\n").await;
    expect(&mut server, b"PING\r\n").await;

    // Its place is free as soon as the proxy has closed both of its sides.
    drop(server);
    assert_eq!(read_to_end(&mut first).await, b"");
    drop(first);
    crate::support::within("a free place", async {
        loop {
            let mut next = connect(proxy.address()).await;
            let mut byte = [0; 1];
            tokio::select! {
                mut server = redis.accept() => {
                    send(&mut server, b"+OK\r\n").await;
                    expect(&mut next, b"+OK\r\n").await;
                    return;
                }
                // Still refused: the task of the first connection has not ended.
                _ = next.peek(&mut byte) => {}
            }
        }
    })
    .await;
    let report = proxy.stop().await;
    assert!(report.stats.get(ProxyCounter::ConnectionsRefused) >= 1);
    assert_eq!(report.stats.get(ProxyCounter::ConnectionsActive), 0);
}
