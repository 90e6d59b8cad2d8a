//! The four views: which tables they are, and how their rows are sorted.

use std::cmp::Ordering;
use std::time::Duration;

use span_tree::Tone;

use super::figures::{RoundTrip, ServiceFigures};
use super::model::Port;
use super::reasons;
use super::table::{Cell, Column, Table};

/// What is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum View {
    #[default]
    Services,
    Channels,
    Skipped,
    Proxies,
}

impl View {
    pub(super) const ALL: [Self; 4] = [Self::Services, Self::Channels, Self::Skipped, Self::Proxies];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Services => "services",
            Self::Channels => "channels",
            Self::Skipped => "skipped",
            Self::Proxies => "proxies",
        }
    }

    /// The table of this view.
    pub(super) fn table(self, ports: &[Port]) -> SortedTable {
        match self {
            Self::Services => services(ports).of_ports(ports),
            Self::Channels => channels(ports).of_ports(ports),
            Self::Skipped => skipped(ports).of_ports(ports),
            Self::Proxies => proxies(ports),
        }
    }
}

/// A table, with a number for each cell by which rows can be sorted. Texts have none.
#[derive(Debug)]
pub(super) struct SortedTable {
    columns: Vec<Column>,
    rows: Vec<Vec<(Cell, Option<f64>)>>,
}

impl SortedTable {
    fn new(columns: Vec<Column>) -> Self {
        Self { columns, rows: Vec::new() }
    }

    /// Without the last column, the name of the port, where there is only one.
    fn of_ports(mut self, ports: &[Port]) -> Self {
        if ports.len() == 1 {
            self.columns.pop();
            self.rows.iter_mut().for_each(|row| _ = row.pop());
        }
        self
    }

    pub(super) fn columns(&self) -> usize {
        self.columns.len()
    }

    /// The rows in which one of the texts contains `filter`, sorted by a column: figures from the greatest on, texts by the
    /// alphabet, or the other way round if it is `reversed`.
    pub(super) fn sorted(mut self, by: usize, reversed: bool, filter: &str) -> Table {
        let filter = filter.to_lowercase();
        let fits = |row: &Vec<(Cell, Option<f64>)>| {
            row.iter().any(|((text, _), number)| number.is_none() && text.to_lowercase().contains(&filter))
        };
        self.rows.retain(fits);
        let by = by.min(self.columns.len().saturating_sub(1));
        self.rows.sort_by(|one, other| {
            let order = match (one.get(by), other.get(by)) {
                (Some((one, Some(first))), Some((other, Some(second)))) => {
                    second.total_cmp(first).then_with(|| one.0.cmp(&other.0))
                }
                (Some(((one, _), _)), Some(((other, _), _))) => one.cmp(other),
                _ => Ordering::Equal,
            };
            if reversed { order.reverse() } else { order }
        });
        let rows = self.rows.into_iter().map(|row| row.into_iter().map(|(cell, _)| cell).collect()).collect();
        Table { columns: self.columns, rows, sorted: Some(by) }
    }
}

fn text(text: impl Into<String>) -> (Cell, Option<f64>) {
    ((text.into(), None), None)
}

fn toned(text: impl Into<String>, tone: Tone) -> (Cell, Option<f64>) {
    ((text.into(), Some(tone)), None)
}

/// A rate a second; `-` while it is not known, or where there is no such thing.
fn rate(value: Option<f64>) -> (Cell, Option<f64>) {
    let shown = value.map_or_else(|| "-".to_owned(), figure);
    ((shown, None), Some(value.unwrap_or(-1.0)))
}

/// Writes a number with one decimal below 100, without decimals up to 9,999, and in thousands, millions or billions above.
fn figure(value: f64) -> String {
    match value {
        value if value >= 999_950_000.0 => format!("{:.1}G", value / 1e9),
        value if value >= 999_950.0 => format!("{:.1}M", value / 1e6),
        value if value >= 9_999.5 => format!("{:.1}k", value / 1e3),
        value if value >= 99.95 || value == 0.0 => format!("{value:.0}"),
        value => format!("{value:.1}"),
    }
}

