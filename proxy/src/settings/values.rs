//! Effective values as text, and the notation of values that there are not.

use std::fmt::Display;
use std::path::PathBuf;

/// Names of options or variables, and the values in effect.
pub(super) type Values = Vec<(&'static str, String)>;

/// Stands for a value that there is not.
pub(super) const NONE: &str = "-";

pub(super) fn or_none(value: Option<impl Display>) -> String {
    value.map_or_else(|| NONE.to_owned(), |value| value.to_string())
}

pub(super) fn format_path(path: Option<&PathBuf>) -> String {
    or_none(path.map(|path| path.display()))
}
