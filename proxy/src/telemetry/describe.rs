//! What a span is called, and what is said of it in more than one place, so that the console, the collector and metrics show the
//! same names.

use redistributed_core::printable::printable_json;
use redistributed_core::trace::{Change, Destination, ErrorType, Operation, SpanContext, SpanRecord};

/// `messaging.system` and `db.system.name`.
pub(super) const REDIS: &str = "redis";

/// The port that what is told of a database leaves out.
pub(super) const REDIS_PORT: u16 = 6379;

/// The number of subscriptions on that Redis node that got a published message. The semantic conventions have no name for it.
pub const RECEIVERS: &str = "redis.pubsub.receivers";

/// `true` on the spans of sharded Pub/Sub (`SPUBLISH`, `smessage`), absent otherwise.
pub const SHARDED: &str = "redis.pubsub.sharded";

/// Why no context was added to the message of a publish: the label `reason` of `redistributed_skipped_total`. Absent if one was
/// added. Deliveries of a message without a context are not in the trace.
pub const SKIPPED: &str = "redistributed.context.skipped";

/// The rule by which the parent or the link of a span was inferred (`--follow`). Absent if a message carried it, or if there is none.
pub const CAUSE: &str = "redistributed.cause";

/// Whether the entry of a stream was acknowledged. Absent if none is due, or if it is not known whether it was.
pub(super) const ACKNOWLEDGED: &str = "redistributed.acknowledged";

/// `true` on the span of an entry that was delivered before, and was claimed; absent otherwise. The semantic conventions have no
/// name for it, only numbers of deliveries for single systems.
pub(super) const REDELIVERY: &str = "redistributed.redelivery";

/// What a link stands for, if it is none to a cause or a producer: [`WRITER`] or `first_delivery`.
pub const LINK: &str = "redistributed.link";

/// The value of [`LINK`] on a link to the request or message whose work has written what the command has read (`--link-writers`).
pub const WRITER: &str = "writer";

/// The value of [`LINK`] on a link from the span of a redelivery to that of the first delivery.
pub(super) const FIRST_DELIVERY: &str = "first_delivery";

/// The event of a delivery's span that says when the message had been written to the subscriber. It is there if the span lasts
/// longer, because of the work that the message has caused, or until it was acknowledged.
pub const HANDED_OVER: &str = "handed over";

/// The value of [`CAUSE`] on the span of `record`.
pub(super) fn cause(record: &SpanRecord) -> Option<&'static str> {
    record.inferred.as_ref().and_then(|inferred| inferred.rule)
}

/// The links of a span: that to its producer or its cause, those that are inferred, and those to the contexts that follow from what names
/// the items that were added or the message that was published.
pub(super) fn links(record: &SpanRecord) -> impl Iterator<Item = &SpanContext> {
    let items: &[SpanContext] = match &record.operation {
        Operation::Send(sent) => &sent.items,
        _ => &[],
    };
    let message = record.link_of_message();
    record.link.iter().chain(record.inferred.iter().flat_map(|inferred| &inferred.links)).chain(items).chain(message)
}

/// The spans of those who have written what the command has read.
pub(super) fn writers(record: &SpanRecord) -> &[SpanContext] {
    record.inferred.as_ref().map_or(&[], |inferred| &inferred.writers)
}

/// The value of [`ACKNOWLEDGED`] on the span of `record`.
pub(super) fn acknowledged(record: &SpanRecord) -> Option<bool> {
    record.inferred.as_ref().and_then(|inferred| inferred.is_acknowledged)
}

/// Whether the span of `record` is that of a redelivery.
pub(super) fn is_redelivery(record: &SpanRecord) -> bool {
    record.inferred.as_ref().is_some_and(|inferred| inferred.is_redelivery)
}

/// The span of the first delivery of what was delivered again.
pub(super) fn first_delivery(record: &SpanRecord) -> Option<&SpanContext> {
    record.inferred.as_ref().and_then(|inferred| inferred.first_delivery.as_ref())
}

/// The value of [`SKIPPED`] on the span of `record`.
pub(super) fn skipped(record: &SpanRecord) -> Option<&'static str> {
    match record.handling.payload {
        Change::Skipped(reason) => reason.label_value(),
        Change::None | Change::Injected | Change::Stripped => None,
    }
}

/// The role of a span, in the words of the semantic conventions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Producer,
    Consumer,
    Client,
    Server,
}

impl Kind {
    pub(super) fn of(record: &SpanRecord) -> Self {
        match record.operation {
            Operation::Publish { .. } | Operation::Send(_) => Self::Producer,
            Operation::Deliver { .. } | Operation::Item { .. } => Self::Consumer,
            Operation::Command { .. } => Self::Client,
            Operation::Request(_) => Self::Server,
        }
    }

    /// The name of the kind in OpenTelemetry.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Producer => "PRODUCER",
            Self::Consumer => "CONSUMER",
            Self::Client => "CLIENT",
            Self::Server => "SERVER",
        }
    }
}

/// `messaging.operation.name` of a publish, and the first word of its span's name.
pub(super) const PUBLISH: &str = "publish";

/// `messaging.operation.name` of a command that adds items to a queue or a stream, and the first word of its span's name.
pub(super) const SEND: &str = "send";

/// `messaging.operation.name` of a delivery and of an item of a queue, and the first word of its span's name.
pub(super) const PROCESS: &str = "process";

/// [`PROCESS`] in front of a destination.
const PROCESS_VERB: &str = "process ";

/// The two parts of a span's name: `{messaging.operation.name}`, with a space at its end if a `{destination}` follows,
/// or nothing and `{db.query.summary}`, otherwise `{db.operation.name}`, or `{http.request.method}` and `{http.route}`.
/// The destination is a channel's template, otherwise its name, or the template of a queue's key.
pub(super) fn span_name(record: &SpanRecord) -> (&'static str, &str) {
    fn of_channel<'a>(alone: &'static str, verb: &'static str, channel: &'a Destination) -> (&'static str, &'a str) {
        match channel.group() {
            "" => (alone, ""),
            group => (verb, group),
        }
    }
    match &record.operation {
        Operation::Publish { channel, .. } => of_channel(PUBLISH, "publish ", channel),
        Operation::Deliver { channel, .. } => of_channel(PROCESS, PROCESS_VERB, channel),
        Operation::Item { queue, .. } => queue.as_deref().map_or((PROCESS, ""), |queue| (PROCESS_VERB, queue)),
        Operation::Send(sent) => sent.queue.as_deref().map_or((SEND, ""), |queue| ("send ", queue)),
        Operation::Command { name, summary, .. } => ("", summary.as_deref().unwrap_or(name)),
        Operation::Request(request) => {
            let (alone, verb) = request.method.in_span_name();
            request.route.as_deref().map_or((alone, ""), |route| (verb, route))
        }
    }
}

/// Whether Redis itself said it; the other error types are the proxy's own words.
pub(super) fn is_of_redis(error: &ErrorType) -> bool {
    error.as_str().bytes().all(|byte| byte.is_ascii_uppercase())
}

/// `text` as a JSON string, fit for a person too.
pub fn quoted(text: &str) -> String {
    printable_json(&serde_json::Value::from(text).to_string()).into_owned()
}
