//! The order of measurements: each workload goes round all its targets, again and again, so that whatever else the
//! machine does falls on all of them alike. Every other round goes backwards.

use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::load::closed_loop::ClosedLoop;
use crate::load::connection::Connection;
use crate::load::fan_out::{Delivered, FanOut};
use crate::load::fixed_rate::{FixedRate, Rate};
use crate::stats::{Latencies, Percentiles};
use crate::targets::{Rig, Seat, Target};
use crate::usage::CpuTime;
use crate::workloads::{Kind, Verb, Workload};

/// How often and how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) window: Duration,
}

/// One measurement of one target.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// Operations, or deliveries.
    pub(crate) units: f64,
    pub(crate) seconds: f64,
    pub(crate) latency: Option<Percentiles>,
    /// Of the proxies that the load went through; `None` for [`Target::Direct`].
    pub(crate) cpu: Option<CpuTime>,
    /// Spans that the collector has received and that it should have; `None` where nothing is traced.
    pub(crate) spans: Option<(f64, f64)>,
}

/// All measurements of a workload, by target and round.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) kind: Kind,
    pub(crate) samples: Vec<(Target, Vec<Sample>)>,
}

/// The part of a window's length that is spent on the same load before it, unmeasured.
const WARM_UP: f64 = 0.2;

/// How many windows a measurement at a fixed rate takes: enough messages for p99.9.
const FIXED_RATE_WINDOWS: f64 = 4.0;

/// Spans have arrived when no more come for so long.
const SETTLED: Duration = Duration::from_millis(150);

/// The longest that is waited for this.
const SETTLE_LIMIT: Duration = Duration::from_secs(8);

/// Goes through one workload.
pub(crate) fn series(rig: &mut Rig<'_>, workload: &Workload, plan: Plan) -> Result<Series, Failure> {
    let mut samples: Vec<(Target, Vec<Sample>)> = workload.targets.iter().map(|&target| (target, Vec::new())).collect();
    for round in 0..plan.rounds {
        for step in 0..samples.len() {
            let index = if round % 2 == 0 { step } else { samples.len() - 1 - step };
            let target = samples[index].0;
            let sample = match workload.kind {
                Kind::Commands { verb, size, pipeline, connections } => {
                    let load = Commands { verb, size, pipeline, connections };
                    load.measure(rig, target, plan.window)?
                }
                Kind::FanOut { subscribers, channels, size } => {
                    fan_out(rig, target, subscribers, channels, size, plan.window)?
                }
                Kind::FixedRate(rate) => fixed_rate(rig, target, rate, plan.window.mul_f64(FIXED_RATE_WINDOWS))?,
            };
            samples[index].1.push(sample);
            rig.check()?;
        }
    }
    Ok(Series { kind: workload.kind, samples })
}

/// Waits for the last batches of a run, which are sent when their time has come though they are not full.
pub(crate) fn wait_for_last_spans(rig: &Rig<'_>) -> Result<(), Failure> {
    let start = Instant::now();
    loop {
        let totals = rig.totals()?;
        let all = totals.iter().filter(|(target, ..)| *target == Target::Traced);
        if all.map(|(_, received, expected)| expected - received.spans as f64).all(|missing| missing <= 0.0)
            || start.elapsed() > SETTLE_LIMIT
        {
            return Ok(());
        }
        std::thread::sleep(SETTLED);
    }
}

struct Commands {
    verb: Verb,
    size: usize,
    pipeline: usize,
    connections: usize,
}

impl Commands {
    fn measure(&self, rig: &Rig<'_>, target: Target, window: Duration) -> Result<Sample, Failure> {
        let Self { verb, size, pipeline, connections } = *self;
        let mut direct = Connection::open(rig.redis())?;
        for (request, reply) in verb.preparation(size) {
            direct.exchange("preparing", &request, &reply)?;
        }
        let script = Kind::script(verb, size, pipeline);
        let mut load = ClosedLoop::connect(rig.address(target, Seat::First), connections, &script)?;
        let spans = |operations: u64| operations as f64 * verb.messages();
        rig.expect(target, spans(load.run(window.mul_f64(WARM_UP))?.operations));
        let measured = over(rig, target, verb.messages() > 0.0, &[Seat::First], || load.run(window))?;
        let ran = measured.result;
        Ok(Sample {
            units: ran.operations as f64 * verb.units(size),
            seconds: ran.elapsed.as_secs_f64(),
            latency: ran.latencies.percentiles(),
            cpu: measured.cpu,
            spans: measured.spans.zip(rig.expect(target, spans(ran.operations))),
        })
    }
}

