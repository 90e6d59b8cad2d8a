//! What the proxy can carry: thousands of idle connections, and values of hundreds of megabytes.

use std::io::{Read, Write};
use std::thread;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::faults::wire::{Reply, Wire, request};
use crate::faults::{proxy, stop};
use crate::support::redis::RealRedis;
use crate::support::{DEADLINE, memory};

/// The most memory that one idle connection may take, in bytes.
const CONNECTION: usize = 16 * 1024;

/// Raises this process's limit on open files, which the proxy and Redis inherit, up to `wanted` if possible. Returns
/// the limit.
fn allow_files(wanted: u64) -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let maximum = limit.maximum.map_or(wanted, |maximum| maximum.max(wanted));
    // Only a privileged process may raise the hard limit.
    for rlimit in [
        Rlimit { current: Some(wanted), maximum: Some(maximum) },
        Rlimit { current: limit.maximum.map(|maximum| maximum.min(wanted)), maximum: limit.maximum },
    ] {
        if setrlimit(Resource::Nofile, rlimit).is_ok() {
            break;
        }
    }
    getrlimit(Resource::Nofile).current.unwrap_or(wanted)
}

/// Opens `wanted` connections, or as many as the system allows, and measures the memory of each.
fn idle(wanted: usize) {
    let files = usize::try_from(allow_files(2 * wanted as u64 + 2000)).expect("a number of files");
    // Each connection takes two; 4 for each of two threads and 64 for everything else are reserved.
    let count = wanted.min((files - 72) / 2);
    if count < wanted {
        eprintln!("only {count} connections: the limit on open files is {files} and cannot be raised");
    }
    let redis = RealRedis::start(&["--maxclients", "20000"]);
    let proxy = proxy(&redis, &["--max-connections", &count.to_string(), "--threads", "2"]);
    let mut first = Wire::open(proxy.addresses[0]).expect("it is accepted");
    // Every buffer that a thread keeps is used before the measurement.
    let value = vec![b'v'; 16 * 1024];
    for _ in 0..8 {
        assert_eq!(first.ask(&[b"SET", b"k", &value]).expect("an answer"), Reply::Simple("OK".to_owned()));
        assert_eq!(first.ask(&[b"GET", b"k"]).expect("an answer"), Reply::Bulk(Some(value.clone())));
    }
    let before = memory::resident(proxy.pid());
    let mut connections: Vec<Wire> = (1..count)
        .map(|_| {
            let mut wire = Wire::open(proxy.addresses[0]).expect("it is accepted");
            assert_eq!(wire.ask(&[b"PING"]).expect("an answer"), Reply::Simple("PONG".to_owned()));
            wire
        })
        .collect();
    let each = |now: usize| now.saturating_sub(before) / (count - 1);
    let idle = each(memory::resident(proxy.pid()));
    for wire in &mut connections {
        assert_eq!(wire.ask(&[b"PUBLISH", b"nobody", b"x"]).expect("an answer"), Reply::Number(0));
        assert_eq!(wire.ask(&[b"GET", b"k"]).expect("an answer"), Reply::Bulk(Some(value.clone())));
    }
    let used = each(memory::resident(proxy.pid()));
    eprintln!("{count} connections: {idle} bytes each after a PING, {used} after a PUBLISH and a GET of 16 KiB");
    assert!(idle <= CONNECTION && used <= CONNECTION, "{idle} and {used} bytes");
    drop((first, connections));
    stop(proxy);
}

/// `proxy/docs/limits.md`, "Bounds": memory of a connection.
#[test]
fn an_idle_connection_costs_little() {
    idle(500);
}

#[test]
#[ignore = "10,000 connections: proxy/conformance/faults/run.sh"]
fn ten_thousand_idle_connections_cost_little_each() {
    idle(10_000);
}

/// The bytes of a value that are sent and compared at a time.
const PIECE: usize = 64 * 1024;

/// The content of every value. It repeats, but its period is such that neighbouring pieces differ.
struct Pattern(Vec<u8>);

impl Pattern {
    const PERIOD: usize = 251 * 8;

    fn new() -> Self {
        Self((0..Self::PERIOD + PIECE).map(|at| ((at >> 3) % 251) as u8).collect())
    }

