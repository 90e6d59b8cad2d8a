//! Secrets in settings, and in a panic's message.

use std::process::Command;

use redistributed::logging;
use redistributed::settings::{Log, LogFormat, LogLevel};
use rustix::process::Signal;

use crate::discretion::canary::Canaries;
use crate::support::admin::Proxy;
use crate::support::redis::RealRedis;
use crate::support::spawn::{command, run};
use crate::support::wire::Wire;

/// The arguments and the variables.
type Case<'a> = (Vec<String>, Vec<(&'a str, String)>);

#[test]
fn in_settings_that_cannot_be_used() {
    let good: &[&str] = &["--listen", "127.0.0.1:0", "--upstream", "127.0.0.1:1"];
    let with = |more: &[&str]| [good, more].concat().iter().map(ToString::to_string).collect::<Vec<_>>();
    let upstream = |url: &str| ["--listen", "127.0.0.1:0", "--upstream", url].map(str::to_owned).to_vec();
    let mut canaries = Canaries::new();
    let mut c = |place: &str| canaries.put(place);
    let cases: Vec<Case<'_>> = vec![
        (upstream(&format!("redis://user:{}@cache:port", c("port"))), vec![]),
        (upstream(&format!("redis://:{}@", c("host"))), vec![]),
        (upstream(&format!("http://user:{}@cache:6379", c("scheme"))), vec![]),
        (with(&["--route", &format!("a=127.0.0.1:0,redis://u:{}@x:y", c("route"))]), vec![]),
        (with(&["--admin", &format!("redis://u:{}@x", c("admin"))]), vec![]),
        (with(&["--carrier", &format!("redis://u:{}@x=json", c("carrier")), "--mode-for", "x"]), vec![]),
        (with(&["--mode", &format!("redis://u:{}@x", c("mode"))]), vec![]),
        (with(&[&format!("redis://u:{}@x", c("no option"))]), vec![]),
        (with(&[&format!("--redis://u:{}@x", c("unknown option"))]), vec![]),
        (
            with(&[]),
            vec![("OTEL_EXPORTER_OTLP_ENDPOINT", format!("ftp://u:{}@x/?token={}", c("endpoint"), c("query")))],
        ),
        (with(&["--upstream-ca", &format!("redis://u:{}@x", c("file"))]), vec![]),
        (vec![], vec![("REDISTRIBUTED_UPSTREAM", format!("redis://u:{}@x:y", c("variable")))]),
    ];
    for (arguments, variables) in cases {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut command = command(&arguments);
        command.env("OTEL_TRACES_EXPORTER", "otlp").envs(variables);
        let ended = run(command);
        assert_eq!(ended.code, Some(2), "{arguments:?} can be used: {}", ended.stderr);
        assert!(!ended.stderr.is_empty());
        canaries.assert_absent("output of a process that cannot run", ended.stderr.as_bytes());
        canaries.assert_absent("output of a process that cannot run", ended.stdout.as_bytes());
    }
}

#[tokio::test]
async fn in_credentials_of_the_proxys_own() {
    let mut canaries = Canaries::new();
    let password = canaries.put("own password");
    let redis = RealRedis::start(&["--requirepass", &password]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    for (password, answer) in [(password, "+PONG"), (canaries.put("wrong password"), "-")] {
        std::fs::write(&file, &password).unwrap();
        let url = format!("redis://:{password}@{}", redis.address());
        for (upstream, more) in [(&url, None), (&redis.url(), Some(file.to_str().unwrap()))] {
            let more = more.map_or(Vec::new(), |file| vec!["--upstream-password-file", file]);
            let arguments = [&["--upstream-login", "clients", "--log-level", "trace"], &more[..]].concat();
            let proxy = Proxy::start(upstream, &arguments, &[]);
            let mut client = Wire::to(proxy.address()).await;
            client.try_send(b"PING\r\n").await;
            let (got, _) = client.until(b"\r\n").await;
            assert!(got.starts_with(answer.as_bytes()), "{}", String::from_utf8_lossy(&got));
            drop(client);
            for path in ["/config", "/readyz", "/metrics"] {
                canaries.assert_absent(path, proxy.get(path).await.1.as_bytes());
            }
            proxy.process.signal(Signal::TERM);
            let ended = tokio::task::spawn_blocking(|| proxy.process.ended()).await.unwrap();
            canaries.assert_absent("log", ended.stderr.as_bytes());
        }
    }
}

#[tokio::test]
async fn in_settings_that_are_used() {
    let mut canaries = Canaries::new();
    let collector = otlp_receiver::Receiver::start().await.unwrap();
    collector.behave(otlp_receiver::Behaviour::Refuse(otlp_receiver::Refusal::INVALID));
    let address = collector.http_addr();
    let environment = [
        ("OTEL_TRACES_EXPORTER", "otlp,console"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{address}/{}", "path")),
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            &format!("api-key={},authorization=Bearer {}", canaries.put("a"), canaries.put("b")),
        ),
        ("OTEL_BSP_SCHEDULE_DELAY", "10"),
    ];
    let proxy = Proxy::start("127.0.0.1:1", &["--log-level", "trace", "--commands", "all"], &environment);
    let mut client = Wire::to(proxy.address()).await;
    client.try_send(format!("AUTH {}\r\n", canaries.put("unreachable")).as_bytes()).await;
    client.closed().await;
    for path in ["/config", "/readyz", "/metrics"] {
        canaries.assert_absent(path, proxy.get(path).await.1.as_bytes());
    }
    proxy.process.signal(Signal::TERM);
    let ended = tokio::task::spawn_blocking(|| proxy.process.ended()).await.unwrap();
    assert!(ended.stderr.contains("cannot reach Redis"), "{}", ended.stderr);
    canaries.assert_absent("log", ended.stderr.as_bytes());
    canaries.assert_absent("console", ended.stdout.as_bytes());
}

/// The variable that makes this program the process that panics.
const PANICS: &str = "DISCRETION_PANICS_WITH";

#[test]
fn in_the_message_of_a_panic() {
    if let Ok(message) = std::env::var(PANICS) {
        logging::start(Log { format: LogFormat::Text, level: LogLevel::Trace });
        logging::report_panics();
        panic!("{message}");
    }
    let mut canaries = Canaries::new();
    let this = ["--exact", "discretion::failures::in_the_message_of_a_panic", "--nocapture"];
    let output =
        Command::new(std::env::current_exe().unwrap()).args(this).env(PANICS, canaries.put("panic")).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let shown = String::from_utf8_lossy(&text);
    assert!(!output.status.success() && shown.contains("panicked; this is a defect of the proxy"), "{shown}");
    assert!(shown.contains("failures.rs:"), "it says where: {shown}");
    canaries.assert_absent("output of a process that panicked", &text);
}
