//! A finished span as plain data. The exporter decides about its name and its attributes.
//!
//! No record can hold a payload, a key or an argument. Its only texts are the channel, a subscription's pattern,
//! a command's name, the operator's template of a key, a consumer group, the leading word of a Redis error, and what [`Request`] lists of an HTTP
//! request's head.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use super::cause::Inferred;
use super::cause::ToldMessage;
use super::companion::Companion;
use super::context::{SpanContext, SpanId, TraceId};
use super::destination::Destination;
use super::request::Request;
use super::time::UnixNanos;
use crate::counts::Counter;

/// A span of a publish, a delivery, an item of a queue, another command or an HTTP request.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanRecord {
    /// The identity of the span.
    pub context: SpanContext,
    /// The parent in the same trace. It always comes from outside this process.
    pub parent: Option<SpanId>,
    /// The span that this one follows in another trace (`--relation link`).
    pub link: Option<SpanContext>,
    /// The W3C `tracestate` that came with the parent, or with the span that is linked to.
    pub trace_state: Option<Arc<str>>,
    /// When the publish, the command or the request was read, or when the message arrived from Redis.
    pub start: UnixNanos,
    /// When Redis's reply was read, or when the message or the response had been written.
    pub end: UnixNanos,
    /// Why the operation failed, if it did. The span's status is then Error, otherwise Unset.
    pub error: Option<ErrorType>,
    /// The operation that the span describes.
    pub operation: Operation,
    /// How the proxy handled the message.
    pub handling: Handling,
    /// What following causes adds, if anything.
    pub inferred: Option<Box<Inferred>>,
}

impl SpanRecord {
    /// A span of `operation` that has no parent, begins and ends at `start`, and has not failed.
    pub fn new(context: SpanContext, start: UnixNanos, operation: Operation) -> Self {
        Self {
            context,
            parent: None,
            link: None,
            trace_state: None,
            start,
            end: start,
            error: None,
            operation,
            handling: Handling::default(),
            inferred: None,
        }
    }

    /// Whether the span is for an exporter. A record that is not was made for those who watch messages.
    pub fn is_exported(&self) -> bool {
        self.context.flags.is_sampled() && !self.needs_context()
    }

    /// Whether the span is nobody's unless another proxy tells the context of its message ([`Inferred::needs_context`]).
    pub fn needs_context(&self) -> bool {
        self.inferred.as_ref().is_some_and(|inferred| inferred.needs_context)
    }

    /// Whether other proxies are to be told the context of the span, and have not been told yet.
    pub fn is_to_be_told(&self) -> bool {
        let of_items = matches!(&self.operation, Operation::Send(sent) if sent.companion.is_some() && !sent.is_told);
        of_items || self.told_message().is_some_and(|message| !message.is_told)
    }

    /// Whether other proxies were told the context of the span, so that it cannot change any more.
    pub fn is_told(&self) -> bool {
        let of_items = matches!(&self.operation, Operation::Send(sent) if sent.is_told);
        of_items || self.told_message().is_some_and(|message| message.is_told)
    }

    /// Notes that other proxies were told the context of the span.
    pub fn mark_told(&mut self) {
        if let Operation::Send(sent) = &mut self.operation {
            sent.is_told = true;
        }
        if let Some(message) = self.inferred.as_mut().and_then(|inferred| inferred.message.as_mut()) {
            message.is_told = true;
        }
    }

    /// The context that follows from what names the message that the span has published, if something does and the span is in
    /// another trace.
    pub fn link_of_message(&self) -> Option<&SpanContext> {
        let derived = self.told_message()?.derived.as_ref();
        derived.filter(|derived| derived.trace_id != self.context.trace_id)
    }

    /// The message that the span has published, if its context goes beside it.
    pub fn told_message(&self) -> Option<&ToldMessage> {
        self.inferred.as_ref()?.message.as_deref()
    }
}

/// How the proxy handled a message, for those who watch messages. Exporters tell of it only why a publish got no context.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handling {
    /// How the payload was changed.
    pub payload: Change,
    /// Whether the message has no span at all, not even one that is not sampled. The record's span id then means nothing,
    /// and without a parent its trace id means nothing either.
    pub untraced: bool,
}

/// How a payload was changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Change {
    /// The payload was delivered as it came.
    #[default]
    None,
    /// A context was added, or replaced the one that the payload carried.
    Injected,
    /// The context in the payload was removed.
    Stripped,
    /// The payload was published as it came, for the reason that this counter names.
    Skipped(Counter),
}

