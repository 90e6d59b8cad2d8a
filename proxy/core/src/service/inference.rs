//! What caused a command, as far as it can be inferred (`--follow`).
//!
//! A session sees one connection, and a cause comes on another. The service has the events of all of its connections, and a
//! session asks it through [`Inference`].

use alloc::vec::Vec;
use core::fmt::Debug;

use super::entry::{ObservedAck, PendingEntry};
use crate::resp::Values;
use crate::trace::{CommandId, Companion, Context, SpanContext, SpanId, TraceId, UnixNanos};

/// Most arguments of a command that are looked at.
pub const MAX_ARGUMENTS: usize = 6;

/// Most values of a reply that are looked at.
pub const MAX_VALUES: usize = 16;

/// Infers what caused the commands of one connection.
///
/// It is told of commands, replies, messages and what queues hand over in their order, before they are passed on. It is not told
/// of inline commands, of commands that block without handing anything over, and of those that change the protocol, the database
/// or the subscriptions, and of their replies.
pub trait Inference: Debug + Send {
    /// The client has sent a command that is answered at once, or begins or ends a transaction.
    fn command(&mut self, now: UnixNanos, command: &ObservedCommand<'_>) -> Attribution;

    /// The client has sent a command that takes items out of a list, a sorted set or a stream. Returns what its reply is.
    fn reads(&mut self, now: UnixNanos, read: &ObservedRead<'_>) -> Reading;

    /// The reply to a command that reads from a queue has handed an item over. Returns the span of the first delivery, if the
    /// item is an entry that was delivered before, and that is remembered.
    fn handed_over(&mut self, now: UnixNanos, item: &ObservedItem<'_>) -> Option<SpanContext>;

    /// The client has sent a command that acknowledges entries of a stream.
    fn acknowledged(&mut self, now: UnixNanos, ack: &ObservedAck<'_>);

    /// A reply has handed items over that were not told.
    fn missed(&mut self, now: UnixNanos);

    /// The context of this span has been added to a publish.
    fn injected(&mut self, publish: CommandId, span: SpanId);

    /// Redis has answered a command. Returns the spans of those who have written what was read, if they are known for certain.
    fn replied(&mut self, now: UnixNanos, command: CommandId, values: Bulks<'_, MAX_VALUES>) -> Vec<SpanContext>;

    /// Whether no other item with this span, which follows from what names it, has passed in this way. Where it is not known, it counts
    /// as the first.
    fn is_first(&mut self, _item: SpanId, _passage: Passage) -> bool {
        true
    }

    /// An item with this span, which was [the first](Self::is_first) to be added, was not added after all.
    fn not_added(&mut self, _item: SpanId) {}

    /// The span with this id adds an element that is nothing but an id. Returns whether no earlier addition of it is still in
    /// the queue, as far as that is known.
    fn adds_id(&mut self, _now: UnixNanos, _item: &NamedItem, _by: SpanId) -> bool {
        false
    }

    /// An element of this name, which [was to be added](Self::adds_id), was not added after all.
    fn id_not_added(&mut self, _name: TraceId) {}

    /// The client waits for items at the key with this companion, or takes them from there. Other proxies tell their contexts
    /// there.
    fn listens(&mut self, _companion: Companion) {}

    /// What other proxies have told of the context of an item that is about to be handed over. It is asked once for each item that
    /// carries none.
    fn told(&mut self, _now: UnixNanos, _item: &NamedItem) -> Told {
        Told::Nothing
    }

    /// The client waits for an item at these keys of lists or sorted sets.
    fn waits(&mut self, _now: UnixNanos, _database: u32, _keys: Bulks<'_, MAX_VALUES>) {}

    /// Whether a client of the service has waited for an item at this key of a list or a sorted set, as far as that is remembered.
    fn is_waited_for(&mut self, _now: UnixNanos, _database: u32, _key: &[u8]) -> bool {
        false
    }

    /// Whether other proxies may tell the contexts of messages that carry none.
    fn hears_of_messages(&self) -> bool {
        false
    }

    /// The client has begun a subscription.
    fn subscribed(&mut self, _now: UnixNanos) {}

    /// The client has ended a subscription, or messages that it gets may not be told any more.
    fn unsubscribed(&mut self, _now: UnixNanos) {}

    /// A message is delivered to the client.
    fn delivered(&mut self, now: UnixNanos, delivery: &ObservedDelivery<'_>);
}

/// A command, as far as it was kept: the first [`MAX_ARGUMENTS`] arguments that are complete in its first 4 KiB, or all of them
/// if it came in one read.
#[derive(Clone, Copy, Debug)]
pub struct ObservedCommand<'a> {
    /// The command's name, as it was sent.
    pub name: &'a [u8],
    /// The number of the database that the command is executed in, unless a `SELECT` before it is refused.
    pub database: u32,
    /// The first arguments, without the command's name.
    pub arguments: Bulks<'a, MAX_ARGUMENTS>,
}

/// A command that takes items out of a list, a sorted set or a stream.
#[derive(Clone, Copy, Debug)]
pub struct ObservedRead<'a> {
    /// The first key that it names.
    pub key: &'a [u8],
    /// Whether it takes work for certain: it waits for it, or is an `XREADGROUP` of new entries. Another command may look
    /// something up as well.
    pub takes_work: bool,
}

/// What the reply to a command is that takes items out of a list, a sorted set or a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// The items are work that the service begins. Where its reply is reported, the command is called so.
    Work(CommandId),
    /// The reply is what a request or a message in work waits for. It is reported like that to any other command.
    Reply(CommandId),
    /// Nothing is known of it, so that the command is like any other.
    Other,
}

/// The way in which an item passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// The service adds the item to a queue.
    Added,
    /// The service takes the item out of a queue.
    Taken,
}

/// An item that other proxies may tell the context of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedItem {
    /// What names it: the trace id that follows from it.
    pub name: TraceId,
    /// The companion of the key that it was taken from.
    pub companion: Companion,
    /// Whether several may take the item, as the entry of a stream. Who takes an element of a list is the only one.
    pub is_shared: bool,
    /// Whether the item is nothing but an id, which may be added again.
    pub is_id: bool,
}

/// What other proxies have told of the context of an item.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// The context of the span that has added the item.
    Context(Context),
    /// Nothing yet. If the context comes soon, the span of the item moves to its trace.
    NothingYet,
    /// Nothing, and nothing is awaited.
    Nothing,
}

/// A message that carries no context, and that other proxies may tell the context of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedMessage<'a> {
    /// What names it: the trace id that follows from it.
    pub name: TraceId,
    /// Whether its payload holds an id, so that other messages hardly have the same bytes.
    pub holds_id: bool,
    /// The pattern that it is delivered for. A connection gets a message once for each pattern.
    pub pattern: Option<&'a [u8]>,
    /// The span of the delivery, if its context comes.
    pub span: SpanContext,
    /// The context that follows from what names it, if its payload holds an id besides other bytes.
    pub derived: Option<SpanContext>,
}

