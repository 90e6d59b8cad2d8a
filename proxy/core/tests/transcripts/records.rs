//! Spans, compared with the lines that describe them.

use std::collections::BTreeMap;

use redistributed_core::trace::{Operation, SpanContext, SpanRecord};

/// The fields of a record. The first has no key: it is the kind of the span and the name of its channel or command.
pub(crate) fn fields(record: &SpanRecord) -> Vec<(&'static str, String)> {
    let number = |id: &[u8]| id.iter().fold(0u128, |number, byte| number << 8 | u128::from(*byte)).to_string();
    let or_dash = |value: Option<String>| value.unwrap_or("-".to_owned());
    let trace = |context: &SpanContext| number(&context.trace_id.to_bytes());
    let span = |context: &SpanContext| number(&context.span_id.to_bytes());
    let yes = |value| if value { "yes" } else { "no" }.to_owned();
    let (what, own) = match &record.operation {
        Operation::Publish { channel, sharded, receivers, body_size } => (
            format!("publish {channel}"),
            vec![
                ("receivers", or_dash(receivers.map(|n| n.to_string()))),
                ("sharded", yes(*sharded)),
                ("size", body_size.to_string()),
            ],
        ),
        Operation::Deliver { channel, pattern, sharded, body_size } => (
            format!("deliver {channel}"),
            vec![
                ("pattern", or_dash(pattern.as_deref().map(str::to_owned))),
                ("sharded", yes(*sharded)),
                ("size", body_size.to_string()),
            ],
        ),
        Operation::Command { name, summary, database, batch_size } => (
            format!("command {}", name.replace(' ', "_")),
            vec![
                ("summary", or_dash(summary.as_deref().map(|summary| summary.replace(' ', "_")))),
                ("db", database.to_string()),
                ("batch", or_dash(batch_size.map(|n| n.to_string()))),
            ],
        ),
        Operation::Send(sent) => (
            "send -".to_owned(),
            vec![("id", or_dash(sent.id.as_deref().map(str::to_owned))), ("size", sent.body_size.to_string())],
        ),
        Operation::Item { .. } => panic!("no transcript follows causes"),
        Operation::Request(_) => panic!("no session of Redis makes it"),
    };
    let mut fields = vec![
        ("", what),
        ("trace", trace(&record.context)),
        ("span", span(&record.context)),
        ("parent", or_dash(record.parent.map(|id| number(&id.to_bytes())))),
        ("link", or_dash(record.link.as_ref().map(|link| format!("{}:{}", trace(link), span(link))))),
        ("state", or_dash(record.trace_state.as_deref().map(str::to_owned))),
        ("error", or_dash(record.error.as_ref().map(ToString::to_string))),
        ("flags", format!("{:02x}", record.context.flags.to_byte())),
    ];
    fields.extend(own);
    fields
}

/// Whether `line` of a transcript describes the record with these fields.
pub(crate) fn is_described_by(fields: &[(&'static str, String)], line: &str) -> bool {
    let mut words = line.splitn(3, ' ');
    let what = format!("{} {}", words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let named: BTreeMap<&str, &str> =
        words.next().unwrap_or_default().split_whitespace().map(|word| word.split_once('=').unwrap()).collect();
    let known = named.keys().all(|key| fields.iter().any(|(k, _)| k == key));
    known
        && fields.iter().all(|(key, value)| match (*key, named.get(key)) {
            ("", _) => *value == what,
            (_, Some(expected)) => value == expected,
            ("size" | "flags", None) => true,
            ("sharded", None) => value == "no",
            ("db", None) => value == "0",
            (_, None) => value == "-",
        })
}

/// The line of a transcript that describes the record with these fields.
pub(crate) fn describe(fields: &[(&'static str, String)]) -> String {
    let pairs: Vec<_> = fields[1..].iter().map(|(key, value)| format!("{key}={value}")).collect();
    format!("{} {}", fields[0].1, pairs.join(" "))
}
