//! Writing the fields of protobuf messages that OTLP needs.
//!
//! `prost` reads what collectors answer. Spans are written by hand, because a span cost 2980 ns of processor time with
//! `opentelemetry-otlp` in place of this encoder, and costs 160 with it (`proxy/benches/export.rs`). A field is a tag, which is
//! its number and its wire type, and a value: a varint, eight or four bytes, or bytes with their length in front, which is how
//! texts and messages are written.

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
    fn numbers_are_written_as_prost_writes_them() {
        for number in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX >> 1, u64::MAX] {
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            put_varint(&mut ours, number);
            prost::encoding::encode_varint(number, &mut theirs);
            assert_eq!((&ours, varint_len(number)), (&theirs, theirs.len()));
        }
    }
}
