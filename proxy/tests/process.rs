//! The binary as operators meet it: its messages, signals and exit codes.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::process::Command;
use std::time::Duration;

use crate::support::redis::RealRedis;
use crate::support::spawn::{Ended, Spawned, command, run, without_environment};
use crate::support::{connect, expect, send};
use rustix::process::Signal;

/// An upstream for tests in which nobody connects.
const UNUSED: &str = "redis://127.0.0.1:1";

fn refused(arguments: &[&str]) -> Ended {
    let ended = run(command(arguments));
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert_eq!(ended.stdout, "");
    ended
}

fn serve(upstream: &str, more: &[&str]) -> Spawned {
    Spawned::start(command(&[&["--listen", "127.0.0.1:0", "--upstream", upstream], more].concat()), 1)
}

fn ping(address: SocketAddr) -> std::io::Result<()> {
    exchange(&mut TcpStream::connect(address)?, b"PING\r\n", b"+PONG\r\n")
}

#[test]
fn help_teaches() {
    let help = run(command(&["--help"]));
    assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""));
    for text in ["Examples:", "OTEL_SERVICE_NAME", "Exit codes:", "REDISTRIBUTED_LISTEN", "Addresses:", "--carrier"] {
        assert!(help.stdout.contains(text), "--help does not say {text}:\n{}", help.stdout);
    }
    let short = run(command(&["-h"]));
    assert_eq!(short.code, Some(0));
    assert!(short.stdout.lines().count() < help.stdout.lines().count());
}

#[test]
fn version_is_that_of_the_package() {
    let ended = run(command(&["-V"]));
    let first = format!("redistributed {} (", env!("CARGO_PKG_VERSION"));
    assert!(ended.code == Some(0) && ended.stdout.starts_with(&first), "{}", ended.stdout);
    let long = run(command(&["--version"]));
    assert!(long.code == Some(0) && long.stdout.starts_with(ended.stdout.trim()), "{}", long.stdout);
    for line in ["\ntarget    ", "\nfeatures  TLS 1.2 and 1.3", "\ncarriers  trailer"] {
        assert!(long.stdout.contains(line), "{}", long.stdout);
    }
}

/// Starts a proxy without `--upstream`.
fn with_redis_url(listen: &str, url: &str, more: &[&str]) -> std::process::Command {
    let mut command = command(&[&["--listen", listen], more].concat());
    command.env("REDIS_URL", url);
    command
}

#[tokio::test]
async fn redis_url_is_the_upstream_if_nothing_else_names_one() {
    let redis = RealRedis::start(&[]);
    // The database is for the service, which selects it itself.
    let proxy = Spawned::start(with_redis_url(":0", &format!("{}/3", redis.url()), &[]), 1);
    assert!(proxy.addresses[0].ip().is_loopback());
    let mut client = connect(proxy.addresses[0]).await;
    send(&mut client, b"PING\r\n").await;
    expect(&mut client, b"+PONG\r\n").await;
    let shown = run(with_redis_url("6380", "redis://u:hunter2@cache", &["--check-config"]));
    assert!(shown.stdout.contains("127.0.0.1:6380,redis://u:***@cache:6379"), "{}", shown.stdout);
    assert!(shown.stdout.contains("upstream: REDIS_URL"), "{}", shown.stdout);
    let other = run(with_redis_url("6380", "redis://cache", &["--upstream", "redis://other", "--check-config"]));
    assert!(other.stdout.contains("redis://other:6379") && !other.stdout.contains("cache"), "{}", other.stdout);
    for url in ["redis://127.0.0.1:6380", "redis://localhost:6380/0"] {
        let own = run(with_redis_url("6380", url, &[]));
        for text in ["(from REDIS_URL)", "the proxy itself listens on", "name the Redis by --upstream"] {
            assert!(own.code == Some(2) && own.stderr.contains(text), "{url}: {}", own.stderr);
        }
    }
}

