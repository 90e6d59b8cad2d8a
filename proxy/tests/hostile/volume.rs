//! Very many small frames on one connection.

use std::io::Read;
use std::net::TcpStream;
use std::thread;

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
