//! Contexts that were cut, altered or enlarged, from a publisher through Redis to a subscriber. What is not exactly the
//! trailer of a proxy is part of the payload, and arrives as it was sent.

use std::net::TcpStream;

use redistributed_core::carrier::trailer::MARK_LEN;

use crate::hostile::setup::{Setup, expect, open, send};

fn bulk(bytes: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

fn publish(payload: &[u8]) -> Vec<u8> {
    [&b"*3\r\n$7\r\nPUBLISH\r\n$2\r\nch\r\n"[..], &bulk(payload)].concat()
}

fn message(payload: &[u8]) -> Vec<u8> {
    [&b"*3\r\n$7\r\nmessage\r\n$2\r\nch\r\n"[..], &bulk(payload)].concat()
}

fn subscribe(mut stream: TcpStream) -> TcpStream {
    send(&mut stream, b"SUBSCRIBE ch\r\n");
    expect(&mut stream, b"*3\r\n$9\r\nsubscribe\r\n$2\r\nch\r\n:1\r\n");
    stream
}

const BODY: &[u8] = b"the payload";

/// Publishes `payload`, and checks that the subscriber, which is the only one, gets `delivered`.
fn expect_delivery(publisher: &mut TcpStream, subscriber: &mut TcpStream, payload: &[u8], delivered: &[u8]) {
    send(publisher, &publish(payload));
    expect(publisher, b":1\r\n");
    expect(subscriber, &message(delivered));
}

/// The trailer that the proxy adds to [`BODY`]: 41 bytes.
fn a_trailer(setup: &Setup) -> Vec<u8> {
    let mut outside = subscribe(open(setup.redis.address()));
    let mut publisher = setup.client();
    send(&mut publisher, &publish(BODY));
    expect(&mut publisher, b":1\r\n");
    let mut seen = vec![0; message(&[0; 11 + 41]).len()];
    std::io::Read::read_exact(&mut outside, &mut seen).expect("the message");
    let payload = seen.strip_suffix(b"\r\n").expect("a whole frame");
    let trailer = payload[payload.len() - 41..].to_vec();
    assert_eq!(message(&[BODY, &trailer].concat()), seen);
    trailer
}

#[test]
fn a_trailer_that_was_cut_anywhere_or_altered_in_its_marks_is_payload() {
    let setup = Setup::new(&[]);
    let trailer = a_trailer(&setup);
    let mut payloads = vec![b"".to_vec(), [BODY, &trailer, b"x"].concat(), trailer[1..].to_vec()];
    for at in 0..trailer.len() {
        payloads.push([BODY, &trailer[..at]].concat());
        payloads.push([BODY, &trailer[at + 1..]].concat());
        for bit in [0x01, 0x80] {
            // Between the marks are ids, and others are valid too.
            if (MARK_LEN..trailer.len() - MARK_LEN).contains(&at) {
                continue;
            }
            let mut forged = trailer.clone();
            forged[at] ^= bit;
            payloads.push([BODY, &forged].concat());
        }
    }
    let mut subscriber = subscribe(setup.client());
    // First directly to Redis, as a forger would publish, and then through the proxy, which adds a trailer of its own
    // after the broken one.
    for mut publisher in [open(setup.redis.address()), setup.client()] {
        for payload in &payloads {
            expect_delivery(&mut publisher, &mut subscriber, payload, payload);
        }
        // A complete trailer counts as that of a proxy, wherever it came from.
        expect_delivery(&mut publisher, &mut subscriber, &[BODY, &trailer].concat(), BODY);
    }
    drop(subscriber);
    let aftermath = setup.over();
    assert!(aftermath.grown < 2 << 20, "{} bytes", aftermath.grown);
}

/// A service puts a frame around bytes of somebody else, who knows how long the frame is and what stands in it.
#[test]
fn who_writes_only_the_end_of_a_payload_makes_none_of_the_services_bytes_vanish() {
    let frame = |foreign: &[u8]| {
        let len = u32::try_from(foreign.len()).expect("a short payload");
        [&len.to_be_bytes()[..], b"acct=42;role=user;", foreign].concat()
    };
    let fill = [b'A'; 185];
    let whole_len = |footer: usize| u16::try_from(4 + 18 + fill.len() + footer).expect("a short payload").to_be_bytes();
    let ids = [7; 25];
    let payloads = [
        // A length that reaches back to the first byte of the frame, and the checksum that was right once.
        frame(&[&fill[..], &whole_len(15), &[2], &[1, 2, 3, 4], b"\xfbrdtrac\xfe"].concat()),
        frame(&[&fill[..], &whole_len(10), b"\xfbrdtrac\xff"].concat()),
        frame(&[&ids[..], b"\xfbrdtrac\xfe"].concat()),
    ];
    for options in [&[][..], &["--trust", "redis"], &["--trust", "none"], &["--mode", "strip"], &["--exclude", "*"]] {
        let setup = Setup::new(options);
        let mut subscriber = subscribe(setup.client());
        for mut publisher in [open(setup.redis.address()), setup.client()] {
            for payload in &payloads {
                expect_delivery(&mut publisher, &mut subscriber, payload, payload);
            }
        }
        drop(subscriber);
        setup.over();
    }
}

/// With a trust in less than all, a publish's own tail is neither believed nor replaced.
#[test]
fn a_context_that_is_not_trusted_stays_and_another_is_put_behind_it() {
    let setup = Setup::new(&["--trust", "redis"]);
    let trailer = a_trailer(&setup);
    let mut outside = subscribe(open(setup.redis.address()));
    let mut subscriber = subscribe(setup.client());
    let mut publisher = setup.client();
    let payload = [BODY, &trailer].concat();
    send(&mut publisher, &publish(&payload));
    expect(&mut publisher, b":2\r\n");
    expect(&mut subscriber, &message(&payload));
    let mut seen = vec![0; message(&[payload.clone(), vec![0; 41]].concat()).len()];
    std::io::Read::read_exact(&mut outside, &mut seen).expect("the message");
    assert!(String::from_utf8_lossy(&seen).matches("rdtrac").count() == 4, "{}", seen.escape_ascii());
    drop((subscriber, outside));
    setup.over();
}

#[test]
fn trailers_in_trailers_are_taken_off_one_at_a_time() {
    let setup = Setup::new(&[]);
    let trailer = a_trailer(&setup);
    let mut subscriber = subscribe(setup.client());
    let mut publisher = open(setup.redis.address());
    let many = trailer.repeat(1000);
    expect_delivery(&mut publisher, &mut subscriber, &many, &many[trailer.len()..]);
    drop(subscriber);
    setup.over();
}

#[test]
fn contexts_of_services_beyond_every_limit_arrive_as_they_were_sent() {
    let setup = Setup::new(&["--read-json", "*"]);
    let mut subscriber = subscribe(setup.client());
    let mut publisher = setup.client();
    let traceparent = r#""traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01""#;
    let states: [String; 6] = [
        "a=1,".repeat(25_000),
        format!("a={}", "b".repeat(100_000)),
        ",".repeat(100_000),
        "=".repeat(1000),
        "\\u0000\\ud800".repeat(1000),
        (0..5000).map(|n| format!("k{n}=v,")).collect(),
    ];
    for state in &states {
        for payload in [
            format!(r#"{{{traceparent},"tracestate":"{state}"}}"#),
            format!(r#"{{{traceparent},"baggage":"{state}"}}"#),
            format!(
                r#"{{"tracestate":"{state}",{traceparent},{traceparent},"b3":"{state}","uber-trace-id":"{state}"}}"#
            ),
            format!(r#"{{"traceparent":"{state}"}}"#),
            format!(r#"{{{traceparent},"nested":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000)),
        ] {
            expect_delivery(&mut publisher, &mut subscriber, payload.as_bytes(), payload.as_bytes());
        }
    }
    drop((subscriber, publisher));
    let aftermath = setup.over();
    // The proxy holds one payload for each direction, of 400 KB at most, and as much again while it is rewritten.
    assert!(aftermath.grown < 4 << 20, "{} bytes", aftermath.grown);
}
