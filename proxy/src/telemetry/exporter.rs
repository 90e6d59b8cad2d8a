//! Takes spans from the queue, makes batches by route, keeps several exports in flight and counts what becomes of them.
//!
//! The queue is the only place where spans pile up: while [`MAX_IN_FLIGHT`] requests are on their way nothing is
//! taken out of it, so memory stays bounded by its capacity and a slow collector shows as a full queue.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redistributed_core::trace::SpanRecord;
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{self, MissedTickBehavior};

use super::console::Console;
use super::describe::service_name;
use super::otel_env::BatchSettings;
use super::otlp::{OpenRequest, OtlpError, OtlpExporter};
use super::queue::{QueueReader, SpanQueue};
use super::report::LossReport;
use super::totals::{ExportResult, Totals, Unsettled};
use super::{OtelSettings, Service};

/// Requests on their way at one time. One at a time would cap the rate at a batch per round trip.
const MAX_IN_FLIGHT: usize = 4;

/// A request is sent when it has this many bytes, however few spans: collectors take 4 MiB by default, and a channel's
/// name, which is in each span twice, may be long.
const MAX_BATCH_BYTES: usize = 1 << 20;

/// The order to end.
#[derive(Debug)]
pub(super) struct Stop {
    /// When to give up.
    pub(super) deadline: Instant,
    /// Told when everything has been counted.
    pub(super) done: oneshot::Sender<()>,
}

/// Where one route's spans go.
#[derive(Clone)]
pub(super) struct Destination {
    otlp: Option<Arc<OtlpExporter>>,
    console: Option<Console>,
    timeout: Option<Duration>,
}

/// Spans in the form in which they go there.
struct Parcel {
    request: Option<OpenRequest>,
    lines: String,
}

/// What the collector took of a batch.
pub(super) struct Delivered {
    /// Spans that it turned down, and why.
    pub(super) rejected: u64,
    pub(super) message: String,
}

impl Destination {
    /// One for each route, in order. Needs a tokio runtime.
    pub(super) fn build_all(settings: &OtelSettings, services: &[Service]) -> Result<Vec<Self>, OtlpError> {
        let connection = settings.otlp.as_ref().map(OtlpExporter::connection).transpose()?;
        let timeouts = [settings.otlp.as_ref().and_then(|otlp| otlp.timeout), settings.batch.export_timeout];
        let timeout = timeouts.into_iter().flatten().min();
        let build = |service: &Service| {
            let otlp = connection.as_ref().map(|connection| OtlpExporter::new(connection, settings, service));
            Self {
                otlp: otlp.map(Arc::new),
                console: settings.console.then(|| Console::new(service_name(settings, service))),
                timeout,
            }
        };
        Ok(services.iter().map(build).collect())
    }

    /// An empty parcel with room for a request of `capacity` bytes.
    fn parcel(&self, capacity: usize) -> Parcel {
        Parcel { request: self.otlp.as_ref().map(|otlp| otlp.open(capacity)), lines: String::new() }
    }

    /// Adds a span. Nothing of the record is kept, so that its memory is free again while it is still near.
    fn add(&self, record: &SpanRecord, parcel: &mut Parcel) {
        if let (Some(otlp), Some(request)) = (&self.otlp, &mut parcel.request) {
            otlp.add(record, request);
        }
        if let Some(console) = &self.console {
            console.line(record, &mut parcel.lines);
        }
    }

    async fn export(&self, parcel: Parcel) -> Result<Delivered, String> {
        let deadline = self.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let export = async {
            if let Some(console) = &self.console {
                let written = console.export(parcel.lines).await;
                written.map_err(|error| format!("cannot write to standard output: {error}"))?;
            }
            match (&self.otlp, parcel.request) {
                (Some(otlp), Some(request)) => otlp.export(request, deadline).await,
                _ => Ok(Delivered { rejected: 0, message: String::new() }),
            }
        };
        let Some(timeout) = self.timeout else { return export.await };
        match time::timeout(timeout, export).await {
            Ok(result) => result,
            Err(_) => Err(format!("no answer within {timeout:?}")),
        }
    }
}

