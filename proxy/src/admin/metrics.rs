//! What there is to measure: `proxy/docs/metrics.md` explains each of these to operators.
//!
//! Counters come from their definitions ([`ProxyCounter`] and [`Counter`]); this file adds gauges and histograms. Labels are a
//! service's name and words that are written in the program, so that the settings decide how many series there are, whatever
//! travels through the proxy. The metrics of the semantic conventions are the exception: their labels tell of channels, in a bounded
//! number of series.

use std::sync::Arc;

use redistributed_core::causes::{Reason, Rule, Tally};
use redistributed_core::choice::Choice;
use redistributed_core::policy::Mode;
use redistributed_core::service::NotProven;
use redistributed_core::{Counter, Metric};

use super::exposition::{Exemplars, Format, Page};
use super::{Admin, process};
use crate::auto::cache::DecisionCounts;
use crate::service::Service;
use crate::telemetry::SpanTotals;
use crate::telemetry::histogram::Reading;
use crate::telemetry::meter::{self, Kind, Meters, SeriesReading};
use crate::telemetry::stats::{ProxyCounter, Stats};

/// Why the subscribers of a channel are not known to be behind proxies, in the order of the page.
const UNKNOWN: [NotProven; 8] = [
    NotProven::Cluster,
    NotProven::Contradicted,
    NotProven::Nobody,
    NotProven::Pattern,
    NotProven::Proving,
    NotProven::Replicas,
    NotProven::NoEvidence,
    NotProven::Unproxied,
];

/// Everything that is counted and timed, as one page.
pub(super) fn page(admin: &Admin, format: Format) -> String {
    let mut page = Page::new(format);
    services(&mut page, &admin.services.all());
    causes(&mut page, &admin.services.all());
    spans(&mut page, &admin.spans);
    conventions(&mut page, admin.meters.as_deref());
    proxy(&mut page, admin);
    process::write(&mut page, admin.began);
    page.end()
}

/// The metrics that each service has, with its name as the label `route`.
fn services(page: &mut Page, services: &[Arc<Service>]) {
    counters(page, services, ProxyCounter::METRICS, Stats::get);
    counters(page, services, Counter::METRICS, Stats::get_session);
    let help = "From the first byte of a publish to Redis's reply, in seconds";
    let mut round_trips = page.histogram("publish_round_trip_seconds", help);
    for service in services {
        round_trips.buckets(&[route(service)], &service.stats.round_trips.read());
    }
    let help = "From a publish's first byte at its proxy to the message's arrival at this one, in seconds";
    let mut transit = page.histogram("transit_seconds", help);
    for service in services {
        transit.buckets(&[route(service)], &service.stats.transit.read());
    }
    let mut connects = page.histogram("connect_seconds", "For connecting to Redis, in seconds, by the result");
    for service in services {
        for (result, histogram) in ["ok", "failed"].into_iter().zip(&service.stats.connects) {
            connects.buckets(&[route(service), ("result", result)], &histogram.read());
        }
    }
}

/// What is known of the causes of commands.
fn causes(page: &mut Page, services: &[Arc<Service>]) {
    let tallies: Vec<(_, Tally)> =
        services.iter().map(|service| (route(service), service.follow.tally().unwrap_or_default())).collect();
    let mut found = page.metric("causes_total", "Commands whose cause was told at once, by the rule");
    for (route, tally) in &tallies {
        for rule in Rule::ALL {
            found.sample(&[*route, ("rule", rule.name())], tally.found(rule));
        }
        found.sample(&[*route, ("rule", "batch")], tally.batches);
        found.sample(&[*route, ("rule", "one_of")], tally.one_of);
    }
    let mut late = page.metric("causes_late_total", "Commands whose cause was told later, by the rule");
    for (route, tally) in &tallies {
        for rule in Rule::ALL {
            late.sample(&[*route, ("rule", rule.name())], tally.late(rule));
        }
    }
    let help = "Commands whose cause was not told at once, by the reason";
    let mut unknown = page.metric("causes_unknown_total", help);
    for (route, tally) in &tallies {
        for reason in Reason::ALL {
            unknown.sample(&[*route, ("reason", reason.name())], tally.unknown(reason));
        }
    }
    let mut waiting =
        page.metric("spans_waiting", "Spans that wait for more to become known of them, by what they are of");
    for service in services {
        let (deliveries, commands) = service.follow.waiting();
        waiting.sample(&[route(service), ("of", "delivery")], deliveries as u64);
        waiting.sample(&[route(service), ("of", "command")], commands as u64);
    }
}

