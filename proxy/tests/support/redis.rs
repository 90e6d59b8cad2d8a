//! A real server in a directory of its own, on a free port.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
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
            if is_ready(&mut child, address) {
                let arguments = more.iter().map(ToString::to_string).collect();
                return Self { server: server.clone(), child, address, arguments, directory };
            }
        }
        panic!("{} ended at once five times; its arguments were {more:?}", server.name);
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
        assert!(is_ready(&mut self.child, self.address), "the server cannot have its port again");
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

fn command(server: &Server, directory: &std::path::Path, port: u16, more: &[&str]) -> Command {
    let mut command = Command::new(&server.program);
    if more.contains(&"--sentinel") {
        // A Sentinel requires a configuration file that it can write to.
        let file = directory.join("sentinel.conf");
        std::fs::write(&file, "").expect("the directory is ours");
        command.arg(file);
    }
    command
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .args(more)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// An address that was free a moment ago.
pub(crate) fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound address")
}

/// Waits until the server replies, and until it has closed the connection that was used to ask, which would count as a
/// client. Returns false if the server has ended. Any reply will do; a server that requires a password replies
/// `-NOAUTH`.
fn is_ready(child: &mut Child, address: SocketAddr) -> bool {
    let deadline = Instant::now() + DEADLINE;
    while Instant::now() < deadline {
        if child.try_wait().expect("a child of ours").is_some() {
            return false;
        }
        if answers(address) {
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
