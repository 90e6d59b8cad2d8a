//! From two readings of a proxy to what is shown of the time between them.

use std::time::Duration;

use super::reading::Reading;

/// What was read last of a proxy, and what before that.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interval<'a> {
    before: Option<&'a Reading>,
    after: &'a Reading,
}

/// The figures of a service in an interval. A rate that is not known yet is `None`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ServiceFigures {
    pub(super) name: String,
    pub(super) connections: f64,
    pub(super) requests: Option<f64>,
    pub(super) commands: Option<f64>,
    pub(super) published: Option<f64>,
    pub(super) injected: Option<f64>,
    pub(super) delivered: Option<f64>,
    /// The round trips of publishes within which 50, 95 and 99 of 100 stayed. `None` if there were none.
    pub(super) round_trips: Option<[RoundTrip; 3]>,
    /// Connections that failed or are not understood, since the process began.
    pub(super) errors: f64,
    /// Those of the interval.
    pub(super) new_errors: Option<f64>,
}

/// A time that a histogram tells.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum RoundTrip {
    /// About so long, within the bounds of a bucket.
    About(Duration),
    /// Longer than the longest bound.
    Above(Duration),
}

/// How often a service's publishes got no context for one reason.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SkippedFigures {
    pub(super) service: String,
    pub(super) reason: String,
    pub(super) rate: Option<f64>,
    pub(super) total: f64,
    /// The share of the service's publishes since the process began, from 0 to 1.
    pub(super) share: f64,
}

/// The figures of a process.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ProcessFigures {
    pub(super) version: String,
    pub(super) mode: String,
    pub(super) connections: f64,
    pub(super) cpu: Option<f64>,
    pub(super) memory: f64,
    pub(super) sent: Option<f64>,
    /// Spans that failed or were dropped, since the process began.
    pub(super) lost: f64,
    pub(super) new_lost: Option<f64>,
    pub(super) queued: f64,
    pub(super) capacity: f64,
}

/// The metrics that count what went wrong with a service's connections, of all labels; and those of some labels.
const ERRORS: [&str; 5] = [
    "redistributed_connections_refused_total",
    "redistributed_handshakes_failed_total",
    "redistributed_upstream_failures_total",
    "redistributed_opaque_total",
    "redistributed_pairing_lost_total",
];

/// A direction that became a plain pipe because a replica is connected is as it should be.
const NO_ERROR: &str = "replication";

impl<'a> Interval<'a> {
    /// From `before` to `after`. A process that was started again between them has counted nothing before.
    pub(super) fn new(before: Option<&'a Reading>, after: &'a Reading) -> Self {
        Self { before: before.filter(|before| before.start() == after.start()), after }
    }

    fn seconds(&self) -> Option<f64> {
        let took = self.after.at.checked_duration_since(self.before?.at)?.as_secs_f64();
        (took > 0.0).then_some(took)
    }

    /// By how much a series has grown.
    fn growth(&self, metric: &str, route: &str, label: &str) -> Option<f64> {
        let before = self.before?.get(metric, route, label).unwrap_or(0.0);
        Some((self.after.get(metric, route, label)? - before).max(0.0))
    }

    /// How often a second something was counted.
    fn rate(&self, metric: &str, route: &str, label: &str) -> Option<f64> {
        Some(self.growth(metric, route, label)? / self.seconds()?)
    }

    /// The figures of every service.
    pub(super) fn services(&self) -> Vec<ServiceFigures> {
        self.after.routes().into_iter().map(|route| self.service(route)).collect()
    }

    fn service(&self, route: &str) -> ServiceFigures {
        let rate = |metric: &str| self.rate(metric, route, "");
        let errors = |reading: &Reading| -> f64 {
            let all = ERRORS.iter().flat_map(|metric| reading.by_label(metric, route));
            // Not by `sum`, which is -0 if there are none.
            all.filter(|(label, _)| *label != NO_ERROR).fold(0.0, |sum, (_, value)| sum + value)
        };
        let total = errors(self.after);
        ServiceFigures {
            name: route.to_owned(),
            connections: self.after.get("redistributed_connections_active", route, "").unwrap_or_default(),
            requests: rate("redistributed_http_requests_total"),
            commands: rate("redistributed_commands_total"),
            published: rate("redistributed_published_total"),
            injected: rate("redistributed_injected_total"),
            delivered: rate("redistributed_delivered_total"),
            round_trips: self.quantiles("redistributed_publish_round_trip_seconds_bucket", route),
            errors: total,
            new_errors: self.before.map(|before| (total - errors(before)).max(0.0)),
        }
    }