impl Parcel {
    fn len(&self) -> usize {
        self.request.as_ref().map_or(0, OpenRequest::len).max(self.lines.len())
    }
}

/// What one route's spans go through.
struct Route {
    destination: Destination,
    batch: Option<Batch>,
    /// Bytes of the last parcel, which the next one is likely to have too.
    last_len: usize,
}

/// Spans of one route that wait for company.
struct Batch {
    parcel: Parcel,
    /// When the first of them left the queue.
    since: Instant,
    unsettled: Unsettled,
}

/// What an export task hands back for the log.
struct Settled {
    lost: u64,
    reason: Option<String>,
}

/// Whether batches go that are not full.
#[derive(PartialEq, Eq)]
enum Flush {
    Yes,
    No,
}

pub(super) struct Exporter {
    settings: BatchSettings,
    /// Where spans go, for the log.
    target: String,
    routes: Vec<Route>,
    queue: Arc<SpanQueue>,
    reader: QueueReader,
    totals: Arc<Totals>,
    /// Spans of routes that do not exist.
    homeless: Unsettled,
    in_flight: JoinSet<Settled>,
    /// Batches begun until then are to go though they are not full.
    flush_until: Instant,
    /// Some of these may have been begun before that.
    overdue: bool,
    failures: LossReport,
    overflows: LossReport,
    overflows_seen: u64,
}

impl Exporter {
    pub(super) fn new(
        settings: &OtelSettings,
        routes: Vec<Destination>,
        queue: Arc<SpanQueue>,
        totals: Arc<Totals>,
    ) -> Self {
        let target = settings.otlp.as_ref().map_or_else(|| "console".to_owned(), |otlp| otlp.endpoint.to_string());
        let routes = routes.into_iter().map(|destination| Route { destination, batch: None, last_len: 0 }).collect();
        Self {
            settings: settings.batch.clone(),
            target,
            routes,
            reader: QueueReader::new(Arc::clone(&queue)),
            queue,
            homeless: Unsettled::new(&totals),
            totals,
            in_flight: JoinSet::new(),
            flush_until: Instant::now(),
            overdue: false,
            failures: LossReport::default(),
            overflows: LossReport::default(),
            overflows_seen: 0,
        }
    }

    /// Runs until it is told to stop, or until nobody is left who could.
    pub(super) async fn run(mut self, mut stopped: oneshot::Receiver<Stop>) {
        let delay = self.settings.schedule_delay.max(Duration::from_millis(1));
        let mut timer = time::interval_at(time::Instant::now() + delay, delay);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let queue = Arc::clone(&self.queue);
        let stop = loop {
            tokio::select! {
                stop = &mut stopped => break stop.ok(),
                _ = timer.tick() => {
                    self.report_overflow();
                    self.pump(Flush::Yes);
                }
                // While no more requests may start a full batch is no news, and its wake-ups would come without end.
                () = queue.ready(), if self.in_flight.len() < MAX_IN_FLIGHT => self.pump(Flush::No),
                Some(done) = self.in_flight.join_next() => {
                    self.settle(done);
                    self.pump(Flush::No);
                }
            }
        };
        let deadline = stop.as_ref().map_or_else(Instant::now, |stop| stop.deadline);
        self.drain(deadline).await;
        if let Some(stop) = stop {
            // Whoever asked may have stopped waiting.
            let _ = stop.done.send(());
        }
    }

    /// Starts as many exports as may be in flight: batches that were waiting when the last flush was asked for, then
    /// full ones, then, once the queue is empty, those begun in this flush.
    fn pump(&mut self, flush: Flush) {
        let now = Instant::now();
        if flush == Flush::Yes {
            self.flush_until = now;
            self.overdue = true;
        }
        while self.in_flight.len() < MAX_IN_FLIGHT {
            if self.overdue {
                match self.waiting(|since| since < self.flush_until) {
                    Some(route) => self.dispatch(route),
                    None => self.overdue = false,
                }
            } else if let Some((route, record)) = self.reader.pop() {
                self.collect(route, &record, now);
            } else if let Some(route) = self.waiting(|since| since <= self.flush_until) {
                self.dispatch(route);
            } else {
                break;
            }
        }
        // The exports that were started have not run yet, so no span is settled before it is counted here.
        self.reader.settle(|spans| self.totals.took(spans));
    }