#[test]
fn wrong_settings_are_named_with_what_to_do() {
    let pair = ["--listen", "127.0.0.1:0", "--upstream", UNUSED];
    for (arguments, texts) in [
        (&[][..], &["--listen and --upstream", "--help"][..]),
        (&["--listen", "127.0.0.1:0"], &["--upstream", "missing"]),
        (&["--upstream", UNUSED], &["--listen", "missing"]),
        (&["--route", "api=127.0.0.1:0"], &["--route", "NAME=LISTEN,UPSTREAM"]),
        (&["--route", "=127.0.0.1:0,redis://h"], &["--route", "name is empty"]),
        (&[pair[0], pair[1], pair[2], pair[3], "--route", "a=127.0.0.1:0,h"], &["--route", "together with --listen"]),
        (&["--route", "a=127.0.0.1:7,h", "--route", "b=127.0.0.1:7,h"], &["127.0.0.1:7", "two routes"]),
        (&["--listen", "127.0.0.1", "--upstream", UNUSED], &["--listen `127.0.0.1`", "port is missing"]),
        (&["--listen", "127.0.0.1:7", "--upstream", "redis://127.0.0.1:7"], &["the proxy itself"]),
        (&["--listen", "127.0.0.1:0", "--upstream", "rediss://h:x"], &["--upstream `rediss://h:x`", "port"]),
        (&[pair[0], pair[1], pair[2], pair[3], "--upstream-ca", "ca.pem"], &["--upstream-ca", "rediss://"]),
        (&[pair[0], pair[1], "--upstream", "rediss://h", "--upstream-cert", "c.pem"], &["--upstream-key", "missing"]),
        (&["--listen", "127.0.0.1:0", "--upstream", "http://h"], &["scheme"]),
        (&[pair[0], pair[1], pair[2], pair[3], "--mode", "inspect"], &["--mode", "inspect", "observe"]),
        (&[pair[0], pair[1], pair[2], pair[3], "--include", "a[b"], &["--include `a[b`", "PSUBSCRIBE"]),
        (&[pair[0], pair[1], pair[2], pair[3], "--carrier", "a=jsno"], &["--carrier `a=jsno`", "GLOB=json"]),
        (&[pair[0], pair[1], pair[2], pair[3], "--carrier", "json"], &["--carrier `json`", "no `=`"]),
        (&[pair[0], pair[1], pair[2], pair[3], "--mode-for", "a=inspect"], &["--mode-for `a=inspect`", "GLOB=strip"]),
        (&[pair[0], pair[1], pair[2], pair[3], "--threads", "0"], &["--threads `0`", "from 1 to 256"]),
        (&[pair[0], pair[1], pair[2], pair[3], "--inject-limit", "512MiB"], &["--inject-limit `512MiB`", "too large"]),
        (&[pair[0], pair[1], pair[2], pair[3], "--drain-timeout", "10"], &["--drain-timeout `10`", "unit"]),
        (&[pair[0], pair[1], pair[2], pair[3], "--connect-timeout", "0s"], &["--connect-timeout `0s`"]),
        (&[pair[0], pair[1], pair[2], pair[3], "--max-connections", "0"], &["--max-connections `0`"]),
    ] {
        let ended = refused(arguments);
        for text in texts {
            assert!(ended.stderr.contains(text), "{arguments:?} did not say {text:?}:\n{}", ended.stderr);
        }
    }
}

#[test]
fn every_wrong_setting_is_reported_at_once_and_only_once() {
    let pair = ["--listen", "x", "--upstream", "http://h"];
    let more = ["--include", "[", "--flush-timeout", "soon", "--connect-timeout", "99999999999999999999s"];
    let ended = refused(&[&pair[..], &more].concat());
    for setting in ["--listen", "--upstream", "--include", "--flush-timeout", "--connect-timeout"] {
        let about = |line: &&str| line.trim_start().starts_with(setting);
        assert_eq!(ended.stderr.lines().filter(about).count(), 1, "{setting}:\n{}", ended.stderr);
    }
    assert!(ended.stderr.contains("--connect-timeout `99999999999999999999s`: it is too large"), "{}", ended.stderr);
}

