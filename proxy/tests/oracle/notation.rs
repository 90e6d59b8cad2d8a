//! The notation for bytes in conversations and examples.

use redistributed_core::carrier::trailer;
use redistributed_core::trace::SpanContext;

/// Expands `{COUNT x "TEXT"}`.
pub(crate) fn expand(line: &str) -> String {
    let Some((before, rest)) = line.split_once('{') else { return line.to_owned() };
    let repeated = rest.split_once('}').and_then(|(inside, after)| {
        let (count, text) = inside.split_once(" x ")?;
        let text = text.strip_prefix('"')?.strip_suffix('"')?;
        Some(format!("{before}{}{}", text.repeat(count.parse().ok()?), expand(after)))
    });
    repeated.unwrap_or_else(|| format!("{before}{{{}", expand(rest)))
}

/// A payload that ends in a context as a proxy adds it.
pub(crate) fn trailer() -> Vec<u8> {
    let context = SpanContext::parse_traceparent(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    let mut bytes = b"payload".to_vec();
    trailer::write(&context.expect("a context").into(), &mut bytes);
    bytes
}

/// Splits a command into its words. They are separated by spaces, or in double quotes with `\r`, `\n`, `\"`, `\\` and
/// `\xHH`. The word `{trailer}` stands for [`trailer`].
pub(crate) fn words(text: &str) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let mut escaped = false;
                let closes = |c: char| {
                    let closes = c == '"' && !escaped;
                    escaped = c == '\\' && !escaped;
                    closes
                };
                let (word, after) = quoted.split_at(quoted.find(closes).expect("a closing quote"));
                (unescape(word), &after[1..])
            }
            None => {
                let (word, after) = rest.split_at(rest.find(' ').unwrap_or(rest.len()));
                (word.as_bytes().to_vec(), after)
            }
        };
        words.push(if word == b"{trailer}" { trailer() } else { word });
        rest = after.trim_start();
    }
    words
}

/// The bytes of a text with `\r`, `\n` and `\xHH`. A backslash before any other byte stands for that byte.
pub(crate) fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'\\' {
            bytes.push(first);
            continue;
        }
        let (&escape, after) = rest.split_first().expect("something after a backslash");
        rest = after;
        bytes.push(match escape {
            b'r' => b'\r',
            b'n' => b'\n',
            b'x' => {
                let (digits, after) = rest.split_at(2);
                rest = after;
                u8::from_str_radix(std::str::from_utf8(digits).expect("digits"), 16).expect("two hex digits")
            }
            other => other,
        });
    }
    bytes
}
