//! Clients of the admin port that take its places, and what the others get all the same.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpSocket, TcpStream};

use crate::support::admin::Proxy;
use crate::support::redis::RealRedis;
use crate::support::wire::{Value, Wire};
use crate::support::{DEADLINE, connect, expect, send, within};

/// A client that asks and takes none of the answer.
async fn who_does_not_read(admin: SocketAddr, path: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(1024).unwrap();
    let mut stream = within("connecting", socket.connect(admin)).await.unwrap();
    send(&mut stream, format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).await;
    stream
}

/// Asks until the status of the answer is `wanted`, and returns how long that took.
async fn ask_until(proxy: &Proxy, path: &str, wanted: u16) -> Duration {
    let started = Instant::now();
    while proxy.get(path).await.0 != wanted {
        assert!(started.elapsed() < DEADLINE, "{path} is not answered {wanted}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    started.elapsed()
}

#[tokio::test]
async fn who_does_not_read_the_metrics_of_300_routes_keeps_nobody_from_health_and_loses_his_place() {
    let redis = RealRedis::start(&[]);
    let url = redis.url();
    let routes: Vec<String> = (0..300).map(|route| format!("r{route}=127.0.0.1:0,{url}")).collect();
    let arguments: Vec<&str> = routes.iter().flat_map(|route| ["--route", route]).collect();
    let proxy = Proxy::with_routes(300, &arguments, &[]);
    let mut idle = Vec::new();
    for _ in 0..32 {
        idle.push(who_does_not_read(proxy.admin, "/metrics").await);
    }
    ask_until(&proxy, "/metrics", 503).await;
    for path in ["/healthz", "/readyz", "/healthz"] {
        let asked = Instant::now();
        assert_eq!(proxy.get(path).await, (200, "ok\n".to_owned()));
        assert!(asked.elapsed() < Duration::from_secs(5), "{path} took {:?}", asked.elapsed());
    }
    let (head, body) = proxy.exchange("GET /metrics", "", "").await;
    assert!(head.starts_with("HTTP/1.1 503") && body.contains("try again"), "{head}{body}");
    ask_until(&proxy, "/metrics", 200).await;
    drop(idle);
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_given_up() {
    let proxy = Proxy::start("redis://127.0.0.1:1", &[], &[]);
    let mut slow = connect(proxy.admin).await;
    send(&mut slow, b"PUT /mode HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nstri").await;
    let mut answer = String::new();
    within("the answer", slow.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("nothing was changed"), "{answer}");
    assert_eq!(proxy.get("/mode").await.1, "inject\n");
}

#[tokio::test]
async fn however_many_ask_redis_is_asked_once_a_second() {
    async fn accepted(redis: &RealRedis) -> u64 {
        let Value::Bulk(info) = Wire::to(redis.address()).await.call("INFO stats").await else { panic!("no INFO") };
        let text = String::from_utf8(info).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("total_connections_received:")).unwrap();
        line.trim().parse().unwrap()
    }
    let redis = RealRedis::start(&[]);
    let proxy = Proxy::start(&redis.url(), &[], &[]);
    let before = accepted(&redis).await;
    let began = Instant::now();
    for _ in 0..50 {
        // These leave before they are answered.
        for _ in 0..4 {
            who_does_not_read(proxy.admin, "/readyz").await;
        }
        assert_eq!(proxy.get("/readyz").await.0, 200);
    }
    let seconds = began.elapsed().as_secs();
    // Of these, one is this test's own question.
    let asked = accepted(&redis).await - before - 1;
    assert!((1..=seconds + 2).contains(&asked), "asked {asked} times in {seconds} s");
}

#[tokio::test]
async fn a_process_that_stops_is_healthy_and_no_longer_ready() {
    let redis = RealRedis::start(&[]);
    let mut proxy = Proxy::start(&redis.url(), &["--drain-timeout", "1m"], &[]);
    let mut client = connect(proxy.address()).await;
    send(&mut client, b"PING\r\n").await;
    expect(&mut client, b"+PONG\r\n").await;
    assert_eq!(proxy.get("/readyz").await, (200, "ok\n".to_owned()));
    proxy.process.signal(Signal::TERM);
    proxy.process.wait_for_line("stopping");
    ask_until(&proxy, "/readyz", 503).await;
    assert_eq!(proxy.get("/readyz").await, (503, "draining\n".to_owned()));
    assert_eq!(proxy.get("/healthz").await, (200, "ok\n".to_owned()));
}
