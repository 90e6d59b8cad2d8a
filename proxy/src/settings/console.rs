//! How spans look on the console, where `OTEL_TRACES_EXPORTER=console` writes them.

use std::time::Duration;

use clap::Args;
use redistributed_core::choice::choice;

use super::choices::parser;
use super::values::{Values, or_none};

/// The options of the console exporter.
#[derive(Clone, Args)]
#[command(next_help_heading = "Spans on the console")]
pub(crate) struct ConsoleOptions {
    /// Form of the spans on standard output, which OTEL_TRACES_EXPORTER=console writes there
    #[arg(long, visible_alias = "format", value_parser = parser::<ConsoleFormat>(), default_value_t)]
    console_format: ConsoleFormat,
}

choice! {
    /// The form of the spans on standard output: `--console-format`.
    pub enum ConsoleFormat, default Tree {
        /// A tree for each trace, when no more of its spans have come for a few seconds
        Tree = "tree",
        /// One line for people for each span, as it comes
        Lines = "lines",
        /// One JSON object a line for each span, as it comes
        Json = "json",
    }
}

/// The console exporter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsoleSettings {
    /// The form of the spans.
    pub format: ConsoleFormat,
    /// How long a trace waits for more spans after the last one, before its tree is printed.
    pub patience: Duration,
}

impl ConsoleSettings {
    /// How much longer a trace waits than its spans take at most on their way to the exporter.
    const MARGIN: Duration = Duration::from_millis(500);

    /// The settings for spans that come up to `delay` late because they are exported together, and up to `window` late because the
    /// spans of deliveries stay open for so long.
    pub fn new(format: ConsoleFormat, delay: Duration, window: Duration) -> Self {
        Self { format, patience: delay.saturating_add(window).saturating_add(Self::MARGIN) }
    }
}

impl ConsoleOptions {
    /// What the options say, for spans that come as late as [`ConsoleSettings::new`] says.
    pub(super) fn settings(&self, delay: Duration, window: Duration) -> ConsoleSettings {
        ConsoleSettings::new(self.console_format, delay, window)
    }
}

/// A warning if the form of spans `is_given`, and none goes to the console.
pub(super) fn warning(console: Option<ConsoleSettings>, is_given: bool) -> Option<String> {
    let is_idle = is_given && console.is_none();
    is_idle.then(|| "--console-format has no effect without OTEL_TRACES_EXPORTER=console".to_owned())
}

/// The effective values of [`ConsoleOptions`], in their order. Without the exporter they have no effect.
pub(super) fn effective(console: Option<ConsoleSettings>) -> Values {
    vec![("console-format", or_none(console.map(|console| console.format)))]
}
