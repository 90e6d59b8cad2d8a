//! Warnings about connections that cannot be read or paired, or on which another protocol is spoken. Their bytes pass all the
//! same.

use std::time::Instant;

use redistributed_core::{Counter, Counts, Side};

use crate::logging::Throttle;
use crate::net::protocol_hint::ProtocolHint;

/// The reasons why the rest of a connection is passed on unread, each with its warning. The throttles are static, because a
/// service that causes a warning causes it on all of its connections.
static UNREAD: [(Counter, &str, Throttle); 3] = [
    (Counter::OpaqueReplication, "a connection became a replica link and is passed on unread", Throttle::new()),
    (Counter::OpaqueClient, "a client sends what is not RESP; its connection is passed on unread", Throttle::new()),
    (Counter::OpaqueServer, "Redis sends what is not RESP; the connection is passed on unread", Throttle::new()),
];

/// The warnings about other protocols, by the side that speaks them.
static HINTS: [(Side, ProtocolHint, &str, Throttle); 4] = [
    (
        Side::Client,
        ProtocolHint::Tls,
        "a client speaks TLS on an address without it: let it connect to redis://, not rediss://, or listen on rediss://",
        Throttle::new(),
    ),
    (
        Side::Client,
        ProtocolHint::Http,
        "a client speaks HTTP, and only Redis clients are served here: point browsers, probes and scrapers elsewhere; \
         --healthcheck tells whether the proxy runs",
        Throttle::new(),
    ),
    (
        Side::Server,
        ProtocolHint::Tls,
        "the upstream speaks TLS: write rediss:// for it, or name a port of Redis without TLS",
        Throttle::new(),
    ),
    (
        Side::Server,
        ProtocolHint::Http,
        "the upstream speaks HTTP and is no Redis: check the address and the port of --upstream or --route",
        Throttle::new(),
    ),
];

static UNPAIRED: Throttle = Throttle::new();

/// The warnings that one connection has caused.
#[derive(Debug, Default)]
pub(super) struct Warnings {
    /// Whether the first bytes of a side have come.
    heard: [bool; 2],
    /// Whether a warning has named another protocol.
    hinted: bool,
    unread: bool,
}

impl Warnings {
    /// Looks at the first bytes that come from `side`, and warns if they are of another protocol.
    pub(super) fn hear(&mut self, side: Side, bytes: &[u8]) {
        if std::mem::replace(&mut self.heard[side as usize], true) {
            return;
        }
        let Some(spoken) = ProtocolHint::recognise(bytes) else { return };
        self.hinted = true;
        for (speaker, protocol, text, throttle) in &HINTS {
            if (*speaker, *protocol) == (side, spoken)
                && let Some(more) = throttle.admit(Instant::now())
            {
                tracing::warn!(more, "{text}");
            }
        }
    }

    /// Warns of those `counts` that an operator should know of, each at most once in [`Throttle::INTERVAL`].
    pub(super) fn report(&mut self, counts: &Counts) {
        for (counter, text, throttle) in &UNREAD {
            if counts.get(*counter) > 0 {
                self.unread = true;
                // A warning has named the reason.
                if self.hinted {
                    continue;
                }
                if let Some(more) = throttle.admit(Instant::now()) {
                    tracing::warn!(more, "{text}");
                }
            }
        }
        // What is not read cannot be paired either, and the warning about that has been written.
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
