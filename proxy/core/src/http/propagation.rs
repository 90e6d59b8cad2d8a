//! The context in the headers of a request, and the headers that pass a context on.
//!
//! The formats are those of `OTEL_PROPAGATORS`: W3C Trace Context, B3 in one header and in several, and Jaeger's
//! `uber-trace-id`. W3C Baggage passes by itself, because the header goes on as it came. If a request carries several formats, the
//! first in that order is the parent.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Write;

use crate::trace::context::{MAX_TRACE_STATE, limited_trace_state};
use crate::trace::{Context, Propagators, SpanContext, SpanId};

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";
const B3: &str = "b3";
const B3_TRACE_ID: &str = "x-b3-traceid";
const B3_SPAN_ID: &str = "x-b3-spanid";
const B3_PARENT: &str = "x-b3-parentspanid";
const B3_SAMPLED: &str = "x-b3-sampled";
const B3_FLAGS: &str = "x-b3-flags";
const JAEGER: &str = "uber-trace-id";

/// All headers that hold a context in one of the formats.
const ALL: [&str; 9] = [TRACEPARENT, TRACESTATE, B3, B3_TRACE_ID, B3_SPAN_ID, B3_PARENT, B3_SAMPLED, B3_FLAGS, JAEGER];

/// Whether a header of this name holds a context in one of the formats.
pub fn is_context(name: &[u8]) -> bool {
    // Nearly every name is told by its first letter.
    matches!(name.first(), Some(b't' | b'T' | b'b' | b'B' | b'x' | b'X' | b'u' | b'U'))
        && ALL.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(name))
}

/// A header that may stand only once.
#[derive(Clone, Copy, Debug, Default)]
enum Once<'a> {
    #[default]
    Absent,
    Value(&'a [u8]),
    /// It stands several times, so that nobody can say which one counts.
    Several,
}

impl<'a> Once<'a> {
    fn notice(&mut self, value: &'a [u8]) {
        *self = match self {
            Self::Absent => Self::Value(value),
            Self::Value(_) | Self::Several => Self::Several,
        };
    }

    fn value(self) -> Option<&'a [u8]> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Several => None,
        }
    }
}

/// The headers of a request that may hold a context.
#[derive(Clone, Debug, Default)]
pub struct Carried<'a> {
    traceparent: Once<'a>,
    trace_states: Vec<&'a [u8]>,
    b3: Once<'a>,
    b3_trace_id: Once<'a>,
    b3_span_id: Once<'a>,
    b3_sampled: Once<'a>,
    b3_flags: Once<'a>,
    jaeger: Once<'a>,
}

impl<'a> Carried<'a> {
    /// Takes note of a header. Its name may be in any case.
    pub fn notice(&mut self, name: &[u8], value: &'a [u8]) {
        if !is_context(name) {
            return;
        }
        let is = |known: &str| known.as_bytes().eq_ignore_ascii_case(name);
        if is(TRACESTATE) {
            return self.trace_states.push(value);
        }
        let places = [
            (TRACEPARENT, &mut self.traceparent),
            (B3, &mut self.b3),
            (B3_TRACE_ID, &mut self.b3_trace_id),
            (B3_SPAN_ID, &mut self.b3_span_id),
            (B3_SAMPLED, &mut self.b3_sampled),
            (B3_FLAGS, &mut self.b3_flags),
            (JAEGER, &mut self.jaeger),
        ];
        if let Some((_, place)) = places.into_iter().find(|(known, _)| is(known)) {
            place.notice(value);
        }
    }

    /// The context that the request carries in one of `formats`.
    pub fn context(&self, formats: Propagators) -> Option<Context> {
        if formats.trace_context
            && let Some(span) = self.traceparent.value().and_then(SpanContext::parse_traceparent)
        {
            return Some(Context { trace_state: self.trace_state(), ..span.into() });
        }
        let b3 = || self.b3.value().and_then(SpanContext::parse_b3_single).or_else(|| self.b3_multi());
        let b3 = || if formats.b3 { b3() } else { None };
        let jaeger = || self.jaeger.value().and_then(SpanContext::parse_uber_trace_id).filter(|_| formats.jaeger);
        b3().or_else(jaeger).map(Context::from)
    }

