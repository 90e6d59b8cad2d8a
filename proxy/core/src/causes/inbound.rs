//! What comes in: requests, their bodies and responses, and messages. `queues` has what is taken out of queues.

use super::candidates::{Kind, Ticket};
use super::learned::Class;
use super::slots::Slot;
use super::steps::{ClassId, Step};
use super::table::Id;
use super::tokens::{TokenReader, Tokens};
use super::{Causes, KEPT, Rule};
use crate::trace::UnixNanos;

/// The most tokens of a request's head, of a body, and of a payload.
const MAX_TOKENS: usize = 48;

/// The most tokens of a channel's name.
const MAX_CHANNEL_TOKENS: usize = 8;

/// Headers that name nothing: they say who talks to whom, and in what form.
const SKIPPED_HEADERS: [&str; 17] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "connection",
    "content-length",
    "content-type",
    "date",
    "expect",
    "host",
    "origin",
    "pragma",
    "referer",
    "te",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

/// The head of an HTTP request.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// The caller's id of the request, which answers will name.
    pub id: u64,
    /// The trace that the request belongs to, as any number that is the same for all of the trace.
    pub trace: Option<u64>,
    /// The method, as it came.
    pub method: &'a [u8],
    /// The path, with the query if there is one.
    pub target: &'a [u8],
}

/// A message that is delivered to the service.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// The caller's id of the delivery, which answers will name.
    pub id: u64,
    /// The trace that the message belongs to, as any number that is the same for all of the trace.
    pub trace: Option<u64>,
    /// The publish that it came from, if this is known. It is compared with the ids of the commands of this service, so that
    /// circles are noticed.
    pub publish: Option<u64>,
    /// The name of the channel.
    pub channel: &'a [u8],
    /// The payload, as the service receives it.
    pub payload: &'a [u8],
}

/// The reader of one body, which comes in pieces. Of a body, the first [`SEARCHED`](super::SEARCHED) bytes are read.
pub struct Text {
    reader: TokenReader,
}

/// Shows nothing of the text.
impl core::fmt::Debug for Text {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Text")
    }
}

