//! The targets: what was promised, what was measured, pass or miss.

use std::fmt::Write;

use crate::measure::{Sample, Series};
use crate::stats::Spread;
use crate::targets::Target;
use crate::workloads::{Kind, Verb, commands};

/// One promise about a ratio to HAProxy.
struct Promise {
    text: &'static str,
    kind: Kind,
    figure: fn(&Sample) -> Option<f64>,
    limit: Limit,
}

enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

fn promises() -> Vec<Promise> {
    use Limit::{AtLeast, AtMost};
    let plain =
        |text, verb, pipeline, figure, limit| Promise { text, kind: commands(verb, 64, pipeline, 50), figure, limit };
    vec![
        plain("untraced GET P1, CPU", Verb::Get, 1, Sample::cost as fn(&Sample) -> Option<f64>, AtMost(1.0)),
        plain("untraced GET P16, CPU", Verb::Get, 16, Sample::cost, AtMost(1.15)),
        plain("untraced GET P1, throughput", Verb::Get, 1, Sample::rate, AtLeast(1.0)),
        plain("untraced GET P16, throughput", Verb::Get, 16, Sample::rate, AtLeast(0.95)),
        plain("untraced SET P1, CPU", Verb::Set, 1, Sample::cost, AtMost(1.0)),
        plain("untraced SET P16, CPU", Verb::Set, 16, Sample::cost, AtMost(1.15)),
        plain("untraced SET P1, throughput", Verb::Set, 1, Sample::rate, AtLeast(1.0)),
        plain("untraced SET P16, throughput", Verb::Set, 16, Sample::rate, AtLeast(0.95)),
        plain("traced PUBLISH P1, CPU", Verb::Publish, 1, Sample::cost, AtMost(1.1)),
        plain("traced PUBLISH P16, CPU", Verb::Publish, 16, Sample::cost, AtMost(1.5)),
    ]
}

/// One line for each promise that this run has figures for.
pub(crate) fn lines(all: &[Series]) -> String {
    let mut out = String::new();
    for promise in promises() {
        let Some(series) = all.iter().find(|series| series.kind == promise.kind) else { continue };
        let Some(ratio) = series.ratio(Target::Traced, promise.figure) else { continue };
        line(&mut out, promise.text, "x HAProxy", ratio, &promise.limit);
    }
    out
}

fn line(out: &mut String, text: &str, unit: &str, measured: Spread, limit: &Limit) {
    let (passed, relation, bound) = match *limit {
        Limit::AtMost(bound) => (measured.median <= bound, "<=", bound),
        Limit::AtLeast(bound) => (measured.median >= bound, ">=", bound),
    };
    let verdict = if passed { "pass" } else { "MISS" };
    // Writing to a string cannot fail.
    let _ = writeln!(out, "  {verdict}  {text:<44} {:<20} {unit}, target {relation} {bound}", measured.to_string());
}
