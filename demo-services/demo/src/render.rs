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
    let (who, what) = (widest(|row| width(&who(row))), widest(|row| width(&what(row.span))));
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
            milliseconds(span.end.saturating_sub(span.start)),
            style.paint(Tone::Faint, &row.branch),
            style.paint(Tone::Strong, &span.service),
            " ".repeat(who - width(&self::who(row))),
            style.paint(tone, &self::what(span)),
            " ".repeat(what - width(&self::what(span))),
        );
        if timeline >= NARROWEST_TIMELINE {
            let _ = write!(line, "  {}", style.paint(tone, &bar(trace, span, timeline)));
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// A trace of one publish and one delivery on a single line without its newline; `None` for any other trace.
pub(crate) fn line(trace: &Trace, style: Style) -> Option<String> {
    let rows = trace.rows();
    let [from, to] = &rows[..] else { return None };
    if from.span.kind != SpanKind::Producer || to.span.kind != SpanKind::Consumer || to.span.parent != from.span.id {
        return None;
    }
    let (publisher, name) = (&from.span.service, &from.span.name);
    Some(format!(
        "  {}  {:>9}  {} {} {}  {}",
        trace.id,
        milliseconds(trace.duration()),
        style.paint(Tone::Strong, &format!("{publisher:<14}")),
        style.paint(Tone::Faint, "─▶"),
        style.paint(Tone::Strong, &to.span.service),
        style.paint(tone(from.span), &join(name, &details(from.span))),
    ))
}

fn who(row: &Row<'_>) -> String {
    format!("{}{}", row.branch, row.span.service)
}

fn what(span: &Span) -> String {
    join(&span.name, &details(span))
}

fn join(name: &str, details: &[String]) -> String {
    if details.is_empty() { name.to_owned() } else { format!("{name}  {}", details.join(", ")) }
}

fn details(span: &Span) -> Vec<String> {
    let receivers = span.receivers.map(|count| counted(usize::try_from(count).unwrap_or(0), "receiver"));
    let size = span.body_size.map(|bytes| format!("{bytes} B"));
    let error = span.error.as_ref().map(|error| format!("failed: {error}"));
    [receivers, size, error].into_iter().flatten().collect()
}

fn tone(span: &Span) -> Tone {
    match span.kind {
        _ if span.error.is_some() => Tone::Bad,
        SpanKind::Producer => Tone::Publish,
        _ => Tone::Delivery,
    }
}

/// Where the span lies in the trace's time, on `columns` columns; never empty, however short the span.
fn bar(trace: &Trace, span: &Span, columns: usize) -> String {
    let whole = u128::from(trace.duration().max(1));
    let column = |time: u64| {
        let elapsed = u128::from(time.saturating_sub(trace.start()));
        usize::try_from(elapsed * columns as u128 / whole).unwrap_or(columns).min(columns)
    };
    let from = column(span.start).min(columns - 1);
    let to = column(span.end).max(from + 1);
    " ".repeat(from) + &"━".repeat(to - from)
}

fn milliseconds(nanoseconds: u64) -> String {
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
    use crate::tree::tests::fan_out;

    const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn example() -> Trace {
        let consumers = [
            ("worker-archive", 255, 330),
            ("worker-chart", 215, 301),
            ("worker-summary", 702, 890),
            ("worker-table", 208, 208),
        ];
        fan_out(ID, "reports", "api", &consumers)
    }

    #[test]
    fn a_transaction_is_drawn_as_a_tree_with_times() {
        let expected = "\
Transaction 1 of 3  trace 4bf92f3577b34da6a3ce929d0e0e4736  5 spans, 5 services, 0.89 ms
  http://localhost:16686/trace/4bf92f3577b34da6a3ce929d0e0e4736
      start       took
    0.00 ms    0.41 ms  api                publish reports  4 receivers, 61 B  ━━━━━━━━━
    0.21 ms    0.00 ms  ├─ worker-table    process reports  61 B                   ━
    0.22 ms    0.09 ms  ├─ worker-chart    process reports  61 B                    ━━
    0.26 ms    0.08 ms  ├─ worker-archive  process reports  61 B                     ━
    0.70 ms    0.19 ms  └─ worker-summary  process reports  61 B                               ━━━━━
";
        let link = format!("http://localhost:16686/trace/{ID}");
        assert_eq!(tree(&example(), "Transaction 1 of 3", Some(&link), Style::Plain), expected);
    }

    #[test]
    fn no_line_is_wider_than_a_terminal_and_colour_changes_no_text() {
        let mut trace = example();
        trace.spans[0].error = Some("NOPERM".to_owned());
        let plain = tree(&trace, "Transaction", None, Style::Plain);
        assert!(plain.lines().all(|line| width(line) <= WIDTH), "{plain}");
        assert!(plain.contains("4 receivers, 61 B, failed: NOPERM"), "{plain}");
        let coloured = tree(&trace, "Transaction", None, Style::Ansi);
        assert_ne!(coloured, plain);
        assert_eq!(without_escapes(&coloured), plain);
    }

    #[test]
    fn long_names_cost_the_timeline_and_not_the_text() {
        let trace = fan_out(ID, &"long.".repeat(12), "api", &[("worker", 1, 2)]);
        let text = tree(&trace, "Transaction", None, Style::Plain);
        assert!(!text.contains('━') && text.contains(&"long.".repeat(12)), "{text}");
    }

    #[test]
    fn an_announcement_takes_one_line() {
        let trace = fan_out(ID, "reports.done", "worker-table", &[("api", 250, 310)]);
        assert_eq!(
            line(&trace, Style::Plain).unwrap(),
            "  4bf92f3577b34da6a3ce929d0e0e4736    0.41 ms  worker-table   ─▶ api  publish reports.done  1 receiver, 61 B"
        );
        assert_eq!(line(&example(), Style::Plain), None);
    }

    #[test]
    fn times_are_rounded_and_a_bar_always_shows() {
        assert_eq!(milliseconds(0), "0.00 ms");
        assert_eq!(milliseconds(4_999), "0.00 ms");
        assert_eq!(milliseconds(1_234_567_890), "1234.57 ms");
        let trace = example();
        for span in &trace.spans {
            let bar = bar(&trace, span, 10);
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
