//! A finished span as plain data. What it is called and which attributes it gets is the exporter's business.
//!
//! Nothing here can hold a payload, a key or an argument: the only text is the channel, a subscription's pattern,
//! a command's name and the leading word of a Redis error.

use alloc::sync::Arc;
use core::fmt;

use super::context::{SpanContext, SpanId};
use crate::counts::Counter;

/// Nanoseconds since the Unix epoch, as OTLP counts them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct UnixNanos(pub u64);

/// One span.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanRecord {
    /// Its own identity.
    pub context: SpanContext,
    /// The parent in the same trace; it always came from outside this process.
    pub parent: Option<SpanId>,
    /// The span that this one follows in another trace (`--relation link`).
    pub link: Option<SpanContext>,
    /// W3C `tracestate` that came with the parent.
    pub trace_state: Option<Arc<str>>,
    /// When the publish or the command was read, or the message came from Redis.
    pub start: UnixNanos,
    /// When Redis's reply was read, or the message had been written to the subscriber.
    pub end: UnixNanos,
    /// Set if it failed; the span's status is then Error, otherwise Unset.
    pub error: Option<ErrorType>,
    /// What happened.
    pub operation: Operation,
    /// What was done to the message.
    pub handling: Handling,
}

impl SpanRecord {
    /// One of `operation` that begins a trace, begins and ends at `start`, and has not failed.
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
        }
    }

    /// Whether it is a span for an exporter. Otherwise it was made for who watches messages.
    pub fn is_exported(&self) -> bool {
        self.context.flags.is_sampled()
    }
}

/// What was done to a message, for who watches messages. No exporter tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handling {
    /// How its payload was changed.
    pub payload: Change,
    /// It has no span, sampled or not: the record's span id stands for nothing, and without a parent its trace id neither.
    pub untraced: bool,
}

/// How a payload was changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Change {
    /// It was delivered as it came.
    #[default]
    None,
    /// A context was added, or took the place of the one that was there.
    Injected,
    /// Its context was removed.
    Stripped,
    /// It was published as it came, and why.
    Skipped(Counter),
}

/// What a span tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// PRODUCER: from a `PUBLISH` or `SPUBLISH` to Redis's reply.
    Publish {
        /// The channel; bytes that are not UTF-8 are replaced by U+FFFD.
        channel: Arc<str>,
        /// `SPUBLISH`.
        sharded: bool,
        /// How many subscriptions on that Redis node got it. Absent after an error, under `CLIENT REPLY OFF|SKIP`,
        /// and where the reply could not be told from others.
        receivers: Option<u64>,
        /// The payload's length in bytes, as the service sent it.
        body_size: u64,
    },
    /// CONSUMER: from a message's arrival to its hand-over to the subscriber.
    Deliver {
        /// The channel; bytes that are not UTF-8 are replaced by U+FFFD.
        channel: Arc<str>,
        /// The pattern of a `pmessage`.
        pattern: Option<Arc<str>>,
        /// `smessage`.
        sharded: bool,
        /// The payload's length in bytes, as the subscriber gets it.
        body_size: u64,
    },
    /// CLIENT: any other command (`--commands all`), from the request to its reply.
    Command {
        /// The command's name as it was sent, without arguments; [`UNKNOWN_COMMAND`] if there is no such command, or if
        /// it ended without a reply that would have said so.
        /// `MULTI` or, if all queued commands are the same one, `MULTI` and its name stand for a whole transaction.
        name: Arc<str>,
        /// The selected database.
        database: u32,
        /// Queued commands of a transaction, if two or more.
        batch_size: Option<u64>,
    },
}

/// The name of what Redis does not know as a command: the word could be anything, a piece of a payload for example.
pub const UNKNOWN_COMMAND: &str = "_OTHER";

/// Longest `error.type`, in bytes.
const MAX_ERROR_TYPE: usize = 32;

/// A low-cardinality name for a failure (`error.type` of the semantic conventions): the leading word of a Redis
/// error, such as `WRONGTYPE`. The rest of an error line quotes arguments and is never kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorType(Arc<str>);

impl ErrorType {
    /// The subscriber's connection ended before the message had been written to it.
    pub const CLIENT_CLOSED: &'static str = "client_closed";
    /// The connection ended before Redis's answer was read.
    pub const CONNECTION_CLOSED: &'static str = "connection_closed";
    /// A transaction was discarded or aborted, so that the queued publish never ran.
    pub const NOT_EXECUTED: &'static str = "not_executed";
    /// What does not look like a Redis error prefix (semantic conventions: `_OTHER`).
    pub const OTHER: &'static str = "_OTHER";

    /// From an error line without its leading `-`. Redis's convention is a first word in capitals; anything else,
    /// which a script could have made of its arguments, becomes `_OTHER`.
    pub fn from_redis_error(line: &[u8]) -> Self {
        let word = line.split(|&b| b == b' ' || b == b'\r').next().unwrap_or_default();
        let looks_right = !word.is_empty() && word.len() <= MAX_ERROR_TYPE && word.iter().all(u8::is_ascii_uppercase);
        match core::str::from_utf8(word) {
            Ok(word) if looks_right => Self(word.into()),
            _ => Self::named(Self::OTHER),
        }
    }

    /// One of the names above.
    pub fn named(name: &'static str) -> Self {
        Self(name.into())
    }

    /// The text.
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
