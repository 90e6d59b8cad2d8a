//! Long bodies stream through, at the pace of the one who reads.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::{Front, address};
use crate::support::fake_redis::FakeRedis;
use crate::support::spawn::{Spawned, command};
use crate::support::{connect, expect, memory, send, within};

const MIB: usize = 1 << 20;

#[tokio::test]
async fn long_bodies_stream_through_both_ways_without_being_kept() {
    const LEN: usize = 96 * MIB;
    let service = FakeRedis::start().await;
    let port = format!("127.0.0.1:0,{}", address(&service));
    let proxy = Spawned::start(command(&["--http", &port, "--mode", "observe"]), 1);
    let mut client = connect(proxy.addresses[0]).await;
    let mut upstream = service.accept().await;
    let head = format!("POST / HTTP/1.1\r\nContent-Length: {LEN}\r\n\r\n");
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {LEN}\r\n\r\n");
    send(&mut client, head.as_bytes()).await;
    expect(&mut upstream, head.as_bytes()).await;
    let piece = vec![b'x'; MIB];
    for (heading, from_client) in [("", true), (&answer[..], false)] {
        let (from, to) = if from_client { (&mut client, &mut upstream) } else { (&mut upstream, &mut client) };
        send(from, heading.as_bytes()).await;
        expect(to, heading.as_bytes()).await;
        let sending = async {
            for _ in 0..LEN / MIB {
                send(from, &piece).await;
            }
        };
        let receiving = async {
            let (mut left, mut buffer) = (LEN, vec![0; MIB]);
            while left > 0 {
                left -= within("the body", to.read(&mut buffer)).await.expect("the stream goes on");
            }
        };
        tokio::join!(sending, receiving);
    }
    let peak = memory::peak(proxy.pid());
    assert!(peak < 48 * MIB, "{peak} bytes for bodies of {LEN}");
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_the_service() {
    let front = Front::start(&["--mode", "observe"]).await;
    let (mut client, mut service) = front.connection().await;
    send(&mut client, b"GET / HTTP/1.1\r\n\r\n").await;
    expect(&mut service, b"GET / HTTP/1.1\r\n\r\n").await;
    send(&mut service, b"HTTP/1.1 200 OK\r\n\r\n").await;
    let piece = vec![b'x'; MIB];
    let mut sent = 0;
    // Buffers of the system take some; then nothing more is taken.
    while let Ok(Ok(len)) = timeout(Duration::from_millis(500), service.write(&piece)).await {
        sent += len;
        assert!(sent < 64 * MIB, "the proxy keeps what its client does not read");
    }
    drop(service);
    let mut got = Vec::new();
    within("the rest", client.read_to_end(&mut got)).await.expect("an orderly end");
    assert_eq!(got.len(), sent + b"HTTP/1.1 200 OK\r\n\r\n".len());
}
