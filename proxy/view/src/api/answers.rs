//! Answers as JSON. Absolute times are texts of nanoseconds since the epoch, because JavaScript's numbers are too small for them;
//! all other times are microseconds.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Value, json};

use super::Receivers;
use crate::entry::{self, Channel, Entry};
use crate::forms::values::to_page;
use crate::ids::{span_text, trace_text};
use crate::proto::{self, Status};
use crate::store::{ChannelReport, Edge, Found, Graph, Kept, Node, Snapshot, SpanView, Summary, UntracedReport};

/// Nanoseconds as microseconds.
fn microseconds(nanoseconds: u64) -> Value {
    if nanoseconds.is_multiple_of(1_000) { (nanoseconds / 1_000).into() } else { (nanoseconds as f64 / 1_000.0).into() }
}

/// A transaction's summary as the page's list shows it, in JSON. Times are in microseconds, its start in nanoseconds as a text.
pub(super) fn summary(of: &Summary) -> Value {
    json!({
        "trace": trace_text(of.trace),
        "name": of.name,
        "service": &*of.service,
        "start": of.start.to_string(),
        "duration_us": microseconds(of.duration),
        "spans": of.spans,
        "errors": of.errors,
        "services": of.services.iter().map(|name| &**name).collect::<Value>(),
        "channels": of.channels.iter().map(|name| &**name).collect::<Value>(),
        "inferred": of.inferred,
        "missing_root": of.is_missing_root,
        "updated": of.updated,
    })
}

/// What the store keeps and may keep, and the addresses at which spans come in, in JSON.
pub(super) fn kept(of: Kept, receivers: Receivers) -> Value {
    json!({
        "receivers": {"http": receivers.http, "grpc": receivers.grpc},
        "spans": of.spans,
        "transactions": of.transactions,
        "bytes": of.bytes,
        "limit_bytes": of.limit_bytes,
        "forgotten_transactions": of.forgotten_transactions,
        "refused_spans": of.refused_spans,
    })
}

/// The answer to a search.
pub(super) fn found(found: &Found, of: Kept, receivers: Receivers) -> Value {
    json!({
        "transactions": found.transactions.iter().map(summary).collect::<Value>(),
        "next": found.next.map(|number| number.to_string()),
        "kept": kept(of, receivers),
    })
}

/// The pieces of the answer about one transaction. Each span is a line of its own, so that the page can read it while it comes.
pub(super) fn transaction(snapshot: Snapshot) -> impl Iterator<Item = String> + Send {
    let (mut resources, mut numbers) = (Vec::new(), HashMap::new());
    for span in &snapshot.spans {
        let resource = &span.entry.origin.resource;
        numbers.entry(Arc::as_ptr(resource).addr()).or_insert_with(|| {
            resources.push(described(resource));
            resources.len() - 1
        });
    }
    let head =
        format!("{{\"summary\":{},\"resources\":{},\"spans\":[\n", summary(&snapshot.summary), Value::Array(resources));
    let start = snapshot.summary.start;
    let spans = snapshot.spans.into_iter().enumerate().map(move |(index, view)| {
        let resource = numbers.get(&Arc::as_ptr(&view.entry.origin.resource).addr()).copied();
        let comma = if index == 0 { "" } else { ",\n" };
        format!("{comma}{}", span(&view, resource.unwrap_or_default(), start))
    });
    std::iter::once(head).chain(spans).chain(std::iter::once("\n]}".to_owned()))
}

fn described(resource: &entry::Resource) -> Value {
    let attributes = resource.attributes();
    let value = |of: &proto::KeyValue| to_page(std::slice::from_ref(of)).pointer("/0/1").cloned().unwrap_or_default();
    let attributes = attributes.iter().map(|of| (of.key.clone(), value(of))).collect();
    json!({"service": &*resource.service, "attributes": Value::Object(attributes)})
}

fn span(view: &SpanView, resource: usize, start: u64) -> Value {
    let (entry, span): (&Entry, _) = (&view.entry, view.entry.decode());
    let place = |trace, span| json!({"trace": trace_text(trace), "span": span_text(span)});
    let is_link =
        |link: &&proto::Link| entry::trace_id(&link.trace_id).is_some() && entry::span_id(&link.span_id).is_some();
    let links = span.links.iter().filter(is_link).zip(&entry.links).zip(&view.known_links);
    let links = links.map(|((link, (trace, span)), is_known)| {
        json!({
            "trace": trace_text(*trace),
            "span": span_text(*span),
            "known": is_known,
            "attributes": to_page(&link.attributes),
        })
    });
    let events = span.events.iter().map(|event| {
        json!({
            "name": event.name,
            "at_us": microseconds(event.time_unix_nano.saturating_sub(start)),
            "attributes": to_page(&event.attributes),
        })
    });
    let status = span.status.clone().unwrap_or_default();
    json!({
        "id": span_text(entry.id),
        "parent": entry.parent.map(span_text),
        "resource": resource,
        "name": span.name,
        "kind": entry.kind.name(),
        "start_us": microseconds(entry.start - start),
        "duration_us": microseconds(entry.duration()),
        "status": match status.code {
            Status::OK => "ok",
            Status::ERROR => "error",
            _ => "unset",
        },
        "message": status.message,
        "inferred": proto::text(&span.attributes, entry::CAUSE),
        "attributes": to_page(&span.attributes),
        "events": events.collect::<Value>(),
        "links": links.collect::<Value>(),
        "linked_from": view.linked_from.iter().map(|(trace, span)| place(*trace, *span)).collect::<Value>(),
    })
}

