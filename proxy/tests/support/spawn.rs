//! The proxy as a process: the binary that operators run.

use std::io::{self, BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use super::DEADLINE;

/// The exit code and the output of a process that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A running proxy. Dropping it kills the process.
pub(crate) struct Spawned {
    child: Child,
    /// Reads the standard output, so that the process never waits for somebody to do it.
    stdout: Option<JoinHandle<io::Result<String>>>,
    lines: mpsc::Receiver<String>,
    seen: Vec<String>,
    /// The TCP addresses that it listens on, in the order of its routes and then of its HTTP ports.
    pub(crate) addresses: Vec<SocketAddr>,
}

/// The binary with `arguments`, and without those variables of the test's environment that it would read. A proxy whose
/// upstream they name is in mode `inject` unless they name another mode, so that what happens to a message does not depend
/// on who subscribes.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let serves = arguments.iter().any(|argument| ["--upstream", "--route"].contains(argument));
    let is_about_settings = arguments
        .iter()
        .any(|argument| ["check", "--check-config", "--healthcheck", "--config", "--mode"].contains(argument));
    let mode: &[&str] = if serves && !is_about_settings { &["--mode", "inject"] } else { &[] };
    as_typed(&[arguments, mode].concat())
}

/// The binary with exactly these `arguments`, otherwise like [`command`]. `REDISTRIBUTED_BIN` names another binary than the
/// one that was built with the tests.
pub(crate) fn as_typed(arguments: &[&str]) -> Command {
    let built = env!("CARGO_BIN_EXE_redistributed").into();
    without_environment(Command::new(std::env::var_os("REDISTRIBUTED_BIN").unwrap_or(built)), arguments)
}

/// `command` with `arguments`, and without those variables of the test's environment that the proxy would read.
pub(crate) fn without_environment(mut command: Command, arguments: &[&str]) -> Command {
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("REDISTRIBUTED_") || name_text.starts_with("OTEL_") || name_text == "REDIS_URL" {
            command.env_remove(&name);
        }
    }
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env("OTEL_TRACES_EXPORTER", "none");
    // A Redis that the test plays itself should not be asked what it is.
    command.env("REDISTRIBUTED_DETECT_PROXIES", "off");
    command
}

/// Runs a command that ends by itself, and waits for its end.
pub(crate) fn run(mut command: Command) -> Ended {
    let mut child = command.spawn().expect("the binary starts");
    let status = wait(&mut child);
    let (mut stdout, mut stderr) = (String::new(), String::new());
    child.stdout.take().expect("piped").read_to_string(&mut stdout).expect("text");
    child.stderr.take().expect("piped").read_to_string(&mut stderr).expect("text");
    Ended { code: status.code(), stdout, stderr }
}

impl Spawned {
    /// Starts `command`, and waits until `routes` listeners are bound.
    pub(crate) fn start(mut command: Command, routes: usize) -> Self {
        let mut child = command.spawn().expect("the binary starts");
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let stdout = child.stdout.take().map(|mut stdout| {
            std::thread::spawn(move || {
                let mut text = String::new();
                stdout.read_to_string(&mut text).map(|_| text)
            })
        });
        let mut spawned = Self { child, stdout, lines, seen: Vec::new(), addresses: Vec::new() };
        for _ in 0..routes {
            let line = spawned.wait_for_line("listening");
            spawned.addresses.extend(address_in(&line));
        }
        spawned
    }

    /// Waits for the next line of the log that contains `text`, and returns it.
    pub(crate) fn wait_for_line(&mut self, text: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("no line with {text:?} in the log:\n{}", self.seen.join("\n"));
            };
            self.seen.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the process is ours");
    }

    /// The id of the process.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Whether the process has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child of ours").is_some()
    }

    /// Waits for the end of the process, which something else has to cause. `stderr` of the result is the whole log.
    pub(crate) fn ended(mut self) -> Ended {
        let code = wait(&mut self.child).code();
        self.seen.extend(self.lines.iter());
        let stdout = self.stdout.take().expect("piped").join().expect("no panic").expect("text");
        Ended { code, stdout, stderr: self.seen.join("\n") }
    }
}

impl Drop for Spawned {
    #[expect(clippy::print_stderr, reason = "the test that fails shows it")]
    fn drop(&mut self) {
        // This fails if the process has ended already, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            self.seen.extend(self.lines.iter());
            eprintln!("the log of a proxy of the test that failed:\n{}", self.seen.join("\n"));
        }
    }
}

/// Waits for the end of a process. Kills it and fails if that takes too long.
fn wait(child: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(status) = child.try_wait().expect("a child of ours") {
            return status;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            panic!("the process did not end within {DEADLINE:?}");
        }
        // The standard library cannot wait with a deadline.
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// The value of `address` in a log line about a listener, in text or JSON format. A Unix socket has none.
pub(crate) fn address_in(line: &str) -> Option<SocketAddr> {
    let (_, after) = line.split_once("address").expect("the line names the address");
    let value = after.trim_start_matches(['=', '"', ':', ' ']);
    let end = value.find(['"', ' ', ',']).unwrap_or(value.len());
    let value =
        value[..end].trim_start_matches("rediss://").trim_start_matches("http://").trim_start_matches("https://");
    (!value.starts_with("unix:")).then(|| value.parse().expect("an address and a port"))
}
