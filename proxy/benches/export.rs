//! What a span costs, from the relay's offer to the collector's socket: `cargo bench -p redistributed --bench export`.
//!
//! CPU time, not the clock on the wall: it is what a sidecar takes away from its service. The collector is a process of
//! its own, so its time is not counted. `-- parts`, `none`, `gzip` or `idle` run a part of it.
//!
//! Two cores of an AMD EPYC, not alone on their machine (load 1 to 3), the best of several runs, per span; in brackets what
//! it was when the exporter's thread encoded:
//!
//! | | CPU |
//! |---|---|
//! | a record of 160 bytes made and dropped | 6 ns |
//! | encoded, 365 bytes | 48 ns |
//! | the same bytes by a plain write to a socket | 91 ns |
//! | 100,000 spans/s: made, offered and encoded, in bursts of 16 | 106 to 117 ns (47 to 60) |
//! | 100,000 spans/s: exporter's thread (sending) | 148 to 168 ns (232 to 274) |
//! | 6,200,000 to 6,900,000 spans/s: everything | 159 to 161 ns (204 to 247) |
//! | wake-ups of the exporter's thread at 0, 10 and 1,000 spans/s | 2 to 3 a second |
//!
//! Before that, on a quieter machine, everything at 100,000 spans/s took 2980 ns with `opentelemetry-otlp` in place of the
//! encoder, 355 ns with a linked queue of single spans (`crossbeam_queue::SegQueue`), and 229 ns with chunks of records; gzip
//! added 230 ns, and requests of 512 spans instead of 2048 150 ns.
#![expect(clippy::print_stdout, reason = "this is what the program is for")]

use std::hint::black_box;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use redistributed::settings::otel::{OtelSettings, SpanLimits};
use redistributed::telemetry::{Connection, Host, NetworkPeer, Peer, Resource, SpanEncoder, SpanSink, Telemetry};
use redistributed_core::trace::{
    Destination, Operation, SpanContext, SpanId, SpanRecord, TraceFlags, TraceId, UnixNanos,
};
use rustix::time::{ClockId, clock_gettime};

/// Makes this program the collector.
const COLLECTOR: &str = "REDISTRIBUTED_BENCH_COLLECTOR";

/// Spans that the relay hands over at a time: what it reads at once from a service that pipelines 16 commands.
const BURST: u64 = 16;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    if std::env::var_os(COLLECTOR).is_some() {
        return collect();
    }
    // `cargo bench` adds options of its own.
    let chosen: Vec<_> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |part: &str| chosen.is_empty() || chosen.iter().any(|name| name == part);
    let channel = Destination::from("orders.created");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let collector = Collector::start()?;
    println!("{:<52} {:>9}", "", "CPU");
    if wanted("parts") {
        parts(&collector, &channel)?;
    }
    for compression in ["none", "gzip"].into_iter().filter(|compression| wanted(compression)) {
        runtime.block_on(paced(&collector, compression, &channel))?;
        runtime.block_on(saturated(&collector, compression, &channel))?;
    }
    if wanted("idle") {
        runtime.block_on(idle(&collector, &channel))?;
    }
    Ok(())
}

/// A record by itself, the encoder by itself, and the socket by itself: what a plain write of the same bytes takes.
fn parts(collector: &Collector, channel: &Destination) -> Result<(), Failure> {
    const BATCH: u64 = 2_048;
    const BATCHES: u64 = 200;
    const COUNT: u64 = 1_000_000;
    let build = per_span(COUNT, thread_cpu, || (0..COUNT).for_each(|span| drop(black_box(record(channel, span)))));
    println!("{:<52} {build:>6.0} ns", format!("a record of {} bytes made and dropped", size_of::<SpanRecord>()));

    let encoder = SpanEncoder::new(&[], &peer(), &SpanLimits::default());
    let connection = encoder.connection(&connection());
    let records: Vec<_> = (0..BATCH).map(|span| record(channel, span)).collect();
    let mut len = 0;
    let encode = per_span(BATCH * BATCHES, thread_cpu, || {
        for _ in 0..BATCHES {
            let mut request = encoder.open(len);
            records.iter().for_each(|record| encoder.add(record, &connection, &mut request));
            len = black_box(request).len();
        }
    });
    println!("{:<52} {encode:>6.0} ns", format!("encoded, {} bytes a span", len as u64 / BATCH));

    let mut stream = TcpStream::connect(&collector.address)?;
    let body = vec![0; len];
    let write = per_span(BATCH * BATCHES, thread_cpu, || {
        for _ in 0..BATCHES {
            let sent = write!(stream, "POST / HTTP/1.1\r\ncontent-length: {len}\r\n\r\n").and_then(|()| {
                stream.write_all(&body)?;
                stream.read(&mut [0; 4096])
            });
            assert!(sent.is_ok_and(|len| len > 0), "the collector answers");
        }
    });
    println!("{:<52} {write:>6.0} ns", "written to a socket");
    Ok(())
}

