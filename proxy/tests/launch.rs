//! `run`: a real service behind a proxy of its own, told of it by nothing but its variables.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use otlp_receiver::Receiver;
use rustix::process::{Pid, Signal, kill_process};

use crate::support::DEADLINE;
use crate::support::redis::RealRedis;
use crate::support::spawn::{Ended, as_typed, run};

/// A service that `run` has started. Dropping it kills the proxy, whose service reads the end of its input.
struct Launched {
    child: Child,
    to_service: ChildStdin,
    from_service: BufReader<ChildStdout>,
}

impl Launched {
    fn start(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = with_variables(arguments, variables);
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let to_service = child.stdin.take().unwrap();
        let from_service = BufReader::new(child.stdout.take().unwrap());
        Self { child, to_service, from_service }
    }

    /// The next line that the service has printed.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.from_service.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.to_service, "{line}").unwrap();
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn exit_code(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        // This fails if the process has ended already, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn with_variables(arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = as_typed(&[&["run"], arguments].concat());
    for name in ["REDIS_HOST", "REDIS_PORT", "CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"] {
        command.env_remove(name);
    }
    command.envs(variables.iter().copied());
    command
}

fn refused(arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
    run(with_variables(arguments, variables))
}

/// The address in a URL without credentials.
fn address(url: &str) -> SocketAddr {
    let (_, rest) = url.split_once("://").unwrap();
    rest.split('/').next().unwrap().parse().unwrap()
}

fn ask(to: SocketAddr, request: &[u8], reply: &[u8]) {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = vec![0; reply.len()];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(String::from_utf8_lossy(&answer), String::from_utf8_lossy(reply));
}

#[test]
fn a_service_finds_the_proxy_where_its_redis_was_and_its_exit_code_is_passed_on() {
    let redis = RealRedis::start(&[]);
    let url = format!("{}/3?timeout=5", redis.url());
    let script = r#"echo "$REDIS_URL"; read -r code; exit "$code""#;
    let mut service = Launched::start(&["--", "sh", "-c", script], &[("REDIS_URL", &url)]);
    let seen = service.line();
    assert!(seen.starts_with("redis://127.0.0.1:") && seen.ends_with("/3?timeout=5"), "{seen}");
    assert_ne!(address(&seen), redis.address());
    ask(redis.address(), b"SET key value\r\n", b"+OK\r\n");
    ask(address(&seen), b"GET key\r\n", b"$5\r\nvalue\r\n");
    service.tell("33");
    assert_eq!(service.exit_code(), Some(33));
    TcpStream::connect(address(&seen)).unwrap_err();
}

#[test]
fn every_redis_that_the_service_has_gets_a_proxy() {
    let (one, other) = (RealRedis::start(&[]), RealRedis::start(&[]));
    for (redis, value) in [(&one, "one"), (&other, "two")] {
        ask(redis.address(), format!("SET key {value}\r\n").as_bytes(), b"+OK\r\n");
    }
    let script = r#"echo "$REDIS_HOST:$REDIS_PORT"; echo "$CELERY_BROKER_URL"; echo "$CACHE"; read -r _"#;
    let (port, other_url, own) = (one.address().port().to_string(), other.url(), one.address().to_string());
    let variables =
        [("REDIS_HOST", "127.0.0.1"), ("REDIS_PORT", &port), ("CELERY_BROKER_URL", &other_url), ("CACHE", &own)];
    let mut service = Launched::start(&["--env", "CACHE", "--", "sh", "-c", script], &variables);
    let [pair, url, cache] = [(); 3].map(|()| service.line());
    assert_eq!(pair, cache, "one Redis has one proxy");
    let (pair, url): (SocketAddr, _) = (pair.parse().unwrap(), address(&url));
    assert!(pair != one.address() && url != other.address());
    ask(pair, b"GET key\r\n", b"$3\r\none\r\n");
    ask(url, b"GET key\r\n", b"$3\r\ntwo\r\n");
    service.tell("");
    assert_eq!(service.exit_code(), Some(0));
}

#[test]
fn signals_go_to_the_service_which_decides() {
    let redis = RealRedis::start(&[]);
    // `wait` is what a signal interrupts at once.
    let script = r#"trap 'echo usr1' USR1; trap 'kill $!; exit 8' TERM; echo ready; sleep 100 & wait; wait"#;
    let mut service = Launched::start(&["--", "sh", "-c", script], &[("REDIS_URL", &redis.url())]);
    assert_eq!(service.line(), "ready");
    service.signal(Signal::USR1);
    assert_eq!(service.line(), "usr1");
    service.signal(Signal::TERM);
    assert_eq!(service.exit_code(), Some(8));
    let killed = refused(&["--", "sh", "-c", "kill -KILL $$"], &[("REDIS_URL", &redis.url())]);
    assert_eq!(killed.code, Some(137), "{}", killed.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_spans_are_exported_and_bear_the_name_of_the_script() {
    let (redis, collector) = (RealRedis::start(&[]), Receiver::start().await.unwrap());
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("orders.sh");
    std::fs::write(&script, "#!/bin/sh\necho \"$REDIS_URL\"\nread -r _\n").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let endpoint = collector.http_endpoint();
    let variables = [
        ("REDIS_URL", redis.url()),
        ("OTEL_TRACES_EXPORTER", "otlp".to_owned()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
        ("OTEL_BSP_SCHEDULE_DELAY", "60000".to_owned()),
    ];
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let arguments = ["--mode", "inject", "--", script.to_str().unwrap()];
    let code = tokio::task::block_in_place(|| {
        let mut service = Launched::start(&arguments, &variables);
        let seen = service.line();
        ask(address(&seen), b"*3\r\n$7\r\nPUBLISH\r\n$7\r\nreports\r\n$1\r\n1\r\n", b":0\r\n");
        service.tell("");
        service.exit_code()
    });
    assert_eq!(code, Some(0));
    let spans = collector.spans();
    let names: Vec<(&str, &str)> = spans.iter().map(|span| (span.service_name(), span.span.name.as_str())).collect();
    assert_eq!(names, [("orders", "publish reports")]);
}

#[test]
fn what_is_wrong_is_said_before_anything_starts() {
    let redis = ("REDIS_URL", "redis://127.0.0.1:1");
    let service: &[&str] = &["--", "true"];
    /// Arguments, variables, the exit code, and a part of the message.
    type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], i32, &'a str);
    let cases: &[Case<'_>] = &[
        (&[], &[redis], 2, "<COMMAND>"),
        (&["true"], &[redis], 2, "put `--` in front of the service's command"),
        (&["--http", "1,2", "true", "--no-such"], &[redis], 2, "put `--` in front of the service's command"),
        (service, &[], 2, "nothing names the service's Redis: set REDIS_URL"),
        (service, &[("REDIS_URL", "")], 2, "nothing names the service's Redis: set REDIS_URL"),
        (service, &[("REDIS_URL", "127.0.0.1:6379")], 2, "REDIS_URL does not name a Redis: write redis://host:port"),
        (service, &[("REDIS_URL", "http://cache:6379")], 2, "REDIS_URL does not name a Redis: write redis://host:port"),
        (service, &[("REDIS_URL", "redis://a:1,b:2")], 2, "REDIS_URL names several servers"),
        (service, &[("REDIS_HOST", "redis"), ("REDIS_PORT", "tcp://10.0.0.1:6379")], 2, "REDIS_PORT is not a number"),
        (&["--env", "OWN", "--", "true"], &[redis], 2, "--env OWN: the variable is not set"),
        (&["--env", "OWN", "--", "true"], &[("OWN", "amqp://x")], 2, "--env OWN: its value is neither"),
        (&["--route", "a=1,b", "--", "true"], &[redis], 2, "--route cannot be used with `run`"),
        (&["--listen", "unix:/tmp/none/x", "--", "true"], &[redis], 3, "--listen"),
        (&["--mode", "no", "--", "true"], &[redis], 2, "--mode"),
        (&["--", "./no such program"], &[redis], 127, "cannot start `./no such program`"),
        (&["--", "/dev/null"], &[redis], 126, "it is not executable"),
        (&["--", "/dev"], &[redis], 126, "it is a directory"),
        (&["--view", "python", "app.py"], &[redis], 2, "put `--` in front of the service's command"),
        (&["--view", "127.0.0.1:0", "--", "true"], &[redis], 2, "as in `--view=127.0.0.1:16680`"),
        (&["--view", "--view", "--", "true"], &[redis], 2, "cannot be used multiple times"),
    ];
    for (arguments, variables, code, text) in cases {
        let ended = refused(arguments, variables);
        assert_eq!(ended.code, Some(*code), "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(text), "{arguments:?}: {}", ended.stderr);
        assert_eq!(ended.stdout, "");
    }
}

#[test]
fn options_of_the_service_are_not_read_by_the_proxy() {
    let service = ["--", "sh", "-c", r#"echo "$0" "$@""#, "--threads", "-1", "--mode", "--"];
    let ended = refused(&service, &[("REDIS_URL", "redis://127.0.0.1:1")]);
    assert_eq!((ended.code, ended.stdout.trim_end()), (Some(0), "--threads -1 --mode --"), "{}", ended.stderr);
}
