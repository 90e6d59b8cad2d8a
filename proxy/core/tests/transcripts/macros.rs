//! The macros of the notation, which stand for bytes that are tedious to write.

use redistributed_core::carrier::{self, Carrier, ContextKeys, Place, trailer};
use redistributed_core::trace::{Context, Propagators, SpanContext, SpanId, TraceFlags, TraceId};

use super::notation::bytes;
use crate::support::bulk;

/// Appends what the macro `text` stands for, which is given without its `<` and `>`.
pub(crate) fn expand(text: &str, out: &mut Vec<u8>) {
    if let Some((piece, times)) = text.rsplit_once('*') {
        return out.extend(bytes(piece).repeat(times.parse().unwrap()));
    }
    let mut words = text.split(' ');
    let mut next = || words.next().expect("a macro's argument");
    let form = next();
    let keyed = (form == "keyed").then(|| [next(), next(), next()]);
    let trace: u128 = next().parse().unwrap();
    let span: u64 = next().parse().unwrap();
    let flags = u8::from_str_radix(next(), 16).unwrap();
    let mut context = Context::from(SpanContext {
        trace_id: TraceId::from_u128(trace).unwrap(),
        span_id: SpanId::from_u64(span).unwrap(),
        flags: TraceFlags::from_byte(flags),
    });
    let (mut sum, mut mac) = (String::new(), String::new());
    for word in words {
        match word.split_once('=').unwrap() {
            ("sum", value) => sum = format!("-{value}"),
            ("mac", value) => mac = format!("-{value}"),
            ("state", value) => context.trace_state = Some(value.into()),
            ("baggage", value) => context.baggage = Some(value.into()),
            _ => panic!("{word} in a macro"),
        }
    }
    let state = context.trace_state.as_deref().map(|state| format!(",{state}")).unwrap_or_default();
    match form {
        "trailer" => trailer::write(&context, out),
        "keyed" => {
            let [key, channel, payload] = keyed.unwrap();
            let keys = ContextKeys::new([key]);
            let place = Place { channel: channel.as_bytes(), carrier: Carrier::Trailer, keys: &keys };
            carrier::add(payload.as_bytes(), &place, &context, Propagators::default(), out);
        }
        "traceparent" => out.extend(format!("00-{trace:032x}-{span:016x}-{flags:02x}").bytes()),
        "json" => out.extend(
            format!(
                r#""traceparent":"00-{trace:032x}-{span:016x}-{flags:02x}","tracestate":"redistributed={span:016x}{sum}{mac}{state}""#
            )
            .bytes(),
        ),
        "fields" => {
            let traceparent = format!("00-{trace:032x}-{span:016x}-{flags:02x}");
            let trace_state = format!("redistributed={span:016x}{sum}{mac}{state}");
            for text in ["traceparent", &traceparent, "tracestate", &trace_state] {
                bulk(text.as_bytes(), out);
            }
        }
        "opencensus" => {
            out.extend([0, 0]);
            out.extend(trace.to_be_bytes());
            out.push(1);
            out.extend(span.to_be_bytes());
            out.extend([2, flags]);
        }
        _ => panic!("{form} is no macro"),
    }
}
