//! The targets: what was promised, what was measured, pass or miss.

use std::fmt::Write;

use crate::measure::{Sample, Series};
use crate::memory::Idle;
use crate::stats::{Percentiles, Spread};
use crate::targets::Target;
use crate::workloads::{FIXED_RATE, Growth, Kind, Verb, commands, fan_out};

/// Everything that a run has measured.
#[derive(Default)]
pub(crate) struct Results {
    pub(crate) series: Vec<Series>,
    pub(crate) growth: Vec<(Growth, Vec<Series>)>,
    pub(crate) idle: Vec<Idle>,
}

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

/// What metrics may cost, as a ratio to the same proxy without, which samples nothing.
const METRICS: [(&str, Verb, usize, f64); 4] = [
    ("metrics, GET P1, CPU", Verb::Get, 1, 1.05),
    ("metrics, GET P16, CPU", Verb::Get, 16, 1.05),
    ("metrics, unsampled PUBLISH P1, CPU", Verb::Publish, 1, 1.1),
    ("metrics, unsampled PUBLISH P16, CPU", Verb::Publish, 16, 1.2),
];

/// One of the percentiles.
type Part = fn(&Percentiles) -> f64;

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
        Promise {
            text: "traced delivery to 1,000 subscribers, throughput",
            kind: fan_out(1000, 1),
            figure: Sample::rate,
            limit: AtLeast(0.95),
        },
    ]
}

/// One line for each promise that this run has figures for.
pub(crate) fn lines(results: &Results) -> String {
    let mut out = String::new();
    let of = |kind: Kind| results.series.iter().find(|series| series.kind == kind);
    for promise in promises() {
        let ratio = of(promise.kind).and_then(|series| series.ratio(Target::Traced, promise.figure));
        line(&mut out, promise.text, "x HAProxy", ratio, &promise.limit);
    }
    for (text, verb, pipeline, bound) in METRICS {
        let series = of(commands(verb, 64, pipeline, 50));
        let ratio = series.and_then(|series| series.ratio_to(Target::Unsampled, Target::Measured, Sample::cost));
        line(&mut out, text, "x without metrics", ratio, &Limit::AtMost(bound));
    }
    if let Some(series) = of(FIXED_RATE) {
        let parts: [(_, Part, _); 3] = [("p50", |p| p.p50, 1.25), ("p99", |p| p.p99, 1.25), ("p99.9", |p| p.p999, 2.0)];
        for (name, part, bound) in parts {
            let text = format!("added {name} at 10,000 a second, traced");
            match added(series, part) {
                None => {
                    out += &format!("  ????  {text:<50} not measurable: in most rounds a proxy was faster than none\n")
                }
                ratio => line(&mut out, &text, "x two HAProxies", ratio, &Limit::AtMost(bound)),
            }
        }
    }
    for (growth, steps) in &results.growth {
        let text = format!("growth with {}, traced, worst doubling", growth.name);
        line(&mut out, &text, "x the cost", worst_doubling(growth, steps), &Limit::AtMost(2.2));
    }
    for idle in results.idle.iter().filter(|idle| idle.target == Target::Traced) {
        let one = |figure: f64| Spread::of([figure]);
        let alone = idle.alone.resident as f64 / f64::from(1 << 20);
        line(&mut out, "idle process, traced", "MiB", one(alone), &Limit::AtMost(10.0));
        let connection = idle.per_connection().map(|bytes| bytes / 1024.0).and_then(one);
        line(&mut out, "idle connection, traced", "KiB", connection, &Limit::AtMost(16.0));
        let uneven = idle.unevenness().and_then(one);
        line(&mut out, "idle connection, most / least of the steps", "times", uneven, &Limit::AtMost(1.25));
    }
    out
}

