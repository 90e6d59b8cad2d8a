//! The `OTEL_*` environment variables, read into checked settings.
//!
//! The rules are those of the OpenTelemetry specification ("Environment Variable Specification" and "OTLP Exporter"): an empty value
//! counts as unset, only `true` (in any case) is true, a value that is not understood costs a warning and the default
//! applies, and a `_TRACES_` form wins over the general one. Errors are kept for what can only be a mistake that would
//! lose all spans: an address that is none, a protocol that is not built in, half of a client identity.
//!
//! Nothing here reads the process environment: the caller passes a lookup, and logs the warnings once logging is up.

mod effective;
mod otlp;
mod reader;
mod sampling;
#[cfg(test)]
mod tests;
pub(super) mod variables;

use std::time::Duration;

use redistributed_core::trace::Propagators;
use redistributed_core::trace::Sampler;

pub use otlp::{ClientIdentity, Compression, Endpoint, Headers, OtlpSettings, Protocol};

use crate::settings::redact::redact;
use reader::VariableReader;

/// Every variable that is read, in the order of the documentation.
pub const VARIABLES: [&str; 35] = [
    "OTEL_SERVICE_NAME",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_TRACES_EXPORTER",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
    "OTEL_EXPORTER_OTLP_COMPRESSION",
    "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_INSECURE",
    "OTEL_EXPORTER_OTLP_TRACES_INSECURE",
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
    "OTEL_SDK_DISABLED",
    "OTEL_CONFIG_FILE",
];

/// Those that may hold a secret, each with the variable that names a file with its value instead. The specification knows
/// no such variables; the names follow the custom of container images.
pub const SECRETS: [(&str, &str); 2] = [
    ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS_FILE"),
    ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS_FILE"),
];

/// The name of a service that nobody named, as the specification builds it.
pub const UNKNOWN_SERVICE: &str = concat!("unknown_service:", env!("CARGO_PKG_NAME"));

/// Whether `name` is a variable that is read.
pub fn is_known(name: &str) -> bool {
    VARIABLES.contains(&name) || SECRETS.iter().any(|(_, file)| *file == name)
}

/// Everything the `OTEL_*` variables decide.
#[derive(Clone, Debug, PartialEq)]
pub struct OtelSettings {
    /// `OTEL_SDK_DISABLED` is not `true`. If not enabled no span is made or exported, but contexts are still passed on.
    pub enabled: bool,
    /// `OTEL_SERVICE_NAME`, otherwise `service.name` of `OTEL_RESOURCE_ATTRIBUTES`.
    pub service_name: Option<String>,
    /// `OTEL_RESOURCE_ATTRIBUTES` without `service.name`, percent-decoded, in their order.
    pub resource_attributes: Vec<(String, String)>,
    /// `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG`.
    pub sampler: Sampler,
    /// `OTEL_PROPAGATORS`.
    pub propagators: Propagators,
    /// `otlp` is among `OTEL_TRACES_EXPORTER` (it is the default) and the SDK is not disabled.
    pub otlp: Option<OtlpSettings>,
    /// `console` is among `OTEL_TRACES_EXPORTER` and the SDK is not disabled.
    pub console: bool,
    /// `OTEL_BSP_*`.
    pub batch: BatchSettings,
    /// `OTEL_*_LIMIT`.
    pub limits: SpanLimits,
    /// Variables that are set and decide nothing, because they cannot be understood or have no effect: what applies has
    /// another source.
    pub set_aside: Vec<&'static str>,
}

/// `OTEL_BSP_*`: how spans are collected into requests.
///
/// Three defaults differ from the specification's (queue 2048, batch 512, delay 5000 ms), which are made for one service's own
/// spans. A sidecar sees every message of a service in bursts, and a larger batch makes a slow collector cost fewer spans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchSettings {
    /// `OTEL_BSP_MAX_QUEUE_SIZE`: spans that wait at most, of 512 bytes on average at most; the next one is dropped.
    /// Default 65536.
    pub max_queue_size: usize,
    /// `OTEL_BSP_MAX_EXPORT_BATCH_SIZE`: spans in one request at most. Default 2048, about 700 kB, well under the
    /// 4 MiB that collectors take.
    pub max_export_batch_size: usize,
    /// `OTEL_BSP_SCHEDULE_DELAY`: how long a span waits at most for others to share its request. Default 1 s.
    pub schedule_delay: Duration,
    /// `OTEL_BSP_EXPORT_TIMEOUT`: how long one export may take, retries included; `None` is no limit. Default 30 s.
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

/// How much one span may hold. Limits on events are not read, because no span of the proxy has events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpanLimits {
    /// `OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT`, otherwise `OTEL_ATTRIBUTE_COUNT_LIMIT`. Default 128.
    pub attribute_count: usize,
    /// `OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT`, otherwise `OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT`, in characters.
    /// `None`, the default, is no limit.
    pub attribute_value_length: Option<usize>,
    /// `OTEL_SPAN_LINK_COUNT_LIMIT`. Default 128; a span of the proxy has one link at most.
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
        /// What to write.
        remedy: &'static str,
    },
    /// A protocol of the specification that is not built in.
    #[error(
        "{variable}={value} is not supported: use http/protobuf (the default) or grpc, which every collector takes"
    )]
    Protocol {
        /// The variable it came from.
        variable: &'static str,
        /// The protocol.
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
    /// The variable, its value if it is about that, what is wrong, and what to do.
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
    /// What an environment without `OTEL_*` variables means.
    fn default() -> Self {
        Self {
            enabled: true,
            service_name: None,
            resource_attributes: Vec::new(),
            sampler: Sampler::default(),
            propagators: Propagators::default(),
            otlp: Some(OtlpSettings::default()),
            console: false,
            batch: BatchSettings::default(),
            limits: SpanLimits::default(),
            set_aside: Vec::new(),
        }
    }
}

impl OtelSettings {
    /// Reads all variables by `lookup`, which is given a name and answers with the value if there is one. Returns the
    /// settings and one warning, free of secrets, for each value that was set aside.
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
    pub fn from_lookup(lookup: &dyn Fn(&str) -> Option<String>) -> Result<(Self, Vec<String>), OtelEnvError> {
        let mut reader = VariableReader::new(lookup);
        if reader.text("OTEL_CONFIG_FILE").is_some() {
            reader.warn("OTEL_CONFIG_FILE is not supported: the other OTEL_* variables apply".to_owned());
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
            otlp: if enabled && exporters.otlp { Some(otlp::read(&mut reader)?) } else { None },
            console: enabled && exporters.console,
            batch: read_batch(&mut reader),
            limits: read_limits(&mut reader),
            set_aside: Vec::new(),
        };
        let warnings;
        (warnings, settings.set_aside) = reader.into_parts();
        Ok((settings, warnings))
    }
}

/// `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`.
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

/// `OTEL_TRACES_EXPORTER`: a list, in which `none` only counts alone.
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
        reader.warn(format!("{VARIABLE}: {reason} and ignored: {applies} applies; known are otlp, console, none"));
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
        reader.warn(format!("{BATCH} is larger than {QUEUE} and lowered to it: {max_queue_size}"));
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