/// An item that a queue or a stream hands over to the client.
#[derive(Clone, Debug)]
pub struct ObservedItem<'a> {
    /// The span of the item. If it has none, no other span has this id.
    pub id: SpanId,
    /// What the spans that it causes descend from. `None` if the item is not traced.
    pub context: Option<&'a Context>,
    /// The key that it was taken from.
    pub key: &'a [u8],
    /// The id of an entry of a stream. It is empty for others.
    pub entry: &'a [u8],
    /// What it says: the item, or the values of the entry's fields.
    pub values: Bulks<'a, MAX_VALUES>,
    /// What its acknowledgement will name, if it is an entry that waits for one.
    pub pending: Option<PendingEntry<'a>>,
    /// What names it to other proxies, if one of them may still tell its context ([`Told::NothingYet`]).
    pub awaits: Option<NamedItem>,
}

/// A message that is delivered to the client.
#[derive(Clone, Debug)]
pub struct ObservedDelivery<'a> {
    /// The span of the delivery. If it has none, no other span has this id.
    pub id: SpanId,
    /// What the spans that it causes descend from. `None` if the delivery is not traced.
    pub context: Option<&'a Context>,
    /// The publish that the message comes from, if its context says so.
    pub publish: Option<SpanContext>,
    /// The channel. It is empty if its name is too long.
    pub channel: &'a [u8],
    /// The payload as the client gets it. It is empty if it is too long to be read.
    pub payload: &'a [u8],
    /// What names it to other proxies, if one of them may tell its context.
    pub awaits: Option<NamedMessage<'a>>,
}

/// What is known of the cause of a command at the moment when it is passed on. A command that a client sends for itself has none.
#[derive(Clone, Debug, Default)]
pub struct Attribution {
    /// What the command is called where its reply is reported. `None` if its reply is not wanted.
    pub command: Option<CommandId>,
    /// The cause, if it is certain and is traced, and the rule by which it was found.
    pub cause: Option<(Context, &'static str)>,
    /// The causes of a batch, or the few of which one is the cause. There is no single `cause` then.
    pub links: Vec<SpanContext>,
    /// Whether the cause may become known later.
    pub is_undecided: bool,
}

/// Up to `N` byte strings. Further ones are left out.
#[derive(Clone, Copy, Debug)]
pub struct Bulks<'a, const N: usize> {
    items: [&'a [u8]; N],
    len: usize,
}

impl<'a, const N: usize> Bulks<'a, N> {
    /// The first `N` of these.
    pub fn new(all: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut bulks = Self { items: [&[]; N], len: 0 };
        all.into_iter().take(N).for_each(|item| bulks.push(item));
        bulks
    }

    /// The arguments of a request in RESP, without its name. It may be cut off.
    pub fn of_request(request: &'a [u8]) -> Self {
        Self::new(Values::new(request).skip(1))
    }

    /// The values of a reply in RESP, however they are nested. It may be cut off.
    pub fn of_reply(reply: &'a [u8]) -> Self {
        Self::new(Values::new(reply))
    }

    /// Adds a string, if there is room for it.
    pub(crate) fn push(&mut self, item: &'a [u8]) {
        if let Some(place) = self.items.get_mut(self.len) {
            *place = item;
            self.len += 1;
        }
    }

    /// The strings that were kept, in their order.
    pub fn as_slice(&self) -> &[&'a [u8]] {
        self.items.get(..self.len).unwrap_or_default()
    }
}
