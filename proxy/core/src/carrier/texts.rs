//! A context as texts with names, in which the propagators of OpenTelemetry hand it to whatever carries it: members of a JSON
//! object, fields of a stream's entry, headers of an envelope.

use alloc::borrow::Cow;

use super::trailer::carried_text;
use crate::trace::context::{MAX_BAGGAGE, MAX_TRACE_STATE};
use crate::trace::{Context, Propagators, SpanContext};

pub(crate) const TRACEPARENT: &str = "traceparent";
pub(crate) const TRACESTATE: &str = "tracestate";
pub(super) const BAGGAGE: &str = "baggage";
pub(super) const JAEGER: &str = "uber-trace-id";
const B3: &str = "b3";
const B3_TRACE_ID: &str = "x-b3-traceid";
const B3_SPAN_ID: &str = "x-b3-spanid";
const B3_SAMPLED: &str = "x-b3-sampled";
const B3_FLAGS: &str = "x-b3-flags";
const B3_PARENT: &str = "x-b3-parentspanid";

/// The names of B3, in one text and in several.
pub(super) const ALL_B3: [&str; 6] = [B3, B3_TRACE_ID, B3_SPAN_ID, B3_SAMPLED, B3_FLAGS, B3_PARENT];

/// The names that the formats of contexts have.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    [TRACEPARENT, TRACESTATE, BAGGAGE, JAEGER].into_iter().chain(ALL_B3)
}

/// The context in the texts that `text` has for names. That of W3C Trace Context has the name `traceparent` or another one. If
/// there are several formats, W3C Trace Context is read before B3, and that before Jaeger's.
pub(crate) fn context<'t>(
    text: impl Fn(&str) -> Option<Cow<'t, [u8]>>,
    traceparent: &str,
    formats: Propagators,
) -> Option<Context> {
    let bytes = |name: &str| text(name).unwrap_or_default();
    let baggage = if formats.baggage { carried_text(&bytes(BAGGAGE), MAX_BAGGAGE) } else { None };
    if formats.trace_context
        && let Some(span) = SpanContext::parse_traceparent(&bytes(traceparent))
    {
        let trace_state = carried_text(&bytes(TRACESTATE), MAX_TRACE_STATE);
        return Some(Context { trace_state, baggage, ..span.into() });
    }
    let b3 = || SpanContext::parse_b3_single(&bytes(B3)).or_else(|| b3_multi(&text));
    let b3 = || if formats.b3 { b3() } else { None };
    let jaeger = || SpanContext::parse_uber_trace_id(&bytes(JAEGER)).filter(|_| formats.jaeger);
    Some(Context { baggage, ..b3().or_else(jaeger)?.into() })
}

/// The context of B3's format with several texts. Debug implies a decision to sample.
fn b3_multi<'t>(text: impl Fn(&str) -> Option<Cow<'t, [u8]>>) -> Option<SpanContext> {
    let is_debug = text(B3_FLAGS).is_some_and(|flags| *flags == *b"1");
    let sampled = if is_debug { Some(Cow::Borrowed(&b"1"[..])) } else { text(B3_SAMPLED) };
    let sampled = match &sampled {
        Some(sampled) => Some(core::str::from_utf8(sampled).ok()?),
        None => None,
    };
    SpanContext::parse_b3(&text(B3_TRACE_ID)?, &text(B3_SPAN_ID)?, sampled)
}
