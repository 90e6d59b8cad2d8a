//! The form of the proxy's own log, and what is in it.

use clap::Args;
use redistributed_core::choice::choice;

use super::choices::parser;
use super::values::Values;

/// The options of the log.
#[derive(Clone, Args)]
#[command(next_help_heading = "Logs")]
pub(crate) struct LogOptions {
    /// Form of the lines on standard error
    #[arg(long, value_parser = parser::<LogFormat>(), default_value_t)]
    log_format: LogFormat,

    /// What is logged; start and stop always are, unless off
    #[arg(long, value_parser = parser::<LogLevel>(), default_value_t)]
    log_level: LogLevel,
}

choice! {
    /// The form of the log's lines: `--log-format`.
    pub enum LogFormat, default Text {
        /// Lines for people
        Text = "text",
        /// One JSON object a line
        Json = "json",
    }
}

choice! {
    /// The least severe lines that are logged: `--log-level`.
    pub enum LogLevel, default Warn {
        /// Nothing
        Off = "off",
        /// Failures of the proxy itself
        Error = "error",
        /// Events that an operator should look at
        Warn = "warn",
        /// Events of the whole process
        Info = "info",
        /// Events of single connections
        Debug = "debug",
        /// Everything
        Trace = "trace",
    }
}

/// The proxy's own log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// The form of a line.
    pub format: LogFormat,
    /// The least severe of the lines that are written.
    pub level: LogLevel,
}

impl From<&LogOptions> for Log {
    fn from(options: &LogOptions) -> Self {
        Self { format: options.log_format, level: options.log_level }
    }
}

impl Log {
    pub(super) fn effective(self) -> Values {
        vec![("log-format", self.format.to_string()), ("log-level", self.level.to_string())]
    }
}