#[test]
fn a_password_in_a_url_is_never_repeated() {
    for arguments in [
        &["--listen", "127.0.0.1:0", "--upstream", "redis://user:hunter2@h:x"][..],
        &["--listen", "redis://user:hunter2@127.0.0.1:0", "--upstream", "h"],
        &["--listen", "127.0.0.1:0", "--upstream", "redis://hunter2@h"],
        &["--listen", "127.0.0.1:0", "--upstream", "redis://:hunter2@h", "--upstream-password-file", "f"],
        &["--listen", "127.0.0.1:0", "--upstream", "redis://h?password=hunter2"],
        &["--listen", "127.0.0.1:0", "--upstream", "rediss://:hunter2@h/3"],
        &["--route", "a=127.0.0.1:0,redis://:hunter2@h:x"],
        &["--route", "a=redis://:hunter2@h"],
        &["--route", "a=127.0.0.1:0,redis://:hunter2"],
        // These the parser of the command line refuses, which repeats what it was given.
        &["redis://:hunter2@h:1"],
        &["--mode", "redis://:hunter2@h"],
        &["--mode=redis://:hunter2@h"],
        &["--healthcheck=redis://:hunter2@h"],
        &["--redis://:hunter2@h"],
        &["-redis://:hunter2@h"],
        &["--upstream", "h", "redis://h?password=hunter2"],
    ] {
        let ended = refused(arguments);
        assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
    }
    let mut by_variable = command(&["--help"]);
    by_variable.env("REDISTRIBUTED_UPSTREAM", "redis://:hunter2@h");
    assert!(!run(by_variable).stdout.contains("hunter2"));
    let mut misplaced = command(&[]);
    misplaced.env("REDISTRIBUTED_MODE", "redis://:hunter2@h");
    let ended = run(misplaced);
    assert!(ended.code == Some(2) && !ended.stderr.contains("hunter2"), "{ended:?}");
    assert!(ended.stderr.contains("'redis://***@h' for '--mode"), "what is left still helps:\n{}", ended.stderr);
    assert!(ended.stderr.contains("(from REDISTRIBUTED_MODE)"), "{}", ended.stderr);
    let mut typed = command(&["--mode", "nonsense"]);
    typed.env("REDISTRIBUTED_MODE", "nonsense too");
    let ended = run(typed);
    assert!(ended.code == Some(2) && !ended.stderr.contains("REDISTRIBUTED_MODE"), "{ended:?}");
}

/// As a shell with another character set would pass it on.
fn not_utf8() -> &'static OsStr {
    OsStr::from_bytes(b"caf\xe9")
}

#[test]
fn a_variable_of_ours_that_is_not_text_is_named() {
    for name in ["REDISTRIBUTED_UPSTREAM", "REDISTRIBUTED_MODE", "REDISTRIBUTED_EXCLUDE"] {
        let mut by_variable = command(&["--listen", "127.0.0.1:0"]);
        by_variable.env(name, not_utf8());
        let ended = run(by_variable);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains(&format!("{name} is not valid UTF-8")), "{}", ended.stderr);
        assert!(!ended.stderr.contains("caf"), "{}", ended.stderr);
    }
    let mut overruled = command(&["--listen", "127.0.0.1:0", "--upstream", UNUSED]);
    overruled.env("REDISTRIBUTED_UPSTREAM", not_utf8());
    Spawned::start(overruled, 1);
}

#[test]
fn a_variable_of_opentelemetry_that_is_not_text_costs_one_warning() {
    let mut by_variable = command(&["--listen", "127.0.0.1:0", "--upstream", UNUSED]);
    by_variable.env("OTEL_SERVICE_NAME", not_utf8());
    let proxy = Spawned::start(by_variable, 1);
    proxy.signal(Signal::TERM);
    let ended = proxy.ended();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let warning = "OTEL_SERVICE_NAME is not valid UTF-8 and ignored";
    assert_eq!(ended.stderr.matches(warning).count(), 1, "{}", ended.stderr);
    assert!(!ended.stderr.contains("caf"), "{}", ended.stderr);
}