    fn at(&self, offset: usize) -> &[u8] {
        &self.0[offset % Self::PERIOD..][..PIECE]
    }
}

/// Sends `head`, a value of `size` bytes and CRLF.
fn send_value(wire: &Wire, head: &str, size: usize) {
    let (mut stream, pattern) = (wire.stream(), Pattern::new());
    stream.write_all(head.as_bytes()).expect("a live connection");
    (0..size).step_by(PIECE).for_each(|offset| stream.write_all(pattern.at(offset)).expect("a live connection"));
    stream.write_all(b"\r\n").expect("a live connection");
}

/// Reads exactly `head`, a value of `size` bytes and CRLF.
fn expect_value(wire: &Wire, head: &str, size: usize) {
    let (mut stream, pattern) = (wire.stream(), Pattern::new());
    let mut got = vec![0; head.len()];
    stream.read_exact(&mut got).expect("a reply");
    assert_eq!(got.escape_ascii().to_string(), head.as_bytes().escape_ascii().to_string());
    let mut got = vec![0; PIECE];
    for offset in (0..size).step_by(PIECE) {
        stream.read_exact(&mut got).expect("the value");
        assert!(got == pattern.at(offset), "other bytes at {offset}");
    }
    stream.read_exact(&mut got[..2]).expect("the end");
    assert_eq!(&got[..2], b"\r\n");
}

/// Sets, gets and publishes a value of `size` bytes, which must be a multiple of [`PIECE`].
fn large(size: usize) {
    let redis = RealRedis::start(&["--client-output-buffer-limit", "pubsub 0 0 0"]);
    let proxy = proxy(&redis, &[]);
    let mut wire = Wire::open(proxy.addresses[0]).expect("it is accepted");
    let mut subscriber = Wire::open(proxy.addresses[0]).expect("it is accepted");
    for wire in [&wire, &subscriber] {
        // Redis copies half a gigabyte before it replies.
        wire.stream().set_read_timeout(Some(6 * DEADLINE)).expect("a live socket");
    }
    subscriber.ask(&[b"SUBSCRIBE", b"ch"]).expect("a confirmation");
    // The buffers that threads keep are allocated before the measurement.
    for _ in 0..8 {
        assert_eq!(wire.ask(&[b"PUBLISH", b"ch", &vec![b'x'; 100_000]]).expect("an answer"), Reply::Number(1));
        subscriber.reply().expect("a message");
    }
    let before = memory::resident(proxy.pid());
    send_value(&wire, &format!("*3\r\n$3\r\nSET\r\n$1\r\nv\r\n${size}\r\n"), size);
    assert_eq!(wire.reply().expect("an answer"), Reply::Simple("OK".to_owned()));
    wire.send(&request(&[b"GET", b"v"])).expect("a live connection");
    expect_value(&wire, &format!("${size}\r\n"), size);
    let set_and_got = memory::peak(proxy.pid()).saturating_sub(before);
    assert_eq!(wire.ask(&[b"DEL", b"v"]).expect("an answer"), Reply::Number(1));
    thread::scope(|scope| {
        scope.spawn(|| expect_value(&subscriber, &format!("*3\r\n$7\r\nmessage\r\n$2\r\nch\r\n${size}\r\n"), size));
        send_value(&wire, &format!("*3\r\n$7\r\nPUBLISH\r\n$2\r\nch\r\n${size}\r\n"), size);
    });
    assert_eq!(wire.reply().expect("an answer"), Reply::Number(1));
    let in_all = memory::peak(proxy.pid()).saturating_sub(before);
    eprintln!("{size} bytes: the proxy grew by {set_and_got} for SET and GET, by {in_all} with PUBLISH and message");
    assert!(in_all < 1 << 20, "a value that streams through is not kept: {in_all} bytes");
    drop((wire, subscriber));
    stop(proxy);
}

#[test]
fn a_value_of_64_mebibytes_streams_through() {
    large(64 << 20);
}

#[test]
#[ignore = "2 GiB in Redis: proxy/conformance/faults/run.sh"]
fn a_value_of_512_mebibytes_streams_through() {
    large(512 << 20);
}
