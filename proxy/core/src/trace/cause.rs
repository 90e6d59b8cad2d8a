//! What following causes adds to a span (`--follow`).

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::num::NonZeroU32;

use super::context::{SpanContext, SpanId, TraceId};
use super::time::UnixNanos;

/// A command among those of its connection that causes are inferred for. Numbers are used again after 2^32 commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CommandId(pub NonZeroU32);

/// Which publish a message comes from, among those whose contexts other proxies are told. A server executes what one connection
/// sends in that order, and each subscription gets the messages in the order in which they were executed. So of two publishes
/// with the same connection, the one with the lower number comes first everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublishNumber {
    /// A random number of the client connection.
    pub connection: SpanId,
    /// The number of the publish on that connection. It grows, and has gaps where nothing is told of a publish.
    pub number: u32,
}

/// A message whose context other proxies are told, because nothing is added to its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldMessage {
    /// The channel that it was published on.
    pub channel: Arc<[u8]>,
    /// Whether that is a shard channel.
    pub is_sharded: bool,
    /// What names the message to both of its ends.
    pub name: TraceId,
    /// Which publish it comes from.
    pub publish: PublishNumber,
    /// The context that follows from what names it, if its payload holds an id besides other bytes. The span is in its trace
    /// or has a link to it. So is the span of a delivery of which nothing was told, and has the link too.
    pub derived: Option<SpanContext>,
    /// The `baggage` of the parent, which is passed on.
    pub baggage: Option<Arc<str>>,
    /// Whether other proxies were told, so that the context of the span cannot change any more.
    pub is_told: bool,
}

/// What is inferred about the cause of a span, and about the work that it caused.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inferred {
    /// The rule by which the parent was found (`redistributed.cause`). `None` if the parent is not inferred, or there is none.
    pub rule: Option<&'static str>,
    /// The spans that are linked to: the causes of a batch, or the few of which one is the cause.
    pub links: Vec<SpanContext>,
    /// The spans of the requests and messages whose work has written what the command has read (`--link-writers`).
    pub writers: Vec<SpanContext>,
    /// The command, if its cause may still become known.
    pub undecided: Option<CommandId>,
    /// Whether another proxy may still tell the context of the item that is handed over, so that the span moves to its trace.
    pub awaits_context: bool,
    /// Whether the span is nobody's unless that context comes: without one, a message that carries no context has no span.
    pub needs_context: bool,
    /// What other proxies are told of the message that the span has published, if its context goes beside it.
    pub message: Option<Box<ToldMessage>>,
    /// When the message had been written to the subscriber, if the span of the delivery lasts longer because of the work that the
    /// message caused.
    pub handed_over: Option<UnixNanos>,
    /// Whether the entry of a stream that the span is about was acknowledged, so that the span ended with that, or was not in time.
    /// `None` if no acknowledgement is due, or if it is not known whether there was one.
    pub is_acknowledged: Option<bool>,
    /// Whether the entry of a stream was delivered before, and was claimed.
    pub is_redelivery: bool,
    /// The span of the first delivery of such an entry, if it is remembered.
    pub first_delivery: Option<SpanContext>,
}