    /// A route whose batch was begun at a time that is `due`.
    fn waiting(&self, due: impl Fn(Instant) -> bool) -> Option<usize> {
        self.routes.iter().position(|route| route.batch.as_ref().is_some_and(|batch| due(batch.since)))
    }

    /// Adds a span to its route's batch, and sends the batch when it is full.
    fn collect(&mut self, index: usize, record: &SpanRecord, now: Instant) {
        let Some(route) = self.routes.get_mut(index) else {
            // A sink of a route that does not exist.
            return self.homeless.add();
        };
        let batch = route.batch.get_or_insert_with(|| Batch {
            // A little more, so that a request which is a little longer need not be copied to a larger place.
            parcel: route.destination.parcel(route.last_len + route.last_len / 16),
            since: now,
            unsettled: Unsettled::new(&self.totals),
        });
        route.destination.add(record, &mut batch.parcel);
        batch.unsettled.add();
        if batch.unsettled.spans() >= self.settings.max_export_batch_size as u64
            || batch.parcel.len() >= MAX_BATCH_BYTES
        {
            self.dispatch(index);
        }
    }

    fn dispatch(&mut self, index: usize) {
        let Some(route) = self.routes.get_mut(index) else { return };
        let Some(batch) = route.batch.take() else { return };
        route.last_len = batch.parcel.len();
        let (destination, totals) = (route.destination.clone(), Arc::clone(&self.totals));
        self.in_flight.spawn(async move {
            let (spans, began) = (batch.unsettled.spans(), Instant::now());
            match destination.export(batch.parcel).await {
                Ok(delivered) => {
                    let lost = delivered.rejected.min(spans);
                    let result = if lost > 0 { ExportResult::Partial } else { ExportResult::Ok };
                    totals.exported(result, began.elapsed());
                    batch.unsettled.sent(lost);
                    Settled { lost, reason: (lost > 0).then_some(delivered.message) }
                }
                Err(reason) => {
                    totals.exported(ExportResult::Failed, began.elapsed());
                    batch.unsettled.failed();
                    Settled { lost: spans, reason: Some(reason) }
                }
            }
        });
    }

    /// Notes the end of an export. A task that panicked has counted its spans as dropped.
    fn settle(&mut self, settled: Result<Settled, JoinError>) {
        let settled = match settled {
            Ok(settled) => settled,
            Err(error) => return tracing::error!(%error, "an export ended in a bug; its spans are dropped"),
        };
        match settled.reason {
            Some(reason) => {
                if let Some(spans) = self.failures.lost(settled.lost, time::Instant::now()) {
                    tracing::warn!(
                        spans,
                        collector = self.target,
                        reason,
                        "spans were lost; more losses are summed up once a minute"
                    );
                }
            }
            None => {
                if let Some(spans) = self.failures.recovered() {
                    // As loud as the warning that it takes back.
                    tracing::warn!(lost_meanwhile = spans, collector = self.target, "spans are exported again");
                }
            }
        }
    }

    fn report_overflow(&mut self) {
        let dropped = self.queue.dropped();
        let new = dropped - self.overflows_seen;
        if new > 0 {
            self.overflows_seen = dropped;
            if let Some(spans) = self.overflows.lost(new, time::Instant::now()) {
                tracing::warn!(
                    spans,
                    queue = self.settings.max_queue_size,
                    "spans were dropped because the queue is full: the collector is slower than the traffic"
                );
            }
        }
    }

    /// Sends what is left until `deadline`; the rest is dropped.
    async fn drain(mut self, deadline: Instant) {
        self.queue.close();
        self.pump(Flush::Yes);
        while let Ok(Some(done)) = time::timeout_at(deadline.into(), self.in_flight.join_next()).await {
            self.settle(done);
            self.pump(Flush::Yes);
        }
        // Ending the tasks drops their batches, and dropping a batch counts it.
        self.in_flight.shutdown().await;
        self.routes.clear();
        self.reader.abandon();
    }
}
