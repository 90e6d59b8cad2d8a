//! The values within a frame.

use super::complete::decimal;

/// The strings, numbers and lines of a frame in RESP2 or RESP3, in order, whatever aggregates they are in. Nulls are left out. A
/// frame that is cut off has the values that are complete. What is not RESP ends the values.
#[derive(Clone, Debug)]
pub struct Values<'a> {
    rest: &'a [u8],
}

impl<'a> Values<'a> {
    /// Reads the values of `frame`, from its first byte on.
    pub fn new(frame: &'a [u8]) -> Self {
        Self { rest: frame }
    }

    fn bulk(&mut self, len: &[u8]) -> Option<&'a [u8]> {
        let len = usize::try_from(decimal(len)?).ok()?;
        let body = self.rest.get(..len)?;
        self.rest = self.rest.get(len.checked_add(2)?..).unwrap_or_default();
        Some(body)
    }
}

/// Takes a line from the beginning of `rest`, as its type byte and what follows on it.
pub(crate) fn take_line<'a>(rest: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (kind, behind) = rest.split_first()?;
    let end = memchr::memchr(b'\r', behind)?;
    let line = behind.get(..end)?;
    *rest = behind.get(end + 2..)?;
    Some((*kind, line))
}

impl<'a> Iterator for Values<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let (kind, line) = take_line(&mut self.rest)?;
            match kind {
                b'$' | b'=' | b'!' if line == b"-1" => {}
                b'$' | b'=' | b'!' => return self.bulk(line),
                b'*' | b'~' | b'>' | b'%' | b'|' | b'_' => {}
                b'+' | b'-' | b':' | b',' | b'#' | b'(' => return Some(line),
                _ => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn values(frame: &[u8]) -> Vec<&[u8]> {
        Values::new(frame).collect()
    }

    #[test]
    fn values_come_in_order_out_of_whatever_they_are_in() {
        assert_eq!(values(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n"), [&b"SET"[..], b"k", b""]);
        assert_eq!(
            values(b"%1\r\n+k\r\n*2\r\n:7\r\n*1\r\n$-1\r\n,1.5\r\n_\r\n#t\r\n"),
            [&b"k"[..], b"7", b"1.5", b"t"]
        );
        assert_eq!(values(b"-ERR no\r\n"), [b"ERR no"]);
    }

    #[test]
    fn a_cut_frame_has_the_values_before_the_cut() {
        let frame = b"*2\r\n$3\r\nabc\r\n$4\r\ndefg\r\n";
        for cut in 0..frame.len() {
            let complete = usize::from(cut >= 11) + usize::from(cut >= 21);
            assert_eq!(values(&frame[..cut]).len(), complete, "{cut}");
        }
    }

    #[test]
    fn what_is_no_resp_has_no_values() {
        for frame in [&b""[..], b"x", b"GET / HTTP/1.1\r\n\r\n", b"$99999999999999999999\r\nx\r\n", b"$-2\r\n", b"\r\n"]
        {
            assert!(values(frame).is_empty(), "{}", frame.escape_ascii());
        }
    }
}
