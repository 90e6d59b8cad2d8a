//! What there is to measure: `proxy/docs/metrics.md` explains each of these to operators.
//!
//! Labels are a route's name and words from this file, so that there are as many series as the settings say, whatever
//! travels through the proxy. A channel's name is never one.

use std::sync::Arc;

use redistributed_core::Counter;
use redistributed_core::policy::Mode;
use redistributed_core::service::Unknown;
use redistributed_core::trace::UnixNanos;

use super::exposition::{Format, Page};
use super::process;
use crate::auto::Evidence;
use crate::auto::watch::Verdicts;
use crate::config::{Settings, modes};
use crate::live_policy::Modes;
use crate::telemetry::SpanTotals;
use crate::telemetry::route_stats::RouteStats;
use crate::telemetry::stats::Shell;
use crate::telemetry::tap::Tap;

/// A counter of each route.
struct Counted {
    name: &'static str,
    help: &'static str,
    series: Series,
}

/// Which counts of [`Stats::all`](crate::telemetry::stats::Stats::all) a metric shows.
enum Series {
    /// One.
    One(&'static str),
    /// Several, told apart by a label: its name, and for each its value and the count.
    Label(&'static str, &'static [(&'static str, &'static str)]),
    /// Those whose names begin so, told apart by a label whose value is the rest of the name.
    Beginning(&'static str, &'static str),
}

const COUNTED: &[Counted] = &[
    Counted {
        name: "connections_accepted_total",
        help: "Client connections accepted, those over the limit included",
        series: Series::One("connections_accepted"),
    },
    Counted {
        name: "connections_refused_total",
        help: "Client connections answered with an error and closed, by the reason",
        series: Series::Label("reason", &[("limit", "connections_refused")]),
    },
    Counted {
        name: "handshakes_failed_total",
        help: "Client connections closed because their TLS handshake failed",
        series: Series::One("handshakes_failed"),
    },
    Counted {
        name: "upstream_failures_total",
        help: "Client connections closed because there was none to Redis, by the reason",
        series: Series::Label("reason", &[("exhausted", "upstream_exhausted"), ("unreachable", "upstream_failures")]),
    },
    Counted {
        name: "upstream_retries_total",
        help: "Attempts to reach Redis that failed and were followed by another",
        series: Series::One("upstream_retries"),
    },
    Counted {
        name: "received_bytes_total",
        help: "Bytes read",
        series: Series::Label("from", &[("client", "bytes_from_clients"), ("server", "bytes_from_servers")]),
    },
    Counted {
        name: "sent_bytes_total",
        help: "Bytes passed on, with contexts added or removed",
        series: Series::Label("to", &[("client", "bytes_to_clients"), ("server", "bytes_to_servers")]),
    },
    Counted { name: "commands_total", help: "Commands read, publishes among them", series: Series::One("commands") },
    Counted { name: "published_total", help: "PUBLISH and SPUBLISH commands read", series: Series::One("published") },
    Counted { name: "injected_total", help: "Publishes that got a context", series: Series::One("injected") },
    Counted {
        name: "skipped_total",
        help: "Publishes that got no context, by the reason",
        series: Series::Beginning("reason", "skipped_"),
    },
    Counted {
        name: "receivers_total",
        help: "Receivers that Redis reported in its replies to publishes, added up",
        series: Series::One("receivers"),
    },
    Counted { name: "delivered_total", help: "Messages handed to subscribers", series: Series::One("delivered") },
    Counted {
        name: "delivered_reserved_total",
        help: "Messages handed to subscribers on channels that begin with __, such as keyspace notifications",
        series: Series::One("delivered_reserved"),
    },
    Counted {
        name: "stripped_total",
        help: "Messages from which a context was removed",
        series: Series::One("stripped"),
    },
    Counted {
        name: "delivered_unread_total",
        help: "Messages too big to look for a context",
        series: Series::One("delivered_unread"),
    },
    Counted {
        name: "transit_negative_total",
        help: "Messages that came before they had been published, by the clocks of two machines",
        series: Series::One("transit_negative"),
    },
    Counted {
        name: "spans_unpaired_total",
        help: "Producer spans that ended before Redis's reply",
        series: Series::One("spans_unpaired"),
    },
    Counted {
        name: "opaque_total",
        help: "Directions of connections that became plain pipes, by what began them",
        series: Series::Beginning("reason", "opaque_"),
    },
    Counted {
        name: "pairing_lost_total",
        help: "Connections whose replies could no longer be paired with commands",
        series: Series::One("pairing_lost"),
    },
];

/// Why the subscribers of a channel are not known, by the label of `skipped_total` without its `auto_`.
const VERDICTS: [(Unknown, &str); 8] = [
    (Unknown::Cluster, "cluster"),
    (Unknown::Contradicted, "contradicted"),
    (Unknown::Nobody, "nobody"),
    (Unknown::Pattern, "pattern"),
    (Unknown::Proving, "proving"),
    (Unknown::Replicas, "replicas"),
    (Unknown::NoEvidence, "unknown"),
    (Unknown::Unproxied, "unproxied"),
];

/// What the page tells of.
pub(super) struct Source<'a> {
    pub(super) settings: &'a Settings,
    pub(super) stats: &'a RouteStats,
    pub(super) spans: &'a SpanTotals,
    pub(super) tap: &'a Tap,
    pub(super) modes: &'a Modes,
    /// What is known of subscribers; one for each route.
    pub(super) evidence: &'a [Arc<Evidence>],
    /// When the process began.
    pub(super) began: UnixNanos,
}

