//! The options whose value is one of a few words.

use clap::ValueEnum;

/// Whether a switch is on, as its variable says.
pub(super) fn truth(text: &str) -> Result<bool, &'static str> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err("write true or false"),
    }
}

/// `--mode`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ModeArg {
    /// Add a context to each publish, remove it from each delivery
    Inject,
    /// Add nothing, remove contexts from deliveries
    Strip,
    /// Change no byte; spans only where a message already carries a context
    Observe,
    /// As inject while every subscriber is known to be behind a proxy, otherwise as strip
    Auto,
}

/// `--upstream-login`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LoginArg {
    /// The proxy's own: services send AUTH and SELECT themselves, as they would to Redis
    Proxy,
    /// Services' too: the proxy sends AUTH, and SELECT if the URL names a database, before a service's first byte
    Clients,
}

/// `--connect-retry`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SwitchArg {
    /// It is tried again, with growing pauses
    On,
    /// The service's connection is closed at once
    Off,
}

/// `--admin-control`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ControlArg {
    /// Whoever connects over loopback; the rest may look at health, metrics and settings
    Local,
    /// Whoever reaches the port
    All,
}

/// `--relation`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RelationArg {
    /// Its child: one trace shows the whole transaction
    Parent,
    /// A trace of its own with a link: for large fan-out and endless loops
    Link,
}

/// `--trust`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TrustArg {
    /// Those in all payloads, those that the service itself publishes among them
    All,
    /// Those in messages that Redis delivers
    Redis,
    /// None: each publish and each delivery begins a trace of its own
    None,
}

/// `--commands`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CommandsArg {
    /// Publishes and deliveries only
    None,
    /// A CLIENT span for each command, without its arguments
    All,
}

/// `--log-format`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormatArg {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// `--log-level`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the usual five levels, and none")]
pub enum LogLevelArg {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}
