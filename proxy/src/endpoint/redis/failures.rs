//! What is counted and logged of clients that could not be served.

use std::fmt;
use std::time::Instant;

use super::RedisEndpoint;
use crate::endpoint::Endpoint;
use crate::error::{Party, RelayError};
use crate::logging::Throttle;
use crate::net::listener::HandshakeError;
use crate::net::upstream::DialError;
use crate::telemetry::stats::ProxyCounter;

/// The throttle of each warning.
#[derive(Debug, Default)]
pub(super) struct Failures {
    unreachable: Throttle,
    exhausted: Throttle,
    refused: Throttle,
    full: Throttle,
    failed: Throttle,
    distrusted: Throttle,
    not_tls: Throttle,
}

impl RedisEndpoint {
    pub(super) fn report_handshake(&self, peer: &impl fmt::Display, error: &HandshakeError) {
        if matches!(error, HandshakeError::Probe) {
            return tracing::debug!(%peer, %error, "no handshake");
        }
        self.stats().add(ProxyCounter::HandshakesFailed, 1);
        tracing::debug!(%peer, %error, "the TLS handshake with a client failed");
        // Nearly always a service that is pointed at redis:// by mistake.
        if matches!(error, HandshakeError::NotTls { .. })
            && let Some(more) = self.failures.not_tls.admit(Instant::now())
        {
            tracing::warn!(
                %error, more,
                "a client was closed that does not speak TLS on an address with TLS: let it connect to rediss://"
            );
        }
    }

    pub(super) fn report_refused(&self, error: &DialError) {
        self.stats().add(ProxyCounter::UpstreamFailures, 1);
        let upstream = self.dialer.upstream();
        if let Some(said) = error.said_at_the_door() {
            if let Some(more) = self.failures.full.admit(Instant::now()) {
                tracing::warn!(%upstream, said, more, "Redis takes no more connections; the client was told so and closed");
            }
        } else if let Some(more) = self.failures.refused.admit(Instant::now()) {
            tracing::warn!(
                %upstream, %error, more,
                "the client was told so and closed; check the credentials and the database of --upstream-login"
            );
        }
    }

    /// Reports an alert that Redis sent after the TLS handshake. It would be a failure to connect, had it come in time.
    pub(super) fn report_distrust(&self, error: &RelayError) {
        if !error.is_refused_by_tls() {
            return;
        }
        self.stats().add(ProxyCounter::UpstreamFailures, 1);
        if let Some(more) = self.failures.distrusted.admit(Instant::now()) {
            let upstream = self.dialer.upstream();
            tracing::warn!(
                %upstream, %error, more,
                "Redis has ended a connection because of TLS; check --upstream-cert and --upstream-key"
            );
        }
    }

    pub(super) fn report_unreachable(&self, error: &RelayError) {
        if error.party == Party::Proxy {
            // Redis may be well: the proxy has run out of open files, of memory or of local ports.
            self.stats().add(ProxyCounter::UpstreamExhausted, 1);
            if let Some(more) = self.failures.exhausted.admit(Instant::now()) {
                tracing::warn!(%error, more, "the proxy has no room for another connection; the client's was closed");
            }
            return;
        }
        self.stats().add(ProxyCounter::UpstreamFailures, 1);
        if let Some(more) = self.failures.unreachable.admit(Instant::now()) {
            let upstream = self.dialer.upstream();
            tracing::warn!(%upstream, %error, more, "cannot reach Redis; the client's connection was closed");
        }
    }

    /// Reports a connection that ended before its time. Of many, one stands for all at level `info`.
    pub(super) fn report_failed(&self, peer: &impl fmt::Display, error: &RelayError) {
        match self.failures.failed.admit(Instant::now()) {
            Some(more) => tracing::info!(%peer, %error, more, "connection failed"),
            None => tracing::debug!(%peer, %error, "connection failed"),
        }
    }

    pub(super) fn report_reachable(&self) {
        if let Some(more) = self.failures.unreachable.settle(Instant::now()) {
            tracing::warn!(upstream = %self.dialer.upstream(), more, "Redis can be reached again");
        }
    }
}
