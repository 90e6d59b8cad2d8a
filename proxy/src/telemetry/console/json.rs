//! `--console-format json`: one object a line for each span. The fields are described in `proxy/docs/spans.md`.

use std::fmt::Write;
use std::time::{Duration, UNIX_EPOCH};

use redistributed_core::trace::{Operation, SpanContext, SpanRecord};

use super::super::describe::{
    Kind, acknowledged, cause, first_delivery, is_redelivery, links, quoted, skipped, span_name, writers,
};

/// Adds the line of one span of `service`.
pub(super) fn add(service: &str, record: &SpanRecord, line: &mut String) {
    let SpanContext { trace_id, span_id, .. } = record.context;
    let start = humantime::format_rfc3339_nanos(UNIX_EPOCH + Duration::from_nanos(record.start.0));
    let took = record.end.0.saturating_sub(record.start.0);
    let (verb, object) = span_name(record);
    // Writing to a string cannot fail.
    let _ = write!(line, "{{\"time\":\"{start}\",\"took_ns\":{took},\"trace\":\"{trace_id}\",\"span\":\"{span_id}\"");
    let _ = match &record.parent {
        Some(parent) => write!(line, ",\"parent\":\"{parent}\""),
        None => write!(line, ",\"parent\":null"),
    };
    let _ = write!(line, ",\"service\":{},\"kind\":\"{}\"", quoted(service), Kind::of(record).as_str());
    let _ = write!(line, ",\"name\":{}", quoted(&format!("{verb}{object}")));
    match &record.operation {
        Operation::Publish { body_size, receivers, .. } => {
            let _ = write!(line, ",\"bytes\":{body_size}");
            if let Some(receivers) = receivers {
                let _ = write!(line, ",\"receivers\":{receivers}");
            }
        }
        Operation::Deliver { body_size, .. } | Operation::Item { body_size, .. } => {
            let _ = write!(line, ",\"bytes\":{body_size}");
            if is_redelivery(record) {
                line.push_str(",\"redelivery\":true");
            }
            if let Some(is_acknowledged) = acknowledged(record) {
                let _ = write!(line, ",\"acknowledged\":{is_acknowledged}");
            }
        }
        Operation::Send(sent) => {
            let _ = write!(line, ",\"bytes\":{}", sent.body_size);
        }
        Operation::Request(request) => {
            if let Some(status) = request.status {
                let _ = write!(line, ",\"status\":{status}");
            }
        }
        Operation::Command { .. } => {}
    }
    let texts = [
        ("cause", cause(record)),
        ("skipped", skipped(record)),
        ("error", record.error.as_ref().map(|error| error.as_str())),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            let _ = write!(line, ",\"{name}\":{}", quoted(text));
        }
    }
    add_contexts("links", links(record), line);
    add_contexts("writers", writers(record).iter(), line);
    add_contexts("first_delivery", first_delivery(record).into_iter(), line);
    line.push_str("}\n");
}

/// Adds a list of spans, unless there are none.
fn add_contexts<'a>(name: &str, contexts: impl Iterator<Item = &'a SpanContext>, line: &mut String) {
    let of = |context: &SpanContext| format!("{{\"trace\":\"{}\",\"span\":\"{}\"}}", context.trace_id, context.span_id);
    let contexts: Vec<String> = contexts.map(of).collect();
    if !contexts.is_empty() {
        // Writing to a string cannot fail.
        let _ = write!(line, ",\"{name}\":[{}]", contexts.join(","));
    }
}
