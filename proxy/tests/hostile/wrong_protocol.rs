//! TLS and HTTP on the plain port. The line in the log says which of them it is, and what to do.

use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::hostile::setup::{Setup, conversation, expect, read_to_the_end, send};

/// The first message of a TLS client.
fn client_hello() -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let config = config.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let mut client =
        ClientConnection::new(Arc::new(config), "redis.example".try_into().expect("a name")).expect("a client");
    let mut hello = Vec::new();
    client.write_tls(&mut hello).expect("room");
    hello
}

/// The only warning in a log.
fn warning(log: &str) -> &str {
    let warnings: Vec<&str> = log.lines().filter(|line| line.contains(" WARN ")).collect();
    let [warning] = warnings[..] else { panic!("not one warning:\n{log}") };
    warning
}

#[test]
fn a_tls_client_is_told_to_the_operator_and_answered_by_redis() {
    let setup = Setup::new(&[]);
    let hello = client_hello();
    for _ in 0..5 {
        setup.same_as_direct("a ClientHello", &hello);
    }
    let aftermath = setup.over();
    let warning = warning(&aftermath.log);
    assert!(
        warning.contains("a client speaks TLS") && warning.contains("redis://, not rediss://, or listen on rediss://"),
        "{warning}"
    );
}

#[test]
fn an_http_client_is_told_to_the_operator_and_answered_by_redis() {
    for request in ["GET / HTTP/1.1\r\nHost: x\r\n\r\n", "POST /v1/traces HTTP/1.1\r\n\r\n", "PRI * HTTP/2.0\r\n\r\n"] {
        let setup = Setup::new(&[]);
        setup.same_as_direct(request, request.as_bytes());
        let aftermath = setup.over();
        let warning = warning(&aftermath.log);
        assert!(warning.contains("a client speaks HTTP") && warning.contains("--healthcheck"), "{warning}");
        assert!(!aftermath.log.contains("traces"), "what was sent is not shown:\n{}", aftermath.log);
    }
}

#[test]
fn an_inline_command_is_not_taken_for_http() {
    let setup = Setup::new(&[]);
    let reply = conversation(setup.address(), b"ECHO HTTP/1.1-compatible\r\n");
    assert_eq!(reply, b"$19\r\nHTTP/1.1-compatible\r\n");
    assert!(!setup.over().log.contains(" WARN "));
}

#[test]
fn an_upstream_that_is_no_plain_redis_is_told_to_the_operator() {
    for (said, texts) in [
        (&b"\x15\x03\x03\x00\x02\x02\x46"[..], ["the upstream speaks TLS", "rediss://"]),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", ["the upstream speaks HTTP", "--upstream"]),
    ] {
        let (setup, fake) = Setup::with_fake(&[]);
        let mut client = setup.client();
        let mut server = fake.accept();
        send(&mut client, b"PING\r\n");
        expect(&mut server, b"PING\r\n");
        send(&mut server, said);
        drop(server);
        assert_eq!(read_to_the_end(&mut client), said, "the client is shown what came");
        drop(client);
        let aftermath = setup.over();
        let warning = warning(&aftermath.log);
        assert!(texts.iter().all(|text| warning.contains(text)), "{warning}");
    }
}
