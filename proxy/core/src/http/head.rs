//! The lines of an HTTP/1 head (RFC 9112, sections 2 to 5).
//!
//! A head is read only if every line of it can be read in one way: lines end in CRLF, no line is folded, a name is a token that a
//! colon follows at once.

use core::ops::Range;

/// A header, and where it stands in its head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field<'a> {
    pub(super) name: &'a [u8],
    /// The value without the white space around it.
    pub(super) value: &'a [u8],
    /// Where `value` stands in the head.
    pub(super) value_range: Range<usize>,
    /// Where the header's line stands in the head, with its CRLF.
    pub(super) line: Range<usize>,
}

/// The headers of a head that has been found to be readable.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a> {
    head: &'a [u8],
    /// Where the first line ends, and the headers begin.
    begin: usize,
}

/// The first line of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestLine<'a> {
    pub(super) method: &'a [u8],
    pub(super) target: &'a [u8],
    pub(super) is_http_11: bool,
}

/// The first line of a response.
#[derive(Clone, Copy, Debug)]
pub(super) struct StatusLine {
    pub(super) status: u16,
    pub(super) is_http_11: bool,
}

/// Reads the complete head of a request, which ends in an empty line. `None` if it cannot be read for certain.
pub(super) fn request(head: &[u8]) -> Option<(RequestLine<'_>, Fields<'_>)> {
    let (line, fields) = split(head)?;
    let mut words = line.split(|byte| *byte == b' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    let is_readable = words.next().is_none()
        && !method.is_empty()
        && method.iter().all(|byte| is_token(*byte))
        && !target.is_empty()
        && target.iter().all(|byte| !byte.is_ascii_control());
    is_readable.then_some((RequestLine { method, target, is_http_11: is_http_11(version)? }, fields))
}

/// Reads the complete head of a response, which ends in an empty line. `None` if it cannot be read for certain.
pub(super) fn response(head: &[u8]) -> Option<(StatusLine, Fields<'_>)> {
    let (line, fields) = split(head)?;
    let mut words = line.splitn(3, |byte| *byte == b' ');
    let (version, status) = (words.next()?, words.next()?);
    let [hundreds @ b'1'..=b'9', tens, ones] = status else { return None };
    let digits = [hundreds, tens, ones].map(|digit| u16::from(digit.wrapping_sub(b'0')));
    let is_number = digits.iter().all(|digit| *digit < 10);
    let status = digits.iter().fold(0, |number, digit| number * 10 + digit);
    is_number.then_some((StatusLine { status, is_http_11: is_http_11(version)? }, fields))
}

impl<'a> Fields<'a> {
    /// The headers in their order.
    pub(super) fn iter(self) -> impl Iterator<Item = Field<'a>> {
        let mut at = self.begin;
        core::iter::from_fn(move || {
            let (field, end) = field(self.head, at)?;
            at = end;
            Some(field)
        })
    }

    /// Where headers can be added: in front of the empty line.
    pub(super) fn end(self) -> usize {
        self.head.len().saturating_sub(2)
    }
}

/// The first line, without its end, and the headers. `None` if a line cannot be read for certain.
fn split(head: &[u8]) -> Option<(&[u8], Fields<'_>)> {
    let begin = memchr::memchr(b'\n', head)? + 1;
    let line = head.get(..begin)?.strip_suffix(b"\r\n")?;
    if line.contains(&b'\r') {
        return None;
    }
    let fields = Fields { head, begin };
    let mut at = begin;
    while let Some((_, end)) = field(head, at) {
        at = end;
    }
    (head.get(at..)? == b"\r\n").then_some((line, fields))
}

