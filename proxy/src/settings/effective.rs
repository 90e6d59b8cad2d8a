//! The effective settings as text: every value with the source it came from, as `--check-config` and `GET /config` show them.

use std::fmt::Write;

use super::Settings;
use super::sources::{Origin, Sources};

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

/// A pair of addresses is a route too.
fn origin_of_route(sources: &Sources, index: usize) -> String {
    match sources.origin_at("route", index, None) {
        Origin::Default => {
            format!("listen: {}, upstream: {}", sources.origin_of("listen"), sources.origin_of("upstream"))
        }
        origin => origin.to_string(),
    }
}

fn origin(settings: &Settings, sources: &Sources, name: &str) -> Origin {
    if !name.starts_with("OTEL_") {
        return sources.origin_of(name);
    }
    let variable = settings.otel.decided_by(name, |variable| sources.get(variable).is_some());
    variable.map_or(Origin::Default, |variable| sources.origin_of(&variable))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::settings::file::keys;
    use crate::settings::{Invocation, Options};

    #[test]
    fn every_setting_is_shown() {
        let words = ["redistributed", "--listen", "127.0.0.1:1", "--upstream", "h"].map(Into::into);
        let loaded = Invocation::new(Options::command(), words).with_file(None, &|_| None).unwrap();
        let page = in_force(&loaded.settings, &loaded.sources);
        // The pair is a route without a name.
        for name in keys(&Options::command())
            .filter_map(clap::Arg::get_long)
            .filter(|name| !["listen", "upstream"].contains(name))
        {
            assert!(page.lines().any(|line| line.starts_with(&format!("{name} = "))), "{name} is not in\n{page}");
        }
    }
}
