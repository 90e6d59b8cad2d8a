//! The end of an HTTP/1 body (RFC 9112, sections 6 and 7).

use super::head::{Fields, StatusLine};

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// The body ends after so many bytes.
    Exact(u64),
    /// The body ends with its last chunk and the trailers behind it.
    Chunked,
    /// The body ends with the connection.
    UntilEnd,
}

/// The length that the headers of a request state; `None` if readers could take it in two ways.
pub(super) fn of_request(fields: Fields<'_>, is_http_11: bool) -> Option<Length> {
    match stated(fields, is_http_11)? {
        // A request cannot end with the connection.
        Some(Length::UntilEnd) => None,
        stated => Some(stated.unwrap_or(Length::Exact(0))),
    }
}

/// The length of a response to a request whose method is `HEAD` or not; `None` if readers could take it in two ways.
pub(super) fn of_response(line: StatusLine, fields: Fields<'_>, is_answer_to_head: bool) -> Option<Length> {
    let stated = stated(fields, line.is_http_11)?;
    if is_answer_to_head || matches!(line.status, 100..=199 | 204 | 304) {
        return Some(Length::Exact(0));
    }
    Some(stated.unwrap_or(Length::UntilEnd))
}

/// The length that headers state. `None` if they contradict each other or themselves.
fn stated(fields: Fields<'_>, is_http_11: bool) -> Option<Option<Length>> {
    let mut stated = None;
    for field in fields.iter() {
        let length = if field.name.eq_ignore_ascii_case(b"content-length") {
            Length::Exact(decimal(field.value)?)
        } else if field.name.eq_ignore_ascii_case(b"transfer-encoding") {
            if !is_http_11 {
                return None;
            }
            transfer_encoding(field.value)?
        } else {
            continue;
        };
        // Two that say the same are two all the same: somebody may add them up to a list.
        if stated.replace(length).is_some() {
            return None;
        }
    }
    Some(stated)
}

/// Reads a list of codings, of which `chunked` may only be the last. `None` if the list cannot be read for certain.
fn transfer_encoding(value: &[u8]) -> Option<Length> {
    let mut chunked = false;
    for coding in value.split(|byte| *byte == b',') {
        let coding = coding.trim_ascii();
        if chunked || coding.is_empty() || coding.contains(&b';') {
            return None;
        }
        chunked = coding.eq_ignore_ascii_case(b"chunked");
    }
    Some(if chunked { Length::Chunked } else { Length::UntilEnd })
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        digit.is_ascii_digit().then(|| number * 10 + u64::from(digit.wrapping_sub(b'0')))
    })
}

/// A body on its way. Every byte is looked at once, and nothing is kept of it.
#[derive(Clone, Debug)]
pub(super) struct Body {
    part: Part,
}

/// The part of a body to which the next byte belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// So many bytes are left, and then the body ends.
    Exact(u64),
    UntilEnd,
    /// The digits of a chunk's size: the number that they make so far, and how many there were.
    Size(u64, u8),
    /// Whatever stands between a chunk's size, which is kept here, and the end of its line.
    Extension(u64),
    /// The LF of the line with a chunk's size, which is kept here.
    SizeEnd(u64),
    /// A chunk's content, of which so many bytes are left.
    Data(u64),
    /// The CR behind a chunk's content. Its LF is the next part.
    DataEnd,
    DataEndLf,
    /// A line behind the last chunk of which nothing has come. The next part is one of which something has.
    TrailerStart,
    Trailer,
    TrailerEnd,
    /// The LF of the empty line that ends the trailers.
    LastEnd,
    Over,
}

/// What is known after some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// More bytes belong to the body.
    NotYet,
    /// The body is complete.
    Here,
    /// The bytes cannot be read for certain.
    Unclear,
}

impl Body {
    pub(super) fn new(length: Length) -> Self {
        let part = match length {
            Length::Exact(0) => Part::Over,
            Length::Exact(len) => Part::Exact(len),
            Length::Chunked => Part::Size(0, 0),
            Length::UntilEnd => Part::UntilEnd,
        };
        Self { part }
    }

