//! `redistributed decode`, tested on the binary with messages and entries from a real Redis.

use std::io::Write;
use std::process::{Output, Stdio};

use crate::support::in_process::InProcess;
use crate::support::redis::RealRedis;
use crate::support::spawn::command;
use crate::support::wire::{Wire, request};
use crate::support::{connect, expect, send, within};
use tokio::io::AsyncReadExt;

fn decode(arguments: &[&str], input: &[u8]) -> Output {
    let mut command = command(&[&["decode"], arguments].concat());
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    // A process that rejects its arguments does not read its input.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

#[tokio::test]
async fn a_payload_of_a_subscriber_without_a_proxy_is_reported_and_can_be_stripped() {
    let redis = RealRedis::start(&[]);
    let proxy = InProcess::start(&redis.url(), &["--carrier", "js=json"]).await;
    for (channel, payload, form) in [("ch", "hello", "a trailer, version 1"), ("js", "{}   ", "JSON object")] {
        let mut subscriber = connect(redis.address()).await;
        send(&mut subscriber, format!("SUBSCRIBE {channel}\r\n").as_bytes()).await;
        expect(&mut subscriber, format!("*3\r\n$9\r\nsubscribe\r\n$2\r\n{channel}\r\n:1\r\n").as_bytes()).await;
        let mut publisher = connect(proxy.address()).await;
        let request = format!("*3\r\n$7\r\nPUBLISH\r\n$2\r\n{channel}\r\n$5\r\n{payload}\r\n");
        send(&mut publisher, request.as_bytes()).await;
        expect(&mut publisher, b":1\r\n").await;
        expect(&mut subscriber, format!("*3\r\n$7\r\nmessage\r\n$2\r\n{channel}\r\n$").as_bytes()).await;
        let mut length = String::new();
        while !length.ends_with('\n') {
            length.push(char::from(within("a length", subscriber.read_u8()).await.unwrap()));
        }
        let mut delivered = vec![0; length.trim().parse().unwrap()];
        within("a payload", subscriber.read_exact(&mut delivered)).await.unwrap();

        let output = decode(&[], &delivered);
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.code() == Some(0) && said.contains(form), "{said}");
        assert!(said.contains("5 bytes without it") && !said.contains("hello"), "{said}");
        let output = decode(&["--strip"], &delivered);
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), payload.as_bytes()));
        assert_eq!(String::from_utf8(output.stderr).unwrap(), said);
    }
}

#[tokio::test]
async fn captured_messages_are_reported_one_by_one() {
    let redis = RealRedis::start(&[]);
    let proxy = InProcess::start(&redis.url(), &[]).await;
    let mut subscriber = Wire::resp3(redis.address()).await;
    subscriber.subscribe("SUBSCRIBE orders").await;
    let (mut behind, mut direct) = (Wire::to(proxy.address()).await, Wire::to(redis.address()).await);
    behind.publish("orders", b"hunter2").await;
    direct.publish("orders", b"hunter2").await;
    let captured = [subscriber.frame().await, subscriber.frame().await].concat();
    let output = decode(&[], &captured);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.code() == Some(0) && said.contains("messages 2"), "{said}");
    assert!(said.contains("with a context 1") && said.contains("message      message orders"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
    assert_eq!(decode(&["--strip"], &captured).status.code(), Some(2));
}

#[test]
fn exit_codes_tell_none_and_wrong_usage_apart() {
    assert_eq!(decode(&[], b"hello").status.code(), Some(1));
    assert_eq!(decode(&["--input", "hex"], b"hunter2").status.code(), Some(2));
    assert_eq!(decode(&["--carrier", "mail"], b"hello").status.code(), Some(2));
    assert_eq!(decode(&["--listen", "h:1"], b"hello").status.code(), Some(2));
    let output = decode(&["payload.bin"], b"");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("standard input, as in `redistributed decode < payload`"), "{said}");
    let output = decode(&["--input", "hex"], b"hunter2");
    assert!(output.stdout.is_empty() && !String::from_utf8(output.stderr).unwrap().contains("hunter2"));
}

#[test]
fn settings_of_the_proxy_do_not_matter() {
    let mut command = command(&["decode"]);
    command.env("REDISTRIBUTED_MODE", "nonsense").env("REDISTRIBUTED_CONFIG", "/no/such");
    assert_eq!(command.output().unwrap().status.code(), Some(1));
    for arguments in [&["help", "decode"][..], &["decode", "--help"]] {
        let mut help = crate::support::spawn::command(arguments);
        let help = String::from_utf8(help.output().unwrap().stdout).unwrap();
        assert!(help.contains("Exit codes:") && help.contains("redistributed decode"), "{help}");
    }
}

#[tokio::test]
async fn the_fields_of_an_entry_in_a_stream_are_reported() {
    let redis = RealRedis::start(&[]);
    let proxy = InProcess::start(&redis.url(), &["--mode", "inject", "--stream-carrier", "jobs=field"]).await;
    let (mut behind, mut direct) = (Wire::to(proxy.address()).await, Wire::to(redis.address()).await);
    behind.call("XADD jobs * task hunter2").await;
    direct.call("XADD jobs * task hunter2").await;
    direct.send(&request(&[b"XRANGE", b"jobs", b"-", b"+"])).await;
    let reply = direct.frame().await;
    let output = decode(&[], &reply);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.code() == Some(0) && !said.contains("hunter2"), "{said}");
    assert!(said.contains("entries of streams 1, other strings shown 0; with a context 1"), "{said}");
    let output = decode(&["--strip"], &reply);
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(0), &b"$4\r\ntask\r\n$7\r\nhunter2\r\n"[..]));
}