fn counters<C: Copy>(
    page: &mut Page,
    services: &[Arc<Service>],
    metrics: &[Metric<C>],
    value: impl Fn(&Stats, C) -> u64,
) {
    for metric in metrics {
        let mut family = page.metric(metric.name, metric.help);
        for service in services {
            for &(counter, label) in metric.samples {
                let labels: Vec<_> = [route(service)].into_iter().chain(metric.label.zip(label)).collect();
                family.sample(&labels, value(&service.stats, counter));
            }
        }
    }
}

fn route(service: &Service) -> (&'static str, &str) {
    ("route", service.name())
}

fn spans(page: &mut Page, totals: &SpanTotals) {
    let spans = totals.summary();
    page.metric("spans_total", "Spans, by what became of them")
        .sample(&[("result", "dropped")], spans.dropped)
        .sample(&[("result", "failed")], spans.failed)
        .sample(&[("result", "sent")], spans.sent);
    page.metric("spans_queued", "Spans that wait to be exported").sample(&[], totals.queued() as u64);
    page.metric("spans_in_flight", "Spans in exports that are not over").sample(&[], totals.in_flight());
    page.metric("spans_queue_capacity", "Most spans that may wait; 0 if none are exported")
        .sample(&[], totals.queue_capacity() as u64);
    let help = "For one export request, repetitions included, in seconds, by the result";
    let mut exports = page.histogram("export_seconds", help);
    for (result, reading) in totals.exports() {
        exports.buckets(&[("result", result.name())], &reading);
    }
    let mut exports = page.metric("metric_exports_total", "Export requests of metrics, by the result");
    for (result, count) in totals.metric_exports() {
        exports.sample(&[("result", result.name())], count);
    }
}

/// The metrics that the semantic conventions name, in the names that OpenTelemetry has for them in Prometheus.
fn conventions(page: &mut Page, meters: Option<&Meters>) {
    let meters = meters.map(Meters::all).unwrap_or_default();
    for metric in &meter::METRICS {
        let mut family = page.convention(metric.name, metric.kind, metric.description);
        for meter in &meters {
            for series in meter.series_of(metric) {
                let values: Vec<_> = metric.attributes(&series).map(|(name, value)| (name, value.to_text())).collect();
                let values = values.iter().map(|(name, value)| (*name, value.as_str()));
                let labels: Vec<_> = [("route", &**meter.resource.service_name())].into_iter().chain(values).collect();
                let reading = series.read();
                match metric.kind {
                    Kind::Counter => family.sample(&labels, reading.count),
                    Kind::Histogram => {
                        let (reading, exemplars) = cumulated(reading, series.bounds());
                        family.buckets_with(&labels, &reading, &exemplars)
                    }
                };
            }
        }
    }
}

/// A reading in which each bucket counts what is in those below it too, and the exemplars of the buckets.
fn cumulated(reading: SeriesReading, bounds: &[u64]) -> (Reading, Exemplars) {
    let (mut count, mut buckets) = (0, Vec::with_capacity(bounds.len()));
    for (index, (more, _)) in reading.buckets.iter().enumerate() {
        count += more;
        buckets.extend(bounds.get(index).map(|bound| (*bound, count)));
    }
    let exemplars = reading.buckets.iter().map(|(_, exemplar)| *exemplar).collect();
    (Reading { buckets, count, sum: reading.sum }, exemplars)
}