    /// Whether nothing more belongs to it.
    pub(super) fn is_over(&self) -> bool {
        self.part == Part::Over
    }

    /// Whether the end of the connection is its end.
    pub(super) fn ends_with_connection(&self) -> bool {
        self.part == Part::UntilEnd
    }

    /// Takes bytes from the beginning of `input`. Returns how many belong to the body, and whether it is complete. `data` is called
    /// with the bytes that are its content.
    pub(super) fn advance(&mut self, input: &[u8], mut data: impl FnMut(&[u8])) -> (usize, End) {
        let mut at = 0;
        while let Some(rest) = input.get(at..).filter(|rest| !rest.is_empty()) {
            let Some(taken) = self.step(rest, &mut data) else { return (at, End::Unclear) };
            at += taken;
            if self.part == Part::Over {
                return (at, End::Here);
            }
        }
        (at, End::NotYet)
    }

    /// Takes one byte or more of `rest`, which is not empty. `None` if they cannot be read for certain.
    fn step(&mut self, rest: &[u8], data: &mut impl FnMut(&[u8])) -> Option<usize> {
        let byte = *rest.first()?;
        let line_end = |part| (byte == b'\n').then_some(part);
        let (next, taken) = match self.part {
            Part::Exact(left) | Part::Data(left) => {
                let taken = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
                data(rest.get(..taken)?);
                let left = left - u64::try_from(taken).ok()?;
                let is_chunk = matches!(self.part, Part::Data(_));
                let next = match (is_chunk, left) {
                    (true, 0) => Part::DataEnd,
                    (true, _) => Part::Data(left),
                    (false, 0) => Part::Over,
                    (false, _) => Part::Exact(left),
                };
                (next, taken)
            }
            Part::UntilEnd => {
                data(rest);
                (Part::UntilEnd, rest.len())
            }
            Part::Size(size, digits) => (size_line(size, digits, byte)?, 1),
            Part::Extension(size) => match memchr::memchr2(b'\r', b'\n', rest) {
                None => (Part::Extension(size), rest.len()),
                Some(at) if rest.get(at) == Some(&b'\r') => (Part::SizeEnd(size), at + 1),
                Some(_) => return None,
            },
            Part::SizeEnd(0) => (line_end(Part::TrailerStart)?, 1),
            Part::SizeEnd(size) => (line_end(Part::Data(size))?, 1),
            Part::DataEnd => ((byte == b'\r').then_some(Part::DataEndLf)?, 1),
            Part::DataEndLf => (line_end(Part::Size(0, 0))?, 1),
            Part::TrailerStart if byte == b'\r' => (Part::LastEnd, 1),
            Part::TrailerStart | Part::Trailer => match memchr::memchr2(b'\r', b'\n', rest) {
                None => (Part::Trailer, rest.len()),
                Some(at) if rest.get(at) == Some(&b'\r') => (Part::TrailerEnd, at + 1),
                Some(_) => return None,
            },
            Part::TrailerEnd => (line_end(Part::TrailerStart)?, 1),
            Part::LastEnd => (line_end(Part::Over)?, 1),
            Part::Over => return None,
        };
        self.part = next;
        Some(taken)
    }
}

