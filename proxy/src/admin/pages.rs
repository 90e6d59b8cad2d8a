//! Pages of plain text.

use std::fmt::Write;

use crate::settings::modes::Modes;
use crate::settings::sources::Sources;
use crate::settings::{Settings, effective};

/// The settings in force, one a line, as `name = value`, with who said it if `sources` tell.
pub(super) fn config(settings: &Settings, sources: Option<&Sources>, modes: &Modes) -> String {
    let mut page = match sources {
        Some(sources) => effective::page(settings, sources),
        None => settings.effective().into_iter().map(|(name, value)| format!("{name} = {value}\n")).collect(),
    };
    // Writing to a string cannot fail.
    let _ = writeln!(page, "\n# in force now\nmode = {}", modes);
    page
}
