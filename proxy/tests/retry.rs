//! A Redis that is away for a moment: its services wait, and do not notice.

use std::time::{Duration, Instant};

use crate::support::authority::Authority;
use crate::support::fake_redis::{FakeRedis, unused_address};
use crate::support::listener::{ALL, TestListener, Transport, words};
use crate::support::redis::RealRedis;
use crate::support::spawn::{Spawned, command};
use crate::support::{connect, expect, expect_closed, read_to_end, send, within};
use rustix::process::Signal;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, UnixListener};

/// More than any test waits for: what ends earlier has not ended because the time was over.
const LONG: [&str; 2] = ["--connect-timeout", "10m"];

fn start(upstream: &str, more: &[&str]) -> Spawned {
    let all = ["--listen", "127.0.0.1:0", "--upstream", upstream, "--log-level", "debug"];
    Spawned::start(command(&[&all[..], more].concat()), 1)
}

/// Waits until an attempt has failed and another will follow.
fn wait_for_failure(proxy: &mut Spawned) {
    proxy.wait_for_line("trying again");
}

/// Stops it; what it counted under these names.
fn counted<const N: usize>(proxy: Spawned, names: [&str; N]) -> [u64; N] {
    proxy.signal(Signal::TERM);
    let ended = proxy.ended();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let line = ended.stderr.lines().find(|line| line.contains(" counted ")).expect("something was counted");
    names.map(|name| {
        let value = line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        value.map_or(0, |value| value.parse().unwrap())
    })
}

#[tokio::test]
async fn a_service_that_connects_while_redis_is_away_is_served_when_it_is_back() {
    let mut redis = RealRedis::start(&[]);
    let mut proxy = start(&redis.url(), &LONG);
    redis.kill();
    let mut client = connect(proxy.addresses[0]).await;
    send(&mut client, b"PING\r\n").await;
    wait_for_failure(&mut proxy);
    redis.restart();
    expect(&mut client, b"+PONG\r\n").await;
    drop(client);
    assert_eq!(counted(proxy, ["upstream_failures"]), [0]);
}

#[tokio::test]
async fn a_socket_that_is_not_there_yet_is_tried_again_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("redis.sock");
    let mut proxy = start(&format!("unix:{}", path.display()), &LONG);
    let mut client = connect(proxy.addresses[0]).await;
    send(&mut client, b"PING\r\n").await;
    wait_for_failure(&mut proxy);
    let redis = UnixListener::bind(&path).unwrap();
    let (mut server, _) = within("the proxy to dial", redis.accept()).await.unwrap();
    expect(&mut server, b"PING\r\n").await;
    send(&mut server, b"+PONG\r\n").await;
    expect(&mut client, b"+PONG\r\n").await;
}

#[tokio::test]
async fn a_service_that_hangs_up_ends_the_attempts() {
    let mut proxy = start(&unused_address().await.to_string(), &LONG);
    let client = connect(proxy.addresses[0]).await;
    wait_for_failure(&mut proxy);
    drop(client);
    proxy.wait_for_line("the client has hung up before Redis was reached");
    assert_eq!(counted(proxy, ["upstream_failures", "connections_active"]), [0, 0]);
}

#[tokio::test]
async fn when_the_time_is_over_the_service_is_closed_as_by_a_redis_that_refuses() {
    let proxy = start(&unused_address().await.to_string(), &["--connect-timeout", "1s"]);
    let started = Instant::now();
    let mut client = connect(proxy.addresses[0]).await;
    assert_eq!(read_to_end(&mut client).await, b"");
    // Pauses of 50, 100, 200 and 400 ms; the next, of 800 ms, would end after the time is over. A busy machine leaves time
    // for fewer.
    assert!(started.elapsed() >= Duration::from_millis(200));
    drop(client);
    let [retries, failures] = counted(proxy, ["upstream_retries", "upstream_failures"]);
    assert!((1..=4).contains(&retries) && failures == 1, "{retries} retries, {failures} failures");
}

/// A listener that does TLS with a certificate that nobody believes.
#[tokio::test]
async fn a_certificate_that_is_refused_is_not_tried_again() {
    let (stranger, authority) = (Authority::new(), Authority::new());
    let file = |name: &str, text: &str| stranger.write(name, text).display().to_string();
    let (certificate, key) = stranger.issue("localhost");
    let (certificate, key) = (file("redis.pem", &certificate), file("redis.key", &key));
    // The proxy itself, because it speaks TLS.
    let listen = ["--listen", "rediss://127.0.0.1:0", "--upstream", "redis://127.0.0.1:1"];
    let far = command(&[&listen[..], &["--listen-cert", &certificate, "--listen-key", &key]].concat());
    let far = Spawned::start(far, 1);
    let upstream = format!("rediss://localhost:{}", far.addresses[0].port());
    let ca = authority.file();
    let proxy = start(&upstream, &[&LONG[..], &["--upstream-ca", &ca]].concat());
    expect_closed(&mut connect(proxy.addresses[0]).await).await;
    assert_eq!(counted(proxy, ["upstream_retries", "upstream_failures"]), [0, 1]);
}

