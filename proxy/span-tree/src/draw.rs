//! How a trace looks on a terminal: a tree with times and a timeline.

use std::collections::BTreeSet;
use std::fmt::Write;

use redistributed_core::printable::printable;

use crate::text::{Style, Tone, counted, fit, milliseconds, width};
use crate::tree::{Kind, Row, Span, Trace};

/// The columns that a timeline stays within where the width of the output is not known.
const USUAL_WIDTH: usize = 100;
/// The timeline is left out rather than squeezed further.
const NARROWEST_TIMELINE: usize = 10;
const WIDEST_TIMELINE: usize = 30;
/// The columns before the branch: the two times.
const TIMES: usize = 2 + 9 + 2 + 9 + 2;
/// The columns that are left for names on however narrow a terminal.
const NARROWEST_NAME: usize = 12;

/// The form in which a trace is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Whether text has colours.
    pub style: Style,
    /// The columns that no line exceeds, as those of a terminal. With `None`, names are never cut, and only the timeline stays
    /// within 100 columns.
    pub width: Option<usize>,
}

/// A row as text, without its times.
struct Drawn {
    branch: String,
    service: String,
    what: String,
}

/// The whole tree of `trace` under `title`, and a line with `link` if there is one. Each line ends in a newline.
pub fn draw(trace: &Trace, title: &str, link: Option<&str>, look: Look) -> String {
    let Look { style, width: limit } = look;
    let rows = trace.rows();
    let drawn: Vec<Drawn> = rows.iter().map(|row| Drawn::new(row, trace)).collect();
    let mut who = drawn.iter().map(|row| width(&row.branch) + width(&row.service)).max().unwrap_or(0);
    let mut what = drawn.iter().map(|row| width(&row.what)).max().unwrap_or(0);
    if let Some(limit) = limit {
        let room = limit.saturating_sub(TIMES + 2);
        what = what.min(room.saturating_sub(who).max(NARROWEST_NAME));
        who = who.min(room.saturating_sub(what).max(NARROWEST_NAME));
    }
    let columns = limit.unwrap_or(USUAL_WIDTH);
    let timeline = columns.saturating_sub(TIMES + who + 2 + what + 2).min(WIDEST_TIMELINE);

    let mut text = heading(trace, &rows, title, look);
    // Writing to a String cannot fail, here and below.
    if let Some(link) = link {
        let _ = writeln!(
            text,
            "  {}",
            fit(&printable(link).to_string(), limit.map_or(usize::MAX, |limit| limit.saturating_sub(2)))
        );
    }
    let _ = writeln!(text, "{}", style.paint(Tone::Faint, &format!("  {:>9}  {:>9}", "start", "took")));
    for (row, drawn) in rows.iter().zip(&drawn) {
        let tone = tone(row.span);
        let branch = fit(&drawn.branch, who);
        let service = fit(&drawn.service, who - width(&branch));
        let name = fit(&drawn.what, what);
        let mut line = format!(
            "  {:>9}  {:>9}  {}{}{}  {}{}",
            milliseconds(between(trace.origin, row.span.start)),
            milliseconds(between(row.span.start, row.end()).max(0)),
            style.paint(Tone::Faint, &branch),
            style.paint(Tone::Strong, &service),
            " ".repeat(who - width(&branch) - width(&service)),
            style.paint(tone, &name),
            " ".repeat(what - width(&name)),
        );
        if timeline >= NARROWEST_TIMELINE {
            let _ = write!(line, "  {}", style.paint(tone, &bar(trace, row, timeline)));
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// The title, the trace's id and its size, on a line, or on two where that is too long.
fn heading(trace: &Trace, rows: &[Row<'_>], title: &str, Look { style, width: limit }: Look) -> String {
    let services: BTreeSet<&str> = trace.spans.iter().map(|span| span.service.as_str()).collect();
    let mut facts = vec![
        counted(trace.spans.len(), "span"),
        counted(services.len(), "service"),
        milliseconds(i64::try_from(trace.duration()).unwrap_or(i64::MAX)),
    ];
    if rows.iter().any(|row| !row.branch.is_empty() && row.span.cause.is_some()) {
        facts.push("╌ inferred".to_owned());
    }
    let (title, facts) = (printable(title).to_string(), facts.join(", "));
    let id = format!("  trace {}", printable(&trace.id));
    let one_line = limit.is_none_or(|limit| width(&title) + width(&id) + 2 + width(&facts) <= limit);
    let between = if one_line { "  " } else { "\n  " };
    format!("{}{id}{between}{}\n", style.paint(Tone::Strong, &title), style.paint(Tone::Faint, &facts))
}

impl Drawn {
    fn new(row: &Row<'_>, trace: &Trace) -> Self {
        let names = names(row);
        let details = details(row, trace);
        let what = if details.is_empty() { names } else { format!("{names}  {}", details.join(", ")) };
        Self {
            branch: row.branch.clone(),
            service: printable(&row.span.service).to_string(),
            what: printable(what).to_string(),
        }
    }
}

/// The names of a row's spans; one that is repeated stands there once, with the number of times.
fn names(row: &Row<'_>) -> String {
    let mut names: Vec<(&str, usize)> = Vec::new();
    for span in std::iter::once(&row.span).chain(&row.more) {
        match names.last_mut() {
            Some((name, times)) if *name == span.name => *times += 1,
            _ => names.push((&span.name, 1)),
        }
    }
    let one = |(name, times): (&str, usize)| if times == 1 { name.to_owned() } else { format!("{name} ×{times}") };
    names.into_iter().map(one).collect::<Vec<_>>().join(", ")
}

fn details(row: &Row<'_>, trace: &Trace) -> Vec<String> {
    let span = row.span;
    let mut details = Vec::new();
    details.extend(span.status.map(|status| status.to_string()));
    details.extend(span.receivers.map(|count| counted(usize::try_from(count).unwrap_or(0), "receiver")));
    details.extend(span.error.as_ref().map(|error| format!("failed: {error}")));
    details.extend(span.skipped.as_ref().map(|reason| format!("no context: {reason}")));
    if let Some(parent) = row.missing {
        details.push(match trace.before.names.get(parent) {
            Some(name) => format!("parent {name} above"),
            None => format!("parent {parent} not here"),
        });
        details.extend(span.cause.as_ref().map(|_| "inferred".to_owned()));
    }
    if trace.before.awaited.contains(&span.id) {
        details.push("parent of spans above".to_owned());
    }
    let inferred = if span.cause.is_some() && span.parent.is_empty() { "inferred " } else { "" };
    details.extend(span.links.iter().map(|trace| format!("{inferred}link to trace {trace}")));
    details
}

fn tone(span: &Span) -> Tone {
    match span.kind {
        _ if span.error.is_some() => Tone::Bad,
        Kind::Server => Tone::Request,
        Kind::Client => Tone::Command,
        Kind::Producer => Tone::Publish,
        Kind::Consumer | Kind::Internal => Tone::Delivery,
    }
}

/// Where the row's spans lie in the time of the spans that are shown, on `columns` columns; never empty, however short they are.
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

/// The nanoseconds from one time to another, negative if it is before.
fn between(from: u64, to: u64) -> i64 {
    i64::try_from(i128::from(to) - i128::from(from)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Before;

    const START: u64 = 1_700_000_000_000_000_000;

    /// A span of `service`. Times are in microseconds.
    fn span(id: &str, parent: &str, service: &str, kind: Kind, name: &str, from: u64, to: u64) -> Span {
        Span {
            id: id.to_owned(),
            parent: parent.to_owned(),
            service: service.to_owned(),
            name: name.to_owned(),
            kind,
            start: START + from * 1_000,
            end: START + to * 1_000,
            ..Span::default()
        }
    }

    /// An order that two services work on.
    fn order() -> Trace {
        use Kind::{Client, Consumer, Producer, Server};
        let inferred = |span: Span| Span { cause: Some("token".to_owned()), ..span };
        let publish = span("b", "a", "shop", Producer, "publish orders", 100, 512);
        Trace::new(
            "4bf92f3577b34da6a3ce929d0e0e4736".to_owned(),
            vec![
                inferred(span("e", "c", "packing", Client, "HSET", 42_010, 42_210)),
                inferred(span("d", "c", "packing", Client, "SET", 42_000, 42_300)),
                span("c", "b", "packing", Consumer, "process orders", 2_000, 52_000),
                Span { status: Some(201), ..span("a", "", "shop", Server, "POST /orders", 0, 900) },
                inferred(Span { receivers: Some(1), ..publish }),
                inferred(span("f", "a", "shop", Client, "SETEX", 600, 800)),
            ],
        )
    }

    fn at<'a>(trace: &'a mut Trace, id: &str) -> &'a mut Span {
        trace.spans.iter_mut().find(|span| span.id == id).unwrap()
    }

    fn drawn(trace: &Trace, width: Option<usize>) -> String {
        draw(trace, "One order", None, Look { style: Style::Plain, width })
    }

    #[test]
    fn a_trace_is_drawn_as_a_tree_with_times() {
        let expected = "\
One order  trace 4bf92f3577b34da6a3ce929d0e0e4736  6 spans, 2 services, 52.00 ms, ╌ inferred
  http://localhost:16686/trace/1
      start       took
    0.00 ms    0.90 ms  shop              POST /orders  201           ━
    0.10 ms    0.41 ms  ├╌ shop           publish orders  1 receiver  ━
    2.00 ms   50.00 ms  │  └─ packing     process orders               ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━
   42.00 ms    0.30 ms  │     └╌ packing  SET, HSET                                           ━
    0.60 ms    0.20 ms  └╌ shop           SETEX                       ━
";
        assert_eq!(draw(&order(), "One order", Some("http://localhost:16686/trace/1"), Look::default()), expected);
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_colour_changes_no_text() {
        let mut trace = order();
        at(&mut trace, "b").error = Some("NOPERM".to_owned());
        at(&mut trace, "f").service = "日本語".repeat(4);
        at(&mut trace, "c").name = "long.".repeat(40);
        for limit in TIMES + 2 * NARROWEST_NAME + 2..150 {
            let text = drawn(&trace, Some(limit));
            assert!(text.lines().all(|line| width(line) <= limit), "{limit}:\n{text}");
            let coloured = draw(&trace, "One order", None, Look { style: Style::Ansi, width: Some(limit) });
            assert_ne!(coloured, text);
            assert_eq!(without_escapes(&coloured), text);
        }
        assert!(drawn(&trace, Some(150)).contains("publish orders  1 receiver, failed: NOPERM"));
    }

    #[test]
    fn without_a_terminal_long_names_cost_the_timeline_and_not_the_text() {
        let mut trace = order();
        assert!(drawn(&trace, None).lines().all(|line| width(line) <= USUAL_WIDTH));
        at(&mut trace, "a").name = "long.".repeat(12);
        let text = drawn(&trace, None);
        assert!(!text.contains('━') && text.contains(&"long.".repeat(12)), "{text}");
    }

    #[test]
    fn what_is_not_in_the_part_is_said() {
        let mut trace = order();
        trace.spans.retain(|span| !["a", "c"].contains(&&*span.id));
        trace.origin = START;
        trace.before =
            Before { names: [("c".to_owned(), "process orders".to_owned())].into(), awaited: ["b".to_owned()].into() };
        at(&mut trace, "b").links = vec!["5".repeat(32)];
        let text = drawn(&trace, None);
        assert!(
            text.contains(
                "publish orders  1 receiver, parent a not here, inferred, parent of spans above, link to trace 555"
            ),
            "{text}"
        );
        assert!(
            text.contains("   42.00 ms    0.30 ms  packing  SET  parent process orders above, inferred\n"),
            "{text}"
        );
    }

    #[test]
    fn a_publish_without_a_context_and_what_was_linked_by_inference_say_so() {
        let skipped = Span {
            skipped: Some("auto_nobody".to_owned()),
            cause: Some("token".to_owned()),
            links: vec!["77".to_owned()],
            ..span("a", "", "shop", Kind::Producer, "publish orders", 0, 1)
        };
        let text = drawn(&Trace::new("t".to_owned(), vec![skipped]), None);
        assert!(text.contains("publish orders  no context: auto_nobody, inferred link to trace 77\n"), "{text}");
    }

    #[test]
    fn commands_that_repeat_are_counted_and_earlier_spans_have_negative_times() {
        let command = |id, name, from| span(id, "a", "shop", Kind::Client, name, from, from + 1);
        let mut trace = Trace::new(
            "t".to_owned(),
            vec![
                span("a", "", "shop", Kind::Server, "GET /", 0, 90),
                command("b", "GET", 1),
                command("c", "GET", 2),
                command("d", "SET", 3),
                command("e", "GET", 4),
            ],
        );
        trace.origin += 20_000;
        let text = drawn(&trace, None);
        assert!(text.contains("   -0.02 ms    0.00 ms  └─ shop  GET ×2, SET, GET"), "{text}");
    }

    #[test]
    fn names_from_the_network_are_shown_and_not_obeyed() {
        let hostile = "a\n\u{1b}[2J\u{9b}\u{202e}";
        let mut root = span("a", hostile, hostile, Kind::Producer, hostile, 0, 1);
        root.error = Some(hostile.to_owned());
        root.skipped = Some(hostile.to_owned());
        root.links = vec![hostile.to_owned()];
        let text = draw(&Trace::new(hostile.to_owned(), vec![root]), hostile, Some(hostile), Look::default());
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(!text.contains(|c: char| c != '\n' && redistributed_core::printable::is_unfit(c)), "{text:?}");
    }

    #[test]
    fn a_bar_always_shows() {
        let trace = order();
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
