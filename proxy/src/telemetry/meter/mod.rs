//! The metrics that OpenTelemetry's semantic conventions name, measured from finished spans.
//!
//! Every operation ends as a record, and a record says all that the conventions ask for, so there is one place where something is
//! measured: where records are left for the exporter. What is not sampled has a record too while this is on, as while somebody
//! watches messages, so that operations are counted and timed whatever the sampler says. An operation without a record, such as a
//! `GET` that `--commands` does not select, costs nothing.
//!
//! Two counters and four histograms are made of four instruments, because a message is counted with the same attributes with which
//! it is timed. The number of series is bounded: what has new attributes when an instrument of a service has [`MAX_SERIES`] goes
//! into one series for all the rest, as the metrics SDK specification wants it ("Overflow attribute").

mod attributes;
mod series;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use opentelemetry_semantic_conventions::{attribute as key, metric};
use redistributed_core::trace::{Operation, SpanRecord};

use super::describe::{PROCESS, REDIS, REDIS_PORT};
use super::histogram::{MS, US};
use super::{Peer, Resource};
use crate::settings::otel::ExemplarFilter;
pub use attributes::Value;
use attributes::{Attributes, of_server};
use series::Additions;
pub use series::{Exemplar, Series, SeriesReading};

/// The most series of one instrument of a service, besides the one for all the rest.
pub const MAX_SERIES: usize = 256;

/// The attribute of the series for all the rest. The specification defines it, and the conventions have no constant.
const OVERFLOW: &str = "otel.metric.overflow";

/// The bounds that the conventions advise for messaging, and below them those that tell round trips to a Redis apart.
const MESSAGING_BOUNDS: [u64; 20] = [
    50 * US,
    100 * US,
    250 * US,
    500 * US,
    MS,
    2_500 * US,
    5 * MS,
    10 * MS,
    25 * MS,
    50 * MS,
    75 * MS,
    100 * MS,
    250 * MS,
    500 * MS,
    750 * MS,
    1_000 * MS,
    2_500 * MS,
    5_000 * MS,
    7_500 * MS,
    10_000 * MS,
];

/// The bounds that the conventions advise for databases, from 1 ms on, and smaller ones for a Redis.
const DATABASE_BOUNDS: [u64; 13] = [
    50 * US,
    100 * US,
    250 * US,
    500 * US,
    MS,
    5 * MS,
    10 * MS,
    50 * MS,
    100 * MS,
    500 * MS,
    1_000 * MS,
    5_000 * MS,
    10_000 * MS,
];

/// The bounds that the conventions advise for HTTP servers.
const HTTP_BOUNDS: [u64; 14] = {
    let mut bounds = [0; 14];
    bounds.copy_from_slice(MESSAGING_BOUNDS.split_at(6).1);
    bounds
};

/// What measures one kind of operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum Instrument {
    /// Measures publishes, and commands that add items to queues and streams.
    Sent,
    /// Measures messages and items of queues that a service gets.
    Processed,
    /// Measures commands that are no publishes.
    Commands,
    /// Measures HTTP requests to a service.
    Requests,
}

const INSTRUMENTS: usize = 4;

impl Instrument {
    fn bounds(self) -> &'static [u64] {
        match self {
            Self::Sent | Self::Processed => &MESSAGING_BOUNDS,
            Self::Commands => &DATABASE_BOUNDS,
            Self::Requests => &HTTP_BOUNDS,
        }
    }
}

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The metric counts messages.
    Counter,
    /// The metric is a histogram of durations in seconds.
    Histogram,
}

/// A metric of the semantic conventions.
#[derive(Debug)]
pub struct Metric {
    /// The name by the conventions.
    pub name: &'static str,
    /// What the conventions say of it.
    pub description: &'static str,
    /// The unit, in UCUM.
    pub unit: &'static str,
    /// The type.
    pub kind: Kind,
    instrument: Instrument,
    /// The attributes that are the same in all of its series.
    constants: &'static [(&'static str, &'static str)],
}

