//! The `OTEL_*` environment variables, read into checked settings.
//!
//! The rules are those of the OpenTelemetry specification ("Environment Variable Specification" and "OTLP Exporter"). An empty
//! value counts as unset. Only `true`, in any case, is true. A value that is not understood costs a warning, and the default
//! applies. A `_TRACES_` or `_METRICS_` form wins over the general one. Only mistakes that would lose everything are errors: an endpoint that is
//! no address, a protocol that is not built in, and a client certificate without its key.
//!
//! Nothing here reads the process environment: the caller passes a lookup, and logs the warnings once logging is up.

mod effective;
mod metrics;
mod otlp;
mod reader;
mod sampling;
#[cfg(test)]
mod tests;

use std::time::Duration;

use redistributed_core::trace::Propagators;
use redistributed_core::trace::Sampler;

pub use metrics::{ExemplarFilter, MetricsSettings, Temporality};
pub use otlp::{ClientIdentity, Compression, Endpoint, Headers, HeadersFile, OtlpSettings, Protocol, Proxy, Signal};

use crate::settings::console::{ConsoleFormat, ConsoleSettings};
use crate::settings::redact::redact;
pub use reader::OtelWarning;
use reader::VariableReader;

/// Every variable that is read, in the order of the documentation. Those of [`SECRETS`] are read too.
pub const VARIABLES: [&str; 49] = [
    "OTEL_SERVICE_NAME",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_TRACES_EXPORTER",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
    "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT",
    "OTEL_EXPORTER_OTLP_COMPRESSION",
    "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
    "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION",
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_METRICS_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_INSECURE",
    "OTEL_EXPORTER_OTLP_TRACES_INSECURE",
    "OTEL_EXPORTER_OTLP_METRICS_INSECURE",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
    "OTEL_PROPAGATORS",
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_BSP_SCHEDULE_DELAY",
    "OTEL_BSP_EXPORT_TIMEOUT",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_SPAN_LINK_COUNT_LIMIT",
    "OTEL_METRICS_EXPORTER",
    "OTEL_METRIC_EXPORT_INTERVAL",
    "OTEL_METRIC_EXPORT_TIMEOUT",
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
    "OTEL_METRICS_EXEMPLAR_FILTER",
    "OTEL_SDK_DISABLED",
    "OTEL_CONFIG_FILE",
];

/// The variables that may hold a secret, each with the variable that names a file with its value instead. The specification
/// has no such variables; their names follow the custom of container images.
pub const SECRETS: [(&str, &str); 3] = [
    ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS_FILE"),
    ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS_FILE"),
    ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "OTEL_EXPORTER_OTLP_METRICS_HEADERS_FILE"),
];

/// The variables that name a proxy. Each has its two usual spellings. They are not of OpenTelemetry, and come from the
/// environment only.
pub const PROXIES: [[&str; 2]; 4] = [otlp::HTTP_PROXY, otlp::HTTPS_PROXY, otlp::ALL_PROXY, otlp::NO_PROXY];

/// The name of a service that has none: `unknown_service:` and the name of the program, as the specification wants it.
pub const UNKNOWN_SERVICE: &str = concat!("unknown_service:", env!("CARGO_PKG_NAME"));

/// Whether `name` is one of [`VARIABLES`] or [`SECRETS`].
pub fn is_known(name: &str) -> bool {
    VARIABLES.contains(&name) || SECRETS.iter().any(|(_, file)| *file == name)
}

