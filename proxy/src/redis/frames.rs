//! Where a reply ends, and whether it may be decoded.
//!
//! A reply is decoded by `redis-protocol` when the scanner has found its end and its nesting is within the limit.

use redis_protocol::resp2::decode::decode;
use redistributed_core::resp::{Progress, Scan};

use super::Reply;

/// The longest reply that is read, in bytes. A list of some 40,000 clients fits.
pub const MAX_REPLY_LEN: usize = 16 << 20;

/// The deepest nesting of arrays that is decoded. The replies to the proxy's commands have three levels.
pub const MAX_DEPTH: usize = 16;

/// The capacity, in bytes, above which an empty buffer is given back.
const KEPT_CAPACITY: usize = 64 << 10;

/// A violation of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// The bytes are not RESP2.
    #[error("what came is not RESP2")]
    Malformed,
    /// A reply is longer than [`MAX_REPLY_LEN`].
    #[error("a reply is longer than {MAX_REPLY_LEN} bytes")]
    TooLong,
    /// A reply is nested deeper than [`MAX_DEPTH`].
    #[error("a reply is nested deeper than {MAX_DEPTH} arrays")]
    TooDeep,
    /// A reply does not have the form that its command's replies have.
    #[error("a reply is not of its command's form")]
    Unexpected,
}

/// Splits the bytes that arrive into replies.
#[derive(Debug)]
pub(super) struct Frames {
    buffer: Vec<u8>,
    /// The length of the replies at the buffer's beginning that have been returned.
    taken: usize,
    scan: Scan,
    /// The position in the buffer that `scan` has reached.
    scanned: usize,
}

impl Frames {
    pub(super) fn new() -> Self {
        Self { buffer: Vec::new(), taken: 0, scan: Scan::values(1), scanned: 0 }
    }

    /// The buffer to which bytes that arrive are appended.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        if self.taken > 0 {
            self.buffer.drain(..self.taken);
            self.scanned -= self.taken;
            self.taken = 0;
        }
        if self.buffer.is_empty() && self.buffer.capacity() > KEPT_CAPACITY {
            self.buffer = Vec::new();
        }
        &mut self.buffer
    }

    /// Returns the next complete reply; `None` if more bytes are needed.
    ///
    /// # Errors
    /// The stream cannot be read any further.
    pub(super) fn next(&mut self) -> Result<Option<Reply>, ProtocolError> {
        match self.scan.advance(&self.buffer, &mut self.scanned) {
            Progress::Invalid => return Err(ProtocolError::Malformed),
            Progress::More if self.buffer.len() - self.taken > MAX_REPLY_LEN => return Err(ProtocolError::TooLong),
            Progress::More => return Ok(None),
            Progress::Done(()) => {}
        }
        let frame = self.buffer.get(self.taken..self.scanned).unwrap_or_default();
        if frame.len() > MAX_REPLY_LEN {
            return Err(ProtocolError::TooLong);
        }
        if depth(frame) > MAX_DEPTH {
            return Err(ProtocolError::TooDeep);
        }
        let decoded = decode(frame).ok().flatten().filter(|(_, len)| *len == frame.len());
        let (reply, _) = decoded.ok_or(ProtocolError::Malformed)?;
        self.taken = self.scanned;
        self.scan = Scan::values(1);
        Ok(Some(reply.into()))
    }
}

