//! From received spans to traces.

use std::collections::HashMap;

use otlp_receiver::ReceivedSpan;
use otlp_receiver::proto::trace::v1::span::SpanKind;
use otlp_receiver::proto::trace::v1::status::StatusCode;
use redistributed_core::printable::printable;
pub(crate) use span_tree::{Kind, Span, Trace};

/// The sidecar's own attribute for how many subscribers Redis handed a message to.
const RECEIVERS: &str = "redis.pubsub.receivers";
/// The sidecar's own attribute for the rule by which a parent was inferred.
const CAUSE: &str = "redistributed.cause";
const BODY_SIZE: &str = "messaging.message.body.size";
const ERROR_TYPE: &str = "error.type";
const STATUS: &str = "http.response.status_code";

/// Groups spans by trace; traces come in the order of their starts.
pub(crate) fn traces(received: &[ReceivedSpan]) -> Vec<Trace> {
    let mut by_id: HashMap<String, Vec<Span>> = HashMap::new();
    for span in received {
        by_id.entry(span.trace_id()).or_default().push(read(span));
    }
    let mut traces: Vec<Trace> = by_id.into_iter().map(|(id, spans)| Trace::new(id, spans)).collect();
    traces.sort_by(|a, b| (a.start(), &a.id).cmp(&(b.start(), &b.id)));
    traces
}

/// What the demo reads of a span. Names are from the network, and are shown: they are made fit for that here.
fn read(received: &ReceivedSpan) -> Span {
    let span = &received.span;
    let failed = span.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error);
    Span {
        id: received.span_id(),
        parent: received.parent_span_id(),
        service: printable(received.service_name()).to_string(),
        name: printable(&span.name).to_string(),
        kind: match span.kind() {
            SpanKind::Server => Kind::Server,
            SpanKind::Client => Kind::Client,
            SpanKind::Producer => Kind::Producer,
            SpanKind::Consumer => Kind::Consumer,
            SpanKind::Internal | SpanKind::Unspecified => Kind::Internal,
        },
        start: span.start_time_unix_nano,
        end: span.end_time_unix_nano,
        status: received.int(STATUS),
        receivers: received.int(RECEIVERS),
        body_size: received.int(BODY_SIZE),
        error: failed.then(|| printable(received.text(ERROR_TYPE).unwrap_or("no reason given")).to_string()),
        cause: received.text(CAUSE).map(|rule| printable(rule).to_string()),
        ..Span::default()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const START: u64 = 1_700_000_000_000_000_000;

    /// A span of `service`. Times are in microseconds.
    pub(crate) fn span(id: &str, parent: &str, service: &str, kind: Kind, name: &str, from: u64, to: u64) -> Span {
        Span {
            id: id.to_owned(),
            parent: parent.to_owned(),
            service: service.to_owned(),
            name: name.to_owned(),
            kind,
            start: START + from * 1000,
            end: START + to * 1000,
            ..Span::default()
        }
    }

    /// A complete transaction. Workers begin one millisecond after each other.
    pub(crate) fn transaction(id: &str, api: &str, workers: &[&str]) -> Trace {
        use Kind::{Client, Consumer, Producer, Server};
        let request = Span { status: Some(202), ..span("request", "", api, Server, "POST /reports", 0, 900) };
        let receivers = Some(i64::try_from(workers.len()).unwrap());
        let job = span("job", "request", api, Producer, "publish reports", 100, 512);
        let mut spans = vec![
            request,
            Span { receivers, body_size: Some(61), ..job },
            span("order", "request", api, Client, "SETEX", 600, 800),
        ];
        for (worker, begin) in workers.iter().zip((1_000..).step_by(1_000)) {
            let id = |what: &str| format!("{worker}-{what}");
            let delivery = span(&id("job"), "job", worker, Consumer, "process reports", begin, begin + 50_000);
            spans.push(Span { body_size: Some(61), ..delivery });
            for (name, after) in [("SET", 0), ("HINCRBY", 10), ("EXPIRE", 20)] {
                let from = begin + 40_000 + after;
                spans.push(span(&id(name), &id("job"), worker, Client, name, from, from + 300));
            }
            let done =
                span(&id("done"), &id("job"), worker, Producer, "publish reports.done", begin + 41_000, begin + 50_000);
            spans.push(Span { receivers: Some(1), body_size: Some(58), ..done });
            let receipt = span(
                &id("receipt"),
                &id("done"),
                api,
                Consumer,
                "process reports.done",
                begin + 41_500,
                begin + 41_700,
            );
            spans.push(Span { body_size: Some(58), ..receipt });
        }
        Trace::new(id.to_owned(), spans)
    }

    #[test]
    fn names_from_the_network_are_shown_and_not_obeyed() {
        let name = "publish a\n\u{1b}[2J\u{9b}\u{202e}";
        let span = otlp_receiver::proto::trace::v1::Span { name: name.to_owned(), ..Default::default() };
        let received =
            ReceivedSpan { resource: Default::default(), scope: Default::default(), schema_url: String::new(), span };
        assert_eq!(read(&received).name, r"publish a\n\u{1b}[2J\u{9b}\u{202e}");
    }
}