/// Everything the `OTEL_*` variables decide.
#[derive(Clone, Debug, PartialEq)]
pub struct OtelSettings {
    /// False if `OTEL_SDK_DISABLED` is `true`. Then no span is made or exported, but contexts are still passed on.
    pub enabled: bool,
    /// `OTEL_SERVICE_NAME`, otherwise `service.name` of `OTEL_RESOURCE_ATTRIBUTES`.
    pub service_name: Option<String>,
    /// `OTEL_RESOURCE_ATTRIBUTES` without `service.name`, percent-decoded, in their order.
    pub resource_attributes: Vec<(String, String)>,
    /// Which new traces are sampled: `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG`.
    pub sampler: Sampler,
    /// Which context formats are understood: `OTEL_PROPAGATORS`.
    pub propagators: Propagators,
    /// The OTLP exporter, if `otlp` is among `OTEL_TRACES_EXPORTER`, which it is by default, and the SDK is not disabled.
    pub otlp: Option<OtlpSettings>,
    /// The console exporter, if `console` is among `OTEL_TRACES_EXPORTER`, and the SDK is not disabled. Its form is that of
    /// `--console-format`, which no variable decides.
    pub console: Option<ConsoleSettings>,
    /// How spans are batched: `OTEL_BSP_*`.
    pub batch: BatchSettings,
    /// How much one span may hold: `OTEL_*_LIMIT`.
    pub limits: SpanLimits,
    /// The exporter of metrics, if `OTEL_METRICS_EXPORTER` is `otlp`, which it is not by default, and the SDK is not disabled.
    pub metrics: Option<MetricsSettings>,
    /// Which measurements become exemplars: `OTEL_METRICS_EXEMPLAR_FILTER`.
    pub exemplars: ExemplarFilter,
    /// The variables that are set and decide nothing, because they cannot be understood or have no effect. What applies in
    /// their place comes from another source.
    pub set_aside: Vec<&'static str>,
}

/// How spans are batched into requests: `OTEL_BSP_*`.
///
/// Three defaults differ from those of the specification (queue 2048, batch 512, delay 5000 ms), which are meant for the spans of
/// one service. A sidecar sees every message of a service, in bursts, and with larger batches a slow collector costs fewer
/// spans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchSettings {
    /// The number of spans that may wait, of at most 512 bytes on average; the next one is dropped. Default 65536.
    /// `OTEL_BSP_MAX_QUEUE_SIZE`.
    pub max_queue_size: usize,
    /// The number of spans in one request at most. Default 2048, about 700 kB, well under the 4 MiB that collectors take.
    /// `OTEL_BSP_MAX_EXPORT_BATCH_SIZE`.
    pub max_export_batch_size: usize,
    /// The time that a span waits at most for others to share its request. Default 1 s. `OTEL_BSP_SCHEDULE_DELAY`.
    pub schedule_delay: Duration,
    /// The time that one export may take, retries included; `None` is no limit. Default 30 s. `OTEL_BSP_EXPORT_TIMEOUT`.
    pub export_timeout: Option<Duration>,
}

const DEFAULT_EXPORT_TIMEOUT: Duration = Duration::from_secs(30);

impl Default for BatchSettings {
    fn default() -> Self {
        Self {
            max_queue_size: 65_536,
            max_export_batch_size: 2_048,
            schedule_delay: Duration::from_secs(1),
            export_timeout: Some(DEFAULT_EXPORT_TIMEOUT),
        }
    }
}

/// How much one span may hold: `OTEL_*_LIMIT`. Limits on events are not read, because no span of the proxy has events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpanLimits {
    /// `OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT`, otherwise `OTEL_ATTRIBUTE_COUNT_LIMIT`. Default 128.
    pub attribute_count: usize,
    /// `OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT`, otherwise `OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT`, in characters.
    /// `None`, the default, is no limit.
    pub attribute_value_length: Option<usize>,
    /// `OTEL_SPAN_LINK_COUNT_LIMIT`. Default 128. A span of the proxy has one link, or those to the causes of a batch.
    pub link_count: usize,
}

impl Default for SpanLimits {
    fn default() -> Self {
        Self { attribute_count: 128, attribute_value_length: None, link_count: 128 }
    }
}

