//! Asks the collector once whether it takes what the exporter will send.

use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::Peer;
use super::otlp::{OtlpExporter, SpanEncoder};
use crate::settings::otel::OtelSettings;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the collector said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// It took a request without spans.
    Taken,
    /// It did not, or there was no answer, and why.
    Refused(String),
}

/// Sends one request without spans, as `settings` say, and does not repeat it. If they name no collector there is nothing
/// to refuse it.
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
