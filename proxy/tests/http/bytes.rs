//! A service sees what its client has sent, to the byte, and the client what the service has.

use redistributed::telemetry::stats::ProxyCounter;

use super::Front;
use crate::support::{Rng, expect, read_to_end, send};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What a client sends and a service answers, step by step. It begins with the client, and they take turns.
const CONVERSATIONS: [&[&str]; 17] = [
    // The order and the case of headers, repeated ones, spaces, and bytes that are no text.
    &[
        "GET /a%20b?q=1&q=2 HTTP/1.1\r\nHOST: x\r\nb: 2\r\nA: 1\r\nb: 1\r\ncookie:  k=v \r\nX-\u{e9}: no\r\n\r\n",
        "HTTP/1.1 200 Fine By Me\r\nset-Cookie: a\r\nContent-Length: 2\r\nSet-cookie: b\r\n\r\nok",
    ],
    &[
        "GET / HTTP/1.1\r\nHost: x\r\nx: caf\u{e9}\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n",
    ],
    // HTTP/1.0, with its keep-alive, and a body that ends with the connection.
    &[
        "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na",
        "GET / HTTP/1.0\r\n\r\n",
        "HTTP/1.0 200 OK\r\n\r\nuntil the end",
    ],
    &[
        "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
    ],
    // Interim responses, and a client that waits for one before it sends its body.
    &[
        "PUT / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "abc",
        "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n",
    ],
    &[
        "PUT / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
        "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n",
    ],
    // Chunks as they were cut, their extensions, and trailers.
    &[
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n\r\n3;name=\"v\"\r\nabc\r\n0003\r\ndef\r\n0\r\nDigest: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\nA\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n",
    ],
    // Several requests at once, and an answer before its request is complete.
    &[
        "GET /1 HTTP/1.1\r\nHost: x\r\n\r\nPOST /2 HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\naGET /3 HTTP/1.1\r\nHost: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n3",
    ],
    &[
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc",
        "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n",
        "defghi",
    ],
    // Another protocol behind the answer, and one that was refused.
    &[
        "GET /chat HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\u{1}\u{5}Hello",
        "\u{1}\u{2}\r\nGET / HTTP/1.1\r\n\r\n",
        "HTTP/1.1 bye",
    ],
    &[
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb",
    ],
    &[
        "CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n",
        "HTTP/1.1 200 Connection established\r\n\r\n",
        "\u{16}\u{3}\u{1}",
        "\u{15}",
    ],
    // Other forms of the target, unusual methods.
    &[
        "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "get http://user@h:80?x HTTP/1.1\r\nHost: h\r\n\r\n",
        "HTTP/1.1 501 x\r\nContent-Length: 0\r\n\r\n",
        "PROPFIND /a|b^c HTTP/1.1\r\nHost: x\r\n\r\n",
        "HTTP/1.1 207 x\r\nContent-Length: 0\r\n\r\n",
    ],
    // An empty line between requests.
    &[
        "\r\nPOST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2",
    ],
    // What readers could take in two ways, and what is no HTTP at all: a service decides that.
    &[
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 400 Bad Request\r\n\r\n",
    ],
    &["GET / HTTP/1.1\nHost: x\n\n", "HTTP/1.1 200 OK\nContent-Length: 1\n\na", "\u{16}\u{3}", "?"],
    &[
        "GET / HTTP/1.1\r\nHost: x\r\na: b\r\n  folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\na: b\r\n folded\r\n\r\na",
    ],
];

/// Sends `bytes` in pieces that arrive one by one.
async fn send_slowly(to: &mut TcpStream, bytes: &[u8], rng: &mut Rng) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(1 + rng.below(rest.len().min(40)));
        send(to, piece).await;
        rest = after;
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn without_a_context_to_add_every_byte_is_the_same_on_both_sides() {
    let front = Front::start(&["--mode", "observe"]).await;
    for (seed, conversation) in CONVERSATIONS.iter().enumerate() {
        for in_pieces in [false, true] {
            let (mut client, mut service) = front.connection().await;
            let mut rng = Rng(seed as u64);
            for (turn, words) in conversation.iter().enumerate() {
                let (from, to) = if turn % 2 == 0 { (&mut client, &mut service) } else { (&mut service, &mut client) };
                if in_pieces {
                    send_slowly(from, words.as_bytes(), &mut rng).await;
                } else {
                    send(from, words.as_bytes()).await;
                }
                expect(to, words.as_bytes()).await;
            }
            // Nothing was added behind the last words.
            client.shutdown().await.unwrap();
            assert_eq!(service.read(&mut [0; 1]).await.unwrap(), 0);
            service.shutdown().await.unwrap();
            assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
        }
    }
}