/// A mistake in the `OTEL_*` variables that would lose every span.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OtelEnvError {
    /// The collector's address cannot be used. The value is shown without credentials and query.
    #[error("{variable}={value} is not the address of a collector: {reason}; {remedy}")]
    Endpoint {
        /// The variable it came from.
        variable: &'static str,
        /// The value, without what may be secret.
        value: String,
        /// What is wrong with it.
        reason: String,
        /// What to write instead.
        remedy: &'static str,
    },
    /// A protocol of the specification that is not built in.
    #[error(
        "{variable}={value} is not supported: use http/protobuf (the default) or grpc, which every collector takes"
    )]
    Protocol {
        /// The variable it came from.
        variable: &'static str,
        /// The protocol that it asks for.
        value: String,
    },
    /// A client key without its certificate, or the other way round.
    #[error("{given} is set and {missing} is not: a client certificate and its key are only of use together")]
    ClientIdentity {
        /// The variable that is set.
        given: &'static str,
        /// The one that is needed with it.
        missing: &'static str,
    },
}

impl OtelEnvError {
    /// The parts of the message: the variable, its value if that is what is wrong, the problem, and the remedy.
    pub fn parts(&self) -> (&'static str, Option<&str>, String, &'static str) {
        match self {
            Self::Endpoint { variable, value, reason, remedy } => (variable, Some(value), reason.clone(), remedy),
            Self::Protocol { variable, value } => (
                variable,
                Some(value),
                "it is not supported".to_owned(),
                "write http/protobuf (the default) or grpc, which every collector takes",
            ),
            Self::ClientIdentity { given, missing } => (
                given,
                None,
                format!("it is set and {missing} is not"),
                "set both, the client's certificate and its key, or neither",
            ),
        }
    }
}

impl Default for OtelSettings {
    /// The settings without any `OTEL_*` variable.
    fn default() -> Self {
        Self {
            enabled: true,
            service_name: None,
            resource_attributes: Vec::new(),
            sampler: Sampler::default(),
            propagators: Propagators::default(),
            otlp: Some(OtlpSettings::default()),
            console: None,
            batch: BatchSettings::default(),
            limits: SpanLimits::default(),
            metrics: None,
            exemplars: ExemplarFilter::default(),
            set_aside: Vec::new(),
        }
    }
}

impl OtelSettings {
    /// Reads all variables by `lookup`, which returns the value of the variable that it is given the name of. Returns the
    /// settings, and one warning without secrets for each value that was set aside.
    ///
    /// # Errors
    /// See [`OtelEnvError`].
    ///
    /// ```
    /// use redistributed::settings::otel::OtelSettings;
    ///
    /// let (settings, warnings) = OtelSettings::from_lookup(&|name| std::env::var(name).ok())?;
    /// for warning in warnings {
    ///     tracing::warn!("{warning}");
    /// }
    /// # Ok::<(), redistributed::settings::otel::OtelEnvError>(())
    /// ```
    pub fn from_lookup(lookup: &dyn Fn(&str) -> Option<String>) -> Result<(Self, Vec<OtelWarning>), OtelEnvError> {
        let mut reader = VariableReader::new(lookup);
        if reader.text("OTEL_CONFIG_FILE").is_some() {
            let text = "OTEL_CONFIG_FILE is not supported: the other OTEL_* variables apply";
            reader.warn("OTEL_CONFIG_FILE", text.to_owned());
        }
        let enabled = !reader.flag("OTEL_SDK_DISABLED");
        let (service_name, resource_attributes) = read_resource(&mut reader);
        let exporters = read_exporters(&mut reader);
        let mut settings = Self {
            enabled,
            service_name,
            resource_attributes,
            sampler: sampling::read_sampler(&mut reader),
            propagators: sampling::read_propagators(&mut reader),
            otlp: if enabled && exporters.otlp { Some(otlp::read(&mut reader, Signal::Traces)?) } else { None },
            console: None,
            batch: read_batch(&mut reader),
            limits: read_limits(&mut reader),
            metrics: if enabled { metrics::read(&mut reader)? } else { None },
            exemplars: reader.choice(&["OTEL_METRICS_EXEMPLAR_FILTER"]),
            set_aside: Vec::new(),
        };
        settings.console = (enabled && exporters.console)
            .then(|| ConsoleSettings::new(ConsoleFormat::default(), settings.batch.schedule_delay, Duration::ZERO));
        let warnings;
        (warnings, settings.set_aside) = reader.into_parts();
        Ok((settings, warnings))
    }
}

