//! Nothing else about their Redis changed: whole conversations give the same bytes with a sidecar as without.
//!
//! The conversations are in `scripts/*.txt`, one line a step:
//!
//! | line | what happens |
//! |---|---|
//! | `A: SET k "a b\r\n"` | the connection `A`, made at its first step, sends a command; words are quoted as redis-cli quotes them |
//! | `A! PING\r\n` | `A` sends these bytes as they are |
//! | `A< 2` | two frames are read on `A` |
//! | `A blocked` | waits until Redis says that `A` is blocked |
//! | `A closed` | waits until `A` is closed by Redis |
//! | `warns TEXT` | nothing; but the sidecar's log must hold a line with this text, and no other warnings |
//! | `# …` | nothing |
//!
//! `{A}` in a command is the client id of `A`. At the end every connection half-closes and is read to its end, so a
//! conversation on one connection is sent at once, as a pipeline, and needs no reading steps.
//!
//! A conversation runs on one server, first without a sidecar and then with one, and what each connection received must be equal. What
//! must differ is made equal first: client ids in the replies of HELLO and CLIENT TRACKINGINFO, and in the lines of MONITOR times and
//! addresses.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use otlp_receiver::proto::trace::v1::span::SpanKind;

use crate::clients::POLL;
use crate::spans::Spans;
use crate::support::within;
use crate::wire::{Value, Wire, request};
use crate::world::{Sidecar, Transport, World};

const WARNS: &str = "warns ";

#[tokio::test]
async fn conversations_give_the_same_bytes() {
    let spans = compare_all(&[], &[]).await;
    let count = |kind| spans.of_kind(kind).count();
    assert!(count(SpanKind::Producer) > 20 && count(SpanKind::Consumer) > 10, "contexts were added and removed");
}

#[tokio::test]
async fn conversations_give_the_same_bytes_without_spans() {
    let spans = compare_all(&[], &[("OTEL_TRACES_SAMPLER", "always_off")]).await;
    assert_eq!(spans.0.len(), 0);
}

#[tokio::test]
async fn conversations_give_the_same_bytes_with_spans_of_all_commands() {
    let spans = compare_all(&["--commands", "all"], &[]).await;
    let count = spans.of_kind(SpanKind::Client).count();
    assert!(count > 400, "{count} spans");
}

#[tokio::test]
async fn conversations_give_the_same_bytes_while_contexts_are_only_removed() {
    let spans = compare_all(&["--mode", "strip"], &[]).await;
    assert_eq!(spans.0.len(), 0, "no message carries a context");
}

#[tokio::test]
async fn conversations_give_the_same_bytes_while_contexts_are_only_looked_at() {
    let spans = compare_all(&["--mode", "observe"], &[]).await;
    assert_eq!(spans.0.len(), 0, "no message carries a context");
}

async fn compare_all(arguments: &[&str], variables: &[(&str, &str)]) -> Spans {
    let world = World::with_redis(&["--enable-debug-command", "yes", "--proto-max-bulk-len", "2mb"]).await;
    let sidecar = world.sidecar_with("service", arguments, Transport::Http, variables);
    let paths = scripts();
    assert!(paths.len() >= 10, "the scripts are where they belong");
    let mut warnings = Vec::new();
    for path in paths {
        let script = std::fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy();
        compare(&world, &sidecar, &name, &script).await;
        warnings.extend(script.lines().filter_map(|line| line.strip_prefix(WARNS)).map(str::to_owned));
    }
    let warnings: Vec<&str> = warnings.iter().map(String::as_str).collect();
    world.spans_after_warnings([sidecar], &warnings).await
}

fn scripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/scripts");
    let mut paths: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

async fn compare(world: &World, sidecar: &Sidecar, name: &str, script: &str) {
    println!("{name} without a sidecar");
    let direct = Conversation::hold(script, world.redis.address(), world).await;
    reset(world).await;
    println!("{name} with a sidecar");
    let proxied = Conversation::hold(script, sidecar.address, world).await;
    reset(world).await;
    assert_eq!(direct.keys().collect::<Vec<_>>(), proxied.keys().collect::<Vec<_>>());
    for (connection, expected) in &direct {
        assert!(expected.len() > 4, "{name}: {connection} received next to nothing: {expected:?}");
        // By line, so that a failure shows where.
        let lines = |text: &str| text.split_inclusive("\\r\\n").map(str::to_owned).collect::<Vec<_>>();
        let (expected, got) = (lines(expected), lines(&proxied[connection]));
        let differing = expected.iter().zip(&got).position(|(expected, got)| expected != got);
        let at = differing.unwrap_or(expected.len().min(got.len()));
        let around = |lines: &[String]| {
            let near = &lines[at.saturating_sub(4)..lines.len().min(at + 3)];
            near.iter().map(|line| format!("{line:.300}\n")).collect::<String>()
        };
        assert!(
            expected == got,
            "{name}: {connection} without a sidecar:\n{}\nand with one:\n{}",
            around(&expected),
            around(&got)
        );
    }
}

async fn reset(world: &World) {
    let mut operator = world.direct().await;
    for command in ["FLUSHALL", "SCRIPT FLUSH", "FUNCTION FLUSH", "CONFIG RESETSTAT"] {
        assert_eq!(operator.call(command).await, Value::Status("OK".into()));
    }
}

