//! Says in the log that a connection is understood less than it could be. Its bytes pass all the same.

use std::time::Instant;

use redistributed_core::{Counter, Counts};

use super::logging::Throttle;

/// What a session gives up, and since when lines about it have been held back. Static, because a service that does it
/// does it on all of its connections.
static NOTICES: [(Counter, &str, Throttle); 4] = [
    (Counter::OpaqueReplication, "a connection became a replica link and is passed on unread", Throttle::new()),
    (Counter::OpaqueClient, "a client sends what is not RESP; its connection is passed on unread", Throttle::new()),
    (Counter::OpaqueServer, "Redis sends what is not RESP; the connection is passed on unread", Throttle::new()),
    (
        Counter::PairingLost,
        "replies on a connection can no longer be paired with commands; it gets no more publish spans",
        Throttle::new(),
    ),
];

/// Logs those of `counts` that an operator should know of, each at most once in [`Throttle::INTERVAL`].
pub fn report(counts: &Counts) {
    for (counter, text, throttle) in &NOTICES {
        if counts.get(*counter) > 0
            && let Some(more) = throttle.admit(Instant::now())
        {
            tracing::warn!(more, "{text}");
        }
    }
}
