//! Messages that are complete in the input, as nearly all of them are.

use super::pubsub_frame::{MAX_PATTERN_LEN, Shape};
use crate::policy::MAX_CHANNEL_LEN;
use crate::resp::complete;
use crate::rewrite::Message;

/// A `message`, `smessage` or `pmessage` that is complete in the input.
pub(super) struct CompleteMessage<'a> {
    pub(super) message: Message<'a>,
    /// Length of the payload, in bytes.
    pub(super) len: usize,
    /// Position of the payload's header.
    pub(super) header: usize,
    /// Position after the message.
    pub(super) end: usize,
}

impl<'a> CompleteMessage<'a> {
    /// Reads the message at `pos`.
    pub(super) fn read(bytes: &'a [u8], pos: usize) -> Option<Self> {
        let after_kind = pos + 1;
        let (shape, head_len) = complete_head(bytes.get(after_kind..)?)?;
        let mut pos = after_kind + head_len;
        let mut pattern = None;
        if shape == Shape::PatternMessage {
            let (bytes, after) = complete::bulk(bytes, pos)?;
            (pattern, pos) = (Some(bytes), after);
        }
        let (channel, header) = complete::bulk(bytes, pos)?;
        let (payload, end) = complete::bulk(bytes, header)?;
        let message = Message {
            channel: Some(channel).filter(|channel| channel.len() <= MAX_CHANNEL_LEN),
            pattern: pattern.filter(|pattern| pattern.len() <= MAX_PATTERN_LEN),
            sharded: shape == Shape::Message { sharded: true },
        };
        Some(Self { message, len: payload.len(), header, end })
    }
}

/// Reads what follows the type byte of a message: its shape, and the length of its count and its first element. All servers
/// write these in the same bytes.
#[inline]
fn complete_head(bytes: &[u8]) -> Option<(Shape, usize)> {
    const MESSAGE: &[u8] = b"3\r\n$7\r\nmessage\r\n";
    const SHARDED: &[u8] = b"3\r\n$8\r\nsmessage\r\n";
    const PATTERN: &[u8] = b"4\r\n$8\r\npmessage\r\n";
    if bytes.starts_with(MESSAGE) {
        Some((Shape::Message { sharded: false }, MESSAGE.len()))
    } else if bytes.starts_with(PATTERN) {
        Some((Shape::PatternMessage, PATTERN.len()))
    } else if bytes.starts_with(SHARDED) {
        Some((Shape::Message { sharded: true }, SHARDED.len()))
    } else {
        None
    }
}
