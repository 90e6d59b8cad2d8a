//! From finished spans to a collector, without ever keeping the data path waiting.
//!
//! ```text
//! relay --SpanSink::offer_all--> encoder -> queue --> exporter (own thread) --> otlp/ or console
//!          never waits       encodes    bounded    several requests in flight
//! ```
//!
//! What is measured (`meter`) goes another way: `metric_exporter`, on the same thread, sends it to a collector every minute or so.
//!
//! Every span that is offered ends in exactly one of three counts: *sent* (the collector took it), *failed* (an export
//! was refused or took too long) or *dropped* (it found the queue full, or was still waiting when the time to shut
//! down was over). `otlp/` is the only folder that knows how OTLP looks on the wire.

mod connection;
mod console;
mod describe;
mod encoder;
mod exporter;
pub mod histogram;
mod loss_report;
pub mod meter;
mod metric_exporter;
mod otlp;
pub mod probe;
mod queue;
mod resource;
mod sink;
pub mod stats;
pub mod tap;
mod totals;

use std::future::Future;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

pub use connection::{Connection, NetworkPeer};
pub use describe::{CAUSE, HANDED_OVER, LINK, RECEIVERS, SHARDED, SKIPPED, WRITER, quoted};
pub use otlp::{ConnectionAttributes, OpenRequest, OtlpError, SpanEncoder};
pub use resource::{Host, Resource, service_name};
#[cfg(test)]
pub(crate) use sink::test_sink;
pub use sink::{SpanListener, SpanSink};
pub use totals::{ExportResult, ExportSummary};

use crate::logging::LIFECYCLE;
use crate::net::key_material::Collectors;
use crate::settings::otel::OtelSettings;
use encoder::Encoders;
use exporter::{Destination, Exporter, Stop};
use histogram::Reading;
use meter::Meters;
use metric_exporter::MetricExporter;
use queue::SpanQueue;
use sink::Outlet;
use tap::Tap;
use totals::Totals;

/// The other end of what a span is about: the Redis that an endpoint connects to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// `server.address`: a host name, an IP address, or the path of a Unix socket.
    pub address: String,
    /// `server.port`; `None` for a Unix socket.
    pub port: Option<u16>,
}

