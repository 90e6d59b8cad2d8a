//! The text formats of metrics: Prometheus's, version 0.0.4, and OpenMetrics 1.0, which differ in little.

use std::fmt::Write;

use hyper::header::HeaderValue;

use crate::telemetry::histogram::Reading;
use crate::telemetry::meter::{Exemplar, Kind};

/// The prefix of every metric except for those of the process.
const PREFIX: &str = "redistributed_";

/// The two text formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Prometheus,
    OpenMetrics,
}

impl Format {
    /// The format for a scraper that sends this `Accept` header.
    pub(super) fn accepted(accept: Option<&HeaderValue>) -> Self {
        let accept = accept.and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        if accept.contains("application/openmetrics-text") { Self::OpenMetrics } else { Self::Prometheus }
    }

    pub(super) fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        })
    }
}

/// The names and values of a sample's labels.
pub(super) type Labels<'a> = &'a [(&'static str, &'a str)];

/// The exemplar of each bucket of a histogram, if it has one. The last is that of the bucket without a bound.
pub(super) type Exemplars = Vec<Option<Exemplar>>;

/// A page of metrics that is being written.
pub(super) struct Page {
    text: String,
    format: Format,
}

/// The metric whose samples are written next. They stand together, as both formats require.
pub(super) struct Family<'a> {
    page: &'a mut Page,
    name: String,
}

impl Page {
    pub(super) fn new(format: Format) -> Self {
        Self { text: String::with_capacity(16 * 1024), format }
    }

    /// Completes the page and returns it.
    pub(super) fn end(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text += "# EOF\n";
        }
        self.text
    }

    /// A counter if `name` ends in `_total`, otherwise a gauge. `name` begins without the prefix.
    pub(super) fn metric(&mut self, name: &str, help: &str) -> Family<'_> {
        self.family(format!("{PREFIX}{name}"), counter_or_gauge(name), help)
    }

    /// A histogram of durations. `name` ends in `_seconds`.
    pub(super) fn histogram(&mut self, name: &str, help: &str) -> Family<'_> {
        self.family(format!("{PREFIX}{name}"), "histogram", help)
    }

    /// A metric of the process, under the standard name that Prometheus's client libraries use. Its type follows from the
    /// name as in [`metric`](Self::metric).
    pub(super) fn process(&mut self, name: &str, help: &str) -> Family<'_> {
        self.family(format!("process_{name}"), counter_or_gauge(name), help)
    }

    /// A metric of OpenTelemetry's semantic conventions, by its name there. Its name here is that of OpenTelemetry's specification
    /// ("Prometheus and OpenMetrics Compatibility"): with underscores, and with the unit of a histogram at its end.
    pub(super) fn convention(&mut self, name: &str, kind: Kind, help: &str) -> Family<'_> {
        let (ending, kind) = match kind {
            Kind::Counter => ("_total", "counter"),
            Kind::Histogram => ("_seconds", "histogram"),
        };
        self.family(format!("{}{ending}", name.replace('.', "_")), kind, help)
    }

    fn family(&mut self, name: String, kind: &str, help: &str) -> Family<'_> {
        let described = match self.format {
            Format::Prometheus => &name,
            // There a counter's samples have an ending that its name has not.
            Format::OpenMetrics => name.strip_suffix("_total").unwrap_or(&name),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "# HELP {described} {help}\n# TYPE {described} {kind}");
        Family { page: self, name }
    }
}

impl Family<'_> {
    /// Writes the value of a counter or gauge.
    pub(super) fn sample(&mut self, labels: Labels<'_>, value: u64) -> &mut Self {
        self.line("", labels, None, format_args!("{value}"));
        self
    }

    /// Writes a value that need not be whole.
    pub(super) fn fraction(&mut self, labels: Labels<'_>, value: f64) -> &mut Self {
        self.line("", labels, None, format_args!("{value:?}"));
        self
    }

    /// Writes the buckets, sum and count of a histogram.
    pub(super) fn buckets(&mut self, labels: Labels<'_>, reading: &Reading) -> &mut Self {
        self.buckets_with(labels, reading, &Exemplars::new())
    }

    /// The same with exemplars, for which only OpenMetrics has a place.
    pub(super) fn buckets_with(&mut self, labels: Labels<'_>, reading: &Reading, exemplars: &Exemplars) -> &mut Self {
        let bounds = reading.buckets.iter().map(|(bound, count)| (format!("{:?}", seconds(*bound)), *count));
        for (index, (bound, count)) in bounds.chain([("+Inf".to_owned(), reading.count)]).enumerate() {
            let exemplar = exemplars.get(index).copied().flatten().filter(|_| self.page.format == Format::OpenMetrics);
            let exemplar = exemplar.map_or_else(String::new, |exemplar| written(&exemplar));
            self.line("_bucket", labels, Some(&bound), format_args!("{count}{exemplar}"));
        }
        self.line("_sum", labels, None, format_args!("{:?}", seconds(reading.sum)));
        self.line("_count", labels, None, format_args!("{}", reading.count));
        self
    }

    fn line(&mut self, ending: &str, labels: Labels<'_>, bound: Option<&str>, value: std::fmt::Arguments<'_>) {
        let text = &mut self.page.text;
        let _ = write!(text, "{}{ending}", self.name);
        let labels = labels.iter().copied().chain(bound.map(|bound| ("le", bound)));
        let mut opening = '{';
        for (name, value) in labels {
            text.push(opening);
            // The names of attributes have dots.
            text.extend(name.chars().map(|character| if character == '.' { '_' } else { character }));
            *text += "=\"";
            escape(value, text);
            text.push('"');
            opening = ',';
        }
        if opening == ',' {
            text.push('}');
        }
        let _ = writeln!(text, " {value}");
    }
}

