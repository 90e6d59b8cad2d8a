//! What the settings in force mean, in sentences for people: for the log at start, the admin port and `check`.

use std::collections::BTreeSet;

use redistributed_core::carrier::{Carrier, StreamCarrier, opencensus, trailer};
use redistributed_core::policy::{Mode, Policy};

use crate::settings::http::listen_url;
use crate::settings::modes::Modes;
use crate::settings::otel::OtelSettings;
use crate::settings::{ListenAddress, Settings};
use crate::telemetry::service_name;

/// What is done to messages, if there is a Redis, which HTTP ports there are, and where the spans of which services go. `http` are the addresses that the HTTP ports are
/// bound to, in the order of the settings.
pub fn start(settings: &Settings, modes: &Modes, http: &[ListenAddress]) -> String {
    let of_routes = settings.routes.iter().map(|route| route.name.as_deref());
    let all = of_routes.chain(settings.http.iter().map(|port| port.name.as_deref()));
    let names: BTreeSet<_> = all.map(|name| service_name(name, &settings.otel)).collect();
    let of = if names.len() == 1 { "the service" } else { "the services" };
    let names = names.into_iter().map(|name| name.escape_debug().to_string()).collect::<Vec<_>>().join(", ");
    let messages = if settings.routes.is_empty() { String::new() } else { format!("{}; ", mode(modes)) };
    let http = requests(settings, http);
    format!("{messages}{http}the spans of {of} {names} {}", destination(&settings.otel))
}

/// Which HTTP ports there are, if there are any.
fn requests(settings: &Settings, bound: &[ListenAddress]) -> String {
    let ports = bound.iter().zip(&settings.http);
    let ports: Vec<_> =
        ports.map(|(address, port)| format!("{} for {}", listen_url(address), port.service_url())).collect();
    match &ports[..] {
        [] => String::new(),
        ports => format!("HTTP requests are taken on {} and get spans; ", ports.join(", ").escape_debug()),
    }
}

/// What is done to messages.
fn mode(modes: &Modes) -> String {
    let does = match modes.general {
        Mode::Auto => "adds a context to a message only while every subscriber is known to be behind a redistributed",
        Mode::Inject => "adds a context to every message, whoever subscribes",
        Mode::Strip => "adds no contexts, and removes those of other proxies",
        Mode::Observe => "changes no message",
    };
    let general = format!("mode {} {does}", modes.general);
    if modes.channels.is_empty() {
        return general;
    }
    let channels: Vec<_> =
        modes.channels.iter().map(|(glob, mode)| format!("{}={mode}", glob.as_str().escape_debug())).collect();
    format!("{general} (other modes for some channels: {})", channels.join(" "))
}

/// Says in words where spans are sent, and where metrics are if they are.
fn destination(otel: &OtelSettings) -> String {
    let metrics = otel.metrics.as_ref().map(|metrics| &metrics.otlp);
    let metrics =
        metrics.map_or_else(String::new, |otlp| format!("; metrics go to {} by {}", otlp.endpoint, otlp.protocol));
    format!("{}{metrics}", destination_of_spans(otel))
}

fn destination_of_spans(otel: &OtelSettings) -> String {
    match (&otel.otlp, otel.console.is_some()) {
        (Some(otlp), console) => {
            let also = if console { " and to standard output" } else { "" };
            format!("go to {} by {}{also}", otlp.endpoint, otlp.protocol)
        }
        (None, true) => "go to standard output".to_owned(),
        (None, false) if otel.enabled => "go nowhere (OTEL_TRACES_EXPORTER=none)".to_owned(),
        (None, false) => "are not made (OTEL_SDK_DISABLED=true)".to_owned(),
    }
}

/// What a subscriber without a proxy sees of the contexts that `policy` adds to every message; `None` if it adds none
/// unless all subscribers are behind proxies.
pub fn seen_without_proxy(policy: &Policy) -> Option<String> {
    let adds = policy.enabled && policy.propagators.carries_traces() && policy.uses(Mode::Inject);
    adds.then(|| added_bytes(policy))
}

