//! The strings in a stream of RESP, as captured from a connection: it may begin and end at any byte.
//!
//! The stream is read flat, one line or one string at a time, without a tree of values. Bytes that are not RESP cost no more
//! than the line that they are in, and nesting costs nothing.

use std::ops::Range;

use super::entry::{self, EntryFields};

/// The bulk strings of a stream.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Strings {
    /// The strings that are complete, in order. Of a message, only the payload is here.
    pub(super) found: Vec<BulkString>,
    /// The fields of entries to which a proxy has added two, and where each of them begins in the stream.
    pub(super) entries: Vec<(usize, EntryFields)>,
    /// Set if the stream ends within a string.
    pub(super) truncated: Option<Truncated>,
}

/// A complete bulk string.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BulkString {
    /// Its bytes in the stream.
    pub(super) range: Range<usize>,
    /// The message whose payload it is, if it is one.
    pub(super) message: Option<MessageHeader>,
}

/// A string whose end is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Truncated {
    /// The number of its bytes in the stream.
    pub(super) present: usize,
    /// The length that its header names, in bytes.
    pub(super) expected: usize,
}

/// A message without its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MessageHeader {
    /// The first string, in the case in which it was sent: `PUBLISH`, `pmessage`.
    pub(super) kind: String,
    pub(super) channel: Vec<u8>,
}

/// For each kind of message: its name, the number of its strings, and the index of the channel. The payload is the last string.
const MESSAGES: [(&str, usize, usize); 5] =
    [("message", 3, 1), ("smessage", 3, 1), ("pmessage", 4, 2), ("publish", 3, 1), ("spublish", 3, 1)];

/// The message that `strings` begin with, and the number of its strings.
pub(super) fn message(strings: &[impl AsRef<[u8]>]) -> Option<(MessageHeader, usize)> {
    let kind = strings.first()?.as_ref();
    let (_, count, channel) = *MESSAGES.iter().find(|(name, ..)| kind.eq_ignore_ascii_case(name.as_bytes()))?;
    strings.get(count - 1)?;
    let channel = strings.get(channel)?.as_ref().to_vec();
    Some((MessageHeader { kind: String::from_utf8_lossy(kind).into_owned(), channel }, count))
}

/// Finds all strings of `stream`.
pub(super) fn strings(stream: &[u8]) -> Strings {
    let mut strings = Strings::default();
    // The strings of the array that is being read, and the number that its header names.
    let (mut array, mut expected) = (Vec::new(), 0);
    let mut rest = 0..stream.len();
    while let Some(token) = next_token(stream, &mut rest) {
        match token {
            Token::String(range) => {
                strings.truncated = None;
                array.push(range);
                if array.len() == expected {
                    strings.add_array(stream, &mut array);
                    expected = 0;
                }
                continue;
            }
            Token::Truncated(truncated) => strings.truncated = Some(truncated),
            Token::Array(_) | Token::Other => {}
        }
        strings.add_each(&mut array);
        expected = if let Token::Array(count) = token { count } else { 0 };
    }
    strings.add_each(&mut array);
    strings
}

impl Strings {
    /// Adds the strings of a complete array: the payload of a message, or all of them.
    fn add_array(&mut self, stream: &[u8], array: &mut Vec<Range<usize>>) {
        let strings: Vec<&[u8]> = array.iter().map(|range| &stream[range.clone()]).collect();
        if let Some(entry) = entry::ending(&strings) {
            let first = array.len() - entry.strings;
            self.entries.push((array[first].start, entry));
        }
        match message(&strings) {
            Some((message, count)) if count == array.len() => {
                self.found.extend(array.pop().map(|range| BulkString { range, message: Some(message) }));
                array.clear();
            }
            _ => self.add_each(array),
        }
    }

    fn add_each(&mut self, array: &mut Vec<Range<usize>>) {
        self.found.extend(array.drain(..).map(|range| BulkString { range, message: None }));
    }
}

enum Token {
    /// A complete bulk string.
    String(Range<usize>),
    /// The header of an array or a push.
    Array(usize),
    /// A bulk string whose end is missing.
    Truncated(Truncated),
    /// A line with something else.
    Other,
}

