//! A table as lines of text, as wide as there is room.

use redistributed_core::printable::printable;
use span_tree::{Style, Tone, fit, width};

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) head: &'static str,
    /// Text begins at the left, figures end at the right.
    pub(super) is_text: bool,
    /// Columns with higher numbers are left out first where there is no room. Those with 0 always stay.
    pub(super) rank: u8,
}

impl Column {
    pub(super) const fn text(head: &'static str, rank: u8) -> Self {
        Self { head, is_text: true, rank }
    }

    pub(super) const fn figure(head: &'static str, rank: u8) -> Self {
        Self { head, is_text: false, rank }
    }
}

/// A cell: its text, and how it stands out, if it does.
pub(super) type Cell = (String, Option<Tone>);

/// A table with its columns, and its rows of as many cells.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Vec<Cell>>,
    /// The column by which the rows are sorted.
    pub(super) sorted: Option<usize>,
}

/// The narrowest that a column of text is made.
const NARROWEST: usize = 8;

impl Table {
    /// The columns that the table takes where nothing is cut or left out.
    pub(super) fn width(&self) -> usize {
        let of_column = |index: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(index)).map(|(text, _)| width(text));
            cells.fold(width(self.columns[index].head), usize::max) + 2
        };
        (0..self.columns.len()).map(of_column).sum()
    }

    /// Takes a column out. Returns its cells.
    pub(super) fn remove(&mut self, head: &str) -> Vec<Cell> {
        let Some(index) = self.columns.iter().position(|column| column.head == head) else { return Vec::new() };
        self.columns.remove(index);
        self.sorted = self.sorted.filter(|sorted| *sorted != index).map(|sorted| sorted - usize::from(sorted > index));
        self.rows.iter_mut().map(|row| row.remove(index).0).map(|text| (text, None)).collect()
    }

    /// The heading, and a line for each row. No line is wider than `limit`, if there is one.
    pub(super) fn lines(&self, limit: Option<usize>, style: Style) -> Vec<String> {
        let rows: Vec<Vec<Cell>> = self
            .rows
            .iter()
            .map(|row| row.iter().map(|(text, tone)| (printable(text).to_string(), *tone)).collect())
            .collect();
        let head = |index: usize| {
            let mark = if self.sorted == Some(index) { "▾" } else { "" };
            format!("{}{mark}", self.columns[index].head)
        };
        let mut widths: Vec<usize> = (0..self.columns.len())
            .map(|index| {
                rows.iter()
                    .filter_map(|row| row.get(index))
                    .map(|(text, _)| width(text))
                    .fold(width(&head(index)), usize::max)
            })
            .collect();
        let mut shown: Vec<usize> = (0..self.columns.len()).collect();
        if let Some(limit) = limit {
            self.fit_into(limit, &mut widths, &mut shown);
        }
        let line = |cells: Vec<(String, Option<Tone>)>| {
            let mut text = String::new();
            for (&index, (cell, tone)) in shown.iter().zip(cells) {
                let cell = fit(&cell, widths[index]);
                let space = " ".repeat(widths[index] - width(&cell));
                let cell = tone.map_or(cell.clone(), |tone| style.paint(tone, &cell));
                text +=
                    &if self.columns[index].is_text { format!("{cell}{space}  ") } else { format!("{space}{cell}  ") };
            }
            text.trim_end().to_owned()
        };
        let heading = line(shown.iter().map(|&index| (head(index), Some(Tone::Faint))).collect());
        let row =
            |row: &Vec<Cell>| line(shown.iter().map(|&index| row.get(index).cloned().unwrap_or_default()).collect());
        std::iter::once(heading).chain(rows.iter().map(row)).collect()
    }

    /// Narrows columns of text, and then leaves out columns, until the table is no wider than `limit`.
    fn fit_into(&self, limit: usize, widths: &mut [usize], shown: &mut Vec<usize>) {
        let natural = widths.to_vec();
        loop {
            widths.copy_from_slice(&natural);
            // A long name is cut before a figure is left out, as long as it can still be told from others.
            if self.narrow(limit, 2 * NARROWEST, widths, shown) {
                return;
            }
            let dispensable = shown.iter().copied().filter(|&index| self.columns[index].rank > 0);
            let Some(last) = dispensable.max_by_key(|&index| self.columns[index].rank) else { break };
            shown.retain(|&index| index != last);
        }
        self.narrow(limit, NARROWEST, widths, shown);
    }

    /// Narrows columns of text, the widest first, but none below `narrowest`. Returns whether the table fits then.
    fn narrow(&self, limit: usize, narrowest: usize, widths: &mut [usize], shown: &[usize]) -> bool {
        loop {
            let total = shown.iter().map(|&index| widths[index] + 2).sum::<usize>().saturating_sub(2);
            let excess = total.saturating_sub(limit);
            if excess == 0 {
                return true;
            }
            let texts = shown.iter().copied().filter(|&index| self.columns[index].is_text && widths[index] > narrowest);
            let Some(widest) = texts.max_by_key(|&index| widths[index]) else { return false };
            widths[widest] = widths[widest].saturating_sub(excess).max(narrowest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let cell = |text: &str| (text.to_owned(), None);
        Table {
            columns: vec![
                Column::text("service", 0),
                Column::figure("cmd/s", 0),
                Column::figure("p99", 2),
                Column::text("why", 1),
            ],
            rows: vec![
                vec![cell("orders"), cell("12.0"), cell("3.10 ms"), cell("because of a long reason")],
                vec![cell("a\n\u{1b}[2J"), cell("7"), cell("-"), cell("no")],
            ],
            sorted: Some(1),
        }
    }

    #[test]
    fn columns_are_aligned_and_names_are_not_obeyed() {
        assert_eq!(
            table().lines(None, Style::Plain),
            [
                "service       cmd/s▾      p99  why",
                "orders          12.0  3.10 ms  because of a long reason",
                r"a\n\u{1b}[2J       7        -  no",
            ]
        );
    }

    #[test]
    fn a_table_gets_narrower_by_text_first_and_then_by_columns() {
        let heads = |limit| {
            table().lines(Some(limit), Style::Plain)[0].split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(heads(50), ["service", "cmd/s▾", "p99", "why"]);
        assert_eq!(heads(40), ["service", "cmd/s▾", "why"]);
        assert_eq!(heads(30), ["service", "cmd/s▾"]);
        for limit in 17..70 {
            for line in table().lines(Some(limit), Style::Plain) {
                assert!(width(&line) <= limit, "{limit}: {line}");
            }
        }
    }

    #[test]
    fn colour_changes_no_column() {
        let mut coloured = table();
        coloured.rows[0][0].1 = Some(Tone::Bad);
        let lines = coloured.lines(None, Style::Ansi);
        assert!(lines[1].starts_with("\x1b[31morders\x1b[0m          12.0"), "{lines:?}");
    }
}
