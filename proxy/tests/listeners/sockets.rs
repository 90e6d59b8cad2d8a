//! Unix sockets as files: their permissions, their end, and what an earlier process has left behind.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use rustix::process::Signal;

use crate::support::DEADLINE;
use crate::support::listener::{TestListener, Transport, words};
use crate::support::redis::RealRedis;
use crate::support::spawn::{Spawned, command, run};

fn is_served(listener: &TestListener) {
    let mut client = UnixStream::connect(listener.socket()).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    client.write_all(b"PING\r\n").unwrap();
    let mut reply = [0; 7];
    client.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"+PONG\r\n");
}

fn start(listener: &TestListener, redis: &RealRedis, more: &[&str]) -> Spawned {
    Spawned::start(command(&words(&listener.arguments(&redis.url(), more))), 1)
}

fn healthcheck(listener: &TestListener, redis: &RealRedis) -> Option<i32> {
    run(command(&words(&listener.arguments(&redis.url(), &["--healthcheck"])))).code
}

#[test]
fn a_socket_is_there_while_somebody_listens_and_has_the_permissions_that_are_set() {
    let (listener, redis) = (TestListener::new(Transport::Unix), RealRedis::start(&[]));
    for (more, mode) in [(&[][..], 0o660), (&["--listen-socket-mode", "0600"], 0o600)] {
        for signal in [Signal::TERM, Signal::INT] {
            let proxy = start(&listener, &redis, more);
            is_served(&listener);
            assert_eq!(std::fs::metadata(listener.socket()).unwrap().permissions().mode() & 0o777, mode);
            assert_eq!(healthcheck(&listener, &redis), Some(0));
            proxy.signal(signal);
            assert_eq!(proxy.ended().code, Some(0));
            assert!(!listener.socket().exists());
            assert_eq!(healthcheck(&listener, &redis), Some(1));
        }
    }
}

#[test]
fn a_second_signal_removes_the_socket_too() {
    let (listener, redis) = (TestListener::new(Transport::Unix), RealRedis::start(&[]));
    let mut proxy = start(&listener, &redis, &["--drain-timeout", "1h"]);
    let _open = UnixStream::connect(listener.socket()).unwrap();
    proxy.signal(Signal::TERM);
    proxy.wait_for_line("stopping");
    proxy.signal(Signal::TERM);
    proxy.ended();
    assert!(!listener.socket().exists());
}

#[test]
fn what_a_killed_process_has_left_is_replaced_and_a_running_one_is_left_alone() {
    let (listener, redis) = (TestListener::new(Transport::Unix), RealRedis::start(&[]));
    let killed = start(&listener, &redis, &[]);
    killed.signal(Signal::KILL);
    assert_eq!(killed.ended().code, None);
    assert!(listener.socket().exists());

    let _running = start(&listener, &redis, &[]);
    is_served(&listener);
    let second = run(command(&words(&listener.arguments(&redis.url(), &[]))));
    assert_eq!(second.code, Some(3), "{}", second.stderr);
    assert!(second.stderr.contains("another process listens there"), "{}", second.stderr);
    is_served(&listener);
}

#[test]
fn of_many_processes_that_start_at_once_one_serves_and_the_others_say_why_they_do_not() {
    const STARTS: usize = 6;
    let (listener, redis) = (TestListener::new(Transport::Unix), RealRedis::start(&[]));
    let arguments = listener.arguments(&redis.url(), &[]);
    for round in 0..10 {
        if round % 2 == 1 {
            // As a process leaves it that is killed.
            drop(std::os::unix::net::UnixListener::bind(listener.socket()).unwrap());
        }
        let mut started: Vec<_> = (0..STARTS).map(|_| Spawned::start(command(&words(&arguments)), 0)).collect();
        let deadline = std::time::Instant::now() + DEADLINE;
        let mut refused = 0;
        while refused + 1 < STARTS {
            assert!(std::time::Instant::now() < deadline, "round {round}: {refused} of {STARTS} were refused");
            let Some(at) = started.iter_mut().position(Spawned::has_ended) else {
                std::thread::sleep(std::time::Duration::from_millis(5));
                continue;
            };
            let ended = started.swap_remove(at).ended();
            assert_eq!(ended.code, Some(3), "round {round}: {}", ended.stderr);
            assert!(ended.stderr.contains("another process listens there"), "round {round}: {}", ended.stderr);
            refused += 1;
        }
        let mut serving = started.pop().unwrap();
        serving.wait_for_line("listening");
        is_served(&listener);
        serving.signal(Signal::TERM);
        assert_eq!(serving.ended().code, Some(0), "round {round}");
        assert!(!listener.socket().exists() && !listener.path("proxy.sock.lock").exists(), "round {round}");
    }
}

#[test]
fn a_route_may_have_sockets_on_both_sides() {
    let listener = TestListener::new(Transport::Unix);
    let behind = listener.path("redis.sock").display().to_string();
    let _redis = RealRedis::start(&["--unixsocket", &behind]);
    let route = format!("orders={},unix:{behind}", listener.listen());
    let mut proxy = Spawned::start(command(&["--route", &route, "--log-level", "debug"]), 1);
    is_served(&listener);
    let line = proxy.wait_for_line("client connected");
    assert!(line.contains(&format!("peer=process {}", std::process::id())), "{line}");
}
