//! Traffic, half-close, back-pressure and drain, the same on every way.

use std::time::Duration;

use redistributed::telemetry::stats::ProxyCounter;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::fake_redis::{FakeRedis, unused_address};
use crate::support::in_process::InProcess;
use crate::support::listener::{ALL, TestListener, Transport, words};
use crate::support::redis::RealRedis;
use crate::support::{Duplex, connect, expect, expect_closed, expect_traced_messages, read_to_end, send, within};

async fn start(listener: &TestListener, upstream: &str, more: &[&str]) -> InProcess {
    InProcess::with_arguments(&words(&listener.arguments(upstream, more))).await
}

async fn connected(transport: Transport) -> (TestListener, InProcess, Box<dyn Duplex>, TcpStream) {
    let (listener, redis) = (TestListener::new(transport), FakeRedis::start().await);
    let proxy = start(&listener, &redis.url(), &["--drain-timeout", "60s"]).await;
    let client = listener.connect(&proxy.addresses).await;
    let server = redis.accept().await;
    (listener, proxy, client, server)
}

#[tokio::test]
async fn messages_are_traced_however_services_connect() {
    for transport in ALL {
        let (listener, redis) = (TestListener::new(transport), RealRedis::start(&[]));
        let proxy = start(&listener, &redis.url(), &[]).await;
        let mut direct = connect(redis.address()).await;
        let mut behind = listener.connect(&proxy.addresses).await;
        let mut publisher = listener.connect(&proxy.addresses).await;
        expect_traced_messages(&mut direct, &mut behind, &mut publisher).await;
        drop((behind, publisher));
        let report = proxy.stop().await;
        assert_eq!(report.stats.get(ProxyCounter::ConnectionsAccepted), 2, "{transport:?}");
        assert_eq!(report.stats.get(ProxyCounter::ConnectionsActive), 0, "{transport:?}");
    }
}

#[tokio::test]
async fn replies_still_arrive_after_the_client_has_shut_its_side() {
    for transport in ALL {
        let (_listener, _proxy, mut client, mut server) = connected(transport).await;
        send(&mut client, b"PING\r\nPING\r\n").await;
        client.shutdown().await.unwrap();
        assert_eq!(read_to_end(&mut server).await, b"PING\r\nPING\r\n", "{transport:?}");
        send(&mut server, b"+PONG\r\n").await;
        expect(&mut client, b"+PONG\r\n").await;
        send(&mut server, b"+PONG\r\n").await;
        drop(server);
        // Orderly too by TLS: who reads to the end can tell it from a connection that was cut.
        assert_eq!(read_to_end(&mut client).await, b"+PONG\r\n", "{transport:?}");
    }
}

#[tokio::test]
async fn the_client_may_go_on_after_redis_has_shut_its_side() {
    for transport in ALL {
        let (_listener, _proxy, mut client, mut server) = connected(transport).await;
        send(&mut server, b"+OK\r\n").await;
        server.shutdown().await.unwrap();
        assert_eq!(read_to_end(&mut client).await, b"+OK\r\n", "{transport:?}");
        send(&mut client, b"PING\r\n").await;
        expect(&mut server, b"PING\r\n").await;
        client.shutdown().await.unwrap();
        assert_eq!(read_to_end(&mut server).await, b"", "{transport:?}");
    }
}

#[tokio::test]
async fn a_client_that_goes_without_a_word_closes_the_connection_to_redis() {
    for transport in ALL {
        let (_listener, _proxy, mut client, mut server) = connected(transport).await;
        send(&mut client, b"PING\r\n").await;
        expect(&mut server, b"PING\r\n").await;
        // By TLS without saying that nothing more will come.
        drop(client);
        expect_closed(&mut server).await;
    }
}

/// A client that ends its stream with a FIN and no `close_notify` after 30 commands, with TLS in front of Redis and behind it.
#[tokio::test]
async fn a_client_that_ends_tls_without_saying_so_gets_all_its_replies() {
    let listener = TestListener::new(Transport::Tls);
    let (redis, port) = listener.redis_with_tls(&[]);
    for upstream in [redis.url(), format!("rediss://localhost:{port}")] {
        let ca = listener.authority.file();
        let more: &[&str] = if upstream.starts_with("rediss") { &["--upstream-ca", &ca] } else { &[] };
        let proxy = start(&listener, &upstream, more).await;
        let mut client = listener.tls(proxy.addresses[0]).await;
        send(&mut client, "PING\r\n".repeat(30).as_bytes()).await;
        client.get_mut().0.shutdown().await.unwrap();
        expect(&mut client, "+PONG\r\n".repeat(30).as_bytes()).await;
        assert_eq!(read_to_end(&mut client).await, b"", "{upstream}");
    }
}

