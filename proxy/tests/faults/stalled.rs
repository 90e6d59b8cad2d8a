//! A subscriber that stops reading while the publisher goes on. Redis's limit on output must take effect as it would
//! without the proxy. So the proxy must not read more than it can pass on.

use std::time::Instant;

use crate::faults::wire::{Reply, Wire};
use crate::faults::{BOTH_WAYS, proxy, stop};
use crate::support::redis::RealRedis;
use crate::support::{DEADLINE, memory};

/// The length of a payload in bytes.
const PAYLOAD: usize = 50_000;
/// The output that Redis may keep for a subscriber, in bytes.
const LIMIT: usize = 4 << 20;
/// The most that the kernel keeps in the buffers of one TCP connection: 4 MiB at the sender and 6 MiB at the receiver.
const KERNEL: usize = 10 << 20;

/// Publishes until Redis has closed the subscriber. Returns how many bytes of payload were published by then, and how
/// many the subscriber can read afterwards.
fn published_until_closed(address: std::net::SocketAddr) -> (usize, usize) {
    let mut stalled = Wire::open(address).expect("somebody listens");
    stalled.ask(&[b"SUBSCRIBE", b"ch"]).expect("a confirmation");
    let mut publisher = Wire::open(address).expect("somebody listens");
    let started = Instant::now();
    let mut published = 0_usize;
    loop {
        let number = (published / PAYLOAD) as u64;
        let payload = [&number.to_be_bytes()[..], &vec![b'p'; PAYLOAD - 8]].concat();
        match publisher.ask(&[b"PUBLISH", b"ch", &payload]).expect("an answer") {
            Reply::Number(1) => published += PAYLOAD,
            Reply::Number(0) => break,
            other => panic!("{other:?}"),
        }
        assert!(started.elapsed() < DEADLINE, "Redis did not close it after {published} bytes");
    }
    // The subscriber can still read what was sent to it, from the first message on, and then the end of the stream.
    let mut read = 0;
    while let Ok(Reply::Array(parts)) = stalled.reply() {
        let Some(Reply::Bulk(Some(payload))) = parts.last() else { panic!("{parts:?}") };
        assert_eq!(payload.len(), PAYLOAD);
        assert_eq!(payload[..8], ((read / PAYLOAD) as u64).to_be_bytes(), "in order, without a gap");
        read += PAYLOAD;
    }
    (published, read)
}

/// `proxy/docs/limits.md`, "Bounds": a slow reader.
#[test]
fn redis_closes_a_subscriber_that_does_not_read_as_it_would_without_the_proxy() {
    let redis = RealRedis::start(&["--client-output-buffer-limit", &format!("pubsub {LIMIT} {LIMIT} 60")]);
    let proxy = proxy(&redis, &[]);
    let [direct, proxied] = BOTH_WAYS.map(|way| {
        let before = memory::resident(proxy.pid());
        let (published, read) = published_until_closed(way.address(&redis, &proxy));
        let grown = memory::peak(proxy.pid()).saturating_sub(before);
        eprintln!("{way:?}: closed after {published} bytes, {read} could be read, the proxy grew by {grown}");
        assert!(read <= published && published >= LIMIT, "{way:?}");
        assert!(grown < 4 << 20, "{way:?}: the proxy held {grown} bytes");
        published
    });
    assert!(direct <= LIMIT + KERNEL + PAYLOAD, "{direct}");
    // With the proxy there is one more TCP connection on the way, and one read of the proxy.
    assert!(proxied <= direct + KERNEL + (1 << 20), "{proxied} bytes, and {direct} without the proxy");
    stop(proxy);
}
