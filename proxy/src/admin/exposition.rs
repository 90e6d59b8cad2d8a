//! The text formats of metrics: Prometheus's, version 0.0.4, and OpenMetrics 1.0, which differ in little.

use std::fmt::Write;

use hyper::header::HeaderValue;

use crate::telemetry::histogram::Reading;

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
        for (bound, count) in &reading.buckets {
            self.line("_bucket", labels, Some(&format!("{:?}", seconds(*bound))), format_args!("{count}"));
        }
        self.line("_bucket", labels, Some("+Inf"), format_args!("{}", reading.count));
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
            let _ = write!(text, "{opening}{name}=\"");
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
    use super::*;

    fn page(format: Format) -> String {
        let mut page = Page::new(format);
        page.metric("read_total", "What was read").sample(&[("from", "a"), ("route", "one \"two\"\n\\")], 7);
        let reading = Reading { buckets: vec![(2_500_000, 1), (1_000_000_000, 3)], count: 4, sum: 12_000_000_001 };
        page.histogram("took_seconds", "How long it took").buckets(&[("result", "ok")], &reading);
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
    fn openmetrics_is_given_to_who_asks_for_it() {
        let accepted = |accept: &'static str| Format::accepted(Some(&HeaderValue::from_static(accept)));
        assert_eq!(accepted("application/openmetrics-text;version=1.0.0,text/plain;q=0.5"), Format::OpenMetrics);
        assert_eq!(accepted("text/plain"), Format::Prometheus);
        assert_eq!(Format::accepted(None), Format::Prometheus);
    }
}
