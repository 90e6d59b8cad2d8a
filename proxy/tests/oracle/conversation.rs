//! Conversations on several connections. Each connection must receive the same bytes with the proxy as without.
//!
//! They are in `conversations/*.txt`. Each has a title, which is the promise that it tests, followed by its
//! requirements and its steps:
//!
//! | line | what it means |
//! |---|---|
//! | `== title` | a conversation begins |
//! | `with --requirepass x` | the server has these arguments |
//! | `on redis-7.0 …` | only these servers take part |
//! | `in both protocols` | held twice: as it is, and with `HELLO 3` at the beginning of each connection |
//! | `may lose pairing: why` | the replies on its connections need not be paired with requests any more at the end |
//! | `unread: why` | the proxy does not read its connections any more at the end |
//! | `slow: why` | held once through the proxy, unless everything is asked for |
//! | `warns text` | the proxy's log may hold a warning with this text |
//! | `A: SET k "a b\r\n"` | the connection `A`, made at its first step, sends a command; words are quoted as redis-cli quotes them |
//! | `A! PING\r\n` | `A` sends these bytes as they are |
//! | `A< 2` | two frames are read on `A` |
//! | `A< "text"` | `A` is read until this text comes |
//! | `A blocked` | waits until the server says that `A` is blocked |
//! | `A closed` | waits until `A` is closed by the server |
//! | `A shuts` | `A` sends nothing more, and is read to its end |
//! | `A leaves` | `A` is closed at once; what it was sent so far counts |
//! | `# …` | nothing |
//!
//! `{A}` in a command is the client id of `A`, the word `{trailer}` is a payload that ends in a context, and `{300 x "ab"}` in any line stands for that many repetitions. At the end
//! each connection that is still open sends `RESET`, a publish (see [`crate::probe`]) and a `PING`, and is read up to the
//! `PING`'s reply. So a conversation on one connection is sent as a pipeline, and needs no reading steps.

use std::collections::BTreeMap;
use std::path::Path;

use crate::cut::Cut;
use crate::notation::{expand, unescape, words};
use crate::probe::{Expected, Probes};
use crate::support::wire::{Value, Wire, request};
use crate::support::within;
use crate::testbed::Testbed;

/// A conversation: what the lines under its title say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Conversation {
    /// The name of the file, and the title.
    pub(crate) name: String,
    /// The arguments of the server.
    pub(crate) arguments: Vec<String>,
    /// The servers that take part; if there are none, all do.
    pub(crate) servers: Vec<String>,
    pub(crate) both_protocols: bool,
    pub(crate) may_lose_pairing: bool,
    pub(crate) unread: bool,
    pub(crate) slow: bool,
    pub(crate) warnings: Vec<String>,
    steps: Vec<String>,
}

/// All conversations, in the order of their files.
pub(crate) fn all() -> Vec<Conversation> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/conversations");
    let mut paths: Vec<_> = folder.read_dir().expect("a folder").map(|entry| entry.expect("a file").path()).collect();
    paths.sort();
    paths
        .iter()
        .flat_map(|path| {
            let file = path.file_stem().expect("a file").to_string_lossy();
            parse(&file, &std::fs::read_to_string(path).expect("text"))
        })
        .collect()
}

fn parse(file: &str, text: &str) -> Vec<Conversation> {
    let mut all: Vec<Conversation> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(title) = line.strip_prefix("== ") {
            all.push(Conversation { name: format!("{file}: {title}"), ..Conversation::default() });
            continue;
        }
        let one = all.last_mut().unwrap_or_else(|| panic!("{file}: {line:?} stands before the first title"));
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        if let Some(arguments) = line.strip_prefix("with ") {
            one.arguments.extend(words(arguments));
        } else if let Some(servers) = line.strip_prefix("on ") {
            one.servers.extend(words(servers));
        } else if line == "in both protocols" {
            one.both_protocols = true;
        } else if line.starts_with("may lose pairing: ") {
            one.may_lose_pairing = true;
        } else if line.starts_with("unread: ") {
            one.unread = true;
        } else if line.starts_with("slow: ") {
            one.slow = true;
        } else if let Some(warning) = line.strip_prefix("warns ") {
            one.warnings.push(warning.to_owned());
        } else {
            one.steps.push(expand(line));
        }
    }
    all
}

/// The bytes that each connection received.
pub(crate) type Received = BTreeMap<String, Vec<u8>>;

impl Conversation {
    /// The commands that are written as words, whoever sends them.
    pub(crate) fn commands(&self) -> Vec<&str> {
        self.steps.iter().filter_map(|step| step.get(1..)?.strip_prefix(": ")).collect()
    }

    /// Holds the conversation, and returns the bytes that each connection received.
    pub(crate) async fn hold(
        &self,
        testbed: &mut Testbed,
        proxied: bool,
        resp3: bool,
        cut: Cut,
        probes: &Probes,
    ) -> Received {
        testbed.reset(&[]).await;
        let mut held =
            Held { testbed, proxied, resp3, cut, open: BTreeMap::new(), received: BTreeMap::new(), ids: Vec::new() };
        for step in &self.steps {
            held.step(step).await;
        }
        let expected = if self.may_lose_pairing { Expected::MayBeLost } else { Expected::Paired };
        let wants_probe = proxied && !self.unread && held.testbed.kind.setting.has_spans();
        held.end(&self.name, wants_probe.then_some(expected), probes).await
    }
}

