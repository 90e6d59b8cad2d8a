//! Decimal numbers that end in CRLF: the lengths and counts of RESP.

use super::Progress;

/// Reads a line that is a number, byte by byte, however the stream is cut.
///
/// The number has an optional `-`, no `+`, no leading zero and no spaces, and fits an `i64`. That is as strict as
/// Redis's `string2ll`. The line ends in `\r\n`. Redis 7.0 and 8.2 do not look at the byte after the `\r`; here any byte
/// but `\n` is invalid.
#[derive(Clone, Copy, Debug, Default)]
pub struct NumberLine {
    value: i64,
    digits: u8,
    negative: bool,
    carriage_return: bool,
}

impl NumberLine {
    /// Takes bytes from `*pos` on. When the line has ended, `*pos` is after its `\n`.
    pub fn read(&mut self, input: &[u8], pos: &mut usize) -> Progress<i64> {
        while let Some(&byte) = input.get(*pos) {
            *pos += 1;
            if self.carriage_return {
                let value = core::mem::take(self).value;
                return if byte == b'\n' { Progress::Done(value) } else { Progress::Invalid };
            }
            if !self.accept(byte) {
                return Progress::Invalid;
            }
        }
        Progress::More
    }

    fn accept(&mut self, byte: u8) -> bool {
        match byte {
            b'0'..=b'9' => {
                let digit = i64::from(byte - b'0');
                if self.value == 0 && (self.digits > 0 || (digit == 0 && self.negative)) {
                    return false; // "01", "00", "-0"
                }
                self.digits += 1;
                // A negative number is made of negative digits, so that i64::MIN needs no case of its own.
                let signed = if self.negative { -digit } else { digit };
                match self.value.checked_mul(10).and_then(|value| value.checked_add(signed)) {
                    Some(value) => self.value = value,
                    None => return false,
                }
                true
            }
            b'-' => !core::mem::replace(&mut self.negative, true) && self.digits == 0,
            b'\r' => {
                self.carriage_return = true;
                self.digits > 0
            }
            _ => false,
        }
    }
}

/// Most digits of a `u64`.
pub const MAX_DECIMAL_LEN: usize = 20;

/// Longest line of a length or a count, in bytes: the type byte, the number and CRLF.
pub(crate) const MAX_HEADER_LEN: usize = 1 + MAX_DECIMAL_LEN + 2;

/// Writes `value` in decimal into `buffer` and returns the digits.
pub fn write_decimal(value: u64, buffer: &mut [u8; MAX_DECIMAL_LEN]) -> &[u8] {
    let start = write_digits(value, buffer);
    buffer.get(start..).unwrap_or_default()
}

/// Writes the line of a length or a count into `buffer` and returns it: `kind`, `value` in decimal and CRLF.
pub(crate) fn write_header(kind: u8, value: u64, buffer: &mut [u8; MAX_HEADER_LEN]) -> &[u8] {
    let [_, digits @ .., carriage_return, line_feed] = buffer;
    (*carriage_return, *line_feed) = (b'\r', b'\n');
    let start = write_digits(value, digits);
    if let Some(first) = buffer.get_mut(start) {
        *first = kind; // the digits begin one byte later in `buffer` than in their own array
    }
    buffer.get(start..).unwrap_or_default()
}

/// Writes the digits of `value` to the end of `buffer` and returns the position of the first.
#[inline]
fn write_digits(mut value: u64, buffer: &mut [u8; MAX_DECIMAL_LEN]) -> usize {
    let mut start = MAX_DECIMAL_LEN;
    for place in buffer.iter_mut().rev() {
        *place = b'0' + u8::try_from(value % 10).unwrap_or_default();
        start -= 1;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn read(text: &[u8]) -> Progress<i64> {
        NumberLine::default().read(text, &mut 0)
    }

    #[test]
    fn reads_what_redis_reads() {
        for (text, value) in [
            ("0", 0),
            ("7", 7),
            ("-1", -1),
            ("2147483647", 2147483647),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(read((text.to_string() + "\r\n").as_bytes()), Progress::Done(value));
        }
    }

    #[test]
    fn refuses_what_redis_refuses() {
        for text in ["", "-", "+1", "01", "00", "-0", "1 ", " 1", "--1", "1-", "abc", "9223372036854775808", "1\r", "?"]
        {
            assert_eq!(read((text.to_string() + "\r\n").as_bytes()), Progress::Invalid, "{text}");
        }
        assert_eq!(read(b"1\n"), Progress::Invalid);
    }

    #[test]
    fn any_cut_gives_the_same_number() {
        let text = b"-1234567\r\n";
        for cut in 0..text.len() {
            let mut line = NumberLine::default();
            assert_eq!(line.read(&text[..cut], &mut 0), Progress::More);
            assert_eq!(line.read(&text[cut..], &mut 0), Progress::Done(-1234567));
        }
    }

    #[test]
    fn decimals_are_written_as_they_are_read() {
        for value in [0, 9, 10, 536_870_912, u64::MAX] {
            assert_eq!(write_decimal(value, &mut [0; MAX_DECIMAL_LEN]), value.to_string().as_bytes());
            let line = alloc::format!("${value}\r\n");
            assert_eq!(write_header(b'$', value, &mut [0; MAX_HEADER_LEN]), line.as_bytes());
        }
    }
}