    /// The medians and the 95th and 99th percentiles of a histogram in the interval.
    fn quantiles(&self, metric: &str, route: &str) -> Option<[RoundTrip; 3]> {
        let before = self.before?;
        let mut buckets: Vec<(f64, f64)> = self
            .after
            .by_label(metric, route)
            .filter_map(|(le, count)| {
                let bound = if le == "+Inf" { f64::INFINITY } else { le.parse().ok()? };
                Some((bound, (count - before.get(metric, route, le).unwrap_or(0.0)).max(0.0)))
            })
            .collect();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let count = buckets.last()?.1;
        (count > 0.0).then(|| [0.5, 0.95, 0.99].map(|share| quantile(&buckets, share * count)))
    }

    /// What was skipped, of every service and reason that occurred.
    pub(super) fn skipped(&self) -> Vec<SkippedFigures> {
        const METRIC: &str = "redistributed_skipped_total";
        let of_service = |route: &'a str| {
            let published = self.after.get("redistributed_published_total", route, "").unwrap_or_default();
            let occurred = self.after.by_label(METRIC, route).filter(|(_, total)| *total > 0.0);
            occurred.map(move |(reason, total)| SkippedFigures {
                service: route.to_owned(),
                reason: reason.to_owned(),
                rate: self.rate(METRIC, route, reason),
                total,
                share: if published > 0.0 { (total / published).min(1.0) } else { 0.0 },
            })
        };
        self.after.routes().into_iter().flat_map(of_service).collect()
    }

    /// The figures of the process.
    pub(super) fn process(&self) -> ProcessFigures {
        const SPANS: &str = "redistributed_spans_total";
        let gauge = |metric: &str| self.after.get(metric, "", "").unwrap_or_default();
        let mode = self.after.by_label("redistributed_mode", "").find(|(_, value)| *value == 1.0);
        let routes = self.after.routes();
        let connections =
            routes.iter().filter_map(|route| self.after.get("redistributed_connections_active", route, ""));
        let lost = |label| (self.after.get(SPANS, "", label).unwrap_or_default(), self.growth(SPANS, "", label));
        let (failed, dropped) = (lost("failed"), lost("dropped"));
        ProcessFigures {
            version: self.after.version.clone(),
            mode: mode.map(|(mode, _)| mode.to_owned()).unwrap_or_default(),
            connections: connections.fold(0.0, |sum, more| sum + more),
            cpu: self.rate("process_cpu_seconds_total", "", ""),
            memory: gauge("process_resident_memory_bytes"),
            sent: self.rate(SPANS, "", "sent"),
            lost: failed.0 + dropped.0,
            new_lost: failed.1.zip(dropped.1).map(|(failed, dropped)| failed + dropped),
            queued: gauge("redistributed_spans_queued"),
            capacity: gauge("redistributed_spans_queue_capacity"),
        }
    }
}

