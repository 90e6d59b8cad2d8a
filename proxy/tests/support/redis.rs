//! A real server in a directory of its own, on a free port.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::DEADLINE;
use super::servers::{self, Server};

/// A running server. Dropping it ends the process and removes its directory.
pub(crate) struct RealRedis {
    server: Server,
    child: Child,
    address: SocketAddr,
    arguments: Vec<String>,
    directory: tempfile::TempDir,
}

impl RealRedis {
    /// Starts the chosen server without persistence and with `more` arguments, such as `["--requirepass", "x"]`.
    pub(crate) fn start(more: &[&str]) -> Self {
        Self::start_server(servers::chosen(), more)
    }

    /// Starts `server` in the same way.
    pub(crate) fn start_server(server: &Server, more: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        // Another process may take the free port before the server does, so a server that ends at once is started
        // again.
        for _ in 0..5 {
            let address = free_address();
            let mut child = command(server, directory.path(), address.port(), more)
                .spawn()
                .unwrap_or_else(|error| panic!("cannot start {}: {error}", server.program.display()));
            if is_ready(&mut child, directory.path(), address) {
                let arguments = more.iter().map(ToString::to_string).collect();
                return Self { server: server.clone(), child, address, arguments, directory };
            }
        }
        let said = said(directory.path());
        panic!("{} ended at once five times; its arguments were {more:?}, and it said:\n{said}", server.name);
    }

    /// Kills the server, as the kernel kills a process that takes too much memory.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("a child of ours");
        self.child.wait().expect("a child of ours");
    }

    /// Stops the server, which then answers nothing and takes what its system has room for, until [`resume`](Self::resume).
    pub(crate) fn suspend(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets the server go on.
    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a child of ours");
    }

    /// Starts the server again after [`kill`](Self::kill), at the same address.
    pub(crate) fn restart(&mut self) {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        let mut command = command(&self.server, self.directory.path(), self.address.port(), &arguments);
        self.child = command.spawn().expect("it has run before");
        let is_ready = is_ready(&mut self.child, self.directory.path(), self.address);
        assert!(is_ready, "the server cannot have its port again:\n{}", said(self.directory.path()));
    }

    /// The address that the server listens on.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL for `--upstream`.
    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }
}

impl Drop for RealRedis {
    fn drop(&mut self) {
        // This fails if the process has ended already, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The file of a server's directory that its log goes to.
const LOG: &str = "server.log";

/// The log of a server so far.
fn said(directory: &Path) -> String {
    let log = std::fs::read(directory.join(LOG)).expect("the log is ours");
    String::from_utf8_lossy(&log).into_owned()
}

fn command(server: &Server, directory: &Path, port: u16, more: &[&str]) -> Command {
    let mut command = Command::new(&server.program);
    if more.contains(&"--sentinel") {
        // A Sentinel requires a configuration file that it can write to.
        let file = directory.join("sentinel.conf");
        std::fs::write(&file, "").expect("the directory is ours");
        command.arg(file);
    }
    let log = File::create(directory.join(LOG)).expect("the directory is ours");
    command
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .args(more)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(Stdio::null());
    command
}

/// An address that nobody listened on a moment ago.
///
/// The system gives no port of this range to a connection or to a listener that leaves the choice to it, and no other call of
/// this process returns the same one. So nobody but another process that chooses as this one does can take it before it is used.
/// The bus of a cluster node, whose port is higher by 10,000, has a range of its own.
pub(crate) fn free_address() -> SocketAddr {
    const FIRST: u32 = 10_000;
    const PORTS: u32 = 10_000;
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    // Processes that run at the same time begin in different places.
    let begin = std::process::id().wrapping_mul(617);
    for _ in 0..PORTS {
        let number = begin.wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed)) % PORTS;
        let port = u16::try_from(FIRST + number).expect("below 20,000");
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            return listener.local_addr().expect("a bound address");
        }
    }
    panic!("somebody listens on each of {PORTS} ports from {FIRST} on");
}

/// Waits until the server says that it is ready and replies, and until it has closed the connection that was used to ask, which
/// would count as a client. Returns false if the server has ended. Any reply will do; a server that requires a password
/// replies `-NOAUTH`. A reply alone would not do, because it could come from a process that has taken the port before.
fn is_ready(child: &mut Child, directory: &Path, address: SocketAddr) -> bool {
    let deadline = Instant::now() + DEADLINE;
    while Instant::now() < deadline {
        if child.try_wait().expect("a child of ours").is_some() {
            return false;
        }
        // The second is the first thing that a Sentinel says.
        let is_up = ["Ready to accept connections", "Sentinel ID is"].iter().any(|line| said(directory).contains(line));
        if is_up && answers(address) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = child.kill();
    panic!("the server did not answer within {DEADLINE:?}");
}

fn answers(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else { return false };
    let mut answer = Vec::new();
    stream.write_all(b"PING\r\n").is_ok()
        && stream.shutdown(Shutdown::Write).is_ok()
        && stream.set_read_timeout(Some(DEADLINE)).is_ok()
        && stream.read_to_end(&mut answer).is_ok()
        && matches!(answer.first(), Some(b'+' | b'-'))
}
