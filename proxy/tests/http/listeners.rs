//! TLS, Unix sockets, and what the settings and `check` say.

use tokio::net::{UnixListener, UnixStream};

use super::{address, connect_tls, start_tls};
use crate::support::admin::Proxy;
use crate::support::authority::Authority;
use crate::support::fake_redis::{FakeRedis, unused_address};
use crate::support::in_process::InProcess;
use crate::support::spawn::{Spawned, command, run};
use crate::support::{connect, expect, read_to_end, send, within};
use tokio::io::AsyncWriteExt;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn clients_may_use_tls_and_the_service_does_not_see_it() {
    let (authority, service) = (Authority::new(), FakeRedis::start().await);
    let proxy = start_tls(&authority, &address(&service), &["--mode", "observe"]).await;
    let mut client = connect_tls(proxy.http[0], &authority, &[]).await;
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
    let _proxy = InProcess::with_arguments(&more).await;
    let mut client = UnixStream::connect(&front).await.unwrap();
    let (mut server, _) = within("the proxy", service.accept()).await.unwrap();
    send(&mut client, GET).await;
    expect(&mut server, GET).await;
    send(&mut server, OK).await;
    expect(&mut client, OK).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_names_the_address_on_which_requests_are_taken() {
    let service = FakeRedis::start().await;
    let port = format!("127.0.0.1:0,{}", address(&service));
    let mut proxy = Spawned::start(command(&["--http", &port]), 1);
    let line = proxy.wait_for_line("HTTP requests are taken");
    let taken = format!("taken on http://{} for http://{} and", proxy.addresses[0], address(&service));
    assert!(line.contains(&taken), "{line}");
    assert!(!line.contains("message"), "there is no Redis: {line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_without_a_redis_is_ready_and_says_what_it_serves() {
    let service = FakeRedis::start().await;
    let port = format!("web=127.0.0.1:0,{}", address(&service));
    let proxy = Proxy::with_routes(1, &["--http", &port, "--mode", "observe"], &[]);
    let mut client = connect(proxy.address()).await;
    let mut server = service.accept().await;
    send(&mut client, GET).await;
    expect(&mut server, GET).await;
    send(&mut server, OK).await;
    expect(&mut client, OK).await;
    assert_eq!(proxy.get("/readyz").await, (200, "ok\n".to_owned()), "there is no Redis that could be away");
    let (_, settings) = proxy.get("/config").await;
    let shown = format!("http = web=http://127.0.0.1:0,http://{}", address(&service));
    assert!(settings.starts_with("route = -") && settings.contains(&shown), "{settings}");
    let (_, metrics) = proxy.get("/metrics").await;
    let received = format!("redistributed_received_bytes_total{{route=\"web\",from=\"client\"}} {}\n", GET.len());
    assert!(metrics.contains(&received), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_whether_the_service_is_there() {
    let (there, away) = (FakeRedis::start().await, unused_address().await);
    for (service, finding) in [
        (address(&there), "the service accepts connections"),
        (away.to_string(), "the service does not accept connections"),
    ] {
        let port = format!("127.0.0.1:0,{service}");
        let ended = run(command(&["check", "--http", &port]));
        assert!(ended.stdout.contains(finding), "{}", ended.stdout);
        assert!(ended.stdout.contains(&format!("http://{service}")), "{}", ended.stdout);
    }
}
