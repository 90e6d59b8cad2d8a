//! From received spans to traces, and from a trace to the rows of its tree.

use std::collections::HashMap;

use otlp_receiver::ReceivedSpan;
use otlp_receiver::proto::trace::v1::span::SpanKind;
use otlp_receiver::proto::trace::v1::status::StatusCode;
use redistributed_core::printable::printable;

/// The sidecar's own attribute for how many subscribers Redis handed a message to.
const RECEIVERS: &str = "redis.pubsub.receivers";
const BODY_SIZE: &str = "messaging.message.body.size";
const ERROR_TYPE: &str = "error.type";
const STATUS: &str = "http.response.status_code";

/// What the demo reads of a span.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Span {
    pub(crate) id: String,
    /// The id of the span's parent; empty for a root.
    pub(crate) parent: String,
    pub(crate) service: String,
    pub(crate) name: String,
    pub(crate) kind: SpanKind,
    /// Nanoseconds since the Unix epoch.
    pub(crate) start: u64,
    /// Nanoseconds since the Unix epoch.
    pub(crate) end: u64,
    /// The status of the response, if the span is that of a request.
    pub(crate) status: Option<i64>,
    /// How many subscribers Redis counted, if the span is that of a publish.
    pub(crate) receivers: Option<i64>,
    /// The payload's length in bytes, as the service knows it.
    pub(crate) body_size: Option<i64>,
    /// Why it failed, if it did.
    pub(crate) error: Option<String>,
}

/// All spans of one trace id that have arrived.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Trace {
    /// The trace id, in 32 hexadecimal digits.
    pub(crate) id: String,
    /// The spans, of which there is at least one, in the order of their starts.
    pub(crate) spans: Vec<Span>,
}

/// One line of a tree.
#[derive(Debug, PartialEq)]
pub(crate) struct Row<'a> {
    /// Lines that lead from the parent, such as `│  └─ `; empty for a root.
    pub(crate) branch: String,
    pub(crate) span: &'a Span,
    /// The commands that the service sent next for the same cause, if `span` is a command.
    pub(crate) more: Vec<&'a Span>,
}

impl Row<'_> {
    /// When the last span of the row ended, in nanoseconds since the Unix epoch.
    pub(crate) fn end(&self) -> u64 {
        self.more.iter().map(|span| span.end).fold(self.span.end, u64::max)
    }
}

/// Names are from the network, and are shown: they are made fit for that here.
impl From<&ReceivedSpan> for Span {
    fn from(received: &ReceivedSpan) -> Self {
        let span = &received.span;
        let failed = span.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error);
        Self {
            id: received.span_id(),
            parent: received.parent_span_id(),
            service: printable(received.service_name()).to_string(),
            name: printable(&span.name).to_string(),
            kind: span.kind(),
            start: span.start_time_unix_nano,
            end: span.end_time_unix_nano,
            status: received.int(STATUS),
            receivers: received.int(RECEIVERS),
            body_size: received.int(BODY_SIZE),
            error: failed.then(|| printable(received.text(ERROR_TYPE).unwrap_or("no reason given")).to_string()),
        }
    }
}

/// Groups spans by trace; traces come in the order of their starts.
pub(crate) fn traces(received: &[ReceivedSpan]) -> Vec<Trace> {
    let mut by_id: HashMap<String, Vec<Span>> = HashMap::new();
    for span in received {
        by_id.entry(span.trace_id()).or_default().push(Span::from(span));
    }
    let mut traces: Vec<Trace> = by_id.into_iter().map(|(id, spans)| Trace::new(id, spans)).collect();
    traces.sort_by(|a, b| (a.start(), &a.id).cmp(&(b.start(), &b.id)));
    traces
}

impl Trace {
    /// Spans that began and ended together, as those of pipelined commands, stay in the order in which they came.
    pub(crate) fn new(id: String, mut spans: Vec<Span>) -> Self {
        spans.sort_by_key(|span| (span.start, span.end));
        Self { id, spans }
    }

    /// When its first span started, in nanoseconds since the Unix epoch.
    pub(crate) fn start(&self) -> u64 {
        self.spans.first().map_or(0, |span| span.start)
    }

    /// From its first start to its last end, in nanoseconds.
    pub(crate) fn duration(&self) -> u64 {
        self.spans.iter().map(|span| span.end).max().unwrap_or(0).saturating_sub(self.start())
    }

