//! The context formats that are read and passed on.

/// The propagators that `OTEL_PROPAGATORS` names, as far as a Redis payload can hold their formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Propagators {
    /// `tracecontext`: `traceparent` and `tracestate` are read and passed on.
    pub trace_context: bool,
    /// `baggage`: baggage is passed on where a payload holds it.
    pub baggage: bool,
    /// `b3` or `b3multi`: members of a JSON object in either format of B3 are read, as the OpenTelemetry specification has
    /// both propagators do.
    pub b3: bool,
    /// `jaeger`: an `uber-trace-id` member of a JSON object is read.
    pub jaeger: bool,
}

impl Default for Propagators {
    /// `tracecontext,baggage`, the default of the OpenTelemetry specification.
    fn default() -> Self {
        Self { trace_context: true, baggage: true, b3: false, jaeger: false }
    }
}

impl Propagators {
    /// Whether a trace context may be passed on at all; false for `OTEL_PROPAGATORS=none`.
    pub fn carries_traces(self) -> bool {
        self.trace_context || self.b3 || self.jaeger
    }
}
