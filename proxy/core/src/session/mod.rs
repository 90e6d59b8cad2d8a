//! One client connection.

mod counts;
mod output;
mod policy;

use alloc::sync::Arc;

pub use counts::{Counter, Counts};
pub use output::Output;
pub use policy::{Carrier, Commands, DEFAULT_INJECT_LIMIT, Mode, Policy, Propagators, Relation};

use crate::trace::{Ids, UnixNanos};

/// Where bytes came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The service.
    Client,
    /// Redis.
    Server,
}

/// The state of one client connection and its upstream connection.
#[derive(Debug)]
pub struct Session {
    policy: Arc<Policy>,
}

impl Session {
    /// A connection of which nothing has been read.
    pub fn new(policy: Arc<Policy>) -> Self {
        Self { policy }
    }

    /// Takes all of `input`, which came from `from` at the time `now`, and adds to `out` what is to be sent to the
    /// other side. The bytes that leave do not depend on how the stream was cut into calls.
    pub fn receive(&mut self, from: Side, input: &[u8], now: UnixNanos, ids: &mut dyn Ids, out: &mut Output) {
        let _ = (&self.policy, from, now, ids);
        out.forward(0..input.len());
    }

    /// `from` has sent its last byte: adds what was held back of an incomplete frame, unchanged.
    pub fn end_of_stream(&mut self, from: Side, now: UnixNanos, out: &mut Output) {
        let _ = (from, now, out);
    }

    /// The connection is over: closes the spans that still wait for a reply, with an error.
    pub fn close(&mut self, now: UnixNanos, out: &mut Output) {
        let _ = (now, out);
    }
}
