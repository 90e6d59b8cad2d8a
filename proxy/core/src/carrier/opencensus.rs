//! The 29-byte binary context of OpenCensus in front of the payload, as the 2019 library writes it.
//!
//! | offset | bytes | content |
//! |---|---|---|
//! | 0 | 1 | version, `00` |
//! | 1 | 1 + 16 | field `00`: trace id |
//! | 18 | 1 + 8 | field `01`: span id |
//! | 27 | 1 + 1 | field `02`: trace options, bit 0 sampled |
//!
//! The format is that of the OpenCensus specification, `encodings/BinaryEncoding.md`. Bit 7 of the options, which no
//! OpenCensus library reads, marks a prefix that a proxy added. A prefix without it belongs to the application and stays.

use alloc::vec::Vec;

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

/// Appends the prefix to `out`, marked as added by a proxy.
pub fn write(context: SpanContext, out: &mut Vec<u8>) {
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&context.trace_id.to_bytes());
    out.push(1);
    out.extend_from_slice(&context.span_id.to_bytes());
    out.extend_from_slice(&[2, ADDED | u8::from(context.flags.is_sampled())]);
}

/// Reads the prefix of `payload`.
pub fn find(payload: &[u8]) -> Option<Prefix> {
    let prefix = payload.first_chunk::<LEN>()?;
    if [prefix[0], prefix[1], prefix[18], prefix[27]] != [0, 0, 1, 2] {
        return None;
    }
    let options = prefix[28];
    Some(Prefix {
        context: SpanContext {
            trace_id: TraceId::from_bytes(*prefix.get(2..18)?.first_chunk()?)?,
            span_id: SpanId::from_bytes(*prefix.get(19..27)?.first_chunk()?)?,
            flags: TraceFlags::default().with_sampled(options & 1 == 1),
        },
        added: options & ADDED != 0,
    })
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
        write(prefix.context, &mut written);
        assert_eq!(written[..28], example[..28]);
        assert!(find(&written).unwrap().is_added());
    }

    #[test]
    fn short_or_other_payloads_have_no_prefix() {
        assert_eq!(find(b""), None);
        assert_eq!(find(&[0; 28]), None);
        assert_eq!(find(&[0; 29]), None);
        assert_eq!(find(&[b'{'; 40]), None);
    }
}
