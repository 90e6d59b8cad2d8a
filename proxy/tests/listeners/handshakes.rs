//! Who gets in by TLS, and what the log says of those who do not.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::io::AsyncReadExt;

use crate::support::authority::Authority;
use crate::support::listener::{TestListener, Transport, handshake, words};
use crate::support::redis::RealRedis;
use crate::support::spawn::{Spawned, command, run};
use crate::support::{connect, expect, expect_closed, send, within};

/// A proxy with TLS in front of a real Redis.
fn start(listener: &TestListener, redis: &RealRedis, more: &[&str]) -> Spawned {
    let more = [&["--log-level", "debug"], more].concat();
    Spawned::start(command(&words(&listener.arguments(&redis.url(), &more))), 1)
}

/// The whole log of a proxy that is stopped.
fn log(proxy: Spawned) -> String {
    proxy.signal(Signal::TERM);
    let ended = proxy.ended();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended.stderr
}

fn failed(log: &str) -> usize {
    let counted = log.lines().find(|line| line.contains(" counted ")).unwrap_or_default();
    let word = counted.split_whitespace().find_map(|word| word.strip_prefix("handshakes_failed="));
    word.map_or(0, |number| number.parse().unwrap())
}

#[tokio::test]
async fn with_authorities_for_clients_only_their_certificates_are_let_in() {
    let (listener, redis, stranger) = (TestListener::new(Transport::Tls), RealRedis::start(&[]), Authority::new());
    let mut proxy = start(&listener, &redis, &["--listen-client-ca", &listener.authority.file()]);
    let mut known =
        handshake(proxy.addresses[0], listener.client(Some(listener.authority.issue("orders")))).await.unwrap();
    send(&mut known, b"PING\r\n").await;
    expect(&mut known, b"+PONG\r\n").await;

    let expired = listener.authority.issue_between("orders", (2020, 2021));
    for identity in [None, Some(stranger.issue("orders")), Some(expired)] {
        // TLS 1.3 lets the server refuse only after the client's handshake is over: the first read says so.
        let mut refused = handshake(proxy.addresses[0], listener.client(identity)).await.unwrap();
        let error = within("the refusal", refused.read(&mut [0; 1])).await.unwrap_err();
        assert!(error.to_string().contains("alert"), "{error}");
        let line = proxy.wait_for_line("handshake with a client failed");
        assert!(line.contains("DEBUG") && line.contains("ertificate"), "{line}");
    }
    send(&mut known, b"PING\r\n").await;
    expect(&mut known, b"+PONG\r\n").await;
    drop(known);
    let log = log(proxy);
    assert_eq!(failed(&log), 3, "{log}");
    assert!(!log.contains(" WARN "), "{log}");
}

#[tokio::test]
async fn plain_text_on_a_tls_address_is_one_warning_that_says_what_to_do() {
    for (said, protocol) in
        [(&b"*1\r\n$4\r\nPING\r\n"[..], "not speak TLS more"), (b"GET /x HTTP/1.1\r\n\r\n", "but HTTP")]
    {
        let (listener, redis) = (TestListener::new(Transport::Tls), RealRedis::start(&[]));
        let mut proxy = start(&listener, &redis, &[]);
        for _ in 0..3 {
            let mut client = connect(proxy.addresses[0]).await;
            send(&mut client, said).await;
            expect_closed(&mut client).await;
        }
        let warning = proxy.wait_for_line(" WARN ");
        assert!(warning.contains(protocol) && warning.contains("let it connect to rediss://"), "{warning}");
        let log = log(proxy);
        assert_eq!((log.matches(" WARN ").count(), failed(&log)), (1, 3), "{log}");
        assert!(!log.contains("GET /x"), "what was sent is not shown:\n{log}");
    }
}

#[tokio::test]
async fn who_only_looks_whether_somebody_listens_is_no_failure() {
    let (listener, redis) = (TestListener::new(Transport::Tls), RealRedis::start(&[]));
    let mut proxy = start(&listener, &redis, &[]);
    drop(connect(proxy.addresses[0]).await);
    proxy.wait_for_line("closed without a word");
    let listen = format!("rediss://{}", proxy.addresses[0]);
    let mut arguments = listener.arguments(&redis.url(), &["--healthcheck"]);
    arguments[1] = listen;
    assert_eq!(run(command(&words(&arguments))).code, Some(0));
    proxy.wait_for_line("closed without a word");
    let log = log(proxy);
    assert_eq!(failed(&log), 0, "{log}");
}

#[tokio::test]
async fn a_handshake_that_does_not_go_on_is_given_up() {
    let (listener, redis) = (TestListener::new(Transport::Tls), RealRedis::start(&[]));
    let mut proxy = start(&listener, &redis, &["--handshake-timeout", "300ms"]);
    // Nothing at all, and the head of a record that does not come.
    for said in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
        let started = Instant::now();
        let mut client = connect(proxy.addresses[0]).await;
        send(&mut client, said).await;
        expect_closed(&mut client).await;
        assert!(started.elapsed() >= Duration::from_millis(300), "closed before the time was over");
        let line = proxy.wait_for_line("handshake with a client failed");
        assert!(line.contains("more than 300ms"), "{line}");
    }
    assert_eq!(failed(&log(proxy)), 2);
}

#[tokio::test]
async fn several_routes_may_listen_by_tls_and_plainly_side_by_side() {
    let (listener, redis) = (TestListener::new(Transport::Tls), RealRedis::start(&[]));
    let file = |name| listener.path(name).display().to_string();
    let routes = ["a=rediss://127.0.0.1:0", "b=127.0.0.1:0", "c=rediss://localhost:0"]
        .map(|route| format!("{route},{}", redis.url()));
    let mut arguments: Vec<&str> = routes.iter().flat_map(|route| ["--route", route]).collect();
    let (certificate, key) = (file("proxy.pem"), file("proxy.key"));
    arguments.extend(["--listen-cert", &certificate, "--listen-key", &key]);
    let proxy = Spawned::start(command(&arguments), 3);
    for by_tls in [0, 2] {
        let mut client = listener.tls(proxy.addresses[by_tls]).await;
        send(&mut client, b"PING\r\n").await;
        expect(&mut client, b"+PONG\r\n").await;
    }
    let mut client = connect(proxy.addresses[1]).await;
    send(&mut client, b"PING\r\n").await;
    expect(&mut client, b"+PONG\r\n").await;
}
