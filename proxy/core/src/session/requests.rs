//! The reader of the client's direction: requests.
//!
//! Bytes are held back only from the header of a publish's payload to the last byte of the payload, and only if it may get
//! a context. All others go on at once, while they are being read. Most requests are complete in the input and are taken in
//! one step. Whatever is unusual, incomplete or invalid is read byte by byte. Both ways lead to the same decisions.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::Parts;
use super::attribution;
use super::capture::{self, Capture};
use super::client_name::ClientNameReader;
use super::inline::{self, Line};
use super::publishes;
use super::pushes;
use super::summary::summarize;
use crate::commands::{self, Answer, MAX_WORDS, Plan, Request, Word, kept};
use crate::counts::Counter;
use crate::output::Output;
use crate::policy::{Commands, MAX_CHANNEL_LEN, Mode, Policy};
use crate::resp::{MAX_BULK_LEN, NumberLine, Progress, Values, complete};
use crate::rewrite::{Admission, Bulk, Decision, Hold, Input, Publish, command_span};
use crate::service::Attribution;
use crate::trace::{CommandId, SpanRecord, UnixNanos};

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

/// The multibulk request that is being read.
#[derive(Debug)]
struct Partial {
    /// The number of arguments, the command's name included.
    count: u64,
    /// The position of the argument that is being read.
    index: u64,
    words: [Word; MAX_WORDS],
    /// How many of the first arguments are copied to `words`.
    words_wanted: u64,
    publish: Option<PartialPublish>,
    channel: Vec<u8>,
    /// Reads the arguments of a command that can name the connection.
    client_name: Option<Box<ClientNameReader>>,
    start: UnixNanos,
}

/// What is known so far of a request that is a publish.
#[derive(Debug, Default)]
struct PartialPublish {
    sharded: bool,
    channel_too_long: bool,
    /// Whether the payload is held back for the decision.
    admitted: bool,
    decision: Decision,
    /// What the publish is called where its reply is reported.
    command: Option<CommandId>,
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
                        parts.pairing.empty_request(&mut parts.call);
                        self.state = State::Start;
                    }
                    Progress::Done(count) => {
                        self.request.begin(count.unsigned_abs());
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
        if parts.call.env.inference.is_some() || !parts.call.env.policy.key_templates.is_empty() {
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

    fn next_argument(&mut self, input: &Input<'_>, parts: &mut Parts<'_>) {
        self.request.index += 1;
        if self.request.index < self.request.count {
            self.state = State::LengthType;
            return;
        }
        self.state = State::Start;
        let start = self.request.start;
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
    if command.is_some_and(|command| command.words > 1) {
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

/// Takes a request that may have a span, or a cause.
#[cold]
#[inline(never)]
fn described(answer: Answer, name: &[u8], start: UnixNanos, frame: &[u8], parts: &mut Parts<'_>) {
    let attribution = attribution::of_command(answer, name, frame, parts);
    let command = attribution.as_ref().and_then(|attribution| attribution.command);
    let answer = told_apart(answer, parts.call.env.policy);
    let mut span = match pushes::span_of(name, frame, start, attribution.as_deref(), parts) {
        Some(span) => span,
        None => span_of(answer, name, start, attribution.as_deref(), parts),
    };
    if let Some(span) = &mut span {
        summarize(span, frame, parts.call.env.policy);
    }
    parts.pairing.request(answer, span, command, &mut parts.call);
}

/// Counts late replies among the others unless they have to be told apart: for mode `auto`, and for spans of commands. A
/// pipeline of mixed commands is otherwise one run, which takes less memory.
#[inline]
fn told_apart(answer: Answer, policy: &Policy) -> Answer {
    match answer {
        Answer::LateReplies(count) if !policy.commands.any() && !policy.uses(Mode::Auto) => Answer::Replies(count),
        answer => answer,
    }
}

/// The span of a command. A transaction's span begins at `MULTI`, so `EXEC` has none of its own.
fn span_of(
    answer: Answer,
    name: &[u8],
    start: UnixNanos,
    attribution: Option<&Attribution>,
    parts: &mut Parts<'_>,
) -> Option<SpanRecord> {
    if parts.call.env.policy.commands == Commands::Caused && attribution.is_none() {
        return None;
    }
    let has_span = !matches!(answer, Answer::Exec { .. } | Answer::Discard | Answer::Silent | Answer::ClientReply(_));
    let has_span = has_span && !commands::manages_connection(name);
    let (begins_transaction, is_queued) = (answer == Answer::Multi, parts.pairing.is_queueing());
    let database = parts.pairing.database();
    let span = || command_span(name, database, start, begins_transaction, is_queued, attribution, &mut parts.call);
    has_span.then(span).flatten()
}

impl Partial {
    fn begin(&mut self, count: u64) {
        self.count = count;
        self.index = 0;
        self.words_wanted = 1;
        self.publish = None;
        self.client_name = None;
        self.channel.clear();
        self.words.iter_mut().for_each(Word::clear);
    }

    /// Whether the command adds items to a list, a sorted set or a stream.
    fn adds_items(&self) -> bool {
        let [name, ..] = &self.words;
        commands::find(name.as_bytes()).is_some_and(|command| command.pushes.is_some())
    }

    /// Whether the argument that comes next is the payload of a publish.
    fn is_at_payload(&self) -> bool {
        self.index == 2 && self.publish.is_some()
    }

    /// Keeps the next bytes of the argument that is being read, if they are needed.
    fn copy(&mut self, piece: &[u8]) {
        if let Some(client_name) = &mut self.client_name {
            client_name.copy(piece);
        }
        if self.index < self.words_wanted {
            if let Some(word) = usize::try_from(self.index).ok().and_then(|index| self.words.get_mut(index)) {
                word.push(piece);
            }
        } else if self.index == 1
            && let Some(PartialPublish { channel_too_long: false, .. }) = self.publish
        {
            self.channel.extend_from_slice(piece);
        }
    }

    fn name_ends(&mut self) {
        let [name, ..] = &self.words;
        let command = commands::find(name.as_bytes());
        self.words_wanted = command.map_or(1, |command| command.words);
        let naming = command.and_then(|command| command.naming);
        self.client_name = naming.map(|naming| Box::new(ClientNameReader::new(naming)));
        if let Some(Plan::Publish { sharded }) = command.and_then(|command| command.plan(self.count)) {
            self.publish = Some(PartialPublish { sharded, ..PartialPublish::default() });
        }
    }
}

impl PartialPublish {
    fn head<'a>(&self, channel: &'a [u8], start: UnixNanos) -> Publish<'a> {
        let channel = (!self.channel_too_long).then_some(channel);
        Publish { channel, sharded: self.sharded, start }
    }
}