/// A conversation in progress.
struct Held<'a> {
    testbed: &'a mut Testbed,
    proxied: bool,
    resp3: bool,
    cut: Cut,
    open: BTreeMap<String, Wire>,
    received: Received,
    /// The client id of each connection.
    ids: Vec<(String, i64)>,
}

impl Held<'_> {
    async fn step(&mut self, line: &str) {
        let (name, rest) = line.split_at(1);
        let what = rest.get(1..).unwrap_or_default().trim_start();
        match rest.as_bytes().first() {
            Some(b':') => {
                self.connection(name).await;
                let mut command = what.to_owned();
                for (other, id) in &self.ids {
                    command = command.replace(&format!("{{{other}}}"), &id.to_string());
                }
                let words = words(&command);
                let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
                let cut = self.cut;
                cut.send(self.connection(name).await, &request(&words)).await;
            }
            Some(b'!') => {
                let cut = self.cut;
                cut.send(self.connection(name).await, &unescape(what)).await;
            }
            Some(b'<') => self.read(name, what).await,
            Some(b' ') if what == "blocked" => {
                self.connection(name).await;
                let id = self.ids.iter().find(|(other, _)| other == name).map(|(_, id)| *id);
                wait_until_blocked(self.testbed, id.expect("a connection has an id")).await;
            }
            Some(b' ') if what == "closed" => {
                let mut wire = self.take(name);
                let rest = wire.rest().await;
                self.receive(name, &rest);
                self.receive(name, b"<closed>");
            }
            Some(b' ') if what == "shuts" => {
                let rest = self.take(name).finish().await;
                self.receive(name, &rest);
                self.receive(name, b"<ended>");
            }
            Some(b' ') if what == "leaves" => drop(self.take(name)),
            _ => panic!("{line:?} is no step"),
        }
    }

    async fn read(&mut self, name: &str, what: &str) {
        let wire = self.connection(name).await;
        let mut bytes = Vec::new();
        if let Some(quoted) = what.strip_prefix('"') {
            let text = unescape(quoted.strip_suffix('"').expect("a closing quote"));
            let (received, came) = wire.until(&text).await;
            assert!(came, "{name} was closed before {what} came, after {:?}", received.escape_ascii().to_string());
            bytes = received;
        } else {
            for _ in 0..what.parse::<usize>().expect("a number of frames") {
                bytes.extend(wire.frame().await);
            }
        }
        self.receive(name, &bytes);
    }

    async fn connection(&mut self, name: &str) -> &mut Wire {
        if !self.open.contains_key(name) {
            assert!(!self.received.contains_key(name), "{name} is closed");
            let mut wire = Wire::to(self.testbed.address(self.proxied)).await;
            // Without AUTH this is refused. A conversation about that does not need the id.
            if let Value::Integer(id) = wire.call("CLIENT ID").await {
                self.ids.push((name.to_owned(), id));
            }
            let mut first = Vec::new();
            if self.resp3 {
                wire.send(&request(&[b"HELLO", b"3"])).await;
                first = wire.frame().await;
            }
            self.received.insert(name.to_owned(), first);
            self.open.insert(name.to_owned(), wire);
        }
        self.open.get_mut(name).expect("just inserted")
    }

    fn take(&mut self, name: &str) -> Wire {
        self.open.remove(name).unwrap_or_else(|| panic!("{name} is not open"))
    }

    fn receive(&mut self, name: &str, bytes: &[u8]) {
        self.received.get_mut(name).expect("a connection").extend_from_slice(bytes);
    }

    async fn end(mut self, of: &str, expected: Option<Expected>, probes: &Probes) -> Received {
        for (name, mut wire) in std::mem::take(&mut self.open) {
            let probe = expected.map(|expected| probes.add(&format!("{of}, {name}"), expected, None));
            let channel = probe.map_or_else(|| "unchecked".to_owned(), Probes::channel);
            let mut tail = request(&[b"RESET"]);
            tail.extend(self.testbed.authentication());
            tail.extend(request(&[b"PUBLISH", channel.as_bytes(), b"x"]));
            tail.extend(request(&[b"PING", END]));
            self.cut.send(&mut wire, &tail).await;
            let (rest, came) = wire.until(b"$11\r\nthe-end-now\r\n").await;
            self.receive(&name, &rest);
            if !came {
                self.receive(&name, b"<closed>");
                probe.into_iter().for_each(|probe| probes.forget(probe));
            }
        }
        self.received
    }
}

const END: &[u8] = b"the-end-now";

async fn wait_until_blocked(testbed: &mut Testbed, id: i64) {
    let list = format!("CLIENT LIST ID {id}");
    let blocked = async {
        while !matches!(testbed.operator().call(&list).await, Value::Bulk(line) if has_flag(&line, 'b')) {
            tokio::task::yield_now().await;
        }
    };
    within("a client to be blocked", blocked).await;
}

/// Whether a line of `CLIENT LIST` has a flag.
fn has_flag(line: &[u8], flag: char) -> bool {
    let line = String::from_utf8_lossy(line);
    line.split(' ').filter_map(|word| word.strip_prefix("flags=")).any(|flags| flags.contains(flag))
}