fn next_token(stream: &[u8], rest: &mut Range<usize>) -> Option<Token> {
    let bytes = stream.get(rest.clone()).filter(|bytes| !bytes.is_empty())?;
    let Some(len) = bytes.iter().position(|byte| *byte == b'\n') else {
        rest.start = rest.end;
        return Some(Token::Other);
    };
    let line = &bytes[..len];
    rest.start += len + 1;
    let number = || std::str::from_utf8(line.get(1..)?.strip_suffix(b"\r")?).ok()?.parse::<usize>().ok();
    Some(match (line.first(), number()) {
        (Some(b'*' | b'>'), Some(count)) => Token::Array(count),
        (Some(b'$'), Some(expected)) => {
            let present = rest.len();
            if expected > present {
                return Some(Token::Truncated(Truncated { present, expected }));
            }
            let string = rest.start..rest.start + expected;
            match stream[string.end..rest.end].get(..2) {
                Some(b"\r\n") => rest.start = string.end + 2,
                None => rest.start = rest.end,
                // The line only looked like the header of a string.
                Some(_) => return Some(Token::Other),
            }
            Token::String(string)
        }
        _ => Token::Other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each string with the message that it belongs to, as in `PUBLISH ch payload` or `- string`.
    fn found(stream: &[u8]) -> Vec<String> {
        let show = |found: &BulkString| {
            let string = stream[found.range.clone()].escape_ascii();
            let message = found.message.as_ref();
            let header = message.map(|message| format!("{} {}", message.kind, message.channel.escape_ascii()));
            format!("{} {string}", header.unwrap_or("-".to_owned()))
        };
        strings(stream).found.iter().map(show).collect()
    }

    #[test]
    fn messages_are_told_from_other_strings() {
        for (stream, expected) in [
            (&b"*3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$3\r\na\r\n\r\n"[..], &["message ch a\\r\\n"][..]),
            (b">4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$2\r\nch\r\n$0\r\n\r\n", &["pmessage ch "]),
            (b"*3\r\n$7\r\nPublish\r\n$2\r\nch\r\n$1\r\nx\r\n:3\r\n", &["Publish ch x"]),
            (b"+OK\r\n$3\r\nabc\r\n$-1\r\n_\r\n", &["- abc"]),
            (b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n", &["- subscribe", "- a"]),
            // From the middle of a message, and with a line that is not RESP.
            (b"ssage\r\n$2\r\nch\r\n$1\r\nx\r\nGET / HTTP\r\n*1\r\n$4\r\nPING\r\n", &["- ch", "- x", "- PING"]),
            // In the reply to EXEC.
            (b"*2\r\n*3\r\n$8\r\nsmessage\r\n$2\r\nch\r\n$1\r\nx\r\n:1\r\n", &["smessage ch x"]),
            (b"*3\r\n$7\r\nmessage\r\n*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n", &["- message", "message a b"]),
        ] {
            assert_eq!(found(stream), expected, "{}", stream.escape_ascii());
            assert_eq!(strings(stream).truncated, None, "{}", stream.escape_ascii());
        }
    }

    #[test]
    fn bytes_that_are_not_resp_hold_no_strings() {
        for stream in [&b""[..], b"hello", b"$", b"$x\r\nabc", b"$3\nabc\n", b"*99999999999\r\n", b"$1\r\nabc\r\n"] {
            assert_eq!(strings(stream), Strings::default(), "{}", stream.escape_ascii());
        }
    }

    #[test]
    fn a_string_whose_end_is_missing_is_reported() {
        let strings = strings(b"*2\r\n$3\r\nGET\r\n$18446744073709551615\r\nabc");
        assert_eq!(strings.found.len(), 1);
        assert_eq!(strings.truncated, Some(Truncated { present: 3, expected: usize::MAX }));
        assert_eq!(found(b"$3\r\nabc"), ["- abc"], "only the line end after it is missing");
    }

    #[test]
    fn any_bytes_are_read_to_their_end_however_deep_they_nest() {
        let nested = b"*1\r\n".repeat(100_000);
        assert_eq!(strings(&nested), Strings::default());
        let mut random = vec![0; 4096];
        for _ in 0..200 {
            getrandom::fill(&mut random).unwrap();
            let bytes: Vec<u8> = random.iter().map(|byte| b"*$3>\r\n\n1a"[usize::from(byte % 9)]).collect();
            for string in strings(&bytes).found {
                assert!(bytes.get(string.range).is_some());
            }
        }
    }
}
