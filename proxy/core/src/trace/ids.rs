//! The source of new trace and span ids.

use super::context::{SpanId, TraceId};

/// A source of new ids. It is passed in, so that the core itself has no randomness.
///
/// W3C Trace Context Level 2 asks for the low 7 bytes of a trace id to be random. Ratio sampling reads the low 8.
pub trait Ids {
    /// A new trace id, never all zero.
    fn trace_id(&mut self) -> TraceId;
    /// A new span id, never all zero.
    fn span_id(&mut self) -> SpanId;
    /// Whether the low 7 bytes of every trace id are random. The traces that begin here then have the flag that says so (W3C Trace
    /// Context Level 2, "Random Trace ID Flag").
    fn are_random(&self) -> bool {
        false
    }
}

/// A source of the ids 1, 2, 3, …, for tests and test vectors only.
#[derive(Debug, Default, Clone)]
pub struct CountingIds {
    last: u64,
}

impl CountingIds {
    fn next(&mut self) -> u64 {
        self.last = self.last.wrapping_add(1).max(1);
        self.last
    }
}

impl Ids for CountingIds {
    fn trace_id(&mut self) -> TraceId {
        TraceId::from_u128(u128::from(self.next())).unwrap_or(TraceId::MIN)
    }

    fn span_id(&mut self) -> SpanId {
        SpanId::from_u64(self.next()).unwrap_or(SpanId::MIN)
    }
}
