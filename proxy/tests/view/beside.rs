//! `run --view`: the viewer in the process of the proxy.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use serde_json::json;

use crate::support::redis::RealRedis;
use crate::support::spawn::{address_in, as_typed, run};
use crate::support::{connect, expect, send};
use crate::view::setup::Page;

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_seen_without_a_setting_and_the_viewer_ends_with_it() {
    let redis = RealRedis::start(&[]);
    let script = r#"echo "$REDIS_URL"; read -r code; exit "$code""#;
    let mut command = as_typed(&["run", "--view", "--mode", "inject", "--", "sh", "-c", script]);
    command.env("REDIS_URL", redis.url()).env("OTEL_SERVICE_NAME", "orders").env_remove("OTEL_TRACES_EXPORTER");
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let line = log.find(|line| line.contains("transactions are shown")).unwrap();
    let page = Page(address_in(&line.replace("open http://", "address=").replace('/', " ")).unwrap());
    let mut url = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
    let mut service = connect(url.trim().trim_start_matches("redis://").parse().unwrap()).await;
    send(&mut service, b"*3\r\n$7\r\nPUBLISH\r\n$7\r\nreports\r\n$2\r\nhi\r\n").await;
    expect(&mut service, b":0\r\n").await;
    let summary = page.until(|summary| summary["spans"] == 1).await;
    assert_eq!((&summary["name"], &summary["service"]), (&json!("publish reports"), &json!("orders")));
    writeln!(child.stdin.take().unwrap(), "7").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(7));
    let rest: Vec<_> = log.collect();
    assert!(rest.iter().any(|line| line.contains("spans_sent=1 spans_failed=0")), "{rest:?}");
    tokio::net::TcpStream::connect(page.0).await.unwrap_err();
}

#[test]
fn two_places_for_spans_are_one_too_many() {
    for (variable, value, part) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318", "--view and OTEL_EXPORTER_OTLP_ENDPOINT are both set"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://a:1/x", "--view and OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
        ("OTEL_SDK_DISABLED", "true", "--view has nothing to show"),
    ] {
        let mut command = as_typed(&["run", "--view", "--", "true"]);
        command.envs([("REDIS_URL", "redis://127.0.0.1:1"), (variable, value)]);
        let ended = run(command);
        assert!(ended.code == Some(2) && ended.stderr.contains(part), "{variable}: {:?} {}", ended.code, ended.stderr);
    }
}

#[test]
fn an_address_of_ones_own_that_is_taken_is_said() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let view = format!("--view={}", taken.local_addr().unwrap());
    let mut command = as_typed(&["run", &view, "--", "true"]);
    command.env("REDIS_URL", "redis://127.0.0.1:1");
    let ended = run(command);
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("--view `127.0.0.1:") && ended.stderr.contains("something else listens there"),
        "{}",
        ended.stderr
    );
}
