//! Under a service manager: sockets that it passes (`LISTEN_FDS`), and what it is told (`NOTIFY_SOCKET`).

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::Signal;

use crate::support::DEADLINE;
use crate::support::redis::RealRedis;
use crate::support::spawn::{Spawned, command, run};

/// Passes an open socket to `command`, as systemd does, but with the number that it has here.
fn pass(command: &mut Command, socket: &impl AsRawFd) {
    command.env("LISTEN_FDS", "1").env("LISTEN_FDS_FIRST_FD", socket.as_raw_fd().to_string());
}

fn inherited(listener: TcpListener) -> TcpListener {
    fcntl_setfd(&listener, FdFlags::empty()).expect("a socket of ours");
    listener
}

fn behind(listener: &TcpListener, redis: &RealRedis) -> Command {
    let address = listener.local_addr().unwrap().to_string();
    let mut command = command(&["--listen", &address, "--upstream", &redis.url()]);
    pass(&mut command, listener);
    command
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    Ok(stream)
}

fn ping(stream: &mut (impl Read + Write)) -> io::Result<()> {
    stream.write_all(b"PING\r\n")?;
    let mut reply = [0; 7];
    stream.read_exact(&mut reply)?;
    assert_eq!(reply.escape_ascii().to_string(), "+PONG\\r\\n");
    Ok(())
}

#[test]
fn a_client_waits_while_nobody_serves_the_socket_instead_of_being_refused() {
    let redis = RealRedis::start(&[]);
    let listener = inherited(TcpListener::bind("127.0.0.1:0").unwrap());
    let address = listener.local_addr().unwrap();
    let old = Spawned::start(behind(&listener, &redis), 1);
    assert_eq!(old.addresses, [address]);
    ping(&mut connect(address).unwrap()).unwrap();
    old.signal(Signal::TERM);
    assert_eq!(old.ended().code, Some(0));

    let mut waiting = connect(address).unwrap();
    let _new = Spawned::start(behind(&listener, &redis), 1);
    ping(&mut waiting).unwrap();
}

#[test]
fn an_upgrade_refuses_no_connection_and_answers_every_command() {
    let redis = RealRedis::start(&[]);
    let listener = inherited(TcpListener::bind("127.0.0.1:0").unwrap());
    let address = listener.local_addr().unwrap();
    let is_over = AtomicBool::new(false);
    let mut serving = Spawned::start(behind(&listener, &redis), 1);
    let answered = thread::scope(|scope| {
        let client = scope.spawn(|| -> io::Result<usize> {
            let mut answered = 0;
            while !is_over.load(Ordering::Relaxed) {
                ping(&mut connect(address)?)?;
                answered += 1;
            }
            Ok(answered)
        });
        for _ in 0..3 {
            // The new one serves before the old one is told to stop, as in a deployment that surges.
            let new = Spawned::start(behind(&listener, &redis), 1);
            let old = std::mem::replace(&mut serving, new);
            old.signal(Signal::TERM);
            assert_eq!(old.ended().code, Some(0));
        }
        is_over.store(true, Ordering::Relaxed);
        client.join().unwrap()
    });
    assert!(answered.unwrap() > 0);
}

#[test]
fn a_passed_unix_socket_keeps_its_file() {
    let redis = RealRedis::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("redis.sock");
    let listener = UnixListener::bind(&path).unwrap();
    fcntl_setfd(&listener, FdFlags::empty()).unwrap();
    let mut command = command(&["--listen", &format!("unix:{}", path.display()), "--upstream", &redis.url()]);
    pass(&mut command, &listener);
    let proxy = Spawned::start(command, 1);
    ping(&mut std::os::unix::net::UnixStream::connect(&path).unwrap()).unwrap();
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.ended().code, Some(0));
    assert!(path.exists(), "the file belongs to the service manager");
}

#[test]
fn a_socket_without_a_setting_is_refused_because_its_clients_would_wait_for_ever() {
    let listener = inherited(TcpListener::bind("127.0.0.1:0").unwrap());
    let mut command = command(&["--listen", "127.0.0.1:0", "--upstream", "redis://127.0.0.1:1"]);
    pass(&mut command, &listener);
    let ended = run(command);
    let named = format!("LISTEN_FDS `{}`", listener.local_addr().unwrap());
    assert!(ended.code == Some(3) && ended.stderr.contains(&named), "{ended:?}");
    assert!(ended.stderr.contains("no setting listens on its address"), "{ended:?}");

    // Another process was meant.
    let mut command = self::command(&["--version"]);
    pass(&mut command, &listener);
    command.env("LISTEN_PID", "1");
    assert_eq!(run(command).code, Some(0));
}

#[test]
fn the_manager_is_told_when_the_proxy_serves_reads_its_settings_and_stops() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify.sock");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(DEADLINE)).unwrap();
    let told = || {
        let mut buffer = [0; 512];
        let length = manager.recv(&mut buffer).expect("the proxy tells its state");
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    let mut command = command(&["--listen", "127.0.0.1:0", "--upstream", "redis://127.0.0.1:1"]);
    command.env("NOTIFY_SOCKET", &path);
    let proxy = Spawned::start(command, 1);
    assert_eq!(told().trim(), "READY=1");
    proxy.signal(Signal::HUP);
    let reloading = told();
    assert!(reloading.contains("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(told().trim(), "READY=1");
    proxy.signal(Signal::TERM);
    assert_eq!(told().trim(), "STOPPING=1");
    assert_eq!(proxy.ended().code, Some(0));
}
