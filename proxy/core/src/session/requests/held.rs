//! Requests that are held back from their first byte on, because they may be an `XADD` that gets a context (`--stream-carrier`), or
//! an `LPUSH` or a script whose job gets one (`--envelope`).
//!
//! The number of words at the beginning of a request or the length of one changes with the context, so that it has to wait. Any
//! other request goes on as soon as the length of its name, or the name, says that it is another one.

use core::mem;

use super::{RequestReader, requested};
use crate::commands::{self, Request};
use crate::output::Output;
use crate::policy::MAX_CHANNEL_LEN;
use crate::rewrite::{Bulk, Input, entries, exceeds};
use crate::session::envelopes::{self, Adds};
use crate::session::{Parts, streams};

/// What may get a context in a request that is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    /// The entry of a stream.
    Entry,
    /// The job in an envelope.
    Job(Adds),
}

impl RequestReader {
    /// Sends the held bytes of a request as they came.
    pub(super) fn let_go(&mut self, input: &mut Input<'_>, out: &mut Output) {
        if mem::take(&mut self.request.is_held) {
            self.hold.release(input, out);
        }
    }

    /// What may get a context in the request, whose name has been read.
    fn target(&self, parts: &Parts<'_>) -> Option<Target> {
        let [name, ..] = &self.request.words;
        let (name, count) = (name.as_bytes(), self.request.count);
        if parts.adds_fields && name.eq_ignore_ascii_case(streams::NAME) && count >= entries::MIN_WORDS {
            Some(Target::Entry)
        } else if parts.adds_to_envelopes {
            envelopes::adds(name, count, parts.call.env.policy).map(Target::Job)
        } else {
            None
        }
    }

    /// The number of words of the request has been read. One with more words than bytes may be held back gets no context. Redis
    /// refuses the greatest numbers without reading on, so that the client may send nothing more.
    pub(super) fn held_count_ends(&mut self, input: &mut Input<'_>, count: u64, parts: &mut Parts<'_>) {
        if exceeds(count, parts.call.env.policy.inject_limit) {
            self.let_go(input, parts.call.out);
        }
    }

    /// An argument of `len` bytes begins.
    pub(super) fn held_argument_begins(&mut self, input: &mut Input<'_>, len: u64, parts: &mut Parts<'_>) {
        let may_be_added_to = match self.request.index {
            0 => {
                parts.adds_fields && len == streams::NAME_LEN
                    || parts.adds_to_envelopes
                        && envelopes::may_be_named(len, self.request.count, parts.call.env.policy)
            }
            1 if self.target(parts) != Some(Target::Job(Adds::ByScript)) => {
                usize::try_from(len).is_ok_and(|len| len <= MAX_CHANNEL_LEN)
            }
            _ => {
                let held = u64::try_from(self.hold.len(input)).unwrap_or(u64::MAX);
                let skipped = entries::too_long(held.saturating_add(len), &parts.call);
                let counted = skipped.filter(|_| self.target(parts) == Some(Target::Entry));
                counted.into_iter().for_each(|skipped| parts.call.out.counts.count(skipped));
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
            0 => self.target(parts).is_some(),
            1 => {
                let target = self.target(parts);
                let key = Bulk::new(self.hold.held(input), usize::try_from(len).unwrap_or_default());
                match target {
                    Some(Target::Entry) => parts.call.env.policy.has_fields(key.body()),
                    Some(Target::Job(Adds::Element)) => envelopes::has_jobs(key.body(), parts),
                    Some(Target::Job(Adds::ByScript)) => true,
                    None => false,
                }
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
        let start = self.request.start;
        let [name, ..] = &self.request.words;
        let (name, request) = (name.as_bytes(), self.hold.held(input));
        let edits = if name.eq_ignore_ascii_case(streams::NAME) {
            streams::add(request, start, parts)
        } else {
            // None of these commands is told from others by further words.
            let answer = commands::answer(name, &Request { count: self.request.count, second: &[], third: &[] });
            match envelopes::job(request, parts) {
                Some(job) => envelopes::add(&job, answer, name, request, start, parts),
                None => {
                    requested(answer, name, start, || request, parts);
                    None
                }
            }
        };
        match edits {
            Some(edits) => self.hold.apply(&edits, input, parts.call.out),
            None => self.hold.release(input, parts.call.out),
        }
    }
}
