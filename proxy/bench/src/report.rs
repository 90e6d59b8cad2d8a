//! The tables.

use crate::measure::{Sample, Series};
use crate::sink::Received;
use crate::stats::{Percentiles, Spread};
use crate::targets::Target;
use crate::workloads::{Growth, Kind};

/// Spans that an exporter may keep until it has more: our default of `OTEL_BSP_MAX_EXPORT_BATCH_SIZE`.
const BATCH: f64 = 2048.0;

/// What everything is compared with.
const ANCHOR: Target = Target::HaProxy;

impl Series {
    pub(crate) fn samples(&self, target: Target) -> Option<&[Sample]> {
        self.samples.iter().find(|(of, _)| *of == target).map(|(_, samples)| samples.as_slice())
    }

    /// The spread of a figure over the rounds of `target`.
    pub(crate) fn spread(&self, target: Target, figure: impl Fn(&Sample) -> Option<f64>) -> Option<Spread> {
        Spread::of(self.samples(target)?.iter().filter_map(figure))
    }

    /// The spread of the ratio of a figure to that of HAProxy in the same round.
    pub(crate) fn ratio(&self, target: Target, figure: impl Fn(&Sample) -> Option<f64>) -> Option<Spread> {
        self.ratio_to(ANCHOR, target, figure)
    }

    /// The spread of the ratio of a figure to that of `anchor` in the same round.
    pub(crate) fn ratio_to(
        &self,
        anchor: Target,
        target: Target,
        figure: impl Fn(&Sample) -> Option<f64>,
    ) -> Option<Spread> {
        let pairs = self.samples(target)?.iter().zip(self.samples(anchor)?);
        Spread::of(pairs.filter_map(|(ours, anchor)| Some(figure(ours)? / figure(anchor)?)))
    }
}

impl Sample {
    /// Units a second.
    pub(crate) fn rate(&self) -> Option<f64> {
        Some(self.units / self.seconds)
    }

    /// Microseconds of processor time a unit.
    pub(crate) fn cost(&self) -> Option<f64> {
        Some(self.cpu?.total() / self.units * 1e6)
    }

    /// Microseconds of Redis's processor time a unit.
    fn redis_cost(&self) -> Option<f64> {
        Some(self.redis.total() / self.units * 1e6)
    }

    fn user(&self) -> Option<f64> {
        Some(self.cpu?.user / self.units * 1e6)
    }

    fn system(&self) -> Option<f64> {
        Some(self.cpu?.system / self.units * 1e6)
    }
}

/// What the figures were taken on.
pub(crate) fn machine() -> String {
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model =
        info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map_or("?", |(_, name)| name);
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{cpus} processors ({model}), Linux {}; {}\n", kernel.trim(), load())
}

/// How busy the machine is.
pub(crate) fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!("load average {}", text.split(' ').next().unwrap_or_default())
}

/// Whether spans were lost, over the whole run.
pub(crate) fn spans(totals: &[(Target, Received, f64)]) -> String {
    let mut out = String::new();
    for (target, received, expected) in totals.iter().filter(|(.., expected)| *expected > 0.0) {
        let Received { requests, spans, bytes } = received;
        let share = *spans as f64 / expected * 100.0;
        out += &format!("{target}: the collector received {spans} spans of {expected:.0} ({share:.2} %)");
        out += &format!(" in {requests} requests, {bytes} bytes\n");
    }
    out
}

/// What following causes adds to the proxy that traces everything, what telling other proxies adds to that, what contexts beside
/// messages add to it, and what metrics add to
/// the one that samples nothing: one line for each workload that is measured with both.
pub(crate) fn additions(series: &[Series]) -> String {
    let following = added(series, "Following causes", Target::Traced, Target::Follow);
    let telling = added(series, "Telling other proxies of jobs", Target::Untold, Target::Follow);
    let beside = added(series, "Contexts beside messages instead of in payloads", Target::Follow, Target::Beside);
    following
        + &telling
        + &beside
        + &added(series, "Metrics of what is not sampled", Target::Unsampled, Target::Measured)
}

/// What a job, or a message through two sidecars, costs Redis: one line for each target.
pub(crate) fn redis(series: &[Series]) -> String {
    let mut out = String::new();
    for series in series.iter().filter(|series| matches!(series.kind, Kind::Jobs { .. } | Kind::FixedRate(_))) {
        out += &format!("{}: CPU us of Redis\n", series.kind);
        for &(target, _) in &series.samples {
            let ratio = series.ratio(target, Sample::redis_cost);
            if let Some((cost, ratio)) = series.spread(target, Sample::redis_cost).zip(ratio) {
                out += &format!("  {target:<12} {cost:<20} ratio to HAProxy {ratio}\n");
            }
        }
    }
    out
}

