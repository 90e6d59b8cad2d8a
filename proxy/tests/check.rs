//! `redistributed check`, tested on the binary: with every server, with a real collector, and with problems of every
//! kind.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use crate::support::collector::{answer, answering};
use crate::support::redis::{RealRedis, free_address};
use crate::support::spawn::{Ended, Spawned, command, run};
use crate::support::wire::{Value, Wire};
use crate::support::{connect, expect, send, servers};
use otlp_receiver::{Behaviour, Receiver, Refusal};

/// Runs `check` with these arguments, on a free port and without spans.
async fn check(arguments: &[&str], environment: &[(&str, &str)]) -> Ended {
    let listen = ["check", "--listen", "127.0.0.1:0"];
    let mut command = command(&[&listen[..], arguments].concat());
    command.env("OTEL_SERVICE_NAME", "orders").envs(environment.iter().copied());
    tokio::task::spawn_blocking(move || run(command)).await.unwrap()
}

/// Checks that one line has this level and contains all of `says`.
#[track_caller]
fn assert_says(ended: &Ended, level: &str, says: &[&str]) {
    let fits = |line: &&str| line.starts_with(level) && says.iter().all(|text| line.contains(text));
    assert!(
        ended.stdout.lines().any(|line| fits(&line)),
        "no {level} with {says:?} in\n{}{}",
        ended.stdout,
        ended.stderr
    );
}

#[tokio::test]
async fn the_version_the_clock_and_the_subscribers_of_every_server_are_reported() {
    for server in servers::all() {
        let redis = RealRedis::start_server(server, &[]);
        let mut subscriber = connect(redis.address()).await;
        send(&mut subscriber, b"CLIENT SETNAME reports\r\nSUBSCRIBE orders.new __keyspace@0__:x\r\nPSUBSCRIBE a*\r\n")
            .await;
        expect(&mut subscriber, b"+OK\r\n*3\r\n$9\r\nsubscribe\r\n$10\r\norders.new\r\n:1\r\n").await;
        expect(&mut subscriber, b"*3\r\n$9\r\nsubscribe\r\n$16\r\n__keyspace@0__:x\r\n:2\r\n").await;
        expect(&mut subscriber, b"*3\r\n$10\r\npsubscribe\r\n$2\r\na*\r\n:3\r\n").await;

        let ended = check(&["--upstream", &redis.url(), "--mode", "inject"], &[]).await;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(1), ""), "{}: {}", server.name, ended.stdout);
        let (kind, version) = server.name.split_once('-').unwrap();
        let kind = if kind == "redis" { "Redis " } else { "valkey " };
        let said = format!("{kind}{version}.");
        assert_says(&ended, "ok", &[&redis.url(), &said, "role master", "replicas 0", "RESP3"]);
        assert_says(&ended, "ok", &["proto-max-bulk-len is 536870912 bytes", "--inject-limit 1048574"]);
        assert_says(&ended, "ok", &["its clock is", "give or take"]);
        assert_says(&ended, "note", &["channels 2, patterns 1", "127.0.0.1 (reports)"]);
        let seen = "would see it: 41 bytes or more behind the payload";
        assert_says(
            &ended,
            "warning",
            &["a context is added on orders.new (subscribers: 1; trailer)", seen, "mode auto"],
        );
        assert_says(&ended, "warning", &["patterns are subscribed (1)", seen]);
        assert_says(&ended, "ok", &["begin with `__`: 1", "never touched"]);
        assert!(!ended.stdout.contains("__keyspace"), "{}", ended.stdout);

        for mode in [&["--mode", "strip"][..], &["--mode", "auto"], &[]] {
            let harmless = check(&[&["--upstream", &redis.url()], mode].concat(), &[]).await;
            assert_eq!(harmless.code, Some(0), "{mode:?}: {}", harmless.stdout);
            assert!(!harmless.stdout.contains("a context is added on"), "{}", harmless.stdout);
        }
    }
}

