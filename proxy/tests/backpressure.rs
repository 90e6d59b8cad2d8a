//! A side that does not read stops the other from sending: the proxy takes no more than it can hand on.

use std::time::Duration;

use crate::support::fake_redis::FakeRedis;
use crate::support::in_process::InProcess;
use crate::support::{connect, within};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A sender that has got rid of nothing for so long is stopped.
const STOPPED: Duration = Duration::from_millis(1500);
/// What the kernel may hold: Linux lets each of the four socket buffers on the way grow to 4 or 6 MiB by default.
const KERNEL: usize = 32 << 20;
/// Far more than that.
const TOO_MUCH: usize = 256 << 20;

/// Sends a repeating pattern until the other end takes no more; returns how much it took.
async fn fill(to: &mut TcpStream) -> usize {
    let block = pattern(0, 64 * 1024);
    let mut taken = 0;
    while taken < TOO_MUCH {
        // Each write goes on where the last one stopped in the pattern.
        let offset = taken % block.len();
        match timeout(STOPPED, to.write(&block[offset..])).await {
            Ok(written) => taken += written.expect("the connection holds"),
            Err(_) => return taken,
        }
    }
    taken
}

/// Bytes `from..from + count` of a pattern whose period is 64 KiB.
fn pattern(from: usize, count: usize) -> Vec<u8> {
    (from..from + count).map(|i| ((i % 65_536) / 251) as u8).collect()
}

/// Reads `count` bytes of the pattern.
async fn drain(from: &mut TcpStream, count: usize) {
    let mut buffer = vec![0; 64 * 1024];
    let mut got = 0;
    while got < count {
        let n = within("what is on the way", from.read(&mut buffer)).await.expect("the connection holds");
        assert_ne!(n, 0, "the stream ended after {got} of {count} bytes");
        assert!(buffer[..n] == pattern(got % 65_536, n), "other bytes arrived than were sent");
        got += n;
    }
    assert_eq!(got, count);
}

async fn connected() -> (InProcess, TcpStream, TcpStream) {
    let redis = FakeRedis::start().await;
    let proxy = InProcess::start(&redis.url(), &[]).await;
    let client = connect(proxy.address()).await;
    let server = redis.accept().await;
    for stream in [&client, &server] {
        SockRef::from(stream).set_recv_buffer_size(64 * 1024).expect("a live socket");
    }
    (proxy, client, server)
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_redis() {
    let (_proxy, mut client, mut server) = connected().await;
    let taken = fill(&mut server).await;
    assert!(taken < KERNEL, "{taken} bytes were taken from Redis for a client that reads nothing");
    drain(&mut client, taken).await;
}

#[tokio::test]
async fn a_redis_that_does_not_read_stops_the_client() {
    let (_proxy, mut client, mut server) = connected().await;
    let taken = fill(&mut client).await;
    assert!(taken < KERNEL, "{taken} bytes were taken from the client for a Redis that reads nothing");
    drain(&mut server, taken).await;
}

#[tokio::test]
async fn one_blocked_direction_does_not_block_the_other() {
    let (_proxy, mut client, mut server) = connected().await;
    let taken = fill(&mut server).await;
    crate::support::send(&mut client, b"PING\r\n").await;
    crate::support::expect(&mut server, b"PING\r\n").await;
    drain(&mut client, taken).await;
}