/// 100,000 spans a second for some seconds, in bursts; the best of several runs.
async fn paced(collector: &Collector, compression: &str, channel: &Destination) -> Result<(), Failure> {
    const RATE: u64 = 100_000;
    const SECONDS: u64 = 2;
    const TICK: Duration = Duration::from_millis(2);
    let run = |sink: &Sink| {
        let (started, before) = (Instant::now(), thread_cpu());
        let mut sent = 0;
        while sent < RATE * SECONDS {
            let due = RATE * started.elapsed().as_micros() as u64 / 1_000_000;
            while sent < due.min(RATE * SECONDS) {
                burst(sink, channel, sent);
                sent += BURST;
            }
            thread::sleep(TICK);
        }
        (sent, nanos(thread_cpu() - before, sent))
    };
    let (mut without, mut relay, mut exporter) = (f64::INFINITY, f64::INFINITY, f64::INFINITY);
    for _ in 0..5 {
        // Without an exporter: keeping time.
        let none = telemetry(collector, &[("OTEL_TRACES_EXPORTER", "none")])?;
        without = without.min(run(&sink(&none)).1);
        let telemetry = telemetry(collector, &exporter_variables(compression))?;
        let (sent, cpu) = run(&sink(&telemetry));
        relay = relay.min(cpu);
        let before_end = exporter_cpu()?;
        let summary = telemetry.shutdown(Duration::from_secs(10)).await;
        assert_eq!((summary.sent, summary.failed, summary.dropped), (sent, 0, 0), "the collector takes everything");
        // What the last spans of a run cost is not seen by then, and little of the whole.
        exporter = exporter.min(nanos(before_end, sent));
    }
    let label = format!("compression {compression}, {RATE} spans/s: made and offered");
    println!("{label:<52} {:>6.0} ns", relay - without);
    println!("{:<52} {exporter:>6.0} ns", format!("compression {compression}, {RATE} spans/s: exporter's thread"));
    Ok(())
}

/// As many as go through without one being dropped.
async fn saturated(collector: &Collector, compression: &str, channel: &Destination) -> Result<(), Failure> {
    const COUNT: u64 = 1_000_000;
    let (mut cpu, mut rate) = (f64::INFINITY, 0_f64);
    for _ in 0..5 {
        let telemetry = telemetry(collector, &exporter_variables(compression))?;
        let sink = sink(&telemetry);
        let (started, before) = (Instant::now(), process_cpu());
        let mut sent = 0;
        while sent < COUNT {
            if telemetry.summary().queued > 30_000 {
                thread::sleep(Duration::from_millis(1));
                continue;
            }
            (0..64).for_each(|_| {
                burst(&sink, channel, sent);
                sent += BURST;
            });
        }
        let summary = telemetry.shutdown(Duration::from_secs(60)).await;
        cpu = cpu.min(nanos(process_cpu() - before, sent));
        rate = rate.max(sent as f64 / started.elapsed().as_secs_f64());
        assert_eq!((summary.sent, summary.failed, summary.dropped), (sent, 0, 0), "the collector takes everything");
    }
    println!("{:<52} {cpu:>6.0} ns", format!("compression {compression}, {rate:.0} spans/s: all threads"));
    Ok(())
}

/// How often the exporter's thread wakes when there is little to do.
async fn idle(collector: &Collector, channel: &Destination) -> Result<(), Failure> {
    const SECONDS: u32 = 5;
    for rate in [0, 10, 1_000] {
        let telemetry = telemetry(collector, &exporter_variables("none"))?;
        let sink = sink(&telemetry);
        let (before, started) = (exporter_wakes()?, Instant::now());
        for span in 0..rate * SECONDS {
            sink.sink.offer(&record(channel, span.into()));
            thread::sleep((Duration::from_secs(1) / rate * (span + 1)).saturating_sub(started.elapsed()));
        }
        thread::sleep(Duration::from_secs(SECONDS.into()).saturating_sub(started.elapsed()));
        let wakes = exporter_wakes()? - before;
        println!("{:<52} {:>6.1} wake-ups/s", format!("{rate} spans/s"), wakes as f64 / f64::from(SECONDS));
        telemetry.shutdown(Duration::from_secs(10)).await;
    }
    Ok(())
}

/// Where a connection leaves its spans, and what they tell of it.
struct Sink {
    sink: SpanSink,
    connection: Connection,
}

fn burst(Sink { sink, connection }: &Sink, channel: &Destination, from: u64) {
    let records: [_; BURST as usize] = std::array::from_fn(|span| record(channel, from + span as u64));
    sink.offer_all(records.iter(), connection);
}

