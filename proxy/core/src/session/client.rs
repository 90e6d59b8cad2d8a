//! The client's direction: requests.
//!
//! A byte waits only from a publish's payload header to the payload's last byte, and only if the payload may get a
//! context. Everything else goes on at once, while it is being read.

use alloc::vec::Vec;

use super::Call;
use super::command::{Command, Word};
use super::counts::Counter;
use super::hold::Hold;
use super::inline::{self, Line};
use super::pairing::Pairing;
use super::policy::{Commands, MAX_CHANNEL_LEN};
use super::tracer::{Publish, Tracer};
use crate::resp::{MAX_BULK_LEN, NumberLine, Progress, whole};
use crate::trace::{Ids, UnixNanos};

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
        left: u8,
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
    span: Option<crate::trace::SpanRecord>,
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
            },
            hold: Hold::default(),
            inline: Vec::new(),
        }
    }

    /// What follows is not RESP: nothing is held and nothing is read any more.
    pub(super) fn become_opaque(&mut self) {
        self.state = State::Opaque;
    }

    pub(super) fn receive(
        &mut self,
        input: &[u8],
        tracer: &mut Tracer,
        pairing: &mut Pairing,
        ids: &mut dyn Ids,
        call: &mut Call<'_>,
    ) {
        let mut pos = 0;
        let mut sent = 0;
        while pos < input.len() {
            match &mut self.state {
                State::Start => {
                    if let Some(end) = self.whole_request(input, pos, &mut sent, tracer, pairing, ids, call) {
                        pos = end;
                        continue;
                    }
                    self.request.start = call.now;
                    if input[pos] == b'*' {
                        pos += 1;
                        self.state = State::Count(NumberLine::default());
                    } else {
                        self.state = State::Inline;
                    }
                }
                State::Count(line) => match line.read(input, &mut pos) {
                    Progress::More => {}
                    Progress::Invalid => self.give_up(pairing, call),
                    // Redis ignores `*0` and any negative count.
                    Progress::Done(..=0) => {
                        pairing.empty_request(call);
                        self.state = State::Start;
                    }
                    Progress::Done(count) => {
                        self.request.begin(count.unsigned_abs());
                        self.state = State::LengthType;
                    }
                },
                State::LengthType => {
                    if input[pos] != b'$' {
                        self.give_up(pairing, call);
                        continue;
                    }
                    if self.request.index == 2 && self.request.publish.is_some() {
                        self.hold.begin(&mut sent, pos, call.out);
                    }
                    pos += 1;
                    self.state = State::Length(NumberLine::default());
                }
                State::Length(line) => match line.read(input, &mut pos) {
                    Progress::More => {}
                    Progress::Done(len @ 0..) if len.unsigned_abs() <= MAX_BULK_LEN => {
                        let len = len.unsigned_abs();
                        self.argument_begins(input, pos, &mut sent, len, tracer, ids, call);
                        self.state = State::Argument { left: len, len };
                        if len == 0 {
                            self.argument_ends(input, pos, &mut sent, 0, tracer, pairing, ids, call);
                        }
                    }
                    _ => self.give_up(pairing, call),
                },
                State::Argument { left, len } => {
                    let here = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len() - pos);
                    let piece = &input[pos..pos + here];
                    pos += here;
                    *left -= here as u64;
                    let (left, len) = (*left, *len);
                    self.request.copy(piece);
                    if left == 0 {
                        self.argument_ends(input, pos, &mut sent, len, tracer, pairing, ids, call);
                    }
                }
                State::Terminator { left } => {
                    // Redis before Valkey 9 does not look at these two bytes; neither do we.
                    let here = usize::from(*left).min(input.len() - pos);
                    pos += here;
                    *left -= here as u8; // at most 2
                    if *left == 0 {
                        self.next_argument(tracer, pairing, ids, call);
                    }
                }
                State::Inline => self.inline(input, &mut pos, pairing, call),
                State::Opaque => {
                    self.hold.stop(call.out);
                    break;
                }
            }
        }
        self.hold.end_of_input(input, sent, call.out);
    }

    /// The client has sent its last byte: what was held goes on as it came.
    pub(super) fn end_of_stream(&mut self, call: &mut Call<'_>) {
        self.state = State::Opaque;
        self.hold.stop(call.out);
    }

    /// Handles a request that is completely in the input, if it is one of the many that need no look at their
    /// arguments, or a publish. Gives the position behind it.
    #[expect(clippy::too_many_arguments, reason = "one call's view of the session, passed down once")]
    fn whole_request(
        &mut self,
        input: &[u8],
        pos: usize,
        sent: &mut usize,
        tracer: &mut Tracer,
        pairing: &mut Pairing,
        ids: &mut dyn Ids,
        call: &mut Call<'_>,
    ) -> Option<usize> {
        let request = whole::Request::read(input, pos)?;
        if Command::is_ordinary(request.name) {
            if tracer.policy().commands == Commands::All {
                return None;
            }
            pairing.ordinary_request(call);
            return Some(request.end);
        }
        let command = Command::publish(request.name, request.count)?;
        let (channel, header) = whole::bulk(input, request.after_name)?;
        let (payload, end) = whole::bulk(input, header)?;
        let channel = (channel.len() <= MAX_CHANNEL_LEN).then_some(channel);
        let sharded = command == Command::Publish { sharded: true };
        let len = payload.len();
        let span = match channel {
            Some(channel) if tracer.wants_publish(Some(channel), len as u64, call) => {
                let authenticated = pairing.is_authenticated();
                let publish = Publish { channel, payload, sharded, authenticated, start: call.now };
                let (splice, span) = tracer.publish(&publish, ids, call);
                if let Some(splice) = splice {
                    self.hold.begin(sent, header, call.out);
                    self.hold.finish(input, sent, end - 2, len, &splice, call.out);
                }
                span
            }
            Some(channel) => tracer.publish_unread(channel, sharded, len as u64, ids, call.now),
            None => {
                tracer.wants_publish(None, len as u64, call);
                None
            }
        };
        call.out.counts.count(Counter::Published);
        pairing.request(command, span, call);
        Some(end)
    }

    #[expect(clippy::too_many_arguments, reason = "one call's view of the session, passed down once")]
    fn argument_begins(
        &mut self,
        input: &[u8],
        pos: usize,
        sent: &mut usize,
        len: u64,
        tracer: &mut Tracer,
        ids: &mut dyn Ids,
        call: &mut Call<'_>,
    ) {
        let Some(publish) = &mut self.request.publish else { return };
        match self.request.index {
            1 => publish.channel_too_long = len > MAX_CHANNEL_LEN as u64,
            2 => {
                let channel = (!publish.channel_too_long).then_some(&*self.request.channel);
                publish.holding = tracer.wants_publish(channel, len, call);
                if publish.holding {
                    // The payload is within the injection limit, which is far below usize::MAX.
                    self.hold.expect(len as usize, input.len() - pos);
                } else {
                    self.hold.release(sent, pos, call.out);
                    if let Some(channel) = channel {
                        self.request.span =
                            tracer.publish_unread(channel, publish.sharded, len, ids, self.request.start);
                    }
                }
            }
            _ => {}
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one call's view of the session, passed down once")]
    fn argument_ends(
        &mut self,
        input: &[u8],
        pos: usize,
        sent: &mut usize,
        len: u64,
        tracer: &mut Tracer,
        pairing: &Pairing,
        ids: &mut dyn Ids,
        call: &mut Call<'_>,
    ) {
        self.state = State::Terminator { left: 2 };
        match (self.request.index, self.request.publish) {
            (0, _) => self.request.name_ends(),
            (2, Some(PublishState { sharded, holding: true, .. })) => {
                let len = len as usize; // it was held, so it is within the injection limit
                let payload = self.hold.payload(input, sent, pos, len);
                let publish = Publish {
                    channel: &self.request.channel,
                    payload,
                    sharded,
                    authenticated: pairing.is_authenticated(),
                    start: self.request.start,
                };
                let (splice, span) = tracer.publish(&publish, ids, call);
                self.request.span = span;
                match splice {
                    Some(splice) => self.hold.finish(input, sent, pos, len, &splice, call.out),
                    None => self.hold.release(sent, pos, call.out),
                }
            }
            _ => {}
        }
    }

    fn next_argument(&mut self, tracer: &mut Tracer, pairing: &mut Pairing, ids: &mut dyn Ids, call: &mut Call<'_>) {
        self.request.index += 1;
        if self.request.index < self.request.count {
            self.state = State::LengthType;
            return;
        }
        self.state = State::Start;
        let request = &mut self.request;
        let [name, second, third] = &request.words;
        let command = Command::new(name, second, third, request.count);
        if let Command::Publish { .. } = command {
            call.out.counts.count(Counter::Published);
            pairing.request(command, request.span.take(), call);
        } else {
            let span = command_span(command, name.as_bytes(), request.start, tracer, pairing, ids);
            pairing.request(command, span, call);
        }
    }

    fn inline(&mut self, input: &[u8], pos: &mut usize, pairing: &mut Pairing, call: &mut Call<'_>) {
        let rest = &input[*pos..];
        let found = memchr::memchr(b'\n', rest);
        let piece = found.map_or(rest, |end| &rest[..end]);
        if self.inline.len() + piece.len() > inline::MAX_LINE_LEN {
            return self.give_up(pairing, call);
        }
        *pos += piece.len();
        if found.is_none() {
            self.inline.extend_from_slice(piece);
            return;
        }
        *pos += 1;
        let line = if self.inline.is_empty() {
            inline::read(piece)
        } else {
            self.inline.extend_from_slice(piece);
            inline::read(&core::mem::take(&mut self.inline))
        };
        self.state = State::Start;
        match line {
            Line::Blank => pairing.empty_request(call),
            Line::Refused => self.give_up(pairing, call),
            Line::Command(command) => {
                if let Command::Publish { .. } = command {
                    call.out.counts.count(Counter::Published);
                    call.out.counts.count(Counter::SkippedInline);
                }
                // Without a span: the first word of a line can be anything, an HTTP header or a line typed by mistake.
                pairing.request(command, None, call);
            }
        }
    }

    /// These bytes are no request that Redis would take: from here on they go on as they come.
    fn give_up(&mut self, pairing: &mut Pairing, call: &mut Call<'_>) {
        self.state = State::Opaque;
        self.inline = Vec::new();
        self.hold.stop(call.out);
        call.out.counts.count(Counter::OpaqueClient);
        pairing.unknown_from_here(call);
    }
}

/// The CLIENT span of `--commands all`. A transaction's span begins at `MULTI`, so `EXEC` has none of its own.
fn command_span(
    command: Command,
    name: &[u8],
    start: UnixNanos,
    tracer: &mut Tracer,
    pairing: &Pairing,
    ids: &mut dyn Ids,
) -> Option<crate::trace::SpanRecord> {
    let policy = tracer.policy();
    let wanted = policy.commands == Commands::All && policy.enabled;
    let untold = matches!(command, Command::Exec | Command::Discard | Command::Silent | Command::ClientReply(_));
    (wanted && !untold).then(|| tracer.command(name, pairing.database(), start, ids)).flatten()
}

impl Request {
    fn begin(&mut self, count: u64) {
        self.count = count;
        self.index = 0;
        self.words_wanted = 1;
        self.publish = None;
        self.span = None;
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
