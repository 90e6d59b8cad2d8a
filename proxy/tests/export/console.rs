//! `OTEL_TRACES_EXPORTER=console`: the trees, lines and objects that a person or a program reads on standard output.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use redistributed::settings::otel::OtelSettings;
use redistributed_core::printable::is_unfit;
use redistributed_core::trace::{Operation, SpanId, SpanRecord, UnixNanos};
use rustix::process::Signal;
use serde_json::Value;

use super::process::{again, is_child};
use super::setup::{Exporter, LONG, context, publish};
use crate::support::redis::RealRedis;
use crate::support::spawn::{Ended, Spawned, command};
use crate::support::within;

/// The exporter of the second process.
fn exporter() -> Exporter {
    Exporter::start(OtelSettings::from_lookup(&|name| std::env::var(name).ok()).unwrap().0)
}

/// A delivery of the message of [`publish`]`(1)`, so many milliseconds later.
fn delivery(span: u64, after: u64) -> SpanRecord {
    let operation = Operation::Deliver { channel: "reports".into(), pattern: None, sharded: false, body_size: 9 };
    let start = UnixNanos(1_700_000_000_000_000_001 + after * 1_000_000);
    SpanRecord { parent: SpanId::from_u64(1), ..SpanRecord::new(context(0xabc, span), start, operation) }
}

fn variables(delay: &str) -> Vec<(&'static str, String)> {
    vec![("OTEL_TRACES_EXPORTER", "console".to_owned()), ("OTEL_BSP_SCHEDULE_DELAY", delay.to_owned())]
}

#[tokio::test]
async fn parents_stand_before_their_children_in_whatever_order_they_come() {
    if is_child() {
        let exporter = exporter();
        for record in [delivery(3, 4), delivery(2, 2), publish(1)] {
            exporter.sink().offer(&record);
        }
        assert_eq!(exporter.shutdown(LONG).await.sent, 3);
        return;
    }
    // An hour: only the end prints what is held.
    let name = "export::console::parents_stand_before_their_children_in_whatever_order_they_come";
    let output = String::from_utf8(again(name, variables("3600000")).await.stdout).unwrap();
    let expected = "\
2023-11-14T22:13:20.000Z  trace 00000000000000000000000000000abc  3 spans, 1 service, 4.00 ms
      start       took
    0.00 ms    0.50 ms  api     publish reports  4 receivers  ━━━━
    2.00 ms    0.00 ms  ├─ api  process reports                              ━
    4.00 ms    0.00 ms  └─ api  process reports                                           ━
";
    let shown = output.find("2023-11-14").map(|at| &output[at..]).unwrap_or_default();
    let lines =
        |text: &str| text.lines().take(5).map(|line| line.replace('━', "").trim_end().to_owned()).collect::<Vec<_>>();
    assert_eq!(lines(shown), lines(expected), "{output}");
}

#[tokio::test]
async fn a_span_that_comes_after_its_trace_was_printed_continues_it() {
    if is_child() {
        let exporter = exporter();
        // A span counts as sent when it has been printed.
        let printed = async |spans| within("printing", async { while exporter.summary().sent < spans {} }).await;
        exporter.sink().offer(&delivery(2, 2));
        printed(1).await;
        exporter.sink().offer(&publish(1));
        printed(2).await;
        exporter.sink().offer(&delivery(3, 30));
        assert_eq!(exporter.shutdown(LONG).await.sent, 3);
        return;
    }
    let name = "export::console::a_span_that_comes_after_its_trace_was_printed_continues_it";
    let output = String::from_utf8(again(name, variables("10")).await.stdout).unwrap();
    for line in [
        "2023-11-14T22:13:20.002Z  trace 00000000000000000000000000000abc  1 span, ",
        "    0.00 ms    0.00 ms  api  process reports  parent 0000000000000001 not here",
        "2023-11-14T22:13:20.000Z continued  trace 00000000000000000000000000000abc  1 span, ",
        "   -2.00 ms    0.50 ms  api  publish reports  4 receivers, parent of spans above",
        "2023-11-14T22:13:20.030Z continued  trace 00000000000000000000000000000abc  1 span, ",
        "   28.00 ms    0.00 ms  api  process reports  parent publish reports above",
    ] {
        assert_eq!(output.lines().filter(|shown| shown.starts_with(line)).count(), 1, "{line:?} in\n{output}");
    }
}

/// Publishes on this channel through a proxy that prints spans, and ends the proxy before a trace would be due.
fn printed(more: &[&str], channel: &str) -> Ended {
    let redis = RealRedis::start(&[]);
    let mut with_console = command(&[&["--listen", "127.0.0.1:0", "--upstream", &redis.url()], more].concat());
    with_console.env("OTEL_TRACES_EXPORTER", "console").env("OTEL_SERVICE_NAME", channel);
    with_console.env("OTEL_BSP_SCHEDULE_DELAY", "3600000");
    let proxy = Spawned::start(with_console, 1);
    publish_to(&proxy, channel);
    proxy.signal(Signal::TERM);
    let ended = proxy.ended();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("spans_sent=1 spans_failed=0 spans_dropped=0 spans_unsent=0"), "{}", ended.stderr);
    ended
}