#[tokio::test]
async fn what_a_service_had_sent_arrives_once_however_often_redis_was_dialled() {
    let address = unused_address().await;
    let mut proxy = start(&address.to_string(), &LONG);
    let mut client = connect(proxy.addresses[0]).await;
    send(&mut client, b"INCR x\r\n").await;
    wait_for_failure(&mut proxy);
    let redis = TcpListener::bind(address).await.unwrap();
    let (mut server, _) = within("the proxy to dial", redis.accept()).await.unwrap();
    expect(&mut server, b"INCR x\r\n").await;
    client.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut server).await, b"");
    send(&mut server, b":1\r\n").await;
    drop(server);
    assert_eq!(read_to_end(&mut client).await, b":1\r\n");
}

/// A proxy that keeps on trying to reach a Redis that has just been killed.
fn before_a_redis_that_is_away(transport: Transport) -> (RealRedis, TestListener, Spawned) {
    let mut redis = RealRedis::start(&[]);
    let listener = TestListener::new(transport);
    let arguments = listener.arguments(&redis.url(), &[&LONG[..], &["--log-level", "debug"]].concat());
    let proxy = Spawned::start(command(&words(&arguments)), 1);
    redis.kill();
    (redis, listener, proxy)
}

/// Redis is away for a while. A client without a handshake sends a command, gives up, closes and tries again.
#[tokio::test]
async fn nothing_is_sent_for_clients_that_gave_up_before_redis_was_reached() {
    const PUSH: &[u8] = b"*3\r\n$5\r\nRPUSH\r\n$4\r\njobs\r\n$3\r\njob\r\n";
    for transport in ALL {
        let (mut redis, listener, mut proxy) = before_a_redis_that_is_away(transport);
        for _ in 0..3 {
            let mut client = listener.connect(&proxy.addresses).await;
            send(&mut client, PUSH).await;
            wait_for_failure(&mut proxy);
            drop(client);
            proxy.wait_for_line("the client has hung up before Redis was reached");
        }
        let mut client = listener.connect(&proxy.addresses).await;
        send(&mut client, PUSH).await;
        wait_for_failure(&mut proxy);
        redis.restart();
        expect(&mut client, b":1\r\n").await;
    }
}

/// The same with a value for which there is no room on the way, so that the client's end does not arrive, either.
#[tokio::test]
async fn nothing_is_sent_for_clients_that_gave_up_with_bytes_left_to_send() {
    for transport in ALL {
        let (mut redis, listener, mut proxy) = before_a_redis_that_is_away(transport);
        let mut client = listener.connect(&proxy.addresses).await;
        let value = vec![b'x'; 16 << 20];
        send(&mut client, format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n", value.len()).as_bytes()).await;
        assert!(tokio::time::timeout(Duration::from_secs(1), client.write_all(&value)).await.is_err());
        drop(client);
        proxy.wait_for_line("the client has hung up before Redis was reached");
        redis.restart();
        let mut client = listener.connect(&proxy.addresses).await;
        send(&mut client, b"DBSIZE\r\n").await;
        expect(&mut client, b":0\r\n").await;
    }
}

/// `printf 'PING\r\n' | nc -N`: all is sent and shut before the proxy can have reached Redis.
#[tokio::test]
async fn a_client_that_asks_and_shuts_its_side_at_once_is_answered() {
    let redis = RealRedis::start(&[]);
    for transport in ALL {
        let listener = TestListener::new(transport);
        let proxy = Spawned::start(command(&words(&listener.arguments(&redis.url(), &[]))), 1);
        for _ in 0..20 {
            let mut client = listener.connect(&proxy.addresses).await;
            send(&mut client, b"PING\r\n").await;
            client.shutdown().await.unwrap();
            assert_eq!(read_to_end(&mut client).await, b"+PONG\r\n", "{transport:?}");
        }
    }
}

#[tokio::test]
async fn a_redis_that_is_there_is_dialled_once() {
    let redis = FakeRedis::start().await;
    let proxy = start(&redis.url(), &[]);
    let mut client = connect(proxy.addresses[0]).await;
    let mut server = redis.accept().await;
    send(&mut client, b"PING\r\n").await;
    expect(&mut server, b"PING\r\n").await;
    drop((client, server));
    assert_eq!(counted(proxy, ["upstream_retries", "connections_accepted"]), [0, 1]);
}