/// What contexts look like to somebody whose proxy does not remove them.
pub fn added_bytes(policy: &Policy) -> String {
    let (trailer, opencensus) = (trailer::MIN_LEN, opencensus::LEN);
    let mut forms = vec![format!("{trailer} bytes or more behind the payload, which a JSON parser refuses")];
    // Only the first carrier that matches a channel counts.
    if policy.carriers.first().is_some_and(|(glob, carrier)| *carrier == Carrier::Beside && glob.as_str() == "*") {
        forms.clear();
        forms.push("nothing, because contexts go beside the messages".to_owned());
    }
    let uses = |carrier| policy.carriers.iter().any(|(_, other)| *other == carrier);
    if uses(Carrier::Json) {
        forms.push("a member `traceparent` in a JSON object, where --carrier says json".to_owned());
    }
    if uses(Carrier::OpenCensus) {
        forms.push(format!("{opencensus} bytes before the payload, where --carrier says opencensus"));
    }
    if policy.stream_carriers.iter().any(|(_, carrier)| *carrier == StreamCarrier::Field) {
        forms.push("fields `traceparent` and `tracestate` of streams, where --stream-carrier says field".to_owned());
    }
    if !policy.envelopes.is_empty() {
        forms.push("members `traceparent` and `tracestate` in jobs of the libraries that --envelope names".to_owned());
    }
    forms.join("; ")
}

#[cfg(test)]
mod tests {
    use redistributed_core::glob::Glob;

    use super::*;
    use crate::settings::{Options, Settings};

    fn settings(arguments: &[&str], variables: &[(&str, &str)]) -> Settings {
        let line = ["redistributed"].iter().chain(arguments).map(Into::into);
        let options = Options::from_command_line(line).unwrap();
        let lookup =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Settings::new(&options, &lookup).unwrap()
    }

    fn said(arguments: &[&str], variables: &[(&str, &str)]) -> String {
        let settings = settings(arguments, variables);
        let modes = Modes { general: settings.policy.mode, channels: settings.policy.modes.clone() };
        let http: Vec<_> = settings.http.iter().map(|port| port.listen.clone()).collect();
        start(&settings, &modes, &http)
    }

    #[test]
    fn the_start_is_told_in_words() {
        let one = ["--listen", "127.0.0.1:0", "--upstream", "h"];
        assert_eq!(
            said(&one, &[("OTEL_SERVICE_NAME", "orders")]),
            "mode auto adds a context to a message only while every subscriber is known to be behind a redistributed; \
             the spans of the service orders go to http://localhost:4318/v1/traces by http/protobuf"
        );
        let more = [&one[..], &["--mode", "strip", "--mode-for", "a*=inject"]].concat();
        assert_eq!(
            said(&more, &[("OTEL_TRACES_EXPORTER", "console")]),
            "mode strip adds no contexts, and removes those of other proxies (other modes for some channels: \
             a*=inject); the spans of the service unknown_service:redistributed go to standard output"
        );
        let http = [&one[..], &["--http", "8080,3000", "--http", "unix:/run/a,app:1"]].concat();
        let ports = "; HTTP requests are taken on http://127.0.0.1:8080 for http://127.0.0.1:3000, unix:/run/a for \
                     http://app:1 and get spans; the spans of the service";
        assert!(said(&http, &[]).contains(ports), "{}", said(&http, &[]));
        assert_eq!(
            said(&["--http", "web=8080,3000"], &[]),
            "HTTP requests are taken on http://127.0.0.1:8080 for http://127.0.0.1:3000 and get spans; the spans of the service web \
             go to http://localhost:4318/v1/traces by http/protobuf"
        );
        let two = [&one[..], &["--http", "web=8080,3000"]].concat();
        assert!(
            said(&two, &[("OTEL_SERVICE_NAME", "api")]).contains("of the services api, web"),
            "{}",
            said(&two, &[])
        );
        let routes = ["--route", "a=127.0.0.1:0,h", "--route", "b=127.0.0.1:0,h", "--mode", "observe"];
        assert_eq!(
            said(&routes, &[("OTEL_TRACES_EXPORTER", "none")]),
            "mode observe changes no message; the spans of the services a, b go nowhere (OTEL_TRACES_EXPORTER=none)"
        );
        assert!(said(&routes, &[("OTEL_SDK_DISABLED", "true")]).ends_with("are not made (OTEL_SDK_DISABLED=true)"));
    }

    #[test]
    fn only_contexts_that_are_added_whoever_subscribes_are_seen() {
        assert_eq!(seen_without_proxy(&Policy::default()), None);
        let inject = Policy { mode: Mode::Inject, ..Policy::default() };
        assert!(seen_without_proxy(&inject).unwrap().starts_with("41 bytes or more behind the payload"));
        assert_eq!(seen_without_proxy(&Policy { enabled: false, ..inject }), None);
        let glob = |pattern| Glob::new(pattern).unwrap();
        let some = Policy {
            modes: vec![(glob("a*"), Mode::Inject)],
            carriers: vec![(glob("a*"), Carrier::Json), (glob("b*"), Carrier::OpenCensus)],
            ..Policy::default()
        };
        let seen = seen_without_proxy(&some).unwrap();
        assert!(seen.contains("`traceparent`") && seen.contains("29 bytes before the payload"), "{seen}");
    }
}