/// Every metric that is measured, in the order of the documentation.
pub static METRICS: [Metric; 6] = [
    Metric {
        name: metric::MESSAGING_CLIENT_SENT_MESSAGES,
        description: "Number of messages producer attempted to send to the broker",
        unit: "{message}",
        kind: Kind::Counter,
        instrument: Instrument::Sent,
        constants: &[(key::MESSAGING_SYSTEM, REDIS)],
    },
    Metric {
        name: metric::MESSAGING_CLIENT_OPERATION_DURATION,
        description: "Duration of messaging operation initiated by a producer or consumer client",
        unit: "s",
        kind: Kind::Histogram,
        instrument: Instrument::Sent,
        constants: &[(key::MESSAGING_SYSTEM, REDIS), (key::MESSAGING_OPERATION_TYPE, "send")],
    },
    Metric {
        name: metric::MESSAGING_CLIENT_CONSUMED_MESSAGES,
        description: "Number of messages that were delivered to the application",
        unit: "{message}",
        kind: Kind::Counter,
        instrument: Instrument::Processed,
        constants: &[(key::MESSAGING_SYSTEM, REDIS), (key::MESSAGING_OPERATION_NAME, PROCESS)],
    },
    Metric {
        name: metric::MESSAGING_PROCESS_DURATION,
        description: "Duration of processing operation",
        unit: "s",
        kind: Kind::Histogram,
        instrument: Instrument::Processed,
        constants: &[(key::MESSAGING_SYSTEM, REDIS), (key::MESSAGING_OPERATION_NAME, PROCESS)],
    },
    Metric {
        name: metric::DB_CLIENT_OPERATION_DURATION,
        description: "Duration of database client operations",
        unit: "s",
        kind: Kind::Histogram,
        instrument: Instrument::Commands,
        constants: &[(key::DB_SYSTEM_NAME, REDIS)],
    },
    Metric {
        name: metric::HTTP_SERVER_REQUEST_DURATION,
        description: "Duration of HTTP server requests",
        unit: "s",
        kind: Kind::Histogram,
        instrument: Instrument::Requests,
        constants: &[],
    },
];

impl Metric {
    /// The attributes of one of its series, each name once.
    pub fn attributes<'a>(&self, series: &'a Series) -> impl Iterator<Item = (&'static str, Value<&'a str>)> {
        let is_overflow = series.attributes.iter().any(|(name, _)| *name == OVERFLOW);
        let constants = if is_overflow { &[][..] } else { self.constants };
        let own = series.attributes.iter().map(|(name, value)| (*name, value.borrowed()));
        let default = (self.instrument == Instrument::Commands).then_some(REDIS_PORT);
        let server = series.peer.iter().flat_map(move |peer| of_server(peer, default));
        constants.iter().map(|(name, value)| (*name, Value::Text(*value))).chain(own).chain(server)
    }
}

/// What is measured of all services.
#[derive(Debug)]
pub struct Meters {
    exemplars: ExemplarFilter,
    all: Mutex<Vec<Arc<Meter>>>,
}

/// What is measured of one service.
#[derive(Debug)]
pub struct Meter {
    /// The service.
    pub resource: Arc<Resource>,
    exemplars: ExemplarFilter,
    hasher: RandomState,
    instruments: [RwLock<Table>; INSTRUMENTS],
}

/// The series of one instrument.
#[derive(Debug, Default)]
struct Table {
    /// By the hash of their attributes.
    by_hash: HashMap<u64, Vec<Arc<Series>>>,
    /// In the order in which they began.
    all: Vec<Arc<Series>>,
    overflow: Option<Arc<Series>>,
}

/// The meter of a service for the spans that are about one Redis. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Recorder {
    meter: Arc<Meter>,
    peer: Arc<Peer>,
}

impl Meters {
    /// Nothing is measured yet.
    pub(super) fn new(exemplars: ExemplarFilter) -> Arc<Self> {
        Arc::new(Self { exemplars, all: Mutex::default() })
    }

    /// The meters of all services, in the order in which they were asked for.
    pub fn all(&self) -> Vec<Arc<Meter>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What measures the spans of a service that are about `peer`. Resources are the same if they are one object.
    pub(super) fn recorder(&self, resource: &Arc<Resource>, peer: &Peer) -> Recorder {
        // A panic elsewhere does not make a list of meters wrong.
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let found = all.iter().find(|meter| Arc::ptr_eq(&meter.resource, resource)).cloned();
        let meter = found.unwrap_or_else(|| {
            let meter = Arc::new(Meter {
                resource: Arc::clone(resource),
                exemplars: self.exemplars,
                hasher: RandomState::new(),
                instruments: Default::default(),
            });
            all.push(Arc::clone(&meter));
            meter
        });
        Recorder { meter, peer: Arc::new(peer.clone()) }
    }
}