    /// Joins the lines of `tracestate`, which are one list (W3C Trace Context, section 3.3.1.1). `None` if the list is empty, too
    /// long, or no text.
    fn trace_state(&self) -> Option<Arc<str>> {
        let joined = self.trace_states.join(&b", "[..]);
        let is_text = |byte: u8| matches!(byte, b'\t' | 0x20..=0x7e);
        if joined.is_empty() || joined.len() > MAX_TRACE_STATE || !joined.iter().all(|byte| is_text(*byte)) {
            return None;
        }
        core::str::from_utf8(&joined).ok().map(|text| limited_trace_state(&text.into()))
    }

    /// Reads the context of the `X-B3-` headers. The debug flag implies a decision to sample.
    fn b3_multi(&self) -> Option<SpanContext> {
        let is_debug = matches!(self.b3_flags.value(), Some(b"1"));
        let sampled = self.b3_sampled.value().and_then(|text| core::str::from_utf8(text).ok());
        let sampled = if is_debug { Some("1") } else { sampled };
        SpanContext::parse_b3(self.b3_trace_id.value()?, self.b3_span_id.value()?, sampled)
    }
}

/// The headers by which `span` is passed on in `formats`, in lower case. `None` stands for a header that must not be passed on. What
/// is not among them is left as it came.
pub fn outgoing(
    formats: Propagators,
    span: SpanContext,
    parent: Option<&Context>,
) -> Vec<(&'static str, Option<String>)> {
    let mut headers = Vec::new();
    let parent_id = parent.map(|parent| parent.span.span_id);
    let sampled = if span.flags.is_sampled() { '1' } else { '0' };
    if formats.trace_context {
        headers.push((TRACEPARENT, Some(traceparent(span))));
        if parent.is_none() {
            // It belonged to a trace that could not be read (section 4.3).
            headers.push((TRACESTATE, None));
        }
    }
    if formats.b3 && formats.b3_multi {
        headers.push((B3_TRACE_ID, Some(text(format_args!("{}", span.trace_id)))));
        headers.push((B3_SPAN_ID, Some(text(format_args!("{}", span.span_id)))));
        headers.push((B3_PARENT, parent_id.map(|id: SpanId| text(format_args!("{id}")))));
        headers.push((B3_SAMPLED, Some(text(format_args!("{sampled}")))));
    } else if formats.b3 {
        let ids = text(format_args!("{}-{}-{sampled}", span.trace_id, span.span_id));
        headers.push((B3, Some(parent_id.map_or(ids.clone(), |id| text(format_args!("{ids}-{id}"))))));
    }
    if formats.jaeger {
        headers.push((JAEGER, Some(text(format_args!("{}:{}:0:{sampled}", span.trace_id, span.span_id)))));
    }
    headers
}

/// The text of `traceparent`, which is that of `traceresponse` too.
pub fn traceparent(span: SpanContext) -> String {
    // It is ASCII.
    String::from_utf8(span.to_traceparent().into()).unwrap_or_default()
}