/// The reason why telemetry cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The OTLP exporter cannot be built.
    #[error(transparent)]
    Otlp(#[from] OtlpError),
    /// The system provides no thread or no event loop for it.
    #[error("cannot start the thread that exports spans: {0}")]
    Thread(#[source] std::io::Error),
}

/// The running exporter. If it is dropped without [`shutdown`](Self::shutdown), it stops at once, and the spans that it holds are
/// lost.
#[derive(Debug)]
pub struct Telemetry {
    export: Option<(Arc<SpanQueue>, Encoders)>,
    meters: Option<Arc<Meters>>,
    totals: Arc<Totals>,
    tap: Arc<Tap>,
    /// Whom to tell that it is over: those who export spans and metrics.
    stop: Vec<oneshot::Sender<Stop>>,
}

impl Telemetry {
    /// Starts the exporter, for connections on so many threads, with the files that the settings name as they are now.
    ///
    /// # Errors
    /// A file that the settings name cannot be used, or one of the errors of [`start_with`](Self::start_with).
    pub fn start(settings: &OtelSettings, threads: NonZeroUsize) -> Result<Self, TelemetryError> {
        let material = Collectors::read(settings).map_err(OtlpError::from)?;
        Self::start_with(settings, material, threads)
    }

    /// Starts the exporter. It runs on a thread and a runtime of its own, so that sending thousands of spans cannot delay a relayed
    /// byte. No connection is made before there is something to send. What `material` holds may change while it runs.
    ///
    /// # Errors
    /// The collector's settings or files cannot be used, or the system gives no thread. A collector that does not answer is no error.
    pub fn start_with(
        settings: &OtelSettings,
        material: Collectors,
        threads: NonZeroUsize,
    ) -> Result<Self, TelemetryError> {
        let totals = Arc::new(Totals::default());
        let meters = settings.metrics.is_some().then(|| Meters::new(settings.exemplars));
        let has_spans = settings.otlp.is_some() || settings.console.is_some();
        if !has_spans && meters.is_none() {
            return Ok(Self { export: None, meters, totals, tap: Arc::default(), stop: Vec::new() });
        }
        let of_metrics = settings.metrics.as_ref().map(|metrics| &metrics.otlp);
        for (otlp, proxy) in
            settings.otlp.iter().chain(of_metrics).filter_map(|otlp| Some((otlp, otlp.proxy.as_ref()?)))
        {
            let (collector, variable) = (&otlp.endpoint, proxy.variable);
            tracing::info!(target: LIFECYCLE, %collector, %proxy, variable, "{} go through a proxy", otlp.signal.noun());
        }
        let queue = has_spans.then(|| Arc::new(SpanQueue::new(&settings.batch, threads)));
        let (mut stop, mut jobs) = (Vec::new(), Jobs { spans: None, metrics: None });
        let mut stopped = || {
            let (sender, receiver) = oneshot::channel();
            stop.push(sender);
            receiver
        };
        jobs.spans = queue.clone().map(|queue| (queue, Arc::clone(&totals), stopped()));
        jobs.metrics = meters.clone().map(|meters| (meters, Arc::clone(&totals), stopped()));
        let (started, starting) = mpsc::sync_channel(1);
        let thread = {
            let settings = settings.clone();
            move || run_thread(&settings, &material, jobs, &started)
        };
        thread::Builder::new().name("span-export".to_owned()).spawn(thread).map_err(TelemetryError::Thread)?;
        let gone = || Err(TelemetryError::Thread(std::io::Error::other("it ended before it had begun")));
        starting.recv().unwrap_or_else(|_| gone())?;
        let export = queue.map(|queue| (queue, Encoders::new(settings)));
        Ok(Self { export, meters, totals, tap: Arc::default(), stop })
    }

    /// Checks whether [`start_with`](Self::start_with) could build the exporter. It connects to nothing.
    ///
    /// # Errors
    /// The collector's settings or files cannot be used, as for [`start_with`](Self::start_with).
    pub fn check(settings: &OtelSettings, material: &Collectors) -> Result<(), TelemetryError> {
        // Nothing runs in it.
        let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(TelemetryError::Thread)?;
        let _inside = runtime.enter();
        Destination::new(settings, &material.spans)?;
        if let Some(metrics) = &settings.metrics {
            MetricExporter::new(metrics, &material.metrics, Meters::new(settings.exemplars), Arc::default())?;
        }
        Ok(())
    }

    /// Measures operations from here on, for who reads [`meters`](Self::meters). Without an SDK nothing is measured.
    #[must_use]
    pub fn measuring(self, settings: &OtelSettings) -> Self {
        let meters = self.meters.or_else(|| settings.enabled.then(|| Meters::new(settings.exemplars)));
        Self { meters, ..self }
    }

    /// What is measured, if anything is.
    pub fn meters(&self) -> Option<Arc<Meters>> {
        self.meters.clone()
    }

    /// Where the connections of an endpoint leave their spans: those of the service that `resource` describes, which are about
    /// `peer`. It can be asked for at any time.
    pub fn sink(&self, resource: &Arc<Resource>, peer: &Peer) -> SpanSink {
        let outlet = match &self.export {
            Some((queue, encoders)) => Outlet::Queue(Arc::clone(queue), encoders.get(resource, peer)),
            None => Outlet::Nowhere,
        };
        let recorder = self.meters.as_ref().map(|meters| meters.recorder(resource, peer));
        SpanSink::new(resource.service_name(), outlet, Arc::clone(&self.tap)).measured_by(recorder)
    }

    fn queue(&self) -> Option<&Arc<SpanQueue>> {
        self.export.as_ref().map(|(queue, _)| queue)
    }

    /// The tap, where messages of all services can be watched.
    pub fn tap(&self) -> Arc<Tap> {
        Arc::clone(&self.tap)
    }

    /// The counts so far.
    pub fn summary(&self) -> ExportSummary {
        self.totals.summary(self.queue().map(Arc::as_ref))
    }

    /// A view of the counts, for readers who look while the exporter runs.
    pub fn totals(&self) -> SpanTotals {
        SpanTotals { queue: self.queue().cloned(), totals: Arc::clone(&self.totals) }
    }

    /// Sends what is left, for as long as `deadline` at most, and returns the final counts. Spans that are offered
    /// from now on, and those that are unsent when time is up, count as dropped. What was measured is sent once more.
    pub async fn shutdown(mut self, deadline: Duration) -> ExportSummary {
        let deadline = Instant::now() + deadline;
        let orders: Vec<_> = self
            .stop
            .drain(..)
            .map(|stop| {
                let (done, finished) = oneshot::channel();
                (stop.send(Stop { deadline, done }), finished)
            })
            .collect();
        for (order, finished) in orders {
            // Neither can fail unless the thread is gone, and then there is nothing to wait for.
            if order.is_ok() {
                let _ = finished.await;
            }
        }
        self.summary()
    }
}

/// A view of the counts of a running exporter.
#[derive(Debug)]
pub struct SpanTotals {
    queue: Option<Arc<SpanQueue>>,
    totals: Arc<Totals>,
}

impl SpanTotals {
    /// The counts so far.
    pub fn summary(&self) -> ExportSummary {
        self.totals.summary(self.queue.as_deref())
    }

    /// The number of spans that wait to be exported: never more than [`queue_capacity`](Self::queue_capacity).
    pub fn queued(&self) -> usize {
        // A push counts its spans before it knows whether there is room.
        self.queue.as_deref().map_or(0, |queue| queue.len().min(queue.capacity()))
    }

    /// The number of spans that have left the queue and whose export is not over.
    pub fn in_flight(&self) -> u64 {
        self.totals.in_flight()
    }

    /// The number of spans that may wait; 0 if none are exported.
    pub fn queue_capacity(&self) -> usize {
        self.queue.as_deref().map_or(0, SpanQueue::capacity)
    }

    /// The numbers of export requests of metrics, by their outcome. A request that is repeated counts once.
    pub fn metric_exports(&self) -> [(ExportResult, u64); 3] {
        ExportResult::ALL.map(|result| (result, self.totals.metric_exports(result)))
    }

    /// The durations of exports, repetitions included, by their outcome.
    pub fn exports(&self) -> [(ExportResult, Reading); 3] {
        ExportResult::ALL.map(|result| (result, self.totals.exports(result)))
    }
}

/// What the export thread has to do.
struct Jobs {
    /// To export the spans in this queue, and to count what becomes of them.
    spans: Option<(Arc<SpanQueue>, Arc<Totals>, oneshot::Receiver<Stop>)>,
    /// To export what these meters have measured, and to count what becomes of it.
    metrics: Option<(Arc<Meters>, Arc<Totals>, oneshot::Receiver<Stop>)>,
}

/// Runs the export thread. `started` is told once whether the exporters could be built.
fn run_thread(
    settings: &OtelSettings,
    material: &Collectors,
    jobs: Jobs,
    started: &mpsc::SyncSender<Result<(), TelemetryError>>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return drop(started.send(Err(TelemetryError::Thread(error)))),
    };
    runtime.block_on(async {
        let spans = jobs.spans.map(|(queue, totals, stopped)| {
            let destination = Destination::new(settings, &material.spans)?;
            Ok(Exporter::new(settings, destination, queue, totals).run(stopped))
        });
        let metrics = jobs.metrics.zip(settings.metrics.as_ref()).map(|((meters, totals, stopped), settings)| {
            Ok(MetricExporter::new(settings, &material.metrics, meters, totals)?.run(stopped))
        });
        let (spans, metrics) = match (spans.transpose(), metrics.transpose()) {
            (Ok(spans), Ok(metrics)) => (spans, metrics),
            (Err(error), _) | (_, Err(error)) => return drop(started.send(Err(TelemetryError::Otlp(error)))),
        };
        drop(started.send(Ok(())));
        tokio::join!(perhaps(spans), perhaps(metrics));
    });
    // A write to a terminal that nobody reads would otherwise keep the thread.
    runtime.shutdown_background();
}

/// Waits for what there is to wait for.
async fn perhaps(future: Option<impl Future<Output = ()>>) {
    if let Some(future) = future {
        future.await;
    }
}
