//! The process's environment: its variables as text, and warnings about those that nothing reads.

use std::cell::RefCell;
use std::env::VarError;
use std::ffi::OsString;

use clap::{Arg, Command};

use super::otel::{SECRETS, VARIABLES, is_known};
use super::suggestion::nearest;

/// The prefix of the options' variables.
pub(super) const PREFIX: &str = "REDISTRIBUTED_";

/// The process's variables. It remembers which of those that were asked for are not text.
#[derive(Debug, Default)]
pub struct EnvironmentVariables {
    not_text: RefCell<Vec<String>>,
}

impl EnvironmentVariables {
    /// The value of `name`. One that is not UTF-8 counts as unset.
    pub fn get(&self, name: &str) -> Option<String> {
        match std::env::var(name) {
            Ok(value) => Some(value),
            Err(VarError::NotPresent) => None,
            Err(VarError::NotUnicode(_)) => {
                let mut not_text = self.not_text.borrow_mut();
                if !not_text.iter().any(|known| known == name) {
                    not_text.push(name.to_owned());
                }
                None
            }
        }
    }

    /// One warning for each variable that counted as unset though it is set. Its value is not shown.
    pub fn into_warnings(self) -> impl Iterator<Item = String> {
        self.not_text.into_inner().into_iter().map(|name| format!("{name} is not valid UTF-8 and ignored"))
    }
}

/// One warning for each of `variables` that begins with the options' prefix and belongs to no option of `command`, because a
/// misspelt name would otherwise go unnoticed. The value is not shown. An empty variable counts as unset.
pub fn unknown(variables: impl Iterator<Item = (OsString, OsString)>, command: &Command) -> Vec<String> {
    let known = || command.get_arguments().filter_map(Arg::get_env).filter_map(|name| name.to_str());
    let mut names: Vec<String> = variables
        .filter(|(_, value)| !value.is_empty())
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| name.starts_with(PREFIX) && !known().any(|known| known == name) && !is_service_link(name))
        .collect();
    names.sort();
    let warning = |name: &String| {
        // Without the common prefix, which would make all names similar.
        let (own, suffixes) = (&name[PREFIX.len()..], known().filter_map(|known| known.strip_prefix(PREFIX)));
        let remedy = match nearest(own, suffixes) {
            Some(meant) => format!("did you mean `{PREFIX}{meant}`?"),
            None => "see --help for those that are".to_owned(),
        };
        format!("{name} is not known and ignored; {remedy}")
    };
    names.iter().map(warning).collect()
}

/// One warning for each of `variables` whose name is nearly that of an `OTEL_*` variable that is read. Others are for the programs
/// and languages that know them. The value is not shown. An empty variable counts as unset.
pub fn nearly_otel(variables: impl Iterator<Item = (OsString, OsString)>) -> Vec<String> {
    const EDITS: usize = 2;
    // The batches of log records, in words that are nearly those of spans.
    const OTHERS: &str = "OTEL_BLRP_";
    let known = || VARIABLES.iter().copied().chain(SECRETS.iter().map(|(_, file)| *file));
    let mut names: Vec<String> = variables
        .filter(|(_, value)| !value.is_empty())
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| name.starts_with("OTEL_") && name.len() <= MAX_OTEL_NAME && !name.starts_with(OTHERS))
        .filter(|name| !is_known(name))
        .collect();
    names.sort();
    let meant = |name: &String| {
        let distance = |known: &&str| strsim::damerau_levenshtein(name, known);
        let nearest = known().min_by_key(distance).filter(|known| distance(known) <= EDITS)?;
        Some(format!("{name} is not known and ignored; did you mean `{nearest}`?"))
    };
    names.iter().filter_map(meant).collect()
}

/// The longest name that is compared, in bytes.
const MAX_OTEL_NAME: usize = 64;