fn count(value: f64) -> (Cell, Option<f64>) {
    ((figure_of_count(value), None), Some(value))
}

fn figure_of_count(value: f64) -> String {
    if value < 9_999.5 { format!("{value:.0}") } else { figure(value) }
}

/// What should not happen: a number that is red if it has grown in the interval.
fn trouble(total: f64, new: Option<f64>) -> (Cell, Option<f64>) {
    let tone = (new.unwrap_or(0.0) > 0.0).then_some(Tone::Bad);
    ((figure_of_count(total), tone), Some(total))
}

fn round_trip(time: Option<RoundTrip>) -> (Cell, Option<f64>) {
    match time {
        None => (("-".to_owned(), None), Some(-1.0)),
        Some(RoundTrip::About(time)) => ((duration(time), None), Some(time.as_secs_f64())),
        Some(RoundTrip::Above(time)) => ((format!(">{}", duration(time)), Some(Tone::Bad)), Some(time.as_secs_f64())),
    }
}

fn duration(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    match micros {
        micros if micros < 999.5 => format!("{micros:.0}µs"),
        micros if micros < 99_950.0 => format!("{:.1}ms", micros / 1e3),
        micros if micros < 999_500.0 => format!("{:.0}ms", micros / 1e3),
        micros => format!("{:.1}s", micros / 1e6),
    }
}

/// The share of one rate in another.
fn share(part: Option<f64>, whole: Option<f64>) -> (Cell, Option<f64>) {
    match part.zip(whole) {
        Some((part, whole)) if whole > 0.0 => {
            let percent = (part / whole * 100.0).min(100.0);
            ((format!("{percent:.0}%"), None), Some(percent))
        }
        _ => (("-".to_owned(), None), Some(-1.0)),
    }
}

fn services(ports: &[Port]) -> SortedTable {
    let mut table = SortedTable::new(vec![
        Column::text("service", 0),
        Column::figure("cmd/s", 0),
        Column::figure("pub/s", 0),
        Column::figure("traced", 2),
        Column::figure("dlv/s", 0),
        Column::figure("http/s", 4),
        Column::figure("p50", 1),
        Column::figure("p95", 3),
        Column::figure("p99", 1),
        Column::figure("errors", 0),
        Column::figure("conn", 2),
        Column::text("proxy", 5),
    ]);
    for port in ports {
        let all = port.interval().map(|interval| interval.services()).unwrap_or_default();
        table.rows.extend(all.into_iter().map(|service| {
            let ServiceFigures { name, connections, requests, commands, published, injected, delivered, .. } = service;
            let times = service.round_trips;
            let time = |index: usize| round_trip(times.map(|times| times[index]));
            vec![
                toned(name, Tone::Strong),
                rate(commands),
                rate(published),
                share(injected, published),
                rate(delivered),
                rate(requests),
                time(0),
                time(1),
                time(2),
                trouble(service.errors, service.new_errors),
                count(connections),
                text(port.label.clone()),
            ]
        }));
    }
    table
}

fn channels(ports: &[Port]) -> SortedTable {
    let mut table = SortedTable::new(vec![
        Column::text("channel", 0),
        Column::text("service", 0),
        Column::figure("pub/s", 0),
        Column::figure("dlv/s", 0),
        Column::figure("recv/s", 3),
        Column::figure("bytes/s", 2),
        Column::figure("mean", 1),
        Column::figure("skipped", 1),
        Column::text("why", 2),
        Column::figure("failed", 3),
        Column::figure("seen", 4),
        Column::text("proxy", 5),
    ]);
    for port in ports {
        table.rows.extend(port.channels.iter().map(|(service, channel, seen)| {
            let mean = seen.mean_round_trip();
            vec![
                toned(channel, Tone::Strong),
                text(service),
                rate(seen.rate(|counts| counts.published)),
                rate(seen.rate(|counts| counts.delivered)),
                rate(seen.rate(|counts| counts.receivers)),
                rate(seen.rate(|counts| counts.bytes)),
                round_trip(mean.map(RoundTrip::About)),
                count(seen.total.skipped as f64),
                text(seen.skipped.clone().unwrap_or_default()),
                count(seen.total.failed as f64),
                count((seen.total.published + seen.total.delivered) as f64),
                text(port.label.clone()),
            ]
        }));
    }
    table
}

