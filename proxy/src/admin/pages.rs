//! Pages of plain text.

use std::fmt::Write;

use crate::settings::modes::Modes;
use crate::settings::sources::Sources;
use crate::settings::{Settings, effective};

/// What there is.
pub(super) const INDEX: &str = "\
GET    /healthz  200: the process runs
GET    /readyz   200 if every Redis answers PING, else 503
GET    /metrics  what is counted and timed, for Prometheus
GET    /tap      messages' envelopes as they pass, a JSON object a line; ?channel=GLOB&route=NAME&limit=N
GET    /config   the settings in force and where each came from, without secrets
GET    /mode     the modes in force
PUT    /mode     puts modes in force for all connections: 'strip', or 'inject orders.*=strip'
DELETE /mode     goes back to what the settings say
POST   /reload   reads the configuration file, certificates and passwords again, as SIGHUP does
";

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
