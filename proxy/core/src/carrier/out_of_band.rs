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
//! **A message** may be published again with the same bytes. So each of its notices, which always have a context, has these 13 bytes
//! between the name and the context. The MAC covers them as well:
//!
//! | bytes | content |
//! |---|---|
//! | 1 | `m` |
//! | 8 | a random number of the client connection that has published it, not 0 |
//! | 4 | the number of the publish on that connection, big-endian. It grows with each publish of which anything may be told |
//!
//! A notice of the same publish may come more than once: by several companion channels, or again because the connection of the proxy that tells
//! was lost. These 13 bytes are the same in all of them.
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
/// item or for the message. Of a message they are told only if Redis has answered that somebody has received it: what is told has been
/// executed, in the order of its connection.
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
mod tests {
    use alloc::{format, vec};

    use super::*;
    use crate::trace::SpanContext;

    const CHANNEL: &str = "__redistributed:context:1:00000000000000ff";

    fn context(id: u8) -> Context {
        let text = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902{id:02x}-01");
        SpanContext::parse_traceparent(text.as_bytes()).unwrap().into()
    }

    fn name(id: u8) -> TraceId {
        TraceId::from_bytes([id; 16]).unwrap()
    }

    fn message(all: &[Notice], keys: &ContextKeys) -> Vec<u8> {
        let mut message = Vec::new();
        all.iter().for_each(|notice| notice.write(CHANNEL.as_bytes(), keys, &mut message));
        message
    }

    #[test]
    fn what_one_proxy_writes_another_one_reads_if_it_has_the_key() {
        let with_state = Context { trace_state: Some("vendor=1".into()), ..context(2) };
        let all = vec![
            Notice { name: name(1), context: Some(context(1)), about: About::Item },
            Notice { name: name(2), context: None, about: About::Item },
            Notice { name: name(3), context: Some(with_state), about: About::Item },
        ];
        let read = |message: &[u8], keys: &ContextKeys| notices(CHANNEL.as_bytes(), message, keys).collect::<Vec<_>>();
        let (none, key, other) = (ContextKeys::default(), ContextKeys::new(["key"]), ContextKeys::new(["other"]));
        let plain = message(&all, &none);
        assert_eq!((read(&plain, &none), plain.len()), (all.clone(), 59 + 18 + 59 + 13));
        let signed = message(&all, &key);
        assert_eq!(read(&signed, &key), all);
        assert_eq!(read(&signed, &ContextKeys::new(["new", "key"])), all);
        assert_eq!((read(&signed, &other), read(&plain, &key)), (vec![], vec![]));
        // A notice belongs to one item on one channel.
        assert_eq!(notices(b"__redistributed:context:1:00000000000000fe", &signed, &key).count(), 0);
        let mut moved = signed.clone();
        moved[LEN_LEN] ^= 1;
        assert_eq!(read(&moved, &key), []);
        for len in 0..plain.len() {
            let whole = [59, 77].iter().filter(|end| **end <= len).count();
            assert_eq!(read(&plain[..len], &none), all[..whole], "what is cut off is passed over");
        }
    }

