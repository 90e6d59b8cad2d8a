//! The proxy at its limit on open files. Connected clients notice nothing, the log says what is missing, and new
//! clients are served as soon as descriptors are free.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::faults::traffic::Traffic;
use crate::faults::wire::{Reply, Wire};
use crate::faults::{proxy, seed, stop};
use crate::support::DEADLINE;
use crate::support::redis::RealRedis;

fn allow(pid: Pid, files: u64) {
    let limit = Rlimit { current: Some(files), maximum: Some(20_000) };
    prlimit(Some(pid), Resource::Nofile, limit).expect("the process is ours");
}

/// The limit with which the process can open exactly one more file, because all other descriptors below it are taken.
fn room_for_one(pid: Pid) -> u64 {
    let path = format!("/proc/{}/fd", pid.as_raw_nonzero());
    let names = std::fs::read_dir(path).expect("the process is ours").map(|entry| entry.expect("a name").file_name());
    let taken: Vec<u64> = names.map(|name| name.to_string_lossy().parse().expect("a number")).collect();
    (0..).filter(|number| !taken.contains(number)).nth(1).expect("numbers do not end")
}

/// `proxy/docs/limits.md`, "Bounds": open files. `tests/process.rs` tests the case in which no descriptor is left to
/// accept.
#[test]
fn a_proxy_without_a_descriptor_for_redis_closes_new_clients_and_serves_the_others() {
    let redis = RealRedis::start(&[]);
    let mut proxy = proxy(&redis, &["--max-connections", "100"]);
    let traffic = Traffic::start(proxy.addresses[0], seed(), 1, 2);
    traffic.wait_for(100);

    // This is enough for one side of a connection.
    allow(proxy.pid(), room_for_one(proxy.pid()));
    let mut refused = Wire::open(proxy.addresses[0]).expect("it is accepted");
    let ended = refused.reply().expect_err("there is no Redis to answer");
    assert_eq!(ended.kind(), std::io::ErrorKind::UnexpectedEof, "closed at once");
    let line = proxy.wait_for_line("open files");
    assert!(line.contains("WARN") && !line.contains("cannot reach Redis"), "{line}");
    traffic.wait_for(100);

    allow(proxy.pid(), 1000);
    let started = Instant::now();
    while Wire::open(proxy.addresses[0]).and_then(|mut wire| wire.ask(&[b"PING"])).ok()
        != Some(Reply::Simple("PONG".to_owned()))
    {
        assert!(started.elapsed() < DEADLINE, "nobody was served again");
        std::thread::sleep(Duration::from_millis(5));
    }
    let outcome = traffic.end();
    assert!(outcome.missed().iter().all(|missed| *missed == 0), "who was connected has missed messages");
    assert!(outcome.received.iter().all(|runs| runs.len() == 1));
    stop(proxy);
}
