//! A request without spans, which shows whether the collector accepts what the exporter will send.

use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::Peer;
use super::otlp::{OtlpExporter, SpanEncoder};
use crate::settings::otel::OtelSettings;

/// The longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The collector's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// The collector accepted a request without spans.
    Taken,
    /// The collector rejected it or did not answer, with the reason.
    Refused(String),
}

/// Sends one request without spans to the collector that `settings` name, and does not repeat it. Without a collector the
/// answer is [`Probe::Taken`].
pub async fn probe(settings: &OtelSettings) -> Probe {
    let Some(otlp) = &settings.otlp else { return Probe::Taken };
    let encoder = SpanEncoder::new(&[], &Peer::default(), &settings.limits);
    let exporter = match OtlpExporter::new(otlp) {
        Ok(exporter) => exporter,
        Err(error) => return Probe::Refused(error.to_string()),
    };
    // With no time left behind the first attempt there is no second.
    let attempt = exporter.export(encoder.close(encoder.open(0)), Some(Instant::now()));
    match timeout(PATIENCE, attempt).await {
        Ok(Ok(_)) => Probe::Taken,
        Ok(Err(reason)) => Probe::Refused(reason),
        Err(_) => Probe::Refused(format!("no answer within {PATIENCE:?}")),
    }
}