fn publish_to(proxy: &Spawned, channel: &str) {
    let mut client = TcpStream::connect(proxy.addresses[0]).unwrap();
    client.set_read_timeout(Some(crate::support::DEADLINE)).unwrap();
    let request = format!("*3\r\n$7\r\nPUBLISH\r\n${}\r\n{channel}\r\n$5\r\nhello\r\n", channel.len());
    client.write_all(request.as_bytes()).unwrap();
    let mut reply = [0; 4];
    client.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b":0\r\n");
}

#[test]
fn what_is_held_is_printed_before_the_process_ends() {
    let ended = printed(&[], "orders");
    let lines: Vec<&str> = ended.stdout.lines().collect();
    let [heading, columns, publish, empty] = lines[..] else { panic!("not four lines:\n{}", ended.stdout) };
    assert!(heading.contains("Z  trace ") && heading.contains("  1 span, 1 service, "), "{heading}");
    assert_eq!([columns, empty], ["      start       took", ""]);
    assert!(publish.contains("  orders  publish orders  0 receivers  ━"), "{publish}");
    assert!(!ended.stdout.contains('\x1b'), "no colour where there is no terminal");
}

#[test]
fn json_has_an_object_for_each_span() {
    for option in ["--console-format=json", "--format=json"] {
        let ended = printed(&[option], "orders");
        let span: Value = serde_json::from_str(&ended.stdout).expect("one object");
        let text = |name: &str| span[name].as_str().unwrap_or_default().to_owned();
        assert_eq!(
            ["service", "kind", "name"].map(text),
            ["orders", "PRODUCER", "publish orders"].map(str::to_owned),
            "{span}"
        );
        assert_eq!(
            (&span["parent"], &span["receivers"], &span["bytes"]),
            (&Value::Null, &0.into(), &5.into()),
            "{span}"
        );
        assert_eq!((text("trace").len(), text("span").len(), text("time").len()), (32, 16, 30), "{span}");
        assert!(span["took_ns"].as_u64().is_some_and(|took| took > 0), "{span}");
    }
}

#[test]
fn lines_have_one_for_each_span() {
    let ended = printed(&["--console-format", "lines"], "orders");
    assert!(ended.stdout.contains("Z PRODUCER publish orders "), "{}", ended.stdout);
    assert!(ended.stdout.ends_with(" parent=- receivers=0 service=orders\n"), "{}", ended.stdout);
}

#[test]
fn names_from_elsewhere_are_shown_and_not_obeyed() {
    let hostile = "a\r\n\u{1b}c\u{9b}31m\u{2028}\u{202e}FORGED";
    for (format, lines) in [("tree", 4), ("lines", 1), ("json", 1)] {
        let shown = printed(&["--console-format", format], hostile).stdout;
        assert!(shown.contains("FORGED"), "{shown}");
        assert!(!shown.contains(|c| c != '\n' && is_unfit(c)), "{format}: {}", shown.escape_unicode());
        assert_eq!(shown.lines().count(), lines, "{format}: {shown}");
    }
}

#[test]
fn a_reader_that_has_left_costs_the_spans_and_nothing_else() {
    let redis = RealRedis::start(&[]);
    for format in ["tree", "json"] {
        let arguments = ["--listen", "127.0.0.1:0", "--upstream", &redis.url(), "--console-format", format];
        let mut with_console = command(&arguments);
        with_console.env("OTEL_TRACES_EXPORTER", "console").env("OTEL_BSP_SCHEDULE_DELAY", "10");
        with_console.args(["--follow", "off"]);
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        with_console.stdout(writer);
        let mut proxy = Spawned::start(with_console, 1);
        publish_to(&proxy, "orders");
        let line = proxy.wait_for_line("spans were lost");
        assert!(line.contains("cannot write to standard output: Broken pipe"), "{line}");
        publish_to(&proxy, "orders");
        proxy.signal(Signal::TERM);
        let stopped = proxy.wait_for_line("stopped");
        assert!(stopped.contains("spans_sent=0 spans_failed=2 spans_dropped=0 spans_unsent=0"), "{stopped}");
    }
}

#[test]
fn a_form_without_the_exporter_is_warned_of() {
    let check = |exporter| {
        let mut check: Command = command(&["--check-config", "--listen", "1", "--upstream", "h", "--format", "json"]);
        check.env("OTEL_TRACES_EXPORTER", exporter);
        crate::support::spawn::run(check)
    };
    let idle = check("otlp");
    assert!(idle.stderr.contains("--console-format has no effect without OTEL_TRACES_EXPORTER=console"), "{idle:?}");
    let used = check("console");
    assert_eq!(used.stderr, "");
    assert!(used.stdout.contains("\nconsole-format = json "), "{}", used.stdout);
}
