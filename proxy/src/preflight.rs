//! Errors that show before anything is served, with the origin of the setting that they come from.
//!
//! The settings name files to read and addresses to bind. The modules that read and bind find out whether that works, and know
//! nothing of options, variables and lines of a file. Here their errors get the origin of the setting.

use crate::files::FileError;
use crate::net::key_material::KeyMaterial;
use crate::net::listener::BindError;
use crate::net::upstream::Dialer;
use crate::serve::RunError;
use crate::settings::http::HTTP;
use crate::settings::origin::Origin;
use crate::settings::redact::redact_path;
use crate::settings::sources::Sources;
use crate::settings::{HttpPort, Loaded, Route, SettingError, Settings};
use crate::telemetry::{OtlpError, Telemetry, TelemetryError};

/// Opens the certificates, keys and secrets that the settings name, as the start would.
///
/// # Errors
/// The error about the first that cannot be used.
pub fn open_files(loaded: &Loaded) -> Result<(), RunError> {
    let settings = &loaded.settings;
    let material = KeyMaterial::read(settings)?;
    for route in &settings.routes {
        Dialer::new(route, settings, &material)?;
    }
    Ok(Telemetry::check(&settings.otel, &material.collectors)?)
}

/// The text of `error`, with the origin of the setting if it is about a file that a setting names.
pub fn explained(error: &RunError, sources: &Sources) -> String {
    let (RunError::File(file) | RunError::Telemetry(TelemetryError::Otlp(OtlpError::Tls(file)))) = error else {
        return error.to_string();
    };
    let FileError { setting, path, problem, remedy } = file.clone();
    let of_signal = |signal: &str| setting.replacen("_OTLP_", &format!("_OTLP_{signal}_"), 1);
    let forms = [of_signal("TRACES"), of_signal("METRICS"), setting.trim_start_matches("--").to_owned()];
    let origin = forms.iter().map(|name| sources.origin_of(name)).find(|origin| *origin != Origin::Default);
    let origin = origin.unwrap_or(Origin::Default);
    let value = path.as_deref().map(redact_path);
    SettingError { setting: Some(setting.into()), origin, value, problem, remedy: remedy.into() }.to_string()
}

/// The text of `error`, with the origin of the address.
pub fn explained_bind(error: &BindError, settings: &Settings, sources: &Sources) -> String {
    let BindError { setting, address, problem, source, remedy } = error;
    let named = |route: &Route| match route.listen.host_port() {
        Some(listen) => listen.to_string() == *address,
        None => route.listen.to_string() == *address,
    };
    let origin = match settings.routes.iter().position(named) {
        Some(index) if *setting == "--route" => sources.origin_at("route", index, None),
        _ if *setting == HTTP => {
            let named = |port: &HttpPort| port.listen_url().ends_with(address.as_str());
            let index = settings.http.iter().position(named).unwrap_or_default();
            sources.origin_at("http", index, None)
        }
        _ => sources.origin_of(setting.trim_start_matches("--")),
    };
    let problem = format!("{problem}: {source}");
    let (setting, value, remedy) = (Some((*setting).into()), Some(address.clone()), (*remedy).into());
    SettingError { setting, origin, value, problem, remedy }.to_string()
}