/// The header whose line begins at `at`, and the end of the line. `None` at the empty line, and at a line that cannot be read.
fn field(head: &[u8], at: usize) -> Option<(Field<'_>, usize)> {
    let rest = head.get(at..)?;
    let len = memchr::memchr(b'\n', rest)? + 1;
    let text = rest.get(..len)?.strip_suffix(b"\r\n")?;
    let colon = memchr::memchr(b':', text)?;
    let (name, value) = (text.get(..colon)?, text.get(colon + 1..)?);
    let is_value = |byte: u8| matches!(byte, b'\t' | 0x20..=0x7e | 0x80..);
    if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) || !value.iter().all(|byte| is_value(*byte)) {
        return None;
    }
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let before = value.iter().take_while(|byte| is_space(byte)).count();
    let trimmed = value.get(before..)?;
    let after = trimmed.iter().rev().take_while(|byte| is_space(byte)).count();
    let value = trimmed.get(..trimmed.len() - after)?;
    let start = at + colon + 1 + before;
    Some((Field { name, value, value_range: start..start + value.len(), line: at..at + len }, at + len))
}

fn is_http_11(version: &[u8]) -> Option<bool> {
    match version {
        b"HTTP/1.1" => Some(true),
        b"HTTP/1.0" => Some(false),
        _ => None,
    }
}

/// Whether a token may have this byte (RFC 9110, section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn headers_are_read_with_their_places() {
        let head = b"POST /a?b HTTP/1.1\r\nHost: h\r\nX-Empty:\r\nx-Space: \t v w \r\nbytes: \xe9\xff\r\n\r\n";
        let (line, fields) = request(head).unwrap();
        assert_eq!((line.method, line.target, line.is_http_11), (&b"POST"[..], &b"/a?b"[..], true));
        let read: Vec<_> = fields.iter().map(|field| (field.name, field.value)).collect();
        let expected: [(&[u8], &[u8]); 4] =
            [(b"Host", b"h"), (b"X-Empty", b""), (b"x-Space", b"v w"), (b"bytes", b"\xe9\xff")];
        assert_eq!(read, expected);
        for field in fields.iter() {
            assert_eq!(&head[field.value_range.clone()], field.value);
            assert!(head[field.line.clone()].ends_with(b"\r\n") && head[field.line.clone()].starts_with(field.name));
        }
        assert_eq!(&head[fields.end()..], b"\r\n");
    }

    #[test]
    fn what_readers_could_take_in_two_ways_is_not_read() {
        for head in [
            &b"GET / HTTP/1.1\nHost: h\r\n\r\n"[..],
            b"GET / HTTP/1.1\r\nHost: h\n\r\n",
            b"GET / HTTP/1.1\r\nHost: h\r\n\n",
            b"GET / HTTP/1.1\r\nHost : h\r\n\r\n",
            b"GET / HTTP/1.1\r\n Host: h\r\n\r\n",
            b"GET / HTTP/1.1\r\na: b\r\n folded\r\n\r\n",
            b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
            b"GET / HTTP/1.1\r\n: v\r\n\r\n",
            b"GET / HTTP/1.1\r\na: b\0\r\n\r\n",
            b"GET / HTTP/1.1\r\na: b\rc\r\n\r\n",
            b"GET  / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1 \r\n\r\n",
            b"GET / HTTP/2.0\r\n\r\n",
            b"GET / HTTP/1.2\r\n\r\n",
            b"GET /\r\n\r\n",
            b"G(T / HTTP/1.1\r\n\r\n",
            b"GET /\t HTTP/1.1\r\n\r\n",
            b"\r\n",
        ] {
            assert!(request(head).is_none(), "{}", head.escape_ascii());
        }
    }

    #[test]
    fn a_response_may_lack_its_reason() {
        for (head, status) in [
            (&b"HTTP/1.1 200 OK\r\n\r\n"[..], Some((200, true))),
            (b"HTTP/1.0 404 Not Found\r\na: b\r\n\r\n", Some((404, false))),
            (b"HTTP/1.1 204 \r\n\r\n", Some((204, true))),
            (b"HTTP/1.1 999\r\n\r\n", Some((999, true))),
            (b"HTTP/1.1 20 OK\r\n\r\n", None),
            (b"HTTP/1.1 2000 OK\r\n\r\n", None),
            (b"HTTP/1.1 2x0 OK\r\n\r\n", None),
            (b"HTTP/1.1 099 OK\r\n\r\n", None),
            (b"ICY 200 OK\r\n\r\n", None),
        ] {
            let read = response(head).map(|(line, _)| (line.status, line.is_http_11));
            assert_eq!(read, status, "{}", head.escape_ascii());
        }
    }
}
