//! Very many small frames on one connection.

use std::io::Read;
use std::net::TcpStream;
use std::thread;

use redistributed_core::carrier::trailer;
use redistributed_core::trace::{Context, SpanContext};

use crate::hostile::setup::{Setup, expect, send, shown};
use crate::support::redis::RealRedis;

/// Sends all of `request` while it reads as many bytes as `reply` has, and compares them.
fn exchange(client: &mut TcpStream, request: &[u8], reply: &[u8]) {
    let mut sending = client.try_clone().expect("a live socket");
    thread::scope(|scope| {
        scope.spawn(move || send(&mut sending, request));
        let mut got = vec![0; reply.len()];
        client.read_exact(&mut got).expect("as many bytes as the reply has");
        assert!(got == reply, "{} for {}", shown(&got), shown(reply));
    });
}

#[test]
fn hundreds_of_thousands_of_tiny_commands_are_answered_one_by_one() {
    const COUNT: usize = 150_000;
    let setup = Setup::new(&["--commands", "all"]);
    let mut client = setup.client();
    exchange(&mut client, &b"*1\r\n$4\r\nPING\r\n".repeat(COUNT), &b"+PONG\r\n".repeat(COUNT));
    exchange(&mut client, &[b"\r\n".repeat(COUNT), b"PING\r\n".to_vec()].concat(), b"+PONG\r\n");
    let publish = b"*3\r\n$7\r\nPUBLISH\r\n$2\r\nch\r\n$0\r\n\r\n";
    exchange(&mut client, &publish.repeat(COUNT / 3), &b":0\r\n".repeat(COUNT / 3));
    drop(client);
    let aftermath = setup.over();
    // The largest part of the queue of unanswered commands is 16,384 open spans of about 500 bytes.
    assert!(aftermath.grown < 16 << 20, "{} bytes", aftermath.grown);
}

/// `proxy/docs/limits.md`, "Bounds": unanswered commands and open spans.
#[test]
fn commands_that_are_never_answered_are_remembered_up_to_the_limits() {
    const COUNT: usize = 100_000;
    let (mut setup, fake) = Setup::with_fake(&[]);
    let mut client = setup.client();
    let mut server = fake.accept();
    // Neighbours differ, so that each is an entry of its own.
    let request = b"*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\na\r\n*3\r\n$7\r\nPUBLISH\r\n$3\r\n__x\r\n$1\r\nx\r\n".repeat(COUNT);
    thread::scope(|scope| {
        scope.spawn(|| send(&mut client, &request));
        let mut got = vec![0; request.len()];
        server.read_exact(&mut got).unwrap();
        assert!(got == request);
    });
    setup.wait_for_line("can no longer be paired");
    // Replies that are paired with no command still arrive.
    send(&mut server, b":1\r\n");
    expect(&mut client, b":1\r\n");
    drop((client, server));
    let aftermath = setup.over();
    // At most 65,536 entries of 24 bytes, and twice that while the queue grows.
    assert!(aftermath.grown < 4 << 20, "{} bytes", aftermath.grown);
}

#[test]
fn replies_that_nobody_asked_for_arrive() {
    const COUNT: usize = 300_000;
    let (setup, fake) = Setup::with_fake(&[]);
    let mut client = setup.client();
    let mut server = fake.accept();
    for unit in [&b"+\r\n"[..], b"*0\r\n", b"$0\r\n\r\n"] {
        let said = unit.repeat(COUNT);
        thread::scope(|scope| {
            scope.spawn(|| send(&mut server, &said));
            let mut got = vec![0; said.len()];
            client.read_exact(&mut got).unwrap();
            assert!(got == said, "{}", shown(&got));
        });
    }
    drop((client, server));
    let aftermath = setup.over();
    assert!(aftermath.grown < 2 << 20, "{} bytes", aftermath.grown);
}

#[test]
fn a_million_arguments_are_one_command() {
    const COUNT: usize = 1_000_000;
    // Unless told otherwise, Redis closes a subscriber that has 8 MB to fetch for a minute, which a busy machine can take.
    let redis = RealRedis::start(&["--client-output-buffer-limit", "pubsub", "0", "0", "0"]);
    let setup = Setup::in_front_of(redis, &[]);
    let arguments = "$1\r\na\r\n".repeat(COUNT);
    for (name, last) in [("DEL", ":0\r\n"), ("PUBLISH", "'publish' command\r\n"), ("SUBSCRIBE", "$1\r\na\r\n:1\r\n")] {
        let request = format!("*{}\r\n${}\r\n{name}\r\n{arguments}PING\r\n", COUNT + 1, name.len());
        let direct = through(setup.redis.address(), request.as_bytes());
        let proxied = through(setup.address(), request.as_bytes());
        assert!(direct == proxied, "{name}: {} for {}", shown(&proxied), shown(&direct));
        let text = String::from_utf8_lossy(&direct);
        assert!(text.contains(last), "{name}: {}", shown(&direct));
    }
    let aftermath = setup.over();
    assert!(aftermath.grown < 4 << 20, "{} bytes", aftermath.grown);
}

