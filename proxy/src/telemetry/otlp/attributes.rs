//! The attributes of a span within its limits, as protobuf.

use super::wire::{bytes_field_len, bytes_tag, put_bytes, put_varint, varint_len, varint_tag};
use crate::telemetry::otel_env::SpanLimits;

/// `Span.attributes`
const SPAN_ATTRIBUTES: u8 = bytes_tag(9);
/// `KeyValue.key` and `KeyValue.value`
const KEY: u8 = bytes_tag(1);
const VALUE: u8 = bytes_tag(2);
/// The kinds of `AnyValue`.
const STRING: u8 = bytes_tag(1);
const BOOL: u8 = varint_tag(2);
const INT: u8 = varint_tag(3);

/// Attributes that are the same in many spans, encoded once.
#[derive(Clone, Debug, Default)]
pub(super) struct Constants {
    bytes: Vec<u8>,
    /// Where each of them ends.
    ends: Vec<usize>,
}

impl Constants {
    /// Texts, each shortened to the limit. `tag` is the field that they are in.
    pub(super) fn texts<'a>(
        tag: u8,
        texts: impl IntoIterator<Item = (&'a str, &'a str)>,
        value_length: Option<usize>,
    ) -> Self {
        let mut constants = Self::default();
        for (key, value) in texts {
            put_text(&mut constants.bytes, tag, key, shortened(value, value_length));
            constants.ends.push(constants.bytes.len());
        }
        constants
    }

    /// The same for the attributes of spans.
    pub(super) fn of_spans<'a>(texts: impl IntoIterator<Item = (&'a str, &'a str)>, limits: &SpanLimits) -> Self {
        Self::texts(SPAN_ATTRIBUTES, texts, limits.attribute_value_length)
    }

    /// With a number behind the texts.
    pub(super) fn with_number(mut self, key: &str, number: u64) -> Self {
        put_head(&mut self.bytes, SPAN_ATTRIBUTES, key, 1 + varint_len(number));
        self.bytes.push(INT);
        put_varint(&mut self.bytes, number);
        self.ends.push(self.bytes.len());
        self
    }

    /// All of them.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// The key of an attribute that has another value in each span, encoded once. It is written with lengths that suit a
/// short value, and these are then corrected.
#[derive(Clone, Debug)]
pub(super) struct Key {
    bytes: Vec<u8>,
    name: &'static str,
}

impl Key {
    pub(super) fn new(name: &'static str) -> Self {
        let mut bytes = Vec::new();
        put_head(&mut bytes, SPAN_ATTRIBUTES, name, 0);
        Self { bytes, name }
    }

    /// Writes everything before an `AnyValue` of this length.
    fn put(&self, out: &mut Vec<u8>, value_len: usize) {
        let len = self.bytes.len() - 2 + value_len;
        if len >= 0x80 {
            return put_head(out, SPAN_ATTRIBUTES, self.name, value_len);
        }
        let at = out.len();
        out.extend_from_slice(&self.bytes);
        let last = out.len() - 1;
        out[at + 1] = len as u8;
        out[last] = value_len as u8;
    }
}

/// Writes the attributes of one span. What is over the limit is counted and left out.
pub(super) struct Attributes<'a> {
    out: &'a mut Vec<u8>,
    left: usize,
    value_length: Option<usize>,
    dropped: u64,
}

impl<'a> Attributes<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>, limits: &SpanLimits) -> Self {
        Self { out, left: limits.attribute_count, value_length: limits.attribute_value_length, dropped: 0 }
    }

    pub(super) fn constants(&mut self, constants: &Constants) {
        if self.left >= constants.ends.len() {
            self.left -= constants.ends.len();
            self.out.extend_from_slice(&constants.bytes);
            return;
        }
        let end = self.left.checked_sub(1).and_then(|last| constants.ends.get(last)).copied().unwrap_or(0);
        self.out.extend_from_slice(constants.bytes.get(..end).unwrap_or_default());
        self.dropped += (constants.ends.len() - self.left) as u64;
        self.left = 0;
    }

    pub(super) fn text(&mut self, key: &Key, value: &str) {
        if self.takes_one() {
            let value = shortened(value, self.value_length);
            key.put(self.out, bytes_field_len(value.len()));
            put_bytes(self.out, STRING, value.as_bytes());
        }
    }

    /// A number over the largest that OTLP knows is written as that.
    pub(super) fn number(&mut self, key: &Key, number: u64) {
        if self.takes_one() {
            let number = number.min(i64::MAX as u64);
            key.put(self.out, 1 + varint_len(number));
            self.out.push(INT);
            put_varint(self.out, number);
        }
    }

    /// An attribute whose value is `true`.
    pub(super) fn flag(&mut self, key: &Key) {
        if self.takes_one() {
            key.put(self.out, 2);
            self.out.extend_from_slice(&[BOOL, 1]);
        }
    }

    /// How many were left out.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    fn takes_one(&mut self) -> bool {
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                true
            }
            None => {
                self.dropped += 1;
                false
            }
        }
    }
}

fn put_text(out: &mut Vec<u8>, tag: u8, key: &str, value: &str) {
    put_head(out, tag, key, bytes_field_len(value.len()));
    put_bytes(out, STRING, value.as_bytes());
}

/// Everything before an `AnyValue` of this length.
fn put_head(out: &mut Vec<u8>, tag: u8, key: &str, value_len: usize) {
    out.push(tag);
    put_varint(out, (bytes_field_len(key.len()) + bytes_field_len(value_len)) as u64);
    put_bytes(out, KEY, key.as_bytes());
    out.push(VALUE);
    put_varint(out, value_len as u64);
}

/// The first `limit` characters.
fn shortened(text: &str, limit: Option<usize>) -> &str {
    match limit {
        // No text has more characters than bytes.
        Some(limit) if limit < text.len() => {
            text.char_indices().nth(limit).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
        }
        _ => text,
    }
}
