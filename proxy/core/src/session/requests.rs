//! The reader of the client's direction: requests.
//!
//! Bytes are held back only from the header of a publish's payload to the last byte of the payload, and only if it may get a
//! context; and those of an `XADD` to a stream whose entries carry contexts, and of an `LPUSH` to a queue whose jobs may. All
//! others go on at once, while they are being read. Most requests are complete in the input and are taken in one step. Whatever
//! is unusual, incomplete or invalid is read byte by byte. Both ways lead to the same decisions.

mod held;
mod partial;

use alloc::vec::Vec;

use self::partial::{Partial, PartialPublish};
use super::Parts;
use super::attribution;
use super::capture::{self, Capture};
use super::described::{described, told_apart};
use super::envelopes;
use super::inline::{self, Line};
use super::publishes;
use super::pushes;
use super::streams;
use crate::commands::{self, Answer, Command, MAX_WORDS, Plan, Request, Word, kept};
use crate::counts::Counter;
use crate::output::Output;
use crate::policy::MAX_CHANNEL_LEN;
use crate::resp::{MAX_BULK_LEN, NumberLine, Progress, Values, complete};
use crate::rewrite::{Admission, Bulk, Hold, Input, Publish};
use crate::trace::UnixNanos;

/// A resumable reader of requests.
#[derive(Debug)]
pub(super) struct RequestReader {
    state: State,
    request: Partial,
    hold: Hold,
    inline: Vec<u8>,
    capture: Capture,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// At the first byte of a request.
    Start,
    /// In the number after `*`.
    Count(NumberLine),
    /// At the `$` of the next argument.
    LengthType,
    /// In the number after `$`.
    Length(NumberLine),
    /// In the body of an argument.
    Argument { left: u64, len: u64 },
    /// In the two bytes after an argument, which should be CRLF.
    Terminator { left: u64 },
    /// In an inline command, before its line feed.
    Inline,
    /// In bytes that are not RESP and go on as they come.
    Opaque,
}

impl RequestReader {
    pub(super) fn new() -> Self {
        Self {
            state: State::Start,
            request: Partial {
                count: 0,
                index: 0,
                words: [Word::default(); MAX_WORDS],
                words_wanted: 1,
                publish: None,
                channel: Vec::new(),
                is_held: false,
                client_name: None,
                start: UnixNanos(0),
            },
            hold: Hold::default(),
            inline: Vec::new(),
            capture: Capture::default(),
        }
    }

    /// Stops reading, because what follows is not RESP.
    pub(super) fn become_opaque(&mut self) {
        self.state = State::Opaque;
    }

    pub(super) fn receive(&mut self, bytes: &[u8], parts: &mut Parts<'_>) {
        let mut input = Input::new(bytes);
        let input = &mut input;
        while let Some(byte) = input.peek() {
            match &mut self.state {
                State::Start => {
                    if complete_request(input, parts) {
                        continue;
                    }
                    self.request.start = parts.call.env.now;
                    self.capture.begin(input.pos, capture::MAX_LEN);
                    if byte == b'*' {
                        if parts.adds_fields || parts.adds_to_envelopes {
                            self.request.is_held = true;
                            self.hold.begin(input, input.pos, parts.call.out);
                        }
                        input.pos += 1;
                        self.state = State::Count(NumberLine::default());
                    } else {
                        self.state = State::Inline;
                    }
                }
                State::Count(line) => match line.read(input.bytes, &mut input.pos) {
                    Progress::More => {}
                    Progress::Invalid => self.give_up(parts),
                    // Redis ignores `*0` and any negative count.
                    Progress::Done(..=0) => {
                        self.let_go(input, parts.call.out);
                        parts.pairing.empty_request(&mut parts.call);
                        self.state = State::Start;
                    }
                    Progress::Done(count) => {
                        self.request.begin(count.unsigned_abs());
                        self.held_count_ends(input, count.unsigned_abs(), parts);
                        self.state = State::LengthType;
                    }
                },
                State::LengthType => {
                    if byte != b'$' {
                        self.give_up(parts);
                        continue;
                    }
                    if self.request.is_at_payload() {
                        self.hold.begin(input, input.pos, parts.call.out);
                    }
                    input.pos += 1;
                    self.state = State::Length(NumberLine::default());
                }
                State::Length(line) => match line.read(input.bytes, &mut input.pos) {
                    Progress::More => {}
                    Progress::Done(len @ 0..) if len.unsigned_abs() <= MAX_BULK_LEN => {
                        let len = len.unsigned_abs();
                        self.argument_begins(input, len, parts);
                        self.state = State::Argument { left: len, len };
                        if len == 0 {
                            self.argument_ends(input, 0, parts);
                        }
                    }
                    _ => self.give_up(parts),
                },
                State::Argument { left, len } => {
                    let piece = input.take(left);
                    let (left, len) = (*left, *len);
                    self.request.copy(piece);
                    if left == 0 {
                        self.argument_ends(input, len, parts);
                    }
                }
                State::Terminator { left } => {
                    // Redis does not look at these two bytes, nor does Valkey before 9, so the proxy does not either.
                    input.take(left);
                    if *left == 0 {
                        self.next_argument(input, parts);
                    }
                }
                State::Inline => self.inline(input, parts),
                State::Opaque => {
                    self.hold.stop(parts.call.out);
                    break;
                }
            }
        }
        self.hold.end_of_input(input, parts.call.out);
        let policy = parts.call.env.policy;
        if parts.call.env.inference.is_some() || !policy.key_templates.is_empty() || !policy.stream_carriers.is_empty()
        {
            let is_within_request = !matches!(self.state, State::Start | State::Inline | State::Opaque);
            self.capture.end_of_input(input.bytes, is_within_request);
        }
    }