#[tokio::test]
async fn a_service_sees_one_header_more_and_the_client_nothing() {
    let front = Front::start(&[]).await;
    // Those of which each request can be read.
    for conversation in CONVERSATIONS[..14].iter().filter(|conversation| !conversation[0].contains('\u{e9}')) {
        let (mut client, mut service) = front.connection().await;
        for (turn, words) in conversation.iter().enumerate() {
            if turn % 2 == 1 {
                send(&mut service, words.as_bytes()).await;
                expect(&mut client, words.as_bytes()).await;
                continue;
            }
            send(&mut client, words.as_bytes()).await;
            let is_tunnel = turn > 0 && ["GET /chat", "CONNECT"].iter().any(|begin| conversation[0].starts_with(begin));
            let requests = if is_tunnel { 0 } else { words.matches(" HTTP/1.").count() };
            let added = "traceparent: 00-0123456789abcdef0123456789abcdef-0123456789abcdef-03\r\n".len() * requests;
            let mut got = vec![0; words.len() + added];
            crate::support::within("the request", service.read_exact(&mut got)).await.unwrap();
            let got = String::from_utf8(got).unwrap();
            let is_ours = |line: &&str| line.starts_with("traceparent: 00-");
            let lines: Vec<&str> = got.split_inclusive("\r\n").collect();
            assert_eq!(lines.iter().filter(|line| is_ours(line)).count(), requests, "{got:?}");
            let without: String = lines.into_iter().filter(|line| !is_ours(line)).collect();
            assert_eq!(&without, words);
        }
    }
}

#[tokio::test]
async fn a_head_beyond_the_limit_passes_and_so_does_what_follows() {
    let front = Front::start(&["--http-head-limit", "1KiB"]).await;
    let (mut client, mut service) = front.connection().await;
    let long = format!("GET / HTTP/1.1\r\nHost: x\r\ncookie: {}\r\n\r\n", "x".repeat(5_000));
    send(&mut client, long.as_bytes()).await;
    expect(&mut service, long.as_bytes()).await;
    send(&mut service, b"HTTP/1.1 431 Too Large\r\nContent-Length: 0\r\n\r\n").await;
    expect(&mut client, b"HTTP/1.1 431 Too Large\r\nContent-Length: 0\r\n\r\n").await;
    send(&mut client, b"GET / HTTP/1.1\r\n\r\n").await;
    expect(&mut service, b"GET / HTTP/1.1\r\n\r\n").await;
}

#[tokio::test]
async fn a_slow_head_reaches_the_service_whose_patience_counts() {
    let front = Front::start(&[]).await;
    let (mut client, mut service) = front.connection().await;
    send(&mut client, b"GET / HTTP/1.1\r\nHost: x\r\nAccep").await;
    expect(&mut service, b"GET / HTTP/1.1\r\nHost: x\r\n").await;
    send(&mut service, b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n").await;
    service.shutdown().await.unwrap();
    assert_eq!(
        crate::support::read_to_end(&mut client).await,
        b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n"
    );
}

#[tokio::test]
async fn every_byte_is_counted_where_it_came_from_and_where_it_went() {
    let front = Front::start(&["--mode", "inject"]).await;
    let (mut client, mut service) = front.connection().await;
    let (asked, answered) = (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    send(&mut client, asked).await;
    client.shutdown().await.unwrap();
    let seen = read_to_end(&mut service).await.len();
    send(&mut service, answered).await;
    drop(service);
    assert_eq!(read_to_end(&mut client).await, answered);
    // HTTP/2, whose frames the proxy writes anew.
    let (mut client, mut service) = front.connection().await;
    let (preface, settings) = (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", b"\0\0\0\x04\0\0\0\0\0");
    send(&mut service, settings).await;
    send(&mut client, preface).await;
    client.shutdown().await.unwrap();
    let got = read_to_end(&mut client).await.len();
    let seen = seen + read_to_end(&mut service).await.len();
    let stats = front.proxy.stop().await.stats;
    let counted = |counter| usize::try_from(stats.get(counter)).unwrap();
    assert_eq!(counted(ProxyCounter::BytesFromClients), asked.len() + preface.len());
    assert_eq!(counted(ProxyCounter::BytesToServers), seen);
    assert_eq!(counted(ProxyCounter::BytesFromServers), answered.len() + settings.len());
    assert_eq!(counted(ProxyCounter::BytesToClients), answered.len() + got);
}
