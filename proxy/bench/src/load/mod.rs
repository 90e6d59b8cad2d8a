//! The load generators: closed loops of commands, fan-out to subscribers, and messages at a fixed rate.
//!
//! They run on one thread each (two at a fixed rate), because on a small machine a generator takes from what it
//! measures. All of them know every byte that must come back, compare each one, and fail on the first difference.

pub(crate) mod closed_loop;
pub(crate) mod connection;
pub(crate) mod fan_out;
pub(crate) mod fixed_rate;
pub(crate) mod message;
mod poller;
pub(crate) mod resp;

use std::time::Duration;

/// How long a generator waits for bytes that must come before it calls them lost.
pub(crate) const STALLED_AFTER: Duration = Duration::from_secs(20);

/// What is read at a time, in bytes.
const READ: usize = 256 * 1024;
