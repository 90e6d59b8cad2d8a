//! What every kind of endpoint counts and logs of clients that could not be served.

use std::fmt;
use std::time::Instant;

use crate::error::{Party, RelayError};
use crate::logging::Throttle;
use crate::net::listener::HandshakeError;
use crate::telemetry::stats::{ProxyCounter, Stats};

/// The warnings of an endpoint that do not depend on its protocol, each with its throttle.
#[derive(Debug)]
pub(super) struct Failures {
    scheme: &'static str,
    connection: &'static str,
    unreachable: Throttle,
    exhausted: Throttle,
    failed: Throttle,
    not_tls: Throttle,
}

impl Failures {
    /// No failures so far. `scheme` is that of the URLs by which clients use TLS, and the log calls a client's connection a
    /// `connection`.
    pub(super) fn new(scheme: &'static str, connection: &'static str) -> Self {
        let [unreachable, exhausted, failed, not_tls] = [const { Throttle::new() }; 4];
        Self { scheme, connection, unreachable, exhausted, failed, not_tls }
    }

    /// Reports a client whose TLS handshake has failed.
    pub(super) fn handshake(&self, stats: &Stats, peer: &impl fmt::Display, error: &HandshakeError) {
        if matches!(error, HandshakeError::Probe) {
            return tracing::debug!(%peer, %error, "no handshake");
        }
        stats.add(ProxyCounter::HandshakesFailed, 1);
        tracing::debug!(%peer, %error, "the TLS handshake with a client failed");
        // Nearly always a client whose URL lacks the `s` by mistake.
        if matches!(error, HandshakeError::NotTls { .. })
            && let Some(more) = self.not_tls.admit(Instant::now())
        {
            tracing::warn!(
                %error, more,
                "a client was closed that does not speak TLS on an address with TLS: let it connect to {}", self.scheme
            );
        }
    }

    /// Reports that what is behind the endpoint could not be reached. `warn` logs it if it is not the proxy's own doing, and is told
    /// of how many more it stands for.
    pub(super) fn unreachable(&self, stats: &Stats, error: &RelayError, warn: impl FnOnce(u64)) {
        if error.party == Party::Proxy {
            // What is behind may be well: the proxy has run out of open files, of memory or of local ports.
            stats.add(ProxyCounter::UpstreamExhausted, 1);
            if let Some(more) = self.exhausted.admit(Instant::now()) {
                tracing::warn!(%error, more, "the proxy has no room for another connection; the client's was closed");
            }
            return;
        }
        stats.add(ProxyCounter::UpstreamFailures, 1);
        if let Some(more) = self.unreachable.admit(Instant::now()) {
            warn(more);
        }
    }

    /// Takes note that what is behind the endpoint has been reached. `tell` logs it if that was not so before, and is told how many
    /// warnings were left out.
    pub(super) fn reachable(&self, tell: impl FnOnce(u64)) {
        if let Some(more) = self.unreachable.settle(Instant::now()) {
            tell(more);
        }
    }

    /// Reports a connection that ended before its time. Of many, one stands for all at level `info`.
    pub(super) fn failed(&self, peer: &impl fmt::Display, error: &RelayError) {
        match self.failed.admit(Instant::now()) {
            Some(more) => tracing::info!(%peer, %error, more, "{} failed", self.connection),
            None => tracing::debug!(%peer, %error, "{} failed", self.connection),
        }
    }
}
