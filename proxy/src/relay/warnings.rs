//! What the log says of connections: warnings if they cannot be read or paired, or if another protocol is spoken on them, and
//! why messages are not traced in mode `auto`. Their bytes pass all the same.

use std::sync::Once;
use std::time::Instant;

use redistributed_core::{Counter, Counts, Side};

use crate::logging::{LIFECYCLE, Throttle};
use crate::net::protocol_hint::ProtocolHint;
use crate::net::upstream::refusal_at_the_door;

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

/// What the log says when Redis leads a client past the proxy.
static REDIRECTIONS: [(Counter, &str, Throttle); 3] = [
    (
        Counter::RedirectionsMoving,
        "Redis asks clients to move to another address (MOVING); the address was left out, so that they connect here again: \
         see that the upstream's name leads to the new address then",
        Throttle::new(),
    ),
    (
        Counter::RedirectionsMovingPassed,
        "Redis asks clients to move to another address (MOVING), past this proxy; in mode observe, or if the address is too long, that is left as it is",
        Throttle::new(),
    ),
    (
        Counter::RedirectionsRedirect,
        "Redis sends clients to another address (-REDIRECT), past this proxy: the upstream is a replica now, name the primary",
        Throttle::new(),
    ),
];

static UNPAIRED: Throttle = Throttle::new();

/// The reasons for which a message gets no context in mode `auto`, and what the log says of the first message that gets none.
/// Most are over soon or lie with other services, so this is said once. Metrics and spans tell of every message.
static UNTRACED: [(Counter, &str, Once); 8] = [
    (Counter::SkippedAutoUnknown, "who subscribes to its channel is not known yet", Once::new()),
    (Counter::SkippedAutoProving, "its subscribers are still being proven to be behind proxies", Once::new()),
    (Counter::SkippedAutoUnproxied, "a subscriber is not known to be behind a redistributed", Once::new()),
    (Counter::SkippedAutoPattern, "a subscriber of a pattern is not known to be behind a redistributed", Once::new()),
    (Counter::SkippedAutoContradicted, "Redis reported another number of receivers than was expected", Once::new()),
    (Counter::SkippedAutoReplicas, "subscribers on replicas cannot be counted", Once::new()),
    (Counter::SkippedAutoCluster, "subscribers on other nodes of the cluster cannot be counted", Once::new()),
    (
        Counter::SkippedAutoOrder,
        "Redis may publish it much later: in a transaction, or behind a command that blocks",
        Once::new(),
    ),
];

/// For a Redis that takes no more connections. Its error goes on to the client, as any other does.
static FULL: Throttle = Throttle::new();

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
        if side == Side::Server
            && let Some(said) = bytes.strip_prefix(b"-").and_then(refusal_at_the_door)
            && let Some(more) = FULL.admit(Instant::now())
        {
            tracing::warn!(said, more, "Redis takes no more connections; the client was told so");
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
        for (counter, text, throttle) in &REDIRECTIONS {
            if counts.get(*counter) > 0
                && let Some(more) = throttle.admit(Instant::now())
            {
                tracing::warn!(more, "{text}");
            }
        }
        for (counter, reason, once) in &UNTRACED {
            if counts.get(*counter) > 0 {
                once.call_once(|| {
                    tracing::info!(
                        target: LIFECYCLE,
                        "a message got no context, because {reason}; this is said once, and redistributed_skipped_total counts \
                         such messages (proxy/docs/auto.md)"
                    );
                });
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
