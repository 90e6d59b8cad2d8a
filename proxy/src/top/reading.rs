//! What a page of metrics says, in the text format of Prometheus.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// The most series that are kept of a page.
const MAX_SERIES: usize = 1 << 17;

/// The values of a page, by metric, route and the values of the other labels.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reading {
    /// When the page was read.
    pub(super) at: Instant,
    series: BTreeMap<(String, String, String), f64>,
    /// Label values that are no part of a series' identity here: version and build.
    pub(super) version: String,
}

impl Reading {
    /// Reads a port's page of metrics, as `/metrics` writes it.
    ///
    /// # Errors
    /// The page is not that of a redistributed.
    pub(super) fn parse(page: &str, at: Instant) -> Result<Self, String> {
        let mut reading = Self { at, series: BTreeMap::new(), version: String::new() };
        for line in page.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()).take(MAX_SERIES) {
            let Some((name, labels, value)) = sample(line) else { continue };
            if name == "redistributed_build_info" {
                reading.version = labels
                    .iter()
                    .find(|(name, _)| name == "version")
                    .map(|(_, value)| value.clone())
                    .unwrap_or_default();
            }
            let is_route = |(name, _): &&Label| name == "route";
            let route = labels.iter().find(is_route).map(|(_, value)| value.clone()).unwrap_or_default();
            let others: Vec<&str> =
                labels.iter().filter(|label| !is_route(label)).map(|(_, value)| value.as_str()).collect();
            reading.series.insert((name, route, others.join(",")), value);
        }
        if reading.version.is_empty() {
            return Err("its metrics are not those of a redistributed".to_owned());
        }
        Ok(reading)
    }

    /// The value of one series. A metric of the whole process has no route.
    pub(super) fn get(&self, metric: &str, route: &str, label: &str) -> Option<f64> {
        self.series.get(&(metric.to_owned(), route.to_owned(), label.to_owned())).copied()
    }

    /// The values of a metric for a route, by the values of its other labels.
    pub(super) fn by_label<'a>(&'a self, metric: &str, route: &str) -> impl Iterator<Item = (&'a str, f64)> + use<'a> {
        let (metric, route) = (metric.to_owned(), route.to_owned());
        let from = (metric.clone(), route.clone(), String::new());
        let series = self.series.range(from..).take_while(move |((name, of, _), _)| *name == metric && *of == route);
        series.map(|((_, _, label), value)| (label.as_str(), *value))
    }

    /// The routes, which are the names of services.
    pub(super) fn routes(&self) -> BTreeSet<&str> {
        let all = self.series.keys().filter(|(metric, ..)| metric == "redistributed_commands_total");
        all.map(|(_, route, _)| route.as_str()).collect()
    }

    /// When the process started, in seconds since 1970.
    pub(super) fn start(&self) -> f64 {
        self.get("process_start_time_seconds", "", "").unwrap_or_default()
    }
}

/// The name and the value of a label.
type Label = (String, String);

/// A line of a page: the metric, its labels and its value.
fn sample(line: &str) -> Option<(String, Vec<Label>, f64)> {
    let name_end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(name_end);
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            rest = rest.trim_start_matches([',', ' ']);
            if let Some(behind) = rest.strip_prefix('}') {
                rest = behind;
                break;
            }
            let (label, quoted) = rest.split_once("=\"")?;
            let (value, behind) = unquoted(quoted)?;
            labels.push((label.to_owned(), value));
            rest = behind;
        }
    }
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some((name.to_owned(), labels, value))
}

/// The value of a label up to its closing quote, and what stands behind that.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A page with these lines, of a process that started at this time.
    pub(in crate::top) fn page(start: u32, lines: &[&str], at: Instant) -> Reading {
        let head = format!(
            "# HELP x y\nredistributed_build_info{{version=\"0.1.0\",build=\"abc\"}} 1\nprocess_start_time_seconds {start}\n"
        );
        Reading::parse(&(head + &lines.join("\n")), at).unwrap()
    }

    #[test]
    fn series_are_found_by_metric_route_and_label() {
        let reading = page(
            7,
            &[
                "redistributed_commands_total{route=\"a\\\"b\\\\c\\nd\"} 3",
                "redistributed_skipped_total{route=\"api\",reason=\"size\"} 1",
                "redistributed_skipped_total{route=\"api\",reason=\"mode\"} 2e3",
                "redistributed_skipped_total{route=\"apj\",reason=\"mode\"} 5",
                "redistributed_connect_seconds_bucket{route=\"api\",result=\"ok\",le=\"+Inf\"} 9",
                "redistributed_spans_queued 4 1700000000",
                "broken{",
                "broken{x=\"y} 1",
                "broken",
            ],
            Instant::now(),
        );
        assert_eq!(reading.routes().into_iter().collect::<Vec<_>>(), ["a\"b\\c\nd"]);
        assert_eq!(
            reading.by_label("redistributed_skipped_total", "api").collect::<Vec<_>>(),
            [("mode", 2000.0), ("size", 1.0)]
        );
        assert_eq!(reading.get("redistributed_connect_seconds_bucket", "api", "ok,+Inf"), Some(9.0));
        assert_eq!(reading.get("redistributed_spans_queued", "", ""), Some(4.0));
        assert_eq!((reading.start(), reading.version.as_str()), (7.0, "0.1.0"));
    }

    #[test]
    fn a_page_of_another_program_is_no_reading() {
        assert!(Reading::parse("go_goroutines 8\n", Instant::now()).is_err());
        assert!(Reading::parse("<html>", Instant::now()).is_err());
    }
}
