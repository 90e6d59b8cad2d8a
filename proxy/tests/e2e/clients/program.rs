//! Clients in other languages: the programs in `proxy/tests/clients`, which read one command a line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;

use crate::support::wire::Message;
use crate::support::within;

/// A running program.
pub(crate) struct Program {
    pub(crate) name: &'static str,
    child: Child,
    commands: Option<ChildStdin>,
    answers: mpsc::UnboundedReceiver<String>,
    pub(crate) messages: mpsc::UnboundedReceiver<Message>,
    folder: tempfile::TempDir,
    files: usize,
}

impl Program {
    pub(crate) fn redis_py(url: &str, protocol: u8) -> Self {
        let mut command = Command::new(installed("REDISTRIBUTED_TEST_PYTHON"));
        command.arg(source("client.py")).arg(url).arg(protocol.to_string());
        Self::start("redis-py", command)
    }

    pub(crate) fn ioredis(url: &str) -> Self {
        let mut command = Command::new("node");
        command.env("NODE_PATH", installed("REDISTRIBUTED_TEST_NODE_MODULES")).arg(source("client.js")).arg(url);
        Self::start("ioredis", command)
    }

    #[expect(clippy::disallowed_methods, reason = "what a client says is bounded by what the test asks of it")]
    fn start(name: &'static str, mut command: Command) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        command.arg(folder.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let (answer_sender, answers) = mpsc::unbounded_channel();
        let (message_sender, messages) = mpsc::unbounded_channel();
        tokio::spawn(sort_lines(child.stdout.take().expect("piped"), answer_sender, message_sender));
        Self { name, commands: child.stdin.take(), child, answers, messages, folder, files: 0 }
    }

    pub(crate) async fn publish(&mut self, how: &str, channel: &str, payload: &[u8]) -> i64 {
        let path = self.file(payload);
        let receivers = self.receivers(&format!("{how} {channel} {}", path.display())).await;
        let [receivers] = receivers[..] else { panic!("one publish was answered by {receivers:?}") };
        receivers
    }

    pub(crate) async fn transaction(&mut self, channel: &str, payloads: &[&[u8]]) -> Vec<i64> {
        let mut command = format!("transaction {channel}");
        for payload in payloads {
            command.push_str(&format!(" {}", self.file(payload).display()));
        }
        self.receivers(&command).await
    }

    pub(crate) async fn subscribe(&mut self, how: &str, name: &str) {
        let confirmation = format!("confirmed {how} {name}");
        self.send(&format!("{how} {name}")).await;
        loop {
            let answer = self.answer().await;
            if answer == confirmation {
                return;
            }
            assert!(answer.starts_with("confirmed"), "{how} {name} was answered by {answer}");
        }
    }

    /// Sends a command whose answer is the numbers of receivers.
    pub(crate) async fn receivers(&mut self, command: &str) -> Vec<i64> {
        self.send(command).await;
        loop {
            let answer = self.answer().await;
            if let Some(counts) = answer.strip_prefix("receivers ") {
                return counts.split(' ').map(|count| count.parse().expect("a number of receivers")).collect();
            }
            // A client that reconnects confirms its subscriptions without a command.
            assert!(answer.starts_with("confirmed"), "{command:.100} was answered by {answer}");
        }
    }

    pub(crate) async fn end(mut self) {
        self.commands = None;
        assert!(within("the client to end", self.child.wait()).await.expect("a child of ours").success());
    }

    async fn send(&mut self, command: &str) {
        let commands = self.commands.as_mut().expect("open until the end");
        within("a command", commands.write_all(format!("{command}\n").as_bytes()))
            .await
            .expect("the client still runs");
    }

    async fn answer(&mut self) -> String {
        within(&format!("an answer of {}", self.name), self.answers.recv()).await.expect("the client still runs")
    }

    fn file(&mut self, payload: &[u8]) -> PathBuf {
        self.files += 1;
        let path = self.folder.path().join(format!("sent-{}", self.files));
        std::fs::write(&path, payload).expect("room for a file");
        path
    }
}

/// Separates messages from answers until the program ends.
async fn sort_lines(
    stdout: ChildStdout,
    answers: mpsc::UnboundedSender<String>,
    messages: mpsc::UnboundedSender<Message>,
) {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        // After the test there is no receiver any more.
        let _ = match line.strip_prefix("message ") {
            Some(rest) => messages.send(message(rest)).is_ok(),
            None => answers.send(line).is_ok(),
        };
    }
}

/// Parses `CHANNEL PATTERN PATH`.
fn message(line: &str) -> Message {
    let words: Vec<&str> = line.split(' ').collect();
    let [channel, pattern, path] = words[..] else { panic!("{line:?} is not three words") };
    let payload = std::fs::read(path).expect("the file that the program has written");
    Message { channel: channel.to_owned(), pattern: (pattern != "-").then(|| pattern.to_owned()), payload }
}

/// A file of `proxy/tests/clients`.
pub(crate) fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

pub(crate) fn installed(variable: &str) -> OsString {
    std::env::var_os(variable).unwrap_or_else(|| {
        panic!("{variable} is not set: run `make test`, which installs the clients, or `eval \"$(.ci/ensure-clients)\"` before")
    })
}