    /// Its spans as a tree, parents before children, siblings by start; commands that follow each other share a row. A span
    /// whose parent has not arrived stands as a root, so that every span is shown once, whatever the parents say.
    pub(crate) fn rows(&self) -> Vec<Row<'_>> {
        let mut rows = Vec::with_capacity(self.spans.len());
        let mut shown = vec![false; self.spans.len()];
        let is_root = |span: &Span| self.spans.iter().all(|other| other.id != span.parent);
        for (index, span) in self.spans.iter().enumerate() {
            if is_root(span) {
                self.grow(index, String::new(), "", &mut shown, &mut rows);
            }
        }
        // What is left are spans that are each other's ancestors.
        for index in 0..self.spans.len() {
            self.grow(index, String::new(), "", &mut shown, &mut rows);
        }
        rows
    }

    /// Adds the span and its descendants; `below` leads to its children.
    fn grow<'a>(&'a self, index: usize, branch: String, below: &str, shown: &mut [bool], rows: &mut Vec<Row<'a>>) {
        if std::mem::replace(&mut shown[index], true) {
            return;
        }
        let span = &self.spans[index];
        rows.push(Row { branch, span, more: Vec::new() });
        let children: Vec<usize> =
            (0..self.spans.len()).filter(|&child| !shown[child] && self.spans[child].parent == span.id).collect();
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for child in children {
            match groups.last_mut() {
                Some(group) if group.iter().chain([&child]).all(|&one| self.is_plain_command(one)) => group.push(child),
                _ => groups.push(vec![child]),
            }
        }
        for (position, group) in groups.iter().enumerate() {
            let last = position + 1 == groups.len();
            let (corner, line) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            let Some((&first, more)) = group.split_first() else { continue };
            self.grow(first, format!("{below}{corner}"), &format!("{below}{line}"), shown, rows);
            for &other in more {
                shown[other] = true;
                // The first has no children, so that its row is the last.
                rows.last_mut().into_iter().for_each(|row| row.more.push(&self.spans[other]));
            }
        }
    }

    /// Whether a span is a command that did not fail and that nothing stands below.
    fn is_plain_command(&self, index: usize) -> bool {
        let span = &self.spans[index];
        span.kind == SpanKind::Client && span.error.is_none() && self.spans.iter().all(|other| other.parent != span.id)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const START: u64 = 1_700_000_000_000_000_000;

    /// A span of `service`. Times are in microseconds.
    pub(crate) fn span(id: &str, parent: &str, service: &str, kind: SpanKind, name: &str, from: u64, to: u64) -> Span {
        Span {
            id: id.to_owned(),
            parent: parent.to_owned(),
            service: service.to_owned(),
            name: name.to_owned(),
            kind,
            start: START + from * 1000,
            end: START + to * 1000,
            status: None,
            receivers: None,
            body_size: None,
            error: None,
        }
    }

    /// A complete transaction. Workers begin one millisecond after each other.
    pub(crate) fn transaction(id: &str, api: &str, workers: &[&str]) -> Trace {
        use SpanKind::{Client, Consumer, Producer, Server};
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

    fn at(id: &str, parent: &str, start: u64) -> Span {
        span(id, parent, "api", SpanKind::Consumer, "process ch", start, start)
    }

    fn drawn(spans: Vec<Span>) -> Vec<String> {
        let trace = Trace::new("t".to_owned(), spans);
        trace.rows().iter().map(|row| format!("{}{}", row.branch, row.span.id)).collect()
    }

    #[test]
    fn children_stand_beneath_their_parents_by_start() {
        let spans = vec![at("d", "b", 5), at("c", "a", 3), at("b", "a", 2), at("a", "", 1), at("e", "c", 9)];
        assert_eq!(drawn(spans), ["a", "├─ b", "│  └─ d", "└─ c", "   └─ e"]);
    }

    #[test]
    fn every_span_is_shown_once_even_if_parents_are_missing_or_run_in_a_circle() {
        let spans = vec![at("x", "gone", 1), at("y", "x", 2), at("m", "n", 3), at("n", "m", 4), at("s", "s", 5)];
        assert_eq!(drawn(spans), ["x", "└─ y", "m", "└─ n", "s"]);
    }

    #[test]
    fn commands_that_follow_each_other_share_a_row() {
        let command = |id, start| span(id, "a", "api", SpanKind::Client, "SET", start, start + 2);
        let failed = Span { error: Some("OOM".to_owned()), ..command("f", 7) };
        let spans = vec![
            at("a", "", 1),
            command("b", 2),
            command("c", 3),
            at("d", "a", 4),
            command("e", 5),
            failed,
            command("g", 8),
        ];
        let trace = Trace::new("t".to_owned(), spans);
        let rows = trace.rows();
        let drawn: Vec<String> =
            rows.iter().map(|row| format!("{}{}+{}", row.branch, row.span.id, row.more.len())).collect();
        assert_eq!(drawn, ["a+0", "├─ b+1", "├─ d+0", "├─ e+0", "├─ f+0", "└─ g+0"]);
        assert_eq!(rows[1].end(), trace.start() + 4_000);
    }

    #[test]
    fn names_from_the_network_are_shown_and_not_obeyed() {
        let name = "publish a\n\u{1b}[2J\u{9b}\u{202e}";
        let span = otlp_receiver::proto::trace::v1::Span { name: name.to_owned(), ..Default::default() };
        let received =
            ReceivedSpan { resource: Default::default(), scope: Default::default(), schema_url: String::new(), span };
        assert_eq!(Span::from(&received).name, r"publish a\n\u{1b}[2J\u{9b}\u{202e}");
    }
}
