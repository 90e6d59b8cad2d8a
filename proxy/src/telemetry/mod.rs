//! From finished spans to a collector, without ever keeping the data path waiting.
//!
//! ```text
//! relay --SpanSink::offer_all--> packer --> queue --> exporter (own thread) --> otlp/ or console
//!          never waits       encodes    bounded    several requests in flight
//! ```
//!
//! Every span that is offered ends in exactly one of three counts: *sent* (the collector took it), *failed* (an export
//! was refused or took too long) or *dropped* (it found the queue full, or was still waiting when the time to shut
//! down was over). `otlp/` is the only folder that knows how OTLP looks on the wire.

mod console;
mod describe;
mod exporter;
pub mod histogram;
mod otlp;
mod packer;
pub mod probe;
mod queue;
mod report;
pub mod route_stats;
mod sink;
pub mod stats;
pub mod tap;
mod totals;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

pub use describe::{RECEIVERS, SHARDED};
pub use otlp::{OpenRequest, OtlpError, SpanEncoder};
pub use sink::SpanSink;
#[cfg(test)]
pub(crate) use sink::test_sink;
pub use totals::{ExportResult, ExportSummary};

use crate::settings::otel::{OtelSettings, UNKNOWN_SERVICE};
use exporter::{Destination, Exporter, Stop};
use histogram::Reading;
use packer::Packer;
use queue::SpanQueue;
use tap::Tap;
use totals::Totals;

/// What a route stands for: one service and the Redis it talks to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The service's name, if the route has one of its own; it wins over `OTEL_SERVICE_NAME`.
    pub name: Option<String>,
    /// Host name or address of the Redis behind the proxy, or the path of its socket.
    pub server_address: String,
    /// Its port; `None` for a Unix socket.
    pub server_port: Option<u16>,
}

impl Service {
    /// Its name, or what stands for one in the spans of a service that nobody named.
    pub fn name_or_unknown(&self) -> &str {
        self.name.as_deref().unwrap_or(UNKNOWN_SERVICE)
    }
}

/// Why telemetry cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The OTLP exporter cannot be built.
    #[error(transparent)]
    Otlp(#[from] OtlpError),
    /// The system gives no thread or no runtime for it.
    #[error("cannot start the thread that exports spans: {0}")]
    Thread(#[source] std::io::Error),
}

/// The running exporter. Dropped without [`shutdown`](Self::shutdown) it stops at once and what it holds is lost.
#[derive(Debug)]
pub struct Telemetry {
    queue: Option<Arc<SpanQueue>>,
    totals: Arc<Totals>,
    tap: Arc<Tap>,
    stop: Option<oneshot::Sender<Stop>>,
}

impl Telemetry {
    /// Starts the exporter for these routes, whose connections are on so many threads. It runs on a thread and a runtime of its own, so that sending thousands of
    /// spans cannot delay a relayed byte. No connection is made before there is a span to send.
    ///
    /// # Errors
    /// If a certificate file cannot be used or no thread can be had. A collector that does not answer is no error.
    pub fn start(settings: &OtelSettings, services: &[Service], threads: NonZeroUsize) -> Result<Self, TelemetryError> {
        let totals = Arc::new(Totals::default());
        if settings.otlp.is_none() && !settings.console {
            return Ok(Self { queue: None, totals, tap: Arc::default(), stop: None });
        }
        let packers: Arc<[Packer]> = Packer::build_all(settings, services).into();
        let queue = Arc::new(SpanQueue::new(Arc::clone(&packers), &settings.batch, threads));
        let (stop, stopped) = oneshot::channel();
        let (started, starting) = mpsc::sync_channel(1);
        let thread = {
            let settings = settings.clone();
            let (queue, totals) = (Arc::clone(&queue), Arc::clone(&totals));
            move || run_thread(&settings, packers, queue, totals, stopped, &started)
        };
        thread::Builder::new().name("span-export".to_owned()).spawn(thread).map_err(TelemetryError::Thread)?;
        let gone = || Err(TelemetryError::Thread(std::io::Error::other("it ended before it had begun")));
        starting.recv().unwrap_or_else(|_| gone())?;
        Ok(Self { queue: Some(queue), totals, tap: Arc::default(), stop: Some(stop) })
    }

    /// Whether [`start`](Self::start) could build the exporter: reads the certificates, connects to nothing.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn check(settings: &OtelSettings) -> Result<(), TelemetryError> {
        // Nothing runs in it.
        let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(TelemetryError::Thread)?;
        let _inside = runtime.enter();
        Destination::new(settings).map(drop).map_err(TelemetryError::from)
    }

    /// Where the connections of a route leave their spans. `route` is the index into the services given to
    /// [`start`](Self::start).
    pub fn sink(&self, route: usize) -> SpanSink {
        SpanSink::new(route, self.queue.clone(), Arc::clone(&self.tap))
    }

    /// Where the messages of all routes can be watched.
    pub fn tap(&self) -> Arc<Tap> {
        Arc::clone(&self.tap)
    }

    /// The counts so far.
    pub fn summary(&self) -> ExportSummary {
        self.totals.summary(self.queue.as_deref())
    }

    /// The counts, for who looks while this goes on.
    pub fn totals(&self) -> SpanTotals {
        SpanTotals { queue: self.queue.clone(), totals: Arc::clone(&self.totals) }
    }

    /// Sends what is left, for as long as `deadline` at most, and returns the final counts. Spans that are offered
    /// from now on, and those that are unsent when time is up, count as dropped.
    pub async fn shutdown(mut self, deadline: Duration) -> ExportSummary {
        if let Some(stop) = self.stop.take() {
            let (done, finished) = oneshot::channel();
            // Neither can fail unless the thread is gone, and then there is nothing to wait for.
            if stop.send(Stop { deadline: Instant::now() + deadline, done }).is_ok() {
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

    /// How many spans may wait; 0 if none are exported.
    pub fn queue_capacity(&self) -> usize {
        self.queue.as_deref().map_or(0, SpanQueue::capacity)
    }

    /// How long exports took, repetitions included, by what became of them.
    pub fn exports(&self) -> [(ExportResult, Reading); 3] {
        ExportResult::ALL.map(|result| (result, self.totals.exports(result)))
    }
}

/// The whole life of the export thread. `started` is told once whether it could begin.
fn run_thread(
    settings: &OtelSettings,
    packers: Arc<[Packer]>,
    queue: Arc<SpanQueue>,
    totals: Arc<Totals>,
    stopped: oneshot::Receiver<Stop>,
    started: &mpsc::SyncSender<Result<(), TelemetryError>>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return drop(started.send(Err(TelemetryError::Thread(error)))),
    };
    runtime.block_on(async {
        let destination = match Destination::new(settings) {
            Ok(destination) => destination,
            Err(error) => return drop(started.send(Err(error.into()))),
        };
        drop(started.send(Ok(())));
        Exporter::new(settings, destination, packers, queue, totals).run(stopped).await;
    });
    // A write to a terminal that nobody reads would otherwise keep the thread.
    runtime.shutdown_background();
}
