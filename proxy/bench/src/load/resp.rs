//! The few forms of RESP that the generators send and expect.

/// A command, as clients send it.
pub(crate) fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    words.iter().for_each(|word| bulk(word, &mut out));
    out
}

/// A bulk string, added to `out`.
pub(crate) fn bulk(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("${}\r\n", bytes.len()).as_bytes());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// What a subscriber gets for each message, in RESP2.
pub(crate) fn message(channel: &[u8], payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"*3\r\n$7\r\nmessage\r\n");
    bulk(channel, out);
    bulk(payload, out);
}

/// What a connection gets for its `count`th subscription.
pub(crate) fn subscribed(channel: &[u8], count: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(b"*3\r\n$9\r\nsubscribe\r\n");
    bulk(channel, out);
    out.extend_from_slice(format!(":{count}\r\n").as_bytes());
}

/// The bulk strings of the first value; `None` if it is not complete. Other values that it holds are passed over.
pub(crate) fn strings(bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let (mut rest, mut owed, mut found) = (bytes, 1, Vec::new());
    while owed > 0 {
        let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
        let (kind, number) = (rest[0], std::str::from_utf8(&rest[1..end]).ok().and_then(|text| text.parse().ok()));
        rest = &rest[end + 2..];
        owed -= 1;
        match (kind, number) {
            (b'*', Some(count)) => owed += count,
            (b'$', Some(len)) => {
                found.push(rest.get(..len)?);
                rest = rest.get(len + 2..)?;
            }
            _ => {}
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strings_of_a_value_are_found_when_it_is_complete() {
        let nested = b"*2\r\n:7\r\n*3\r\n$1\r\na\r\n$-1\r\n$2\r\n\r\n\r\n";
        assert_eq!(strings(nested), Some(vec![&b"a"[..], b"\r\n"]));
        for cut in 0..nested.len() {
            assert_eq!(strings(&nested[..cut]), None, "{cut}");
        }
        assert_eq!(strings(b"-ERR no\r\n"), Some(vec![]));
    }
}
