//! How connections end: what one side had to say still reaches the other.

use crate::support::fake_redis::FakeRedis;
use crate::support::in_process::InProcess;
use crate::support::{connect, expect, expect_closed, read_to_end, send};
use socket2::SockRef;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

async fn connected() -> (InProcess, TcpStream, TcpStream) {
    let redis = FakeRedis::start().await;
    let proxy = InProcess::start(&redis.url(), &[]).await;
    let client = connect(proxy.address()).await;
    let server = redis.accept().await;
    (proxy, client, server)
}

/// Closes `stream` so that the peer gets an RST.
fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO)).expect("a live socket");
}

#[tokio::test]
async fn replies_still_arrive_after_the_client_has_shut_its_side() {
    let (_proxy, mut client, mut server) = connected().await;
    send(&mut client, b"PING\r\nPING\r\n").await;
    client.shutdown().await.unwrap();
    // The server sees the end only after all that was sent before it.
    assert_eq!(read_to_end(&mut server).await, b"PING\r\nPING\r\n");
    send(&mut server, b"+PONG\r\n").await;
    expect(&mut client, b"+PONG\r\n").await;
    send(&mut server, b"+PONG\r\n").await;
    drop(server);
    assert_eq!(read_to_end(&mut client).await, b"+PONG\r\n");
}

#[tokio::test]
async fn an_incomplete_command_is_handed_over_before_the_end() {
    let (_proxy, mut client, mut server) = connected().await;
    let cut_short = b"*3\r\n$7\r\nPUBLISH\r\n$2\r\nch\r\n$10\r\nhal";
    send(&mut client, cut_short).await;
    client.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut server).await, cut_short);
}

#[tokio::test]
async fn an_incomplete_delivery_is_handed_over_before_the_end() {
    let (_proxy, mut client, mut server) = connected().await;
    let cut_short = b">3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$10\r\nhal";
    send(&mut server, cut_short).await;
    drop(server);
    assert_eq!(read_to_end(&mut client).await, cut_short);
}

#[tokio::test]
async fn the_client_may_go_on_after_the_server_has_shut_its_side() {
    let (_proxy, mut client, mut server) = connected().await;
    send(&mut server, b"+OK\r\n").await;
    server.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut client).await, b"+OK\r\n");
    send(&mut client, b"PING\r\n").await;
    expect(&mut server, b"PING\r\n").await;
    client.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut server).await, b"");
}

#[tokio::test]
async fn a_client_that_resets_closes_the_connection_to_redis() {
    let (_proxy, mut client, mut server) = connected().await;
    send(&mut client, b"PING\r\n").await;
    expect(&mut server, b"PING\r\n").await;
    reset(client);
    expect_closed(&mut server).await;
}

#[tokio::test]
async fn a_redis_that_resets_closes_the_clients_connection() {
    let (proxy, mut client, mut server) = connected().await;
    send(&mut server, b"+OK\r\n").await;
    expect(&mut client, b"+OK\r\n").await;
    reset(server);
    expect_closed(&mut client).await;
    // And the proxy's own side too, though the client never closes.
    let report = proxy.stop().await;
    assert_eq!(report.cut_off, 0);
    drop(client);
}

#[tokio::test]
async fn what_redis_said_before_it_went_arrives_though_the_client_goes_on_sending() {
    let (_proxy, mut client, mut server) = connected().await;
    // More than fits the proxy's way to a client that does not read yet, so that some of it is still in the proxy.
    send(&mut client, b"x").await;
    expect(&mut server, b"x").await;
    let farewell = vec![b'-'; 100_000];
    send(&mut server, &farewell).await;
    drop(server);
    // Redis does not take this any more; the answer to it is a reset, which must not overtake the farewell.
    for _ in 0..50 {
        if client.write_all(&[b'y'; 1000]).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    client.shutdown().await.unwrap();
    let mut got = vec![0; farewell.len()];
    let read = crate::support::within("the farewell", tokio::io::AsyncReadExt::read_exact(&mut client, &mut got)).await;
    read.expect("all of the farewell");
    assert!(got == farewell);
}
