//! The text forms of trace ids and span ids: hexadecimal digits in lower case, as in W3C Trace Context.
//!
//! Ids from elsewhere are read more freely than they are written. Capital letters are taken, and Jaeger leaves out leading zeros.

use std::fmt::Write;

use redistributed_core::trace::{SpanId, TraceId};

/// The 32 digits of `id`.
pub(crate) fn trace_text(id: TraceId) -> String {
    digits(&id.to_bytes())
}

/// The 16 digits of `id`.
pub(crate) fn span_text(id: SpanId) -> String {
    digits(&id.to_bytes())
}

fn digits(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The trace id with these digits, of which there may be up to 32; `None` for other text and for zero.
pub(crate) fn trace_id(text: &str) -> Option<TraceId> {
    TraceId::from_u128(number(text, 32)?)
}

/// The span id with these digits, of which there may be up to 16; `None` for other text and for zero.
pub(crate) fn span_id(text: &str) -> Option<SpanId> {
    SpanId::from_u64(u64::try_from(number(text, 16)?).ok()?)
}

fn number(text: &str, most: usize) -> Option<u128> {
    // Rust's parser takes a sign too.
    let is_hex = !text.is_empty() && text.len() <= most && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

/// The first digits of a trace id, as somebody types them into a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TracePrefix {
    value: u128,
    digits: u32,
}

impl TracePrefix {
    /// Reads 1 to 32 hexadecimal digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(Self { value: number(text, 32)?, digits: u32::try_from(text.len()).ok()? })
    }

    /// Whether the digits of `id` begin with these.
    pub(crate) fn matches(self, id: TraceId) -> bool {
        u128::from_be_bytes(id.to_bytes()) >> (128 - 4 * self.digits) == self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_and_written() {
        let id = trace_id("00000000000000000000000000000abc").unwrap();
        assert_eq!(trace_text(id), "00000000000000000000000000000abc");
        assert_eq!(trace_id("ABC"), Some(id));
        assert_eq!(span_id("7").map(span_text).as_deref(), Some("0000000000000007"));
        for wrong in ["", "0", "+1", "g", "00000000000000000", "é"] {
            assert_eq!(span_id(wrong), None, "{wrong:?}");
        }
        assert_eq!(trace_id(&"1".repeat(33)), None);
    }

    #[test]
    fn a_prefix_matches_the_first_digits() {
        let id = trace_id("0abc0000000000000000000000000001").unwrap();
        for (text, expected) in [("0", true), ("0a", true), ("0ABC", true), ("a", false), ("0abd", false)] {
            assert_eq!(TracePrefix::parse(text).unwrap().matches(id), expected, "{text}");
        }
        assert!(TracePrefix::parse("0abc0000000000000000000000000001").unwrap().matches(id));
        assert_eq!(TracePrefix::parse("xyz"), None);
    }
}