/// The processor time is that of the subscribers' sidecar.
fn fan_out(
    rig: &Rig<'_>,
    target: Target,
    subscribers: usize,
    channels: usize,
    size: usize,
    window: Duration,
) -> Result<Sample, Failure> {
    let (to, from) = (rig.address(target, Seat::First), rig.address(target, Seat::Second));
    let mut load = FanOut::connect(to, from, subscribers, channels, size)?;
    let spans = |ran: &Delivered| (ran.messages + ran.deliveries) as f64;
    rig.expect(target, spans(&load.run(window.mul_f64(WARM_UP))?));
    let measured = over(rig, target, true, &[Seat::Second], || load.run(window))?;
    Ok(Sample {
        units: measured.result.deliveries as f64,
        seconds: measured.result.elapsed.as_secs_f64(),
        latency: None,
        cpu: measured.cpu,
        spans: measured.spans.zip(rig.expect(target, spans(&measured.result))),
    })
}

/// The processor time is that of both sidecars together.
fn fixed_rate(rig: &Rig<'_>, target: Target, rate: Rate, window: Duration) -> Result<Sample, Failure> {
    let (to, from) = (rig.address(target, Seat::First), rig.address(target, Seat::Second));
    let mut load = FixedRate::connect(to, from, rate)?;
    let spans = |latencies: &Latencies| 2.0 * latencies.len() as f64;
    rig.expect(target, spans(&load.run(window.mul_f64(WARM_UP))?));
    let timed = || {
        let start = Instant::now();
        load.run(window).map(|latencies| (latencies, start.elapsed()))
    };
    let measured = over(rig, target, true, &[Seat::First, Seat::Second], timed)?;
    let (latencies, elapsed) = measured.result;
    Ok(Sample {
        units: latencies.len() as f64,
        seconds: elapsed.as_secs_f64(),
        spans: measured.spans.zip(rig.expect(target, spans(&latencies))),
        latency: latencies.percentiles(),
        cpu: measured.cpu,
    })
}

struct Measured<T> {
    result: T,
    cpu: Option<CpuTime>,
    spans: Option<f64>,
}

/// Runs `load`, and reads before and after it what the proxies in `seats` have used and, if it sends messages, what the
/// target's collector has received. The time that the proxies take afterwards to export what they have queued is theirs
/// too, so it is waited for, before as well as after.
fn over<T>(
    rig: &Rig<'_>,
    target: Target,
    messages: bool,
    seats: &[Seat],
    load: impl FnOnce() -> Result<T, Failure>,
) -> Result<Measured<T>, Failure> {
    let traced = messages && target.sampled_share().is_some();
    let settle = || if traced { settle(rig, target).map(Some) } else { Ok(None) };
    let spans_before = settle()?;
    let cpu_before = seats.iter().map(|&seat| rig.cpu(target, seat)).collect::<Result<Vec<_>, _>>()?;
    let result = load()?;
    let spans = settle()?.zip(spans_before).map(|(after, before)| (after - before) as f64);
    let mut cpu = None;
    for (&seat, before) in seats.iter().zip(cpu_before) {
        if let Some((before, after)) = before.zip(rig.cpu(target, seat)?) {
            cpu = Some(after.since(before).plus(cpu.unwrap_or_default()));
        }
    }
    Ok(Measured { result, cpu, spans })
}

/// Waits until the target's collector gets no more spans; returns how many it has.
fn settle(rig: &Rig<'_>, target: Target) -> Result<u64, Failure> {
    let spans = || rig.received(target).map(|received| received.map_or(0, |received| received.spans));
    let start = Instant::now();
    let mut last = (spans()?, Instant::now());
    while last.1.elapsed() < SETTLED && start.elapsed() < SETTLE_LIMIT {
        std::thread::sleep(SETTLED / 5);
        let now = spans()?;
        if now != last.0 {
            last = (now, Instant::now());
        }
    }
    Ok(last.0)
}
