//! The variables `OTEL_METRICS_*` and `OTEL_METRIC_*`: which measurements are exported, and how.

use std::time::Duration;

use redistributed_core::choice::choice;

use super::otlp::{self, OtlpSettings, Signal};
use super::reader::VariableReader;
use super::{OtelEnvError, effective};
use crate::settings::redact::redact;

const EXPORTER: &str = "OTEL_METRICS_EXPORTER";
const DEFAULT_INTERVAL: Duration = Duration::from_secs(60);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

choice! {
    /// Which measurements become exemplars, as in `OTEL_METRICS_EXEMPLAR_FILTER`.
    pub enum ExemplarFilter, default TraceBased {
        /// The measurements of sampled spans become exemplars. Those spans can be looked up.
        TraceBased = "trace_based",
        /// The measurements of spans that are not sampled become exemplars too.
        AlwaysOn = "always_on",
        /// No measurement becomes an exemplar.
        AlwaysOff = "always_off",
    }
}

choice! {
    /// What an exported value counts from, as in `OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE`.
    pub enum Temporality, default Cumulative {
        /// From the start of the process.
        Cumulative = "cumulative",
        /// From the last export.
        Delta = "delta",
        /// From the last export, for counters and histograms, and there are no other instruments.
        LowMemory = "lowmemory",
    }
}

impl Temporality {
    /// Whether values count from the last export.
    pub fn is_delta(self) -> bool {
        matches!(self, Self::Delta | Self::LowMemory)
    }
}

/// How measurements are exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsSettings {
    /// The collector: `OTEL_EXPORTER_OTLP_METRICS_*`, otherwise the general forms.
    pub otlp: OtlpSettings,
    /// The time between two exports. Default 60 s. `OTEL_METRIC_EXPORT_INTERVAL`.
    pub interval: Duration,
    /// The time that one export may take, retries included; `None` is no limit. Default 30 s. `OTEL_METRIC_EXPORT_TIMEOUT`.
    pub timeout: Option<Duration>,
    /// What values count from. `OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE`.
    pub temporality: Temporality,
}

/// Reads how measurements are exported; `None` if they are not, which is the default.
pub(super) fn read(reader: &mut VariableReader<'_>) -> Result<Option<MetricsSettings>, OtelEnvError> {
    if !is_exported(reader) {
        return Ok(None);
    }
    let interval = |value: &str| value.parse().ok().filter(|&millis| millis > 0).map(Duration::from_millis);
    let accepted = (&DEFAULT_INTERVAL.as_millis() as _, "write a whole number of milliseconds above zero");
    Ok(Some(MetricsSettings {
        otlp: otlp::read(reader, Signal::Metrics)?,
        interval: reader.first_known(&["OTEL_METRIC_EXPORT_INTERVAL"], accepted, interval).unwrap_or(DEFAULT_INTERVAL),
        timeout: reader.timeout(&["OTEL_METRIC_EXPORT_TIMEOUT"], DEFAULT_TIMEOUT),
        temporality: reader.choice(&["OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"]),
    }))
}

/// Reads `OTEL_METRICS_EXPORTER`, a list in which `none` counts only if it stands alone. The specification's default is `otlp`; here it
/// is `none`, because Jaeger, where spans go in most places, takes no metrics.
fn is_exported(reader: &mut VariableReader<'_>) -> bool {
    let (mut otlp, mut none, mut ignored) = (false, false, Vec::new());
    for name in reader.list(EXPORTER) {
        match name.as_str() {
            "otlp" => otlp = true,
            "none" => none = true,
            "prometheus" => ignored.push("prometheus is served by --admin".to_owned()),
            "console" => ignored.push("console is not supported".to_owned()),
            other => ignored.push(format!("{} is not known", redact(other))),
        }
    }
    if none && otlp {
        ignored.push("none does not stand beside others".to_owned());
    } else if !none && !otlp && !ignored.is_empty() {
        reader.set_aside(EXPORTER);
    }
    for reason in ignored {
        let applies = effective::metrics_exporter(otlp);
        reader.warn(EXPORTER, format!("{EXPORTER}: {reason} and ignored: {applies} applies; known are otlp, none"));
    }
    otlp
}
