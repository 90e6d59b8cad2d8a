//! Payloads in RESP, as a capture of a connection holds it: from any byte on, up to any byte.
//!
//! The stream is read flat, a line or a string at a time, without a tree of values: what is no RESP costs the line that it
//! is in, and nesting costs nothing.

use std::ops::Range;

/// The strings of a stream.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Strings {
    pub(super) found: Vec<Found>,
    /// Bytes that are there, and bytes that should be, of a last string that is not whole.
    pub(super) cut_off: Option<(usize, usize)>,
}

/// A string.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Where in the input.
    pub(super) range: Range<usize>,
    /// If it is the payload of a message: which.
    pub(super) message: Option<Message>,
}

/// What a payload was sent with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// As it is written there, as in `PUBLISH` or `pmessage`.
    pub(super) kind: String,
    pub(super) channel: Vec<u8>,
}

/// Words that a message begins with, how many strings it has, and which of them is the channel. The payload is the last.
const MESSAGES: [(&str, usize, usize); 5] =
    [("message", 3, 1), ("smessage", 3, 1), ("pmessage", 4, 2), ("publish", 3, 1), ("spublish", 3, 1)];

/// The message that `words` begin with, and how many of them it has.
pub(super) fn message<'a>(words: &[impl AsRef<[u8]> + 'a]) -> Option<(Message, usize)> {
    let first = words.first()?.as_ref();
    let (_, count, channel) = *MESSAGES.iter().find(|(name, ..)| first.eq_ignore_ascii_case(name.as_bytes()))?;
    words.get(count - 1)?;
    let channel = words.get(channel)?.as_ref().to_vec();
    Some((Message { kind: String::from_utf8_lossy(first).into_owned(), channel }, count))
}

/// All strings of `stream`, in order.
pub(super) fn strings(stream: &[u8]) -> Strings {
    let mut strings = Strings::default();
    // Strings of the array that is being read, and how many there should be.
    let (mut array, mut expected) = (Vec::new(), 0);
    let mut rest = 0..stream.len();
    while let Some(token) = next(stream, &mut rest) {
        match token {
            Token::String(range) => {
                strings.cut_off = None;
                array.push(range);
                if array.len() == expected {
                    strings.add_array(stream, &mut array);
                    expected = 0;
                }
                continue;
            }
            Token::CutOff { there, wanted } => strings.cut_off = Some((there, wanted)),
            Token::Array(_) | Token::Other => {}
        }
        strings.add_each(&mut array);
        expected = if let Token::Array(count) = token { count } else { 0 };
    }
    strings.add_each(&mut array);
    strings
}

impl Strings {
    fn add_array(&mut self, stream: &[u8], array: &mut Vec<Range<usize>>) {
        let words: Vec<&[u8]> = array.iter().map(|range| &stream[range.clone()]).collect();
        match message(&words) {
            Some((message, count)) if count == array.len() => {
                self.found.extend(array.pop().map(|range| Found { range, message: Some(message) }));
                array.clear();
            }
            _ => self.add_each(array),
        }
    }

    fn add_each(&mut self, array: &mut Vec<Range<usize>>) {
        self.found.extend(array.drain(..).map(|range| Found { range, message: None }));
    }
}

enum Token {
    String(Range<usize>),
    Array(usize),
    CutOff { there: usize, wanted: usize },
    Other,
}

fn next(stream: &[u8], rest: &mut Range<usize>) -> Option<Token> {
    let here = stream.get(rest.clone()).filter(|here| !here.is_empty())?;
    let Some(len) = here.iter().position(|byte| *byte == b'\n') else {
        rest.start = rest.end;
        return Some(Token::Other);
    };
    let line = &here[..len];
    rest.start += len + 1;
    let number = || std::str::from_utf8(line.get(1..)?.strip_suffix(b"\r")?).ok()?.parse::<usize>().ok();
    Some(match (line.first(), number()) {
        (Some(b'*' | b'>'), Some(count)) => Token::Array(count),
        (Some(b'$'), Some(wanted)) => {
            let there = rest.len();
            if wanted > there {
                return Some(Token::CutOff { there, wanted });
            }
            let string = rest.start..rest.start + wanted;
            match stream[string.end..rest.end].get(..2) {
                Some(b"\r\n") => rest.start = string.end + 2,
                None => rest.start = rest.end,
                // No length, but a line that looks like one.
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

    /// As `PUBLISH ch` or `-` with the payload.
    fn shown(stream: &[u8]) -> Vec<String> {
        let shown = |found: &Found| {
            let payload = stream[found.range.clone()].escape_ascii();
            let message = found.message.as_ref();
            let with = message.map(|message| format!("{} {}", message.kind, message.channel.escape_ascii()));
            format!("{} {payload}", with.unwrap_or("-".to_owned()))
        };
        strings(stream).found.iter().map(shown).collect()
    }

    #[test]
    fn messages_are_found_among_other_values_in_every_form() {
        for (stream, expected) in [
            (&b"*3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$3\r\na\r\n\r\n"[..], &["message ch a\\r\\n"][..]),
            (b">4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$2\r\nch\r\n$0\r\n\r\n", &["pmessage ch "]),
            (b"*3\r\n$7\r\nPublish\r\n$2\r\nch\r\n$1\r\nx\r\n:3\r\n", &["Publish ch x"]),
            (b"+OK\r\n$3\r\nabc\r\n$-1\r\n_\r\n", &["- abc"]),
            (b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n", &["- subscribe", "- a"]),
            // From the middle of a message on, and with something else in between.
            (b"ssage\r\n$2\r\nch\r\n$1\r\nx\r\nGET / HTTP\r\n*1\r\n$4\r\nPING\r\n", &["- ch", "- x", "- PING"]),
            // In a transaction's answer.
            (b"*2\r\n*3\r\n$8\r\nsmessage\r\n$2\r\nch\r\n$1\r\nx\r\n:1\r\n", &["smessage ch x"]),
            (b"*3\r\n$7\r\nmessage\r\n*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n", &["- message", "message a b"]),
        ] {
            assert_eq!(shown(stream), expected, "{}", stream.escape_ascii());
            assert_eq!(strings(stream).cut_off, None, "{}", stream.escape_ascii());
        }
    }

    #[test]
    fn what_is_no_resp_has_no_strings_and_one_that_is_cut_off_is_told() {
        for stream in [&b""[..], b"hello", b"$", b"$x\r\nabc", b"$3\nabc\n", b"*99999999999\r\n", b"$1\r\nabc\r\n"] {
            assert_eq!(strings(stream), Strings::default(), "{}", stream.escape_ascii());
        }
        let cut = strings(b"*2\r\n$3\r\nGET\r\n$18446744073709551615\r\nabc");
        assert_eq!((cut.found.len(), cut.cut_off), (1, Some((3, usize::MAX))));
        assert_eq!(shown(b"$3\r\nabc"), ["- abc"], "whole, though its line end is missing");
    }

    #[test]
    fn any_bytes_are_read_to_their_end_however_deep_they_nest() {
        let nested = b"*1\r\n".repeat(100_000);
        assert_eq!(strings(&nested), Strings::default());
        let mut random = vec![0; 4096];
        for _ in 0..200 {
            getrandom::fill(&mut random).unwrap();
            let bytes: Vec<u8> = random.iter().map(|byte| b"*$3>\r\n\n1a"[usize::from(byte % 9)]).collect();
            for found in strings(&bytes).found {
                assert!(bytes.get(found.range).is_some());
            }
        }
    }
}
