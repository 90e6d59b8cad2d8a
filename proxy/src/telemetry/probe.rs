//! A request without spans or metrics, which shows whether the collector accepts what the exporter will send.

use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::otlp::{EncodedRequest, OtlpError, OtlpExporter, SpanEncoder, metrics_request};
use super::{Peer, Resource};
use crate::net::key_material::CollectorMaterial;
use crate::settings::otel::{MetricsSettings, OtelSettings, OtlpSettings};

/// The longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The collector's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// The collector accepted an empty request. It may have said something all the same.
    Taken(String),
    /// The collector rejected it or did not answer, with the reason.
    Refused(String),
}

/// Sends one request without spans to the collector that `settings` name, and does not repeat it. Without a collector the
/// answer is [`Probe::Taken`] without a text.
pub async fn probe(settings: &OtelSettings) -> Probe {
    let Some(otlp) = &settings.otlp else { return Probe::Taken(String::new()) };
    let encoder = SpanEncoder::new(&[], &Peer::default(), &settings.limits);
    send(otlp, encoder.close(encoder.open(0))).await
}

/// The same for metrics.
pub async fn probe_metrics(settings: &MetricsSettings) -> Probe {
    send(&settings.otlp, metrics_request(&Resource::default(), &[], settings.temporality.is_delta(), 0)).await
}

async fn send(otlp: &OtlpSettings, request: EncodedRequest) -> Probe {
    let exporter = CollectorMaterial::read(otlp).map_err(OtlpError::from);
    let exporter = match exporter.and_then(|material| OtlpExporter::new(otlp, &material)) {
        Ok(exporter) => exporter,
        Err(error) => return Probe::Refused(error.to_string()),
    };
    // With no time left behind the first attempt there is no second.
    let attempt = exporter.export(request, Some(Instant::now()));
    match timeout(PATIENCE, attempt).await {
        Ok(Ok(delivered)) => Probe::Taken(delivered.message),
        Ok(Err(reason)) => Probe::Refused(reason),
        Err(_) => Probe::Refused(format!("no answer within {PATIENCE:?}")),
    }
}
