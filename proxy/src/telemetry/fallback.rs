//! Says in the log that a connection is understood less than it could be. Its bytes pass all the same.

use std::time::Instant;

use redistributed_core::{Counter, Counts, Side};

use super::logging::Throttle;
use crate::foreign::Foreign;

/// Why the rest of a connection goes on unread, and since when lines about it have been held back. Static, because a
/// service that does it does it on all of its connections.
static UNREAD: [(Counter, &str, Throttle); 3] = [
    (Counter::OpaqueReplication, "a connection became a replica link and is passed on unread", Throttle::new()),
    (Counter::OpaqueClient, "a client sends what is not RESP; its connection is passed on unread", Throttle::new()),
    (Counter::OpaqueServer, "Redis sends what is not RESP; the connection is passed on unread", Throttle::new()),
];

/// Who speaks what in place of RESP, and what to do.
static FOREIGN: [(Side, Foreign, &str, Throttle); 4] = [
    (
        Side::Client,
        Foreign::Tls,
        "a client speaks TLS on an address without it: let it connect to redis://, not rediss://, or listen on rediss://",
        Throttle::new(),
    ),
    (
        Side::Client,
        Foreign::Http,
        "a client speaks HTTP, and only Redis clients are served here: point browsers, probes and scrapers elsewhere; \
         --healthcheck tells whether the proxy runs",
        Throttle::new(),
    ),
    (
        Side::Server,
        Foreign::Tls,
        "the upstream speaks TLS: write rediss:// for it, or name a port of Redis without TLS",
        Throttle::new(),
    ),
    (
        Side::Server,
        Foreign::Http,
        "the upstream speaks HTTP and is no Redis: check the address and the port of --upstream or --route",
        Throttle::new(),
    ),
];

static UNPAIRED: Throttle = Throttle::new();

/// What has been said of one connection.
#[derive(Debug, Default)]
pub struct Fallback {
    /// Whether a side has said something.
    heard: [bool; 2],
    /// Whether the reason is known why a side cannot be understood.
    foreign: bool,
    unread: bool,
}

impl Fallback {
    /// Looks at what came from `side`, if it is the first, and logs if it is another protocol.
    pub fn hear(&mut self, side: Side, bytes: &[u8]) {
        if std::mem::replace(&mut self.heard[side as usize], true) {
            return;
        }
        let Some(spoken) = Foreign::recognise(bytes) else { return };
        self.foreign = true;
        for (speaker, protocol, text, throttle) in &FOREIGN {
            if (*speaker, *protocol) == (side, spoken)
                && let Some(more) = throttle.admit(Instant::now())
            {
                tracing::warn!(more, "{text}");
            }
        }
    }

    /// Logs those of `counts` that an operator should know of, each at most once in [`Throttle::INTERVAL`].
    pub fn report(&mut self, counts: &Counts) {
        for (counter, text, throttle) in &UNREAD {
            if counts.get(*counter) > 0 {
                self.unread = true;
                // The reason has been told.
                if self.foreign {
                    continue;
                }
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
