//! How much and how long: counts and times.

use std::num::NonZeroUsize;
use std::thread;
use std::time::Duration;

use super::checked::Limits;
use super::choices::Retry;
use super::options::Options;
use super::units;
use super::validation::Check;

/// No machine has a million sockets to spare; tokio's semaphore counts to an eighth of what a `usize` holds.
const MAX_CONNECTIONS: usize = 1_000_000;

/// More threads than this would only wait for each other.
const MAX_THREADS: usize = 256;

impl Check<'_> {
    pub(super) fn limits(&mut self, args: &Options) -> Limits {
        const TIME: &str = "write a time of at most a day with its unit, as in 500ms, 10s or 2m";
        const CONNECTIONS: &str = "write a number from 1 to 1000000";
        const THREADS: &str = "write a number from 1 to 256, or leave it out";
        let mut count = |setting, text: &str, most, remedy| {
            let counted = units::count(text, most).map(Some);
            self.or_refuse(counted, (setting, text, remedy)).unwrap_or(NonZeroUsize::MIN)
        };
        let max_connections = count("--max-connections", &args.max_connections, MAX_CONNECTIONS, CONNECTIONS).get();
        let threads = match args.threads.as_deref().filter(|text| !text.trim().is_empty()) {
            None => thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            Some(text) => count("--threads", text, MAX_THREADS, THREADS),
        };
        let mut above_zero = |setting, text: &str, problem: &str| {
            let parsed = match units::duration(text) {
                Ok(Duration::ZERO) => Err(problem.to_owned()),
                parsed => parsed.map_err(|problem| problem.to_string()),
            };
            self.or_refuse(parsed, (setting, text, TIME))
        };
        let connect_timeout =
            above_zero("--connect-timeout", &args.connect_timeout, "no connection is made in no time");
        let handshake_timeout =
            above_zero("--handshake-timeout", &args.handshake_timeout, "no handshake is over in no time");
        let connect_retry = args.connect_retry == Retry::On;
        let mut time = |setting, text: &str| self.or_refuse(units::duration(text), (setting, text, TIME));
        let drain_timeout = time("--drain-timeout", &args.drain_timeout);
        let flush_timeout = time("--flush-timeout", &args.flush_timeout);
        Limits {
            max_connections,
            threads,
            connect_timeout,
            connect_retry,
            handshake_timeout,
            drain_timeout,
            flush_timeout,
        }
    }
}
