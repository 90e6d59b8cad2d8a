//! Everything that the user reads, on standard output; failures on standard error.

use std::fmt::Display;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::path::Path;

use redistributed_core::printable::{printable, printable_lines};
use span_tree::{Look, Style, Tone, draw};

use crate::failure::Failure;
use crate::render;
use crate::tree::Trace;

/// How much of a log is shown after a failure, in lines.
const LOG_TAIL: usize = 15;

pub(crate) struct Screen {
    style: Style,
}

impl Screen {
    pub(crate) fn stdout() -> Self {
        Self { style: Style::of_output(stdout().is_terminal(), |name| std::env::var(name).ok()) }
    }

    pub(crate) fn line(&self, text: impl Display) {
        // Nobody reads any more, as in `demo | head -1`: the checks and the exit code are still worth having.
        let _ = writeln!(stdout(), "{text}");
    }

    pub(crate) fn heading(&self, text: &str) {
        self.line(format_args!("\n{}", self.style.paint(Tone::Strong, text)));
    }

    pub(crate) fn good(&self, text: &str) {
        self.line(format_args!("\n{}", self.style.paint(Tone::Good, text)));
    }

    pub(crate) fn bad(&self, text: &str) {
        self.line(self.style.paint(Tone::Bad, text));
    }

    /// A program that now runs.
    pub(crate) fn started(&self, name: &str, what: &str) {
        self.line(format_args!("  {} {what}", self.style.paint(Tone::Strong, &format!("{name:<15}"))));
    }

    pub(crate) fn tree(&self, trace: &Trace, title: &str, link: Option<&str>) {
        self.line(format_args!("\n{}", draw(trace, title, link, Look { style: self.style, width: None }).trim_end()));
    }

    /// Transactions with their titles, each on one line.
    pub(crate) fn transactions<'a>(&self, transactions: impl IntoIterator<Item = (&'a Trace, &'a str)>) {
        self.line(format_args!("\n{}", render::head_of_lines(self.style)));
        for (trace, title) in transactions {
            self.line(render::line(trace, title, self.style));
        }
    }

    pub(crate) fn failure(&self, failure: &Failure, logs: Option<&Path>) {
        let mut text = format!("demo: {}\n", printable_lines(&failure.to_string()));
        if let Some(log) = failure.log().and_then(|path| std::fs::read(path).ok()) {
            let log = String::from_utf8_lossy(&log);
            let lines: Vec<&str> = log.lines().collect();
            for line in &lines[lines.len().saturating_sub(LOG_TAIL)..] {
                text += &format!("  | {}\n", printable(line));
            }
        }
        if let Some(logs) = logs {
            text += &format!("demo: the logs of all programs are in {}\n", logs.display());
        }
        // If standard error is closed too, only the exit code is left.
        let _ = stderr().write_all(text.as_bytes());
    }
}