/// Sends `request`, which ends with a PING, and reads up to the reply to that.
fn through(address: std::net::SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut client = crate::hostile::setup::open(address);
    let mut sending = client.try_clone().expect("a live socket");
    thread::scope(|scope| {
        scope.spawn(move || send(&mut sending, request));
        let (mut got, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
        // The reply to PING of a subscriber, or of any other client.
        while !got.ends_with(b"+PONG\r\n") && !got.ends_with(b"$4\r\npong\r\n$0\r\n\r\n") {
            let n = client.read(&mut buffer).expect("an answer");
            assert_ne!(n, 0, "closed after {}", shown(&got));
            got.extend_from_slice(&buffer[..n]);
        }
        got
    })
}

/// A command that blocks, which holds up all that a client pipelines behind it, and so many publishes whose spans take 1.8 KiB
/// each.
fn publishes_behind_a_block(publishes: usize) -> Vec<u8> {
    let context = Context {
        trace_state: Some(format!("a={}", "x".repeat(500)).into()),
        ..SpanContext::parse_traceparent(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap().into()
    };
    let mut payload = b"payload".to_vec();
    trailer::write(&context, &mut payload);
    let mut request = b"*3\r\n$5\r\nBLPOP\r\n$5\r\nnokey\r\n$1\r\n0\r\n".to_vec();
    for number in 0..publishes {
        let head = format!("*3\r\n$7\r\nPUBLISH\r\n$1024\r\n{number:01024}\r\n${}\r\n", payload.len());
        request.extend_from_slice(head.as_bytes());
        request.extend_from_slice(&payload);
        request.extend_from_slice(b"\r\n");
    }
    request
}

/// `proxy/docs/limits.md`, "Bounds".
#[test]
fn spans_that_are_never_answered_are_bounded_by_their_bytes() {
    /// How many publishes each connection sends. Their spans would take 14 MiB, and then 6.5 MiB each.
    const PUBLISHES: [usize; 12] = [8_000, 3_700, 3_700, 3_700, 3_700, 3_700, 3_700, 3_700, 3_700, 3_700, 3_700, 3_700];
    // The fake takes every connection for a client's, so the proxy must have none of its own.
    let (setup, fake) = Setup::with_fake(&["--mode", "inject", "--out-of-band", "off"]);
    let mut open = Vec::new();
    let mut grown = Vec::new();
    for publishes in PUBLISHES {
        let request = publishes_behind_a_block(publishes);
        let mut client = setup.client();
        let mut server = fake.accept();
        thread::scope(|scope| {
            scope.spawn(|| send(&mut client, &request));
            // The context of each publish is replaced by one of the same length.
            server.read_exact(&mut vec![0; request.len()]).expect("all that was sent");
        });
        open.push((client, server));
        grown.push(setup.grown() >> 20);
    }
    // Spans of 6 MiB, and room that is not used yet.
    assert!(grown[0] < 14, "one connection: {grown:?} MiB");
    assert!(grown[PUBLISHES.len() - 1] < 90, "all connections: {grown:?} MiB");
    drop(open);
    setup.over();
}

/// Memory that is freed is of use to others on the machine only when the process has given it back, which glibc does not do by
/// itself.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[test]
fn the_memory_of_a_burst_is_given_back_when_its_clients_have_left() {
    const CLIENTS: usize = 3;
    let setup = Setup::new(&["--mode", "inject"]);
    let request = publishes_behind_a_block(3_700);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let mut client = setup.client();
            send(&mut client, &request);
            client
        })
        .collect();
    // What the sockets hold of it is still to come.
    wait_until("the proxy holds the spans", || setup.grown(), |grown| grown > CLIENTS * (5 << 20));
    drop(clients);
    // Up to 8 MiB stay for what comes next. Without the trim, all of it does.
    wait_until("the memory is given back", || setup.grown_by_now(), |grown| grown < 12 << 20);
    setup.over();
}

/// Looks again and again, because the kernel tells nobody what becomes of the memory of a process.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn wait_until(what: &str, grown: impl Fn() -> usize, is_so: impl Fn(usize) -> bool) {
    use std::time::{Duration, Instant};

    let deadline = Instant::now() + crate::support::DEADLINE;
    while !is_so(grown()) {
        assert!(Instant::now() < deadline, "{what}: it has grown by {} bytes", grown());
        thread::sleep(Duration::from_millis(50));
    }
}
