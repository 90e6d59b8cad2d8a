//! Takes batches from the queue, keeps several exports in flight and counts what becomes of the spans.
//!
//! The queue is the only place where spans pile up: while [`MAX_IN_FLIGHT`] requests are on their way nothing is
//! taken out of it, so memory stays bounded by its capacity and a slow collector shows as a full queue.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{self, MissedTickBehavior};

use super::console::Printer;
use super::encoder::{Batch, EncodedBatch};
use super::loss_report::LossReport;
use super::otlp::{Delivered, EncodedRequest, OtlpError, OtlpExporter};
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

/// The collector, if the settings name one, and how long an export may take.
pub(super) struct Destination {
    otlp: Option<OtlpExporter>,
    timeout: Option<Duration>,
}

impl Destination {
    /// Prepares the exporter for the collector. Needs a tokio runtime.
    pub(super) fn new(settings: &OtelSettings, material: &CollectorMaterial) -> Result<Self, OtlpError> {
        let timeouts = [settings.otlp.as_ref().and_then(|otlp| otlp.timeout), settings.batch.export_timeout];
        Ok(Self {
            otlp: settings.otlp.as_ref().map(|otlp| OtlpExporter::new(otlp, material)).transpose()?,
            timeout: timeouts.into_iter().flatten().min(),
        })
    }

    async fn export(&self, request: EncodedRequest) -> Result<Delivered, String> {
        let deadline = self.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let export = async {
            match &self.otlp {
                Some(otlp) => otlp.export(request, deadline).await,
                None => Ok(Delivered { rejected: 0, message: String::new(), recovered: false }),
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
    /// Whether it was about the console.
    printed: bool,
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
    /// Makes text of the spans, if they go to the console.
    printer: Option<Printer>,
    queue: Arc<SpanQueue>,
    totals: Arc<Totals>,
    in_flight: JoinSet<Settled>,
    /// Whether text is being written. What comes meanwhile waits for its turn.
    printing: bool,
    /// The number of full batches that are exported before the open ones, which have waited long enough for more spans.
    ahead: Option<usize>,
    failures: LossReport,
    unprinted: LossReport,
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
            printer: settings.console.map(Printer::new),
            queue,
            totals,
            in_flight: JoinSet::new(),
            printing: false,
            ahead: None,
            failures: LossReport::default(),
            unprinted: LossReport::default(),
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
            let due = self.printer.as_ref().filter(|_| !self.printing).and_then(|printer| printer.due(Instant::now()));
            tokio::select! {
                stop = &mut stopped => break stop.ok(),
                () = time::sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => self.print(),
                _ = timer.tick() => {
                    self.report_overflow();
                    self.ahead.get_or_insert_with(|| queue.full_len());
                    self.pump();
                }
                // While no more requests may start a full batch is no news, and its wake-ups would come without end.
                () = queue.ready(), if self.has_room() => self.pump(),
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

    /// Whether another batch may leave the queue.
    fn has_room(&self) -> bool {
        self.in_flight.len() < MAX_IN_FLIGHT && !self.printer.as_ref().is_some_and(Printer::is_full)
    }

    /// Starts as many exports as may be in flight: of full batches, and then of open ones if it is time for that or the queue
    /// needs the room.
    fn pump(&mut self) {
        while self.has_room() {
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
        let EncodedBatch { request, console } = batch.finish();
        // What becomes of spans at a collector decides how they are counted, otherwise what becomes of them on the console.
        let (sent, printed) = if request.is_some() { (Some(unsettled), None) } else { (None, Some(unsettled)) };
        if let (Some(printer), Some(console)) = (&mut self.printer, console) {
            printer.add(console, printed, Instant::now());
        }
        let (Some(request), Some(unsettled)) = (request, sent) else { return };
        let (destination, totals) = (Arc::clone(&self.destination), Arc::clone(&self.totals));
        self.in_flight.spawn(async move {
            let (spans, began) = (unsettled.spans(), Instant::now());
            match destination.export(request).await {
                Ok(delivered) => {
                    let lost = delivered.rejected.min(spans);
                    let result = if lost > 0 { ExportResult::Partial } else { ExportResult::Ok };
                    totals.exported(result, began.elapsed());
                    unsettled.sent(lost);
                    let said = Some(delivered.message).filter(|message| lost > 0 || !message.is_empty());
                    let (reason, remark) = if lost > 0 { (said, None) } else { (None, said) };
                    Settled { printed: false, lost, reason, remark, recovered: delivered.recovered }
                }
                Err(reason) => {
                    totals.exported(ExportResult::Failed, began.elapsed());
                    unsettled.failed();
                    Settled { printed: false, lost: spans, reason: Some(reason), remark: None, recovered: false }
                }
            }
        });
    }

    /// Starts to write what is to be printed now, unless text is being written.
    fn print(&mut self) {
        let Some(printer) = self.printer.as_mut().filter(|_| !self.printing) else { return };
        let Some(text) = printer.take(Instant::now()) else { return };
        self.printing = true;
        let (output, patience, totals) = (printer.output(), self.destination.timeout, Arc::clone(&self.totals));
        self.in_flight.spawn(async move {
            let (spans, began) = (text.spans(), Instant::now());
            let reason = text.write(output, patience).await.err();
            if spans > 0 {
                let result = if reason.is_none() { ExportResult::Ok } else { ExportResult::Failed };
                totals.exported(result, began.elapsed());
            }
            let lost = if reason.is_some() { spans } else { 0 };
            Settled { printed: true, lost, reason, remark: None, recovered: false }
        });
    }

    /// Logs the outcome of an export. A task that panicked has counted its spans as dropped.
    fn settle(&mut self, settled: Result<Settled, JoinError>) {
        let settled = match settled {
            Ok(settled) => settled,
            Err(error) => {
                self.printing = false;
                return tracing::error!(%error, "an export ended in a bug; its spans are dropped");
            }
        };
        let (collector, report) = if settled.printed {
            self.printing = false;
            ("console", &mut self.unprinted)
        } else {
            (&*self.target, &mut self.failures)
        };
        if let Some(remark) = settled.remark
            && let Some(more) = self.remarks.admit(Instant::now())
        {
            tracing::warn!(collector, remark, more, "the collector has taken the spans, and warns");
        }
        match settled.reason {
            Some(reason) => {
                if let Some(spans) = report.lost(settled.lost, time::Instant::now()) {
                    tracing::warn!(
                        spans,
                        collector,
                        reason,
                        "spans were lost; more losses are summed up once a minute"
                    );
                }
            }
            None => {
                if let Some(spans) = report.recovered().or(settled.recovered.then_some(0)) {
                    // As loud as the warning that it takes back.
                    tracing::warn!(lost_meanwhile = spans, collector, "spans are exported again");
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
        loop {
            self.pump();
            // A trace is in one piece if all of its spans have come.
            if let Some(printer) = self.printer.as_mut().filter(|_| self.queue.full_len() == 0) {
                printer.flush();
            }
            self.print();
            match time::timeout_at(deadline.into(), self.in_flight.join_next()).await {
                Ok(Some(done)) => self.settle(done),
                Ok(None) | Err(_) => break,
            }
        }
        // Ending the tasks drops their spans, and dropping them counts them.
        self.in_flight.shutdown().await;
        self.printer = None;
        self.queue.abandon();
    }
}
