//! What the tests of the plain services share: a Redis of their own, and a service as a child process whose log is read.
//! The worker's tests include this file too.

use std::cell::RefCell;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Far more than anything here takes; reached only by a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A real `redis-server` on a Unix socket, so that no port can be taken. Ends when dropped.
pub(crate) struct Redis {
    folder: TempDir,
    server: Option<Child>,
}

impl Redis {
    pub(crate) fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("redis-").tempdir().unwrap();
        let mut redis = Self { folder, server: None };
        redis.start_again();
        redis
    }

    pub(crate) fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    pub(crate) fn connect(&self) -> redis::Connection {
        redis::Client::open(self.url()).unwrap().get_connection().unwrap()
    }

    pub(crate) fn stop(&mut self) {
        let mut server = self.server.take().expect("it runs");
        server.kill().unwrap();
        server.wait().unwrap();
        let _ = std::fs::remove_file(self.socket());
    }

    pub(crate) fn start_again(&mut self) {
        let server = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--daemonize", "no", "--unixsocket"])
            .arg(self.socket())
            .current_dir(self.folder.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed: .ci/ensure-redis");
        self.server = Some(server);
        until("redis-server answers", || {
            let client = redis::Client::open(self.url()).unwrap();
            client.get_connection().is_ok_and(|mut connection| redis::cmd("PING").exec(&mut connection).is_ok())
        });
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

/// A service under test. Killed when dropped.
pub(crate) struct Service {
    process: Child,
    log: Receiver<String>,
    /// Lines that were read while another one was awaited: what a service logs from two threads has no order.
    passed_over: RefCell<Vec<String>>,
}

impl Service {
    pub(crate) fn start(program: &str, environment: &[(&str, &str)]) -> Self {
        let mut process = Command::new(program)
            .env_clear()
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(process.stderr.take().expect("it is piped"));
        let (sender, log) = channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                eprintln!("| {line}");
                // The test may have stopped listening; the pipe is read to its end all the same.
                let _ = sender.send(line);
            }
        });
        Self { process, log, passed_over: RefCell::default() }
    }

    /// Waits for a line of the log that contains `text`, and has not been awaited yet, and returns what follows `text` in it.
    pub(crate) fn await_log(&self, text: &str) -> String {
        let mut passed_over = self.passed_over.borrow_mut();
        if let Some(index) = passed_over.iter().position(|line| line.contains(text)) {
            let line = passed_over.remove(index);
            return line.split_once(text).map(|(_, rest)| rest.to_owned()).unwrap_or_default();
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let line = match self.log.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => line,
                Err(error) => panic!("no `{text}` in the log: {error}"),
            };
            if let Some((_, rest)) = line.split_once(text) {
                return rest.to_owned();
            }
            passed_over.push(line);
        }
    }

    /// Sends SIGTERM and waits for the end.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.await_end()
    }

    pub(crate) fn await_end(&mut self) -> ExitStatus {
        let mut status = None;
        until("the service ends", || {
            status = self.process.try_wait().unwrap();
            status.is_some()
        });
        status.expect("it has ended")
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Asks again until the answer is yes; fails the test after [`PATIENCE`].
pub(crate) fn until(what: &str, mut yes: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !yes() {
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