impl Recorder {
    /// Measures operations that have ended. The records are dated by the wall clock.
    pub(super) fn measure<'a>(&self, records: impl Iterator<Item = &'a SpanRecord>) {
        let mut run: Option<Run<'a>> = None;
        for record in records {
            if run.as_ref().is_none_or(|run| !are_alike(run.first, record)) {
                let identity = Attributes::of(record);
                if run.as_ref().is_none_or(|run| run.identity != identity) {
                    let series = self.meter.series(identity.0, &self.peer, identity.1);
                    run = Some(Run { first: record, identity, series, additions: Additions::default() });
                }
            }
            if let Some(Run { series, additions, .. }) = &mut run {
                self.meter.add(series, additions, record);
            }
        }
    }
}

/// Records in a row that are measured by one series. What is handed over together is mostly of one channel.
struct Run<'a> {
    first: &'a SpanRecord,
    identity: (Instrument, Attributes<'a>),
    series: Arc<Series>,
    additions: Additions,
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.series.take(&mut self.additions);
    }
}

/// Whether two records certainly have the same attributes, at the price of a glance. Others that do may not be recognised.
fn are_alike(one: &SpanRecord, other: &SpanRecord) -> bool {
    let channels = match (&one.operation, &other.operation) {
        (Operation::Publish { channel: one, .. }, Operation::Publish { channel: other, .. })
        | (Operation::Deliver { channel: one, .. }, Operation::Deliver { channel: other, .. }) => one.is_same(other),
        _ => false,
    };
    channels && one.error.is_none() && other.error.is_none()
}

impl Meter {
    /// The series of a metric, in the order in which they began; the one for all the rest is the last.
    pub fn series_of(&self, metric: &Metric) -> Vec<Arc<Series>> {
        let table = self.table(metric.instrument).read().unwrap_or_else(PoisonError::into_inner);
        table.all.iter().chain(&table.overflow).cloned().collect()
    }

    fn table(&self, instrument: Instrument) -> &RwLock<Table> {
        &self.instruments[instrument as usize]
    }

    fn series(&self, instrument: Instrument, peer: &Arc<Peer>, attributes: Attributes<'_>) -> Arc<Series> {
        // To a service's clients the service itself is the server.
        let peer = Some(peer).filter(|_| instrument != Instrument::Requests);
        let hash = self.hasher.hash_one((peer.map(|peer| peer.port), attributes));
        let known = |table: &Table| {
            let alike = table.by_hash.get(&hash)?;
            alike.iter().find(|series| series.is_of(peer, &attributes)).cloned()
        };
        let table = self.table(instrument);
        let found = {
            let table = table.read().unwrap_or_else(PoisonError::into_inner);
            // While there is no room, what is not known costs no more than what is.
            known(&table).or_else(|| table.overflow.clone().filter(|_| table.all.len() >= MAX_SERIES))
        };
        if let Some(series) = found {
            return series;
        }
        let mut table = table.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(series) = known(&table) {
            return series;
        }
        if table.all.len() >= MAX_SERIES {
            let rest = || Series::new(Box::new([(OVERFLOW, Value::True)]), None, instrument.bounds());
            return Arc::clone(table.overflow.get_or_insert_with(|| Arc::new(rest())));
        }
        let series = Arc::new(Series::new(attributes.to_owned(), peer.cloned(), instrument.bounds()));
        table.by_hash.entry(hash).or_default().push(Arc::clone(&series));
        table.all.push(Arc::clone(&series));
        series
    }

    fn add(&self, series: &Series, additions: &mut Additions, record: &SpanRecord) {
        additions.count += messages(record);
        if !is_timed(record) {
            return;
        }
        let nanos = record.end.0.saturating_sub(record.start.0);
        let has_example = match self.exemplars {
            ExemplarFilter::TraceBased => record.is_exported(),
            ExemplarFilter::AlwaysOn => !record.handling.untraced,
            ExemplarFilter::AlwaysOff => false,
        };
        let exemplar = has_example.then_some(Exemplar {
            trace_id: record.context.trace_id,
            span_id: record.context.span_id,
            value: nanos,
            time: record.end,
        });
        series.time(additions, nanos, exemplar);
    }
}

/// The number of messages or other operations that the record is about.
fn messages(record: &SpanRecord) -> u64 {
    match &record.operation {
        Operation::Send(sent) => sent.count,
        _ => 1,
    }
}

/// Whether the record says how long the operation took. A publish whose reply was not told from others has no such time.
fn is_timed(record: &SpanRecord) -> bool {
    match &record.operation {
        Operation::Publish { receivers, .. } => receivers.is_some() || record.error.is_some(),
        Operation::Deliver { .. }
        | Operation::Item { .. }
        | Operation::Send(_)
        | Operation::Command { .. }
        | Operation::Request(_) => true,
    }
}

#[cfg(test)]
mod tests;