fn proxy(page: &mut Page, admin: &Admin) {
    let general = admin.services.modes().general;
    let mut mode = page.metric("mode", "1 for the mode of channels that no --mode-for matches");
    for one in Mode::ALL {
        mode.sample(&[("mode", one.name())], u64::from(*one == general));
    }
    let decisions: DecisionCounts = admin.endpoints.iter().map(|endpoint| endpoint.auto().decision_counts()).sum();
    let help = "Channels on which something was published in mode auto lately, by what is known of their subscribers";
    let mut channels = page.metric("auto_channels", help);
    channels.sample(&[("verdict", "proxied")], decisions.proven);
    for reason in UNKNOWN {
        let name = reason.counter().label_value().unwrap_or_default().trim_start_matches("auto_");
        channels.sample(&[("verdict", name)], decisions.unknown.get(&reason).copied().unwrap_or_default());
    }
    page.metric("taps", "Who watches messages on /tap now").sample(&[], admin.tap.watchers() as u64);
    page.metric("tap_missed_total", "Messages that a tap was too slow for").sample(&[], admin.tap.missed());
    files(page, admin);
    let limits = &admin.settings.limits;
    page.metric("max_connections", "Most client connections at a time").sample(&[], limits.max_connections as u64);
    page.metric("worker_threads", "Threads that carry connections").sample(&[], limits.threads.get() as u64);
    page.metric("build_info", "Always 1; the labels say what runs")
        .sample(&[("version", env!("CARGO_PKG_VERSION")), ("build", env!("REDISTRIBUTED_BUILD"))], 1);
}

/// What is read again while the process runs.
fn files(page: &mut Page, admin: &Admin) {
    let help = "When the certificates in a file that is in use expire, in seconds since 1970";
    let mut expiries = page.metric("certificate_expiry_timestamp_seconds", help);
    for expiry in admin.keys.expiries() {
        let path = expiry.path.display().to_string();
        expiries.sample(&[("setting", expiry.setting.trim_start_matches("--")), ("file", &path)], expiry.seconds);
    }
    let (at, settings) = admin.reloader.as_ref().map_or((admin.began, true), |reloader| reloader.last());
    page.metric("last_reload_successful", "1 if what was last read could be used, otherwise 0")
        .sample(&[("of", "secrets")], u64::from(admin.keys.is_usable()))
        .sample(&[("of", "settings")], u64::from(settings));
    page.metric("last_reload_timestamp_seconds", "When settings were last read, in seconds since 1970")
        .fraction(&[], at.0 as f64 / 1e9);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::FollowSettings;
    use crate::settings::otel::OtelSettings;
    use crate::telemetry::{Host, Resource};

    #[test]
    fn services_are_told_apart_by_their_names() {
        let all = ["api", "worker"].map(|name| {
            let resource = Resource::of_service(Some(name), &OtelSettings::default(), &Host::default());
            Service::new(resource, Arc::default(), FollowSettings::default(), None)
        });
        for (service, bytes) in all.iter().zip([101, 10]) {
            service.stats.add(ProxyCounter::BytesFromServers, bytes);
        }
        let mut page = Page::new(Format::Prometheus);
        services(&mut page, &all);
        let page = page.end();
        for line in [
            "redistributed_received_bytes_total{route=\"api\",from=\"server\"} 101",
            "redistributed_received_bytes_total{route=\"worker\",from=\"server\"} 10",
            "redistributed_skipped_total{route=\"api\",reason=\"mode\"} 0",
            "redistributed_connect_seconds_count{route=\"worker\",result=\"failed\"} 0",
        ] {
            assert_eq!(page.lines().filter(|got| *got == line).count(), 1, "{line} in\n{page}");
        }
    }
}
