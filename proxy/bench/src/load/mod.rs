//! The load generators: closed loops of commands and of HTTP requests, fan-out to subscribers, messages with work behind them,
//! jobs in queues, and messages at a fixed rate.
//!
//! They run on one thread each (two at a fixed rate), because on a small machine a generator takes from what it
//! measures. All of them know every byte that must come back, compare each one, and fail on the first difference.

pub(crate) mod closed_loop;
pub(crate) mod connection;
pub(crate) mod fan_out;
pub(crate) mod fixed_rate;
pub(crate) mod http;
pub(crate) mod http2;
pub(crate) mod jobs;
pub(crate) mod message;
mod poller;
pub(crate) mod resp;
pub(crate) mod work;

use std::time::Duration;

/// How long a generator waits for bytes that must come before it calls them lost.
pub(crate) const STALLED_AFTER: Duration = Duration::from_secs(20);

/// What is read at a time, in bytes.
const READ: usize = 256 * 1024;
