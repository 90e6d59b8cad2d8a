//! The settings in a `policy` or `switch` line. The mode is `inject` unless the line names another.

use redistributed_core::Policy;
use redistributed_core::carrier::json::JsonPath;
use redistributed_core::carrier::{Carrier, ContextKeys, StreamCarrier};
use redistributed_core::choice::Choice;
use redistributed_core::glob::Glob;
use redistributed_core::policy::{Commands, Forged, Mode, Relation, Trust};
use redistributed_core::trace::sampler::{Ratio, Root};
use redistributed_core::trace::{Propagators, Sampler};

pub(crate) fn policy(settings: &str) -> Policy {
    let mut policy = Policy { mode: Mode::Inject, ..Policy::default() };
    let glob = |text: &str| Glob::new(text).unwrap();
    for setting in settings.split_whitespace() {
        let (key, value) = setting.split_once('=').unwrap_or((setting, ""));
        match (key, value) {
            ("mode", value) => match value.rsplit_once('=') {
                Some((pattern, name)) => policy.modes.push((glob(pattern), mode(name))),
                None => policy.mode = mode(value),
            },
            ("relation", "link") => policy.relation = Relation::Link,
            ("trust", "redis") => policy.trust = Trust::Redis,
            ("trust", "none") => policy.trust = Trust::None,
            ("commands", "all") => policy.commands = Commands::All,
            ("commands", "errors") => policy.commands = Commands::Only { slow: None, errors: true },
            // The clock of the transcripts goes on by a nanosecond with each call.
            ("slow", value) => policy.commands = Commands::Only { slow: Some(value.parse().unwrap()), errors: false },
            ("key_template", value) => policy.key_templates.push(glob(value)),
            ("disabled", "") => policy.enabled = false,
            ("include", value) => policy.include.push(glob(value)),
            ("exclude", value) => policy.exclude.push(glob(value)),
            ("read_json", value) => {
                let (pattern, path) = value.rsplit_once('=').unwrap_or((value, "traceparent"));
                policy.read_json.push((glob(pattern), JsonPath::parse(path).unwrap()));
            }
            ("strip_supplied", value) => policy.strip_supplied.push(glob(value)),
            ("keys", value) => policy.keys = ContextKeys::new(value.split(',')),
            ("forged", "keep") => policy.forged = Forged::Keep,
            ("keep_context", value) => policy.keep_context.push(glob(value)),
            ("inject_limit", value) => policy.inject_limit = value.parse().unwrap(),
            ("carrier", value) => {
                let (pattern, carrier) = value.rsplit_once('=').unwrap();
                let carrier = match carrier {
                    "trailer" => Carrier::Trailer,
                    "json" => Carrier::Json,
                    "opencensus" => Carrier::OpenCensus,
                    _ => panic!("{carrier} is no carrier"),
                };
                policy.carriers.push((glob(pattern), carrier));
            }
            ("stream_carrier", value) => {
                let (pattern, carrier) = value.rsplit_once('=').unwrap();
                policy.stream_carriers.push((glob(pattern), StreamCarrier::parse(carrier).unwrap()));
            }
            ("sampler", value) => {
                let (parent_based, root) = match value.strip_prefix("parentbased_") {
                    Some(root) => (true, root),
                    None => (false, value),
                };
                let root = match root {
                    "always_on" => Root::AlwaysOn,
                    "always_off" => Root::AlwaysOff,
                    share => Root::Ratio(Ratio::new(share.parse().unwrap()).unwrap()),
                };
                policy.sampler = Sampler { parent_based, root };
            }
            ("propagators", value) => {
                let has = |name| value.split(',').any(|word| word == name);
                policy.propagators = Propagators {
                    trace_context: has("tracecontext"),
                    baggage: has("baggage"),
                    b3: has("b3"),
                    b3_multi: false,
                    jaeger: has("jaeger"),
                };
            }
            _ => panic!("{setting} is no setting"),
        }
    }
    policy
}

fn mode(name: &str) -> Mode {
    match name {
        "inject" => Mode::Inject,
        "strip" => Mode::Strip,
        "observe" => Mode::Observe,
        "auto" => Mode::Auto,
        _ => panic!("{name} is no mode"),
    }
}
