//! Readers of frames that are complete in the input. They have no state.
//!
//! Most frames of a busy connection arrive in one read, and a few comparisons then find their end. The functions here
//! return `None` for whatever is unusual, incomplete or invalid, and the resumable readers take over. Tests cut the same
//! stream in different ways to show that the two agree.

/// Most digits of a number that is read here. Longer ones are left to the resumable reader.
const MAX_HEADER_DIGITS: usize = 8;

/// The head of a multibulk request: the number of its arguments and the first of them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head<'a> {
    /// The first argument, which is the command's name.
    pub(crate) name: &'a [u8],
    /// The number of arguments, the name included.
    pub(crate) count: u64,
    /// Position after the name and its CRLF.
    pub(crate) end: usize,
}

impl<'a> Head<'a> {
    /// Reads the head of the request at `pos`.
    #[inline(always)]
    pub(crate) fn read(input: &'a [u8], pos: usize) -> Option<Self> {
        let (count @ 1.., rest) = header(input.get(pos..)?, b'*')? else { return None };
        let (name, rest) = split_bulk(rest)?;
        Some(Self { name, count: u64::try_from(count).ok()?, end: input.len() - rest.len() })
    }

    /// Position after the whole request.
    #[inline(always)]
    pub(crate) fn end_of_request(&self, input: &[u8]) -> Option<usize> {
        let mut rest = input.get(self.end..)?;
        for _ in 1..self.count {
            (_, rest) = split_bulk(rest)?;
        }
        Some(input.len() - rest.len())
    }
}

/// Reads a bulk string at `pos`: its body, and the position after the two bytes that follow the body. These should be
/// CRLF and are not looked at.
#[inline(always)]
pub(crate) fn bulk(input: &[u8], pos: usize) -> Option<(&[u8], usize)> {
    let (body, rest) = split_bulk(input.get(pos..)?)?;
    Some((body, input.len() - rest.len()))
}

/// Reads the bulk string that `input` begins with: its body, and what follows the two bytes after the body.
#[inline(always)]
fn split_bulk(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = header(input, b'$')?;
    let (body, rest) = rest.split_at_checked(len)?;
    Some((body, rest.get(2..)?))
}

/// The bulk strings in a row that are written exactly as Redis writes them, with CRLF behind each. What is written in another way
/// ends them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BulkStrings<'a> {
    input: &'a [u8],
    /// Position after the last one that was read.
    pub(crate) pos: usize,
}

impl<'a> BulkStrings<'a> {
    /// Reads `input` from `pos` on.
    pub(crate) fn new(input: &'a [u8], pos: usize) -> Self {
        Self { input, pos }
    }
}

impl<'a> Iterator for BulkStrings<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (body, end) = bulk(self.input, self.pos)?;
        let is_ended = self.input.get(..end)?.ends_with(b"\r\n");
        is_ended.then(|| {
            self.pos = end;
            body
        })
    }
}

/// Reads the line that `input` begins with, which is `*` and a count: the count, and the length of the line with its CRLF.
pub(crate) fn count(input: &[u8]) -> Option<(usize, usize)> {
    let (count, rest) = header(input, b'*')?;
    Some((count, input.len() - rest.len()))
}

/// Reads a line at `pos` of at most `max_len` bytes, with its type byte and CRLF: the bytes between these, and the position
/// after the line.
pub(crate) fn line(input: &[u8], pos: usize, max_len: usize) -> Option<(&[u8], usize)> {
    let rest = input.get(pos + 1..)?;
    let near = rest.get(..max_len - 1).unwrap_or(rest);
    let len = near.iter().position(|&byte| byte == b'\r')?;
    (near.get(len + 1) == Some(&b'\n')).then_some((near.get(..len)?, pos + len + 3))
}

/// Reads the line that `input` begins with, which is the type byte `kind` and a number: the number, and what follows the line.
/// The number has at most 8 digits, no sign and no leading zero.
#[inline(always)]
fn header(input: &[u8], kind: u8) -> Option<(usize, &[u8])> {
    // Nearly all counts and lengths are this short. With what they announce they are never shorter than six bytes.
    let (number, len) = match input.first_chunk::<6>() {
        Some([first, ones @ b'0'..=b'9', b'\r', b'\n', ..]) if *first == kind => (value(*ones), 4),
        Some([first, tens @ b'1'..=b'9', ones @ b'0'..=b'9', b'\r', b'\n', _]) if *first == kind => {
            (10 * value(*tens) + value(*ones), 5)
        }
        Some([first, hundreds @ b'1'..=b'9', tens @ b'0'..=b'9', ones @ b'0'..=b'9', b'\r', b'\n'])
            if *first == kind =>
        {
            (100 * value(*hundreds) + 10 * value(*tens) + value(*ones), 6)
        }
        _ => any_header(input, kind)?,
    };
    Some((number, input.get(len..)?))
}

