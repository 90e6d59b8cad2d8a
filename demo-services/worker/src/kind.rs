//! The four kinds of parts, what each contains and how long it takes to make.

use std::fmt::Write;
use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;

use crate::job::Job;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// What a worker makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One sentence.
    Summary,
    /// Bars, as SVG.
    Chart,
    /// The figures, as CSV.
    Table,
    /// The figures, as HTML.
    Page,
}

/// A finished part, as it is stored.
#[derive(Serialize)]
pub(crate) struct Part {
    pub(crate) content_type: &'static str,
    pub(crate) content: String,
}

#[derive(Debug, thiserror::Error)]
#[error("`{0}` is none of summary, chart, table, page")]
pub(crate) struct UnknownKind(String);

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::Summary, Self::Chart, Self::Table, Self::Page];
        all.into_iter().find(|kind| kind.name() == text).ok_or_else(|| UnknownKind(text.to_owned()))
    }
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Summary => "summary",
            Self::Chart => "chart",
            Self::Table => "table",
            Self::Page => "page",
        }
    }

    /// How long it takes to make this part of this report: a time for the kind, and much less or much more by the report, as some
    /// reports have few figures and others many.
    ///
    /// The figures are made up, so the time that real ones would take to compute is spent asleep.
    pub(crate) fn effort(self, job: &Job) -> Duration {
        let usual = match self {
            Self::Table => 20,
            Self::Summary => 35,
            Self::Page => 55,
            Self::Chart => 80,
        };
        let by_report = match job.seed() % 5 {
            0 => 300,
            1 => 500,
            2 => 900,
            3 => 1_600,
            _ => 2_800,
        };
        Duration::from_micros(usual * by_report)
    }

    pub(crate) fn make(self, job: &Job) -> Part {
        let rows = MONTHS.into_iter().zip(job.figures());
        let (content_type, content) = match self {
            Self::Summary => ("text/plain", summary(job, rows)),
            Self::Chart => ("image/svg+xml", chart(rows)),
            Self::Table => ("text/csv", rows.fold("month,figure\n".to_owned(), |t, (m, f)| t + &format!("{m},{f}\n"))),
            Self::Page => ("text/html", page(job, rows)),
        };
        Part { content_type, content }
    }
}

fn summary(job: &Job, rows: impl Iterator<Item = (&'static str, u64)> + Clone) -> String {
    let total: u64 = rows.clone().map(|(_, figure)| figure).sum();
    let (best, most) = rows.max_by_key(|(_, figure)| *figure).unwrap_or_default();
    format!("{}: {total} in the year; the best month was {best} with {most}.", job.title)
}

fn chart(rows: impl Iterator<Item = (&'static str, u64)>) -> String {
    let mut svg = r#"<svg xmlns="http://www.w3.org/2000/svg" width="240" height="100">"#.to_owned();
    for (column, (month, figure)) in rows.enumerate() {
        let (x, height) = (column * 20, figure / 10);
        let y = 100 - height;
        // Writing to a String cannot fail.
        let _ = write!(svg, r#"<rect x="{x}" y="{y}" width="16" height="{height}"><title>{month}</title></rect>"#);
    }
    svg + "</svg>"
}

fn page(job: &Job, rows: impl Iterator<Item = (&'static str, u64)>) -> String {
    let title = job.title.replace('&', "&amp;").replace('<', "&lt;");
    let rows: String = rows.map(|(month, figure)| format!("<tr><td>{month}<td>{figure}")).collect();
    format!("<!doctype html><title>{title}</title><h1>{title}</h1><table>{rows}</table>")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> Job {
        Job::parse(br#"{"id":"00112233445566778899aabbccddeeff","title":"A < B & C"}"#).unwrap()
    }

    #[test]
    fn each_kind_has_its_content_and_a_stable_effort() {
        for (name, content_type, starts) in [
            ("summary", "text/plain", "A < B & C: "),
            ("chart", "image/svg+xml", "<svg "),
            ("table", "text/csv", "month,figure\nJan,"),
            ("page", "text/html", "<!doctype html><title>A &lt; B &amp; C<"),
        ] {
            let kind: Kind = name.parse().unwrap();
            let part = kind.make(&job());
            assert_eq!((kind.name(), part.content_type), (name, content_type));
            assert!(part.content.starts_with(starts), "{}", part.content);
            assert_eq!(kind.effort(&job()), kind.effort(&job()));
            assert!((5..250).contains(&kind.effort(&job()).as_millis()));
        }
        assert_eq!("pdf".parse::<Kind>().unwrap_err().to_string(), "`pdf` is none of summary, chart, table, page");
    }
}
