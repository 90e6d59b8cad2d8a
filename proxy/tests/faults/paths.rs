//! A path on which packets are lost without a word: a firewall that forgets, a machine that was switched off. And what must not be
//! taken for it: a side that is there and does not read.

use std::time::{Duration, Instant};

use socket2::{SockFilter, SockRef};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::faults::stop;
use crate::support::fake_redis::FakeRedis;
use crate::support::spawn::{Spawned, command};
use crate::support::{connect, expect, expect_closed, send, within};

/// What both hops allow in these tests.
const USER_TIMEOUT: Duration = Duration::from_secs(2);

async fn connected() -> (Spawned, TcpStream, TcpStream) {
    let redis = FakeRedis::start().await;
    let times = ["--tcp-user-timeout", "2s", "--tcp-keepalive", "1s"];
    let proxy =
        Spawned::start(command(&[&["--listen", "127.0.0.1:0", "--upstream", &redis.url()], &times[..]].concat()), 1);
    let mut client = connect(proxy.addresses[0]).await;
    let mut server = redis.accept().await;
    send(&mut client, b"SUBSCRIBE x\r\n").await;
    expect(&mut server, b"SUBSCRIBE x\r\n").await;
    (proxy, client, server)
}

/// From now on the system drops every packet that comes for this socket, without an answer.
fn lose_packets(socket: &TcpStream) {
    const DROP: SockFilter = SockFilter::new(0x06, 0, 0, 0);
    SockRef::from(socket).attach_filter(&[DROP]).unwrap();
}

#[tokio::test]
async fn a_path_to_redis_without_answers_is_given_up() {
    for asks in [true, false] {
        let (proxy, mut client, server) = connected().await;
        lose_packets(&server);
        if asks {
            send(&mut client, b"PING\r\n").await;
        }
        expect_closed(&mut client).await;
        drop(server);
        stop(proxy);
    }
}

#[tokio::test]
async fn a_path_to_a_client_without_answers_is_given_up() {
    for gets_messages in [true, false] {
        let (proxy, client, mut server) = connected().await;
        lose_packets(&client);
        if gets_messages {
            send(&mut server, b"+OK\r\n").await;
        }
        expect_closed(&mut server).await;
        drop(client);
        stop(proxy);
    }
}

/// A subscriber that works on a message for longer than packets may be lost, while more messages come than its system has room
/// for. The proxy's own buffer is not full.
#[tokio::test]
async fn a_client_that_reads_nothing_for_long_loses_nothing() {
    let (proxy, mut client, mut server) = connected().await;
    // More than the system keeps for one who has not read yet, and less than the proxy's keeps for one who does not.
    let messages = vec![b'm'; 1 << 20];
    let started = Instant::now();
    send(&mut server, &messages).await;
    // One for each look, so that something is always new.
    while started.elapsed() < 4 * USER_TIMEOUT {
        send(&mut server, b"m").await;
        sleep(USER_TIMEOUT / 8).await;
    }
    server.shutdown().await.unwrap();
    let mut got = Vec::new();
    within("what was kept", client.read_to_end(&mut got)).await.unwrap();
    assert!(got.len() >= messages.len() + 32 && got.iter().all(|byte| *byte == b'm'), "{} bytes", got.len());
    stop(proxy);
}

#[tokio::test]
async fn a_redis_that_reads_nothing_for_long_gets_everything() {
    let (proxy, mut client, mut server) = connected().await;
    let value = vec![b'v'; 1 << 20];
    send(&mut client, format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n", value.len()).as_bytes()).await;
    send(&mut client, &value).await;
    sleep(4 * USER_TIMEOUT).await;
    send(&mut client, b"\r\n").await;
    client.shutdown().await.unwrap();
    let mut got = Vec::new();
    within("what was kept", server.read_to_end(&mut got)).await.unwrap();
    assert!(got.ends_with(b"v\r\n") && got.len() > value.len(), "{} bytes", got.len());
    stop(proxy);
}
