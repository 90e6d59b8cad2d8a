//! Counters in Prometheus's text format (version 0.0.4).

use std::fmt::{Display, Write};

use redistributed_core::session::Mode;

use crate::config::modes;
use crate::live_policy::Modes;
use crate::telemetry::ExportSummary;
use crate::telemetry::stats::Stats;

pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Series of one name: what they say, the label that tells them apart (none: there is one series), and for each the
/// label's value and the counter it shows.
struct Family {
    name: &'static str,
    help: &'static str,
    label: Option<&'static str>,
    series: &'static [(&'static str, &'static str)],
}

const COUNTERS: &[Family] = &[
    Family {
        name: "connections_accepted_total",
        help: "Client connections accepted, those over the limit included",
        label: None,
        series: &[("", "connections_accepted")],
    },
    Family {
        name: "connections_refused_total",
        help: "Client connections refused because of --max-connections",
        label: None,
        series: &[("", "connections_refused")],
    },
    Family {
        name: "handshakes_failed_total",
        help: "Client connections closed because their TLS handshake failed",
        label: None,
        series: &[("", "handshakes_failed")],
    },
    Family {
        name: "upstream_failures_total",
        help: "Client connections closed because Redis could not be reached",
        label: None,
        series: &[("", "upstream_failures")],
    },
    Family {
        name: "upstream_retries_total",
        help: "Attempts to reach Redis that failed and were followed by another",
        label: None,
        series: &[("", "upstream_retries")],
    },
    Family {
        name: "received_bytes_total",
        help: "Bytes read",
        label: Some("from"),
        series: &[("client", "bytes_from_clients"), ("server", "bytes_from_servers")],
    },
    Family {
        name: "published_total",
        help: "PUBLISH and SPUBLISH commands read",
        label: None,
        series: &[("", "published")],
    },
    Family { name: "injected_total", help: "Publishes that got a context", label: None, series: &[("", "injected")] },
    Family {
        name: "skipped_total",
        help: "Publishes that got no context, by the reason",
        label: Some("reason"),
        series: &[
            ("carrier", "skipped_carrier"),
            ("channel", "skipped_channel"),
            ("inline", "skipped_inline"),
            ("mode", "skipped_mode"),
            ("size", "skipped_size"),
            ("unauthenticated", "skipped_unauthenticated"),
        ],
    },
    Family {
        name: "delivered_total",
        help: "Messages handed to subscribers",
        label: None,
        series: &[("", "delivered")],
    },
    Family {
        name: "stripped_total",
        help: "Messages from which a context was removed",
        label: None,
        series: &[("", "stripped")],
    },
    Family {
        name: "delivered_unread_total",
        help: "Messages too big to look for a context",
        label: None,
        series: &[("", "delivered_unread")],
    },
    Family {
        name: "spans_unpaired_total",
        help: "Producer spans that end before Redis's reply",
        label: None,
        series: &[("", "spans_unpaired")],
    },
    Family {
        name: "opaque_total",
        help: "Directions of connections that became plain pipes, by what began them",
        label: Some("reason"),
        series: &[("client", "opaque_client"), ("replication", "opaque_replication"), ("server", "opaque_server")],
    },
    Family {
        name: "pairing_lost_total",
        help: "Connections whose replies could no longer be paired with commands",
        label: None,
        series: &[("", "pairing_lost")],
    },
];

/// Everything that is counted, as one page.
pub(super) fn exposition(stats: &Stats, spans: ExportSummary, modes: &Modes) -> String {
    let mut page = Page(String::new());
    let value = |counter: &str| stats.all().find(|(name, _)| *name == counter).map_or(0, |(_, value)| value);
    for Family { name, help, label, series } in COUNTERS {
        let series = series.iter().map(|(label_value, counter)| (*label_value, value(counter)));
        page.family(name, "counter", help, *label, series);
    }
    page.family(
        "connections_active",
        "gauge",
        "Client connections open now",
        None,
        [("", value("connections_active"))],
    );
    let results = [("dropped", spans.dropped), ("failed", spans.failed), ("sent", spans.sent)];
    page.family("spans_total", "counter", "Spans, by what became of them", Some("result"), results);
    page.family("spans_queued", "gauge", "Spans that wait or are on their way", None, [("", spans.queued)]);
    let general =
        [Mode::Inject, Mode::Observe, Mode::Strip].map(|mode| (modes::name(mode), u8::from(mode == modes.general)));
    page.family("mode", "gauge", "1 for the mode of channels that no --mode-for matches", Some("mode"), general);
    let version = [(env!("CARGO_PKG_VERSION"), 1)];
    page.family("build_info", "gauge", "Always 1; the label says what runs", Some("version"), version);
    page.0
}

struct Page(String);

impl Page {
    /// No label's value needs escaping: all are names from this file, or a version.
    fn family<V: Display>(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        label: Option<&str>,
        series: impl IntoIterator<Item = (&'static str, V)>,
    ) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# HELP redistributed_{name} {help}\n# TYPE redistributed_{name} {kind}");
        for (label_value, value) in series {
            let _ = match label {
                Some(label) => writeln!(self.0, "redistributed_{name}{{{label}=\"{label_value}\"}} {value}"),
                None => writeln!(self.0, "redistributed_{name} {value}"),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::stats::Shell;

    fn page() -> String {
        let stats = Stats::default();
        stats.add(Shell::BytesFromServers, 7);
        let spans = ExportSummary { sent: 5, failed: 1, dropped: 2, queued: 3 };
        exposition(&stats, spans, &Modes { general: Mode::Strip, channels: Vec::new() })
    }

    #[test]
    fn values_stand_beside_their_names_and_labels() {
        let page = page();
        for line in [
            "redistributed_received_bytes_total{from=\"server\"} 7",
            "redistributed_published_total 0",
            "redistributed_spans_total{result=\"dropped\"} 2",
            "redistributed_spans_queued 3",
            "redistributed_mode{mode=\"strip\"} 1",
            "redistributed_mode{mode=\"inject\"} 0",
        ] {
            assert!(page.lines().any(|got| got == line), "{line} is not in\n{page}");
        }
    }

    #[test]
    fn every_counter_is_shown_once() {
        let stats = Stats::default();
        let shown: Vec<_> = COUNTERS.iter().flat_map(|family| family.series).map(|(_, counter)| *counter).collect();
        for (name, _) in stats.all().filter(|(name, _)| *name != "connections_active") {
            assert_eq!(shown.iter().filter(|counter| **counter == name).count(), 1, "{name}");
        }
        assert_eq!(shown.len() + 1, stats.all().count(), "a series shows what is not counted");
    }

    #[test]
    fn every_line_has_the_formats_form() {
        let is_name = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        for line in page().lines().filter(|line| !line.starts_with("# ")) {
            let (series, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<u64>().is_ok(), "{line}");
            let name = match series.split_once('{') {
                Some((name, label)) => {
                    let (label, value) = label.strip_suffix("\"}").unwrap().split_once("=\"").unwrap();
                    assert!(is_name(label) && !value.is_empty() && !value.contains(['"', '\\']), "{line}");
                    name
                }
                None => series,
            };
            assert!(is_name(name), "{line}");
        }
    }
}
