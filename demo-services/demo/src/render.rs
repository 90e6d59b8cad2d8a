//! How a trace looks on a terminal: a tree with times and a timeline, at most 100 columns wide.

use std::collections::BTreeSet;
use std::fmt::Write;

use otlp_receiver::proto::trace::v1::span::SpanKind;

use crate::tree::{Row, Span, Trace};

/// Widest line, in columns.
const WIDTH: usize = 100;
/// The timeline is left out rather than squeezed further.
const NARROWEST_TIMELINE: usize = 10;
const WIDEST_TIMELINE: usize = 30;

/// How text is made to stand out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Not at all: for pipes and files, and where the user asks for it (`NO_COLOR`).
    Plain,
    /// By ANSI escape sequences.
    Ansi,
}

/// What a piece of text is, which decides its colour.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tone {
    Strong,
    Faint,
    Request,
    Command,
    Publish,
    Delivery,
    Good,
    Bad,
}

impl Style {
    /// `text` in its colour.
    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Strong => "1",
            Tone::Faint => "2",
            Tone::Request => "34",
            Tone::Command => "33",
            Tone::Publish => "35",
            Tone::Delivery => "36",
            Tone::Good => "32",
            Tone::Bad => "31",
        };
        match self {
            Self::Ansi if !text.is_empty() => format!("\x1b[{code}m{text}\x1b[0m"),
            Self::Plain | Self::Ansi => text.to_owned(),
        }
    }
}

