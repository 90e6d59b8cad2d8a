//! `--console-format tree`: what the tree of a trace shows of a span.

use std::time::{Duration, UNIX_EPOCH};

use redistributed_core::trace::{Operation, SpanRecord};
use span_tree::{Kind, Look, Span, Trace, draw};

use super::super::describe::{self, cause, links, skipped, span_name};

/// The span of `service` that `record` is about.
pub(super) fn span(service: &str, record: &SpanRecord) -> Span {
    let (verb, object) = span_name(record);
    let kind = match describe::Kind::of(record) {
        describe::Kind::Producer => Kind::Producer,
        describe::Kind::Consumer => Kind::Consumer,
        describe::Kind::Client => Kind::Client,
        describe::Kind::Server => Kind::Server,
    };
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let (mut status, mut receivers, mut body_size) = (None, None, None);
    match &record.operation {
        Operation::Publish { receivers: count, body_size: size, .. } => {
            (receivers, body_size) = (count.map(number), Some(number(*size)));
        }
        Operation::Deliver { body_size: size, .. } | Operation::Item { body_size: size, .. } => {
            body_size = Some(number(*size));
        }
        Operation::Send(sent) => body_size = Some(number(sent.body_size)),
        Operation::Request(request) => status = request.status.map(i64::from),
        Operation::Command { .. } => {}
    }
    Span {
        id: record.context.span_id.to_string(),
        parent: record.parent.map(|parent| parent.to_string()).unwrap_or_default(),
        service: service.to_owned(),
        name: format!("{verb}{object}"),
        kind,
        start: record.start.0,
        end: record.end.0,
        status,
        receivers,
        body_size,
        error: record.error.as_ref().map(ToString::to_string),
        cause: cause(record).map(str::to_owned),
        skipped: skipped(record).map(str::to_owned),
        links: links(record).map(|link| link.trace_id.to_string()).collect(),
    }
}

/// The tree of a trace or of a later part of it, with an empty line behind it.
pub(super) fn text(trace: &Trace, continues: bool, look: Look) -> String {
    let start = humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_nanos(trace.start()));
    let title = if continues { format!("{start} continued") } else { start.to_string() };
    let mut text = draw(trace, &title, None, look);
    text.push('\n');
    text
}
