//! `OTEL_TRACES_SAMPLER` and `OTEL_PROPAGATORS`.

use redistributed_core::session::Propagators;
use redistributed_core::trace::Sampler;
use redistributed_core::trace::sampler::{Ratio, Root};

use super::reader::Reader;
use crate::config::address::without_secrets;

const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const SAMPLER_ARG: &str = "OTEL_TRACES_SAMPLER_ARG";
const KNOWN_SAMPLERS: &str = "parentbased_always_on applies; known are always_on, always_off, traceidratio and these \
                              three with parentbased_ in front";

pub(super) fn read_sampler(reader: &mut Reader<'_>) -> Sampler {
    let Some((parent_based, name)) = reader.first_known(&[SAMPLER], KNOWN_SAMPLERS, |name| {
        let (parent_based, root) = match name.strip_prefix("parentbased_") {
            Some(root) => (true, root),
            None => (false, name),
        };
        let root = RootName::parse(root)?;
        Some((parent_based, root))
    }) else {
        return Sampler::default();
    };
    let root = match name {
        RootName::AlwaysOn => Root::AlwaysOn,
        RootName::AlwaysOff => Root::AlwaysOff,
        RootName::Ratio => read_ratio(reader).map_or(Root::AlwaysOn, Root::Ratio),
    };
    Sampler { parent_based, root }
}

#[derive(Clone, Copy)]
enum RootName {
    AlwaysOn,
    AlwaysOff,
    Ratio,
}

impl RootName {
    fn parse(name: &str) -> Option<Self> {
        match name {
            "always_on" => Some(Self::AlwaysOn),
            "always_off" => Some(Self::AlwaysOff),
            "traceidratio" => Some(Self::Ratio),
            _ => None,
        }
    }
}

/// The share of traces; `None`, if it is unset or unusable, is the specification's default of all.
fn read_ratio(reader: &mut Reader<'_>) -> Option<Ratio> {
    let parse = |value: &str| value.parse().ok().and_then(Ratio::new);
    reader.first_known(&[SAMPLER_ARG], "1.0 applies; a number from 0 to 1 is needed", parse)
}

pub(super) fn read_propagators(reader: &mut Reader<'_>) -> Propagators {
    const VARIABLE: &str = "OTEL_PROPAGATORS";
    let nothing = Propagators { trace_context: false, baggage: false, b3: false, jaeger: false };
    let mut chosen = nothing;
    let mut none = false;
    for name in reader.list(VARIABLE) {
        match name.as_str() {
            "tracecontext" => chosen.trace_context = true,
            "baggage" => chosen.baggage = true,
            "b3" | "b3multi" => chosen.b3 = true,
            "jaeger" => chosen.jaeger = true,
            "none" => none = true,
            "xray" | "ottrace" => reader.warn(format!("{VARIABLE}: {name} is not supported and ignored")),
            _ => {
                let name = without_secrets(&name);
                reader.warn(format!(
                    "{VARIABLE}: {name} is not known and ignored; known are tracecontext, baggage, b3, b3multi, jaeger, none"
                ));
            }
        }
    }
    match (none, chosen == nothing) {
        (true, true) => nothing,
        (false, true) => Propagators::default(),
        (false, false) => chosen,
        (true, false) => {
            reader.warn(format!("{VARIABLE}: none is ignored because propagators are named beside it"));
            chosen
        }
    }
}
