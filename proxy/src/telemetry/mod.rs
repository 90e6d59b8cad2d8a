//! What the proxy tells about itself and about the messages that pass.

pub mod fallback;
pub mod logging;
pub mod otel_env;
pub mod stats;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use otel_env::OtelSettings;
use redistributed_core::trace::SpanRecord;

pub struct Service {
    pub name: Option<String>,
    pub server_address: String,
    pub server_port: Option<u16>,
}

#[derive(Debug, thiserror::Error)]
#[error("telemetry")]
pub struct TelemetryError;

pub struct Telemetry {
    offered: Arc<AtomicU64>,
}

#[derive(Clone, Debug)]
pub struct SpanSink {
    offered: Arc<AtomicU64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExportSummary {
    pub sent: u64,
    pub failed: u64,
    pub dropped: u64,
    pub queued: u64,
}

impl Telemetry {
    pub fn start(_settings: &OtelSettings, _services: &[Service]) -> Result<Telemetry, TelemetryError> {
        Ok(Self { offered: Arc::default() })
    }

    pub fn sink(&self, _route: usize) -> SpanSink {
        SpanSink { offered: self.offered.clone() }
    }

    pub fn summary(&self) -> ExportSummary {
        ExportSummary { sent: self.offered.load(Ordering::Relaxed), ..ExportSummary::default() }
    }

    pub async fn shutdown(self, _deadline: Duration) -> ExportSummary {
        self.summary()
    }
}

impl SpanSink {
    pub fn offer(&self, _record: SpanRecord) {
        self.offered.fetch_add(1, Ordering::Relaxed);
    }

    pub fn is_recording(&self) -> bool {
        true
    }
}
