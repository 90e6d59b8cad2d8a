//! The effective values in the notation of the variables, and the variable that decided each.

use std::time::Duration;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use redistributed_core::trace::sampler::Root;

use super::{OtelSettings, OtlpSettings, Signal, UNKNOWN_SERVICE, sampling};
use crate::settings::redact::redact_url;
use crate::settings::units::format_duration;
use crate::settings::values::{NONE, format_path};

/// Stands for a limit that is not set.
pub(super) const NO_LIMIT: &str = "no limit";

/// The characters that are percent-encoded in a pair of `OTEL_RESOURCE_ATTRIBUTES`.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b',').add(b'=');

impl OtelSettings {
    /// The names and values of everything that has an effect, in the order of the documentation, each under the name of the
    /// variable that wins; with them the proxy that leads to the collector, if one does. Of headers it has only the names. Other
    /// values may hold a URL with a password, and have to be
    /// redacted before they are shown.
    pub fn effective(&self) -> Vec<(&'static str, String)> {
        let Self { service_name, resource_attributes, sampler, propagators, otlp, batch, limits, .. } = self;
        let encoded = |text: &str| utf8_percent_encode(&redact_url(text), ENCODED).to_string();
        let attributes = resource_attributes.iter().map(|(key, value)| format!("{}={}", encoded(key), encoded(value)));
        let mut values = vec![
            ("OTEL_SERVICE_NAME", service_name.clone().unwrap_or_else(|| UNKNOWN_SERVICE.to_owned())),
            ("OTEL_RESOURCE_ATTRIBUTES", list(attributes)),
            ("OTEL_TRACES_EXPORTER", exporter_names(otlp.is_some(), self.console.is_some()).to_owned()),
        ];
        values.extend(otlp.iter().flat_map(of_collector));
        values.push(("OTEL_TRACES_SAMPLER", sampling::sampler_name(*sampler)));
        if let Root::Ratio(ratio) = sampler.root {
            values.push(("OTEL_TRACES_SAMPLER_ARG", ratio.share().to_string()));
        }
        let value_length = limits.attribute_value_length.map_or_else(|| NO_LIMIT.to_owned(), |most| most.to_string());
        values.extend([
            ("OTEL_PROPAGATORS", sampling::propagator_names(*propagators)),
            ("OTEL_BSP_MAX_QUEUE_SIZE", batch.max_queue_size.to_string()),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", batch.max_export_batch_size.to_string()),
            ("OTEL_BSP_SCHEDULE_DELAY", format_duration(batch.schedule_delay)),
            ("OTEL_BSP_EXPORT_TIMEOUT", limit(batch.export_timeout)),
            ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", limits.attribute_count.to_string()),
            ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", value_length),
            ("OTEL_SPAN_LINK_COUNT_LIMIT", limits.link_count.to_string()),
            ("OTEL_METRICS_EXPORTER", metrics_exporter(self.metrics.is_some()).to_owned()),
        ]);
        if let Some(metrics) = &self.metrics {
            values.extend(
                of_collector(&metrics.otlp)
                    .into_iter()
                    .filter(|(name, _)| !values.iter().any(|(other, _)| other == name))
                    .collect::<Vec<_>>(),
            );
            values.extend([
                ("OTEL_METRIC_EXPORT_INTERVAL", format_duration(metrics.interval)),
                ("OTEL_METRIC_EXPORT_TIMEOUT", limit(metrics.timeout)),
                ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", metrics.temporality.to_string()),
            ]);
        }
        values.extend([
            ("OTEL_METRICS_EXEMPLAR_FILTER", self.exemplars.to_string()),
            ("OTEL_SDK_DISABLED", (!self.enabled).to_string()),
        ]);
        values
    }

    /// The variable that decided the value that [`effective`](Self::effective) calls `name`, among those for which `is_set`
    /// holds. It is `None` for a default.
    pub fn decided_by(&self, name: &str, is_set: impl Fn(&str) -> bool) -> Option<String> {
        if matches!(name, "OTEL_TRACES_EXPORTER" | "OTEL_METRICS_EXPORTER") && !self.enabled {
            return Some("OTEL_SDK_DISABLED".to_owned());
        }
        let general = match name {
            "OTEL_SERVICE_NAME" => self.service_name.as_ref().map(|_| "OTEL_RESOURCE_ATTRIBUTES".to_owned()),
            _ if name.starts_with("OTEL_EXPORTER_OTLP_") => {
                Some(name.replacen("_TRACES_", "_", 1).replacen("_METRICS_", "_", 1))
            }
            _ if name.starts_with("OTEL_SPAN_ATTRIBUTE_") => Some(name.replacen("_SPAN_", "_", 1)),
            _ => None,
        };
        let decides = |variable: &String| is_set(variable) && !self.set_aside.iter().any(|other| other == variable);
        Some(name.to_owned()).into_iter().chain(general).find(decides)
    }
}

/// What has an effect on the way to a collector, under the names for its signal.
fn of_collector(otlp: &OtlpSettings) -> Vec<(&'static str, String)> {
    const TRACES: [&str; 8] = [
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
        "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
        "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
        "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
    ];
    const METRICS: [&str; 8] = [
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
        "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
        "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
        "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT",
        "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION",
        "OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_METRICS_CLIENT_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY",
    ];
    let names = match otlp.signal {
        Signal::Traces => TRACES,
        Signal::Metrics => METRICS,
    };
    let identity = otlp.client_identity.as_ref();
    let values = [
        otlp.endpoint.to_string(),
        otlp.protocol.to_string(),
        list(otlp.headers.iter().map(|(name, _)| format!("{name}=***"))),
        limit(otlp.timeout),
        otlp.compression.to_string(),
        format_path(otlp.certificate.as_ref()),
        format_path(identity.map(|identity| &identity.certificate)),
        format_path(identity.map(|identity| &identity.key)),
    ];
    let proxy = otlp.proxy.as_ref().map(|proxy| (proxy.variable, proxy.to_string()));
    names.into_iter().zip(values).chain(proxy).collect()
}

/// The exporter in the notation of `OTEL_METRICS_EXPORTER`.
pub(super) fn metrics_exporter(otlp: bool) -> &'static str {
    if otlp { "otlp" } else { "none" }
}

/// The exporters in the notation of `OTEL_TRACES_EXPORTER`.
pub(super) fn exporter_names(otlp: bool, console: bool) -> &'static str {
    match (otlp, console) {
        (true, true) => "otlp,console",
        (true, false) => "otlp",
        (false, true) => "console",
        (false, false) => "none",
    }
}

fn list(members: impl Iterator<Item = String>) -> String {
    let members: Vec<String> = members.collect();
    if members.is_empty() { NONE.to_owned() } else { members.join(",") }
}

fn limit(time: Option<Duration>) -> String {
    time.map_or_else(|| NO_LIMIT.to_owned(), format_duration)
}
