//! `--check-config`: everything that is in force, and who said so.

use std::fmt::Write;

use super::Settings;
use super::address::shown_path;
use super::layers::{Origin, Sources};
use super::load::Loaded;
use super::settings::{Route, SettingError};
use crate::RunError;
use crate::files::FileError;
use crate::key_material::KeyMaterial;
use crate::listener::BindError;
use crate::telemetry::{OtlpError, Telemetry, TelemetryError};
use crate::upstream::Dialer;

/// One line a setting, as `name = value  # origin`, of `settings` and who said it. Without secrets.
pub fn in_force(settings: &Settings, sources: &Sources) -> String {
    let mut routes = 0..;
    let lines: Vec<_> = settings
        .shown()
        .into_iter()
        .map(|(name, value)| {
            let origin = match name {
                "route" => origin_of_route(sources, routes.next().unwrap_or_default()),
                _ => origin(settings, sources, name).to_string(),
            };
            (format!("{name} = {value}"), origin)
        })
        .collect();
    let width = lines.iter().map(|(text, _)| text.chars().count()).max().unwrap_or_default().min(60);
    let mut page = String::new();
    for (text, origin) in lines {
        // Writing to a string cannot fail.
        let _ = writeln!(page, "{text:width$}  # {origin}");
    }
    page
}

/// Opens the certificates, keys and passwords that the settings name, as the start would.
///
/// # Errors
/// The first that cannot be used.
pub fn open_files(loaded: &Loaded) -> Result<(), RunError> {
    let settings = &loaded.settings;
    let material = KeyMaterial::read(settings)?;
    for route in &settings.routes {
        Dialer::new(route, settings, &material)?;
    }
    Ok(Telemetry::check(&settings.otel)?)
}

/// What is wrong with a file that a setting names, and who named it.
pub fn explained(error: &RunError, sources: &Sources) -> String {
    let (RunError::File(file) | RunError::Telemetry(TelemetryError::Otlp(OtlpError::Tls(file)))) = error else {
        return error.to_string();
    };
    let FileError { setting, path, problem, remedy } = file.clone();
    let forms = [setting.replacen("_OTLP_", "_OTLP_TRACES_", 1), setting.trim_start_matches("--").to_owned()];
    let origin = forms.iter().map(|name| said_by(sources, name)).find(|origin| *origin != Origin::Default);
    let origin = origin.unwrap_or(Origin::Default);
    SettingError { setting, origin, value: path.as_deref().map(shown_path), problem, remedy }.to_string()
}

/// Why an address cannot be had, and who named it.
pub fn explained_bind(error: &BindError, settings: &Settings, sources: &Sources) -> String {
    let BindError { setting, address, problem, source, remedy } = error;
    let named = |route: &Route| match route.listen.host_port() {
        Some(listen) => listen.to_string() == *address,
        None => route.listen.to_string() == *address,
    };
    let origin = match settings.routes.iter().position(named) {
        Some(index) if *setting == "--route" => sources.origin_at("route", index, None),
        _ => said_by(sources, setting.trim_start_matches("--")),
    };
    let problem = format!("{problem}: {source}");
    SettingError { setting, origin, value: Some(address.clone()), problem, remedy }.to_string()
}

/// A pair of addresses is a route too.
fn origin_of_route(sources: &Sources, index: usize) -> String {
    match sources.origin_at("route", index, None) {
        Origin::Default => {
            format!("listen: {}, upstream: {}", said_by(sources, "listen"), said_by(sources, "upstream"))
        }
        origin => origin.to_string(),
    }
}

fn origin(settings: &Settings, sources: &Sources, name: &str) -> Origin {
    if !name.starts_with("OTEL_") {
        return said_by(sources, name);
    }
    let variable = settings.otel.decided_by(name, |variable| sources.get(variable).is_some());
    variable.map_or(Origin::Default, |variable| said_by(sources, &variable))
}

fn said_by(sources: &Sources, name: &str) -> Origin {
    sources.get(name).map(|said| said.origin.clone()).unwrap_or(Origin::Default)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::config::file::keys;
    use crate::config::{Args, Invocation};

    #[test]
    fn every_setting_is_shown() {
        let words = ["redistributed", "--listen", "127.0.0.1:1", "--upstream", "h"].map(Into::into);
        let loaded = Invocation::new(Args::command(), words).with_file(None, &|_| None).unwrap();
        let page = in_force(&loaded.settings, &loaded.sources);
        // The pair is a route without a name.
        for name in
            keys(&Args::command()).filter_map(clap::Arg::get_long).filter(|name| !["listen", "upstream"].contains(name))
        {
            assert!(page.lines().any(|line| line.starts_with(&format!("{name} = "))), "{name} is not in\n{page}");
        }
    }
}
