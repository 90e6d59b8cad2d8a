//! Values in values, a million deep. The scanner counts the values that are still to come, and keeps no stack.

use std::thread;

use crate::hostile::setup::{Setup, conversation, expect, read_to_the_end, send, shown};

const DEPTH: usize = 1_000_000;

/// The proxy keeps nothing of a nested value. This is what threads and the allocator may use.
const STATED: usize = 2 << 20;

#[test]
fn requests_in_requests_are_answered_as_redis_answers_them() {
    let setup = Setup::new(&[]);
    for head in ["*1\r\n", "*2\r\n$4\r\nPING\r\n*1\r\n"] {
        setup.same_as_direct(head, head.repeat(DEPTH).as_bytes());
    }
    // These are inline commands, each with a reply. When a client half-closes, Redis drops the replies that do not fit
    // into the socket.
    for head in ["%1\r\n", ">1\r\n", "~1\r\n"] {
        setup.same_as_direct(head, head.repeat(100).as_bytes());
    }
    let aftermath = setup.over();
    assert!(aftermath.grown < STATED, "{} bytes", aftermath.grown);
}

/// Plays a server that replies to the first request with `hello`, then sends `unit` again and again, and closes.
fn replies(hello: (&[u8], &[u8]), unit: &str, last: &str) {
    let (setup, fake) = Setup::with_fake(&[]);
    let mut client = setup.client();
    let mut server = fake.accept();
    send(&mut client, hello.0);
    expect(&mut server, hello.0);
    send(&mut server, hello.1);
    expect(&mut client, hello.1);
    let value = unit.repeat(DEPTH) + last;
    thread::scope(|scope| {
        scope.spawn(|| {
            send(&mut server, value.as_bytes());
            drop(server);
        });
        let got = read_to_the_end(&mut client);
        assert!(got == value.as_bytes(), "{unit:?}: {}", shown(&got));
    });
    drop(client);
    let aftermath = setup.over();
    assert!(aftermath.grown < STATED, "{unit:?}: {} bytes", aftermath.grown);
}

#[test]
fn replies_in_replies_arrive_as_they_came() {
    let get: (&[u8], &[u8]) = (b"PING\r\n", b"+PONG\r\n");
    replies(get, "*1\r\n", ":1\r\n");
    replies(get, "*2\r\n+x\r\n", ":1\r\n");
}

#[test]
fn replies_in_replies_of_resp3_arrive_as_they_came() {
    let hello3: (&[u8], &[u8]) = (b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n", b"%1\r\n$5\r\nproto\r\n:3\r\n");
    for unit in ["%1\r\n+k\r\n", "~1\r\n", ">1\r\n", "|1\r\n+k\r\n+v\r\n", "*1\r\n|1\r\n+k\r\n"] {
        replies(hello3, unit, ":1\r\n");
    }
}

#[test]
fn messages_in_messages_arrive_as_they_came() {
    let subscribe: (&[u8], &[u8]) =
        (b"*2\r\n$9\r\nSUBSCRIBE\r\n$2\r\nch\r\n", b"*3\r\n$9\r\nsubscribe\r\n$2\r\nch\r\n:1\r\n");
    for unit in ["*3\r\n$7\r\nmessage\r\n", "*3\r\n", "*3\r\n$7\r\nmessage\r\n$2\r\nch\r\n"] {
        replies(subscribe, unit, "$1\r\nx\r\n");
    }
}

#[test]
fn a_script_that_nests_as_deep_as_redis_can_gives_the_same() {
    let setup = Setup::new(&[]);
    let script = "local t = {} for i = 1, 5000 do t = {t} end return t";
    let request = format!("*3\r\n$4\r\nEVAL\r\n${}\r\n{script}\r\n$1\r\n0\r\n", script.len());
    let direct = conversation(setup.redis.address(), request.as_bytes());
    assert!(!direct.is_empty());
    assert_eq!(shown(&conversation(setup.address(), request.as_bytes())), shown(&direct));
    setup.over();
}
