//! The sink in which connections leave their spans.

use std::fmt;
use std::sync::Arc;
#[cfg(test)]
use std::{collections::VecDeque, sync::Mutex};

use redistributed_core::trace::SpanRecord;

use super::connection::Connection;
use super::encoder::Encoder;
use super::meter::Recorder;
use super::queue::SpanQueue;
use super::tap::Tap;

/// The sink for the spans of one endpoint's connections. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SpanSink {
    /// The name of the service, for watchers of the tap.
    service: Arc<str>,
    outlet: Outlet,
    /// What measures the operations, if somebody wants to know.
    recorder: Option<Recorder>,
    /// Who is told of each span that has ended.
    listener: Option<Arc<dyn SpanListener>>,
    tap: Arc<Tap>,
}

/// Is told of spans that have ended, sampled or not, before they are exported.
pub trait SpanListener: fmt::Debug + Send + Sync {
    /// This span has ended, and nothing more becomes known of it.
    fn span_ended(&self, span: &SpanRecord);
}

/// The destination of offered spans.
#[derive(Clone, Debug)]
pub(super) enum Outlet {
    /// Nowhere: there is no exporter.
    Nowhere,
    /// The queue of the exporter, and the encoder of the endpoint.
    Queue(Arc<SpanQueue>, Arc<Encoder>),
    /// A list that a test reads.
    #[cfg(test)]
    Kept(Arc<Mutex<VecDeque<SpanRecord>>>),
}

impl SpanSink {
    pub(super) fn new(service: &Arc<str>, outlet: Outlet, tap: Arc<Tap>) -> Self {
        Self { service: Arc::clone(service), outlet, recorder: None, listener: None, tap }
    }

    /// Adds what measures the operations.
    pub(super) fn measured_by(self, recorder: Option<Recorder>) -> Self {
        Self { recorder, ..self }
    }

    /// Adds who is told of each span that has ended.
    #[must_use]
    pub fn heard_by(self, listener: Arc<dyn SpanListener>) -> Self {
        Self { listener: Some(listener), ..self }
    }

    /// Tells who is told of spans that have ended of one that still waits, because it cannot be told later.
    pub fn tell(&self, span: &SpanRecord) {
        if let Some(listener) = &self.listener {
            listener.span_ended(span);
        }
    }

    /// Leaves a span for export. Never waits: if the queue is full the span is dropped and counted. Without an
    /// exporter it is discarded and not counted. The span tells nothing of its connection.
    pub fn offer(&self, record: &SpanRecord) {
        self.offer_all(std::iter::once(record), &Connection::default());
    }

    /// Leaves several spans of one connection, at the price of little more than one. All are measured, and those that are sampled
    /// are exported. Nothing of the records is kept.
    pub fn offer_all<'a>(&self, records: impl Iterator<Item = &'a SpanRecord> + Clone, connection: &Connection) {
        if let Some(recorder) = &self.recorder {
            recorder.measure(records.clone());
        }
        if let Some(listener) = &self.listener {
            records.clone().for_each(|record| listener.span_ended(record));
        }
        let records = records.filter(|record| record.is_exported());
        match &self.outlet {
            Outlet::Nowhere => {}
            Outlet::Queue(queue, encoder) => queue.push(encoder, connection, records),
            #[cfg(test)]
            Outlet::Kept(kept) => kept.lock().unwrap().extend(records.cloned()),
        }
    }

    /// Whether there are watchers of messages.
    pub fn is_watched(&self) -> bool {
        self.tap.is_open()
    }

    /// Whether operations are measured, for which those need a record too that are not sampled.
    pub fn is_measuring(&self) -> bool {
        self.recorder.is_some()
    }

    /// Shows a finished record to the watchers.
    pub fn show(&self, record: SpanRecord) {
        self.tap.show(&self.service, record);
    }

    /// Whether offered spans are exported.
    pub fn is_recording(&self) -> bool {
        !matches!(self.outlet, Outlet::Nowhere)
    }
}

/// A sink whose spans a test can take out again, in their order.
#[cfg(test)]
pub(crate) fn test_sink() -> (SpanSink, impl Fn() -> Option<SpanRecord>) {
    let kept = Arc::default();
    let sink = SpanSink::new(&"test".into(), Outlet::Kept(Arc::clone(&kept)), Arc::default());
    (sink, move || kept.lock().unwrap().pop_front())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_an_exporter_nothing_is_recorded() {
        assert!(!SpanSink::new(&"test".into(), Outlet::Nowhere, Arc::default()).is_recording());
        assert!(test_sink().0.is_recording());
    }
}
