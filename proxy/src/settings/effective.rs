//! The effective settings as text: every value with the source it came from, as `--check-config` and `GET /config` show
//! them.

use std::fmt::Write;

use super::origin::Origin;
use super::redact::redact_url;
use super::sources::Sources;
use super::{Settings, console, http, listeners, naming, policy, routes};

/// Options whose values are redacted part by part before they come here. As a whole they would lose more than a secret.
const REDACTED: [&str; 2] = ["route", "OTEL_RESOURCE_ATTRIBUTES"];

impl Settings {
    /// The name and the effective value of every option, in the order of `--help`, and of every `OTEL_*` variable; also of the
    /// variable that names the proxy on the way to the collector, if there is one. No value that may hold a secret is among
    /// them.
    pub fn effective(&self) -> Vec<(&'static str, String)> {
        let mut values = routes::effective(&self.routes, self.otel.service_name.as_deref());
        values.extend(http::effective(&self.http, &self.http_policy, self.otel.service_name.as_deref()));
        values.extend(self.admin.effective());
        values.extend(listeners::effective(self.listen_tls.as_ref(), self.socket_mode));
        values.extend(self.upstream_tls.effective());
        values.extend(self.upstream_login.effective());
        values.extend(super::neighbours::effective(self.detect_proxies));
        values.extend(policy::effective_tracing(&self.policy));
        values.extend(policy::effective_carriers(&self.policy, self.context_key_file.as_ref()));
        values.extend(self.follow.effective(&self.policy));
        values.extend(naming::effective(&self.policy));
        values.extend(self.auto.effective());
        values.extend(self.limits.effective());
        values.extend(self.tcp.effective());
        values.extend(console::effective(self.otel.console));
        values.extend(self.log.effective());
        values.extend(self.otel.effective());
        for (name, value) in &mut values {
            // A URL in the wrong place, such as a glob, may hold a password too.
            if !REDACTED.contains(name) {
                *value = redact_url(value);
            }
        }
        values
    }
}

/// The effective settings, one a line, as `name = value  # origin`.
pub fn page(settings: &Settings, sources: &Sources) -> String {
    let mut routes = 0..;
    let lines: Vec<_> = settings
        .effective()
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

/// A route was given as `--route`, or as a pair of addresses, or there is none.
fn origin_of_route(sources: &Sources, index: usize) -> String {
    match (sources.origin_at("route", index, None), sources.origin_of("listen"), sources.origin_of("upstream")) {
        (Origin::Default, Origin::Default, Origin::Default) => Origin::Default.to_string(),
        (Origin::Default, listen, upstream) => format!("listen: {listen}, upstream: {upstream}"),
        (origin, ..) => origin.to_string(),
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
    use super::*;
    use crate::settings::file::keys;
    use crate::settings::{Invocation, Options};

    #[test]
    fn every_setting_is_shown_in_the_order_of_the_options() {
        let words = ["redistributed", "--listen", "127.0.0.1:1", "--upstream", "h"].map(Into::into);
        let loaded = Invocation::new(Options::command(), words).with_file(None, &|_| None).unwrap();
        let shown: Vec<_> = loaded.settings.effective().into_iter().map(|(name, _)| name).collect();
        let command = Options::command();
        // The pair of addresses is a route without a name.
        let options =
            keys(&command).filter_map(clap::Arg::get_long).filter(|name| !["listen", "upstream"].contains(name));
        let options: Vec<_> = options.collect();
        assert_eq!(shown[..options.len()], options);
        assert!(shown[options.len()..].iter().all(|name| name.starts_with("OTEL_")), "{shown:?}");
        let page = page(&loaded.settings, &loaded.sources);
        assert_eq!(page.lines().count(), shown.len(), "{page}");
    }

    #[test]
    fn a_process_without_a_route_says_so() {
        let words = ["redistributed", "--http", "8080,3000"].map(Into::into);
        let loaded = Invocation::new(Options::command(), words).with_file(None, &|_| None).unwrap();
        let page = page(&loaded.settings, &loaded.sources);
        let first = page.lines().next().unwrap_or_default();
        assert_eq!(first.split_whitespace().collect::<Vec<_>>(), ["route", "=", "-", "#", "default"]);
    }
}