#[tokio::test]
async fn subscribers_that_no_proxy_announces_are_a_warning() {
    let redis = RealRedis::start(&[]);
    let url = redis.url();
    let mut proxy = command(&["--listen", "127.0.0.1:0", "--upstream", &url, "--announce", "--auto-interval", "50ms"]);
    proxy.env("OTEL_SERVICE_NAME", "orders");
    let proxy = Spawned::start(proxy, 1);
    let subscribe = |address| async move {
        let mut subscriber = connect(address).await;
        send(&mut subscriber, b"SUBSCRIBE ch\r\n").await;
        expect(&mut subscriber, b"*3\r\n$9\r\nsubscribe\r\n$2\r\nch\r\n:1\r\n").await;
        subscriber
    };
    let _behind = subscribe(proxy.addresses[0]).await;
    let started = std::time::Instant::now();
    let ended = loop {
        let ended = check(&["--upstream", &url, "--mode", "inject"], &[]).await;
        if ended.stdout.contains("proxies announce every subscriber") || started.elapsed() > crate::support::DEADLINE {
            break ended;
        }
    };
    assert_eq!(ended.code, Some(0), "{}", ended.stdout);
    assert_says(&ended, "note", &["channels 1, patterns 0"]);
    assert_says(&ended, "note", &["announce what is subscribed through them: 1"]);
    assert!(!ended.stdout.contains("__redistributed"), "{}", ended.stdout);

    let _direct = subscribe(redis.address()).await;
    let mut pattern = connect(redis.address()).await;
    send(&mut pattern, b"PSUBSCRIBE *\r\n").await;
    expect(&mut pattern, b"*3\r\n$10\r\npsubscribe\r\n$1\r\n*\r\n:1\r\n").await;
    let ended = check(&["--upstream", &url, "--mode", "inject"], &[]).await;
    assert_eq!(ended.code, Some(1), "{}", ended.stdout);
    assert_says(&ended, "warning", &["no proxy announces all subscribers, on ch (1 of 2)", "mode auto or strip"]);
    assert_says(&ended, "warning", &["patterns are subscribed that no proxy announces: 1 of 1"]);
    let ended = check(&["--upstream", &url, "--mode", "auto"], &[]).await;
    assert!(!ended.stdout.contains("(1 of 2)"), "{}", ended.stdout);
}

#[tokio::test]
async fn a_limit_above_that_of_redis_is_a_problem() {
    for server in servers::all() {
        let redis = RealRedis::start_server(server, &["--proto-max-bulk-len", "1mb"]);
        let ended = check(&["--upstream", &redis.url(), "--inject-limit", "2MiB"], &[]).await;
        assert_eq!(ended.code, Some(3));
        assert_says(&ended, "problem", &["proto-max-bulk-len is 1048576", "--inject-limit 2097152", "every sidecar"]);
    }
}

#[tokio::test]
async fn a_redis_that_requires_a_password_is_a_note() {
    let redis = RealRedis::start(&["--requirepass", "hunter2"]);
    let ended = check(&["--upstream", &redis.url()], &[]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stdout);
    assert_says(&ended, "note", &["asks for a password"]);
}

#[tokio::test]
async fn with_credentials_more_is_checked_and_wrong_ones_are_reported() {
    let redis = RealRedis::start(&["--requirepass", "hunter2"]);
    let url = redis.url();
    let with_password = url.replace("redis://", "redis://:hunter2@");
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, "hunter2\n").unwrap();
    let by_file = ["--upstream", &url, "--upstream-password-file", password.to_str().unwrap()];
    for arguments in [&["--upstream", &with_password][..], &by_file] {
        let ended = check(arguments, &[]).await;
        assert_eq!(ended.code, Some(0), "{}", ended.stdout);
        assert_says(&ended, "ok", &["role master"]);
        assert!(!ended.stdout.contains("hunter2") && !ended.stderr.contains("hunter2"));
    }
    let wrong = url.replace("redis://", "redis://:swordfish@");
    for (login, level, code) in [("proxy", "warning", 1), ("clients", "problem", 3)] {
        let ended = check(&["--upstream", &wrong, "--upstream-login", login], &[]).await;
        assert_eq!(ended.code, Some(code), "{}", ended.stdout);
        assert_says(&ended, level, &["does not accept the credentials", "WRONGPASS", "--upstream-password-file"]);
        assert_says(&ended, "note", &["asks for a password"]);
        assert!(!ended.stdout.contains("swordfish"), "{}", ended.stdout);
    }
    let database = format!("{with_password}/99");
    let ended = check(&["--upstream", &database, "--upstream-login", "clients"], &[]).await;
    assert_eq!(ended.code, Some(3), "{}", ended.stdout);
    assert_says(&ended, "problem", &["does not give database 99 (ERR)", "services cannot be logged in"]);
    // The check does not send the password to a proxy that already runs, but recognises it.
    let proxy = Spawned::start(command(&["--listen", "127.0.0.1:0", "--upstream", &with_password]), 1);
    let listen = proxy.addresses[0].to_string();
    let command = command(&["check", "--listen", &listen, "--upstream", &with_password]);
    let ended = tokio::task::spawn_blocking(move || run(command)).await.unwrap();
    assert_says(&ended, "note", &[&listen, "asks for a password as Redis does"]);
}

