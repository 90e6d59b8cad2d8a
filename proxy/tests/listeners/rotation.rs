//! Certificates that are replaced under a running process.

use rustix::process::Signal;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::support::authority::Authority;
use crate::support::listener::{TestListener, Transport, words};
use crate::support::redis::RealRedis;
use crate::support::spawn::{Spawned, command};
use crate::support::{connect, expect, expect_closed, send};

fn shown(client: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    client.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

fn parsed(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

async fn is_served(client: &mut TlsStream<TcpStream>) {
    send(client, b"PING\r\n").await;
    expect(client, b"+PONG\r\n").await;
}

#[tokio::test]
async fn the_next_clients_are_shown_the_new_certificate_and_open_connections_go_on() {
    let (listener, redis) = (TestListener::new(Transport::Tls), RealRedis::start(&[]));
    let mut proxy = Spawned::start(command(&words(&listener.arguments(&redis.url(), &[]))), 1);
    let mut first = listener.tls(proxy.addresses[0]).await;
    is_served(&mut first).await;

    let (certificate, key) = listener.authority.issue("localhost");
    assert_ne!(shown(&first), parsed(&certificate));
    listener.authority.write("proxy.pem", &certificate);
    listener.authority.write("proxy.key", &key);
    proxy.signal(Signal::HUP);
    proxy.wait_for_line("certificate for clients: read again");
    let mut second = listener.tls(proxy.addresses[0]).await;
    assert_eq!(shown(&second), parsed(&certificate));
    is_served(&mut second).await;
    is_served(&mut first).await;

    // Half a rotation: the key is not there yet.
    let (next, next_key) = listener.authority.issue("localhost");
    listener.authority.write("proxy.pem", &next);
    proxy.signal(Signal::HUP);
    let line = proxy.wait_for_line("the old ones stay in force");
    assert!(line.contains(" WARN ") && line.contains("--listen-key"), "{line}");
    assert_eq!(shown(&listener.tls(proxy.addresses[0]).await), parsed(&certificate));
    listener.authority.write("proxy.key", &next_key);
    // Without a signal: the files are looked at every few seconds.
    proxy.wait_for_line("certificate for clients: read again");
    assert_eq!(shown(&listener.tls(proxy.addresses[0]).await), parsed(&next));
    is_served(&mut first).await;
}

#[tokio::test]
async fn the_certificates_for_redis_are_replaced_too() {
    let listener = TestListener::new(Transport::Tls);
    let (_redis, port) = listener.redis_with_tls(&[]);
    // The proxy believes somebody else first.
    let trusted = listener.path("trusted.pem");
    let stranger = Authority::new();
    std::fs::copy(stranger.file(), &trusted).unwrap();
    let (url, trusted_name) = (format!("rediss://localhost:{port}"), trusted.display().to_string());
    let arguments = ["--listen", "127.0.0.1:0", "--upstream", &url, "--upstream-ca", &trusted_name];
    let mut proxy = Spawned::start(command(&arguments), 1);
    expect_closed(&mut connect(proxy.addresses[0]).await).await;
    proxy.wait_for_line("invalid peer certificate");
    std::fs::copy(listener.authority.file(), &trusted).unwrap();
    proxy.signal(Signal::HUP);
    proxy.wait_for_line("certificates for Redis: read again");
    let mut client = connect(proxy.addresses[0]).await;
    send(&mut client, b"PING\r\n").await;
    expect(&mut client, b"+PONG\r\n").await;
}
