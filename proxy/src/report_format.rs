//! The form in which `check` and `decode` answer.

use clap::ValueEnum;

/// The choices of `--format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// For people
    Text,
    /// For programs: JSON
    Json,
}