#[test]
fn variables_stand_in_for_options() {
    let redis = RealRedis::start(&[]);
    let mut by_variables = command(&[]);
    let routes = format!("api=127.0.0.1:0,{0};worker=127.0.0.1:0,{0}", redis.url());
    by_variables.env("REDISTRIBUTED_ROUTES", routes).env("REDISTRIBUTED_LOG_FORMAT", "json");
    // As container platforms pass on what is not set.
    by_variables.env("REDISTRIBUTED_LISTEN", "").env("REDISTRIBUTED_INCLUDE", "").env("REDISTRIBUTED_MODE", "");
    let proxy = Spawned::start(by_variables, 2);
    for address in &proxy.addresses {
        ping(*address).unwrap();
    }
    proxy.signal(Signal::TERM);
    let ended = proxy.ended();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for line in ended.stderr.lines() {
        assert!(line.starts_with('{') && line.ends_with('}'), "not JSON: {line}");
    }
    assert!(ended.stderr.contains(r#""service":"worker""#), "{}", ended.stderr);
}

#[test]
fn a_wrong_glob_in_a_list_of_a_variable_is_found() {
    let mut by_variable = command(&["--listen", "127.0.0.1:0", "--upstream", UNUSED]);
    by_variable.env("REDISTRIBUTED_EXCLUDE", "good.* ; also.*\nbad[");
    let ended = run(by_variable);
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("--exclude `bad[`"), "{}", ended.stderr);
}

#[test]
fn a_start_and_a_stop_are_told_at_every_level() {
    for (signal, name) in [(Signal::TERM, "SIGTERM"), (Signal::INT, "SIGINT")] {
        let proxy = serve(UNUSED, &["--log-level", "error"]);
        proxy.signal(signal);
        let ended = proxy.ended();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let lines: Vec<&str> = ended.stderr.lines().collect();
        let [listening, in_words, seen, stopping, stopped] = lines[..] else {
            panic!("not five lines:\n{}", ended.stderr)
        };
        assert!(listening.contains("listening") && listening.contains("upstream=redis://127.0.0.1:1"), "{listening}");
        for text in
            ["mode inject adds a context to every message", "the service unknown_service:redistributed", "go nowhere"]
        {
            assert!(in_words.contains(text), "{in_words}");
        }
        assert!(seen.contains("not behind a redistributed see") && seen.contains("41 bytes or more"), "{seen}");
        assert!(stopping.contains("stopping") && stopping.contains(name), "{stopping}");
        for text in ["stopped", "cut_off=0", "spans_sent=0", "spans_failed=0", "spans_dropped=0"] {
            assert!(stopped.contains(text), "{stopped}");
        }
    }
}

#[test]
fn the_last_line_counts_the_spans_of_a_message_that_arrived_unchanged() {
    let redis = RealRedis::start(&[]);
    let mut with_console = command(&["--listen", "127.0.0.1:0", "--upstream", &redis.url()]);
    with_console.env("OTEL_TRACES_EXPORTER", "console");
    let proxy = Spawned::start(with_console, 1);
    let mut subscriber = TcpStream::connect(proxy.addresses[0]).unwrap();
    exchange(&mut subscriber, b"SUBSCRIBE ch\r\n", b"*3\r\n$9\r\nsubscribe\r\n$2\r\nch\r\n:1\r\n").unwrap();
    let mut publisher = TcpStream::connect(proxy.addresses[0]).unwrap();
    exchange(&mut publisher, b"*3\r\n$7\r\nPUBLISH\r\n$2\r\nch\r\n$5\r\nhello\r\n", b":1\r\n").unwrap();
    exchange(&mut subscriber, b"", b"*3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$5\r\nhello\r\n").unwrap();
    drop((publisher, subscriber));
    proxy.signal(Signal::TERM);
    let ended = proxy.ended();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let stopped = ended.stderr.lines().last().unwrap();
    assert!(stopped.contains("spans_sent=2 spans_failed=0 spans_dropped=0 spans_unsent=0"), "{stopped}");
    let log = ended.stdout + &ended.stderr;
    assert!(!log.contains("hello"), "a payload was shown:\n{log}");
}

#[test]
fn a_collector_that_is_not_there_is_said_with_the_first_attempt() {
    let redis = RealRedis::start(&[]);
    let mut command = command(&["--listen", "127.0.0.1:0", "--upstream", &redis.url()]);
    command.env("OTEL_TRACES_EXPORTER", "otlp").env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1");
    // An hour for an export: nothing is lost yet.
    command.env("OTEL_EXPORTER_OTLP_TIMEOUT", "3600000").env("OTEL_BSP_EXPORT_TIMEOUT", "3600000");
    let mut proxy = Spawned::start(command, 1);
    let mut publisher = TcpStream::connect(proxy.addresses[0]).unwrap();
    exchange(&mut publisher, b"*3\r\n$7\r\nPUBLISH\r\n$2\r\nch\r\n$5\r\nhello\r\n", b":0\r\n").unwrap();
    let line = proxy.wait_for_line("the collector does not take spans");
    assert!(line.contains("http://127.0.0.1:1/v1/traces") && line.contains("Connection refused"), "{line}");
}

#[test]
fn what_was_counted_is_said_before_the_last_line() {
    let redis = RealRedis::start(&[]);
    let proxy = serve(&redis.url(), &["--log-level", "error"]);
    let mut publisher = TcpStream::connect(proxy.addresses[0]).unwrap();
    exchange(&mut publisher, b"PUBLISH ch hello\r\n", b":0\r\n").unwrap();
    exchange(&mut publisher, b"*3\r\n$7\r\nPUBLISH\r\n$2\r\nch\r\n$5\r\nhello\r\n", b":0\r\n").unwrap();
    drop(publisher);
    proxy.signal(Signal::TERM);
    let ended = proxy.ended();
    let lines: Vec<&str> = ended.stderr.lines().collect();
    let [.., counted, stopped] = lines[..] else { panic!("not two lines:\n{}", ended.stderr) };
    assert!(stopped.contains("stopped"), "{stopped}");
    for text in ["counted", "connections_accepted=1", "published=2", "injected=1", "skipped_inline=1"] {
        assert!(counted.split_whitespace().any(|word| word == text), "no {text} in {counted}");
    }
    assert!(!counted.contains("=0") && !counted.contains("pairing_lost"), "what did not happen is left out: {counted}");
}

#[test]
fn a_client_that_breaks_the_protocol_is_one_warning() {
    let redis = RealRedis::start(&[]);
    let proxy = serve(&redis.url(), &[]);
    let mut client = TcpStream::connect(proxy.addresses[0]).unwrap();
    exchange(&mut client, b"*nonsense\r\n", b"-ERR Protocol error").unwrap();
    client.read_to_end(&mut Vec::new()).unwrap();
    drop(client);
    proxy.signal(Signal::TERM);
    let ended = proxy.ended();
    let warnings: Vec<&str> = ended.stderr.lines().filter(|line| line.contains(" WARN ")).collect();
    assert!(matches!(warnings[..], [line] if line.contains("not RESP")), "{}", ended.stderr);
    assert!(ended.stderr.contains(" opaque_client=1"), "{}", ended.stderr);
}

/// Sends `request` and expects exactly `reply`.
fn exchange(stream: &mut TcpStream, request: &[u8], reply: &[u8]) -> std::io::Result<()> {
    stream.set_read_timeout(Some(crate::support::DEADLINE))?;
    stream.write_all(request)?;
    let mut got = vec![0; reply.len()];
    stream.read_exact(&mut got)?;
    assert_eq!(got.escape_ascii().to_string(), reply.escape_ascii().to_string());
    Ok(())
}

#[test]
fn nothing_is_said_with_logs_off() {
    // Where it listens is not said either, so it is only asked to stop; the port it was given tells that it runs.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let quiet = command(&["--listen", &free, "--upstream", UNUSED, "--log-level", "off"]);
    let proxy = Spawned::start(quiet, 0);
    while TcpStream::connect(&free).is_err() {
        std::thread::sleep(Duration::from_millis(5));
    }
    proxy.signal(Signal::TERM);
    let ended = proxy.ended();
    assert_eq!((ended.code, ended.stderr.as_str(), ended.stdout.as_str()), (Some(0), "", ""));
}

#[test]
fn a_second_signal_ends_at_once() {
    let redis = RealRedis::start(&[]);
    for (second, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let mut proxy = serve(&redis.url(), &["--drain-timeout", "1h"]);
        let mut client = TcpStream::connect(proxy.addresses[0]).unwrap();
        client.write_all(b"PING\r\n").unwrap();
        client.read_exact(&mut [0; 7]).unwrap();
        proxy.signal(Signal::TERM);
        proxy.wait_for_line("stopping");
        proxy.signal(second);
        let ended = proxy.ended();
        assert_eq!(ended.code, Some(code), "{}", ended.stderr);
        assert!(!ended.stderr.contains("stopped"), "{}", ended.stderr);
    }
}

#[test]
fn healthcheck_tells_a_running_proxy_from_none() {
    let proxy = serve(UNUSED, &[]);
    let address = proxy.addresses[0].to_string();
    let arguments = ["--healthcheck", "--listen", &address, "--upstream", UNUSED];
    let healthy = run(command(&arguments));
    assert_eq!((healthy.code, healthy.stderr.as_str()), (Some(0), ""));

    proxy.signal(Signal::TERM);
    assert_eq!(proxy.ended().code, Some(0));
    let unhealthy = run(command(&arguments));
    assert_eq!(unhealthy.code, Some(1));
    assert!(unhealthy.stderr.contains(&address), "{}", unhealthy.stderr);
}

#[test]
fn a_dead_redis_is_one_line_however_many_clients_ask() {
    let mut proxy = serve(UNUSED, &["--connect-retry", "off"]);
    for _ in 0..20 {
        let mut client = TcpStream::connect(proxy.addresses[0]).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        assert_eq!(client.read(&mut [0; 1]).unwrap(), 0, "closed without an answer");
    }
    proxy.wait_for_line("cannot reach Redis");
    proxy.signal(Signal::TERM);
    let ended = proxy.ended();
    assert_eq!(ended.stderr.matches("cannot reach Redis").count(), 1, "{}", ended.stderr);
}

#[test]
fn clients_beyond_the_limit_on_open_files_are_told_so_as_redis_tells_them() {
    let redis = RealRedis::start(&[]);
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"ulimit -n 70; exec "$0" "$@""#, env!("CARGO_BIN_EXE_redistributed")]);
    let arguments = ["--listen", "127.0.0.1:0", "--upstream", &redis.url(), "--threads", "1"];
    let proxy = Spawned::start(without_environment(shell, &arguments), 1);
    // Two file descriptors a connection, four a thread, and 64 for all else: there is room for one.
    let mut first = TcpStream::connect(proxy.addresses[0]).unwrap();
    first.write_all(b"PING\r\n").unwrap();
    let mut reply = [0; 7];
    first.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"+PONG\r\n");
    let mut refused = String::new();
    TcpStream::connect(proxy.addresses[0]).unwrap().read_to_string(&mut refused).unwrap();
    assert_eq!(refused, "-ERR max number of clients reached\r\n");
}