/// The command in `proxy/docs/auto.md` that makes a user for the proxy.
fn documented_permissions() -> String {
    let page = include_str!("../docs/auto.md");
    let (_, rest) = page.split_once("ACL SETUSER redistributed").unwrap();
    let (rights, _) = rest.split_once("```").unwrap();
    format!("ACL SETUSER redistributed reset{}\r\n", rights.replace("\\\n", ""))
}

#[tokio::test]
async fn the_documented_permissions_suffice_for_mode_auto_and_missing_ones_are_named() {
    for server in servers::all() {
        let redis = RealRedis::start_server(server, &[]);
        let url = redis.url().replace("redis://", "redis://redistributed:PASSWORD@");
        let arguments = ["--upstream", &url, "--mode", "auto"];
        let mut operator = connect(redis.address()).await;
        send(&mut operator, documented_permissions().as_bytes()).await;
        expect(&mut operator, b"+OK\r\n").await;
        let ended = check(&arguments, &[]).await;
        assert_says(&ended, "ok", &["may do what mode auto needs"]);
        assert_eq!(ended.code, Some(0), "{}", ended.stdout);

        let permissions =
            "info pubsub|channels pubsub|numsub pubsub|numpat client|list multi exec publish subscribe unsubscribe";
        for permission in permissions.split(' ') {
            send(&mut operator, format!("ACL SETUSER redistributed -{permission}\r\n").as_bytes()).await;
            expect(&mut operator, b"+OK\r\n").await;
            let ended = check(&arguments, &[]).await;
            assert_says(&ended, "warning", &["mode auto", &format!(" lacks +{permission}, or"), "proxy/docs/auto.md"]);
            assert_eq!(ended.code, Some(1), "{}", ended.stdout);
            send(&mut operator, format!("ACL SETUSER redistributed +{permission}\r\n").as_bytes()).await;
            expect(&mut operator, b"+OK\r\n").await;
        }
        send(&mut operator, b"ACL SETUSER redistributed resetchannels\r\n").await;
        expect(&mut operator, b"+OK\r\n").await;
        assert_says(
            &check(&arguments, &[]).await,
            "warning",
            &["+publish +subscribe, or the channel __redistributed:"],
        );
    }
}

#[tokio::test]
async fn unix_sockets_are_checked_on_both_sides() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (socket, listen) = (path("redis.sock"), format!("unix:{}", path("proxy.sock")));
    let redis = RealRedis::start(&["--unixsocket", &socket]);
    let upstream = format!("unix:{socket}");
    let arguments = ["check", "--listen", &listen, "--upstream", &upstream];
    let subscribed = redis.address();
    let mut subscriber = connect(subscribed).await;
    send(&mut subscriber, b"SUBSCRIBE ch\r\n").await;
    expect(&mut subscriber, b"*3\r\n$9\r\nsubscribe\r\n$2\r\nch\r\n:1\r\n").await;
    let free = command(&arguments);
    let ended = tokio::task::spawn_blocking(move || run(free)).await.unwrap();
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    assert_says(&ended, "ok", &[&upstream, "reached in"]);
    assert_says(&ended, "ok", &[&listen, "can be listened on"]);
    assert!(!std::path::Path::new(&path("proxy.sock")).exists(), "nothing is left behind");
    let mut proxy = Spawned::start(command(&["--listen", &listen, "--upstream", &upstream]), 0);
    proxy.wait_for_line("listening");
    let taken = command(&arguments);
    let ended = tokio::task::spawn_blocking(move || run(taken)).await.unwrap();
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    assert_says(&ended, "ok", &[&listen, "leads to this Redis"]);
}

#[tokio::test]
async fn a_redis_that_cannot_be_reached_is_a_problem_with_its_reason() {
    let nobody = free_address();
    let ended = check(&["--upstream", &format!("redis://{nobody}")], &[]).await;
    assert_eq!(ended.code, Some(3));
    assert_says(&ended, "problem", &["cannot be reached", "refused"]);
    let ended = check(&["--upstream", "redis://no-such-host.invalid"], &[]).await;
    assert_eq!(ended.code, Some(3));
    assert_says(&ended, "problem", &["the name cannot be resolved", "DNS"]);
    let redis = RealRedis::start(&[]);
    let ended = check(&["--upstream", &redis.url().replace("redis:", "rediss:")], &[]).await;
    assert_eq!(ended.code, Some(3));
    assert_says(&ended, "problem", &["cannot be reached"]);
}