/// Everything that is counted and timed, as one page.
pub(super) fn page(source: &Source<'_>, format: Format) -> String {
    let mut page = Page::new(format);
    routes(&mut page, source.stats);
    spans(&mut page, source.spans);
    proxy(&mut page, source);
    process::write(&mut page, source.began);
    page.end()
}

fn routes(page: &mut Page, stats: &RouteStats) {
    for Counted { name, help, series } in COUNTED {
        let mut family = page.counter(name, help);
        for (route, stats) in stats.by_name() {
            for (label, value, counter) in series.all() {
                let route = ("route", route);
                match label {
                    Some(label) => family.sample(&[route, (label, value)], stats.value(counter)),
                    None => family.sample(&[route], stats.value(counter)),
                };
            }
        }
    }
    let mut active = page.gauge("connections_active", "Client connections open now");
    for (route, stats) in stats.by_name() {
        active.sample(&[("route", route)], stats.get(Shell::ConnectionsActive));
    }
    let help = "From the first byte of a publish to Redis's reply, in seconds";
    let mut round_trips = page.histogram("publish_round_trip_seconds", help);
    for (route, stats) in stats.by_name() {
        round_trips.buckets(&[("route", route)], &stats.round_trips.read());
    }
    let help = "From a publish's first byte at its proxy to the message's arrival at this one, in seconds";
    let mut transit = page.histogram("transit_seconds", help);
    for (route, stats) in stats.by_name() {
        transit.buckets(&[("route", route)], &stats.transit.read());
    }
    let mut connects = page.histogram("connect_seconds", "For connecting to Redis, in seconds, by the result");
    for (route, stats) in stats.by_name() {
        for (result, histogram) in ["ok", "failed"].into_iter().zip(&stats.connects) {
            connects.buckets(&[("route", route), ("result", result)], &histogram.read());
        }
    }
}