    /// The bytes of memory that are taken for what is held back.
    pub(super) fn bytes(&self) -> usize {
        self.hold.bytes() + self.inline.capacity() + self.capture.bytes()
    }

    /// Takes the end of the stream. Held bytes go on as they came.
    pub(super) fn end_of_stream(&mut self, out: &mut Output) {
        self.state = State::Opaque;
        self.hold.stop(out);
    }

    /// Keeps more of a command that adds items, because what names an element may be anywhere in it.
    #[cold]
    #[inline(never)]
    fn keep_items(&mut self, parts: &Parts<'_>) {
        if self.request.adds_items() && !parts.call.env.memory_is_scarce {
            self.capture.keep_most(pushes::MAX_KEPT);
        }
    }

    fn argument_begins(&mut self, input: &mut Input<'_>, len: u64, parts: &mut Parts<'_>) {
        if self.request.is_held {
            self.held_argument_begins(input, len, parts);
        }
        let Partial { index, publish: Some(publish), channel, start, .. } = &mut self.request else { return };
        match index {
            1 => publish.channel_too_long = usize::try_from(len).map_or(true, |len| len > MAX_CHANNEL_LEN),
            2 => match parts.publish.admit(&publish.head(channel, *start), len, &mut parts.call) {
                Admission::Hold => {
                    publish.admitted = true;
                    self.hold.expect(input, usize::try_from(len).unwrap_or_default()); // it is within the limit
                }
                Admission::Pass(span) => {
                    publish.decision.span = span;
                    self.hold.release(input, parts.call.out);
                }
            },
            _ => {}
        }
    }

    fn argument_ends(&mut self, input: &mut Input<'_>, len: u64, parts: &mut Parts<'_>) {
        self.state = State::Terminator { left: 2 };
        if self.request.is_held {
            self.held_argument_ends(input, len, parts);
        }
        match &mut self.request {
            Partial { index: 0, .. } => {
                self.request.name_ends();
                if parts.call.env.inference.is_some() {
                    self.keep_items(parts);
                }
            }
            Partial {
                index: 2,
                publish: Some(publish @ PartialPublish { admitted: true, .. }),
                channel,
                start,
                ..
            } => {
                // After the payload come two more bytes.
                let standing = publishes::standing(input, input.pos + 2, parts);
                let payload = Bulk::new(self.hold.held(input), usize::try_from(len).unwrap_or_default());
                let head = publish.head(channel, *start);
                let attribution = attribution::of_publish(&head, payload.body(), parts);
                let known = attribution.as_deref();
                publish.decision = parts.publish.decide(&head, payload, standing, known, &mut parts.call);
                publish.command = known.and_then(|attribution| attribution.command);
                if publish.decision.edited {
                    self.hold.apply(parts.publish.edits(), input, parts.call.out);
                } else {
                    self.hold.release(input, parts.call.out);
                }
            }
            Partial { client_name: Some(client_name), .. } => client_name.argument_ends(),
            _ => {}
        }
    }