fn skipped(ports: &[Port]) -> SortedTable {
    let mut table = SortedTable::new(vec![
        Column::text("service", 0),
        Column::text("reason", 0),
        Column::figure("/s", 0),
        Column::figure("total", 0),
        Column::figure("share", 1),
        Column::text("what it means", 2),
        Column::text("what to do", 3),
        Column::text("proxy", 5),
    ]);
    for port in ports {
        let all = port.interval().map(|interval| interval.skipped()).unwrap_or_default();
        table.rows.extend(all.into_iter().map(|skipped| {
            let (meaning, remedy) = reasons::explain(&skipped.reason);
            vec![
                toned(skipped.service, Tone::Strong),
                text(skipped.reason),
                rate(skipped.rate),
                count(skipped.total),
                share(Some(skipped.share), Some(1.0)),
                text(meaning),
                text(remedy),
                text(port.label.clone()),
            ]
        }));
    }
    table
}

fn proxies(ports: &[Port]) -> SortedTable {
    let mut table = SortedTable::new(vec![
        Column::text("proxy", 0),
        Column::text("state", 0),
        Column::text("mode", 1),
        Column::figure("conn", 1),
        Column::figure("cpu", 2),
        Column::figure("memory", 2),
        Column::figure("spans/s", 0),
        Column::figure("lost", 0),
        Column::figure("queued", 1),
        Column::text("version", 4),
    ]);
    table.rows.extend(ports.iter().map(|port| {
        let Some(interval) = port.interval() else {
            let state = if port.problem.is_some() { "not reached" } else { "not read yet" };
            let mut row = vec![toned(port.label.clone(), Tone::Strong), toned(state, Tone::Bad), text("")];
            row.extend((0..6).map(|_| rate(None)));
            row.push(text(""));
            return row;
        };
        let process = interval.process();
        vec![
            toned(port.label.clone(), Tone::Strong),
            toned("reached", Tone::Good),
            text(process.mode),
            count(process.connections),
            share(process.cpu, Some(1.0)),
            ((format!("{:.0}M", process.memory / f64::from(1 << 20)), None), Some(process.memory)),
            rate(process.sent),
            trouble(process.lost, process.new_lost),
            share(Some(process.queued), Some(process.capacity)),
            text(process.version),
        ]
    }));
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_few_digits_and_a_unit() {
        let rates = [0.0, 0.25, 12.34, 99.96, 9_999.0, 10_000.0, 1_234_567.0].map(figure);
        assert_eq!(rates, ["0", "0.2", "12.3", "100", "9999", "10.0k", "1.2M"]);
        let times = [0, 999, 1_000, 99_949, 100_000, 1_500_000].map(|micros| duration(Duration::from_micros(micros)));
        assert_eq!(times, ["0µs", "999µs", "1.0ms", "99.9ms", "100ms", "1.5s"]);
    }

    #[test]
    fn rows_are_sorted_by_a_column_and_filtered_by_their_texts() {
        let table = || {
            let mut table = SortedTable::new(vec![Column::text("a", 0), Column::figure("b", 0)]);
            table.rows = vec![
                vec![text("x"), rate(Some(2.0))],
                vec![text("Orders"), rate(None)],
                vec![text("orders.done"), rate(Some(30.0))],
            ];
            table
        };
        let names = |table: Table| table.rows.into_iter().map(|mut row| row.remove(0).0).collect::<Vec<_>>();
        assert_eq!(names(table().sorted(1, false, "")), ["orders.done", "x", "Orders"]);
        assert_eq!(names(table().sorted(1, true, "")), ["Orders", "x", "orders.done"]);
        assert_eq!(names(table().sorted(9, false, "order")), ["orders.done", "Orders"]);
        assert_eq!(names(table().sorted(0, false, "30")), [""; 0], "figures are not looked at");
    }
}
