//! What is counted and logged of clients that could not be served.

use std::fmt;
use std::time::Instant;

use super::HttpEndpoint;
use crate::endpoint::Endpoint;
use crate::error::{Party, RelayError};
use crate::logging::Throttle;
use crate::net::listener::HandshakeError;
use crate::telemetry::stats::ProxyCounter;

/// The throttle of each warning.
#[derive(Debug, Default)]
pub(super) struct Failures {
    unreachable: Throttle,
    exhausted: Throttle,
    failed: Throttle,
    not_tls: Throttle,
}

impl HttpEndpoint {
    pub(super) fn report_handshake(&self, peer: &impl fmt::Display, error: &HandshakeError) {
        if matches!(error, HandshakeError::Probe) {
            return tracing::debug!(%peer, %error, "no handshake");
        }
        self.stats().add(ProxyCounter::HandshakesFailed, 1);
        tracing::debug!(%peer, %error, "the TLS handshake with an HTTP client failed");
        if matches!(error, HandshakeError::NotTls { .. })
            && let Some(more) = self.failures.not_tls.admit(Instant::now())
        {
            tracing::warn!(
                %error, more,
                "a client was closed that does not speak TLS on an address with TLS: let it connect to https://"
            );
        }
    }

    pub(super) fn report_unreachable(&self, error: &RelayError) {
        if error.party == Party::Proxy {
            self.stats().add(ProxyCounter::UpstreamExhausted, 1);
            if let Some(more) = self.failures.exhausted.admit(Instant::now()) {
                tracing::warn!(%error, more, "the proxy has no room for another connection; the client's was closed");
            }
            return;
        }
        self.stats().add(ProxyCounter::UpstreamFailures, 1);
        if let Some(more) = self.failures.unreachable.admit(Instant::now()) {
            let service = self.dialer.upstream().server_address();
            let port = self.dialer.upstream().server_port();
            tracing::warn!(service, port, %error, more, "cannot reach the service; its HTTP client's connection was reset");
        }
    }

    pub(super) fn report_reachable(&self) {
        if let Some(more) = self.failures.unreachable.settle(Instant::now()) {
            let service = self.dialer.upstream().server_address();
            let port = self.dialer.upstream().server_port();
            tracing::warn!(service, port, more, "the service can be reached again");
        }
    }

    /// Reports a connection that ended before its time. Of many, one stands for all at level `info`.
    pub(super) fn report_failed(&self, peer: &impl fmt::Display, error: &RelayError) {
        match self.failures.failed.admit(Instant::now()) {
            Some(more) => tracing::info!(%peer, %error, more, "HTTP connection failed"),
            None => tracing::debug!(%peer, %error, "HTTP connection failed"),
        }
    }
}
