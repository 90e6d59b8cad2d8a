//! Credentials: the proxy's own, those it uses for services if asked, and those that services send themselves.

use std::net::SocketAddr;

use crate::support::admin::Proxy;
use crate::support::fake_redis::FakeRedis;
use crate::support::redis::RealRedis;
use crate::support::spawn::{Spawned, command, run};
use crate::support::wire::{Value, Wire, request};
use crate::support::{connect, expect, read_to_end, send, servers, within};
use redistributed_core::carrier::trailer;
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SECRET: &str = "hunter2";

/// A Redis with a user `orders` beside the default one, both with the same password.
fn redis() -> RealRedis {
    RealRedis::start(&[
        "--requirepass",
        SECRET,
        "--user",
        "orders",
        "on",
        ">hunter2",
        "allkeys",
        "allchannels",
        "+@all",
    ])
}

fn start(redis_host: &str, user_info: &str, database: &str, more: &[&str]) -> Spawned {
    let upstream = format!("redis://{user_info}{redis_host}{database}");
    let all = ["--listen", "127.0.0.1:0", "--upstream", &upstream, "--log-level", "trace", "--admin", "0"];
    Spawned::start(command(&[&all[..], more].concat()), 1)
}

fn admin(proxy: &mut Spawned) -> SocketAddr {
    let line = proxy.wait_for_line("admin port");
    line.split_once("address=").unwrap().1.split_whitespace().next().unwrap().parse().unwrap()
}

async fn get(admin: SocketAddr, path: &str) -> String {
    let mut stream = connect(admin).await;
    send(&mut stream, format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).await;
    String::from_utf8(read_to_end(&mut stream).await).unwrap()
}

/// Stops it; its whole log, in which no password may be.
fn log(proxy: Spawned) -> String {
    proxy.signal(Signal::TERM);
    let ended = proxy.ended();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let log = ended.stdout + &ended.stderr;
    assert!(!log.contains(SECRET), "{log}");
    log
}

