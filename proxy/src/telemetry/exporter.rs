//! Takes batches from the queue, keeps several exports in flight and counts what becomes of the spans.
//!
//! The queue is the only place where spans pile up: while [`MAX_IN_FLIGHT`] requests are on their way nothing is
//! taken out of it, so memory stays bounded by its capacity and a slow collector shows as a full queue.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{self, MissedTickBehavior};

use super::console::Console;
use super::encoder::{Batch, EncodedBatch};
use super::loss_report::LossReport;
use super::otlp::{Delivered, OtlpError, OtlpExporter};
use super::queue::SpanQueue;
use super::totals::{ExportResult, Totals, Unsettled};
use crate::logging::Throttle;
use crate::net::key_material::CollectorMaterial;
use crate::settings::otel::{BatchSettings, OtelSettings};

/// The most requests in flight at a time. With one, the rate would be limited to a batch per round trip.
const MAX_IN_FLIGHT: usize = 4;

/// The order to export what is left and stop.
#[derive(Debug)]
pub(super) struct Stop {
    /// The time at which the exporter gives up.
    pub(super) deadline: Instant,
    /// Notified when every span has been counted.
    pub(super) done: oneshot::Sender<()>,
}

/// The destinations of spans, as the settings name them.
pub(super) struct Destination {
    otlp: Option<OtlpExporter>,
    console: Option<Console>,
    timeout: Option<Duration>,
}

impl Destination {
    /// Prepares the destinations. Needs a tokio runtime.
    pub(super) fn new(settings: &OtelSettings, material: &CollectorMaterial) -> Result<Self, OtlpError> {
        let timeouts = [settings.otlp.as_ref().and_then(|otlp| otlp.timeout), settings.batch.export_timeout];
        Ok(Self {
            otlp: settings.otlp.as_ref().map(|otlp| OtlpExporter::new(otlp, material)).transpose()?,
            console: settings.console.then(Console::new),
            timeout: timeouts.into_iter().flatten().min(),
        })
    }

    async fn export(&self, batch: EncodedBatch) -> Result<Delivered, String> {
        let deadline = self.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let export = async {
            if let Some(console) = &self.console {
                let written = console.export(batch.lines).await;
                written.map_err(|error| format!("cannot write to standard output: {error}"))?;
            }
            match (&self.otlp, batch.request) {
                (Some(otlp), Some(request)) => otlp.export(request, deadline).await,
                _ => Ok(Delivered { rejected: 0, message: String::new(), recovered: false }),
            }
        };
        let Some(timeout) = self.timeout else { return export.await };
        match time::timeout(timeout, export).await {
            Ok(result) => result,
            Err(_) => Err(format!("no answer within {timeout:?}")),
        }
    }
}

/// The outcome of an export task, for the log.
struct Settled {
    lost: u64,
    reason: Option<String>,
    /// What the collector said though it has taken all spans.
    remark: Option<String>,
    recovered: bool,
}

pub(super) struct Exporter {
    settings: BatchSettings,
    /// The name of the destination in the log.
    target: String,
    destination: Arc<Destination>,
    queue: Arc<SpanQueue>,
    totals: Arc<Totals>,
    in_flight: JoinSet<Settled>,
    /// The number of full batches that are exported before the open ones, which have waited long enough for more spans.
    ahead: Option<usize>,
    failures: LossReport,
    overflows: LossReport,
    overflows_seen: u64,
    remarks: Throttle,
}

impl Exporter {
    pub(super) fn new(
        settings: &OtelSettings,
        destination: Destination,
        queue: Arc<SpanQueue>,
        totals: Arc<Totals>,
    ) -> Self {
        let target = settings.otlp.as_ref().map_or_else(|| "console".to_owned(), |otlp| otlp.endpoint.to_string());
        Self {
            settings: settings.batch.clone(),
            target,
            destination: Arc::new(destination),
            queue,
            totals,
            in_flight: JoinSet::new(),
            ahead: None,
            failures: LossReport::default(),
            overflows: LossReport::default(),
            overflows_seen: 0,
            remarks: Throttle::new(),
        }
    }

    /// Runs until it is told to stop, or until the sender of that order is dropped.
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
                    self.ahead.get_or_insert_with(|| queue.full_len());
                    self.pump();
                }
                // While no more requests may start a full batch is no news, and its wake-ups would come without end.
                () = queue.ready(), if self.in_flight.len() < MAX_IN_FLIGHT => self.pump(),
                Some(done) = self.in_flight.join_next() => {
                    self.settle(done);
                    self.pump();
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

    /// Starts as many exports as may be in flight: of full batches, and then of open ones if it is time for that or the queue
    /// needs the room.
    fn pump(&mut self) {
        while self.in_flight.len() < MAX_IN_FLIGHT {
            if self.ahead == Some(0) {
                self.ahead = None;
                self.queue.flush();
            }
            match self.queue.take() {
                Some(batch) => {
                    self.ahead = self.ahead.map(|ahead| ahead.saturating_sub(1));
                    self.dispatch(batch);
                }
                None if self.ahead.take().is_some() || self.queue.is_half_full() => {
                    // Places may be taken for spans that are not there yet.
                    if !self.queue.flush() {
                        break;
                    }
                }
                None => break,
            }
        }
    }

    fn dispatch(&mut self, batch: Batch) {
        let spans = batch.spans();
        let unsettled = Unsettled::new(&self.totals, spans as u64);
        self.queue.release(spans);
        let (destination, totals) = (Arc::clone(&self.destination), Arc::clone(&self.totals));
        let batch = batch.finish();
        self.in_flight.spawn(async move {
            let (spans, began) = (unsettled.spans(), Instant::now());
            match destination.export(batch).await {
                Ok(delivered) => {
                    let lost = delivered.rejected.min(spans);
                    let result = if lost > 0 { ExportResult::Partial } else { ExportResult::Ok };
                    totals.exported(result, began.elapsed());
                    unsettled.sent(lost);
                    let said = Some(delivered.message).filter(|message| lost > 0 || !message.is_empty());
                    let (reason, remark) = if lost > 0 { (said, None) } else { (None, said) };
                    Settled { lost, reason, remark, recovered: delivered.recovered }
                }
                Err(reason) => {
                    totals.exported(ExportResult::Failed, began.elapsed());
                    unsettled.failed();
                    Settled { lost: spans, reason: Some(reason), remark: None, recovered: false }
                }
            }
        });
    }

    /// Logs the outcome of an export. A task that panicked has counted its spans as dropped.
    fn settle(&mut self, settled: Result<Settled, JoinError>) {
        let settled = match settled {
            Ok(settled) => settled,
            Err(error) => return tracing::error!(%error, "an export ended in a bug; its spans are dropped"),
        };
        if let Some(remark) = settled.remark
            && let Some(more) = self.remarks.admit(Instant::now())
        {
            let collector = &self.target;
            tracing::warn!(collector, remark, more, "the collector has taken the spans, and warns");
        }
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
                if let Some(spans) = self.failures.recovered().or(settled.recovered.then_some(0)) {
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

    /// Exports what is left until `deadline`, and counts the rest as dropped.
    async fn drain(mut self, deadline: Instant) {
        self.queue.close();
        self.queue.flush();
        self.pump();
        while let Ok(Some(done)) = time::timeout_at(deadline.into(), self.in_flight.join_next()).await {
            self.settle(done);
            self.pump();
        }
        // Ending the tasks drops their spans, and dropping them counts them.
        self.in_flight.shutdown().await;
        self.queue.abandon();
    }
}