/// Takes a byte of the line that states a chunk's size, behind so many digits.
fn size_line(size: u64, digits: u8, byte: u8) -> Option<Part> {
    let digit = match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        b'A'..=b'F' => byte - b'A' + 10,
        b'\r' if digits > 0 => return Some(Part::SizeEnd(size)),
        b';' | b' ' | b'\t' if digits > 0 => return Some(Part::Extension(size)),
        _ => return None,
    };
    // No body has an exabyte.
    (digits < 15).then(|| Part::Size(size << 4 | u64::from(digit), digits + 1))
}

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use alloc::vec::Vec;

    use super::super::head;
    use super::*;

    fn request(headers: &str) -> Option<Length> {
        let head = alloc::format!("POST / HTTP/1.1\r\n{headers}\r\n");
        of_request(head::request(head.as_bytes()).unwrap().1, true)
    }

    fn response(status: u16, headers: &str, is_answer_to_head: bool) -> Option<Length> {
        let head = alloc::format!("HTTP/1.1 {status} x\r\n{headers}\r\n");
        let (line, fields) = head::response(head.as_bytes()).unwrap();
        of_response(line, fields, is_answer_to_head)
    }

    #[test]
    fn the_length_is_what_the_headers_say_if_they_say_one_thing() {
        for (headers, length) in [
            ("", Some(Length::Exact(0))),
            ("Content-Length: 12\r\n", Some(Length::Exact(12))),
            ("transfer-encoding: gzip, Chunked\r\n", Some(Length::Chunked)),
            ("Content-Length: 1\r\nContent-Length: 1\r\n", None),
            ("Content-Length: 1, 1\r\n", None),
            ("Content-Length: +1\r\n", None),
            ("Content-Length: \r\n", None),
            ("Content-Length: 1000000000000000000\r\n", None),
            ("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", None),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", None),
            ("Transfer-Encoding: chunked, gzip\r\n", None),
            ("Transfer-Encoding: gzip\r\n", None),
            ("Transfer-Encoding: chunked;q=1\r\n", None),
            ("Transfer-Encoding: ,chunked\r\n", None),
        ] {
            assert_eq!(request(headers), length, "{headers}");
        }
        let head = b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(of_request(head::request(head).unwrap().1, false), None);
    }

    #[test]
    fn the_status_and_the_method_say_whether_a_response_has_a_body() {
        const LEN: &str = "Content-Length: 5\r\n";
        for (status, headers, to_head, length) in [
            (200, LEN, false, Length::Exact(5)),
            (200, LEN, true, Length::Exact(0)),
            (304, LEN, false, Length::Exact(0)),
            (204, "", false, Length::Exact(0)),
            (103, "", false, Length::Exact(0)),
            (200, "", false, Length::UntilEnd),
            (200, "Transfer-Encoding: gzip\r\n", false, Length::UntilEnd),
            (200, "Transfer-Encoding: chunked\r\n", false, Length::Chunked),
        ] {
            assert_eq!(response(status, headers, to_head), Some(length), "{status} {headers}");
        }
        assert_eq!(response(200, "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", false), None);
    }

    /// The content, the number of bytes that belong to the body, and how it went on, with the input in pieces of this size.
    fn read(length: Length, bytes: &[u8], size: usize) -> (String, usize, End) {
        let (mut body, mut content, mut taken) = (Body::new(length), Vec::new(), 0);
        for piece in bytes.chunks(size) {
            let (len, end) = body.advance(piece, |data| content.extend_from_slice(data));
            taken += len;
            if end != End::NotYet {
                return (String::from_utf8(content).unwrap(), taken, end);
            }
        }
        (String::from_utf8(content).unwrap(), taken, End::NotYet)
    }

    #[test]
    fn chunks_are_read_to_the_last_trailer_however_they_are_cut() {
        const CHUNKS: &[u8] = b"4\r\nWiki\r\n5 ;a=\"b\"\r\npedia\r\n00\r\nETag: x\r\nB: c\r\n\r\nGET";
        for size in 1..=CHUNKS.len() {
            let expected = ("Wikipedia".into(), CHUNKS.len() - 3, End::Here);
            assert_eq!(read(Length::Chunked, CHUNKS, size), expected, "in pieces of {size}");
        }
        assert_eq!(read(Length::Exact(3), b"abcd", 2), ("abc".into(), 3, End::Here));
        assert_eq!(read(Length::UntilEnd, b"abcd", 3), ("abcd".into(), 4, End::NotYet));
        assert!(Body::new(Length::Exact(0)).is_over());
    }

    #[test]
    fn chunks_that_readers_could_take_in_two_ways_are_unclear() {
        for bytes in [
            &b"4\nWiki"[..],
            b"\r\n",
            b";a\r\n",
            b"0x4\r\n",
            b"-1\r\n",
            b"1000000000000000\r\n",
            b"1\r\naX",
            b"1\r\na\rX",
            b"1;a\n",
            b"0\r\nA: b\n",
            b"0\r\n\rX",
        ] {
            assert_eq!(read(Length::Chunked, bytes, 3).2, End::Unclear, "{}", bytes.escape_ascii());
        }
    }
}