    #[test]
    fn a_companion_channel_is_told_by_its_name() {
        let of = |kind, name: &str| CompanionChannel::Messages(kind, name.as_bytes().into());
        for (companion, name) in [
            (CompanionChannel::Key(Companion(255)), CHANNEL),
            (of(MessagesOf::Channel, "orders:1"), "__redistributed:message:1:c:orders:1"),
            (of(MessagesOf::ShardChannel, ""), "__redistributed:message:1:s:"),
            (of(MessagesOf::Pattern, "a*"), "__redistributed:message:1:p:a*"),
        ] {
            assert_eq!(companion.name(), name.as_bytes());
            assert_eq!(CompanionChannel::of_name(name.as_bytes()), Some(companion));
        }
        for other in
            ["orders", "__redistributed:message:1:", "__redistributed:message:1:x:a", "__redistributed:message:2:c:a"]
        {
            assert_eq!(CompanionChannel::of_name(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn a_span_tells_of_each_of_its_items_unless_it_has_failed_or_has_told() {
        use crate::trace::{ErrorType, Sent, UnixNanos};
        let item = |id| SpanContext { trace_id: name(id), ..context(9).span };
        let companion = Some(Companion(7));
        let sent = Sent { items: vec![item(1), item(2)], repeated: vec![name(2)], companion, ..Sent::default() };
        let span = |sent: &Sent, context| SpanRecord::new(context, UnixNanos(1), Operation::Send(sent.clone().into()));
        let told = |span: &SpanRecord| {
            let (companion, notices) = notices_of(span)?;
            Some((companion, notices.map(|notice| (notice.name, notice.context.map(|context| context.span))).collect()))
        };
        let own = context(5).span;
        let both: Option<(_, Vec<_>)> =
            Some((CompanionChannel::Key(Companion(7)), vec![(name(1), Some(own)), (name(2), None)]));
        assert_eq!(told(&span(&sent, own)), both);
        let failed = SpanRecord { error: Some(ErrorType::named("WRONGTYPE")), ..span(&sent, own) };
        assert_eq!(told(&failed), None);
        assert_eq!(told(&span(&Sent { is_told: true, ..sent.clone() }, own)), None);
        assert_eq!(told(&span(&Sent { companion: None, ..sent }, own)), None);
        let named = Sent { is_named_by_item: true, companion, ..Sent::default() };
        assert_eq!(
            told(&span(&named, item(1))),
            Some((CompanionChannel::Key(Companion(7)), vec![(name(1), Some(item(1)))]))
        );
    }

    #[test]
    fn what_happens_to_an_id_is_told_and_proven_with_its_name() {
        let context = context(5);
        let by = context.span.span_id;
        let sent = crate::trace::Sent {
            ids: vec![name(1), name(2)],
            repeated: vec![name(2)],
            companion: Some(Companion(7)),
            ..Default::default()
        };
        let span = SpanRecord::new(context.span, crate::trace::UnixNanos(1), Operation::Send(sent.into()));
        let mut all: Vec<_> = notices_of(&span).unwrap().1.collect();
        let turns: Vec<_> = all.iter().map(|notice| (notice.name, notice.about)).collect();
        assert_eq!(turns, [(name(1), About::Id(Turn::Added)), (name(2), About::Id(Turn::AddedUnclear))]);
        assert!(all.iter().all(|notice| notice.context.as_ref() == Some(&context) && !notice.is_taken_by(by)));
        all.push(Notice::of_taken(name(3), by));
        assert!(all[2].is_taken_by(by) && !all[2].is_taken_by(SpanId::from_u64(1).unwrap()));
        for keys in [ContextKeys::default(), ContextKeys::new(["key"])] {
            let signed = message(&all, &keys);
            let read = |message: &[u8]| notices(CHANNEL.as_bytes(), message, &keys).collect::<Vec<_>>();
            assert_eq!(read(&signed), all);
            let mut other = signed.clone();
            other[LEN_LEN + NAME_LEN] = b't';
            let is_proven = !keys.is_empty();
            assert_eq!(read(&other).is_empty(), is_proven, "a turn cannot be changed where there are keys");
            other[LEN_LEN + NAME_LEN] = b'x';
            assert_eq!(read(&other), []);
        }
    }

    #[test]
    fn which_publish_a_message_comes_from_is_told_byte_by_byte_and_proven_with_its_name() {
        let connection = SpanId::from_u64(0x0102_0304_0506_0708).unwrap();
        let of = |number| About::Message(PublishNumber { connection, number });
        let all = [7, u32::MAX].map(|number| Notice { name: name(1), context: Some(context(1)), about: of(number) });
        for keys in [ContextKeys::default(), ContextKeys::new(["key"])] {
            let written = message(&all, &keys);
            assert_eq!(written[LEN_LEN + NAME_LEN..][..MESSAGE_LEN], *b"m\x01\x02\x03\x04\x05\x06\x07\x08\0\0\0\x07");
            let read = |message: &[u8]| notices(CHANNEL.as_bytes(), message, &keys).collect::<Vec<_>>();
            assert_eq!(read(&written), all);
            for at in 0..MESSAGE_LEN {
                let mut other = written.clone();
                other[LEN_LEN + NAME_LEN + at] ^= 1;
                // Without keys, only the letter can be told from another one.
                assert_eq!(read(&other).is_empty(), at == 0 || !keys.is_empty(), "{at}");
            }
        }
        let mut nobody = message(&all[..1], &ContextKeys::default());
        nobody[LEN_LEN + NAME_LEN + 1..][..8].fill(0);
        assert_eq!(notices(CHANNEL.as_bytes(), &nobody, &ContextKeys::default()).count(), 0, "no connection is 0");
        for len in [2, 12, 14] {
            assert_eq!(About::read(&[b'm'; 14][..len]), None);
        }
    }

    #[test]
    fn what_is_not_of_this_form_is_passed_over() {
        let none = ContextKeys::default();
        let notice =
            |context: &[u8]| [&u16::try_from(context.len()).unwrap().to_be_bytes()[..], &[7; 16], context].concat();
        let mut trailer = Vec::new();
        super::super::trailer::write(&context(1), &mut trailer);
        assert_eq!(notices(CHANNEL.as_bytes(), &notice(&trailer), &none).count(), 1);
        let too_long = [&b"x"[..], &trailer].concat();
        for context in [&b"x"[..], &trailer[1..], &trailer[..trailer.len() - 1], &too_long] {
            assert_eq!(notices(CHANNEL.as_bytes(), &notice(context), &none).count(), 0);
        }
        assert_eq!(notices(CHANNEL.as_bytes(), &[0; 18], &none).count(), 0, "no item has such a name");
    }

    #[test]
    fn a_companion_follows_from_the_database_and_the_key_as_other_languages_compute_it() {
        // Python: hmac.new(key, b"redistributed/q\0" + (2).to_bytes(4, "big") + b"orders", "sha256").hexdigest()[:16]
        let (none, key) = (ContextKeys::default(), ContextKeys::new(["fleet"]));
        let companion = |database, keys| companion(database, b"orders", keys).unwrap();
        assert_eq!(companion(2, &none), Companion(0x3ca4b3886837180e));
        assert_eq!(companion(2, &key), Companion(0xb1581ed9fbf5defc));
        assert_ne!(companion(2, &none), companion(3, &none));
    }
}