fn added(series: &[Series], what: &str, without: Target, with: Target) -> String {
    let mut out = String::new();
    for series in series {
        let ratio = |figure: fn(&Sample) -> Option<f64>| series.ratio_to(without, with, figure);
        if let Some((rate, cost)) = ratio(Sample::rate).zip(ratio(Sample::cost)) {
            out += &format!("  {:<55} throughput {rate:<18} CPU {cost}\n", series.kind.to_string());
        }
    }
    if out.is_empty() { out } else { format!("{what}, as a ratio to the same proxy without\n{out}") }
}

/// The lines above the columns of [`series`].
pub(crate) fn heading() -> String {
    format!(
        "{:<14} {:>9}  {:<18} {:>8} {:>8} {:>8}   {:>7} = {:>6} + {:>6}  {:<18} {}",
        "",
        "per s",
        "ratio to HAProxy",
        "p50 us",
        "p99",
        "p99.9",
        "CPU us",
        "user",
        "system",
        "ratio to HAProxy",
        "spans"
    )
}

/// One line for each target.
pub(crate) fn series(series: &Series) -> String {
    let mut out = format!("{}\n", series.kind);
    for (target, samples) in &series.samples {
        let target = *target;
        let median =
            |figure: &dyn Fn(&Sample) -> Option<f64>| series.spread(target, figure).map(|spread| spread.median);
        let number =
            |value: Option<f64>, digits: usize| value.map_or("-".to_owned(), |value| format!("{value:.digits$}"));
        let ratio = |spread: Option<Spread>| match spread {
            Some(spread) if target != ANCHOR => spread.to_string(),
            _ => "-".to_owned(),
        };
        let latency = |part: fn(&Percentiles) -> f64| number(median(&|sample| sample.latency.as_ref().map(part)), 0);
        let spans: Vec<(f64, f64)> = samples.iter().filter_map(|sample| sample.spans).collect();
        out += &format!(
            "  {:<12} {:>9}  {:<18} {:>8} {:>8} {:>8}   {:>7} = {:>6} + {:>6}  {:<18} {}\n",
            target,
            number(median(&Sample::rate), 0),
            ratio(series.ratio(target, Sample::rate)),
            latency(|p| p.p50),
            latency(|p| p.p99),
            latency(|p| p.p999),
            number(median(&Sample::cost), 2),
            number(median(&Sample::user), 2),
            number(median(&Sample::system), 2),
            ratio(series.ratio(target, Sample::cost)),
            received(&spans),
        );
    }
    out
}

/// How much of what should have arrived did. What waits for its batch to fill up arrives in a later window, if at all:
/// so much is not held against anybody here, and [`spans`] has the sum of the run.
fn received(rounds: &[(f64, f64)]) -> String {
    let (received, expected) = rounds.iter().fold((0.0, 0.0), |sum, round| (sum.0 + round.0, sum.1 + round.1));
    if expected == 0.0 {
        "-".to_owned()
    } else if expected - received <= BATCH * rounds.len() as f64 {
        "all".to_owned()
    } else {
        format!("{:.1} %", received / expected * 100.0)
    }
}

/// One line for each target: what a unit costs at each step.
pub(crate) fn growth(growth: &Growth, steps: &[Series]) -> String {
    let mut out = format!("CPU us for each unit with more {}\n  {:<12}", growth.name, "");
    growth.steps.iter().for_each(|(measure, _)| out += &format!(" {measure:>8}"));
    let targets = steps.first().map(|series| series.samples.as_slice()).unwrap_or_default();
    for &(target, _) in targets {
        out += &format!("\n  {:<12}", target);
        for series in steps {
            let cost = series.spread(target, Sample::cost).map(|cost| format!("{:.3}", cost.median));
            out += &format!(" {:>8}", cost.unwrap_or_else(|| "-".to_owned()));
        }
    }
    out + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_more_than_a_batch_a_round_counts_as_missing() {
        assert_eq!(received(&[(100_000.0 - BATCH, 100_000.0), (100_000.0 - BATCH, 100_000.0)]), "all");
        assert_eq!(received(&[(80_000.0, 100_000.0), (90_000.0, 100_000.0)]), "85.0 %");
        assert_eq!(received(&[]), "-");
    }
}