impl Causes {
    /// A request has come. This has to be said before the service gets it. Headers are pairs of name and value.
    ///
    /// The ticket belongs to the request, until [`Causes::response_end`].
    pub fn request<'h>(
        &mut self,
        now: UnixNanos,
        request: &RequestHead<'_>,
        headers: impl IntoIterator<Item = (&'h [u8], &'h [u8])>,
    ) -> Ticket {
        self.age(now.0 / 1000);
        let path = request.target.split(|byte| *byte == b'?').next().unwrap_or_default();
        let class = self.class(request.method, path);
        let slot = self.arrive(Kind::Request, request.id, class, request.trace);
        let mut tokens = Tokens::<MAX_TOKENS>::new();
        tokens.add(self.key, 0, request.target);
        for (name, value) in headers {
            if !is_skipped(name) {
                tokens.add(self.key, 0, value);
            }
        }
        tokens.as_slice().iter().for_each(|token| self.own(slot, token.hash));
        self.hear(slot);
        self.ticket(slot)
    }

    /// The reader of a body that begins, be it of a request or of a response.
    pub fn text(&self) -> Text {
        Text { reader: TokenReader::new(self.key, 0, MAX_TOKENS) }
    }

    /// A piece of a request's body has come. This has to be said before the service gets it; with `ended`, the body is complete.
    pub fn request_body(&mut self, request: Ticket, text: &mut Text, piece: &[u8], ended: bool) {
        let Some(slot) = self.find(request) else { return };
        let mut tokens = Tokens::<MAX_TOKENS>::new();
        text.reader.read(piece, &mut tokens);
        if ended {
            text.reader.finish(&mut tokens);
        }
        tokens.as_slice().iter().for_each(|token| self.own(slot, token.hash));
    }

    /// A message is delivered. This has to be said before the service gets it.
    pub fn message(&mut self, now: UnixNanos, message: &Delivery<'_>) {
        self.age(now.0 / 1000);
        let class = self.class(b"\0message", message.channel);
        let slot = self.arrive(Kind::Message, message.id, class, message.trace);
        self.candidates[slot].circle = self.circles.behind(message.publish);
        let mut tokens = Tokens::<MAX_TOKENS>::new();
        tokens.add(self.key, 0, message.payload);
        let mut channel = Tokens::<MAX_CHANNEL_TOKENS>::new();
        channel.add(self.key, 0, message.channel);
        tokens.as_slice().iter().chain(channel.as_slice()).for_each(|token| self.own(slot, token.hash));
        self.hear(slot);
    }

    /// A piece of a response's body is on its way to the client; with `ended`, the body is complete.
    ///
    /// An id that the service made and tells in its response joins what it did under that id to the request.
    pub fn response_body(&mut self, now: UnixNanos, request: Ticket, text: &mut Text, piece: &[u8], ended: bool) {
        let Some(slot) = self.find(request).filter(|slot| !self.candidates[*slot].closed) else { return };
        self.candidates[slot].responding = true;
        self.age(now.0 / 1000);
        let mut tokens = Tokens::<MAX_TOKENS>::new();
        text.reader.read(piece, &mut tokens);
        if ended {
            text.reader.finish(&mut tokens);
        }
        for token in tokens.as_slice().iter().filter(|token| token.is_id) {
            let owners = self.owners.of(token.hash);
            if let Some(work) = (owners & self.unattributed).single() {
                let mut others = owners & (self.requests | self.messages | self.finished);
                others.remove(slot);
                if others.is_empty() {
                    self.join(work, slot, Rule::Response);
                }
            }
            if owners.is_empty() {
                self.own(slot, token.hash);
            }
        }
    }

    /// A response is complete, or will not come: the request's connection has ended.
    pub fn response_end(&mut self, now: UnixNanos, request: Ticket) {
        let Some(slot) = self.find(request) else {
            self.lost = self.lost.saturating_sub(1);
            return;
        };
        if self.candidates[slot].closed {
            return;
        }
        self.age(now.0 / 1000);
        if self.candidates[slot].alive {
            self.close(slot);
        }
    }

    pub(super) fn arrive(&mut self, kind: Kind, id: u64, class: Option<ClassId>, trace: Option<u64>) -> Slot {
        let slot = self.admit(kind, id, class, trace);
        if let Some(class) = class {
            let class = &mut self.classes[class];
            class.arrivals += 1;
            self.candidates[slot].arrival = class.arrivals;
            class.last_seen = self.now;
            class.members.insert(slot);
            class.beat.see(self.now);
        }
        slot
    }

    /// The class of what has this name. Without room for it, the one that has not been seen for longest is forgotten, if nothing
    /// of it is known any more.
    pub(super) fn class(&mut self, kind: &[u8], name: &[u8]) -> Option<ClassId> {
        let hash = self.names.template(self.key, kind, name);
        if let Some(class) = self.class_index.find(hash) {
            return Some(class);
        }
        let now = self.now;
        let oldest = self.classes.ids().min_by_key(|class| self.classes[*class].last_seen)?;
        let class = &self.classes[oldest];
        if !self.class_index.is_free(oldest) && (now - class.last_seen <= KEPT || !class.members.is_empty()) {
            return None;
        }
        self.forget_step(Step::Arrived(oldest));
        for template in self.templates.iter_mut() {
            template.classes.remove(oldest);
        }
        self.classes[oldest] = Class::new();
        self.class_index.set(oldest, hash);
        self.classes_used = self.classes_used.max(oldest.index() + 1);
        Some(oldest)
    }
}

fn is_skipped(name: &[u8]) -> bool {
    let same = |skipped: &&str| skipped.as_bytes().eq_ignore_ascii_case(name);
    SKIPPED_HEADERS.iter().any(same) || name.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"sec-"))
}