#[tokio::test]
async fn an_empty_export_shows_whether_the_collector_accepts_spans() {
    let (redis, receiver) = (RealRedis::start(&[]), Receiver::start().await.unwrap());
    let secret = ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=hunter2");
    for (protocol, endpoint) in [("http/protobuf", receiver.http_endpoint()), ("grpc", receiver.grpc_endpoint())] {
        let environment = [
            ("OTEL_TRACES_EXPORTER", "otlp"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
            secret,
        ];
        receiver.behave(Behaviour::Accept);
        let ended = check(&["--upstream", &redis.url()], &environment).await;
        assert_eq!(ended.code, Some(0), "{}", ended.stdout);
        assert_says(&ended, "ok", &[&endpoint, &format!("takes spans by {protocol}")]);
        let request = receiver.requests().pop().unwrap();
        assert_eq!((request.span_count(), request.header("x-key")), (0, Some("hunter2")));

        receiver.behave(Behaviour::Refuse(Refusal::INVALID));
        let before = receiver.requests().len();
        let ended = check(&["--upstream", &redis.url()], &environment).await;
        assert_eq!(ended.code, Some(3), "{}", ended.stdout);
        assert_says(&ended, "problem", &["did not take an empty export", "port 4318"]);
        assert_eq!(receiver.requests().len(), before + 1, "it is not asked again");
        assert!(!ended.stdout.contains("hunter2") && !ended.stderr.contains("hunter2"));
    }
    // What a login page in front of a collector answers.
    let (address, _heads) = answering(&answer("200 OK", "text/html", "<title>Sign in</title>"));
    let endpoint = format!("http://{address}");
    let environment = [("OTEL_TRACES_EXPORTER", "otlp"), ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str())];
    let ended = check(&["--upstream", &redis.url()], &environment).await;
    assert_eq!(ended.code, Some(3), "{}", ended.stdout);
    assert_says(&ended, "problem", &["what answered is no OTLP collector", "text/html"]);

    let unnamed = [("OTEL_SERVICE_NAME", ""), ("OTEL_TRACES_EXPORTER", "none")];
    let ended = check(&["--upstream", &redis.url()], &unnamed).await;
    assert_eq!(ended.code, Some(0), "without spans it needs no name: {}", ended.stdout);
    let ended = check(&["--upstream", &redis.url()], &[unnamed[0], ("OTEL_TRACES_EXPORTER", "console")]).await;
    assert_eq!(ended.code, Some(1), "{}", ended.stdout);
    assert_says(&ended, "warning", &["unknown_service:redistributed", "set OTEL_SERVICE_NAME"]);
}

#[tokio::test]
async fn an_address_may_be_in_use_by_the_proxy_itself_and_by_nothing_else() {
    let redis = RealRedis::start(&[]);
    let mut proxy =
        Spawned::start(command(&["--listen", "127.0.0.1:0", "--admin", "0", "--upstream", &redis.url()]), 1);
    let line = proxy.wait_for_line("admin port");
    let admin = line.split_once("address=").unwrap().1.split_whitespace().next().unwrap();
    let serving = proxy.addresses[0].to_string();
    let upstream = redis.url();
    let with = |listen: String, admin: String, upstream: String| async move {
        let mut command = command(&["check", "--listen", &listen, "--admin", &admin, "--upstream", &upstream]);
        command.env("OTEL_SERVICE_NAME", "orders");
        tokio::task::spawn_blocking(move || run(command)).await.unwrap()
    };
    let ended = with(serving.clone(), admin.to_owned(), upstream.clone()).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stdout);
    assert_says(&ended, "ok", &[&serving, "leads to this Redis listens there already"]);
    assert_says(&ended, "ok", &["admin port", admin, "is there already"]);

    let other = RealRedis::start(&[]);
    let ended = with(other.address().to_string(), "0".to_owned(), upstream).await;
    assert_eq!(ended.code, Some(3));
    assert_says(&ended, "problem", &["another Redis", "stop what listens there"]);
    assert_says(&ended, "ok", &["admin port", "can be listened on"]);
}

