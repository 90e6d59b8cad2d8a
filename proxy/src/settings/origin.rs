//! Where a value of a setting came from.

use std::fmt;
use std::path::PathBuf;

use super::redact::redact_path;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An option on the command line.
    CommandLine,
    /// The variable of this name.
    Environment(String),
    /// The configuration file; without a position if it is about the whole file.
    File(PathBuf, Option<Position>),
    /// No source says anything.
    Default,
}

/// A position in a file, both counted from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line in the file.
    pub line: usize,
    /// The column in the line.
    pub column: usize,
}

impl Position {
    /// The position of the byte at `offset` of `text`.
    pub(super) fn at(text: &str, offset: usize) -> Self {
        let before = text.get(..offset.min(text.len())).unwrap_or(text);
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self { line: before.matches('\n').count() + 1, column: before[start..].chars().count() + 1 }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommandLine => f.write_str("command line"),
            Self::Environment(variable) => f.write_str(variable),
            Self::File(path, None) => f.write_str(&redact_path(path)),
            Self::File(path, Some(position)) => write!(f, "{}:{position}", redact_path(path)),
            Self::Default => f.write_str("default"),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}