#[test]
fn threads_take_file_descriptors_that_connections_cannot_have() {
    let redis = RealRedis::start(&[]);
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"ulimit -n 200; exec "$0" "$@""#, env!("CARGO_BIN_EXE_redistributed")]);
    let arguments = ["--listen", "127.0.0.1:0", "--upstream", &redis.url(), "--threads", "32"];
    let proxy = Spawned::start(without_environment(shell, &arguments), 1);
    // 200 less 64 and 4 for each thread: four connections.
    let mut served: Vec<TcpStream> = (0..4).map(|_| TcpStream::connect(proxy.addresses[0]).unwrap()).collect();
    for client in &mut served {
        exchange(client, b"PING\r\n", b"+PONG\r\n").unwrap();
    }
    let mut refused = String::new();
    TcpStream::connect(proxy.addresses[0]).unwrap().read_to_string(&mut refused).unwrap();
    assert_eq!(refused, "-ERR max number of clients reached\r\n");
}

/// Only Linux lets a process change the limits of another.
#[cfg(target_os = "linux")]
#[test]
fn running_out_of_file_descriptors_is_one_line_and_passes() {
    use rustix::process::{Resource, Rlimit, prlimit};

    let redis = RealRedis::start(&[]);
    let mut proxy = serve(&redis.url(), &[]);
    // Behind its back: at its start the proxy limits its connections to what there is room for.
    prlimit(Some(proxy.pid()), Resource::Nofile, Rlimit { current: Some(24), maximum: Some(1024) }).unwrap();
    let mut clients: Vec<TcpStream> = (0..24).map(|_| TcpStream::connect(proxy.addresses[0]).unwrap()).collect();
    proxy.wait_for_line("cannot accept connections");
    clients.clear();

    // The sockets of those clients are closed one after the other, so the first ones that come now may still find none.
    let started = std::time::Instant::now();
    while ping(proxy.addresses[0]).is_err() {
        assert!(started.elapsed() < crate::support::DEADLINE, "nobody was served again");
    }
    proxy.signal(Signal::TERM);
    let ended = proxy.ended();
    assert_eq!(ended.code, Some(0));
    assert_eq!(ended.stderr.matches("cannot accept connections").count(), 1, "{}", ended.stderr);
}