#[tokio::test]
async fn a_foreign_server_on_an_address_is_a_problem() {
    let redis = RealRedis::start(&[]);
    let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = stranger.local_addr().unwrap().to_string();
    // This server closes every connection at once.
    std::thread::spawn(move || stranger.incoming().for_each(drop));
    for arguments in [
        ["check", "--listen", &address, "--upstream", &redis.url(), "--admin", "0"],
        ["check", "--listen", "127.0.0.1:0", "--upstream", &redis.url(), "--admin", &address],
    ] {
        let command = command(&arguments);
        let ended = tokio::task::spawn_blocking(move || run(command)).await.unwrap();
        assert_eq!(ended.code, Some(3));
        assert_says(&ended, "problem", &[&address, "something else listens there"]);
    }
}

#[tokio::test]
async fn settings_come_from_everywhere_and_wrong_ones_have_a_code_of_their_own() {
    let redis = RealRedis::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("r.toml");
    std::fs::write(&file, format!("upstream = '{}'\n[otel]\nOTEL_BSP_MAX_QUEUE_SIZE = 'x'", redis.url())).unwrap();
    let ended = check(&["--config", file.to_str().unwrap()], &[("REDISTRIBUTED_MOD", "x")]).await;
    assert_eq!(ended.code, Some(1), "{}", ended.stdout);
    assert_says(&ended, "warning", &["settings", "r.toml:3:1: OTEL_BSP_MAX_QUEUE_SIZE=x is not understood"]);
    assert_says(&ended, "warning", &["settings", "REDISTRIBUTED_MOD is not known", "`REDISTRIBUTED_MODE`"]);
    for arguments in [&["--upstream", "redis://u:hunter2@h:x"][..], &["--upstrem", "h"], &["--config", "/no/such"]] {
        let ended = check(arguments, &[]).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
    }
}

#[tokio::test]
async fn the_json_report_is_one_object() {
    let redis = RealRedis::start(&[]);
    let ended = check(&["--format", "json", "--upstream", &redis.url()], &[]).await;
    let answer: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(answer["result"], "note");
    let first = &answer["findings"][0];
    assert_eq!((&first["level"], &first["about"]), (&"ok".into(), &redis.url().into()));
}

/// Starts a server that replies to each command in `answers` with the text beside it, and to others with an error.
fn scripted(answers: Vec<(&'static str, String)>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = move |stream: TcpStream| -> Option<()> {
        let mut from = BufReader::new(stream.try_clone().ok()?);
        let mut to = stream;
        let mut line = String::new();
        let mut read = move || {
            line.clear();
            from.read_line(&mut line).ok().filter(|len| *len > 0)?;
            let number = line.trim_end()[1..].parse::<usize>().ok()?;
            if !line.starts_with('$') {
                return Some((number, String::new()));
            }
            let mut word = vec![0; number + 2];
            from.read_exact(&mut word).ok()?;
            Some((number, String::from_utf8(word).ok()?.trim_end().to_owned()))
        };
        loop {
            let (words, _) = read()?;
            let words: Vec<String> = (0..words).map(|_| read().map(|(_, word)| word)).collect::<Option<_>>()?;
            let answer = answers.iter().find(|(name, _)| *name == words[0]).map(|(_, answer)| answer.as_str());
            to.write_all(answer.unwrap_or("-NOPERM no\r\n").as_bytes()).ok()?;
        }
    };
    std::thread::spawn(move || {
        // `serve` returns when its connection ends.
        listener.incoming().map_while(Result::ok).filter_map(serve).for_each(|()| {});
    });
    address
}

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

#[tokio::test]
async fn a_replica_a_cluster_and_a_clock_that_is_wrong_are_warnings() {
    let info = "redis_version:7.2.4\r\nredis_mode:cluster\r\nrole:slave\r\ncluster_enabled:1\r\n";
    let time = format!("*2\r\n{}{}", bulk("1000000000"), bulk("5"));
    let redis = scripted(vec![("PING", "+PONG\r\n".into()), ("INFO", bulk(info)), ("TIME", time)]);
    let ended = check(&["--upstream", &format!("redis://{redis}")], &[]).await;
    assert_eq!(ended.code, Some(1), "{}", ended.stdout);
    assert_says(&ended, "ok", &["Redis 7.2.4, role replica", "RESP2 only"]);
    assert_says(&ended, "warning", &["it is a replica"]);
    assert_says(&ended, "warning", &["node of a cluster"]);
    assert_says(&ended, "warning", &["ms behind this machine's", "synchronise the clocks"]);
    assert_says(&ended, "note", &["proto-max-bulk-len cannot be read"]);
    assert_says(&ended, "note", &["who subscribes cannot be found out: NOPERM"]);
    let ended = check(&["--upstream", &format!("redis://{redis}"), "--inject-limit", "2MiB"], &[]).await;
    assert_says(&ended, "warning", &["proto-max-bulk-len cannot be read, and --inject-limit is 2097152"]);
}

