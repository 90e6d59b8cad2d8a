//! The admin port, on a running process with a real Redis behind it.

mod access;
mod conventions;
mod documented;
mod metrics;
mod places;
mod tap;

use std::net::SocketAddr;

use crate::support::admin::Proxy;
use crate::support::redis::RealRedis;
use crate::support::{connect, expect, send, within};
use rustix::process::Signal;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// A subscriber that is not behind a proxy, ready to receive.
async fn subscriber(address: SocketAddr) -> TcpStream {
    let mut subscriber = connect(address).await;
    send(&mut subscriber, b"SUBSCRIBE ch\r\n").await;
    expect(&mut subscriber, b"*3\r\n$9\r\nsubscribe\r\n$2\r\nch\r\n:1\r\n").await;
    subscriber
}

/// The payload of the next message.
async fn payload(subscriber: &mut TcpStream) -> Vec<u8> {
    expect(subscriber, b"*3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$").await;
    let mut length = String::new();
    loop {
        match within("a length", subscriber.read_u8()).await.unwrap() {
            b'\r' => break,
            digit => length.push(char::from(digit)),
        }
    }
    let mut rest = vec![0; 1 + length.parse::<usize>().unwrap() + 2];
    within("a payload", subscriber.read_exact(&mut rest)).await.unwrap();
    rest[1..rest.len() - 2].to_vec()
}

async fn publish(publisher: &mut TcpStream, payload: &str, receivers: u32) {
    let request = format!("*3\r\n$7\r\nPUBLISH\r\n$2\r\nch\r\n${}\r\n{payload}\r\n", payload.len());
    send(publisher, request.as_bytes()).await;
    expect(publisher, format!(":{receivers}\r\n").as_bytes()).await;
}

#[tokio::test]
async fn a_switch_reaches_open_connections_and_stripping_goes_on() {
    let redis = RealRedis::start(&[]);
    let proxy = Proxy::start(&redis.url(), &[], &[]);
    let mut direct = subscriber(redis.address()).await;
    let mut behind = subscriber(proxy.process.addresses[0]).await;
    let mut publisher = connect(proxy.process.addresses[0]).await;

    publish(&mut publisher, "one", 2).await;
    let injected = payload(&mut direct).await;
    assert_eq!(injected.len(), 3 + 41);
    assert_eq!(payload(&mut behind).await, b"one");

    assert_eq!(proxy.ask("PUT /mode", "", "strip").await, (200, "strip\n".to_owned()));
    publish(&mut publisher, "two", 2).await;
    assert_eq!(payload(&mut direct).await, b"two");
    assert_eq!(payload(&mut behind).await, b"two");
    // As from a sidecar that was not told.
    let mut other = connect(redis.address()).await;
    publish(&mut other, "six", 2).await;
    let forwarded = [&b"*3\r\n$7\r\nPUBLISH\r\n$2\r\nch\r\n$44\r\n"[..], &injected, b"\r\n"].concat();
    send(&mut other, &forwarded).await;
    expect(&mut other, b":2\r\n").await;
    assert_eq!(payload(&mut behind).await, b"six");
    assert_eq!(payload(&mut behind).await, b"one");

    assert_eq!(proxy.ask("PUT /mode", "", "strip c?=inject").await, (200, "strip c?=inject\n".to_owned()));
    for _ in 0..2 {
        payload(&mut direct).await;
    }
    publish(&mut publisher, "ten", 2).await;
    assert_eq!(payload(&mut direct).await.len(), 3 + 41);
    assert_eq!(proxy.ask("DELETE /mode", "", "").await, (200, "inject\n".to_owned()));
    assert_eq!(proxy.get("/mode").await, (200, "inject\n".to_owned()));
}