/// The depth of the arrays in a complete frame. Counting ends at one above [`MAX_DEPTH`].
fn depth(frame: &[u8]) -> usize {
    // The number of elements still to come, for each open array.
    let mut open: Vec<usize> = Vec::new();
    let (mut pos, mut deepest) = (0, 0);
    while pos < frame.len() && deepest <= MAX_DEPTH {
        let line_len = frame[pos..].iter().position(|&byte| byte == b'\n').unwrap_or(frame.len() - pos - 1) + 1;
        let line = &frame[pos..pos + line_len];
        let number = || std::str::from_utf8(&line[1..]).ok().and_then(|text| text.trim_end().parse::<usize>().ok());
        pos += line_len;
        if let Some(left) = open.last_mut() {
            *left -= 1;
        }
        match line[0] {
            b'*' => open.extend(number().filter(|&count| count > 0)),
            // Without a length it is a null.
            b'$' => pos += number().map_or(0, |len| len + 2),
            _ => {}
        }
        deepest = deepest.max(open.len());
        while open.last() == Some(&0) {
            open.pop();
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::Refusal;

    fn all(frames: &mut Frames, bytes: &[u8]) -> Result<Vec<Reply>, ProtocolError> {
        frames.buffer().extend_from_slice(bytes);
        let mut replies = Vec::new();
        while let Some(reply) = frames.next()? {
            replies.push(reply);
        }
        Ok(replies)
    }

    #[test]
    fn replies_are_the_same_however_they_arrive() {
        let stream =
            b"+OK\r\n-ERR no\r\n:-7\r\n$5\r\na\r\nbc\r\n$0\r\n\r\n$-1\r\n*-1\r\n*0\r\n*2\r\n*1\r\n:1\r\n$1\r\nx\r\n";
        let expected = [
            Reply::Status(b"OK".to_vec()),
            Reply::Error(Refusal::new("ERR no")),
            Reply::Integer(-7),
            Reply::Bulk(b"a\r\nbc".to_vec()),
            Reply::Bulk(Vec::new()),
            Reply::Null,
            Reply::Null,
            Reply::Array(Vec::new()),
            Reply::Array(vec![Reply::Array(vec![Reply::Integer(1)]), Reply::Bulk(b"x".to_vec())]),
        ];
        assert_eq!(all(&mut Frames::new(), stream).unwrap(), expected);
        let mut frames = Frames::new();
        let by_byte: Vec<Reply> = stream.iter().flat_map(|byte| all(&mut frames, &[*byte]).unwrap()).collect();
        assert_eq!(by_byte, expected);
    }

    #[test]
    fn what_is_not_resp2_is_refused() {
        for bytes in [&b"HTTP/1.1 400 Bad Request\r\n"[..], b"%1\r\n+a\r\n+b\r\n", b"$-2\r\n", b":x\r\n", b"_\r\n"] {
            let refused = all(&mut Frames::new(), bytes);
            assert_eq!(refused, Err(ProtocolError::Malformed), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn nesting_is_counted_before_anything_recurses() {
        let nested = |depth: usize| [b"*1\r\n".repeat(depth), b":1\r\n".to_vec()].concat();
        assert!(all(&mut Frames::new(), &nested(MAX_DEPTH)).is_ok());
        for depth in [MAX_DEPTH + 1, 1_000_000] {
            assert_eq!(all(&mut Frames::new(), &nested(depth)), Err(ProtocolError::TooDeep));
        }
        // Many arrays beside each other are not deep.
        let flat = [b"*1000\r\n".to_vec(), b"*1\r\n$4\r\n*1\r\n\r\n".repeat(1000)].concat();
        assert_eq!(depth(&flat), 2);
        assert!(all(&mut Frames::new(), &flat).is_ok());
    }

    #[test]
    fn an_endless_reply_ends_at_the_limit() {
        let mut frames = Frames::new();
        assert_eq!(all(&mut frames, b"*2000000000\r\n"), Ok(Vec::new()));
        let piece = b":1\r\n".repeat(1 << 20);
        let refused = (0..).find_map(|_| all(&mut frames, &piece).err());
        assert_eq!(refused, Some(ProtocolError::TooLong));
    }

    #[test]
    fn a_long_reply_leaves_no_memory_behind() {
        let mut frames = Frames::new();
        let long = [b"$1000000\r\n".to_vec(), vec![b'x'; 1_000_000], b"\r\n".to_vec()].concat();
        assert_eq!(all(&mut frames, &long).unwrap().len(), 1);
        assert!(frames.buffer().capacity() <= KEPT_CAPACITY);
    }
}
