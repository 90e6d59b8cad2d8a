//! The context formats that are read and passed on.

/// The propagators that `OTEL_PROPAGATORS` names, for the payloads of messages and the headers of HTTP requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Propagators {
    /// `tracecontext`: `traceparent` and `tracestate` are read and passed on.
    pub trace_context: bool,
    /// `baggage`: baggage is passed on where a payload holds it.
    pub baggage: bool,
    /// `b3` or `b3multi`: members of a JSON object or headers in either format of B3 are read, as the OpenTelemetry specification
    /// has both propagators do.
    pub b3: bool,
    /// `b3multi`: of B3, the headers `X-B3-*` are written and not `b3`.
    pub b3_multi: bool,
    /// `jaeger`: an `uber-trace-id`, as a member of a JSON object or a header, is read; as a header it is written too.
    pub jaeger: bool,
}

impl Default for Propagators {
    /// `tracecontext,baggage`, the default of the OpenTelemetry specification.
    fn default() -> Self {
        Self { trace_context: true, baggage: true, b3: false, b3_multi: false, jaeger: false }
    }
}

impl Propagators {
    /// Whether a trace context may be passed on at all; false for `OTEL_PROPAGATORS=none`.
    pub fn carries_traces(self) -> bool {
        self.trace_context || self.b3 || self.jaeger
    }
}
