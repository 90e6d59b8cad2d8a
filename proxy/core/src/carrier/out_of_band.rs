//! The context of an item or a message, told by the proxy of who has added or published it to the proxies of those who may get it, in
//! messages of their own.
//!
//! Nothing can be added to an item of a list, a sorted set or a stream, nor to a message that somebody without a proxy receives too. So
//! proxies tell each other contexts by `PUBLISH` on **companion channels**, one for each key and one for each channel:
//!
//! ```text
//! __redistributed:context:1:<companion>      of a key
//! __redistributed:message:1:c:<channel>      of a channel (PUBLISH)
//! __redistributed:message:1:s:<channel>      of a shard channel (SPUBLISH)
//! __redistributed:message:1:p:<pattern>      of all channels that a pattern matches (PSUBSCRIBE)
//! ```
//!
//! `<channel>` and `<pattern>` are written as they are. Who publishes asks Redis for the companions of patterns that anybody listens to,
//! and tells there what matches. Nobody subscribes to a pattern for this, because that would count as a subscriber of every
//! channel that it may match. The companions of shard channels are no shard channels.
//!
//! `<companion>` stands for the key in 16 hexadecimal digits: the first 8 bytes of an HMAC-SHA-256 (RFC 2104), whose key is the first key of
//! the fleet (`--context-key-file`), or an empty one. It covers these bytes, one after the other:
//!
//! | bytes | content |
//! |---|---|
//! | 16 | `redistributed/q` and a NUL byte |
//! | 4 | the number of the database, big-endian |
//! | any | the key |
//!
//! A message has one or more notices, one after the other:
//!
//! | bytes | content |
//! |---|---|
//! | 2 | the length of the context in bytes, big-endian, or 0 |
//! | 16 | what names the item or the message: the trace id that follows from it (`derived`) |
//! | any | the context, in the form of a [`trailer`](super::trailer) |
//!
//! With keys, the MAC of the trailer covers the companion channel as the channel, and the 16 bytes before it as the payload. A notice
//! without a context says that the item was added more than once, so that nobody can tell which addition it comes from.
//!
//! **An element that is nothing but an id** is added again when its job is tried again. So proxies tell each other when it was
//! added and when it was taken. Its notices have one more byte between the name and the context, which the MAC covers as well:
//!
//! | byte | meaning | context |
//! |---|---|---|
//! | `a` | the id was added, and its addition before, if there was one, has been taken | that of the span that has added it |
//! | `u` | the id was added, but it is not known whether its addition before has been taken | the same |
//! | `t` | the id was taken | the name as the trace, and a number of the proxy whose service has taken it as the span |
//!
//! **A message** may be published again with the same bytes. So each of its notices, which always have a context, has these 13
//! bytes between the name and the context. The MAC covers them as well:
//!
//! | bytes | content |
//! |---|---|
//! | 1 | `m` |
//! | 8 | a random number of the client connection that has published it, not 0 |
//! | 4 | the number of the publish on that connection, big-endian. It grows with each publish of which anything may be told |
//!
//! A notice of the same publish may come more than once: by several companion channels, or again because the connection of the
//! proxy that tells was lost. These 13 bytes are the same in all of them.
//!
//! **What is not
//! exactly of this form, or not proven where there are keys, is passed over, with all that follows it in the message.**

use alloc::sync::Arc;
use alloc::vec::Vec;

use hmac::Mac as _;

use super::{Added, Carrier, ContextKeys, Place, find_added, write_trailer};
use crate::trace::{
    Companion, Context, Operation, PublishNumber, Sent, SpanContext, SpanId, SpanRecord, ToldMessage, TraceFlags,
    TraceId,
};

const LABEL: &[u8; 16] = b"redistributed/q\0";

const LEN_LEN: usize = 2;
const NAME_LEN: usize = 16;

/// The companion of a key. Whoever has the keys finds the same one.
pub(crate) fn companion(database: u32, key: &[u8], keys: &ContextKeys) -> Option<Companion> {
    let mut mac = keys.first()?;
    mac.update(LABEL);
    mac.update(&database.to_be_bytes());
    mac.update(key);
    let full = mac.finalize().into_bytes();
    full.first_chunk().map(|bytes| Companion(u64::from_be_bytes(*bytes)))
}

/// The beginning of the names of the companion channels of channels.
const MESSAGE_PREFIX: &str = "__redistributed:message:1:";

/// A channel on which proxies tell each other contexts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CompanionChannel {
    /// The contexts of items at a key.
    Key(Companion),
    /// The contexts of messages on a channel, on a shard channel, or on all channels that a pattern matches.
    Messages(MessagesOf, Arc<[u8]>),
}

