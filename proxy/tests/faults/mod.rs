//! Faults around the proxy while messages flow. No message is lost, duplicated, reordered or altered that would not be
//! without the proxy, and afterwards everything goes on without intervention.
//!
//! Each fault is caused twice, without and with the proxy, with the same clients and the same checks ([`traffic`]).
//!
//! | module | what breaks |
//! |---|---|
//! | [`redis`] | Redis is killed at random moments and started again |
//! | [`clients`] | clients vanish, reset, half-close, are killed by Redis |
//! | [`stalled`] | a subscriber stops reading: Redis's own limits must act |
//! | [`paths`] | packets to Redis or to a client are lost without a word |
//! | [`silent`] | Redis says nothing, and clients leave meanwhile |
//! | [`writers`] | Redis goes, and a client that reads nothing has to learn of it |
//! | [`collector`] | the collector hangs, resets, talks nonsense, is slow, comes back |
//! | [`descriptors`] | the proxy has no file descriptors left |
//! | [`capacity`] | idle connections by the thousand, and values of hundreds of megabytes |
//!
//! The tests that are ignored by default take minutes or a gibibyte of memory; `proxy/conformance/faults/run.sh` runs
//! them. `FAULT_SEED` repeats a run with the seed that it has shown.

#![expect(clippy::print_stderr, reason = "seeds and measurements are shown")]

mod traffic;
mod wire;

mod capacity;
mod clients;
mod collector;
// Only Linux lets a process change the limits of another, and a socket lose packets.
#[cfg(target_os = "linux")]
mod descriptors;
#[cfg(target_os = "linux")]
mod paths;
mod redis;
mod silent;
mod stalled;
mod writers;

use std::net::SocketAddr;

use crate::support::redis::RealRedis;
use crate::support::spawn::{Spawned, command};

/// Starts a proxy in front of `redis`, with `more` arguments.
fn proxy(redis: &RealRedis, more: &[&str]) -> Spawned {
    Spawned::start(command(&[&["--listen", "127.0.0.1:0", "--upstream", &redis.url()], more].concat()), 1)
}

/// Stops a proxy, checks that it has logged no error or defect, and returns its log.
fn stop(proxy: Spawned) -> String {
    proxy.signal(rustix::process::Signal::TERM);
    let ended = proxy.ended();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for text in ["ERROR", "panic", "defect"] {
        assert!(!ended.stderr.contains(text), "{}", ended.stderr);
    }
    ended.stderr
}

/// The value of the counter `name` in the last line of the log; 0 if it is not there.
fn counted(log: &str, name: &str) -> u64 {
    let word = log.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    word.map_or(0, |digits| digits.parse().expect("a count"))
}

/// The seed of this run: `FAULT_SEED`, or the time.
fn seed() -> u64 {
    let chosen = std::env::var("FAULT_SEED").ok().map(|text| text.parse().expect("FAULT_SEED is a number"));
    let seed = chosen.unwrap_or_else(|| redistributed::clock::wall().0);
    eprintln!("FAULT_SEED={seed}");
    seed
}

/// Whether clients connect to Redis directly or through the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Direct,
    Proxied,
}

const BOTH_WAYS: [Way; 2] = [Way::Direct, Way::Proxied];

impl Way {
    fn address(self, redis: &RealRedis, proxy: &Spawned) -> SocketAddr {
        match self {
            Self::Direct => redis.address(),
            Self::Proxied => proxy.addresses[0],
        }
    }
}
