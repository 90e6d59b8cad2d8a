//! Sends what is measured to a collector, every minute or so and once more at the end.
//!
//! What was not taken is part of the next export: a cumulative value holds it anyway, and a delta counts from the last export that
//! was taken.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use redistributed_core::trace::UnixNanos;
use tokio::sync::oneshot;
use tokio::time::{self, MissedTickBehavior};

use super::exporter::Stop;
use super::meter::{Kind, METRICS, Meter, Meters, Series, SeriesReading};
use super::otlp::{Delivered, EncodedRequest, OtlpError, OtlpExporter, Point, Points, metrics_request};
use super::totals::{ExportResult, Totals};
use crate::clock;
use crate::logging::Throttle;
use crate::net::key_material::CollectorMaterial;
use crate::settings::otel::MetricsSettings;

/// Exports what is measured.
pub(super) struct MetricExporter {
    settings: MetricsSettings,
    collector: OtlpExporter,
    meters: Arc<Meters>,
    totals: Arc<Totals>,
    began: UnixNanos,
    /// What the collector has taken of each series.
    told: HashMap<SeriesId, Told>,
    failures: Throttle,
    remarks: Throttle,
    /// Whether a warning has been written that has not been taken back.
    warned: bool,
}

/// The address of a series, all of which live as long as their meters.
type SeriesId = usize;

/// What the collector has taken of a series, and when that was read.
#[derive(Debug)]
struct Told {
    reading: SeriesReading,
    time: UnixNanos,
}

impl MetricExporter {
    /// Prepares the client. Needs a tokio runtime.
    pub(super) fn new(
        settings: &MetricsSettings,
        material: &CollectorMaterial,
        meters: Arc<Meters>,
        totals: Arc<Totals>,
    ) -> Result<Self, OtlpError> {
        Ok(Self {
            settings: settings.clone(),
            collector: OtlpExporter::new(&settings.otlp, material)?,
            meters,
            totals,
            began: clock::wall(),
            told: HashMap::new(),
            failures: Throttle::new(),
            remarks: Throttle::new(),
            warned: false,
        })
    }

    /// Runs until it is told to stop, or until the sender of that order is dropped.
    pub(super) async fn run(mut self, mut stopped: oneshot::Receiver<Stop>) {
        let interval = self.settings.interval;
        let mut timer = time::interval(interval);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // There is nothing to tell yet.
        timer.tick().await;
        let stop = loop {
            tokio::select! {
                stop = &mut stopped => break stop.ok(),
                _ = timer.tick() => {}
            }
            let export = self.export();
            tokio::pin!(export);
            tokio::select! {
                () = &mut export => {}
                stop = &mut stopped => {
                    let Ok(stop) = stop else { return };
                    // If its answer were not waited for, a delta might be told twice.
                    let _ = time::timeout_at(stop.deadline.into(), export).await;
                    break Some(stop);
                }
            }
        };
        let Some(stop) = stop else { return };
        if time::timeout_at(stop.deadline.into(), self.export()).await.is_err() {
            tracing::warn!(collector = %self.settings.otlp.endpoint, "the last metrics were not taken in time");
        }
        // Whoever asked may have stopped waiting.
        let _ = stop.done.send(());
    }

    /// Exports what is new of all services, a request for each.
    async fn export(&mut self) {
        for meter in self.meters.all() {
            self.export_of(&meter).await;
        }
    }

    async fn export_of(&mut self, meter: &Meter) {
        let now = clock::wall();
        let is_delta = self.settings.temporality.is_delta();
        let all: Vec<_> = METRICS.iter().map(|metric| (metric, meter.series_of(metric))).collect();
        let mut readings = HashMap::new();
        let mut metrics: Vec<Points<'_>> = Vec::new();
        for (metric, series) in &all {
            let points = series.iter().filter_map(|series| {
                // A counter and a histogram that share a series tell of the same moment.
                let reading = readings.entry(id(series)).or_insert_with(|| series.read());
                let point = self.point(series, reading, is_delta, now);
                let has_news = match metric.kind {
                    Kind::Counter => point.reading.count > 0,
                    Kind::Histogram => point.reading.timed() > 0,
                };
                has_news.then_some(point)
            });
            let points: Vec<_> = points.collect();
            if !points.is_empty() {
                metrics.push((metric, points));
            }
        }
        if metrics.is_empty() {
            return;
        }
        let request = metrics_request(&meter.resource, &metrics, is_delta, now.0);
        drop(metrics);
        let outcome = self.send(request).await;
        if outcome.is_ok() {
            self.told.extend(readings.into_iter().map(|(id, reading)| (id, Told { reading, time: now })));
        }
        self.report(outcome);
    }

    /// What is told of a series that has been read `now`.
    fn point<'a>(&self, series: &'a Series, reading: &SeriesReading, is_delta: bool, now: UnixNanos) -> Point<'a> {
        let mut new = reading.clone();
        let mut start = self.began;
        if let Some(told) = self.told.get(&id(series)) {
            for ((count, exemplar), (count_before, exemplar_before)) in
                new.buckets.iter_mut().zip(&told.reading.buckets)
            {
                exemplar.take_if(|exemplar| Some(*exemplar) == *exemplar_before);
                if is_delta {
                    *count = count.saturating_sub(*count_before);
                }
            }
            if is_delta {
                new.count = new.count.saturating_sub(told.reading.count);
                new.sum = new.sum.wrapping_sub(told.reading.sum);
                start = told.time;
            }
        }
        Point { series, reading: new, start: start.min(now).0 }
    }

    async fn send(&self, request: EncodedRequest) -> Result<Delivered, String> {
        let limit = [self.settings.otlp.timeout, self.settings.timeout].into_iter().flatten().min();
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        let export = self.collector.export(request, deadline);
        match limit {
            None => export.await,
            Some(limit) => match time::timeout(limit, export).await {
                Ok(outcome) => outcome,
                Err(_) => Err(format!("no answer within {limit:?}")),
            },
        }
    }

    fn report(&mut self, outcome: Result<Delivered, String>) {
        let (collector, now) = (&self.settings.otlp.endpoint, Instant::now());
        self.totals.exported_metrics(match &outcome {
            Ok(Delivered { rejected: 0, .. }) => ExportResult::Ok,
            Ok(_) => ExportResult::Partial,
            Err(_) => ExportResult::Failed,
        });
        match outcome {
            Err(reason) => {
                if let Some(more) = self.failures.admit(now) {
                    self.warned = true;
                    tracing::warn!(%collector, reason, more, "metrics were not exported; the next export tells of them too");
                }
            }
            Ok(Delivered { rejected, message, recovered }) => {
                if (rejected > 0 || !message.is_empty())
                    && let Some(more) = self.remarks.admit(now)
                {
                    tracing::warn!(%collector, rejected, remark = message, more, "the collector has not taken all metrics, or warns");
                }
                if std::mem::take(&mut self.warned) || recovered {
                    // As loud as the warning that it takes back.
                    tracing::warn!(%collector, "metrics are exported again");
                }
            }
        }
    }
}

fn id(series: &Series) -> SeriesId {
    std::ptr::from_ref(series).addr()
}
