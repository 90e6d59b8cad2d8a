//! The client's direction: requests.
//!
//! A byte waits only from a publish's payload header to the payload's last byte, and only if the payload may get a
//! context. Everything else goes on at once, while it is being read.

use alloc::vec::Vec;

use super::Parts;
use super::command::{Command, Word};
use super::hold::Hold;
use super::inline::{self, Line};
use super::input::Input;
use super::output::Output;
use super::tracer::{Publish, Traced};
use super::whole;
use crate::counts::Counter;
use crate::policy::{Commands, MAX_CHANNEL_LEN};
use crate::resp::{MAX_BULK_LEN, NumberLine, Progress};
use crate::service::Witness;
use crate::trace::{SpanRecord, UnixNanos};

/// Reads requests, resumably.
#[derive(Debug)]
pub(super) struct ClientHalf {
    state: State,
    request: Request,
    hold: Hold,
    inline: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// At the first byte of a request.
    Start,
    /// In the number behind `*`.
    Count(NumberLine),
    /// At the `$` of the next argument.
    LengthType,
    /// In the number behind `$`.
    Length(NumberLine),
    /// In an argument, or in the two bytes that Redis skips behind it.
    Argument {
        left: u64,
        len: u64,
    },
    Terminator {
        left: u64,
    },
    /// Before the line feed of an inline command.
    Inline,
    /// Not RESP any more, or never: bytes go on as they come.
    Opaque,
}

/// The multibulk request that is being read.
#[derive(Debug)]
struct Request {
    /// Arguments, the command's name included.
    count: u64,
    /// Of the argument that is being read.
    index: u64,
    words: [Word; 3],
    /// How many of the first arguments are copied to `words`.
    words_wanted: u64,
    /// Set for a publish of exactly three arguments.
    publish: Option<PublishState>,
    channel: Vec<u8>,
    start: UnixNanos,
    span: Option<SpanRecord>,
    witness: Option<Witness>,
}

#[derive(Debug, Clone, Copy)]
struct PublishState {
    sharded: bool,
    channel_too_long: bool,
    /// The payload is complete in the hold's view when it ends.
    holding: bool,
}

impl ClientHalf {
    pub(super) fn new() -> Self {
        Self {
            state: State::Start,
            request: Request {
                count: 0,
                index: 0,
                words: [Word::default(); 3],
                words_wanted: 1,
                publish: None,
                channel: Vec::new(),
                start: UnixNanos(0),
                span: None,
                witness: None,
            },
            hold: Hold::default(),
            inline: Vec::new(),
        }
    }

    /// What follows is not RESP: nothing is held and nothing is read any more.
    pub(super) fn become_opaque(&mut self) {
        self.state = State::Opaque;
    }

