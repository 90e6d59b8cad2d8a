//! The order of measurements: each workload goes round all its targets, again and again, so that whatever else the
//! machine does falls on all of them alike. Every other round goes backwards.

use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::load::closed_loop::ClosedLoop;
use crate::load::connection::Connection;
use crate::stats::Percentiles;
use crate::targets::{Rig, Seat, Target, between};
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
                    commands(rig, target, verb, size, pipeline, connections, plan.window)?
                }
            };
            samples[index].1.push(sample);
            rig.check()?;
        }
    }
    Ok(Series { kind: workload.kind, samples })
}

fn commands(
    rig: &Rig<'_>,
    target: Target,
    verb: Verb,
    size: usize,
    pipeline: usize,
    connections: usize,
    window: Duration,
) -> Result<Sample, Failure> {
    let mut direct = Connection::open(rig.redis())?;
    for (request, reply) in verb.preparation(size) {
        direct.exchange("preparing", &request, &reply)?;
    }
    let script = Kind::script(verb, size, pipeline);
    let mut load = ClosedLoop::connect(rig.address(target, Seat::First), connections, &script)?;
    load.run(window.mul_f64(WARM_UP))?;
    let window = Window::open(rig, target, verb.messages() > 0.0, &[Seat::First])?.over(|| load.run(window))?;
    let ran = window.result;
    let units = ran.operations as f64;
    Ok(Sample {
        units,
        seconds: ran.elapsed.as_secs_f64(),
        latency: ran.latencies.percentiles(),
        cpu: window.cpu,
        spans: window.spans.map(|received| (received, units * verb.messages() * target.sampled_share().unwrap_or(0.0))),
    })
}

/// What is read before and after a load.
struct Window<'a> {
    rig: &'a Rig<'a>,
    target: Target,
    traced: bool,
    seats: &'a [Seat],
}

struct Measured<T> {
    result: T,
    cpu: Option<CpuTime>,
    spans: Option<f64>,
}

impl<'a> Window<'a> {
    fn open(rig: &'a Rig<'a>, target: Target, messages: bool, seats: &'a [Seat]) -> Result<Self, Failure> {
        Ok(Self { rig, target, traced: messages && target.sampled_share().is_some(), seats })
    }

    /// Runs `load`. The time that the proxies take afterwards to export what they have queued is theirs too, so it is
    /// waited for, before as well as after.
    fn over<T>(self, load: impl FnOnce() -> Result<T, Failure>) -> Result<Measured<T>, Failure> {
        let spans_before = self.settle()?;
        let cpu_before =
            self.seats.iter().map(|&seat| self.rig.cpu(self.target, seat)).collect::<Result<Vec<_>, _>>()?;
        let result = load()?;
        let spans = self.settle()?.zip(spans_before).map(|(after, before)| (after - before) as f64);
        let mut cpu = None;
        for (&seat, before) in self.seats.iter().zip(cpu_before) {
            let used = between(before, self.rig.cpu(self.target, seat)?);
            cpu = match (cpu, used) {
                (None, used) => used,
                (Some(sum), used) => Some(CpuTime::plus(sum, used.unwrap_or_default())),
            };
        }
        Ok(Measured { result, cpu, spans })
    }

    /// Waits until the collector gets no more; returns what it has.
    fn settle(&self) -> Result<Option<u64>, Failure> {
        if !self.traced {
            return Ok(None);
        }
        let spans = || self.rig.received(self.target).map(|received| received.map_or(0, |received| received.spans));
        let start = Instant::now();
        let mut last = (spans()?, Instant::now());
        while last.1.elapsed() < SETTLED && start.elapsed() < SETTLE_LIMIT {
            std::thread::sleep(SETTLED / 5);
            let now = spans()?;
            if now != last.0 {
                last = (now, Instant::now());
            }
        }
        Ok(Some(last.0))
    }
}
