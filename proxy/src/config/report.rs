//! `--check-config`: everything that is in force, and who said so.

use std::fmt::Write;

use super::layers::Origin;
use super::load::Loaded;
use crate::RunError;
use crate::key_material::KeyMaterial;
use crate::telemetry::Telemetry;
use crate::upstream::Dialer;

/// One line a setting, as `name = value  # origin`. Without secrets.
pub fn in_force(loaded: &Loaded) -> String {
    let shown = loaded.settings.shown();
    let lines: Vec<_> =
        shown.into_iter().map(|(name, value)| (format!("{name} = {value}"), origin(loaded, name))).collect();
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

fn origin(loaded: &Loaded, name: &str) -> String {
    let sources = &loaded.sources;
    let of = |name: &str| sources.get(name).map(|said| said.origin.clone()).unwrap_or(Origin::Default);
    match (name, of(name)) {
        ("route", Origin::Default) => format!("listen: {}, upstream: {}", of("listen"), of("upstream")),
        // The general form of a variable.
        (_, Origin::Default) => of(&name.replacen("_TRACES_", "_", 1)).to_string(),
        (_, origin) => origin.to_string(),
    }
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
        let page = in_force(&loaded);
        // The pair is a route without a name.
        for name in
            keys(&Args::command()).filter_map(clap::Arg::get_long).filter(|name| !["listen", "upstream"].contains(name))
        {
            assert!(page.lines().any(|line| line.starts_with(&format!("{name} = "))), "{name} is not in\n{page}");
        }
    }
}
