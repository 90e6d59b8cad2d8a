//! Either side may leave at any time, and the process stops without breaking what is under way.

use std::io::ErrorKind;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Front;
use crate::support::fake_redis::unused_address;
use crate::support::in_process::InProcess;
use crate::support::{connect, expect, expect_closed, read_to_end, send, within};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a live socket");
}

/// A connection on which a request is under way. The mode adds nothing, so that bytes can be compared.
async fn asked() -> (Front, TcpStream, TcpStream) {
    let front = Front::start(&["--mode", "observe", "--drain-timeout", "60s"]).await;
    let (mut client, mut service) = front.connection().await;
    send(&mut client, GET).await;
    expect(&mut service, GET).await;
    (front, client, service)
}

#[tokio::test]
async fn a_client_that_has_shut_its_side_still_gets_its_answer() {
    let (_front, mut client, mut service) = asked().await;
    client.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut service).await, b"");
    // Longer than a client without a request is waited for.
    tokio::time::sleep(Duration::from_millis(2_600)).await;
    send(&mut service, OK).await;
    drop(service);
    assert_eq!(read_to_end(&mut client).await, OK);
}

#[tokio::test]
async fn a_service_that_has_shut_its_side_still_gets_the_request() {
    let (_front, mut client, mut service) = asked().await;
    send(&mut service, OK).await;
    service.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut client).await, OK);
    send(&mut client, GET).await;
    expect(&mut service, GET).await;
}

#[tokio::test]
async fn a_client_that_vanishes_is_gone_for_the_service() {
    let (_front, client, mut service) = asked().await;
    reset(client);
    expect_closed(&mut service).await;
}

#[tokio::test]
async fn a_service_that_vanishes_is_gone_for_the_client_once_it_has_what_was_sent() {
    let (_front, mut client, mut service) = asked().await;
    let half = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf";
    send(&mut service, half).await;
    expect(&mut client, half).await;
    reset(service);
    let error = within("the reset", client.read(&mut [0; 1])).await;
    assert!(matches!(error, Ok(0)) || error.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn a_service_that_is_not_there_gives_no_answer() {
    let port = format!("127.0.0.1:0,{}", unused_address().await);
    let proxy = InProcess::with_arguments(&["--http", &port]).await;
    let mut client = connect(proxy.http[0]).await;
    let mut got = Vec::new();
    // Its reset may come before or behind the request.
    let _ = client.write_all(GET).await;
    let ended = within("the refusal", client.read_to_end(&mut got)).await;
    assert_eq!((got.len(), ended.unwrap_err().kind()), (0, ErrorKind::ConnectionReset));
    let report = proxy.stop().await;
    assert_eq!(report.stats.get(redistributed::telemetry::stats::ProxyCounter::UpstreamFailures), 1);
}

#[tokio::test]
async fn stopping_ends_connections_when_nothing_is_asked_on_them() {
    let (mut front, mut busy, mut busy_service) = asked().await;
    let (mut idle, mut idle_service) = front.connection().await;
    send(&mut idle, GET).await;
    expect(&mut idle_service, GET).await;
    send(&mut idle_service, OK).await;
    expect(&mut idle, OK).await;
    let (mut silent, mut silent_service) = front.connection().await;
    front.proxy.begin_to_stop();
    for closed in [&mut idle, &mut idle_service, &mut silent, &mut silent_service] {
        assert_eq!(read_to_end(closed).await, b"", "an end, and no reset");
    }
    send(&mut busy_service, &OK[..OK.len() - 1]).await;
    expect(&mut busy, &OK[..OK.len() - 1]).await;
    send(&mut busy_service, b"k").await;
    assert_eq!(read_to_end(&mut busy).await, b"k", "the answer is complete, and then the connection ends");
    assert_eq!(read_to_end(&mut busy_service).await, b"");
    assert_eq!(front.proxy.ended().await.cut_off, 0);
}

#[tokio::test]
async fn a_tunnel_goes_on_until_the_time_to_drain_is_over() {
    let mut front = Front::start(&["--mode", "observe", "--drain-timeout", "500ms"]).await;
    let (mut client, mut service) = front.connection().await;
    let (ask, switch) = (b"GET / HTTP/1.1\r\nUpgrade: x\r\n\r\n", b"HTTP/1.1 101 x\r\n\r\n");
    send(&mut client, ask).await;
    expect(&mut service, ask).await;
    send(&mut service, switch).await;
    expect(&mut client, switch).await;
    front.proxy.begin_to_stop();
    send(&mut client, b"ping").await;
    expect(&mut service, b"ping").await;
    assert_eq!(front.proxy.ended().await.cut_off, 1);
}
