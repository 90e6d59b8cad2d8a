//! TLS, Unix sockets, and what the settings and `check` say.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::net::{UnixListener, UnixStream};
use tokio_rustls::TlsConnector;

use super::{NO_REDIS, address};
use crate::support::authority::Authority;
use crate::support::fake_redis::{FakeRedis, unused_address};
use crate::support::in_process::InProcess;
use crate::support::spawn::{command, run};
use crate::support::{connect, expect, read_to_end, send, within};
use tokio::io::AsyncWriteExt;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn clients_may_use_tls_and_the_service_does_not_see_it() {
    let (authority, service) = (Authority::new(), FakeRedis::start().await);
    let (certificate, key) = authority.issue("localhost");
    let certificate = authority.write("http.pem", &certificate).display().to_string();
    let key = authority.write("http.key", &key).display().to_string();
    let port = format!("https://127.0.0.1:0,{}", address(&service));
    let more = ["--http", &port, "--listen-cert", &certificate, "--listen-key", &key, "--mode", "observe"];
    let proxy = InProcess::with_arguments(&[&NO_REDIS[..], &more].concat()).await;
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(authority.roots())
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = connect(proxy.http[0]).await;
    let mut client = within("the handshake", TlsConnector::from(Arc::new(config)).connect(name, stream)).await.unwrap();
    let mut server = service.accept().await;
    send(&mut client, GET).await;
    client.flush().await.unwrap();
    expect(&mut server, GET).await;
    send(&mut server, OK).await;
    drop(server);
    assert_eq!(read_to_end(&mut client).await, OK, "an orderly end, which TLS tells from a cut");
}

#[tokio::test]
async fn both_sides_may_be_unix_sockets() {
    let folder = tempfile::tempdir().unwrap();
    let [front, behind] = ["front", "behind"].map(|name| folder.path().join(name));
    let service = UnixListener::bind(&behind).unwrap();
    let port = format!("unix:{},unix:{}", front.display(), behind.display());
    let more = ["--http", &port, "--mode", "observe"];
    let _proxy = InProcess::with_arguments(&[&NO_REDIS[..], &more].concat()).await;
    let mut client = UnixStream::connect(&front).await.unwrap();
    let (mut server, _) = within("the proxy", service.accept()).await.unwrap();
    send(&mut client, GET).await;
    expect(&mut server, GET).await;
    send(&mut server, OK).await;
    expect(&mut client, OK).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_whether_the_service_is_there() {
    let (there, away) = (FakeRedis::start().await, unused_address().await);
    for (service, finding) in [
        (address(&there), "the service accepts connections"),
        (away.to_string(), "the service does not accept connections"),
    ] {
        let port = format!("127.0.0.1:0,{service}");
        let ended = run(command(&[&["check"], &NO_REDIS[..], &["--http", &port]].concat()));
        assert!(ended.stdout.contains(finding), "{}", ended.stdout);
        assert!(ended.stdout.contains(&format!("http://{service}")), "{}", ended.stdout);
    }
}