    pub(super) fn receive(&mut self, bytes: &[u8], parts: &mut Parts<'_>) {
        let mut input = Input::new(bytes);
        let input = &mut input;
        while let Some(byte) = input.peek() {
            match &mut self.state {
                State::Start => {
                    if whole::request(input, parts) {
                        continue;
                    }
                    self.request.start = parts.call.now;
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
                    if self.request.index == 2 && self.request.publish.is_some() {
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
                    // Redis before Valkey 9 does not look at these two bytes; neither do we.
                    input.take(left);
                    if *left == 0 {
                        self.next_argument(parts);
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
    }

    /// The client has sent its last byte: what was held goes on as it came.
    pub(super) fn end_of_stream(&mut self, out: &mut Output) {
        self.state = State::Opaque;
        self.hold.stop(out);
    }

    fn argument_begins(&mut self, input: &mut Input<'_>, len: u64, parts: &mut Parts<'_>) {
        let Some(publish) = &mut self.request.publish else { return };
        match self.request.index {
            1 => publish.channel_too_long = len > MAX_CHANNEL_LEN as u64,
            2 => {
                let channel = (!publish.channel_too_long).then_some(&*self.request.channel);
                publish.holding = parts.tracer.wants_publish(channel, len, &mut parts.call);
                if publish.holding {
                    // The payload is within the injection limit, which is far below usize::MAX.
                    self.hold.expect(input, len as usize);
                } else {
                    self.hold.release(input, parts.call.out);
                    if let Some(channel) = channel {
                        let (start, watched) = (self.request.start, parts.call.out.watched);
                        self.request.span =
                            parts.tracer.publish_unread(channel, publish.sharded, len, parts.ids, start, watched);
                    }
                }
            }
            _ => {}
        }
    }

    fn argument_ends(&mut self, input: &mut Input<'_>, len: u64, parts: &mut Parts<'_>) {
        self.state = State::Terminator { left: 2 };
        match (self.request.index, self.request.publish) {
            (0, _) => self.request.name_ends(),
            (2, Some(PublishState { sharded, holding: true, .. })) => {
                let len = len as usize; // it was held, so it is within the injection limit
                let payload = self.hold.payload(input, len);
                let publish = Publish {
                    channel: &self.request.channel,
                    payload,
                    sharded,
                    authenticated: parts.pairing.is_authenticated(),
                    prompt: parts.tracer.uses_auto() && parts.pairing.answers_promptly(),
                    start: self.request.start,
                };
                let Traced { splice, span, witness } = parts.tracer.publish(&publish, parts.ids, &mut parts.call);
                (self.request.span, self.request.witness) = (span, witness);
                match splice {
                    Some(splice) => self.hold.finish(input, len, &splice, parts.call.out),
                    None => self.hold.release(input, parts.call.out),
                }
            }
            _ => {}
        }
    }

    fn next_argument(&mut self, parts: &mut Parts<'_>) {
        self.request.index += 1;
        if self.request.index < self.request.count {
            self.state = State::LengthType;
            return;
        }
        self.state = State::Start;
        let request = &mut self.request;
        let [name, second, third] = &request.words;
        let mut command = Command::new(name, second, third, request.count);
        if command == Command::Other && parts.tracer.uses_auto() && Command::may_block(name.as_bytes()) {
            command = Command::MayBlock;
        }
        parts.call.out.counts.count(Counter::Commands);
        if let Command::Publish { .. } = command {
            parts.call.out.counts.count(Counter::Published);
            parts.pairing.time(request.start);
            parts.pairing.publish(request.span.take(), request.witness.take(), &mut parts.call);
        } else {
            let span = command_span(command, name.as_bytes(), request.start, parts);
            parts.pairing.request(command, span, &mut parts.call);
        }
    }

    fn inline(&mut self, input: &mut Input<'_>, parts: &mut Parts<'_>) {
        let rest = input.rest();
        let found = memchr::memchr(b'\n', rest);
        let piece = found.map_or(rest, |end| &rest[..end]);
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
            Line::Command(command) => {
                parts.call.out.counts.count(Counter::Commands);
                // Without a span: the first word of a line can be anything, an HTTP header or a line typed by mistake.
                if let Command::Publish { .. } = command {
                    parts.call.out.counts.count(Counter::Published);
                    parts.call.out.counts.count(Counter::SkippedInline);
                    parts.pairing.time(self.request.start);
                }
                parts.pairing.request(command, None, &mut parts.call);
            }
        }
    }

    /// These bytes are no request that Redis would take: from here on they go on as they come.
    fn give_up(&mut self, parts: &mut Parts<'_>) {
        self.state = State::Opaque;
        self.inline = Vec::new();
        self.hold.stop(parts.call.out);
        parts.call.out.counts.count(Counter::OpaqueClient);
        parts.pairing.unknown_from_here(&mut parts.call);
    }
}

/// The CLIENT span of `--commands all`. A transaction's span begins at `MULTI`, so `EXEC` has none of its own.
fn command_span(command: Command, name: &[u8], start: UnixNanos, parts: &mut Parts<'_>) -> Option<SpanRecord> {
    let policy = parts.tracer.policy();
    let wanted = policy.commands == Commands::All && policy.enabled;
    let untold = matches!(command, Command::Exec | Command::Discard | Command::Silent | Command::ClientReply(_));
    (wanted && !untold).then(|| parts.tracer.command(name, parts.pairing.database(), start, parts.ids)).flatten()
}

impl Request {
    fn begin(&mut self, count: u64) {
        self.count = count;
        self.index = 0;
        self.words_wanted = 1;
        self.publish = None;
        self.span = None;
        self.witness = None;
        self.channel.clear();
        self.words.iter_mut().for_each(Word::clear);
    }

    /// Keeps what is needed of the argument that is being read.
    fn copy(&mut self, piece: &[u8]) {
        if self.index < self.words_wanted {
            self.words[self.index as usize].push(piece); // at most 3 words are wanted
        } else if self.index == 1
            && let Some(PublishState { channel_too_long: false, .. }) = self.publish
        {
            self.channel.extend_from_slice(piece);
        }
    }

    fn name_ends(&mut self) {
        let name = &self.words[0];
        self.words_wanted = Command::words(name);
        if let Some(Command::Publish { sharded }) = Command::publish(name.as_bytes(), self.count) {
            self.publish = Some(PublishState { sharded, channel_too_long: false, holding: false });
        }
    }
}