/// The operation that a span describes.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// A PRODUCER span, from a `PUBLISH` or `SPUBLISH` to Redis's reply.
    Publish {
        /// The channel to which the message was published.
        channel: Destination,
        /// Whether the command is `SPUBLISH`.
        sharded: bool,
        /// How many subscriptions on that Redis node got the message. Absent after an error, under `CLIENT REPLY
        /// OFF|SKIP`, and where the reply could not be told from others.
        receivers: Option<u64>,
        /// The payload's length in bytes, as the service sent it.
        body_size: u64,
    },
    /// A CONSUMER span, from the arrival of a message until it has been written to the subscriber.
    Deliver {
        /// The channel to which the message had been published.
        channel: Destination,
        /// The pattern that the subscriber gets the message for, if it is a `pmessage`.
        pattern: Option<Arc<str>>,
        /// Whether the message is an `smessage`.
        sharded: bool,
        /// The payload's length in bytes, as the subscriber gets it.
        body_size: u64,
    },
    /// A CONSUMER span of an item that a list, a sorted set or a stream has handed over, from its arrival until it has been written
    /// to the service, or until the last work that it is known to have caused.
    Item {
        /// The template of the key that the item was taken from ([`Policy::key_templates`](crate::Policy::key_templates)). The
        /// key itself is never told.
        queue: Option<Arc<str>>,
        /// The consumer group that the entry of a stream was handed over to.
        group: Option<Arc<ConsumerGroup>>,
        /// The id of an entry of a stream: two numbers.
        id: Option<Arc<str>>,
        /// The item's length in bytes, or that of an entry's fields with their names.
        body_size: u64,
    },
    /// A PRODUCER span of a command that adds items to a list, a sorted set or a stream, from the request to its reply.
    Send(Box<Sent>),
    /// A CLIENT span of any other command (`--commands all`), from the request to its reply.
    Command {
        /// The command's name as it was sent, without arguments.
        ///
        /// It is [`UNKNOWN_COMMAND`] if there is no such command, or if no reply has shown that there is one. A whole
        /// transaction is called `MULTI`, followed by the name of its commands if they are all the same.
        name: Arc<str>,
        /// The name and the template of the first key ([`Policy::key_templates`](crate::Policy::key_templates)), as in
        /// `SET report:*`. `None` if no template matches the key, or if the commands of a transaction have several of them.
        summary: Option<Arc<str>>,
        /// The number of the selected database.
        database: u32,
        /// The number of queued commands of a transaction, if there are two or more.
        batch_size: Option<u64>,
    },
    /// A SERVER span, from an HTTP request's first byte until the last one of its response has been written to the client.
    Request(Box<Request>),
}

/// What was added to a list, a sorted set or a stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sent {
    /// The template of the key that the items were added to ([`Policy::key_templates`](crate::Policy::key_templates)). The key
    /// itself is never told.
    pub queue: Option<Arc<str>>,
    /// The id of the entry of a stream: two numbers.
    pub id: Option<Arc<str>>,
    /// The number of items.
    pub count: u64,
    /// The length of all items in bytes, with the names of an entry's fields.
    pub body_size: u64,
    /// The contexts that follow from what names the items, where the span has another one. The spans of those who take the items
    /// have links to them, too.
    pub items: Vec<SpanContext>,
    /// Whether the only item carries a context. Then nobody looks for the one that follows from what names it.
    pub carries_context: bool,
    /// Whether the span has the context that follows from what names its only item.
    pub is_named_by_item: bool,
    /// The number of the entry of a stream among those of its connection, until the reply has brought its id.
    pub entry: Option<u32>,
    /// The companion of the key, if other proxies are told the context of the span for each item that is named
    /// ([`Policy::tells_contexts`](crate::Policy::tells_contexts)).
    pub companion: Option<Companion>,
    /// The names of those items that are nothing but an id. They are only told: no context follows from them.
    pub ids: Vec<TraceId>,
    /// Those of the items that were added before, by the trace ids that follow from what names them. Of ids, those whose
    /// addition before may still be in the queue.
    pub repeated: Vec<TraceId>,
    /// Whether other proxies were told, so that the context of the span cannot change any more.
    pub is_told: bool,
}

/// Who gets an entry of a stream that is read for a consumer group. The same is shared by all entries of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerGroup {
    /// The name of the group.
    pub name: Box<str>,
    /// The name of the consumer within the group. `None` if it is empty, or not UTF-8.
    pub consumer: Option<Box<str>>,
}

/// The name of a command that Redis does not know. Its own word could be anything, such as a piece of a payload.
pub const UNKNOWN_COMMAND: &str = "_OTHER";

/// Longest `error.type`, in bytes.
const MAX_ERROR_TYPE: usize = 32;

/// A name of low cardinality for a failure (`error.type` of the semantic conventions): one of the constants here, the
/// leading word of a Redis error, such as `WRONGTYPE`, or the status of an HTTP response. The rest of an error line may quote arguments and is never kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorType(Arc<str>);

impl ErrorType {
    /// The client's connection ended before the message or the response had been written to it.
    pub const CLIENT_CLOSED: &'static str = "client_closed";
    /// The connection ended before the reply of Redis, or the service's response, was read to its end.
    pub const CONNECTION_CLOSED: &'static str = "connection_closed";
    /// A transaction was discarded or aborted, so that the queued publish never ran.
    pub const NOT_EXECUTED: &'static str = "not_executed";
    /// The error does not begin like one of Redis (`_OTHER` of the semantic conventions).
    pub const OTHER: &'static str = "_OTHER";

    /// Reads an error line, without its leading `-`. By Redis's convention its first word is in capitals. Any other
    /// word, which a script could have made of its arguments, becomes [`ErrorType::OTHER`].
    pub fn from_redis_error(line: &[u8]) -> Self {
        let word = line.split(|&b| b == b' ' || b == b'\r').next().unwrap_or_default();
        let looks_right = !word.is_empty() && word.len() <= MAX_ERROR_TYPE && word.iter().all(u8::is_ascii_uppercase);
        match core::str::from_utf8(word) {
            Ok(word) if looks_right => Self(word.into()),
            _ => Self::named(Self::OTHER),
        }
    }

    /// The error type of a response with this status.
    pub fn from_status(status: u16) -> Self {
        Self(alloc::format!("{status}").into())
    }

    /// The error type with one of the names above.
    pub fn named(name: &'static str) -> Self {
        Self(name.into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ErrorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_type_is_the_prefix_and_never_the_text() {
        assert_eq!(ErrorType::from_redis_error(b"NOPERM this user has no permissions").as_str(), "NOPERM");
        assert_eq!(ErrorType::from_redis_error(b"ERR\r").as_str(), "ERR");
        for line in [&b"s3cret is wrong"[..], b"", b" ERR", b"\xff\xfe", b"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGH"] {
            assert_eq!(ErrorType::from_redis_error(line).as_str(), ErrorType::OTHER);
        }
    }
}
