//! Slow senders: one byte at a time, or all bytes but the last.

use std::thread;
use std::time::{Duration, Instant};

use crate::hostile::setup::{Setup, expect, open, send};
use crate::support::DEADLINE;

#[test]
fn bytes_that_come_one_by_one_are_the_same_messages() {
    const PUBLISHERS: usize = 20;
    let mut setup = Setup::new(&[]);
    let mut subscriber = setup.client();
    send(&mut subscriber, b"SUBSCRIBE ch\r\n");
    expect(&mut subscriber, b"*3\r\n$9\r\nsubscribe\r\n$2\r\nch\r\n:1\r\n");
    let payload = "x".repeat(300);
    let request = format!("*3\r\n$7\r\nPUBLISH\r\n$2\r\nch\r\n$300\r\n{payload}\r\n");
    let message = format!("*3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$300\r\n{payload}\r\n");
    let address = setup.address();
    thread::scope(|scope| {
        for _ in 0..PUBLISHERS {
            scope.spawn(|| {
                let mut publisher = open(address);
                for byte in request.as_bytes() {
                    send(&mut publisher, std::slice::from_ref(byte));
                }
                expect(&mut publisher, b":1\r\n");
            });
        }
        setup.bystander_is_served();
        for _ in 0..PUBLISHERS {
            expect(&mut subscriber, message.as_bytes());
        }
    });
    drop(subscriber);
    let aftermath = setup.over();
    assert!(aftermath.log.contains(&format!("injected={PUBLISHERS}")), "{}", aftermath.log);
}

/// `proxy/docs/limits.md`, "Bounds": held bytes.
#[test]
fn payloads_without_their_last_byte_are_held_up_to_the_limit_and_no_further() {
    const CLIENTS: usize = 32;
    const LIMIT: usize = 1 << 20;
    let mut setup = Setup::new(&["--inject-limit", "1MiB"]);
    // Without the bytes that the proxy adds.
    let body = "y".repeat(LIMIT - 41);
    let request = format!("*3\r\n$7\r\nPUBLISH\r\n$2\r\nch\r\n${}\r\n{body}\r\n", body.len());
    let (most, last) = request.as_bytes().split_at(request.len() - b"y\r\n".len());
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| setup.client()).collect();
    for client in &mut clients {
        send(client, most);
    }
    setup.bystander_is_served();
    let started = Instant::now();
    while setup.grown() < CLIENTS * LIMIT * 9 / 10 {
        assert!(started.elapsed() < DEADLINE, "only {} bytes are held", setup.grown());
        thread::sleep(Duration::from_millis(5));
    }
    for client in &mut clients {
        send(client, last);
        expect(client, b":0\r\n");
    }
    // Twice, because a buffer that grows is copied to a larger one.
    let stated = CLIENTS * 2 * LIMIT + (8 << 20);
    assert!(setup.grown() < stated, "{} bytes for {CLIENTS} clients", setup.grown());
    drop(clients);
    let aftermath = setup.over();
    assert!(aftermath.log.contains(&format!("injected={CLIENTS}")), "{}", aftermath.log);
}
