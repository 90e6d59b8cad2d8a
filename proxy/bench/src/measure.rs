//! The order of measurements: each workload goes round all its targets, again and again, so that whatever else the
//! machine does falls on all of them alike. Every other round goes backwards.

use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::load::closed_loop::{ClosedLoop, Exchange, Ran};
use crate::load::connection::Connection;
use crate::load::fan_out::{Delivered, FanOut};
use crate::load::fixed_rate::{FixedRate, Rate};
use crate::load::http::{self, Direction};
use crate::load::http2::Streams;
use crate::load::jobs::{self, Jobs, Queue, Ways};
use crate::load::work::{self, Work};
use crate::sink::Received;
use crate::stats::{Latencies, Percentiles};
use crate::targets::{Rig, Seat, Target};
use crate::usage::CpuTime;
use crate::web::Version;
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
    /// The processor time that Redis took meanwhile.
    pub(crate) redis: CpuTime,
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

/// The longest that is waited for the last spans of a run: those of commands wait up to ten seconds for a cause that may become known.
const LAST_LIMIT: Duration = Duration::from_secs(15);

/// The share of the spans of a run that may be missing where causes are followed.
const UNCAUSED: f64 = 0.001;

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
                Kind::Work { workers } => work(rig, target, workers, plan.window)?,
                Kind::Jobs { queue, workers } => jobs(rig, target, queue, workers, plan.window)?,
                Kind::Http { version, direction, streams, connections } => {
                    let load = Requests { version, direction, streams, connections };
                    load.measure(rig, target, plan.window)?
                }
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
        let missing = |(target, received, expected): &(Target, Received, f64)| match target {
            Target::Traced => expected - received.spans as f64,
            // Until causes are known, which takes a few commands of each kind, these have no spans.
            Target::Follow | Target::Untold | Target::Beside => expected * (1.0 - UNCAUSED) - received.spans as f64,
            _ => 0.0,
        };
        if totals.iter().map(missing).all(|missing| missing <= 0.0) || start.elapsed() > LAST_LIMIT {
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
        let mut greeting = Exchange::default();
        greeting.push(b"PING\r\n", b"+PONG\r\n");
        let mut load = ClosedLoop::connect(rig.address(target, Seat::First), connections, &script, &greeting)?;
        let sample = closed(rig, target, &[Seat::First], window, verb.messages(), &mut |window| load.run(window))?;
        Ok(Sample { units: sample.units * verb.units(size), ..sample })
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
        redis: measured.redis,
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
        redis: measured.redis,
    })
}

/// The processor time is that of the workers' sidecar.
fn work(rig: &Rig<'_>, target: Target, workers: usize, window: Duration) -> Result<Sample, Failure> {
    let mut load = Work::connect(rig.address(target, Seat::First), rig.address(target, Seat::Second), workers)?;
    let each = work::SPANS + if target == Target::Follow { work::FOLLOWED_SPANS } else { 0.0 };
    closed(rig, target, &[Seat::Second], window, each, &mut |window| load.run(window))
}

/// The processor time is that of both sidecars together.
fn jobs(rig: &Rig<'_>, target: Target, queue: Queue, workers: usize, window: Duration) -> Result<Sample, Failure> {
    let (producers, workers_at) = (rig.address(target, Seat::First), rig.address(target, Seat::Second));
    let is_told = target == Target::Follow;
    let mut load =
        Jobs::connect(&Ways { producers, workers: workers_at, redis: rig.redis(), is_told }, queue, workers)?;
    let is_followed = matches!(target, Target::Follow | Target::Untold);
    let each = if is_followed { jobs::FOLLOWED_SPANS } else { 0.0 };
    closed(rig, target, &[Seat::First, Seat::Second], window, each, &mut |window| load.run(window))
}

struct Requests {
    version: Version,
    direction: Direction,
    streams: usize,
    connections: usize,
}

impl Requests {
    fn measure(&self, rig: &Rig<'_>, target: Target, window: Duration) -> Result<Sample, Failure> {
        let Self { version, direction, streams, connections } = *self;
        match (version, direction) {
            (Version::Two, Direction::Down(size)) => {
                let mut load = Streams::connect(rig.address(target, Seat::Http2), connections, streams, size)?;
                closed(rig, target, &[Seat::Http2], window, 1.0, &mut |window| load.run(window))
            }
            _ => {
                let exchange = http::exchange(direction);
                let script = [exchange.clone()].into();
                let mut load = ClosedLoop::connect(rig.address(target, Seat::Http1), connections, &script, &exchange)?;
                rig.expect(target, connections as f64);
                closed(rig, target, &[Seat::Http1], window, 1.0, &mut |window| load.run(window))
            }
        }
    }
}

/// Warms up and measures a closed loop, each unit of which has so many spans. The processor time is that of the sidecars in `seats`.
fn closed(
    rig: &Rig<'_>,
    target: Target,
    seats: &[Seat],
    window: Duration,
    spans_each: f64,
    run: &mut dyn FnMut(Duration) -> Result<Ran, Failure>,
) -> Result<Sample, Failure> {
    rig.expect(target, run(window.mul_f64(WARM_UP))?.operations as f64 * spans_each);
    let measured = over(rig, target, spans_each > 0.0, seats, || run(window))?;
    let ran = measured.result;
    Ok(Sample {
        units: ran.operations as f64,
        seconds: ran.elapsed.as_secs_f64(),
        latency: ran.latencies.percentiles(),
        cpu: measured.cpu,
        redis: measured.redis,
        spans: measured.spans.zip(rig.expect(target, ran.operations as f64 * spans_each)),
    })
}

struct Measured<T> {
    result: T,
    cpu: Option<CpuTime>,
    redis: CpuTime,
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
    let redis_before = rig.redis_cpu()?;
    let result = load()?;
    let spans = settle()?.zip(spans_before).map(|(after, before)| (after - before) as f64);
    let mut cpu = None;
    for (&seat, before) in seats.iter().zip(cpu_before) {
        if let Some((before, after)) = before.zip(rig.cpu(target, seat)?) {
            cpu = Some(after.since(before).plus(cpu.unwrap_or_default()));
        }
    }
    let redis = rig.redis_cpu()?.since(redis_before);
    Ok(Measured { result, cpu, redis, spans })
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
