//! Requests that are held back from their first byte on, because they may be an `XADD` that gets a context (`--stream-carrier`).
//!
//! The number of words at the beginning of a request changes with the context, so that it has to wait. Any other request goes on as
//! soon as the length of its name, or the name, says that it is another one.

use core::mem;

use super::RequestReader;
use crate::output::Output;
use crate::policy::MAX_CHANNEL_LEN;
use crate::rewrite::{Bulk, Input, entries};
use crate::session::{Parts, streams};

impl RequestReader {
    /// Sends the held bytes of a request as they came.
    pub(super) fn let_go(&mut self, input: &mut Input<'_>, out: &mut Output) {
        if mem::take(&mut self.request.is_held) {
            self.hold.release(input, out);
        }
    }

    /// An argument of `len` bytes begins.
    pub(super) fn held_argument_begins(&mut self, input: &mut Input<'_>, len: u64, parts: &mut Parts<'_>) {
        let may_be_added_to = match self.request.index {
            0 => len == streams::NAME_LEN,
            1 => usize::try_from(len).is_ok_and(|len| len <= MAX_CHANNEL_LEN),
            _ => {
                let held = u64::try_from(self.hold.len(input)).unwrap_or(u64::MAX);
                let skipped = entries::too_long(held.saturating_add(len), &parts.call);
                skipped.into_iter().for_each(|skipped| parts.call.out.counts.count(skipped));
                skipped.is_none()
            }
        };
        if may_be_added_to {
            self.hold.expect(input, usize::try_from(len).unwrap_or_default()); // it is within the limit
        } else {
            self.let_go(input, parts.call.out);
        }
    }

    /// An argument of `len` bytes has been read.
    pub(super) fn held_argument_ends(&mut self, input: &mut Input<'_>, len: u64, parts: &mut Parts<'_>) {
        let may_be_added_to = match self.request.index {
            0 => {
                let [name, ..] = &self.request.words;
                name.as_bytes().eq_ignore_ascii_case(streams::NAME) && self.request.count >= entries::MIN_WORDS
            }
            1 => {
                let key = Bulk::new(self.hold.held(input), usize::try_from(len).unwrap_or_default());
                parts.call.env.policy.has_fields(key.body())
            }
            _ => true,
        };
        if !may_be_added_to {
            self.let_go(input, parts.call.out);
        }
    }

    /// The last byte of the request has been read.
    pub(super) fn held_request_ends(&mut self, input: &mut Input<'_>, parts: &mut Parts<'_>) {
        self.request.is_held = false;
        let edits = streams::add(self.hold.held(input), self.request.start, parts);
        match edits {
            Some(edits) => self.hold.apply(&edits, input, parts.call.out),
            None => self.hold.release(input, parts.call.out),
        }
    }
}