/// Reads `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`: the service's name, and the other attributes.
fn read_resource(reader: &mut VariableReader<'_>) -> (Option<String>, Vec<(String, String)>) {
    const SERVICE_NAME: &str = "service.name";
    let mut attributes = reader.pairs("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    let mut named = None;
    attributes.retain(|(key, value)| {
        if key == SERVICE_NAME {
            named = Some(value.clone());
        }
        key != SERVICE_NAME
    });
    (reader.text("OTEL_SERVICE_NAME").or(named.filter(|name| !name.is_empty())), attributes)
}

struct Exporters {
    otlp: bool,
    console: bool,
}

/// Reads `OTEL_TRACES_EXPORTER`, a list in which `none` counts only if it stands alone.
fn read_exporters(reader: &mut VariableReader<'_>) -> Exporters {
    const VARIABLE: &str = "OTEL_TRACES_EXPORTER";
    let mut chosen = Exporters { otlp: false, console: false };
    let (mut none, mut ignored) = (false, Vec::new());
    for name in reader.list(VARIABLE) {
        match name.as_str() {
            "otlp" => chosen.otlp = true,
            "console" => chosen.console = true,
            "none" => none = true,
            other => ignored.push(format!("{} is not known", redact(other))),
        }
    }
    let any = chosen.otlp || chosen.console;
    if none && any {
        ignored.push("none does not stand beside others".to_owned());
    } else if !none && !any {
        chosen.otlp = true;
        if !ignored.is_empty() {
            reader.set_aside(VARIABLE);
        }
    }
    for reason in ignored {
        let applies = effective::exporter_names(chosen.otlp, chosen.console);
        reader.warn(
            VARIABLE,
            format!("{VARIABLE}: {reason} and ignored: {applies} applies; known are otlp, console, none"),
        );
    }
    chosen
}

fn read_batch(reader: &mut VariableReader<'_>) -> BatchSettings {
    const QUEUE: &str = "OTEL_BSP_MAX_QUEUE_SIZE";
    const BATCH: &str = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE";
    let default = BatchSettings::default();
    let max_queue_size = reader.positive(QUEUE, default.max_queue_size).unwrap_or(default.max_queue_size);
    let asked = reader.positive(BATCH, default.max_export_batch_size.min(max_queue_size));
    let max_export_batch_size = asked.unwrap_or(default.max_export_batch_size).min(max_queue_size);
    if asked.is_some_and(|asked| asked > max_queue_size) {
        reader.warn(BATCH, format!("{BATCH} is larger than {QUEUE} and lowered to it: {max_queue_size}"));
    }
    BatchSettings {
        max_queue_size,
        max_export_batch_size,
        schedule_delay: reader.millis(&["OTEL_BSP_SCHEDULE_DELAY"], default.schedule_delay),
        export_timeout: reader.timeout(&["OTEL_BSP_EXPORT_TIMEOUT"], DEFAULT_EXPORT_TIMEOUT),
    }
}

fn read_limits(reader: &mut VariableReader<'_>) -> SpanLimits {
    let default = SpanLimits::default();
    let count = ["OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT"];
    let length = ["OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"];
    SpanLimits {
        attribute_count: reader.first_number(&count, default.attribute_count).unwrap_or(default.attribute_count),
        attribute_value_length: reader.first_number(&length, effective::NO_LIMIT).or(default.attribute_value_length),
        link_count: reader
            .first_number(&["OTEL_SPAN_LINK_COUNT_LIMIT"], default.link_count)
            .unwrap_or(default.link_count),
    }
}
