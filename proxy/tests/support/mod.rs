//! What the tests share: a proxy inside the test or as a process of its own, a fake Redis, real servers, and a client
//! connection on which tests see every byte.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod admin;
pub(crate) mod authority;
pub(crate) mod collector;
pub(crate) mod fake_redis;
pub(crate) mod in_process;
pub(crate) mod listener;
pub(crate) mod memory;
pub(crate) mod redis;
pub(crate) mod servers;
pub(crate) mod spawn;
pub(crate) mod wire;

use std::future::Future;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// The longest time that anything may take that has to happen, even on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Waits for `future`. Fails if it is not ready before the deadline.
#[track_caller]
pub(crate) fn within<T>(what: &str, future: impl Future<Output = T>) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(DEADLINE, future).await {
            Ok(output) => output,
            Err(_) => panic!("{caller}: {what} took more than {DEADLINE:?}"),
        }
    }
}

/// Sends all of `bytes`.
pub(crate) async fn send(stream: &mut (impl AsyncWriteExt + Unpin), bytes: &[u8]) {
    within("sending", stream.write_all(bytes)).await.expect("the peer takes the bytes");
}

/// Reads as many bytes as `expected` has. Fails and shows them if they differ.
pub(crate) async fn expect(stream: &mut (impl AsyncReadExt + Unpin), expected: &[u8]) {
    let mut got = vec![0; expected.len()];
    within("receiving", stream.read_exact(&mut got)).await.expect("the peer sends that many bytes");
    assert_eq!(got.escape_ascii().to_string(), expected.escape_ascii().to_string());
}

/// Reads to the end of the stream.
pub(crate) async fn read_to_end(stream: &mut (impl AsyncReadExt + Unpin)) -> Vec<u8> {
    let mut got = Vec::new();
    within("the end of the stream", stream.read_to_end(&mut got)).await.expect("the stream ends orderly");
    got
}

/// Waits until the peer has closed the connection, in whatever way. Fails if it sends anything before.
pub(crate) async fn expect_closed(stream: &mut (impl AsyncReadExt + Unpin)) {
    let mut got = Vec::new();
    // An error, such as a reset, counts as a close.
    let _ = within("the peer to close", stream.read_to_end(&mut got)).await;
    assert_eq!(got.escape_ascii().to_string(), "");
}

/// Opens a client connection, in halves, so that a test can use both directions at the same time.
pub(crate) async fn connect(address: std::net::SocketAddr) -> TcpStream {
    within("connecting", TcpStream::connect(address)).await.expect("the proxy accepts")
}

/// Checks that a subscriber behind the proxy receives a short and a long message exactly as they were published through
/// it, and that a subscriber without a proxy sees the context that was added to them.
pub(crate) async fn expect_traced_messages(
    direct: &mut impl Duplex,
    behind: &mut impl Duplex,
    publisher: &mut impl Duplex,
) {
    const CONFIRMED: &[u8] = b"*3\r\n$9\r\nsubscribe\r\n$2\r\nch\r\n:1\r\n";
    send(direct, b"SUBSCRIBE ch\r\n").await;
    expect(direct, CONFIRMED).await;
    send(behind, b"SUBSCRIBE ch\r\n").await;
    expect(behind, CONFIRMED).await;
    let large = "x".repeat(300_000);
    for payload in ["hi", &large] {
        let bulk = format!("${}\r\n{payload}\r\n", payload.len());
        send(publisher, format!("*3\r\n$7\r\nPUBLISH\r\n$2\r\nch\r\n{bulk}").as_bytes()).await;
        expect(publisher, b":2\r\n").await;
        expect(behind, format!("*3\r\n$7\r\nmessage\r\n$2\r\nch\r\n{bulk}").as_bytes()).await;
    }
    let traced = format!("*3\r\n$7\r\nmessage\r\n$2\r\nch\r\n${}\r\nhi\0", 2 + 41);
    expect(direct, traced.as_bytes()).await;
}

/// A connection of any kind.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// Sends `bytes` in pieces of random sizes.
pub(crate) async fn send_in_pieces(mut to: OwnedWriteHalf, bytes: &[u8], mut rng: Rng) -> OwnedWriteHalf {
    let mut rest = bytes;
    while !rest.is_empty() {
        let most = if rng.below(4) == 0 { 200_000 } else { 50 };
        let (piece, after) = rest.split_at(1 + rng.below(most.min(rest.len())));
        send(&mut to, piece).await;
        rest = after;
        if rng.below(3) == 0 {
            tokio::task::yield_now().await;
        }
    }
    to
}

/// Receives `count` bytes in pieces of random sizes.
pub(crate) async fn receive_in_pieces(from: &mut OwnedReadHalf, count: usize, mut rng: Rng) -> Vec<u8> {
    let mut got = Vec::with_capacity(count);
    let mut buffer = vec![0; 100_000];
    while got.len() < count {
        let size = 1 + rng.below(buffer.len());
        let n = within("receiving", from.read(&mut buffer[..size])).await.expect("the stream goes on");
        assert_ne!(n, 0, "the stream ended after {} of {count} bytes", got.len());
        got.extend_from_slice(&buffer[..n]);
    }
    got
}

/// A pseudo-random number generator (SplitMix64). Its seed is enough to repeat a failure.
#[derive(Clone, Debug)]
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    /// A random number below `bound`, which must not be 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("less than a usize")
    }

    /// `count` random bytes.
    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