fn text(arguments: core::fmt::Arguments<'_>) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = text.write_fmt(arguments);
    text
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const ALL_FORMATS: Propagators =
        Propagators { trace_context: true, baggage: true, b3: true, b3_multi: false, jaeger: true };

    fn read(headers: &[(&str, &str)], formats: Propagators) -> Option<Context> {
        let mut carried = Carried::default();
        headers.iter().for_each(|(name, value)| carried.notice(name.as_bytes(), value.as_bytes()));
        carried.context(formats)
    }

    #[test]
    fn each_format_is_read_only_if_it_is_named() {
        let none = Propagators { trace_context: false, baggage: false, b3: false, b3_multi: false, jaeger: false };
        let b3 = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1";
        for (headers, formats) in [
            (&[("TraceParent", PARENT)][..], Propagators { trace_context: true, ..none }),
            (&[("B3", b3)], Propagators { b3: true, ..none }),
            (
                &[("X-B3-TraceId", TRACE), ("X-B3-SpanId", "00f067aa0ba902b7"), ("x-b3-sampled", "1")],
                Propagators { b3: true, ..none },
            ),
            (
                &[("X-B3-TraceId", TRACE), ("X-B3-SpanId", "00f067aa0ba902b7"), ("x-b3-flags", "1")],
                Propagators { b3: true, ..none },
            ),
            (
                &[("uber-trace-id", "4bf92f3577b34da6a3ce929d0e0e4736:f067aa0ba902b7:0:1")],
                Propagators { jaeger: true, ..none },
            ),
        ] {
            let context = read(headers, formats).unwrap();
            assert_eq!(&context.span.to_traceparent()[..], PARENT.as_bytes(), "{headers:?}");
            assert_eq!(read(headers, none), None, "{headers:?}");
        }
    }

    #[test]
    fn trace_context_wins_and_a_header_that_stands_twice_says_nothing() {
        let other = "00-00000000000000000000000000000001-0000000000000002-01";
        let jaeger = ("uber-trace-id", "1:2:0:1");
        assert_eq!(
            read(&[jaeger, ("traceparent", PARENT)], ALL_FORMATS).unwrap().span.trace_id.low_u64(),
            0xa3ce_929d_0e0e_4736
        );
        let twice = read(&[("traceparent", PARENT), jaeger, ("traceparent", other)], ALL_FORMATS).unwrap();
        assert_eq!(twice.span.trace_id.low_u64(), 1);
        assert_eq!(read(&[("traceparent", PARENT), ("traceparent", PARENT)], Propagators::default()), None);
    }

    #[test]
    fn lines_of_tracestate_are_one_list() {
        let state = |headers: &[(&str, &str)]| read(headers, ALL_FORMATS).unwrap().trace_state;
        assert_eq!(state(&[("traceparent", PARENT)]), None);
        let two = [("traceparent", PARENT), ("tracestate", "a=1"), ("Tracestate", "b=2")];
        assert_eq!(state(&two).as_deref(), Some("a=1, b=2"));
        assert_eq!(state(&[("traceparent", PARENT), ("tracestate", &"a".repeat(513))]), None);
        assert_eq!(state(&[("traceparent", PARENT), ("tracestate", "a=\u{7f}")]), None);
    }

    #[test]
    fn what_is_passed_on_is_read_as_the_same_span() {
        let span = SpanContext::parse_traceparent(PARENT.as_bytes()).unwrap();
        let parent = Context::from(SpanContext::parse_uber_trace_id(b"1:2:0:1").unwrap());
        for formats in [ALL_FORMATS, Propagators { trace_context: false, b3_multi: true, ..ALL_FORMATS }] {
            for parent in [None, Some(&parent)] {
                let headers = outgoing(formats, span, parent);
                assert_eq!(headers.iter().any(|(_, value)| value.is_none()), parent.is_none());
                let headers: Vec<_> =
                    headers.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))).collect();
                let alone = |b3, trace_context, jaeger| Propagators { b3, trace_context, jaeger, ..formats };
                let several = [
                    alone(true, false, false),
                    alone(false, formats.trace_context, !formats.trace_context),
                    alone(false, false, true),
                ];
                for one in several {
                    assert_eq!(read(&headers, one).unwrap().span, span, "{headers:?}");
                }
            }
        }
        let none = Propagators { trace_context: false, b3: false, jaeger: false, ..ALL_FORMATS };
        assert_eq!(outgoing(none, span, Some(&parent)), vec![]);
    }
}
