//! The attributes of a span, within its limits, as protobuf.

use super::wire::{bytes_field_len, bytes_tag, put_bytes, put_varint, varint_len, varint_tag};
use crate::settings::otel::SpanLimits;

/// `Span.attributes`
const SPAN_ATTRIBUTES: u8 = bytes_tag(9);
/// `KeyValue.key` and `KeyValue.value`
const KEY: u8 = bytes_tag(1);
const VALUE: u8 = bytes_tag(2);
/// The kinds of `AnyValue`.
const STRING: u8 = bytes_tag(1);
const BOOL: u8 = varint_tag(2);
const INT: u8 = varint_tag(3);

/// Attributes that are the same in many spans, and therefore encoded once.
#[derive(Clone, Debug, Default)]
pub(super) struct Constants {
    bytes: Vec<u8>,
    /// The end of each attribute in `bytes`.
    ends: Vec<usize>,
}

impl Constants {
    /// Text attributes, each shortened to the limit. `tag` is the field that they are in.
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

    /// Encodes attributes of spans that are text.
    pub(super) fn of_spans<'a>(texts: impl IntoIterator<Item = (&'a str, &'a str)>, limits: &SpanLimits) -> Self {
        Self::texts(SPAN_ATTRIBUTES, texts, limits.attribute_value_length)
    }

    /// Appends an attribute with an integer value.
    pub(super) fn with_number(mut self, key: &str, number: u64) -> Self {
        put_head(&mut self.bytes, SPAN_ATTRIBUTES, key, 1 + varint_len(number));
        self.bytes.push(INT);
        put_varint(&mut self.bytes, number);
        self.ends.push(self.bytes.len());
        self
    }

    /// The encoded attributes.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// The key of an attribute that has another value in each span, with the constant attributes that are always right
/// before it, encoded once. The lengths in it suit a short value and are corrected when it is written.
#[derive(Clone, Debug)]
pub(super) struct Key {
    before: Constants,
    name: &'static str,
    /// The constant attributes, the key, and the lengths of a short value.
    bytes: Vec<u8>,
}

impl Key {
    pub(super) fn new(name: &'static str) -> Self {
        Self::after(&Constants::default(), name)
    }

    pub(super) fn after(before: &Constants, name: &'static str) -> Self {
        let mut bytes = before.bytes.clone();
        put_head(&mut bytes, SPAN_ATTRIBUTES, name, 0);
        Self { before: before.clone(), name, bytes }
    }

    /// Writes everything before an `AnyValue` of this length.
    fn put(&self, out: &mut Vec<u8>, value_len: usize) {
        let head = self.before.bytes.len();
        // Without the tag and the length itself.
        let len = self.bytes.len() - head - 2 + value_len;
        if len >= 0x80 {
            out.extend_from_slice(&self.before.bytes);
            return put_head(out, SPAN_ATTRIBUTES, self.name, value_len);
        }
        let at = out.len() + head;
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
        let value = shortened(value, self.value_length);
        if self.begin(key, bytes_field_len(value.len())) {
            put_bytes(self.out, STRING, value.as_bytes());
        }
    }

    /// Writes a number. One that is over OTLP's largest is written as that.
    pub(super) fn number(&mut self, key: &Key, number: u64) {
        let number = number.min(i64::MAX as u64);
        if self.begin(key, 1 + varint_len(number)) {
            self.out.push(INT);
            put_varint(self.out, number);
        }
    }

    /// Writes an attribute whose value is `true`.
    pub(super) fn flag(&mut self, key: &Key) {
        self.truth(key, true);
    }

    /// Writes an attribute whose value is `true` or `false`.
    pub(super) fn truth(&mut self, key: &Key, is_true: bool) {
        if self.begin(key, 2) {
            self.out.extend_from_slice(&[BOOL, is_true.into()]);
        }
    }

    /// The number of attributes that were left out.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Writes everything before a value, if there is room for it.
    fn begin(&mut self, key: &Key, value_len: usize) -> bool {
        match self.left.checked_sub(key.before.ends.len() + 1) {
            Some(left) => {
                self.left = left;
                key.put(self.out, value_len);
                true
            }
            None => {
                self.constants(&key.before);
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