/// What the proxies add to a percentile of the latency, as a ratio to what HAProxies add. `None` unless both add something
/// in most rounds: on a machine that is busy with other things the rounds differ by more than what is added.
fn added(series: &Series, part: Part) -> Option<Spread> {
    let of = |target| {
        let samples = series.samples(target)?.iter();
        Some(samples.map(|sample| sample.latency.as_ref().map_or(f64::NAN, part)).collect::<Vec<_>>())
    };
    let (direct, anchor, ours) = (of(Target::Direct)?, of(Target::HaProxy)?, of(Target::Traced)?);
    let rounds = direct.iter().zip(anchor).zip(ours);
    let meaningful = rounds.filter(|((direct, anchor), ours)| anchor > direct && ours > direct);
    let ratios: Vec<f64> = meaningful.map(|((direct, anchor), ours)| (ours - direct) / (anchor - direct)).collect();
    if ratios.len() * 2 > direct.len() { Spread::of(ratios) } else { None }
}

/// How much more the whole load costs when its measure is doubled, at the step where that is most.
fn worst_doubling(growth: &Growth, steps: &[Series]) -> Option<Spread> {
    let costs: Vec<f64> =
        steps.iter().filter_map(|series| Some(series.spread(Target::Traced, Sample::cost)?.median)).collect();
    let measures: Vec<f64> = growth.steps.iter().map(|&(measure, _)| measure as f64).collect();
    let doublings = costs.windows(2).zip(measures.windows(2)).map(|(cost, measure)| {
        let total = cost[1] / cost[0] * (measure[1] / measure[0]);
        total.powf(2_f64.ln() / (measure[1] / measure[0]).ln())
    });
    let spread = Spread::of(doublings)?;
    Some(Spread { median: spread.max, ..spread })
}

fn line(out: &mut String, text: &str, unit: &str, measured: Option<Spread>, limit: &Limit) {
    let Some(measured) = measured else { return };
    let (passed, relation, bound) = match *limit {
        Limit::AtMost(bound) => (measured.median <= bound, "<=", bound),
        Limit::AtLeast(bound) => (measured.median >= bound, ">=", bound),
    };
    let verdict = if passed { "pass" } else { "MISS" };
    let figures = if measured.min < measured.max { measured.to_string() } else { format!("{:.2}", measured.median) };
    // Writing to a string cannot fail.
    let _ = writeln!(out, "  {verdict}  {text:<50} {figures:<20} {unit}, target {relation} {bound}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::CpuTime;

    fn samples_of(latencies: [f64; 3]) -> Vec<Sample> {
        let latency = |p99| Some(Percentiles { p50: 0.0, p99, p999: 0.0 });
        let sample = |p99| Sample {
            units: 1.0,
            seconds: 1.0,
            latency: latency(p99),
            cpu: None,
            redis: CpuTime::default(),
            spans: None,
        };
        latencies.map(sample).to_vec()
    }

    #[test]
    fn what_is_added_is_compared_round_by_round_and_not_where_the_anchor_added_nothing() {
        let samples = vec![
            (Target::Direct, samples_of([100.0, 100.0, 100.0])),
            (Target::HaProxy, samples_of([200.0, 90.0, 300.0])),
            (Target::Traced, samples_of([250.0, 300.0, 400.0])),
        ];
        let mut series = Series { kind: FIXED_RATE, samples };
        assert_eq!(added(&series, |p| p.p99), Spread::of([1.5, 1.5]));
        series.samples[1].1 = samples_of([200.0, 90.0, 90.0]);
        assert_eq!(added(&series, |p| p.p99), None);
    }

    #[test]
    fn a_constant_cost_of_a_unit_doubles_the_whole_whatever_the_step() {
        let steps: Vec<(usize, Kind)> = [1, 2, 8].map(|n| (n, commands(Verb::List, n, 1, 1))).to_vec();
        let series = steps.iter().map(|&(_, kind)| {
            let cpu = Some(CpuTime { user: 1.0, system: 0.0 });
            let sample =
                Sample { units: 10.0, seconds: 1.0, latency: None, cpu, redis: CpuTime::default(), spans: None };
            Series { kind, samples: vec![(Target::Traced, vec![sample])] }
        });
        let series: Vec<_> = series.collect();
        let worst = worst_doubling(&Growth { name: "elements", steps }, &series).unwrap();
        assert!((worst.median - 2.0).abs() < 1e-9);
    }
}
