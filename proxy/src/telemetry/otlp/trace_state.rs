//! The W3C `tracestate` of a span, written in its plainest form.

use super::wire::{put_bytes, put_varint};

/// Entries that are kept (W3C Trace Context, section 3.3.1.1).
const MAX_ENTRIES: usize = 32;

/// Longest key and longest value, in bytes.
const MAX_PART: usize = 256;

/// Writes the field, without the empty entries and the white space that the text may have around its commas. If one
/// entry is not well-formed the text means nothing, and nothing is written: the specification asks for that.
pub(super) fn put_trace_state(out: &mut Vec<u8>, tag: u8, text: &str) {
    if entries(text).any(|entry| !is_well_formed(entry)) {
        return;
    }
    let len = entries(text).map(|entry| entry.len() + 1).sum::<usize>().saturating_sub(1);
    if len == 0 {
        return;
    }
    if len == text.len() {
        return put_bytes(out, tag, text.as_bytes());
    }
    out.push(tag);
    put_varint(out, len as u64);
    for (index, entry) in entries(text).enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(entry.as_bytes());
    }
}

fn entries(text: &str) -> impl Iterator<Item = &str> {
    let entries = text.split(',').take(MAX_ENTRIES).map(|entry| entry.trim_matches([' ', '\t']));
    entries.filter(|entry| !entry.is_empty())
}

/// `key=value`, where the key may name a tenant: `tenant@system`.
fn is_well_formed(entry: &str) -> bool {
    let Some((key, value)) = entry.split_once('=') else { return false };
    let key_byte = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/@".contains(&byte);
    let value_byte = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'=';
    key.len() <= MAX_PART
        && key.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
        && key.bytes().all(key_byte)
        && key.bytes().filter(|&byte| byte == b'@').count() <= 1
        && value.len() <= MAX_PART
        && !value.is_empty()
        && value.bytes().all(value_byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> String {
        let mut out = Vec::new();
        put_trace_state(&mut out, 0x1a, text);
        match out.as_slice() {
            [] => String::new(),
            [0x1a, len @ 1..0x80, text @ ..] if usize::from(*len) == text.len() => {
                String::from_utf8(text.to_vec()).unwrap()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_plain_text_is_written_as_it_is_and_others_are_tidied() {
        assert_eq!(written("vendor=a,other=b"), "vendor=a,other=b");
        assert_eq!(written("fw529a3039@dt=FfAAAA"), "fw529a3039@dt=FfAAAA");
        assert_eq!(written("k=a b!~"), "k=a b!~");
        assert_eq!(written(" a=1 ,\t, b=2,"), "a=1,b=2");
        assert_eq!(written("a=1,"), "a=1");
        assert_eq!(written(" , "), "");
        assert_eq!(written(""), "");
    }

    #[test]
    fn an_entry_that_is_not_well_formed_spoils_the_text() {
        for text in
            ["novalue", "a=1,novalue", "A=1", "=1", "a=", "a==b", "a=b=c", "a@b@c=1", "@a=1", "a=\u{e9}", "a=\t1\t2"]
        {
            assert_eq!(written(text), "", "{text:?}");
        }
        assert_eq!(written(&format!("a={}", "x".repeat(257))), "");
        assert_eq!(written(&format!("{}=x", "k".repeat(257))), "");
    }

    #[test]
    fn at_most_32_entries_are_kept() {
        let text = (0..40).map(|index| format!("{}=1", char::from(b'a' + index % 26))).collect::<Vec<_>>().join(",");
        assert_eq!(written(&text).split(',').count(), 32);
    }
}