#[tokio::test]
async fn a_tls_client_that_hangs_up_while_redis_is_dialled_ends_the_attempt() {
    let listener = TestListener::new(Transport::Tls);
    let proxy = start(&listener, &unused_address().await.to_string(), &["--connect-timeout", "10m"]).await;
    let mut client = listener.connect(&proxy.addresses).await;
    // With the alert that says so, which is more than the end of the stream.
    client.shutdown().await.unwrap();
    drop(client);
    let report = proxy.stop().await;
    assert_eq!(report.stats.get(ProxyCounter::ConnectionsAccepted), 1);
    assert_eq!((report.cut_off, report.stats.get(ProxyCounter::UpstreamFailures)), (0, 0));
}

/// Sends until nothing more is taken for a while; returns how much was.
async fn fill(to: &mut (impl AsyncWriteExt + Unpin)) -> usize {
    const STOPPED: Duration = Duration::from_millis(700);
    const TOO_MUCH: usize = 256 << 20;
    let block = [b'x'; 64 * 1024];
    let mut taken = 0;
    while taken < TOO_MUCH {
        match timeout(STOPPED, to.write(&block)).await {
            Ok(written) => taken += written.expect("the connection holds"),
            Err(_) => return taken,
        }
    }
    taken
}

async fn drain(from: &mut (impl AsyncReadExt + Unpin), count: usize) {
    let (mut buffer, mut got) = (vec![0; 64 * 1024], 0);
    while got < count {
        let n = within("what is on the way", from.read(&mut buffer)).await.expect("the connection holds");
        assert_ne!(n, 0, "the stream ended after {got} of {count} bytes");
        got += n;
    }
    assert_eq!(got, count);
}

#[tokio::test]
async fn a_side_that_does_not_read_stops_the_other() {
    // What the kernel may hold: Linux lets each of the four socket buffers on the way grow to 4 or 6 MiB by default.
    const KERNEL: usize = 32 << 20;
    for transport in [Transport::Tls, Transport::Unix] {
        let (_listener, _proxy, mut client, mut server) = connected(transport).await;
        let taken = fill(&mut server).await;
        assert!(taken < KERNEL, "{transport:?}: {taken} bytes were taken from Redis for a client that reads nothing");
        send(&mut client, b"PING\r\n").await;
        expect(&mut server, b"PING\r\n").await;
        drain(&mut client, taken).await;

        // What TLS has taken and not sent follows with the next flush.
        let taken = fill(&mut client).await;
        assert!(
            taken < KERNEL,
            "{transport:?}: {taken} bytes were taken from the client for a Redis that reads nothing"
        );
        let (flushed, ()) = tokio::join!(client.flush(), drain(&mut server, taken));
        flushed.unwrap();
    }
}

#[tokio::test]
async fn a_reply_under_way_still_arrives_after_the_order_to_stop() {
    for transport in ALL {
        let (listener, mut proxy, mut client, mut server) = connected(transport).await;
        send(&mut client, b"PING\r\n").await;
        expect(&mut server, b"PING\r\n").await;
        let address = proxy.addresses.first().copied();
        proxy.begin_to_stop();
        within("the listener to close", async {
            // Until the proxy has taken notice, connections are accepted as ever.
            loop {
                let accepted = match address {
                    Some(address) => TcpStream::connect(address).await.is_ok(),
                    None => tokio::net::UnixStream::connect(listener.socket()).await.is_ok(),
                };
                if !accepted {
                    return;
                }
            }
        })
        .await;
        assert!(!listener.socket().exists(), "a socket that nobody listens on is no use to anybody");
        send(&mut server, b"+PONG\r\n").await;
        expect(&mut client, b"+PONG\r\n").await;
        drop(server);
        assert_eq!(read_to_end(&mut client).await, b"", "{transport:?}");
        drop(client);
        assert_eq!(proxy.ended().await.cut_off, 0, "{transport:?}");
    }
}