/// Reads a line that is the type byte `kind` and a number: the number, and the length of the line with its CRLF.
#[inline(never)]
fn any_header(input: &[u8], kind: u8) -> Option<(usize, usize)> {
    let (_, line) = input.split_first().filter(|(first, _)| **first == kind)?;
    let mut number = 0;
    for (len, byte) in line.iter().enumerate().take(MAX_HEADER_DIGITS + 1) {
        if !byte.is_ascii_digit() {
            let is_number = len == 1 || len > 1 && line.first() != Some(&b'0');
            let is_line = is_number && *byte == b'\r' && line.get(len + 1) == Some(&b'\n');
            return is_line.then_some((number, len + 3));
        }
        number = 10 * number + value(*byte);
    }
    None
}

/// Reads a number of 1 to 19 digits, without sign or leading zero.
pub(crate) fn decimal(digits: &[u8]) -> Option<u64> {
    match digits {
        [] | [b'0', _, ..] => None,
        _ if digits.len() > 19 => None,
        _ => digits.iter().try_fold(0u64, |number, digit| {
            digit.is_ascii_digit().then(|| number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))).flatten()
        }),
    }
}

fn value(digit: u8) -> usize {
    usize::from(digit - b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complete_requests_are_read() {
        let input = b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n*1\r\n";
        let head = Head::read(input, 0).unwrap();
        assert_eq!((head.name, head.count, head.end, head.end_of_request(input)), (&b"GET"[..], 2, 13, Some(22)));
    }

    #[test]
    fn bulk_strings_are_read_up_to_what_redis_would_not_write() {
        for (input, expected) in [
            (&b"$1\r\na\r\n$0\r\n\r\n"[..], 13),
            (b"$1\r\na\r\n$1\r\nb\n\n", 7),
            (b"$1\r\na\r\n$01\r\nb\r\n", 7),
            (b"$1\r\na\r\n:1\r\n", 7),
            (b"$1\r\na\r\n$2\r\nb\r\n", 7),
        ] {
            let mut strings = BulkStrings::new(input, 0);
            assert_eq!(strings.next(), Some(&b"a"[..]));
            strings.by_ref().for_each(drop);
            assert_eq!(strings.pos, expected, "{}", input.escape_ascii());
        }
        assert_eq!(count(b"*12\r\n$1\r\n"), Some((12, 5)));
        assert_eq!([count(b"*-1\r\n$1\r\n"), count(b"$1\r\na\r\n")], [None; 2]);
    }

    #[test]
    fn all_else_is_left_to_the_resumable_reader() {
        let end = |bytes: &[u8]| Head::read(bytes, 0)?.end_of_request(bytes);
        let complete = b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n";
        for cut in 0..complete.len() {
            assert_eq!(end(&complete[..cut]), None);
        }
        for bytes in
            [&b"*0\r\n"[..], b"*-1\r\n", b"*01\r\n$4\r\nPING\r\n", b"*1\n$4\r\nPING\r\n", b"PING\r\n", b"*1\r\n:1\r\n"]
        {
            assert_eq!(end(bytes), None);
        }
        assert_eq!(header(b"$123456789\r\n", b'$'), None);
        assert_eq!(header(b"$12345678\r\nrest", b'$'), Some((12_345_678, &b"rest"[..])));
        for (line, number) in [(&b"$0\r\n"[..], 0), (b"$7\r\n", 7), (b"$10\r\n", 10), (b"$123\r\n", 123)] {
            // Where more follows, another reader takes it.
            assert_eq!(header(line, b'$'), Some((number, &b""[..])));
            assert_eq!(header(&[line, b"rest"].concat(), b'$'), Some((number, &b"rest"[..])));
            assert_eq!(header(line, b'*'), None);
        }
        for line in
            [&b"$1\rx"[..], b"$\r\n", b"$00\r\n", b"$01\r\n", b"$-1\r\n", b"$1", b"", b"$1\rx    ", b"$01\r\n    "]
        {
            assert_eq!(header(line, b'$'), None, "{}", line.escape_ascii());
        }
    }
}