/// What a publish at full sampling leaves.
fn record(channel: &Destination, span: u64) -> SpanRecord {
    let context = SpanContext {
        trace_id: TraceId::from_u128(0x4bf9_2f35_77b3_4da6 << 64 | u128::from(span)).unwrap_or(TraceId::MIN),
        span_id: SpanId::from_u64(span).unwrap_or(SpanId::MIN),
        flags: TraceFlags::SAMPLED,
    };
    let operation = Operation::Publish { channel: channel.clone(), sharded: false, receivers: Some(4), body_size: 64 };
    SpanRecord {
        parent: SpanId::from_u64(!span),
        end: UnixNanos(1_700_000_000_000_100_000 + span),
        ..SpanRecord::new(context, UnixNanos(1_700_000_000_000_000_000 + span), operation)
    }
}

fn exporter_variables(compression: &str) -> [(&'static str, &str); 1] {
    [("OTEL_EXPORTER_OTLP_COMPRESSION", compression)]
}

fn telemetry(collector: &Collector, variables: &[(&str, &str)]) -> Result<Telemetry, Failure> {
    let lookup = |name: &str| match name {
        "OTEL_EXPORTER_OTLP_ENDPOINT" => Some(collector.endpoint.clone()),
        _ => variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned()),
    };
    let (settings, _) = OtelSettings::from_lookup(&lookup)?;
    Ok(Telemetry::start(&settings, NonZeroUsize::MIN)?)
}

fn sink(telemetry: &Telemetry) -> Sink {
    let resource = Resource::of_service(Some("orders"), &OtelSettings::default(), &Host::detect());
    Sink { sink: telemetry.sink(&Arc::new(resource), &peer()), connection: connection() }
}

fn connection() -> Connection {
    let redis = SocketAddr::from(([10, 0, 0, 17], 6379));
    Connection::new(Some("127.0.0.1:54321".to_owned()), Some(NetworkPeer::Socket(redis)))
}

fn peer() -> Peer {
    Peer { address: "redis.example".to_owned(), port: Some(6379) }
}

fn thread_cpu() -> Duration {
    clock(ClockId::ThreadCPUTime)
}

fn process_cpu() -> Duration {
    clock(ClockId::ProcessCPUTime)
}

fn clock(id: ClockId) -> Duration {
    Duration::try_from(clock_gettime(id)).unwrap_or_default()
}

/// The best of several runs.
fn per_span(spans: u64, clock: impl Fn() -> Duration, mut run: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..7 {
        let before = clock();
        run();
        best = best.min(nanos(clock() - before, spans));
    }
    best
}

fn nanos(time: Duration, spans: u64) -> f64 {
    time.as_nanos() as f64 / spans as f64
}

/// How often the exporter's thread has gone to sleep so far.
fn exporter_wakes() -> Result<u64, Failure> {
    let status = of_exporter("status")?;
    let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    Ok(count.ok_or("the system does not count")?.trim().parse()?)
}

/// CPU time of the exporter's thread so far.
fn exporter_cpu() -> Result<Duration, Failure> {
    let schedstat = of_exporter("schedstat")?;
    Ok(Duration::from_nanos(schedstat.split(' ').next().unwrap_or_default().parse()?))
}

/// What the system says of the newest thread that has this name: one that has been told to stop may still be there.
fn of_exporter(file: &str) -> Result<String, Failure> {
    let mut newest = (0, None);
    for task in std::fs::read_dir("/proc/self/task")? {
        let folder = task?.path();
        let id: u32 = folder.file_name().and_then(|name| name.to_str()?.parse().ok()).unwrap_or(0);
        // A thread may end between being listed and being read.
        let named = std::fs::read_to_string(folder.join("comm")).is_ok_and(|name| name == "span-export\n");
        if named && id > newest.0 {
            newest = (id, Some(folder));
        }
    }
    Ok(std::fs::read_to_string(newest.1.ok_or("there is no exporter")?.join(file))?)
}

/// A process that takes every request and keeps nothing.
struct Collector {
    child: Child,
    address: String,
    endpoint: String,
}

impl Collector {
    fn start() -> Result<Self, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .env(COLLECTOR, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut address = String::new();
        BufReader::new(child.stdout.take().ok_or("no pipe")?).read_line(&mut address)?;
        let address = address.trim().to_owned();
        Ok(Self { child, endpoint: format!("http://{address}"), address })
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The collector's process: lives until its standard input ends.
fn collect() -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A connection that ends in the middle of a request has nothing to tell.
            thread::spawn(move || drop(answer(stream)));
        }
    });
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn answer(stream: TcpStream) -> std::io::Result<()> {
    let mut requests = BufReader::with_capacity(1 << 18, stream.try_clone()?);
    let (mut answers, mut line) = (stream, String::new());
    let mut length = 0;
    loop {
        line.clear();
        if requests.read_line(&mut line)? == 0 {
            return Ok(());
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        if line == "\r\n" {
            std::io::copy(&mut requests.by_ref().take(length), &mut std::io::sink())?;
            answers.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
        }
    }
}
