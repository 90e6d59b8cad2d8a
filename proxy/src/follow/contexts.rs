//! The contexts of those that may be a cause.

use std::collections::{HashMap, VecDeque};

use redistributed_core::trace::{Context, SpanId, UnixNanos};

/// The most contexts that are kept: more than there are candidates.
const MAX_CONTEXTS: usize = 2048;

/// The most publishes that are remembered, so that a message is recognised that comes back to its own service.
const MAX_PUBLISHES: usize = 1024;

/// How long a context is kept, in nanoseconds: as long as its candidate.
const KEPT: u64 = 10_000_000_000;

/// The contexts of requests and deliveries, by their ids, and the publishes of the service by their spans.
#[derive(Debug, Default)]
pub(super) struct Contexts {
    by_cause: HashMap<u64, Context>,
    by_age: VecDeque<(UnixNanos, u64)>,
    publishes: HashMap<SpanId, u64>,
    publishes_by_age: VecDeque<SpanId>,
}

impl Contexts {
    /// Adds the context of a cause.
    pub(super) fn insert(&mut self, now: UnixNanos, cause: u64, context: Context) {
        if self.by_age.len() >= MAX_CONTEXTS
            && let Some((_, oldest)) = self.by_age.pop_front()
        {
            self.by_cause.remove(&oldest);
        }
        self.by_age.push_back((now, cause));
        self.by_cause.insert(cause, context);
    }

    /// Changes the context of a cause, whose trace has become known.
    pub(super) fn change(&mut self, cause: u64, context: Context) {
        if let Some(known) = self.by_cause.get_mut(&cause) {
            *known = context;
        }
    }

    /// The context of a cause. `None` if the cause is not traced, or forgotten.
    pub(super) fn get(&self, cause: u64) -> Option<&Context> {
        self.by_cause.get(&cause)
    }

    /// Forgets what is too old to be a cause.
    pub(super) fn forget_old(&mut self, now: UnixNanos) {
        while let Some((_, cause)) = self.by_age.front().filter(|(since, _)| now.0.saturating_sub(since.0) > KEPT) {
            self.by_cause.remove(cause);
            self.by_age.pop_front();
        }
    }

    /// Whether no context of a cause is remembered.
    pub(super) fn is_empty(&self) -> bool {
        self.by_age.is_empty()
    }

    /// Remembers that this command of the service has published the context of this span.
    pub(super) fn published(&mut self, span: SpanId, command: u64) {
        if self.publishes_by_age.len() >= MAX_PUBLISHES
            && let Some(oldest) = self.publishes_by_age.pop_front()
        {
            self.publishes.remove(&oldest);
        }
        self.publishes_by_age.push_back(span);
        self.publishes.insert(span, command);
    }

    /// The command of the service that has published the context of this span.
    pub(super) fn publish(&self, span: SpanId) -> Option<u64> {
        self.publishes.get(&span).copied()
    }
}

#[cfg(test)]
mod tests {
    use redistributed_core::trace::SpanContext;

    use super::*;

    fn context(id: u64) -> Context {
        let text = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{id:016x}-01");
        SpanContext::parse_traceparent(text.as_bytes()).unwrap().into()
    }

    #[test]
    fn contexts_are_forgotten_by_age_and_by_number() {
        let mut contexts = Contexts::default();
        contexts.insert(UnixNanos(0), 1, context(1));
        contexts.insert(UnixNanos(KEPT), 2, context(2));
        contexts.forget_old(UnixNanos(KEPT + 1));
        assert_eq!((contexts.get(1), contexts.get(2)), (None, Some(&context(2))));
        assert!(!contexts.is_empty());
        for id in 0..MAX_CONTEXTS as u64 {
            contexts.insert(UnixNanos(KEPT), 100 + id, context(100 + id));
        }
        assert_eq!((contexts.get(2), contexts.by_cause.len()), (None, MAX_CONTEXTS));
    }

    #[test]
    fn a_publish_is_recognised_until_many_others_have_come() {
        let mut contexts = Contexts::default();
        let span = |id| SpanId::from_u64(id).unwrap();
        for id in 1..=MAX_PUBLISHES as u64 + 1 {
            contexts.published(span(id), 10 * id);
        }
        assert_eq!((contexts.publish(span(1)), contexts.publish(span(2))), (None, Some(20)));
    }
}
