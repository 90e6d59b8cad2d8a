//! The input of one call of the session.

use super::Edits;
use crate::commands::{self, Answer, Request};
use crate::output::Output;
use crate::resp::complete;

/// The bytes of one call, how far they have been read, and how far they have been passed on or kept.
#[derive(Debug)]
pub(crate) struct Input<'a> {
    pub(crate) bytes: &'a [u8],
    /// Position of the next byte to read.
    pub(crate) pos: usize,
    /// Position after the last byte that was passed on or kept. It is at most `pos`.
    pub(crate) sent: usize,
    /// Up to where the requests have been looked at ahead, and whether an `EXEC` is there.
    ahead: Option<(usize, bool)>,
}

impl<'a> Input<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, pos: 0, sent: 0, ahead: None }
    }

    /// The next byte to read, without reading it.
    pub(crate) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.pos).copied()
    }

    /// The bytes that have not been read.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.pos..).unwrap_or_default()
    }

    /// The bytes that have been read since `start`.
    pub(crate) fn since(&self, start: usize) -> &'a [u8] {
        self.bytes.get(start..self.pos).unwrap_or_default()
    }

    /// The bytes that have been read and neither passed on nor kept.
    pub(crate) fn unsent(&self) -> &'a [u8] {
        self.since(self.sent)
    }

    /// Sends the bytes up to the end of the last edit. Positions in `edits` count from `start`. The bytes after the last
    /// edit are sent with those that follow them.
    pub(crate) fn edit(&mut self, start: usize, edits: &Edits, out: &mut Output) {
        for (range, replacement) in edits.iter() {
            out.forward_and_insert(self.bytes, self.sent..start + range.start, replacement);
            self.sent = start + range.end;
        }
    }

    /// Whether the requests from `pos` on are complete up to an `EXEC`, and none among them changes more than data. Each
    /// byte is looked at once, however often this is asked.
    pub(crate) fn has_exec_ahead(&mut self, pos: usize) -> bool {
        if let Some((end, is_exec)) = self.ahead
            && pos <= end
        {
            return is_exec;
        }
        let mut end = pos;
        let is_exec = loop {
            let Some(head) = complete::Head::read(self.bytes, end) else { break false };
            if let Some(command) = commands::find(head.name) {
                // What such a command does depends on more than its name.
                let is_plain = command.words == 1;
                match command.answer(&Request { count: head.count, second: &[], third: &[] }) {
                    Answer::Exec { .. } => break true,
                    Answer::Multi | Answer::Discard | Answer::Reset => break false,
                    _ if !is_plain => break false,
                    _ => {}
                }
            }
            let Some(next) = head.end_of_request(self.bytes) else { break false };
            end = next;
        };
        self.ahead = Some((end, is_exec));
        is_exec
    }

    /// Reads up to `left` bytes, and subtracts them from `left`.
    pub(crate) fn take(&mut self, left: &mut u64) -> &'a [u8] {
        let rest = self.rest();
        let here = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
        self.pos += here;
        *left = left.saturating_sub(u64::try_from(here).unwrap_or(u64::MAX));
        rest.get(..here).unwrap_or_default()
    }
}
