//! `OTEL_TRACES_EXPORTER=console`: spans on standard output, as trees, as lines or as JSON.
//!
//! [`Printer`] makes text of spans and keeps it until it can be written. What time it is, and when it writes, is the exporter's.

mod held;
mod json;
mod lines;
mod output;
mod tree;

use std::io;
use std::time::{Duration, Instant};

use redistributed_core::trace::SpanRecord;
use tokio::time;

use super::encoder::ServiceSpans;
use super::totals::Unsettled;
use crate::settings::{ConsoleFormat, ConsoleSettings};
use held::{Held, Part};
pub(super) use output::Output;

/// The length of text that waits to be written, in bytes, from which on no more spans are taken.
const MAX_READY: usize = 1 << 20;

/// Makes text of spans.
pub(super) struct Printer {
    form: Form,
    ready: Text,
    output: Output,
}

/// The form of the spans.
enum Form {
    /// Trees, of the traces that are held. A span has a receipt if it is counted here.
    Tree(Held<Option<Unsettled>>),
    /// A line for each span, which this function adds.
    Line(fn(&str, &SpanRecord, &mut String)),
}

/// Text that is to be written, and the spans in it that are counted by what becomes of it.
#[derive(Debug, Default)]
pub(super) struct Text {
    text: String,
    receipts: Vec<Unsettled>,
}

impl Printer {
    /// Prints to the standard output of the process.
    pub(super) fn new(settings: ConsoleSettings) -> Self {
        Self::with_output(settings, Output::stdout())
    }

    pub(super) fn with_output(settings: ConsoleSettings, output: Output) -> Self {
        let form = match settings.format {
            ConsoleFormat::Tree => Form::Tree(Held::new(settings.patience)),
            ConsoleFormat::Lines => Form::Line(lines::add),
            ConsoleFormat::Json => Form::Line(json::add),
        };
        Self { form, ready: Text::default(), output }
    }

    /// Takes spans, and their receipt if what becomes of them here decides how they are counted.
    pub(super) fn add(&mut self, spans: ServiceSpans, mut receipt: Option<Unsettled>, now: Instant) {
        let ServiceSpans { service, records } = spans;
        match &mut self.form {
            Form::Tree(held) => {
                for record in &records {
                    let receipt = receipt.as_mut().map(|receipt| receipt.split(1));
                    let part = held.add(record.context.trace_id, tree::span(&service, record), receipt, now);
                    if let Some(part) = part {
                        self.ready.add(part, &self.output);
                    }
                }
            }
            Form::Line(add) => {
                records.iter().for_each(|record| add(&service, record, &mut self.ready.text));
                self.ready.receipts.extend(receipt);
            }
        }
    }

    /// Whether so much waits to be written that no more spans should be taken.
    pub(super) fn is_full(&self) -> bool {
        self.ready.text.len() >= MAX_READY
    }

    /// When there is something to be written, if nothing comes until then; it may be in the past.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        match &self.form {
            _ if !self.ready.text.is_empty() => Some(now),
            Form::Tree(held) => held.next_due(),
            Form::Line(_) => None,
        }
    }

    /// Takes what is to be written now.
    pub(super) fn take(&mut self, now: Instant) -> Option<Text> {
        self.make_ready(|held| held.due(now));
        (!self.ready.text.is_empty()).then(|| std::mem::take(&mut self.ready))
    }

    /// Makes everything ready to be written, whether more spans may come or not.
    pub(super) fn flush(&mut self) {
        self.make_ready(Held::any);
    }

    fn make_ready(&mut self, next: impl Fn(&mut Held<Option<Unsettled>>) -> Option<Part<Option<Unsettled>>>) {
        if let Form::Tree(held) = &mut self.form {
            let mut parts: Vec<_> = std::iter::from_fn(|| next(held)).collect();
            // Traces that are due together came in the order of services, not of time.
            parts.sort_by_key(|part| part.trace.start());
            parts.into_iter().for_each(|part| self.ready.add(part, &self.output));
        }
    }

    /// The output that the text is for.
    pub(super) fn output(&self) -> Output {
        self.output.clone()
    }
}