/// An exemplar as it stands behind a bucket. OpenTelemetry has set the names of its labels.
fn written(exemplar: &Exemplar) -> String {
    let Exemplar { trace_id, span_id, value, time } = exemplar;
    let time = time.0 as f64 / 1e9;
    format!(" # {{trace_id=\"{trace_id}\",span_id=\"{span_id}\"}} {:?} {time:.3}", seconds(*value))
}

fn counter_or_gauge(name: &str) -> &'static str {
    if name.ends_with("_total") { "counter" } else { "gauge" }
}

/// Escapes a label's value, which may be a service's name and hold anything.
fn escape(value: &str, text: &mut String) {
    for character in value.chars() {
        match character {
            '\\' => *text += "\\\\",
            '"' => *text += "\\\"",
            '\n' => *text += "\\n",
            other => text.push(other),
        }
    }
}

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use redistributed_core::trace::{SpanId, TraceId, UnixNanos};

    use super::*;

    fn page(format: Format) -> String {
        let mut page = Page::new(format);
        page.metric("read_total", "What was read").sample(&[("from", "a"), ("route", "one \"two\"\n\\")], 7);
        let time = UnixNanos(1_700_000_000_123_456_789);
        let (trace_id, span_id) = (TraceId::from_u128(0xabc).unwrap(), SpanId::from_u64(0xdef).unwrap());
        let exemplar = Exemplar { trace_id, span_id, value: 1_500_000, time };
        let reading = Reading { buckets: vec![(2_500_000, 1), (1_000_000_000, 3)], count: 4, sum: 12_000_000_001 };
        page.histogram("took_seconds", "How long it took").buckets(&[("result", "ok")], &reading);
        let sent = &[("messaging.operation.name", "publish")];
        page.convention("messaging.client.sent.messages", Kind::Counter, "Messages sent").sample(sent, 4);
        let exemplars = vec![Some(exemplar), None, Some(Exemplar { value: 12_000_000_000, ..exemplar })];
        page.convention("messaging.process.duration", Kind::Histogram, "Processing").buckets_with(
            &[("error.type", "ERR")],
            &reading,
            &exemplars,
        );
        page.process("cpu_seconds_total", "Time used").fraction(&[], 1.5);
        page.metric("open", "Open now").sample(&[], 3);
        page.end()
    }

    #[test]
    fn the_prometheus_format() {
        let expected = r#"# HELP redistributed_read_total What was read
# TYPE redistributed_read_total counter
redistributed_read_total{from="a",route="one \"two\"\n\\"} 7
# HELP redistributed_took_seconds How long it took
# TYPE redistributed_took_seconds histogram
redistributed_took_seconds_bucket{result="ok",le="0.0025"} 1
redistributed_took_seconds_bucket{result="ok",le="1.0"} 3
redistributed_took_seconds_bucket{result="ok",le="+Inf"} 4
redistributed_took_seconds_sum{result="ok"} 12.000000001
redistributed_took_seconds_count{result="ok"} 4
# HELP messaging_client_sent_messages_total Messages sent
# TYPE messaging_client_sent_messages_total counter
messaging_client_sent_messages_total{messaging_operation_name="publish"} 4
# HELP messaging_process_duration_seconds Processing
# TYPE messaging_process_duration_seconds histogram
messaging_process_duration_seconds_bucket{error_type="ERR",le="0.0025"} 1
messaging_process_duration_seconds_bucket{error_type="ERR",le="1.0"} 3
messaging_process_duration_seconds_bucket{error_type="ERR",le="+Inf"} 4
messaging_process_duration_seconds_sum{error_type="ERR"} 12.000000001
messaging_process_duration_seconds_count{error_type="ERR"} 4
# HELP process_cpu_seconds_total Time used
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total 1.5
# HELP redistributed_open Open now
# TYPE redistributed_open gauge
redistributed_open 3
"#;
        assert_eq!(page(Format::Prometheus), expected);
    }

    #[test]
    fn openmetrics_names_counters_without_their_ending_and_has_an_end() {
        let page = page(Format::OpenMetrics);
        assert!(page.starts_with("# HELP redistributed_read What was read\n# TYPE redistributed_read counter\n"));
        assert!(page.contains("\nredistributed_read_total{from="), "{page}");
        assert!(page.contains("\n# TYPE process_cpu_seconds counter\nprocess_cpu_seconds_total 1.5\n"), "{page}");
        assert!(page.ends_with("redistributed_open 3\n# EOF\n"), "{page}");
    }

    #[test]
    fn openmetrics_has_the_exemplars_of_buckets_and_of_nothing_else() {
        let page = page(Format::OpenMetrics);
        let told: Vec<_> = page.lines().filter(|line| line.contains(" # ")).collect();
        let ids = r#"trace_id="00000000000000000000000000000abc",span_id="0000000000000def""#;
        let bucket = r#"messaging_process_duration_seconds_bucket{error_type="ERR",le="#;
        assert_eq!(
            told,
            [
                format!("{bucket}\"0.0025\"}} 1 # {{{ids}}} 0.0015 1700000000.123"),
                format!("{bucket}\"+Inf\"}} 4 # {{{ids}}} 12.0 1700000000.123"),
            ]
        );
    }

    #[test]
    fn openmetrics_is_given_to_who_asks_for_it() {
        let accepted = |accept: &'static str| Format::accepted(Some(&HeaderValue::from_static(accept)));
        assert_eq!(accepted("application/openmetrics-text;version=1.0.0,text/plain;q=0.5"), Format::OpenMetrics);
        assert_eq!(accepted("text/plain"), Format::Prometheus);
        assert_eq!(Format::accepted(None), Format::Prometheus);
    }
}
