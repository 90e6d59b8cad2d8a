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
    #[inline]
    pub(crate) fn read(input: &'a [u8], pos: usize) -> Option<Self> {
        let (count @ 1.., pos) = header(input, b'*', pos)? else { return None };
        let (name, end) = bulk(input, pos)?;
        Some(Self { name, count: u64::try_from(count).ok()?, end })
    }

    /// Position after the whole request.
    #[inline]
    pub(crate) fn end_of_request(&self, input: &[u8]) -> Option<usize> {
        let mut pos = self.end;
        for _ in 1..self.count {
            pos = bulk(input, pos)?.1;
        }
        Some(pos)
    }
}

/// Reads a bulk string at `pos`: its body, and the position after the two bytes that follow the body. These should be
/// CRLF and are not looked at.
pub(crate) fn bulk(input: &[u8], pos: usize) -> Option<(&[u8], usize)> {
    let (len, start) = header(input, b'$', pos)?;
    let end = start + len;
    let after = end + 2;
    if after > input.len() {
        return None;
    }
    Some((input.get(start..end)?, after))
}

/// Reads a line at `pos` of at most `max_len` bytes, with its type byte and CRLF: the bytes between these, and the position
/// after the line.
pub(crate) fn line(input: &[u8], pos: usize, max_len: usize) -> Option<(&[u8], usize)> {
    let rest = input.get(pos + 1..)?;
    let near = rest.get(..max_len - 1).unwrap_or(rest);
    let len = near.iter().position(|&byte| byte == b'\r')?;
    (near.get(len + 1) == Some(&b'\n')).then_some((near.get(..len)?, pos + len + 3))
}

/// Reads a line at `pos` that is the type byte `kind` and a number: the number, and the position after the line. The number
/// has at most 8 digits, no sign and no leading zero.
#[inline]
pub(crate) fn header(input: &[u8], kind: u8, pos: usize) -> Option<(usize, usize)> {
    match input.get(pos..)? {
        // Nearly all counts and lengths are this short.
        [first, digit @ b'0'..=b'9', b'\r', b'\n', ..] if *first == kind => Some((value(*digit), pos + 4)),
        [first, tens @ b'1'..=b'9', ones @ b'0'..=b'9', b'\r', b'\n', ..] if *first == kind => {
            Some((10 * value(*tens) + value(*ones), pos + 5))
        }
        [first, rest @ ..] if *first == kind => longer_header(rest).map(|(number, len)| (number, pos + 1 + len)),
        _ => None,
    }
}

/// Reads a number of three digits or more: the number, and the length of the line with its CRLF.
fn longer_header(line: &[u8]) -> Option<(usize, usize)> {
    let mut number = 0;
    for (len, byte) in line.iter().enumerate().take(MAX_HEADER_DIGITS + 1) {
        if !byte.is_ascii_digit() {
            let well_formed =
                len > 2 && line.first() != Some(&b'0') && *byte == b'\r' && line.get(len + 1) == Some(&b'\n');
            return well_formed.then_some((number, len + 2));
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
        assert_eq!(header(b"$123456789\r\n", b'$', 0), None);
        assert_eq!(header(b"$12345678\r\n", b'$', 0), Some((12_345_678, 11)));
        assert_eq!(header(b"$0\r\n", b'$', 0), Some((0, 4)));
        assert_eq!(header(b"$1\rx", b'$', 0), None);
    }
}