    fn next_argument(&mut self, input: &mut Input<'_>, parts: &mut Parts<'_>) {
        self.request.index += 1;
        if self.request.index < self.request.count {
            self.state = State::LengthType;
            return;
        }
        self.state = State::Start;
        let start = self.request.start;
        if self.request.is_held {
            return self.held_request_ends(input, parts);
        }
        if let Some(PartialPublish { mut decision, mut command, admitted, channel_too_long, sharded }) =
            self.request.publish.take()
        {
            let publish = Publish { channel: (!channel_too_long).then_some(&*self.request.channel), sharded, start };
            if !admitted {
                let frame = self.capture.frame(input.bytes, input.pos);
                let payload = Values::new(frame).nth(2).unwrap_or_default();
                command = publishes::passes(&mut decision, &publish, payload, parts);
            }
            return publishes::published(decision, command, &publish, parts);
        }
        let client_name = self.request.client_name.take().and_then(|reader| reader.asked());
        let [name, second, third] = self.request.words.each_ref().map(Word::as_bytes);
        let mut answer = commands::answer(name, &Request { count: self.request.count, second, third });
        if let Some(client_name) = client_name {
            answer = parts.pairing.asks_for_name(answer, client_name);
        }
        requested(answer, name, start, || self.capture.frame(input.bytes, input.pos), parts);
    }

    fn inline(&mut self, input: &mut Input<'_>, parts: &mut Parts<'_>) {
        let rest = input.rest();
        let found = memchr::memchr(b'\n', rest);
        let piece = found.and_then(|end| rest.get(..end)).unwrap_or(rest);
        if self.inline.len() + piece.len() > inline::MAX_LINE_LEN {
            return self.give_up(parts);
        }
        input.pos += piece.len();
        if found.is_none() {
            self.inline.extend_from_slice(piece);
            return;
        }
        input.pos += 1;
        let line = if self.inline.is_empty() {
            inline::read(piece)
        } else {
            self.inline.extend_from_slice(piece);
            inline::read(&core::mem::take(&mut self.inline))
        };
        self.state = State::Start;
        match line {
            Line::Blank => parts.pairing.empty_request(&mut parts.call),
            Line::Refused => self.give_up(parts),
            Line::Command(answer) => {
                parts.call.out.counts.count(Counter::Commands);
                // It gets no span, because its first word may be anything: an HTTP header, or a line typed by mistake.
                if let Answer::Publishes(_) = answer {
                    parts.call.out.counts.count(Counter::Published);
                    parts.call.out.counts.count(Counter::SkippedInline);
                    parts.pairing.time(self.request.start);
                }
                let answer = told_apart(answer, parts.call.env.policy);
                parts.pairing.request(answer, None, None, &mut parts.call);
            }
        }
    }

    /// Stops reading, because Redis will not accept these bytes as a request. All bytes go on as they come.
    fn give_up(&mut self, parts: &mut Parts<'_>) {
        self.state = State::Opaque;
        self.inline = Vec::new();
        self.hold.stop(parts.call.out);
        parts.call.out.counts.count(Counter::OpaqueClient);
        parts.pairing.unknown_from_here(&mut parts.call);
    }
}

/// Takes a request that is complete in the input, if it is a publish or only its name has to be looked at.
fn complete_request(input: &mut Input<'_>, parts: &mut Parts<'_>) -> bool {
    let Some(head) = complete::Head::read(input.bytes, input.pos) else { return false };
    let command = commands::find(head.name);
    if let Some(Plan::Publish { sharded }) = command.and_then(|command| command.plan(head.count)) {
        return publishes::take_complete(head.end, sharded, input, parts);
    }
    let is_read_by_byte = |command: &Command| {
        command.words > 1
            || parts.adds_fields && streams::may_add(command, &head, input, parts)
            || parts.adds_to_envelopes && envelopes::may_add(&head, input, parts)
    };
    if command.is_some_and(is_read_by_byte) {
        return false;
    }
    let Some(end) = head.end_of_request(input.bytes) else { return false };
    let start = parts.call.env.now;
    let answer = command
        .map_or(Answer::Replies(1), |command| command.answer(&Request { count: head.count, second: &[], third: &[] }));
    let frame = || input.bytes.get(input.pos..end).unwrap_or_default();
    requested(answer, kept(head.name), start, frame, parts);
    input.pos = end;
    true
}

/// Takes another complete request, whose first byte was read at `start`, and whose beginning is `frame`.
#[inline(always)]
fn requested<'a>(
    answer: Answer,
    name: &[u8],
    start: UnixNanos,
    frame: impl FnOnce() -> &'a [u8],
    parts: &mut Parts<'_>,
) {
    parts.call.out.counts.count(Counter::Commands);
    if parts.are_commands_described {
        return described(answer, name, start, frame(), parts);
    }
    let answer = told_apart(answer, parts.call.env.policy);
    if let Answer::Replies(1) = answer {
        parts.pairing.ordinary_request(&mut parts.call);
    } else {
        parts.pairing.request(answer, None, None, &mut parts.call);
    }
}