fn text(value: &Value) -> String {
    match value {
        Value::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Error(text) | Value::Status(text) => text.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn credentials_are_the_proxys_own_unless_asked_otherwise() {
    let redis = redis();
    let host = redis.address().to_string();
    let mut proxy = start(&host, "orders:hunter2@", "", &[]);
    let admin = admin(&mut proxy);
    let mut client = Wire::to(proxy.addresses[0]).await;
    assert_eq!(text(&client.call("GET key").await), "NOAUTH Authentication required.");
    assert_eq!(text(&client.call("AUTH wrong").await).split(' ').next(), Some("WRONGPASS"));
    assert_eq!(text(&client.call("AUTH hunter2").await), "OK");
    assert_eq!(text(&client.call("ACL WHOAMI").await), "default");
    assert!(get(admin, "/readyz").await.ends_with("ok\n"));
    let page = get(admin, "/config").await;
    assert!(page.contains(&format!("redis://orders:***@{host}")) && page.contains("upstream-login = proxy"), "{page}");
    assert!(!page.contains(SECRET), "{page}");
    drop(client);
    log(proxy);
}

#[tokio::test]
async fn services_are_logged_in_if_asked_and_their_first_reply_is_their_own() {
    for server in servers::all() {
        let users = ["--requirepass", SECRET, "--user", "orders", "on", ">hunter2", "allkeys", "allchannels", "+@all"];
        let redis = RealRedis::start_server(server, &users);
        let host = redis.address().to_string();
        let mut proxy = start(&host, "orders:hunter2@", "/3", &["--upstream-login", "clients"]);
        let admin = admin(&mut proxy);
        let mut client = Wire::to(proxy.addresses[0]).await;
        assert_eq!(text(&client.call("ACL WHOAMI").await), "orders", "{}", server.name);
        assert!(text(&client.call("CLIENT INFO").await).contains(" db=3 "));
        let mut resp3 = Wire::resp3(proxy.addresses[0]).await;
        resp3.call("SELECT 5").await;
        assert!(text(&resp3.call("CLIENT INFO").await).contains(" db=5 "), "what a service says itself comes later");
        assert!(get(admin, "/readyz").await.ends_with("ok\n"));
        let page = get(admin, "/config").await;
        assert!(page.contains(&format!("redis://orders:***@{host}/3")) && !page.contains(SECRET), "{page}");

        // Up to 16 KiB Redis takes from a stranger; a context that would pass that is added because this one is known.
        let mut direct = Wire::to(redis.address()).await;
        direct.call("AUTH hunter2").await;
        direct.subscribe("SUBSCRIBE ch").await;
        let payload = vec![b'x'; 16 * 1024 - 20];
        let mut first = Wire::to(proxy.addresses[0]).await;
        assert_eq!(first.publish("ch", &payload).await, 1);
        assert!(trailer::find(&direct.message().await.payload).is_some(), "{}", server.name);
        drop((client, resp3, first));
        log(proxy);
    }
}

#[tokio::test]
async fn nothing_of_the_service_is_sent_before_redis_has_let_it_in() {
    let fake = FakeRedis::start().await;
    let host = fake.url().replace("redis://", "");
    let proxy = start(&host, ":hunter2@", "/2", &["--upstream-login", "clients"]);
    let mut client = connect(proxy.addresses[0]).await;
    send(&mut client, b"PING\r\n").await;
    let mut server = fake.accept().await;
    expect(&mut server, b"*2\r\n$4\r\nAUTH\r\n$7\r\nhunter2\r\n").await;
    // In pieces, as a network may deliver it.
    send(&mut server, b"+O").await;
    send(&mut server, b"K\r\n").await;
    expect(&mut server, b"*2\r\n$6\r\nSELECT\r\n$1\r\n2\r\n").await;
    send(&mut server, b"+OK\r\n").await;
    expect(&mut server, b"PING\r\n").await;
    send(&mut server, b"+PONG\r\n").await;
    expect(&mut client, b"+PONG\r\n").await;
    drop((client, server));
    log(proxy);
}

#[tokio::test]
async fn a_refusal_reaches_the_service_in_redis_own_words_and_is_not_tried_again() {
    let redis = redis();
    let host = redis.address().to_string();
    let no_database = RealRedis::start(&[]);
    let no_database_host = no_database.address().to_string();
    for (host, user_info, database, expected, code) in [
        (
            &host,
            "orders:wrong@",
            "",
            "-WRONGPASS invalid username-password pair or user is disabled.\r\n",
            "AUTH: WRONGPASS",
        ),
        (&no_database_host, "", "/99", "-ERR DB index is out of range\r\n", "SELECT: ERR"),
        (&host, "", "/3", "-NOAUTH Authentication required.\r\n", "SELECT: NOAUTH"),
    ] {
        let mut proxy = start(host, user_info, database, &["--upstream-login", "clients", "--connect-timeout", "10m"]);
        let mut client = connect(proxy.addresses[0]).await;
        // What it has sent meanwhile must not cost it the answer.
        send(&mut client, &request(&[b"SET", b"key", &[b'x'; 100_000]])).await;
        let mut got = vec![0; expected.len()];
        within("the refusal", client.read_exact(&mut got)).await.unwrap();
        assert_eq!(String::from_utf8(got).unwrap(), expected);
        client.shutdown().await.unwrap();
        assert_eq!(read_to_end(&mut client).await, b"");
        let line = proxy.wait_for_line("--upstream-login");
        assert!(line.contains("WARN") && line.contains(code), "{line}");
        let log = log(proxy);
        assert!(log.contains("upstream_failures=1") && !log.contains("upstream_retries"), "{log}");
    }
}

#[tokio::test]
async fn a_password_that_is_replaced_in_its_file_is_used_for_the_next_connections() {
    let redis = RealRedis::start(&["--requirepass", SECRET]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, format!("{SECRET}\n")).unwrap();
    let more = ["--upstream-password-file", &file.display().to_string(), "--upstream-login", "clients"];
    let mut proxy = start(&redis.address().to_string(), "", "", &more);
    let mut first = Wire::to(proxy.addresses[0]).await;
    assert_eq!(text(&first.call("ACL WHOAMI").await), "default");
    first.call("CONFIG SET requirepass hunter23").await;
    std::fs::write(&file, "hunter23\n").unwrap();
    proxy.signal(Signal::HUP);
    proxy.wait_for_line("password for Redis: read again");
    let mut second = Wire::to(proxy.addresses[0]).await;
    assert_eq!(text(&second.call("PING").await), "PONG");
    assert_eq!(text(&first.call("PING").await), "PONG", "an open connection goes on");
    drop((first, second));
    log(proxy);
}

/// As services do whose tokens of a cloud's identity service end after a while.
#[tokio::test]
async fn a_service_may_authenticate_again_while_messages_and_replies_are_under_way() {
    const ROUNDS: usize = 50;
    for login in ["proxy", "clients"] {
        let redis = redis();
        let proxy = start(&redis.address().to_string(), "orders:hunter2@", "", &["--upstream-login", login]);
        let mut service = Wire::to(proxy.addresses[0]).await;
        service.send(&request(&[b"HELLO", b"3", b"AUTH", b"default", SECRET.as_bytes()])).await;
        assert!(matches!(service.read().await, Value::Array(_)));
        service.subscribe("SUBSCRIBE ch").await;
        let publisher = tokio::spawn({
            let address = proxy.addresses[0];
            async move {
                let mut publisher = Wire::to(address).await;
                publisher.call("AUTH hunter2").await;
                for n in 0..ROUNDS {
                    assert_eq!(publisher.publish("ch", format!("message {n}").as_bytes()).await, 1);
                    let again: &[&[u8]] = &[b"AUTH", b"orders", SECRET.as_bytes()];
                    assert_eq!(text(&publisher.call_words(again).await), "OK");
                }
            }
        });
        let (mut messages, mut replies) = (0, 0);
        for n in 0..ROUNDS {
            // Pipelined between commands, each in another way, with a publish of its own that comes back to it.
            let user: &[u8] = if n % 2 == 0 { b"orders" } else { b"default" };
            let secret = SECRET.as_bytes();
            let hello = request(&[b"HELLO", b"3", b"AUTH", user, secret]);
            let auth = request(&[b"AUTH", user, secret]);
            let again = if n % 3 == 0 { hello } else { auth };
            let value = format!("value {n}");
            let set = request(&[b"SET", b"key", value.as_bytes()]);
            service.send(&[set, again, request(&[b"ACL", b"WHOAMI"]), request(&[b"GET", b"key"])].concat()).await;
            let mut expected = 4;
            while expected > 0 {
                match service.read().await {
                    Value::Push(parts) => {
                        assert_eq!(text(&parts[2]), format!("message {messages}"), "in order, and as it was published");
                        messages += 1;
                    }
                    reply => {
                        match expected {
                            4 => assert_eq!(text(&reply), "OK"),
                            3 => assert!(matches!(&reply, Value::Array(_)) || text(&reply) == "OK"),
                            2 => assert_eq!(text(&reply).as_bytes(), user),
                            _ => assert_eq!(text(&reply), value),
                        }
                        (expected, replies) = (expected - 1, replies + 1);
                    }
                }
            }
        }
        while messages < ROUNDS {
            assert_eq!(service.message().await.payload, format!("message {messages}").into_bytes());
            messages += 1;
        }
        assert_eq!(replies, 4 * ROUNDS);
        publisher.await.unwrap();
        drop(service);
        let log = log(proxy);
        assert!(log.contains(&format!("injected={ROUNDS}")) && log.contains(&format!("stripped={ROUNDS}")), "{log}");
        assert!(!log.contains("pairing_lost"), "{log}");
    }
}

#[tokio::test]
async fn readiness_asks_with_what_the_proxy_knows() {
    let redis = redis();
    let host = redis.address().to_string();
    for (user_info, database, login, refusal) in [
        // Nobody told the proxy who it is: it is reachable all the same.
        ("", "", "proxy", None),
        ("orders:hunter2@", "", "proxy", None),
        // Its own credentials are wrong, which services do not depend on.
        ("orders:wrong@", "", "proxy", None),
        ("orders:hunter2@", "/3", "clients", None),
        ("orders:wrong@", "", "clients", Some("does not accept the proxy's credentials (WRONGPASS)")),
        // Every service would be closed.
        ("orders:hunter2@", "/99", "clients", Some("does not give database 99 (ERR)")),
        ("", "/3", "clients", Some("does not give database 3 (NOAUTH)")),
    ] {
        let mut proxy = start(&host, user_info, database, &["--upstream-login", login]);
        let admin = admin(&mut proxy);
        let answer = get(admin, "/readyz").await;
        assert_eq!(answer.starts_with("HTTP/1.1 200"), refusal.is_none(), "{user_info} {login}: {answer}");
        assert!(refusal.is_none_or(|refusal| answer.contains(refusal)), "{answer}");
        log(proxy);
    }
}

#[tokio::test]
async fn a_redis_that_cannot_serve_is_not_ready() {
    for (said, ready, shown) in [
        ("+PONG\r\n", true, ""),
        ("-NOAUTH Authentication required.\r\n", true, ""),
        ("-LOADING Redis is loading the dataset in memory\r\n", false, "LOADING"),
        ("-ERR max number of clients reached\r\n", false, "max number of clients"),
        ("-DENIED Redis is running in protected mode\r\n", false, "DENIED"),
        ("HTTP/1.1 400 Bad Request\r\n\r\n", false, "cannot reach"),
        ("", false, "within 900ms"),
    ] {
        let fake = FakeRedis::start().await;
        let mut proxy = start(&fake.url().replace("redis://", ""), "", "", &[]);
        let admin = admin(&mut proxy);
        let asking = tokio::spawn(async move { get(admin, "/readyz").await });
        let mut server: TcpStream = fake.accept().await;
        expect(&mut server, b"*1\r\n$4\r\nPING\r\n").await;
        send(&mut server, said.as_bytes()).await;
        let answer = within("the answer", asking).await.unwrap();
        assert_eq!(answer.starts_with("HTTP/1.1 200"), ready, "{said}: {answer}");
        assert!(answer.contains(shown), "{answer}");
    }
}

/// Connects to a Redis with this password until it takes no more connections.
async fn fill(redis: &RealRedis) -> Vec<Wire> {
    let mut held = Vec::new();
    loop {
        let mut client = Wire::to(redis.address()).await;
        match client.call("AUTH pw").await {
            Value::Status(_) => held.push(client),
            refused => {
                assert_eq!(refused, Value::Error("ERR max number of clients reached".into()));
                return held;
            }
        }
    }
}

#[tokio::test]
async fn a_redis_that_is_full_is_quoted_and_nobodys_credentials_are_blamed() {
    for server in servers::all() {
        let redis = RealRedis::start_server(server, &["--maxclients", "20", "--requirepass", "pw"]);
        let held = fill(&redis).await;
        let upstream = redis.url().replace("redis://", "redis://:pw@");
        for login in ["proxy", "clients"] {
            let mut proxy = Proxy::start(&upstream, &["--upstream-login", login, "--log-level", "info"], &[]);
            let mut client = Wire::to(proxy.address()).await;
            assert_eq!(client.read().await, Value::Error("ERR max number of clients reached".into()), "{login}");
            client.closed().await;
            let line = proxy.process.wait_for_line("Redis takes no more connections");
            assert!(line.contains(" WARN ") && line.contains("ERR max number of clients reached"), "{login}: {line}");
            let (status, page) = proxy.get("/readyz").await;
            assert!(status == 503 && page.contains("ERR max number of clients reached"), "{login}: {page}");
            proxy.process.signal(Signal::TERM);
            let log = proxy.process.ended().stderr;
            assert!(!log.contains("credentials"), "{login}: {log}");
            let arguments = ["check", "--listen", "127.0.0.1:0", "--upstream", &upstream, "--upstream-login", login];
            let command = command(&arguments);
            let checked = tokio::task::spawn_blocking(move || run(command)).await.unwrap();
            assert_eq!(checked.code, Some(3), "{}", checked.stdout);
            for text in ["takes no more connections: ERR max number of clients reached", "maxclients"] {
                assert!(checked.stdout.contains(text), "{login}: {}", checked.stdout);
            }
            assert!(!checked.stdout.contains("credentials"), "{login}: {}", checked.stdout);
        }
        drop(held);
    }
}

#[tokio::test]
async fn many_clients_that_fail_are_few_lines() {
    const CLIENTS: usize = 300;
    let arguments = ["--connect-retry", "off", "--log-level", "info"];
    let proxy = Proxy::start("redis://127.0.0.1:1", &arguments, &[]);
    let began = std::time::Instant::now();
    for _ in 0..CLIENTS {
        Wire::to(proxy.address()).await.closed().await;
    }
    proxy.process.signal(Signal::TERM);
    let intervals = usize::try_from(began.elapsed().as_secs() / 10).unwrap() + 1;
    let log = proxy.process.ended().stderr;
    // For each interval one warning about Redis and one line about a connection; and the start and the stop.
    let lines = log.lines().count();
    assert!(log.contains("connection failed") && lines <= 2 * intervals + 10, "{lines} lines:\n{log}");
}
