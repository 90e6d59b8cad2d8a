//! Frames that are completely in the input, read without any state.
//!
//! Most frames of a busy connection arrive whole, and reading one is then a few comparisons. Whatever is unusual,
//! incomplete or invalid gives `None` and is left to the resumable readers, which decide alone what bytes mean; that the
//! two agree is tested by cutting the same stream in different ways.

/// A multibulk request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request<'a> {
    /// Position behind the request.
    pub(crate) end: usize,
    /// The first argument: the command's name.
    pub(crate) name: &'a [u8],
    /// Arguments, the name included.
    pub(crate) count: u64,
    /// Position behind the name and its terminator.
    pub(crate) after_name: usize,
}

impl<'a> Request<'a> {
    /// Reads the request at `pos`.
    pub(crate) fn read(input: &'a [u8], pos: usize) -> Option<Self> {
        let (count @ 1.., mut pos) = header(input, b'*', pos)? else { return None };
        let name;
        (name, pos) = bulk(input, pos)?;
        let after_name = pos;
        for _ in 1..count {
            pos = bulk(input, pos)?.1;
        }
        Some(Self { end: pos, name, count: count as u64, after_name })
    }
}

/// A bulk string at `pos`: its body, and the position behind its terminator, which is not looked at.
pub(crate) fn bulk(input: &[u8], pos: usize) -> Option<(&[u8], usize)> {
    let (len, start) = header(input, b'$', pos)?;
    let end = start + len;
    let after = end + 2;
    (after <= input.len()).then(|| (&input[start..end], after))
}

/// The number behind the type byte `kind` at `pos`, and the position behind its CRLF. Only numbers of up to 8 digits,
/// without sign or leading zero.
pub(crate) fn header(input: &[u8], kind: u8, pos: usize) -> Option<(usize, usize)> {
    let rest = input.get(pos..)?;
    let (&[first, digit], rest) = rest.split_first_chunk::<2>()?;
    if first != kind || !digit.is_ascii_digit() {
        return None;
    }
    let mut number = usize::from(digit - b'0');
    for (taken, &byte) in rest.iter().take(8).enumerate() {
        if byte == b'\r' {
            return (rest.get(taken + 1) == Some(&b'\n')).then_some((number, pos + taken + 4));
        }
        if !byte.is_ascii_digit() || number == 0 {
            return None;
        }
        number = number * 10 + usize::from(byte - b'0');
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_requests_are_read() {
        let input = b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n*1\r\n";
        let request = Request::read(input, 0).unwrap();
        assert_eq!((request.end, request.name, request.count, request.after_name), (22, &b"GET"[..], 2, 13));
    }

    #[test]
    fn all_else_is_left_to_the_resumable_reader() {
        let whole = b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n";
        for cut in 0..whole.len() {
            assert_eq!(Request::read(&whole[..cut], 0), None);
        }
        for bytes in
            [&b"*0\r\n"[..], b"*-1\r\n", b"*01\r\n$4\r\nPING\r\n", b"*1\n$4\r\nPING\r\n", b"PING\r\n", b"*1\r\n:1\r\n"]
        {
            assert_eq!(Request::read(bytes, 0), None);
        }
        assert_eq!(header(b"$123456789\r\n", b'$', 0), None);
        assert_eq!(header(b"$12345678\r\n", b'$', 0), Some((12_345_678, 11)));
        assert_eq!(header(b"$0\r\n", b'$', 0), Some((0, 4)));
        assert_eq!(header(b"$1\rx", b'$', 0), None);
    }
}
