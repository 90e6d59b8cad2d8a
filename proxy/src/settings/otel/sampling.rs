//! The variables `OTEL_TRACES_SAMPLER` and `OTEL_PROPAGATORS`.

use redistributed_core::trace::Propagators;
use redistributed_core::trace::Sampler;
use redistributed_core::trace::sampler::{Ratio, Root};

use super::reader::VariableReader;
use crate::settings::redact::redact;

const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const SAMPLER_ARG: &str = "OTEL_TRACES_SAMPLER_ARG";
const DEFAULT_SAMPLER: &str = "parentbased_always_on";
const ALONE: &str = "every new trace is sampled; set it to parentbased_traceidratio for a share of them";
const KNOWN_SAMPLERS: &str = "known are always_on, always_off, traceidratio and these three with parentbased_ in front";

pub(super) fn read_sampler(reader: &mut VariableReader<'_>) -> Sampler {
    let Some((parent_based, name)) = reader.first_known(&[SAMPLER], (&DEFAULT_SAMPLER, KNOWN_SAMPLERS), |name| {
        let (parent_based, root) = match name.strip_prefix("parentbased_") {
            Some(root) => (true, root),
            None => (false, name),
        };
        let root = RootName::parse(root)?;
        Some((parent_based, root))
    }) else {
        if reader.text(SAMPLER).is_none() && reader.text(SAMPLER_ARG).is_some() {
            reader.set_aside(SAMPLER_ARG);
            reader.warn(SAMPLER_ARG, format!("{SAMPLER_ARG} has no effect, because {SAMPLER} is not set: {ALONE}"));
        }
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

/// Reads the share of traces that are sampled. It is `None` if it is unset or cannot be used; the specification's default is to
/// sample all.
fn read_ratio(reader: &mut VariableReader<'_>) -> Option<Ratio> {
    let parse = |value: &str| value.parse().ok().and_then(Ratio::new);
    reader.first_known(&[SAMPLER_ARG], (&"1.0", "write a number from 0 to 1"), parse)
}

pub(super) fn read_propagators(reader: &mut VariableReader<'_>) -> Propagators {
    const VARIABLE: &str = "OTEL_PROPAGATORS";
    let nothing = Propagators { trace_context: false, baggage: false, b3: false, b3_multi: false, jaeger: false };
    let (mut chosen, mut none, mut ignored) = (nothing, false, Vec::new());
    for name in reader.list(VARIABLE) {
        match name.as_str() {
            "tracecontext" => chosen.trace_context = true,
            "baggage" => chosen.baggage = true,
            "b3" => chosen.b3 = true,
            "b3multi" => (chosen.b3, chosen.b3_multi) = (true, true),
            "jaeger" => chosen.jaeger = true,
            "none" => none = true,
            "xray" | "ottrace" => ignored.push(format!("{name} is not supported")),
            _ => ignored.push(format!("{} is not known", redact(&name))),
        }
    }
    let mut effective = chosen;
    if none && chosen != nothing {
        ignored.push("none does not stand beside others".to_owned());
    } else if !none && chosen == nothing {
        effective = Propagators::default();
        if !ignored.is_empty() {
            reader.set_aside(VARIABLE);
        }
    }
    for reason in ignored {
        reader.warn(VARIABLE, format!(
            "{VARIABLE}: {reason} and ignored: {} applies; known are tracecontext, baggage, b3, b3multi, jaeger, none",
            propagator_names(effective)
        ));
    }
    effective
}

/// The propagators in the notation of `OTEL_PROPAGATORS`. `b3multi` stands for `b3` too, which is read in the same way.
pub(super) fn propagator_names(propagators: Propagators) -> String {
    let Propagators { trace_context, baggage, b3, b3_multi, jaeger } = propagators;
    let of_b3 = if b3_multi { "b3multi" } else { "b3" };
    let names = [(trace_context, "tracecontext"), (baggage, "baggage"), (b3, of_b3), (jaeger, "jaeger")];
    let chosen: Vec<&str> = names.into_iter().filter_map(|(is_chosen, name)| is_chosen.then_some(name)).collect();
    if chosen.is_empty() { "none".to_owned() } else { chosen.join(",") }
}

/// The sampler in the notation of `OTEL_TRACES_SAMPLER`.
pub(super) fn sampler_name(sampler: Sampler) -> String {
    let root = match sampler.root {
        Root::AlwaysOn => "always_on",
        Root::AlwaysOff => "always_off",
        Root::Ratio(_) => "traceidratio",
    };
    if sampler.parent_based { format!("parentbased_{root}") } else { root.to_owned() }
}