/// The graph. It is changed only in the order of its times.
pub(super) fn graph(graph: &mut Graph) -> Value {
    let window = graph.window_s;
    let rate = |count: usize| count as f64 / window;
    let services = graph.services.iter();
    let services = services.map(|(name, (spans, errors))| json!({"name": &**name, "spans": spans, "errors": errors}));
    let services: Value = services.collect();
    let channels = graph.channels.iter_mut().map(|(name, (messages, times))| {
        json!({
            "name": &**name,
            "kind": "channel",
            "messages": *messages,
            "rate": rate(*messages),
            "p50_us": times.percentile(50).map(microseconds),
            "p95_us": times.percentile(95).map(microseconds),
        })
    });
    let channels: Value = channels.collect();
    let edges = graph.edges.iter_mut().map(|((from, to), edge)| {
        let Edge { count, errors, inferred, times } = edge;
        json!({
            "from": node(from),
            "to": node(to),
            "count": count,
            "errors": errors,
            "inferred": inferred,
            "rate": rate(*count),
            "p50_us": times.percentile(50).map(microseconds),
            "p95_us": times.percentile(95).map(microseconds),
        })
    });
    json!({"edges": edges.collect::<Value>(), "window_s": window, "services": services, "channels": channels})
}

fn node(node: &Node) -> Value {
    match node {
        Node::Service(name) => json!({"type": "service", "name": &**name}),
        Node::Channel(name) => json!({"type": "channel", "name": &**name}),
        Node::Client => json!({"type": "client", "name": "clients"}),
        Node::Redis => json!({"type": "redis", "name": "Redis"}),
    }
}

/// What is known of channels.
pub(super) fn channels(channels: &BTreeMap<Channel, ChannelReport>) -> Value {
    let counts = |of: &BTreeMap<Arc<str>, usize>| -> Value {
        of.iter().map(|(service, count)| json!({"service": &**service, "count": count})).collect()
    };
    let channel = |(channel, report): (&Channel, &ChannelReport)| {
        json!({
            "name": &*channel.name,
            "template": channel.is_template,
            "publishers": counts(&report.publishers),
            "receivers": counts(&report.receivers),
            "messages": report.publishers.values().sum::<usize>(),
            "receivers_said": report.receivers_said,
            "deliveries_seen": report.receivers.values().sum::<usize>(),
            "last": report.last.to_string(),
            "untraced": report.untraced.iter().map(|(reason, count)| json!({"reason": reason, "count": count})).collect::<Value>(),
        })
    };
    json!({"channels": channels.iter().map(channel).collect::<Value>()})
}

/// The messages that got no context.
pub(super) fn untraced(report: &UntracedReport) -> Value {
    let messages = report.messages.iter().map(|message| {
        json!({
            "trace": trace_text(message.trace),
            "span": span_text(message.span),
            "at": message.at.to_string(),
            "service": &*message.service,
            "channel": message.channel.as_deref(),
            "reason": message.reason,
        })
    });
    let reasons = report.reasons.iter();
    let reasons =
        reasons.map(|(reason, count)| json!({"reason": reason, "count": count, "explanation": explained(reason)}));
    json!({"messages": messages.collect::<Value>(), "reasons": reasons.collect::<Value>()})
}

/// What a reason means, for people. The reasons are those of `redistributed_skipped_total`.
fn explained(reason: &str) -> &'static str {
    match reason {
        "mode" => "The mode, OTEL_SDK_DISABLED or OTEL_PROPAGATORS does not allow a context.",
        "channel" => "The channel is excluded, or its name begins with two underscores.",
        "size" => "The payload with its context is over the injection limit, or the channel's name is too long.",
        "carrier" => "The payload does not fit the carrier of the channel: it may be no JSON object, for example.",
        "inline" => "The publish was an inline command, as a person types it.",
        "memory" => "The payload is long, and the connections of the proxy hold as much memory as they may.",
        "unauthenticated" => "Before authentication the added bytes would have crossed the limit of Redis.",
        "beside" => "The context went beside the message: proxies told each other in messages of their own.",
        "auto_unknown" => "Redis could not be asked who subscribes, or has not been asked about this channel yet.",
        "auto_unproxied" => {
            "A subscriber of the channel is not known to be behind a redistributed, and would see added bytes."
        }
        "auto_pattern" => {
            "A subscriber of a pattern is not known to be behind a redistributed, and would see added bytes."
        }
        "auto_replicas" => "A replica is connected to Redis, and its subscribers cannot be known.",
        "auto_cluster" => "Redis is a cluster, and not all of its subscribers can be known.",
        "auto_nobody" => "Nobody subscribes to the channel.",
        "auto_proving" => "The proof that all subscribers are behind a redistributed was not complete yet.",
        "auto_contradicted" => {
            "Redis reported another number of receivers than was expected, so the proof begins again."
        }
        "auto_order" => {
            "The publish was in a transaction, behind a command that blocks, or without a reply, so that it may be executed late."
        }
        _ => "The proxy that published it says no more than this word. It may be newer than this viewer.",
    }
}

#[cfg(test)]
mod tests {
    use redistributed_core::counts::Counter;

    use super::*;

    #[test]
    fn every_reason_of_the_proxy_is_explained() {
        let skipped = Counter::METRICS.iter().find(|metric| metric.name == "skipped_total").unwrap();
        let unknown = explained("a new one");
        for (_, reason) in skipped.samples {
            assert_ne!(explained(reason.unwrap()), unknown, "{reason:?}");
        }
    }

    #[test]
    fn microseconds_have_up_to_three_decimals() {
        assert_eq!([0, 1, 812_500, 3_000].map(|time| microseconds(time).to_string()), ["0", "0.001", "812.5", "3"]);
    }
}
