//! The few pieces of the protobuf encoding that OTLP needs: fields to write, and fields to read.
//!
//! A field is a tag, which is its number and its kind, and a value. Of the kinds, these are used here: a varint, eight
//! or four bytes, and bytes with their length in front, which is what texts and messages are.

/// The tag of a varint field, for field numbers up to 15.
pub(super) const fn varint_tag(field: u8) -> u8 {
    field << 3
}

/// The tag of a field of eight bytes, for field numbers up to 15.
pub(super) const fn fixed64_tag(field: u8) -> u8 {
    field << 3 | 1
}

/// The tag of a text, bytes or message, for field numbers up to 15.
pub(super) const fn bytes_tag(field: u8) -> u8 {
    field << 3 | 2
}

/// The tag of a field of four bytes, for field numbers up to 15.
pub(super) const fn fixed32_tag(field: u8) -> u8 {
    field << 3 | 5
}

/// Bytes that a number takes as a varint.
pub(super) const fn varint_len(number: u64) -> usize {
    let bits = (u64::BITS - number.leading_zeros()) as usize;
    if bits == 0 { 1 } else { bits.div_ceil(7) }
}

/// Writes a number, seven bits a byte, the lowest first.
pub(super) fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Writes a field of bytes.
pub(super) fn put_bytes(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Bytes that [`put_bytes`] writes for a value of this length.
pub(super) const fn bytes_field_len(len: usize) -> usize {
    1 + varint_len(len as u64) + len
}

/// Writes a message of a length that is not known before, by `write`.
pub(super) fn put_message(out: &mut Vec<u8>, tag: u8, write: impl FnOnce(&mut Vec<u8>)) {
    /// Most spans need two bytes for their length.
    const GUESS: usize = 2;
    out.push(tag);
    let at = out.len();
    out.extend_from_slice(&[0; GUESS]);
    let start = out.len();
    write(out);
    let len = out.len() - start;
    let needed = varint_len(len as u64);
    if needed != GUESS {
        let moved = at + needed;
        if needed > GUESS {
            out.resize(moved + len, 0);
        }
        out.copy_within(start..start + len, moved);
        out.truncate(moved + len);
    }
    let mut rest = len;
    for (index, byte) in out[at..at + needed].iter_mut().enumerate() {
        let more = if index + 1 < needed { 0x80 } else { 0 };
        *byte = (rest & 0x7f) as u8 | more;
        rest >>= 7;
    }
}

/// A field that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// Of a kind that no answer of a collector has where it matters.
    Other,
}

/// The fields of a message, up to the first that is not protobuf.
pub(super) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn of(message: &'a [u8]) -> Self {
        Self(message)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn bytes(&mut self, len: u64) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(usize::try_from(len).ok()?)?;
        self.0 = rest;
        Some(bytes)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.bytes(8).map(|_| Value::Other)?,
            2 => {
                let len = self.varint()?;
                Value::Bytes(self.bytes(len)?)
            }
            5 => self.bytes(4).map(|_| Value::Other)?,
            _ => return None,
        };
        Some((tag >> 3, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_any_length_has_the_shortest_length_in_front() {
        for len in [0, 1, 127, 128, 300, 16_383, 16_384, 2_097_151, 2_097_152] {
            let body: Vec<u8> = (0..len).map(|index| index as u8).collect();
            let (mut guessed, mut known) = (vec![7], vec![7]);
            put_message(&mut guessed, 0x12, |out| out.extend_from_slice(&body));
            put_bytes(&mut known, 0x12, &body);
            assert!(guessed == known, "{len} bytes");
            assert_eq!(known.len(), 1 + bytes_field_len(len));
        }
    }

    #[test]
    fn numbers_are_read_as_they_were_written() {
        for number in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX >> 1, u64::MAX] {
            let mut message = vec![varint_tag(3)];
            put_varint(&mut message, number);
            assert_eq!(message.len(), 1 + varint_len(number));
            assert_eq!(Fields::of(&message).collect::<Vec<_>>(), [(3, Value::Varint(number))]);
        }
    }

    #[test]
    fn fields_that_are_not_wanted_are_stepped_over_and_nonsense_ends_the_message() {
        let fixed = [fixed64_tag(1), 1, 2, 3, 4, 5, 6, 7, 8, fixed32_tag(2), 1, 2, 3, 4, bytes_tag(3), 2, b'o', b'k'];
        let expected = [(1, Value::Other), (2, Value::Other), (3, Value::Bytes(b"ok"))];
        assert_eq!(Fields::of(&fixed).collect::<Vec<_>>(), expected);
        for nonsense in [&[0xff; 11][..], &[bytes_tag(1), 9, 1], &[fixed64_tag(1), 1], &[3], &[varint_tag(1)]] {
            assert_eq!(Fields::of(nonsense).next(), None, "{nonsense:?}");
        }
    }
}
