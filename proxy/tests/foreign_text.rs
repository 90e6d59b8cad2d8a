//! What others write is shown as text, and never obeyed: a Redis that answers with line breaks, escape sequences and
//! bidirectional controls, and names that hold them, looked for wherever a person reads.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;

use redistributed_core::printable::is_unfit;

use crate::support::admin::Proxy;
use crate::support::redis::RealRedis;
use crate::support::spawn::{command, run};
use crate::support::wire::Wire;

/// A word that begins a line of its own wherever the character before it is obeyed.
const FORGED: &str = "FORGED";

/// Everything that a person should not be shown as it is: C0 and C1, `DEL`, separators of lines, bidirectional controls.
const HOSTILE: &str = "\r\u{b}\u{1b}c\u{7f}\u{85}\u{9b}31m\u{2028}\u{2029}\u{202e}\u{2066}\u{200f}\u{61c}FORGED";

/// Fails if `text` holds a character that would be obeyed, except for the ends of its lines, or a line that somebody else
/// wrote.
#[track_caller]
fn assert_fit(sink: &str, text: &str) {
    assert!(text.contains(FORGED), "{sink} does not show it:\n{text}");
    for line in text.split('\n') {
        // The heads of HTTP end their lines in CRLF, and are not looked at.
        assert!(!line.contains(is_unfit), "{sink} would be obeyed: {}", line.escape_unicode());
        assert!(!line.starts_with(FORGED), "{sink} has a line that is not its own:\n{text}");
    }
}

/// A server that answers every command with `answer`.
fn answering(answer: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = move |mut stream: TcpStream, answer: &[u8]| {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut buffer) {
            // The commands that the proxy sends have no line that begins with a star but their first.
            let commands = buffer[..read].split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"*")).count();
            if stream.write_all(&answer.repeat(commands)).is_err() {
                return;
            }
        }
    };
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let answer = answer.clone();
            std::thread::spawn(move || serve(stream, &answer));
        }
    });
    address
}

fn refusing() -> SocketAddr {
    answering(format!("-ERR refused{HOSTILE}\r\n").into_bytes())
}

#[tokio::test]
async fn the_log_and_readiness_show_what_redis_answers() {
    let upstream = format!("redis://{}", refusing());
    for format in ["text", "json"] {
        let arguments = ["--mode", "auto", "--auto-interval", "50ms", "--log-format", format];
        let mut proxy = Proxy::start(&upstream, &arguments, &[]);
        let line = proxy.process.wait_for_line(FORGED);
        assert!(line.contains("mode auto"), "{line}");
        assert_fit(&format!("the log as {format}"), &line);
        let (status, page) = proxy.get("/readyz").await;
        assert_eq!(status, 503);
        assert_fit("/readyz", &page);
    }
}

#[tokio::test]
async fn check_shows_what_redis_answers() {
    let info = format!("redis_version:7{HOSTILE}\nrole:{HOSTILE}\n");
    let lying = answering(format!("${}\r\n{info}\r\n", info.len()).into_bytes());
    for format in ["text", "json"] {
        let upstream = format!("redis://{lying}");
        let command = command(&["check", "--format", format, "--listen", "127.0.0.1:0", "--upstream", &upstream]);
        let ended = tokio::task::spawn_blocking(move || run(command)).await.unwrap();
        assert_fit(&format!("check as {format}"), &ended.stdout);
        if format == "json" {
            let report: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
            assert!(report.to_string().contains('\u{202e}'), "to a program it is what Redis answered: {report}");
        }
    }
}

#[tokio::test]
async fn the_admin_port_shows_names_and_globs() {
    let redis = RealRedis::start(&[]);
    let glob = format!("a{HOSTILE}\nFORGED");
    let proxy = Proxy::start(&redis.url(), &["--mode-for", &format!("{glob}=strip"), "--exclude", &glob], &[]);
    for page in ["/mode", "/config"] {
        assert_fit(page, &proxy.get(page).await.1);
    }
    let query: String = glob.bytes().map(|byte| format!("%{byte:02x}")).collect();
    for wrong in ["channel=%5b", "route=", "limit=", ""] {
        assert_fit(wrong, &proxy.get(&format!("/tap?{wrong}{query}")).await.1);
    }
    // White space separates words there.
    let word = format!("a{}", HOSTILE.replace(char::is_whitespace, ""));
    assert_fit("PUT /mode", &proxy.ask("PUT /mode", "", &word).await.1);
    let mut watch = proxy.watch("?limit=1").await;
    Wire::to(proxy.address()).await.publish(&glob, b"x").await;
    let line = watch.text().await;
    assert_fit("the tap", &line);
    let message: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(message["channel"], glob.as_str(), "to a program it is the channel's name");
}

#[tokio::test]
async fn the_log_shows_settings_and_what_was_switched() {
    let mut proxy = Proxy::start("redis://127.0.0.1:1", &[], &[]);
    let word = format!("a{}=strip", HOSTILE.replace(char::is_whitespace, ""));
    assert_eq!(proxy.ask("PUT /mode", "", &format!("inject {word}")).await.0, 200);
    assert_fit("the log", &proxy.process.wait_for_line("mode switched"));
    let wrong = run(command(&["--listen", "127.0.0.1:0", "--upstream", &format!("h{HOSTILE}\nFORGED")]));
    assert_fit("an error at the start", &wrong.stderr);
}

#[test]
fn decode_shows_names() {
    let channel = [HOSTILE.as_bytes(), b"\nFORGED\xff"].concat();
    let head = format!("*3\r\n$7\r\nmessage\r\n${}\r\n", channel.len());
    let message = [head.as_bytes(), &channel, b"\r\n$5\r\nhello\r\n"].concat();
    for format in ["text", "json"] {
        let mut command = command(&["decode", "--input", "resp", "--format", format]);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(&message).unwrap();
        let shown = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
        assert_fit(&format!("decode as {format}"), &shown);
    }
}