#[tokio::test]
async fn clusters_and_replicas_are_reported_and_that_mode_auto_adds_nothing_there() {
    for server in servers::all() {
        let node = RealRedis::start_server(server, &["--cluster-enabled", "yes"]);
        let assigned = Wire::to(node.address()).await.call("CLUSTER ADDSLOTSRANGE 0 16383").await;
        assert_eq!(assigned, Value::Status("OK".into()), "{}", server.name);
        let ended = check(&["--upstream", &node.url(), "--mode", "strip"], &[]).await;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(1), ""), "{}: {}", server.name, ended.stdout);
        assert_says(&ended, "warning", &[&node.url(), "it is a node of a cluster", "go past the proxy"]);
        assert!(!ended.stdout.contains("mode auto"), "{}", ended.stdout);
        for mode in [["--mode", "auto"], ["--mode-for", "orders.*=auto"]] {
            let ended = check(&[&["--upstream", &node.url()], &mode[..]].concat(), &[]).await;
            assert_says(&ended, "warning", &["mode auto never adds a context here", "other nodes of the cluster"]);
        }

        let master = RealRedis::start_server(server, &[]);
        let replica =
            RealRedis::start_server(server, &["--replicaof", "127.0.0.1", &master.address().port().to_string()]);
        let auto = ["--upstream", &replica.url(), "--mode", "auto"];
        assert_says(&check(&auto, &[]).await, "warning", &["mode auto never adds", "--auto-ignore-replicas"]);
        let ended = check(&[&auto[..], &["--auto-ignore-replicas"]].concat(), &[]).await;
        assert!(!ended.stdout.contains("mode auto never"), "{}", ended.stdout);
    }
}

#[tokio::test]
async fn a_sentinel_is_told_from_a_redis() {
    for server in servers::all() {
        let sentinel = RealRedis::start_server(server, &["--sentinel"]);
        let ended = check(&["--upstream", &sentinel.url()], &[]).await;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(3), ""), "{}: {}", server.name, ended.stdout);
        assert_says(&ended, "problem", &[&sentinel.url(), "it is a Sentinel, not a Redis", "name the Redis itself"]);
        let about_it = ended.stdout.lines().filter(|line| line.contains(&sentinel.url())).count();
        assert_eq!(about_it, 2, "that it was reached, and that: {}", ended.stdout);
    }
}

#[tokio::test]
async fn an_upstream_that_is_another_proxy_is_told_of() {
    let redis = RealRedis::start(&[]);
    let inner = Spawned::start(command(&["--listen", "127.0.0.1:0", "--upstream", &redis.url()]), 1);
    let url = format!("redis://{}", inner.addresses[0]);
    let ended = check(&["--upstream", &url, "--mode", "inject", "--detect-proxies", "on"], &[]).await;
    assert_says(&ended, "note", &[&url, "another redistributed, which leaves the messages"]);
    for untold in [["--mode", "observe", "--detect-proxies", "on"], ["--mode", "inject", "--detect-proxies", "off"]] {
        let ended = check(&[&["--upstream", &url], &untold[..]].concat(), &[]).await;
        assert_says(&ended, "warning", &[&url, "another redistributed, which is not told of this one"]);
    }
    let ended = check(&["--upstream", &redis.url(), "--detect-proxies", "on"], &[]).await;
    assert!(!ended.stdout.contains("another redistributed, "), "{}", ended.stdout);
}

#[tokio::test]
async fn a_server_that_is_not_a_redis_is_a_problem() {
    let sentinel = scripted(vec![("PING", "+PONG\r\n".into()), ("INFO", bulk("redis_mode:sentinel\r\n"))]);
    let ended = check(&["--upstream", &format!("redis://{sentinel}")], &[]).await;
    assert_eq!(ended.code, Some(3));
    assert_says(&ended, "problem", &["it is a Sentinel"]);
    let web = scripted(vec![("PING", "HTTP/1.1 400 Bad Request\r\n\r\n".into())]);
    let ended = check(&["--upstream", &format!("redis://{web}")], &[]).await;
    assert_eq!(ended.code, Some(3));
    assert_says(&ended, "problem", &["does not answer", "not Redis"]);
}
