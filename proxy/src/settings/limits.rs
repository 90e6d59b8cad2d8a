//! Limits and timeouts of the whole process.

use std::num::NonZeroUsize;
use std::thread;
use std::time::Duration;

use clap::Args;
use redistributed_core::choice::choice;

use super::choices::parser;
use super::units::{self, format_duration};
use super::validation::Validation;
use super::values::Values;

/// The largest `--max-connections`. No machine has a million sockets to spare, and tokio's semaphore counts to an eighth of what
/// a `usize` holds.
const MAX_CONNECTIONS: usize = 1_000_000;

/// The largest `--threads`. More threads would only wait for each other.
const MAX_THREADS: usize = 256;

/// The options of limits and timeouts.
#[derive(Clone, Args)]
#[command(next_help_heading = "Limits and timeouts")]
pub(crate) struct LimitOptions {
    /// Client connections at a time, over all routes; one more gets the error that Redis would send, and is closed
    #[arg(long, value_name = "N", default_value = "10000")]
    max_connections: String,

    /// Threads that carry connections (default: one for each processor that the process may use)
    #[arg(long, value_name = "N")]
    threads: Option<String>,

    /// How long a connection to Redis may take to be made
    #[arg(long, value_name = "TIME", default_value = "5s")]
    connect_timeout: String,

    /// Whether a failed connection is tried again within that time, if the failure may pass (refused, unknown name)
    #[arg(long, value_parser = parser::<ConnectRetry>(), default_value_t)]
    connect_retry: ConnectRetry,

    /// How long the TLS handshake of a client may take
    #[arg(long, value_name = "TIME", default_value = "5s")]
    handshake_timeout: String,

    /// How long open connections may go on after a signal to stop
    #[arg(long, value_name = "TIME", default_value = "5s")]
    drain_timeout: String,

    /// How long the last spans may take to be sent after that
    #[arg(long, value_name = "TIME", default_value = "3s")]
    flush_timeout: String,
}

choice! {
    /// Whether a failed connection to Redis is tried again: `--connect-retry`.
    enum ConnectRetry, default On {
        /// Try again, with growing pauses
        On = "on",
        /// Close the service's connection at once
        Off = "off",
    }
}

/// Limits of the whole process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Client connections at a time, from 1 to a million.
    pub max_connections: usize,
    /// Threads that carry connections, at most 256.
    pub threads: NonZeroUsize,
    /// The time for resolving the upstream's name and connecting to it, above zero.
    pub connect_timeout: Duration,
    /// Whether a connection that fails is tried again within that time.
    pub connect_retry: bool,
    /// The time for the TLS handshake of a client, above zero.
    pub handshake_timeout: Duration,
    /// The time from the signal to stop until open connections are closed.
    pub drain_timeout: Duration,
    /// The time from then until spans that have not been sent are given up.
    pub flush_timeout: Duration,
}

impl Validation<'_> {
    pub(super) fn limits(&mut self, options: &LimitOptions) -> Limits {
        const TIME: &str = "write a time of at most a day with its unit, as in 500ms, 10s or 2m";
        const CONNECTIONS: &str = "write a number from 1 to 1000000";
        const THREADS: &str = "write a number from 1 to 256, or leave it out";
        let mut count = |setting, text: &str, most, remedy| {
            let counted = units::count(text, most).map(Some);
            self.or_reject(counted, (setting, text, remedy)).unwrap_or(NonZeroUsize::MIN)
        };
        let max_connections = count("--max-connections", &options.max_connections, MAX_CONNECTIONS, CONNECTIONS).get();
        let threads = match options.threads.as_deref().filter(|text| !text.trim().is_empty()) {
            None => thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            Some(text) => count("--threads", text, MAX_THREADS, THREADS),
        };
        let mut above_zero = |setting, text: &str, problem: &str| {
            let parsed = match units::duration(text) {
                Ok(Duration::ZERO) => Err(problem.to_owned()),
                parsed => parsed.map_err(|problem| problem.to_string()),
            };
            self.or_reject(parsed, (setting, text, TIME))
        };
        let connect_timeout =
            above_zero("--connect-timeout", &options.connect_timeout, "no connection is made in no time");
        let handshake_timeout =
            above_zero("--handshake-timeout", &options.handshake_timeout, "no handshake is over in no time");
        let connect_retry = options.connect_retry == ConnectRetry::On;
        let mut time = |setting, text: &str| self.or_reject(units::duration(text), (setting, text, TIME));
        let drain_timeout = time("--drain-timeout", &options.drain_timeout);
        let flush_timeout = time("--flush-timeout", &options.flush_timeout);
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

impl Limits {
    pub(super) fn effective(&self) -> Values {
        let retry = if self.connect_retry { ConnectRetry::On } else { ConnectRetry::Off };
        vec![
            ("max-connections", self.max_connections.to_string()),
            ("threads", self.threads.to_string()),
            ("connect-timeout", format_duration(self.connect_timeout)),
            ("connect-retry", retry.to_string()),
            ("handshake-timeout", format_duration(self.handshake_timeout)),
            ("drain-timeout", format_duration(self.drain_timeout)),
            ("flush-timeout", format_duration(self.flush_timeout)),
        ]
    }
}
