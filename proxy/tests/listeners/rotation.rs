//! Certificates that are replaced under a running process.

use rustix::process::Signal;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::authority::Authority;
use crate::door::{Door, Way, words};
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
    let (door, redis) = (Door::new(Way::Tls), RealRedis::start(&[]));
    let mut proxy = Spawned::start(command(&words(&door.arguments(&redis.url(), &[]))), 1);
    let mut first = door.tls(proxy.addresses[0]).await;
    is_served(&mut first).await;

    let (certificate, key) = door.authority.issue("localhost");
    assert_ne!(shown(&first), parsed(&certificate));
    door.authority.write("proxy.pem", &certificate);
    door.authority.write("proxy.key", &key);
    proxy.signal(Signal::HUP);
    proxy.wait_for_line("certificate for clients: read again");
    let mut second = door.tls(proxy.addresses[0]).await;
    assert_eq!(shown(&second), parsed(&certificate));
    is_served(&mut second).await;
    is_served(&mut first).await;

    // Half a rotation: the key is not there yet.
    let (next, next_key) = door.authority.issue("localhost");
    door.authority.write("proxy.pem", &next);
    proxy.signal(Signal::HUP);
    let line = proxy.wait_for_line("the old ones stay in force");
    assert!(line.contains(" WARN ") && line.contains("--listen-key"), "{line}");
    assert_eq!(shown(&door.tls(proxy.addresses[0]).await), parsed(&certificate));
    door.authority.write("proxy.key", &next_key);
    // Without a signal: the files are looked at every few seconds.
    proxy.wait_for_line("certificate for clients: read again");
    assert_eq!(shown(&door.tls(proxy.addresses[0]).await), parsed(&next));
    is_served(&mut first).await;
}

#[tokio::test]
async fn the_certificates_for_redis_are_replaced_too() {
    let door = Door::new(Way::Tls);
    let (_redis, port) = door.redis_with_tls(&[]);
    // The proxy believes somebody else first.
    let trusted = door.path("trusted.pem");
    let stranger = Authority::new();
    std::fs::copy(stranger.file(), &trusted).unwrap();
    let (url, trusted_name) = (format!("rediss://localhost:{port}"), trusted.display().to_string());
    let arguments = ["--listen", "127.0.0.1:0", "--upstream", &url, "--upstream-ca", &trusted_name];
    let mut proxy = Spawned::start(command(&arguments), 1);
    expect_closed(&mut connect(proxy.addresses[0]).await).await;
    proxy.wait_for_line("invalid peer certificate");
    std::fs::copy(door.authority.file(), &trusted).unwrap();
    proxy.signal(Signal::HUP);
    proxy.wait_for_line("certificates for Redis: read again");
    let mut client = connect(proxy.addresses[0]).await;
    send(&mut client, b"PING\r\n").await;
    expect(&mut client, b"+PONG\r\n").await;
}