/// Whether Kubernetes itself sets this variable, for a Service whose name begins with `redistributed`: `..._SERVICE_HOST`,
/// `..._SERVICE_PORT`, `..._SERVICE_PORT_<NAME>`, `..._PORT`, `..._PORT_6380_TCP`, `..._PORT_6380_TCP_ADDR`.
fn is_service_link(name: &str) -> bool {
    let of_port = |rest: &str| {
        let (number, kind) = rest.split_once('_').unwrap_or((rest, ""));
        let kind = kind.split_once('_').map_or(kind, |(kind, _)| kind);
        number.parse::<u16>().is_ok() && matches!(kind, "TCP" | "UDP" | "SCTP")
    };
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_PORT")
        || name.contains("_SERVICE_PORT_")
        || name.match_indices("_PORT_").any(|(at, found)| of_port(&name[at + found.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Options;

    fn warnings(variables: &[(&str, &str)]) -> Vec<String> {
        unknown(variables.iter().map(|(name, value)| (name.into(), value.into())), &Options::command())
    }

    #[test]
    fn a_name_that_is_nearly_that_of_an_otel_variable_is_said() {
        let said = |name: &str, value: &str| nearly_otel([(name.into(), value.into())].into_iter());
        for (name, meant) in [
            ("OTEL_SERVCIE_NAME", "OTEL_SERVICE_NAME"),
            ("OTEL_TRACE_SAMPLER", "OTEL_TRACES_SAMPLER"),
            ("OTEL_EXPORTER_OTLP_ENDPIONT", "OTEL_EXPORTER_OTLP_ENDPOINT"),
            ("OTEL_EXPORTER_OTLP_HEADER_FILE", "OTEL_EXPORTER_OTLP_HEADERS_FILE"),
        ] {
            let [warning] = &said(name, "hunter2")[..] else { panic!("{name}: {:?}", said(name, "x")) };
            assert!(
                warning.contains(&format!("{name} is not known")) && warning.contains(&format!("`{meant}`")),
                "{warning}"
            );
            assert!(!warning.contains("hunter2"));
            assert!(said(name, "").is_empty());
        }
        for name in VARIABLES.into_iter().chain(["OTEL_EXPORTER_OTLP_HEADERS_FILE"]) {
            assert!(said(name, "x").is_empty(), "{name}");
        }
        for name in [
            "OTEL_METRICS_EXPORTER",
            "OTEL_LOGS_EXPORTER",
            "OTEL_LOG_LEVEL",
            "OTEL_BLRP_MAX_QUEUE_SIZE",
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
            "OTEL_EXPORTER_OTLP_LOGS_HEADERS",
            "OTEL_SPAN_EVENT_COUNT_LIMIT",
            "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
            "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
            "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT",
            "OTEL_METRIC_EXPORT_INTERVAL",
            "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS",
            "OTEL_JAVAAGENT_ENABLED",
            "OTEL_SEMCONV_STABILITY_OPT_IN",
        ] {
            assert!(said(name, "x").is_empty(), "{name}: {:?}", said(name, "x"));
        }
    }

    #[test]
    fn a_slip_is_said_and_what_kubernetes_sets_is_not() {
        let slips = [("REDISTRIBUTED_MDOE", "strip"), ("REDISTRIBUTED_X", "hunter2"), ("REDISTRIBUTED_OLD", "")];
        let said = warnings(&slips);
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].contains("REDISTRIBUTED_MDOE") && said[0].contains("`REDISTRIBUTED_MODE`"), "{said:?}");
        assert!(!said[1].contains("hunter2") && said[1].contains("--help"), "{said:?}");
        let links = [
            ("REDISTRIBUTED_SERVICE_HOST", "10.0.0.1"),
            ("REDISTRIBUTED_SERVICE_PORT", "6380"),
            ("REDISTRIBUTED_SERVICE_PORT_REDIS", "6380"),
            ("REDISTRIBUTED_PORT", "tcp://10.0.0.1:6380"),
            ("REDISTRIBUTED_PORT_6380_TCP", "tcp://10.0.0.1:6380"),
            ("REDISTRIBUTED_PORT_6380_TCP_PROTO", "tcp"),
            ("REDISTRIBUTED_PORT_6380_TCP_PORT", "6380"),
            ("REDISTRIBUTED_PORT_6380_TCP_ADDR", "10.0.0.1"),
            ("REDISTRIBUTED_ADMIN_PORT_9127_TCP_ADDR", "10.0.0.1"),
            ("REDISTRIBUTED_MODE", "strip"),
        ];
        assert_eq!(warnings(&links), Vec::<String>::new());
    }
}
