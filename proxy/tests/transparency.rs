//! What passes through the proxy is what was sent, whoever speaks first and however it is cut up.

use crate::support::fake_redis::FakeRedis;
use crate::support::in_process::InProcess;
use crate::support::{Rng, connect, expect, read_to_end, receive_in_pieces, send, send_in_pieces};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixListener;

#[tokio::test]
async fn server_first_bytes_reach_the_client_unchanged() {
    let redis = FakeRedis::start().await;
    let proxy = InProcess::start(&redis.url(), &[]).await;
    let mut client = connect(proxy.address()).await;
    let mut server = redis.accept().await;
    send(&mut server, b"-DENIED Redis is running in protected mode\r\n").await;
    expect(&mut client, b"-DENIED Redis is running in protected mode\r\n").await;
}

#[tokio::test]
async fn commands_and_replies_pass_as_they_are() {
    let redis = FakeRedis::start().await;
    let proxy = InProcess::start(&redis.url(), &[]).await;
    let mut client = connect(proxy.address()).await;
    let mut server = redis.accept().await;
    for (command, reply) in [
        (&b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"[..], &b"$-1\r\n"[..]),
        (b"PING\r\n", b"+PONG\r\n"),
        (b"\r\n\r\nget  k\n", b"$3\r\na\r\n\r\n"),
        (b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n", b"%1\r\n$5\r\nproto\r\n:3\r\n"),
        (b"*1\r\n$4\r\nEXEC\r\n", b"-ERR EXEC without MULTI\r\n"),
    ] {
        send(&mut client, command).await;
        expect(&mut server, command).await;
        send(&mut server, reply).await;
        expect(&mut client, reply).await;
    }
}

#[tokio::test]
async fn any_bytes_pass_both_ways_at_once_in_any_pieces() {
    for seed in 0..6 {
        eprintln!("seed {seed}");
        let redis = FakeRedis::start().await;
        let proxy = InProcess::start(&redis.url(), &[]).await;
        let (mut from_proxy, to_proxy) = connect(proxy.address()).await.into_split();
        let (mut from_client, to_client) = redis.accept().await.into_split();
        let mut rng = Rng(seed);
        let (requests, replies) = (rng.bytes(2_000_000), rng.bytes(3_000_000));
        // The write halves are kept until both directions are done: dropping one would be a half-close.
        let (_to_proxy, got_requests, _to_client, got_replies) = tokio::join!(
            send_in_pieces(to_proxy, &requests, rng.clone()),
            receive_in_pieces(&mut from_client, requests.len(), Rng(seed + 100)),
            send_in_pieces(to_client, &replies, Rng(seed + 200)),
            receive_in_pieces(&mut from_proxy, replies.len(), Rng(seed + 300)),
        );
        assert!(got_requests == requests, "seed {seed}: what reached Redis is not what the client sent");
        assert!(got_replies == replies, "seed {seed}: what reached the client is not what Redis sent");
    }
}

#[tokio::test]
async fn redis_behind_a_unix_socket_is_reached() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("redis.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let proxy = InProcess::start(&format!("unix:{}", path.display()), &[]).await;
    let mut client = connect(proxy.address()).await;
    let (mut server, _) = crate::support::within("the proxy to dial", listener.accept()).await.unwrap();
    send(&mut client, b"PING\r\n").await;
    expect(&mut server, b"PING\r\n").await;
    send(&mut server, b"+PONG\r\n").await;
    expect(&mut client, b"+PONG\r\n").await;
    client.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut server).await, b"");
}

#[tokio::test]
async fn each_route_leads_to_its_own_redis() {
    let (first, second) = (FakeRedis::start().await, FakeRedis::start().await);
    let routes = [("a", &first), ("b", &second)].map(|(name, redis)| format!("{name}=127.0.0.1:0,{}", redis.url()));
    let proxy = InProcess::with_arguments(&["--route", &routes[0], "--route", &routes[1]]).await;
    for (address, redis) in proxy.addresses.iter().zip([&first, &second]) {
        let mut client = connect(*address).await;
        let mut server = redis.accept().await;
        let text = format!("+{}\r\n", redis.url());
        send(&mut server, text.as_bytes()).await;
        expect(&mut client, text.as_bytes()).await;
    }
}
