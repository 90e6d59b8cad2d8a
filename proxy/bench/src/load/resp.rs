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