/// The whole tree of `trace` under `title`, each line ended by a newline.
pub(crate) fn tree(trace: &Trace, title: &str, link: Option<&str>, style: Style) -> String {
    let rows = trace.rows();
    let widest = |column: fn(&Row<'_>) -> usize| rows.iter().map(column).max().unwrap_or(0);
    let (who, what) = (widest(|row| width(&who(row))), widest(|row| width(&what(row))));
    let timeline = WIDTH.saturating_sub(2 + 9 + 2 + 9 + 2 + who + 2 + what + 2).min(WIDEST_TIMELINE);

    let services: BTreeSet<&str> = trace.spans.iter().map(|span| span.service.as_str()).collect();
    let facts = format!(
        "{}, {}, {}",
        counted(trace.spans.len(), "span"),
        counted(services.len(), "service"),
        milliseconds(trace.duration())
    );
    let mut text = String::new();
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(
        text,
        "{}  trace {}  {}",
        style.paint(Tone::Strong, title),
        trace.id,
        style.paint(Tone::Faint, &facts)
    );
    if let Some(link) = link {
        let _ = writeln!(text, "  {link}");
    }
    let _ = writeln!(text, "{}", style.paint(Tone::Faint, &format!("  {:>9}  {:>9}", "start", "took")));
    for row in &rows {
        let span = row.span;
        let tone = tone(span);
        let mut line = format!(
            "  {:>9}  {:>9}  {}{}{}  {}{}",
            milliseconds(span.start - trace.start()),
            milliseconds(row.end().saturating_sub(span.start)),
            style.paint(Tone::Faint, &row.branch),
            style.paint(Tone::Strong, &span.service),
            " ".repeat(who - width(&self::who(row))),
            style.paint(tone, &self::what(row)),
            " ".repeat(what - width(&self::what(row))),
        );
        if timeline >= NARROWEST_TIMELINE {
            let _ = write!(line, "  {}", style.paint(tone, &bar(trace, row, timeline)));
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// A transaction on a single line without its newline: how much of it there is, when it was answered and when all was done.
pub(crate) fn line(trace: &Trace, title: &str, style: Style) -> String {
    let answered = trace.spans.first().map_or(0, |request| request.end.saturating_sub(request.start));
    format!(
        "  {}  {}  {:>9}  {:>10}  {}",
        trace.id,
        style.paint(Tone::Faint, &counted(trace.spans.len(), "span")),
        milliseconds(answered),
        milliseconds(trace.duration()),
        style.paint(Tone::Strong, title)
    )
}

/// The heading of the lines that [`line()`] makes, without its newline.
pub(crate) fn head_of_lines(style: Style) -> String {
    style.paint(Tone::Faint, &format!("  {:<32}  {:<8}  {:>9}  {:>10}  report", "trace", "", "answered", "all done"))
}

fn who(row: &Row<'_>) -> String {
    format!("{}{}", row.branch, row.span.service)
}

fn what(row: &Row<'_>) -> String {
    let names: Vec<&str> = std::iter::once(&row.span).chain(&row.more).map(|span| &*span.name).collect();
    let details = details(row.span);
    if details.is_empty() { names.join(", ") } else { format!("{}  {}", names.join(", "), details.join(", ")) }
}

fn details(span: &Span) -> Vec<String> {
    let status = span.status.map(|status| status.to_string());
    let receivers = span.receivers.map(|count| counted(usize::try_from(count).unwrap_or(0), "receiver"));
    let error = span.error.as_ref().map(|error| format!("failed: {error}"));
    [status, receivers, error].into_iter().flatten().collect()
}

fn tone(span: &Span) -> Tone {
    match span.kind {
        _ if span.error.is_some() => Tone::Bad,
        SpanKind::Server => Tone::Request,
        SpanKind::Client => Tone::Command,
        SpanKind::Producer => Tone::Publish,
        _ => Tone::Delivery,
    }
}

/// Where the row's spans lie in the trace's time, on `columns` columns; never empty, however short they are.
fn bar(trace: &Trace, row: &Row<'_>, columns: usize) -> String {
    let whole = u128::from(trace.duration().max(1));
    let column = |time: u64| {
        let elapsed = u128::from(time.saturating_sub(trace.start()));
        usize::try_from(elapsed * columns as u128 / whole).unwrap_or(columns).min(columns)
    };
    let from = column(row.span.start).min(columns - 1);
    let to = column(row.end()).max(from + 1);
    " ".repeat(from) + &"━".repeat(to - from)
}

fn milliseconds(nanoseconds: u64) -> String {
    if nanoseconds >= 999_995_000 {
        let tenths = (nanoseconds + 50_000) / 100_000;
        return format!("{}.{} ms", tenths / 10, tenths % 10);
    }
    let hundredths = (nanoseconds + 5_000) / 10_000;
    format!("{}.{:02} ms", hundredths / 100, hundredths % 100)
}

fn counted(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

/// Columns on a terminal: everything drawn here is one column a character.
fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::tests::transaction;

    const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn example() -> Trace {
        transaction(ID, "api", &["worker-table", "worker-chart"])
    }

    #[test]
    fn a_transaction_is_drawn_as_a_tree_with_times() {
        let expected = "\
One report  trace 4bf92f3577b34da6a3ce929d0e0e4736  15 spans, 3 services, 52.00 ms
  http://localhost:16686/trace/4bf92f3577b34da6a3ce929d0e0e4736
      start       took
    0.00 ms    0.90 ms  api                    POST /reports  202                ━
    0.10 ms    0.41 ms  ├─ api                 publish reports  2 receivers      ━
    1.00 ms   50.00 ms  │  ├─ worker-table     process reports                   ━━━━━━━━━━━━━━━━━━
   41.00 ms    0.32 ms  │  │  ├─ worker-table  SET, HINCRBY, EXPIRE                            ━
   42.00 ms    9.00 ms  │  │  └─ worker-table  publish reports.done  1 receiver                 ━━━
   42.50 ms    0.20 ms  │  │     └─ api        process reports.done                             ━
    2.00 ms   50.00 ms  │  └─ worker-chart     process reports                   ━━━━━━━━━━━━━━━━━━━
   42.00 ms    0.32 ms  │     ├─ worker-chart  SET, HINCRBY, EXPIRE                             ━
   43.00 ms    9.00 ms  │     └─ worker-chart  publish reports.done  1 receiver                 ━━━━
   43.50 ms    0.20 ms  │        └─ api        process reports.done                             ━
    0.60 ms    0.20 ms  └─ api                 SETEX                             ━
";
        let link = format!("http://localhost:16686/trace/{ID}");
        assert_eq!(tree(&example(), "One report", Some(&link), Style::Plain), expected);
    }

    #[test]
    fn no_line_is_wider_than_a_terminal_and_colour_changes_no_text() {
        let mut trace = example();
        trace.spans[1].error = Some("NOPERM".to_owned());
        let plain = tree(&trace, "Transaction", None, Style::Plain);
        assert!(plain.lines().all(|line| width(line) <= WIDTH), "{plain}");
        assert!(plain.contains("2 receivers, failed: NOPERM"), "{plain}");
        let coloured = tree(&trace, "Transaction", None, Style::Ansi);
        assert_ne!(coloured, plain);
        assert_eq!(without_escapes(&coloured), plain);
    }

    #[test]
    fn long_names_cost_the_timeline_and_not_the_text() {
        let mut trace = example();
        trace.spans[0].name = "long.".repeat(12);
        let text = tree(&trace, "Transaction", None, Style::Plain);
        assert!(!text.contains('━') && text.contains(&"long.".repeat(12)), "{text}");
    }

    #[test]
    fn a_transaction_in_short_takes_one_line() {
        assert_eq!(
            [head_of_lines(Style::Plain), line(&example(), "Sales in Ulm", Style::Plain)],
            [
                "  trace                                        answered    all done  report",
                "  4bf92f3577b34da6a3ce929d0e0e4736  15 spans    0.90 ms    52.00 ms  Sales in Ulm"
            ]
        );
    }

    #[test]
    fn times_are_rounded_and_a_bar_always_shows() {
        assert_eq!(milliseconds(0), "0.00 ms");
        assert_eq!(milliseconds(4_999), "0.00 ms");
        assert_eq!(milliseconds(1_234_567_890), "1234.6 ms");
        let trace = example();
        for row in trace.rows() {
            let bar = bar(&trace, &row, 10);
            assert!(bar.contains('━') && width(&bar) <= 10, "{bar:?}");
        }
    }

    fn without_escapes(text: &str) -> String {
        let mut plain = String::new();
        let mut parts = text.split('\x1b');
        plain.push_str(parts.next().unwrap());
        parts.for_each(|part| plain.push_str(part.split_once('m').unwrap().1));
        plain
    }
}