#[tokio::test]
async fn who_switches_to_observe_is_told_what_subscribers_will_see() {
    let redis = RealRedis::start(&[]);
    let proxy = Proxy::start(&redis.url(), &[], &[]);
    let nobody = (200, "observe\n".to_owned());
    assert_eq!(proxy.ask("PUT /mode", "", "observe").await, nobody);
    let behind = subscriber(proxy.address()).await;
    let (status, answer) = proxy.ask("PUT /mode", "", "inject ch=observe").await;
    assert_eq!(status, 200);
    let (modes, consequence) = answer.split_once('\n').unwrap();
    assert_eq!(modes, "inject ch=observe");
    assert!(consequence.starts_with("in mode observe no context is removed: 1 connection subscribed"), "{answer}");
    assert!(consequence.contains("41 bytes or more behind the payload"), "{answer}");
    assert_eq!(proxy.ask("PUT /mode", "", "strip").await, (200, "strip\n".to_owned()));
    drop(behind);
    while proxy.ask("PUT /mode", "", "observe").await != nobody {}
}

#[tokio::test]
async fn a_switch_that_cannot_be_meant_changes_nothing() {
    let proxy = Proxy::start("redis://127.0.0.1:1", &["--mode", "observe"], &[]);
    for (body, says) in [("off", "`off`"), ("", "one word"), ("inject a=b", "`a=b`"), ("strip inject", "two words")] {
        let (status, answer) = proxy.ask("PUT /mode", "", body).await;
        assert!(status == 400 && answer.contains("nothing was changed") && answer.contains(says), "{body:?}: {answer}");
    }
    let from_a_page = proxy.ask("PUT /mode", "Origin: http://localhost\r\n", "strip").await;
    assert_eq!(from_a_page.0, 403);
    let too_long = "nothing was changed: the body is longer than 64 KiB; write the modes and nothing else\n";
    for bytes in [64 * 1024 + 1, 1 << 20] {
        assert_eq!(proxy.ask("PUT /mode", "", &" ".repeat(bytes)).await, (413, too_long.to_owned()));
    }
    let longest = format!("strip{}", " ".repeat(64 * 1024 - 5));
    assert_eq!(proxy.ask("PUT /mode", "", &longest).await.0, 200);
    assert_eq!(proxy.ask("DELETE /mode", "", "").await.0, 200);
    assert_eq!(proxy.get("/mode").await, (200, "observe\n".to_owned()));
}