/// What each connection received, escaped, with what must differ made equal.
struct Conversation<'a> {
    server: SocketAddr,
    world: &'a World,
    connections: BTreeMap<String, Connection>,
}

struct Connection {
    wire: Wire,
    id: i64,
    received: Vec<u8>,
}

impl<'a> Conversation<'a> {
    async fn hold(script: &str, server: SocketAddr, world: &'a World) -> BTreeMap<String, String> {
        let mut conversation = Self { server, world, connections: BTreeMap::new() };
        let is_step = |line: &&str| !line.is_empty() && !line.starts_with('#') && !line.starts_with(WARNS);
        for line in script.lines().filter(is_step) {
            println!("  {line}");
            conversation.step(line).await;
        }
        conversation.end().await
    }

    async fn step(&mut self, line: &str) {
        let (name, rest) = line.split_at(1);
        let what = rest[1..].trim_start();
        match rest.as_bytes()[0] {
            b':' => {
                let mut command = what.to_owned();
                for (other, connection) in &self.connections {
                    command = command.replace(&format!("{{{other}}}"), &connection.id.to_string());
                }
                let words = words(&command);
                let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
                self.connection(name).await.wire.send(&request(&words)).await;
            }
            b'!' => {
                let bytes = unescape(what);
                self.connection(name).await.wire.send(&bytes).await;
            }
            b'<' => {
                let connection = self.connection(name).await;
                for _ in 0..what.parse::<usize>().expect("a number of frames") {
                    let frame = connection.wire.frame().await;
                    connection.received.extend_from_slice(&frame);
                }
            }
            b' ' if what == "blocked" => {
                let id = self.connection(name).await.id;
                wait_until_blocked(self.world, id).await;
            }
            b' ' if what == "closed" => self.connection(name).await.wire.closed().await,
            _ => panic!("{line:?} is no step"),
        }
    }

    async fn connection(&mut self, name: &str) -> &mut Connection {
        if !self.connections.contains_key(name) {
            let mut wire = Wire::to(self.server).await;
            let Value::Integer(id) = wire.call("CLIENT ID").await else { panic!("no id") };
            self.connections.insert(name.to_owned(), Connection { wire, id, received: Vec::new() });
        }
        self.connections.get_mut(name).expect("just inserted")
    }

    async fn end(self) -> BTreeMap<String, String> {
        let ids: Vec<(String, i64)> = self.connections.iter().map(|(name, one)| (name.clone(), one.id)).collect();
        let mut texts = BTreeMap::new();
        for (name, mut connection) in self.connections {
            connection.received.extend(connection.wire.finish().await);
            texts.insert(name, comparable(&connection.received, &ids));
        }
        texts
    }
}

async fn wait_until_blocked(world: &World, id: i64) {
    let mut operator = world.direct().await;
    let list = format!("CLIENT LIST ID {id}");
    let blocked = async {
        while !matches!(operator.call(&list).await, Value::Bulk(line) if has_flag(&line, 'b')) {
            tokio::time::sleep(POLL).await;
        }
    };
    within("a client to be blocked", blocked).await;
}

/// Whether a line of `CLIENT LIST` has a flag.
fn has_flag(line: &[u8], flag: char) -> bool {
    let line = String::from_utf8_lossy(line);
    line.split(' ').filter_map(|word| word.strip_prefix("flags=")).any(|flags| flags.contains(flag))
}

/// Escaped text, with the client ids of this run, and times and addresses of MONITOR's lines, replaced.
fn comparable(received: &[u8], ids: &[(String, i64)]) -> String {
    let mut text = received.escape_ascii().to_string();
    for (name, id) in ids {
        for field in [r"$2\r\nid\r\n", r"$8\r\nredirect\r\n"] {
            text = text.replace(&format!(r"{field}:{id}\r\n"), &format!(r"{field}:<id of {name}>\r\n"));
        }
    }
    let line = |line: &str| match line.split_once(" [0 ") {
        Some((time, rest)) if time.starts_with('+') && time[1..].bytes().all(|b| b.is_ascii_digit() || b == b'.') => {
            format!("+<time> [0 <address>{}", rest.find(']').map_or(rest, |end| &rest[end..]))
        }
        _ => line.to_owned(),
    };
    text.split_inclusive("\\r\\n").map(line).collect()
}

/// A command's words: separated by spaces, or in double quotes with `\r`, `\n`, `\"`, `\\` and `\xHH`.
fn words(text: &str) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let end = if rest.starts_with('"') {
            let mut escaped = false;
            let closing = |c: char| {
                let closes = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                closes
            };
            let end = 1 + rest[1..].find(closing).expect("a closing quote");
            words.push(unescape(&rest[1..end]));
            end + 1
        } else {
            let end = rest.find(' ').unwrap_or(rest.len());
            words.push(rest[..end].as_bytes().to_vec());
            end
        };
        rest = rest[end..].trim_start();
    }
    words
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'\\' {
            bytes.push(first);
            continue;
        }
        let (&escape, after) = rest.split_first().expect("something after a backslash");
        rest = after;
        bytes.push(match escape {
            b'r' => b'\r',
            b'n' => b'\n',
            b'x' => {
                let (digits, after) = rest.split_at(2);
                rest = after;
                u8::from_str_radix(std::str::from_utf8(digits).expect("digits"), 16).expect("two hex digits")
            }
            other => other,
        });
    }
    bytes
}
