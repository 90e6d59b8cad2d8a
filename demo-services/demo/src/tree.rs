//! From received spans to traces, and from a trace to the rows of its tree.

use std::collections::HashMap;

use otlp_receiver::ReceivedSpan;
use otlp_receiver::proto::trace::v1::span::SpanKind;
use otlp_receiver::proto::trace::v1::status::StatusCode;
use redistributed_core::printable::printable;

/// The sidecar's own attribute for how many subscribers Redis handed a message to.
const RECEIVERS: &str = "redis.pubsub.receivers";
const BODY_SIZE: &str = "messaging.message.body.size";
const CHANNEL: &str = "messaging.destination.name";
const ERROR_TYPE: &str = "error.type";

/// What the demo reads of a span.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Span {
    pub(crate) id: String,
    /// Empty for a root.
    pub(crate) parent: String,
    pub(crate) service: String,
    pub(crate) name: String,
    pub(crate) kind: SpanKind,
    pub(crate) channel: String,
    /// Nanoseconds since the Unix epoch.
    pub(crate) start: u64,
    /// Nanoseconds since the Unix epoch.
    pub(crate) end: u64,
    /// Of a publish: how many subscribers Redis counted.
    pub(crate) receivers: Option<i64>,
    /// The payload's length in bytes, as the service knows it.
    pub(crate) body_size: Option<i64>,
    /// Why it failed, if it did.
    pub(crate) error: Option<String>,
}

/// All spans of one trace id that have arrived.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Trace {
    /// 32 hex digits.
    pub(crate) id: String,
    /// By start; at least one.
    pub(crate) spans: Vec<Span>,
}

/// One line of a tree.
#[derive(Debug, PartialEq)]
pub(crate) struct Row<'a> {
    /// Lines that lead from the parent, such as `│  └─ `; empty for a root.
    pub(crate) branch: String,
    pub(crate) span: &'a Span,
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
            channel: printable(received.text(CHANNEL).unwrap_or_default()).to_string(),
            start: span.start_time_unix_nano,
            end: span.end_time_unix_nano,
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
    pub(crate) fn new(id: String, mut spans: Vec<Span>) -> Self {
        spans.sort_by(|a, b| (a.start, &a.id).cmp(&(b.start, &b.id)));
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

    /// Its spans as a tree, parents before children, siblings by start. A span whose parent has not arrived stands as
    /// a root, so that every span is shown once, whatever the parents say.
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
        rows.push(Row { branch, span });
        let children: Vec<usize> =
            (0..self.spans.len()).filter(|&child| !shown[child] && self.spans[child].parent == span.id).collect();
        for (position, &child) in children.iter().enumerate() {
            let last = position + 1 == children.len();
            let (corner, line) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            self.grow(child, format!("{below}{corner}"), &format!("{below}{line}"), shown, rows);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A complete transaction: `api` publishes to `channel`, each of `consumers` gets it. Times are in microseconds.
    pub(crate) fn fan_out(id: &str, channel: &str, publisher: &str, consumers: &[(&str, u64, u64)]) -> Trace {
        let start = 1_700_000_000_000_000_000;
        let producer = Span {
            id: "p".to_owned(),
            parent: String::new(),
            service: publisher.to_owned(),
            name: format!("publish {channel}"),
            kind: SpanKind::Producer,
            channel: channel.to_owned(),
            start,
            end: start + 412_000,
            receivers: Some(consumers.len() as i64),
            body_size: Some(61),
            error: None,
        };
        let consumer = |(service, from, to): &(&str, u64, u64)| Span {
            id: format!("c-{service}"),
            parent: "p".to_owned(),
            service: (*service).to_owned(),
            name: format!("process {channel}"),
            kind: SpanKind::Consumer,
            start: start + from * 1000,
            end: start + to * 1000,
            receivers: None,
            ..producer.clone()
        };
        let mut spans: Vec<Span> = consumers.iter().map(consumer).collect();
        spans.push(producer);
        Trace::new(id.to_owned(), spans)
    }

    fn span(id: &str, parent: &str, start: u64) -> Span {
        let template = fan_out("t", "ch", "api", &[]).spans.remove(0);
        Span { id: id.to_owned(), parent: parent.to_owned(), start, ..template }
    }

    fn drawn(spans: Vec<Span>) -> Vec<String> {
        let trace = Trace::new("t".to_owned(), spans);
        trace.rows().iter().map(|row| format!("{}{}", row.branch, row.span.id)).collect()
    }

    #[test]
    fn children_stand_beneath_their_parents_by_start() {
        let spans = vec![span("d", "b", 5), span("c", "a", 3), span("b", "a", 2), span("a", "", 1), span("e", "c", 9)];
        assert_eq!(drawn(spans), ["a", "├─ b", "│  └─ d", "└─ c", "   └─ e"]);
    }

    #[test]
    fn every_span_is_shown_once_even_if_parents_are_missing_or_run_in_a_circle() {
        let spans =
            vec![span("x", "gone", 1), span("y", "x", 2), span("m", "n", 3), span("n", "m", 4), span("s", "s", 5)];
        assert_eq!(drawn(spans), ["x", "└─ y", "m", "└─ n", "s"]);
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