impl Text {
    fn add(&mut self, part: Part<Option<Unsettled>>, output: &Output) {
        self.text.push_str(&tree::text(&part.trace, part.continues, output.look()));
        self.receipts.extend(part.receipts.into_iter().flatten());
    }

    /// The number of spans that are counted by what becomes of the text.
    pub(super) fn spans(&self) -> u64 {
        self.receipts.iter().map(Unsettled::spans).sum()
    }

    /// Writes it, and counts its spans as sent or as failed.
    ///
    /// # Errors
    /// The reason why it could not be written within `patience`.
    pub(super) async fn write(self, output: Output, patience: Option<Duration>) -> Result<(), String> {
        let Self { text, receipts } = self;
        let write = output.write(text);
        let written = match patience {
            None => write.await,
            Some(patience) => time::timeout(patience, write).await.unwrap_or_else(|_| {
                Err(io::Error::new(io::ErrorKind::TimedOut, format!("it takes nothing for {patience:?}")))
            }),
        };
        let settle = if written.is_ok() { |receipt: Unsettled| receipt.sent(0) } else { Unsettled::failed };
        receipts.into_iter().for_each(settle);
        written.map_err(|error| format!("cannot write to standard output: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use redistributed_core::trace::{Inferred, Operation, SpanContext, SpanId, TraceFlags, TraceId, UnixNanos};

    use super::*;
    use crate::telemetry::totals::Totals;

    fn record(span: u64) -> SpanRecord {
        let context = |span| SpanContext {
            trace_id: TraceId::MIN,
            span_id: SpanId::from_u64(span).unwrap(),
            flags: TraceFlags::SAMPLED,
        };
        let operation = Operation::Command { name: "GET".into(), summary: None, database: 0, batch_size: None };
        let inferred =
            Inferred { rule: Some("token"), links: vec![context(7)], writers: vec![context(8)], ..Inferred::default() };
        SpanRecord {
            parent: SpanId::from_u64(9),
            end: UnixNanos(1_700_000_000_000_075_000),
            inferred: Some(Box::new(inferred)),
            ..SpanRecord::new(context(span), UnixNanos(1_700_000_000_000_000_000), operation)
        }
    }

    fn spans(records: Vec<SpanRecord>) -> ServiceSpans {
        ServiceSpans { service: "api".into(), records }
    }

    fn printer(format: ConsoleFormat, out: &Arc<Mutex<Vec<u8>>>) -> Printer {
        let settings = ConsoleSettings::new(format, Duration::from_secs(1), Duration::from_secs(2));
        Printer::with_output(settings, Output::to(Arc::clone(out) as Arc<Mutex<dyn Write + Send>>))
    }

    #[tokio::test]
    async fn a_tree_is_written_when_it_is_due_and_its_spans_are_counted_then() {
        let (out, totals, now) = (Arc::default(), Arc::default(), Instant::now());
        let mut printer = printer(ConsoleFormat::Tree, &out);
        printer.add(spans(vec![record(1), record(2)]), Some(Unsettled::new(&totals, 2)), now);
        assert_eq!(printer.due(now), Some(now + Duration::from_millis(3_500)));
        assert!(printer.take(now).is_none());
        let text = printer.take(now + Duration::from_millis(3_500)).unwrap();
        assert_eq!((text.spans(), totals.summary(None).sent, totals.in_flight()), (2, 0, 2));
        text.write(printer.output(), None).await.unwrap();
        assert_eq!((totals.summary(None).sent, totals.in_flight()), (2, 0));
        let shown = String::from_utf8(out.lock().unwrap().clone()).unwrap();
        assert!(shown.contains("GET  parent 0000000000000009 not here, inferred, link to trace 000"), "{shown}");
        assert!(printer.due(now).is_none());
    }

    #[tokio::test]
    async fn traces_that_are_due_together_are_printed_by_their_starts() {
        let (out, now) = (Arc::default(), Instant::now());
        let mut printer = printer(ConsoleFormat::Tree, &out);
        let mut earlier = record(2);
        earlier.context.trace_id = TraceId::from_u128(0xabc).unwrap();
        earlier.start = UnixNanos(1_600_000_000_000_000_000);
        printer.add(spans(vec![record(1), earlier]), None, now);
        printer.flush();
        printer.take(now).unwrap().write(printer.output(), None).await.unwrap();
        let shown = String::from_utf8(out.lock().unwrap().clone()).unwrap();
        let years: Vec<&str> = shown.lines().filter(|line| line.contains("  trace ")).map(|line| &line[..4]).collect();
        assert_eq!(years, ["2020", "2023"], "{shown}");
    }

    #[tokio::test]
    async fn spans_that_a_collector_gets_too_are_not_counted_twice() {
        let (out, now) = (Arc::default(), Instant::now());
        for format in [ConsoleFormat::Tree, ConsoleFormat::Lines] {
            let mut printer = printer(format, &out);
            printer.add(spans(vec![record(1)]), None, now);
            printer.flush();
            assert_eq!(printer.take(now).unwrap().spans(), 0);
        }
    }

    #[test]
    fn json_has_a_field_for_each_thing_that_is_known() {
        let mut line = String::new();
        json::add("api", &record(1), &mut line);
        let trace = "00000000000000000000000000000001";
        assert_eq!(
            line,
            format!(
                "{{\"time\":\"2023-11-14T22:13:20.000000000Z\",\"took_ns\":75000,\"trace\":\"{trace}\",\
                 \"span\":\"0000000000000001\",\"parent\":\"0000000000000009\",\"service\":\"api\",\"kind\":\"CLIENT\",\
                 \"name\":\"GET\",\"cause\":\"token\",\"links\":[{{\"trace\":\"{trace}\",\"span\":\"0000000000000007\"}}],\
                 \"writers\":[{{\"trace\":\"{trace}\",\"span\":\"0000000000000008\"}}]}}\n"
            )
        );
    }

    #[test]
    fn json_tells_whether_an_entry_was_acknowledged_and_delivered_before() {
        let text = "00-00000000000000000000000000000001-0000000000000007-01";
        let first_delivery = SpanContext::parse_traceparent(text.as_bytes());
        let operation = Operation::Item { queue: None, group: None, id: None, body_size: 3 };
        let inferred =
            Inferred { is_acknowledged: Some(false), is_redelivery: true, first_delivery, ..Inferred::default() };
        let mut line = String::new();
        json::add("api", &SpanRecord { operation, inferred: Some(Box::new(inferred)), ..record(1) }, &mut line);
        let expected = "\"name\":\"process\",\"bytes\":3,\"redelivery\":true,\"acknowledged\":false,\"first_delivery\":\
                        [{\"trace\":\"00000000000000000000000000000001\",\"span\":\"0000000000000007\"}]}\n";
        assert!(line.ends_with(expected), "{line}");
    }

    #[test]
    fn an_output_that_takes_nothing_does_not_collect_threads() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (out, totals, now) = (Arc::<Mutex<Vec<u8>>>::default(), Arc::<Totals>::default(), Instant::now());
        let mut printer = printer(ConsoleFormat::Json, &out);
        let stuck = out.lock().unwrap();
        for _ in 0..3 {
            printer.add(spans(vec![record(1)]), Some(Unsettled::new(&totals, 1)), now);
            let text = printer.take(now).unwrap();
            let written = text.write(printer.output(), Some(Duration::from_secs(60)));
            let refused = runtime.block_on(async { written.await.unwrap_err() });
            assert_eq!(refused, "cannot write to standard output: it takes nothing");
        }
        drop(stuck);
        assert_eq!(totals.summary(None).failed, 3);
    }
}
