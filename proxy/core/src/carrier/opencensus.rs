//! The 29-byte binary context of OpenCensus in front of the payload, as the 2019 library writes it.
//!
//! | offset | bytes | content |
//! |---|---|---|
//! | 0 | 1 | version, `00` |
//! | 1 | 1 + 16 | field `00`: trace id |
//! | 18 | 1 + 8 | field `01`: span id |
//! | 27 | 1 + 1 | field `02`: trace options, bit 0 sampled |
//!
//! The format is that of the OpenCensus specification, `encodings/BinaryEncoding.md`. Two things together tell a prefix that a
//! proxy added from one of the application. Bit 7 of the options is set, which no OpenCensus library reads. And the last four
//! bytes of the span id are the CRC-32 (ISO-HDLC, as in zlib) of the trace id, the other bytes of the span id, and the payload.
//! A library that has read such a prefix copies the options into what it writes, and even so its prefix is not
//! taken for a proxy's, because it is another span in front of another payload.

use alloc::vec::Vec;

use super::{Added, Carrier};
use crate::trace::{SpanContext, SpanId, TraceFlags, TraceId};

/// Length of the prefix, in bytes.
pub const LEN: usize = 29;

const ADDED: u8 = 0x80;

/// A context in front of a payload.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prefix {
    /// The context that the prefix holds.
    pub context: SpanContext,
    added: bool,
}

impl Prefix {
    /// Whether a proxy wrote the prefix.
    pub fn is_added(&self) -> bool {
        self.added
    }
}

/// Appends the prefix to `out`, marked as added by a proxy. It is found again if [`carried_span`](super::carried_span) has bound
/// the span to the payload.
pub fn write(context: SpanContext, out: &mut Vec<u8>) {
    write_with_options(context, ADDED, out);
}

/// Appends the prefix to `out` as an application would write it.
pub(super) fn write_supplied(context: SpanContext, out: &mut Vec<u8>) {
    write_with_options(context, 0, out);
}

fn write_with_options(context: SpanContext, options: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&context.trace_id.to_bytes());
    out.push(1);
    out.extend_from_slice(&context.span_id.to_bytes());
    out.extend_from_slice(&[2, options | u8::from(context.flags.is_sampled())]);
}

/// The same span with an id that belongs to the payload, which may be in two pieces.
pub(super) fn sealed(span: SpanContext, payload: [&[u8]; 2]) -> SpanContext {
    let [a, b, c, d, ..] = span.span_id.to_bytes();
    let [e, f, g, h] = seal(&span, payload).to_be_bytes();
    // An id of zeros is not possible. The prefix of the id as it was is then no proxy's, once in 2^64 messages.
    SpanContext { span_id: SpanId::from_bytes([a, b, c, d, e, f, g, h]).unwrap_or(span.span_id), ..span }
}

fn seal(span: &SpanContext, payload: [&[u8]; 2]) -> u32 {
    let [a, b, c, d, ..] = span.span_id.to_bytes();
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&span.trace_id.to_bytes());
    hasher.update(&[a, b, c, d]);
    payload.into_iter().for_each(|piece| hasher.update(piece));
    hasher.finalize()
}

/// Reads the prefix of `payload`.
pub fn find(payload: &[u8]) -> Option<Prefix> {
    let (prefix, rest) = payload.split_first_chunk::<LEN>()?;
    if [prefix[0], prefix[1], prefix[18], prefix[27]] != [0, 0, 1, 2] {
        return None;
    }
    let options = prefix[28];
    let context = SpanContext {
        trace_id: TraceId::from_bytes(*prefix.get(2..18)?.first_chunk()?)?,
        span_id: SpanId::from_bytes(*prefix.get(19..27)?.first_chunk()?)?,
        flags: TraceFlags::default().with_sampled(options & 1 == 1),
    };
    let added = options & ADDED != 0 && sealed(context, [rest, &[]]) == context;
    Some(Prefix { context, added })
}

/// Finds a prefix that a proxy added.
pub(super) fn find_added(payload: &[u8]) -> Option<Added> {
    let prefix = find(payload).filter(Prefix::is_added)?;
    Some(Added::new(Carrier::OpenCensus, 0..LEN, prefix.context.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_example_of_the_specification() {
        let example: Vec<u8> =
            [&[0, 0][..], &(64u8..80).collect::<Vec<_>>(), &[1], &(97u8..105).collect::<Vec<_>>(), &[2, 1]].concat();
        let prefix = find(&[&example[..], b"payload"].concat()).unwrap();
        assert_eq!(prefix.context.trace_id.to_bytes()[0], 64);
        assert_eq!(prefix.context.span_id.to_bytes()[7], 104);
        assert!(prefix.context.flags.is_sampled());
        assert!(!prefix.is_added());
        let mut written = Vec::new();
        write_supplied(prefix.context, &mut written);
        assert_eq!(written, example);
    }

    #[test]
    fn only_the_prefix_that_a_proxy_wrote_for_this_payload_is_taken_for_a_proxys() {
        let span = SpanContext { trace_id: TraceId::MIN, span_id: SpanId::MIN, flags: TraceFlags::SAMPLED };
        let sealed = sealed(span, [b"pay", b"load"]);
        let with = |span: SpanContext, payload: &[u8]| {
            let mut out = Vec::new();
            write(span, &mut out);
            [&out, payload].concat()
        };
        assert!(find(&with(sealed, b"payload")).unwrap().is_added());
        assert!(!find(&with(sealed, b"payloaD")).unwrap().is_added());
        assert!(!find(&with(span, b"payload")).unwrap().is_added());
        let mut supplied = Vec::new();
        write_supplied(sealed, &mut supplied);
        assert!(!find(&[&supplied, &b"payload"[..]].concat()).unwrap().is_added());
    }

    #[test]
    fn short_or_other_payloads_have_no_prefix() {
        assert_eq!(find(b""), None);
        assert_eq!(find(&[0; 28]), None);
        assert_eq!(find(&[0; 29]), None);
        assert_eq!(find(&[b'{'; 40]), None);
    }
}
