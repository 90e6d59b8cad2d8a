//! Says in the log that a connection is understood less than it could be. Its bytes pass all the same.

use std::time::Instant;

use redistributed_core::{Counter, Counts};

use super::logging::Throttle;

/// Why the rest of a connection goes on unread, and since when lines about it have been held back. Static, because a
/// service that does it does it on all of its connections.
static UNREAD: [(Counter, &str, Throttle); 3] = [
    (Counter::OpaqueReplication, "a connection became a replica link and is passed on unread", Throttle::new()),
    (Counter::OpaqueClient, "a client sends what is not RESP; its connection is passed on unread", Throttle::new()),
    (Counter::OpaqueServer, "Redis sends what is not RESP; the connection is passed on unread", Throttle::new()),
];

static UNPAIRED: Throttle = Throttle::new();

/// What has been said of one connection.
#[derive(Debug, Default)]
pub struct Fallback {
    unread: bool,
}

impl Fallback {
    /// Logs those of `counts` that an operator should know of, each at most once in [`Throttle::INTERVAL`].
    pub fn report(&mut self, counts: &Counts) {
        for (counter, text, throttle) in &UNREAD {
            if counts.get(*counter) > 0 {
                self.unread = true;
                if let Some(more) = throttle.admit(Instant::now()) {
                    tracing::warn!(more, "{text}");
                }
            }
        }
        // What is not read cannot be paired either: that is the same trouble, and has been told.
        if counts.get(Counter::PairingLost) > 0
            && !self.unread
            && let Some(more) = UNPAIRED.admit(Instant::now())
        {
            tracing::warn!(
                more,
                "replies on a connection can no longer be paired with commands; its publish spans now end with the \
                 request and do not say how many received it"
            );
        }
    }
}
