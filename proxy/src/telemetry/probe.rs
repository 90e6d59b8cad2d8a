//! A request without spans, which shows whether the collector accepts what the exporter will send.

use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::Peer;
use super::otlp::{OtlpError, OtlpExporter, SpanEncoder};
use crate::net::key_material::CollectorMaterial;
use crate::settings::otel::OtelSettings;

/// The longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The collector's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// The collector accepted a request without spans. It may have said something all the same.
    Taken(String),
    /// The collector rejected it or did not answer, with the reason.
    Refused(String),
}

/// Sends one request without spans to the collector that `settings` name, and does not repeat it. Without a collector the
/// answer is [`Probe::Taken`] without a text.
pub async fn probe(settings: &OtelSettings) -> Probe {
    let Some(otlp) = &settings.otlp else { return Probe::Taken(String::new()) };
    let encoder = SpanEncoder::new(&[], &Peer::default(), &settings.limits);
    let exporter = CollectorMaterial::read(otlp).map_err(OtlpError::from);
    let exporter = match exporter.and_then(|material| OtlpExporter::new(otlp, &material)) {
        Ok(exporter) => exporter,
        Err(error) => return Probe::Refused(error.to_string()),
    };
    // With no time left behind the first attempt there is no second.
    let attempt = exporter.export(encoder.close(encoder.open(0)), Some(Instant::now()));
    match timeout(PATIENCE, attempt).await {
        Ok(Ok(delivered)) => Probe::Taken(delivered.message),
        Ok(Err(reason)) => Probe::Refused(reason),
        Err(_) => Probe::Refused(format!("no answer within {PATIENCE:?}")),
    }
}
