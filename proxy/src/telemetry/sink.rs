//! Where connections leave their spans.

use std::sync::Arc;
#[cfg(test)]
use std::{collections::VecDeque, sync::Mutex};

use redistributed_core::trace::SpanRecord;

use super::queue::SpanQueue;
use super::tap::Tap;

/// Where one route's connections leave their spans. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SpanSink {
    route: usize,
    outlet: Outlet,
    tap: Arc<Tap>,
}

/// Where spans go that are offered.
#[derive(Clone, Debug)]
enum Outlet {
    /// There is no exporter.
    Nowhere,
    /// To the exporter.
    Queue(Arc<SpanQueue>),
    /// To a test that looks at them.
    #[cfg(test)]
    Kept(Arc<Mutex<VecDeque<SpanRecord>>>),
}

impl SpanSink {
    pub(super) fn new(route: usize, queue: Option<Arc<SpanQueue>>, tap: Arc<Tap>) -> Self {
        Self { route, outlet: queue.map_or(Outlet::Nowhere, Outlet::Queue), tap }
    }

    /// Leaves a span for export. Never waits: if the queue is full the span is dropped and counted. Without an
    /// exporter it is discarded and not counted.
    pub fn offer(&self, record: &SpanRecord) {
        self.offer_all(std::slice::from_ref(record));
    }

    /// The same for several, at the price of little more than one. Nothing of the records is kept.
    pub fn offer_all(&self, records: &[SpanRecord]) {
        if records.is_empty() {
            return;
        }
        match &self.outlet {
            Outlet::Nowhere => {}
            Outlet::Queue(queue) => queue.push(self.route, records),
            #[cfg(test)]
            Outlet::Kept(kept) => kept.lock().unwrap().extend(records.iter().cloned()),
        }
    }

    /// Whether somebody watches the messages.
    pub fn is_watched(&self) -> bool {
        self.tap.is_open()
    }

    /// Shows a finished record to those who watch.
    pub fn show(&self, record: SpanRecord) {
        self.tap.show(self.route, record);
    }

    /// Whether a span that is offered goes anywhere.
    pub fn is_recording(&self) -> bool {
        !matches!(self.outlet, Outlet::Nowhere)
    }
}

/// A sink whose spans a test can take out again, in their order.
#[cfg(test)]
pub(crate) fn test_sink() -> (SpanSink, impl Fn() -> Option<SpanRecord>) {
    let kept = Arc::default();
    let sink = SpanSink { route: 0, outlet: Outlet::Kept(Arc::clone(&kept)), tap: Arc::default() };
    (sink, move || kept.lock().unwrap().pop_front())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_an_exporter_nothing_is_recorded() {
        assert!(!SpanSink::new(0, None, Arc::default()).is_recording());
        assert!(test_sink().0.is_recording());
    }
}
