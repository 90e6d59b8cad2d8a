//! How transactions look on a terminal, each on a line. `span_tree` draws the tree of one.

use span_tree::{Style, Tone, counted, milliseconds};

use crate::tree::Trace;

/// A transaction on a single line without its newline: how much of it there is, when it was answered and when all was done.
pub(crate) fn line(trace: &Trace, title: &str, style: Style) -> String {
    let answered = trace.spans.first().map_or(0, |request| request.end.saturating_sub(request.start));
    let time = |nanoseconds: u64| milliseconds(i64::try_from(nanoseconds).unwrap_or(i64::MAX));
    format!(
        "  {}  {}  {:>9}  {:>10}  {}",
        trace.id,
        style.paint(Tone::Faint, &counted(trace.spans.len(), "span")),
        time(answered),
        time(trace.duration()),
        style.paint(Tone::Strong, title)
    )
}

/// The heading of the lines that [`line()`] makes, without its newline.
pub(crate) fn head_of_lines(style: Style) -> String {
    style.paint(Tone::Faint, &format!("  {:<32}  {:<8}  {:>9}  {:>10}  report", "trace", "", "answered", "all done"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::tests::transaction;

    #[test]
    fn a_transaction_in_short_takes_one_line() {
        let trace = transaction("4bf92f3577b34da6a3ce929d0e0e4736", "api", &["worker-table", "worker-chart"]);
        assert_eq!(
            [head_of_lines(Style::Plain), line(&trace, "Sales in Ulm", Style::Plain)],
            [
                "  trace                                        answered    all done  report",
                "  4bf92f3577b34da6a3ce929d0e0e4736  15 spans    0.90 ms    52.00 ms  Sales in Ulm"
            ]
        );
    }
}