#[tokio::test]
async fn connections_that_say_nothing_do_not_keep_the_operator_out() {
    let proxy = Proxy::start("redis://127.0.0.1:1", &[], &[]);
    let mut silent = Vec::new();
    for _ in 0..40 {
        let mut stream = connect(proxy.admin).await;
        send(&mut stream, b"GET /metr").await;
        silent.push(stream);
    }
    let asked = std::time::Instant::now();
    assert_eq!(proxy.ask("PUT /mode", "", "strip").await, (200, "strip\n".to_owned()));
    // A head may take ten seconds to arrive.
    assert!(asked.elapsed() < std::time::Duration::from_secs(5), "{:?}", asked.elapsed());
    // Those that came last still have their places.
    let latest = silent.last_mut().unwrap();
    send(latest, b"ics HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let mut answer = String::new();
    within("the answer", latest.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn many_who_ask_at_once_are_all_answered() {
    let proxy = Proxy::start("redis://127.0.0.1:1", &[], &[]);
    let mut asking = Vec::new();
    // All of them have asked before the first is looked at.
    proxy.process.signal(Signal::STOP);
    for _ in 0..100 {
        let mut stream = connect(proxy.admin).await;
        send(&mut stream, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        asking.push(stream);
    }
    proxy.process.signal(Signal::CONT);
    for mut stream in asking {
        let mut answer = String::new();
        within("the answer", stream.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
    }
}

#[tokio::test]
async fn ready_means_that_redis_accepts_and_healthy_that_the_process_runs() {
    let redis = RealRedis::start(&[]);
    let proxy = Proxy::start(&redis.url(), &[], &[]);
    assert_eq!(proxy.get("/readyz").await, (200, "ok\n".to_owned()));
    let url = redis.url();
    drop(redis);
    // An answer counts for a second.
    let started = std::time::Instant::now();
    let says = loop {
        let (status, says) = proxy.get("/readyz").await;
        if status == 503 || started.elapsed() > crate::support::DEADLINE {
            break says;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    };
    assert!(says.contains(&format!("cannot reach {url}")), "{says}");
    assert_eq!(proxy.get("/healthz").await, (200, "ok\n".to_owned()));
}

#[tokio::test]
async fn files_are_read_again_for_who_asks_and_what_came_of_it_is_one_line_each() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    // In one step: the process looks at its files by itself too, and must not see half of a change.
    let write = |text: &str| {
        let next = folder.path().join("next");
        std::fs::write(&next, text).unwrap();
        std::fs::rename(next, &file).unwrap();
    };
    write("one");
    let mut proxy =
        Proxy::start("redis://127.0.0.1:1", &["--upstream-password-file", &file.display().to_string()], &[]);
    let (no_settings, again) = ("there is no configuration file", "password for Redis: read again");
    let unchanged = "none has changed";
    for (text, status, says) in [
        ("one", 200, &[unchanged][..]),
        // On a slow machine the look of every ten seconds may have come first.
        ("two", 200, &[again, unchanged]),
        ("", 409, &["the old ones stay in force"]),
        ("", 409, &["it is empty"]),
        ("two", 200, &[again, unchanged]),
    ] {
        write(text);
        let (got, answer) = proxy.ask("POST /reload", "", "").await;
        let is_right = got == status && says.iter().any(|says| answer.contains(says)) && answer.contains(no_settings);
        assert!(is_right, "{text:?}: {got} {answer}");
    }
    proxy.process.signal(Signal::HUP);
    proxy.process.wait_for_line("asked to read");
    proxy.process.wait_for_line(unchanged);
    proxy.process.wait_for_line("it is empty");
    proxy.process.wait_for_line(unchanged);
    proxy.process.wait_for_line(no_settings);
    proxy.process.signal(Signal::TERM);
    let log = proxy.process.ended().stderr;
    assert_eq!((log.matches(again).count(), log.matches(" ERROR ").count()), (2, 0), "{log}");
}

#[tokio::test]
async fn nothing_to_read_again_is_said_to_who_asks() {
    let proxy = Proxy::start("redis://127.0.0.1:1", &[], &[]);
    let (status, answer) = proxy.ask("POST /reload", "", "").await;
    assert!(status == 409 && answer.contains("nothing to read again") && answer.contains("--config"), "{answer}");
}

#[tokio::test]
async fn the_settings_are_shown_without_secrets() {
    let environment = [
        ("OTEL_TRACES_EXPORTER", "otlp"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=s3cret"),
        ("OTEL_SERVICE_NAME", "orders"),
    ];
    let proxy = Proxy::start("redis://127.0.0.1:1", &["--carrier", "a.*=json", "--mode-for", "b=strip"], &environment);
    let (status, page) = proxy.get("/config").await;
    assert_eq!(status, 200);
    for (setting, origin) in [
        ("route = orders=127.0.0.1:0,redis://127.0.0.1:1", "listen: command line, upstream: command line"),
        ("carrier = a.*=json", "command line"),
        ("trust = all", "default"),
        ("OTEL_SERVICE_NAME = orders", "OTEL_SERVICE_NAME"),
        ("OTEL_PROPAGATORS = tracecontext,baggage", "default"),
        ("OTEL_TRACES_EXPORTER = otlp", "OTEL_TRACES_EXPORTER"),
    ] {
        let line = page.lines().find_map(|line| line.strip_prefix(setting));
        assert_eq!(line.and_then(|rest| rest.trim_start().strip_prefix("# ")), Some(origin), "{setting}:\n{page}");
    }
    assert!(page.ends_with("\n# in force now\nmode = inject b=strip\n"), "{page}");
    assert!(page.contains("127.0.0.1:1/v1/traces") && !page.contains("s3cret"), "{page}");
}

#[tokio::test]
async fn other_pages_and_methods_are_refused_with_what_there_is() {
    let proxy = Proxy::start("redis://127.0.0.1:1", &[], &[]);
    let (status, says) = proxy.get("/metric").await;
    assert!(status == 404 && says.contains("/metrics"), "{says}");
    assert_eq!(proxy.ask("POST /mode", "", "strip").await, (405, "this page takes GET, PUT, DELETE\n".to_owned()));
    assert_eq!(proxy.ask("DELETE /metrics", "", "").await.0, 405);
    let (status, index) = proxy.get("/").await;
    assert!(status == 200 && index.contains("/readyz"), "{index}");
}
