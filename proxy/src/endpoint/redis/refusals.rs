//! What is counted and logged when Redis cannot be reached, or refuses a connection.

use std::time::Instant;

use super::RedisEndpoint;
use crate::endpoint::Endpoint;
use crate::error::RelayError;
use crate::logging::Throttle;
use crate::net::upstream::DialError;
use crate::telemetry::stats::ProxyCounter;

/// The throttles of the warnings that say how Redis refuses connections.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    refused: Throttle,
    full: Throttle,
    distrusted: Throttle,
}

impl RedisEndpoint {
    pub(super) fn report_refused(&self, error: &DialError) {
        self.stats().add(ProxyCounter::UpstreamFailures, 1);
        let upstream = self.dialer.upstream();
        if let Some(said) = error.said_at_the_door() {
            if let Some(more) = self.refusals.full.admit(Instant::now()) {
                tracing::warn!(%upstream, said, more, "Redis takes no more connections; the client was told so and closed");
            }
        } else if let Some(more) = self.refusals.refused.admit(Instant::now()) {
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
        if let Some(more) = self.refusals.distrusted.admit(Instant::now()) {
            let upstream = self.dialer.upstream();
            tracing::warn!(
                %upstream, %error, more,
                "Redis has ended a connection because of TLS; check --upstream-cert and --upstream-key"
            );
        }
    }

    pub(super) fn report_unreachable(&self, error: &RelayError) {
        self.failures.unreachable(self.stats(), error, |more| {
            let upstream = self.dialer.upstream();
            tracing::warn!(%upstream, %error, more, "cannot reach Redis; the client's connection was closed");
        });
    }

    pub(super) fn report_reachable(&self) {
        self.failures.reachable(|more| {
            tracing::warn!(upstream = %self.dialer.upstream(), more, "Redis can be reached again");
        });
    }
}
