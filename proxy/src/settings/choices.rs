//! The options whose value is one of a few names, as far as the core does not define them.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use redistributed_core::choice::{Choice, choice};

choice! {
    /// `--upstream-login`
    pub enum LoginScope, default Proxy {
        /// The proxy's own: services send AUTH and SELECT themselves, as they would to Redis
        Proxy = "proxy",
        /// Services' too: the proxy sends AUTH, and SELECT if the URL names a database, before a service's first byte
        Clients = "clients",
    }
}

choice! {
    /// `--connect-retry`
    pub enum Retry, default On {
        /// It is tried again, with growing pauses
        On = "on",
        /// The service's connection is closed at once
        Off = "off",
    }
}

choice! {
    /// `--admin-control`: who may switch the mode, have the settings read again, and watch messages.
    pub enum Control, default Local {
        /// Whoever connects over loopback; the rest may look at health, metrics and settings
        Local = "local",
        /// Whoever reaches the port
        All = "all",
    }
}

choice! {
    /// `--log-format`
    pub enum LogFormat, default Text {
        /// Lines for people
        Text = "text",
        /// One JSON object a line
        Json = "json",
    }
}

choice! {
    /// `--log-level`
    pub enum LogLevel, default Warn {
        /// Nothing
        Off = "off",
        /// What the proxy cannot do
        Error = "error",
        /// What an operator should look at
        Warn = "warn",
        /// What happens to the process
        Info = "info",
        /// What happens to single connections
        Debug = "debug",
        /// Everything
        Trace = "trace",
    }
}

/// Reads the name of a choice from the command line, and tells help of all of them.
pub(super) fn choice<T: Choice + Send + Sync>() -> impl TypedValueParser<Value = T> {
    let values = T::ALL.iter().map(|choice| PossibleValue::new(choice.name()).help(choice.help()));
    PossibleValuesParser::new(values).try_map(|name| T::parse(&name).ok_or("it is not known"))
}

/// The names of all choices as the end of a sentence: `inject, strip, observe or auto`.
pub(super) fn listed<T: Choice>(conjunction: &str, form: impl Fn(&str) -> String) -> String {
    let names: Vec<String> = T::ALL.iter().map(|choice| form(choice.name())).collect();
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, first)) => format!("{} {conjunction} {last}", first.join(", ")),
        None => String::new(),
    }
}

/// Reads whether a switch is on from its variable.
pub(super) fn truth(text: &str) -> Result<bool, &'static str> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err("write true or false"),
    }
}