fn spans(page: &mut Page, totals: &SpanTotals) {
    let spans = totals.summary();
    page.counter("spans_total", "Spans, by what became of them")
        .sample(&[("result", "dropped")], spans.dropped)
        .sample(&[("result", "failed")], spans.failed)
        .sample(&[("result", "sent")], spans.sent);
    page.gauge("spans_queued", "Spans that wait or are on their way").sample(&[], spans.queued);
    page.gauge("spans_queue_capacity", "Most spans that may wait; 0 if none are exported")
        .sample(&[], totals.queue_capacity() as u64);
    let help = "For one export request, repetitions included, in seconds, by the result";
    let mut exports = page.histogram("export_seconds", help);
    for (result, reading) in totals.exports() {
        exports.buckets(&[("result", result.name())], &reading);
    }
}

fn proxy(page: &mut Page, source: &Source<'_>) {
    let mut mode = page.gauge("mode", "1 for the mode of channels that no --mode-for matches");
    for one in [Mode::Auto, Mode::Inject, Mode::Observe, Mode::Strip] {
        mode.sample(&[("mode", modes::name(one))], u64::from(one == source.modes.general));
    }
    let verdicts: Verdicts = source.evidence.iter().map(|evidence| evidence.verdicts()).sum();
    let help = "Channels on which something was published in mode auto lately, by what is known of their subscribers";
    let mut channels = page.gauge("auto_channels", help);
    channels.sample(&[("verdict", "proxied")], verdicts.proxied);
    for (reason, name) in VERDICTS {
        channels.sample(&[("verdict", name)], verdicts.unknown.get(&reason).copied().unwrap_or_default());
    }
    page.gauge("taps", "Who watches messages on /tap now").sample(&[], source.tap.listeners() as u64);
    page.counter("tap_missed_total", "Messages that a tap was too slow for").sample(&[], source.tap.missed());
    let limits = &source.settings.limits;
    page.gauge("max_connections", "Most client connections at a time").sample(&[], limits.max_connections as u64);
    page.gauge("worker_threads", "Threads that carry connections").sample(&[], limits.threads.get() as u64);
    page.gauge("build_info", "Always 1; the label says what runs").sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
}

impl Series {
    /// The label's name and value, and the count.
    fn all(&self) -> Vec<(Option<&'static str>, &'static str, &'static str)> {
        match *self {
            Self::One(counter) => vec![(None, "", counter)],
            Self::Label(label, series) => {
                series.iter().map(|(value, counter)| (Some(label), *value, *counter)).collect()
            }
            Self::Beginning(label, beginning) => {
                let named = |name: &'static str| Some((Some(label), name.strip_prefix(beginning)?, name));
                Counter::NAMES.into_iter().filter_map(named).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::stats::Stats;

    #[test]
    fn every_count_is_shown_once() {
        let stats = Stats::default();
        let shown: Vec<_> = COUNTED.iter().flat_map(|counted| counted.series.all()).map(|(.., count)| count).collect();
        for (name, _) in stats.all().filter(|(name, _)| *name != "connections_active") {
            assert_eq!(shown.iter().filter(|counter| **counter == name).count(), 1, "{name}");
        }
        assert_eq!(shown.len() + 1, stats.all().count(), "a series shows what is not counted");
    }

    #[test]
    fn routes_are_told_apart_and_those_of_one_name_are_one() {
        let stats = RouteStats::new(["api", "worker", "api"]);
        for (index, bytes) in [(0, 1), (1, 10), (2, 100)] {
            stats.of(index).add(Shell::BytesFromServers, bytes);
        }
        let mut page = Page::new(Format::Prometheus);
        routes(&mut page, &stats);
        let page = page.end();
        for line in [
            "redistributed_received_bytes_total{route=\"api\",from=\"server\"} 101",
            "redistributed_received_bytes_total{route=\"worker\",from=\"server\"} 10",
            "redistributed_skipped_total{route=\"api\",reason=\"mode\"} 0",
            "redistributed_connect_seconds_count{route=\"worker\",result=\"failed\"} 0",
        ] {
            assert_eq!(page.lines().filter(|got| *got == line).count(), 1, "{line} in\n{page}");
        }
        assert_eq!(stats.total().get(Shell::BytesFromServers), 111);
    }
}