/// The value that `rank` values do not exceed, by the bounds of buckets and the number of values up to each. Within a bucket
/// values are taken to be spread evenly.
fn quantile(buckets: &[(f64, f64)], rank: f64) -> RoundTrip {
    let (mut from, mut below) = (0.0, 0.0);
    for &(bound, count) in buckets {
        if count >= rank {
            if bound.is_infinite() {
                return RoundTrip::Above(Duration::from_secs_f64(from));
            }
            let part = if count > below { (rank - below) / (count - below) } else { 1.0 };
            return RoundTrip::About(Duration::from_secs_f64(from + (bound - from) * part));
        }
        (from, below) = (bound, count);
    }
    RoundTrip::Above(Duration::from_secs_f64(from))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::top::reading::tests::page;

    #[test]
    fn rates_are_those_of_the_interval() {
        let now = Instant::now();
        let lines = |commands: u32, failed: u32| {
            [
                format!("redistributed_commands_total{{route=\"api\"}} {commands}"),
                format!("redistributed_connections_active{{route=\"api\"}} {failed}"),
                format!("redistributed_upstream_failures_total{{route=\"api\",reason=\"unreachable\"}} {failed}"),
                "redistributed_opaque_total{route=\"api\",reason=\"replication\"} 9".to_owned(),
                format!("redistributed_spans_total{{result=\"sent\"}} {commands}"),
                format!("redistributed_spans_total{{result=\"failed\"}} {failed}"),
                "redistributed_spans_total{result=\"dropped\"} 1".to_owned(),
                "redistributed_mode{mode=\"auto\"} 0".to_owned(),
                "redistributed_mode{mode=\"inject\"} 1".to_owned(),
            ]
        };
        let reading = |start, commands, failed, at| {
            let lines = lines(commands, failed);
            page(start, &lines.iter().map(String::as_str).collect::<Vec<_>>(), at)
        };
        let before = reading(1, 100, 2, now);
        let after = reading(1, 150, 5, now + Duration::from_secs(2));
        let interval = Interval::new(Some(&before), &after);
        let service = &interval.services()[0];
        assert_eq!((service.commands, service.published), (Some(25.0), None));
        assert_eq!((service.errors, service.new_errors, service.connections), (5.0, Some(3.0), 5.0));
        let process = interval.process();
        assert_eq!((process.sent, process.lost, process.new_lost), (Some(25.0), 6.0, Some(3.0)));
        assert_eq!((process.mode.as_str(), process.connections), ("inject", 5.0));

        let restarted = reading(2, 10, 0, now + Duration::from_secs(4));
        let interval = Interval::new(Some(&after), &restarted);
        assert_eq!((interval.services()[0].commands, interval.process().sent), (None, None));
        assert_eq!(Interval::new(None, &before).services()[0].commands, None);
    }

    #[test]
    fn percentiles_are_those_of_the_interval() {
        let now = Instant::now();
        let lines = |counts: [u32; 4]| {
            ["0.001", "0.01", "0.1", "+Inf"].iter().zip(counts).fold(
                vec!["redistributed_commands_total{route=\"api\"} 1".to_owned()],
                |mut lines, (le, count)| {
                    lines.push(format!(
                        "redistributed_publish_round_trip_seconds_bucket{{route=\"api\",le=\"{le}\"}} {count}"
                    ));
                    lines
                },
            )
        };
        let reading = |counts, at| page(1, &lines(counts).iter().map(String::as_str).collect::<Vec<_>>(), at);
        let before = reading([1_000, 1_000, 1_000, 1_000], now);
        let after = reading([1_000, 1_090, 1_098, 1_100], now + Duration::from_secs(1));
        let round_trips = Interval::new(Some(&before), &after).services()[0].round_trips.unwrap();
        let RoundTrip::About(median) = round_trips[0] else { panic!("{round_trips:?}") };
        // The 50th of 90 values between 1 and 10 ms.
        assert!((median.as_secs_f64() - 0.006).abs() < 1e-6, "{median:?}");
        assert_eq!(round_trips[2], RoundTrip::Above(Duration::from_millis(100)));
        let idle = reading([1_000, 1_090, 1_098, 1_100], now + Duration::from_secs(2));
        assert_eq!(Interval::new(Some(&after), &idle).services()[0].round_trips, None);
    }

    #[test]
    fn reasons_that_occurred_are_shown_with_their_share() {
        let now = Instant::now();
        let lines = |size: u32| {
            [
                "redistributed_commands_total{route=\"api\"} 8".to_owned(),
                "redistributed_published_total{route=\"api\"} 8".to_owned(),
                format!("redistributed_skipped_total{{route=\"api\",reason=\"size\"}} {size}"),
                "redistributed_skipped_total{route=\"api\",reason=\"mode\"} 0".to_owned(),
            ]
        };
        let reading = |size, at| page(1, &lines(size).iter().map(String::as_str).collect::<Vec<_>>(), at);
        let (before, after) = (reading(0, now), reading(2, now + Duration::from_secs(1)));
        let skipped = Interval::new(Some(&before), &after).skipped();
        let [only] = &skipped[..] else { panic!("{skipped:?}") };
        assert_eq!((only.reason.as_str(), only.rate, only.total, only.share), ("size", Some(2.0), 2.0, 0.25));
    }
}
