//! Inline commands, which are a line of words instead of a multibulk.

use crate::commands::{self, Answer, MAX_WORDS, Request, Word};

/// Longest line, in bytes without its line feed, that Redis accepts (`PROTO_INLINE_MAX_SIZE`).
pub(super) const MAX_LINE_LEN: usize = 64 * 1024;

/// The meaning of a line.
#[derive(Debug, PartialEq)]
pub(super) enum Line {
    /// The line has no word, and Redis does not answer it.
    Blank,
    Command(Answer),
    /// Redis refuses the line and closes the connection or, if the line contains a NUL byte, never answers. Or the line is the
    /// beginning of HTTP/2, of which Redis refuses each line by itself.
    Refused,
}

/// Reads a line without its line feed, by the rules of Redis's `sdssplitargs`.
pub(super) fn read(line: &[u8]) -> Line {
    if line.contains(&0) {
        return Line::Refused; // Redis looks for the end of the line with strchr, which stops at a NUL byte
    }
    let mut words = [Word::default(); MAX_WORDS];
    let mut count = 0;
    let mut rest = line.strip_suffix(b"\r").unwrap_or(line);
    loop {
        rest = rest.trim_start_with(is_space);
        if rest.is_empty() {
            break;
        }
        let mut unused = Word::default();
        let word = words.get_mut(count).unwrap_or(&mut unused);
        match split_word(rest, word) {
            Some(after) => rest = after,
            None => return Line::Refused,
        }
        count += 1;
    }
    let [name, second, third] = words.each_ref().map(Word::as_bytes);
    match count {
        0 => Line::Blank,
        _ if is_http(name, second, third) => Line::Refused,
        _ => {
            let count = u64::try_from(count).unwrap_or(u64::MAX);
            Line::Command(commands::answer(name, &Request { count, second, third }))
        }
    }
}

/// Whether a line with these words is one of HTTP. Redis takes `POST` and `Host:` for an attack by a web page, and closes the
/// connection without an answer (`securityWarningCommand`); one of the two is in every request of HTTP/1.1. HTTP/2 begins with a
/// line that is none of any other protocol (RFC 9113, section 3.4).
fn is_http(name: &[u8], second: &[u8], third: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"POST")
        || name.eq_ignore_ascii_case(b"HOST:")
        || (name, second, third) == (b"PRI", b"*", b"HTTP/2.0")
}

trait TrimStartWith {
    fn trim_start_with(&self, strip: fn(u8) -> bool) -> &[u8];
}

impl TrimStartWith for [u8] {
    fn trim_start_with(&self, strip: fn(u8) -> bool) -> &[u8] {
        let start = self.iter().position(|&byte| !strip(byte)).unwrap_or(self.len());
        self.get(start..).unwrap_or_default()
    }
}

/// Whether the byte is white space by C's `isspace`.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// Reads a word, and returns what follows it; `None` if a quote is not closed, or is closed within a word.
fn split_word<'a>(mut rest: &'a [u8], word: &mut Word) -> Option<&'a [u8]> {
    while let Some((&byte, after)) = rest.split_first() {
        rest = match byte {
            b'"' => return closed(double_quoted(after, word)?),
            b'\'' => return closed(single_quoted(after, word)?),
            _ if is_space(byte) => return Some(rest),
            _ => {
                word.push(&[byte]);
                after
            }
        };
    }
    Some(rest)
}

/// What follows a closing quote; `None` if it is neither white space nor the end of the line.
fn closed(rest: &[u8]) -> Option<&[u8]> {
    rest.first().is_none_or(|&byte| is_space(byte)).then_some(rest)
}

fn double_quoted<'a>(mut rest: &'a [u8], word: &mut Word) -> Option<&'a [u8]> {
    loop {
        let (byte, after) = match rest {
            [b'"', after @ ..] => return Some(after),
            [b'\\', b'x', high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let digits = [*high, *low];
                let text = core::str::from_utf8(&digits).ok()?;
                (u8::from_str_radix(text, 16).ok()?, after)
            }
            [b'\\', escaped, after @ ..] => {
                let byte = match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                };
                (byte, after)
            }
            [byte, after @ ..] => (*byte, after),
            [] => return None,
        };
        word.push(&[byte]);
        rest = after;
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], word: &mut Word) -> Option<&'a [u8]> {
    loop {
        let (byte, after) = match rest {
            [b'\'', after @ ..] => return Some(after),
            [b'\\', b'\'', after @ ..] => (b'\'', after),
            [byte, after @ ..] => (*byte, after),
            [] => return None,
        };
        word.push(&[byte]);
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::ReplyMode;
    use crate::service::SubscriptionKind;

    fn command(line: &str) -> Answer {
        match read(line.as_bytes()) {
            Line::Command(command) => command,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn words_are_split_as_redis_splits_them() {
        assert_eq!(command("PING\r"), Answer::Replies(1));
        assert_eq!(command("  multi  "), Answer::Multi);
        assert_eq!(command("\"\\x6dulti\""), Answer::Multi);
        assert_eq!(command("'multi'"), Answer::Multi);
        assert_eq!(command("client reply\t'off'"), Answer::ClientReply(ReplyMode::Off));
        let two = Answer::Confirmations { kind: SubscriptionKind::Channel, subscribe: true, left: Some(2) };
        assert_eq!(command("subscribe \"a b\" 'c d'"), two);
        assert_eq!(command("subscribe a\rb"), two);
        assert_eq!(command("PUBLISH a \"x y\""), Answer::Publishes(1));
    }

    #[test]
    fn blank_lines_are_no_request() {
        for line in ["", "\r", "   ", " \t\r"] {
            assert_eq!(read(line.as_bytes()), Line::Blank);
        }
    }

    #[test]
    fn lines_that_redis_refuses() {
        for line in
            ["SET \"a", "SET 'a", "SET \"a\"b c", "GET a\0b", "SET \"a\\", "POST /", "host: x", "PRI * HTTP/2.0\r"]
        {
            assert_eq!(read(line.as_bytes()), Line::Refused, "{line}");
        }
    }
}