/// The messages that one companion channel is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessagesOf {
    /// Those of a channel.
    Channel,
    /// Those of a shard channel.
    ShardChannel,
    /// Those of all channels that a pattern matches.
    Pattern,
}

/// What companions are about, as their names say it.
const KINDS: [(MessagesOf, &[u8; 2]); 3] =
    [(MessagesOf::Channel, b"c:"), (MessagesOf::ShardChannel, b"s:"), (MessagesOf::Pattern, b"p:")];

impl CompanionChannel {
    /// The pattern that the companions of all patterns match.
    pub const PATTERNS: &str = "__redistributed:message:1:p:*";

    /// Its name.
    pub fn name(&self) -> Vec<u8> {
        match self {
            Self::Key(companion) => companion.channel().into_bytes(),
            Self::Messages(kind, name) => {
                let kind = KINDS.iter().find(|(known, _)| known == kind).map_or(b"c:", |(_, letter)| *letter);
                [MESSAGE_PREFIX.as_bytes(), kind, name].concat()
            }
        }
    }

    /// The companion channel of this name.
    pub fn of_name(name: &[u8]) -> Option<Self> {
        let Some(rest) = name.strip_prefix(MESSAGE_PREFIX.as_bytes()) else {
            return Companion::of_channel(name).map(Self::Key);
        };
        let (letter, name) = rest.split_first_chunk()?;
        let (kind, _) = KINDS.iter().find(|(_, known)| *known == letter)?;
        Some(Self::Messages(*kind, name.into()))
    }
}

/// What a proxy tells of one item or message.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// What names the item or the message.
    pub name: TraceId,
    /// The context of the span that has added or published it. `None` if the item was added more than once. Notices of ids and of
    /// messages always have one.
    pub context: Option<Context>,
    /// What it is about.
    pub about: About,
}

/// What a notice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// An item that its name tells from all others.
    Item,
    /// What happens to an element that is nothing but an id.
    Id(Turn),
    /// A message, from this publish.
    Message(PublishNumber),
}

/// The first of the bytes that say which publish a message comes from, and their number.
const MESSAGE: u8 = b'm';
const MESSAGE_LEN: usize = 1 + 8 + 4;

impl About {
    /// Appends the bytes between the name and the context.
    fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Item => {}
            Self::Id(turn) => out.push(turn.byte()),
            Self::Message(PublishNumber { connection, number }) => {
                out.push(MESSAGE);
                out.extend_from_slice(&connection.to_bytes());
                out.extend_from_slice(&number.to_be_bytes());
            }
        }
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [] => Some(Self::Item),
            [turn] => Turn::of(*turn).map(Self::Id),
            [MESSAGE, publish @ ..] => {
                let (connection, number) = publish.split_first_chunk()?;
                let (connection, number) =
                    (SpanId::from_bytes(*connection)?, u32::from_be_bytes(number.try_into().ok()?));
                Some(Self::Message(PublishNumber { connection, number }))
            }
            _ => None,
        }
    }
}

/// What happens to an element that is nothing but an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It was added, and its addition before, if there was one, has been taken.
    Added,
    /// It was added, but it is not known whether its addition before has been taken.
    AddedUnclear,
    /// It was taken.
    Taken,
}

impl Turn {
    fn byte(self) -> u8 {
        match self {
            Self::Added => b'a',
            Self::AddedUnclear => b'u',
            Self::Taken => b't',
        }
    }

    fn of(byte: u8) -> Option<Self> {
        [Self::Added, Self::AddedUnclear, Self::Taken].into_iter().find(|turn| turn.byte() == byte)
    }
}

impl Notice {
    /// The notice that an id of this name was taken, from the proxy with this number.
    pub fn of_taken(name: TraceId, by: SpanId) -> Self {
        let taker = SpanContext { trace_id: name, span_id: by, flags: TraceFlags::default() };
        Self { name, context: Some(taker.into()), about: About::Id(Turn::Taken) }
    }

    /// Whether the notice says that the proxy with this number has taken an id.
    pub fn is_taken_by(&self, number: SpanId) -> bool {
        let by = self.context.as_ref().filter(|_| self.about == About::Id(Turn::Taken));
        by.is_some_and(|context| context.span.span_id == number)
    }

