//! `--console-format lines`: one readable line for each span.

use std::fmt::{self, Write};
use std::time::{Duration, UNIX_EPOCH};

use redistributed_core::trace::{Operation, SpanRecord};

use super::super::describe::{Kind, cause, links, skipped, span_name, writers};

/// Adds the line of one span of `service`. Channel and command names come from the service: they are quoted where they are not
/// plain words, so that they can neither forge a field or a line nor speak to the terminal.
pub(super) fn add(service: &str, record: &SpanRecord, line: &mut String) {
    let start = humantime::format_rfc3339_micros(UNIX_EPOCH + Duration::from_nanos(record.start.0));
    let duration = Duration::from_micros(record.end.0.saturating_sub(record.start.0) / 1_000);
    let (kind, (verb, object)) = (Kind::of(record).as_str(), span_name(record));
    let context = &record.context;
    // Writing to a String cannot fail.
    let _ = write!(
        line,
        "{start} {kind:<8} {verb}{} {duration:?} trace={} span={}",
        Object(object),
        context.trace_id,
        context.span_id
    );
    let _ = match &record.parent {
        Some(parent) => write!(line, " parent={parent}"),
        None => write!(line, " parent=-"),
    };
    for link in links(record) {
        let _ = write!(line, " link={}:{}", link.trace_id, link.span_id);
    }
    for writer in writers(record) {
        let _ = write!(line, " writer={}:{}", writer.trace_id, writer.span_id);
    }
    if let Operation::Publish { receivers: Some(receivers), .. } = record.operation {
        let _ = write!(line, " receivers={receivers}");
    }
    if let Operation::Request(request) = &record.operation
        && let Some(status) = request.status
    {
        let _ = write!(line, " status={status}");
    }
    if let Some(rule) = cause(record) {
        let _ = write!(line, " cause={rule}");
    }
    if let Some(reason) = skipped(record) {
        let _ = write!(line, " skipped={reason}");
    }
    if let Some(error) = &record.error {
        let _ = write!(line, " error={error}");
    }
    let _ = writeln!(line, " service={}", MaybeQuoted(service));
}

/// The second part of a span's name, which may be empty.
struct Object<'a>(&'a str);

impl fmt::Display for Object<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { MaybeQuoted(self.0).fmt(f) }
    }
}

/// A name that is shown as it is, or in quotes if it could be taken for something else.
struct MaybeQuoted<'a>(&'a str);

impl fmt::Display for MaybeQuoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |c: char| !c.is_whitespace() && c != '=' && c.escape_debug().len() == 1;
        if !self.0.is_empty() && self.0.chars().all(plain) { f.write_str(self.0) } else { write!(f, "{:?}", self.0) }
    }
}

#[cfg(test)]
mod tests {
    use redistributed_core::Counter;
    use redistributed_core::trace::{Change, ErrorType, SpanContext, SpanId, TraceFlags, TraceId, UnixNanos};

    use super::*;

    fn record(channel: &str) -> SpanRecord {
        let context = SpanContext { trace_id: TraceId::MIN, span_id: SpanId::MIN, flags: TraceFlags::SAMPLED };
        let operation =
            Operation::Publish { channel: channel.into(), sharded: false, receivers: Some(4), body_size: 9 };
        SpanRecord {
            parent: SpanId::from_u64(0xabc),
            end: UnixNanos(1_700_000_000_124_690_789),
            ..SpanRecord::new(context, UnixNanos(1_700_000_000_123_456_789), operation)
        }
    }

    fn written(record: SpanRecord) -> String {
        written_for("api", record)
    }

    fn written_for(service: &str, record: SpanRecord) -> String {
        let mut lines = String::new();
        add(service, &record, &mut lines);
        lines
    }

    #[test]
    fn a_span_is_one_line() {
        assert_eq!(
            written(record("reports")),
            "2023-11-14T22:13:20.123456Z PRODUCER publish reports 1.234ms trace=00000000000000000000000000000001 \
             span=0000000000000001 parent=0000000000000abc receivers=4 service=api\n"
        );
    }

    #[test]
    fn a_publish_without_a_context_says_why() {
        let mut record = record("reports");
        record.handling.payload = Change::Skipped(Counter::SkippedAutoProving);
        let line = written(record);
        assert!(line.contains(" receivers=4 skipped=auto_proving service=api"), "{line}");
    }

    #[test]
    fn errors_and_links_are_shown() {
        let mut failed = record("reports");
        failed.parent = None;
        failed.link = Some(failed.context);
        failed.error = Some(ErrorType::from_redis_error(b"NOPERM no"));
        let line = written(failed);
        assert!(line.contains(" parent=- "), "{line}");
        assert!(line.contains(" link=00000000000000000000000000000001:0000000000000001 "), "{line}");
        assert!(line.contains(" error=NOPERM "), "{line}");
    }

    #[test]
    fn a_channel_cannot_forge_a_line() {
        let line = written(record("a\nb\x1b[2J"));
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        assert!(line.contains(r#"publish "a\nb\u{1b}[2J" "#), "{line}");
    }

    #[test]
    fn a_channel_without_a_name_leaves_no_space() {
        assert!(written(record("")).contains(" PRODUCER publish 1.234ms "));
    }

    #[test]
    fn names_that_are_not_plain_words_are_quoted() {
        for (name, shown) in [
            ("orders.eu:{1}/caf\u{e9}", "orders.eu:{1}/caf\u{e9}"),
            ("my api", r#""my api""#),
            ("trace=1", r#""trace=1""#),
            (r#"say "hi""#, r#""say \"hi\"""#),
            (r"back\slash", r#""back\\slash""#),
            ("no\u{a0}break", r#""no\u{a0}break""#),
        ] {
            let line = written_for(name, record(name));
            assert!(line.contains(&format!(" publish {shown} 1.234ms ")), "{line}");
            assert!(line.ends_with(&format!(" service={shown}\n")), "{line}");
        }
    }
}