    /// Appends the notice to a message on the companion channel of this name: at most [`Notice::MAX_LEN`] bytes.
    pub fn write(&self, channel: &[u8], keys: &ContextKeys, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; LEN_LEN]);
        out.extend_from_slice(&self.name.to_bytes());
        let Some(context) = &self.context else { return };
        let mut covered = Vec::with_capacity(NAME_LEN + MESSAGE_LEN);
        covered.extend_from_slice(&self.name.to_bytes());
        self.about.write(&mut covered);
        out.extend_from_slice(covered.get(NAME_LEN..).unwrap_or_default());
        let place = Place { channel, carrier: Carrier::Trailer, keys };
        write_trailer([&covered, &[]], &place, context, out);
        // The longest trailer is far below 64 KiB.
        let len = u16::try_from(out.len() - start - LEN_LEN - NAME_LEN).unwrap_or_default();
        if let Some(place) = out.get_mut(start..start + LEN_LEN) {
            place.copy_from_slice(&len.to_be_bytes());
        }
    }

    /// The longest notice, in bytes.
    pub const MAX_LEN: usize = LEN_LEN + NAME_LEN + MESSAGE_LEN + super::trailer::MAX_LEN;
}

/// What other proxies are told of a span that has ended, if they are told anything and it has not failed: where, and a notice for each
/// item or for the message. Of a message they are told only if Redis has answered that somebody has received it: what is told has
/// been executed, in the order of its connection.
pub fn notices_of(span: &SpanRecord) -> Option<(CompanionChannel, impl Iterator<Item = Notice>)> {
    if span.error.is_some() || !span.is_to_be_told() {
        return None;
    }
    let context = Context { span: span.context, trace_state: span.trace_state.clone(), baggage: None, published: None };
    let (channel, of_message, of_items) = match &span.operation {
        Operation::Send(sent) => (CompanionChannel::Key(sent.companion?), None, Some(items_of(span, sent, context))),
        Operation::Publish { receivers: Some(0), .. } => return None,
        _ => {
            let ToldMessage { channel, is_sharded, name, publish, baggage, .. } = span.told_message()?;
            let context = Context { baggage: baggage.clone(), ..context };
            let kind = if *is_sharded { MessagesOf::ShardChannel } else { MessagesOf::Channel };
            let channel = CompanionChannel::Messages(kind, Arc::clone(channel));
            (channel, Some(Notice { name: *name, context: Some(context), about: About::Message(*publish) }), None)
        }
    };
    Some((channel, of_message.into_iter().chain(of_items.into_iter().flatten())))
}

fn items_of(span: &SpanRecord, sent: &Sent, context: Context) -> impl Iterator<Item = Notice> {
    let own = sent.is_named_by_item.then_some(span.context.trace_id);
    let names = sent.items.iter().map(|item| item.trace_id).chain(own);
    let is_certain = |name: &TraceId| !sent.repeated.contains(name);
    let of_ids = context.clone();
    let notices =
        names.map(move |name| Notice { name, context: is_certain(&name).then(|| context.clone()), about: About::Item });
    let ids = sent.ids.iter().map(move |name| {
        let turn = if is_certain(name) { Turn::Added } else { Turn::AddedUnclear };
        Notice { name: *name, context: Some(of_ids.clone()), about: About::Id(turn) }
    });
    notices.chain(ids)
}

/// The notices in a message on the companion channel of this name, up to the first one that is not of the right form or not proven.
pub fn notices<'a>(
    channel: &'a [u8],
    mut message: &'a [u8],
    keys: &'a ContextKeys,
) -> impl Iterator<Item = Notice> + use<'a> {
    let place = Place { channel, carrier: Carrier::Trailer, keys };
    core::iter::from_fn(move || {
        let (len, rest) = message.split_first_chunk::<LEN_LEN>()?;
        let len = usize::from(u16::from_be_bytes(*len));
        let (notice, rest) = rest.split_at_checked(NAME_LEN + len)?;
        message = rest;
        let read = read(notice, &place);
        if read.is_none() {
            message = &[];
        }
        read
    })
}

fn read(notice: &[u8], place: &Place<'_>) -> Option<Notice> {
    let (name, context) = notice.split_first_chunk::<NAME_LEN>()?;
    let name = TraceId::from_bytes(*name)?;
    if context.is_empty() {
        return Some(Notice { name, context: None, about: About::Item });
    }
    let Added { range, context: Some(context), form: Carrier::Trailer, .. } = find_added(notice, place)? else {
        return None;
    };
    let about = About::read(notice.get(NAME_LEN..range.start)?)?;
    Some(Notice { name, context: Some(context), about })
}

#[cfg(test)]
mod tests;
