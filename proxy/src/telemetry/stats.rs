//! What connections count and time, with the counters' names in one table.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redistributed_core::trace::{Operation, SpanRecord, UnixNanos};
use redistributed_core::{Counter, Counts, Output};

use super::histogram::{Bounds, Histogram};
use super::logging::LIFECYCLE;

/// What the shell itself counts, beside the [`Counter`]s of the sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Shell {
    /// Client connections accepted, those over the limit included.
    ConnectionsAccepted,
    /// Client connections open now.
    ConnectionsActive,
    /// Client connections answered with an error and closed, because the limit was reached.
    ConnectionsRefused,
    /// Client connections closed because their TLS handshake failed.
    HandshakesFailed,
    /// Client connections closed because Redis could not be reached.
    UpstreamFailures,
    /// Attempts to reach Redis that failed and were followed by another.
    UpstreamRetries,
    /// Client connections closed because the proxy had run out of open files, memory or ports for one to Redis.
    UpstreamExhausted,
    /// Bytes read from services.
    BytesFromClients,
    /// Bytes read from Redis.
    BytesFromServers,
    /// Bytes passed on to services.
    BytesToClients,
    /// Bytes passed on to Redis.
    BytesToServers,
    /// Messages that had been published later than they came, by the clocks of two machines.
    TransitNegative,
}

impl Shell {
    /// All of them, in order, with their names as metrics spell them.
    pub const NAMES: [&'static str; 12] = [
        "connections_accepted",
        "connections_active",
        "connections_refused",
        "handshakes_failed",
        "upstream_failures",
        "upstream_retries",
        "upstream_exhausted",
        "bytes_from_clients",
        "bytes_from_servers",
        "bytes_to_clients",
        "bytes_to_servers",
        "transit_negative",
    ];
}

/// Redis keeps no message, so a longer way, in nanoseconds, is that of a wrong clock or of a forged time, and must not make
/// a sum overflow: an hour.
const LONGEST_TRANSIT: u64 = 3_600_000_000_000;

/// The counters of one route, or of all. Every task adds to them without waiting; a reader sees each one whole, not all at
/// one instant.
#[derive(Debug)]
pub struct Stats {
    shell: [AtomicU64; Shell::NAMES.len()],
    sessions: [AtomicU64; Counter::NAMES.len()],
    /// From a publish's first byte to Redis's reply.
    pub round_trips: Histogram,
    /// From a publish's first byte to the message's last one at a subscriber's proxy.
    pub transit: Histogram,
    /// For connecting to Redis: made, and failed.
    pub connects: [Histogram; 2],
}

impl Default for Stats {
    fn default() -> Self {
        let histogram = || Histogram::new(&Bounds::REDIS);
        Self {
            shell: Default::default(),
            sessions: Default::default(),
            round_trips: histogram(),
            transit: histogram(),
            connects: [histogram(), histogram()],
        }
    }
}

impl Stats {
    /// Adds `n` to a counter of the shell.
    pub fn add(&self, counter: Shell, n: u64) {
        self.shell[counter as usize].fetch_add(n, Ordering::Relaxed);
    }

    /// Adds what a session has counted.
    pub fn add_counts(&self, counts: &Counts) {
        for (index, n) in counts.nonzero() {
            self.sessions[index].fetch_add(n, Ordering::Relaxed);
        }
    }

    /// Adds how long publishes took, and how long messages were on their way, that a session has told at the time `now`.
    pub fn add_times(&self, out: &Output, now: UnixNanos) {
        if !(out.round_trips.is_empty() && out.spans.is_empty()) {
            let is_answered =
                |span: &&SpanRecord| matches!(span.operation, Operation::Publish { receivers: Some(_), .. });
            let spans = out.spans.iter().filter(is_answered).map(|span| span.end.0.saturating_sub(span.start.0));
            self.round_trips.observe_all(out.round_trips.iter().copied().chain(spans));
        }
        if !out.published_at.is_empty() {
            let arrived = now.0.saturating_add_signed(out.wall_offset);
            let transits = || out.published_at.iter().map(|published| arrived.checked_sub(published.0));
            self.transit.observe_all(transits().flatten().map(|transit| transit.min(LONGEST_TRANSIT)));
            self.add(Shell::TransitNegative, transits().filter(Option::is_none).count() as u64);
        }
    }

    /// An attempt to connect to Redis is over.
    pub fn connected(&self, made: bool, took: Duration) {
        self.connects[usize::from(!made)].observe(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Adds what `other` has counted and timed.
    pub fn merge(&self, other: &Self) {
        let sums = self.shell.iter().chain(&self.sessions);
        for (sum, more) in sums.zip(other.shell.iter().chain(&other.sessions)) {
            sum.fetch_add(more.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        self.round_trips.merge(&other.round_trips);
        self.transit.merge(&other.transit);
        self.connects.iter().zip(&other.connects).for_each(|(sum, more)| sum.merge(more));
    }

    /// One connection more that is open, until the answer is dropped.
    pub fn connection(&self) -> OpenConnection<'_> {
        self.add(Shell::ConnectionsActive, 1);
        OpenConnection(self)
    }

    /// A counter of the shell.
    pub fn get(&self, counter: Shell) -> u64 {
        self.shell[counter as usize].load(Ordering::Relaxed)
    }

    /// The counter of that name; 0 if there is none.
    pub fn value(&self, name: &str) -> u64 {
        self.all().find(|(known, _)| *known == name).map_or(0, |(_, value)| value)
    }

    /// All counters with their names.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let names = Shell::NAMES.iter().chain(&Counter::NAMES);
        names.zip(self.shell.iter().chain(&self.sessions)).map(|(name, value)| (*name, value.load(Ordering::Relaxed)))
    }

    /// Logs all counters that are not zero in one line; nothing if there are none.
    pub fn log(&self) {
        if self.all().all(|(_, value)| value == 0) {
            return;
        }
        // A field without a value is left out of the line.
        let nonzero = |value: &AtomicU64| Some(value.load(Ordering::Relaxed)).filter(|value| *value > 0);
        let shell = |counter: Shell| nonzero(&self.shell[counter as usize]);
        let session = |counter: Counter| nonzero(&self.sessions[counter as usize]);
        tracing::info!(
            target: LIFECYCLE,
            connections_accepted = shell(Shell::ConnectionsAccepted),
            connections_active = shell(Shell::ConnectionsActive),
            connections_refused = shell(Shell::ConnectionsRefused),
            handshakes_failed = shell(Shell::HandshakesFailed),
            upstream_failures = shell(Shell::UpstreamFailures),
            upstream_retries = shell(Shell::UpstreamRetries),
            upstream_exhausted = shell(Shell::UpstreamExhausted),
            bytes_from_clients = shell(Shell::BytesFromClients),
            bytes_from_servers = shell(Shell::BytesFromServers),
            bytes_to_clients = shell(Shell::BytesToClients),
            bytes_to_servers = shell(Shell::BytesToServers),
            transit_negative = shell(Shell::TransitNegative),
            commands = session(Counter::Commands),
            published = session(Counter::Published),
            injected = session(Counter::Injected),
            skipped_inline = session(Counter::SkippedInline),
            skipped_channel = session(Counter::SkippedChannel),
            skipped_size = session(Counter::SkippedSize),
            skipped_carrier = session(Counter::SkippedCarrier),
            skipped_unauthenticated = session(Counter::SkippedUnauthenticated),
            skipped_mode = session(Counter::SkippedMode),
            skipped_auto_unknown = session(Counter::SkippedAutoUnknown),
            skipped_auto_unproxied = session(Counter::SkippedAutoUnproxied),
            skipped_auto_pattern = session(Counter::SkippedAutoPattern),
            skipped_auto_replicas = session(Counter::SkippedAutoReplicas),
            skipped_auto_cluster = session(Counter::SkippedAutoCluster),
            skipped_auto_nobody = session(Counter::SkippedAutoNobody),
            skipped_auto_proving = session(Counter::SkippedAutoProving),
            skipped_auto_contradicted = session(Counter::SkippedAutoContradicted),
            skipped_auto_order = session(Counter::SkippedAutoOrder),
            receivers = session(Counter::Receivers),
            delivered = session(Counter::Delivered),
            delivered_reserved = session(Counter::DeliveredReserved),
            stripped = session(Counter::Stripped),
            delivered_unread = session(Counter::DeliveredUnread),
            spans_unpaired = session(Counter::SpansUnpaired),
            opaque_replication = session(Counter::OpaqueReplication),
            opaque_client = session(Counter::OpaqueClient),
            opaque_server = session(Counter::OpaqueServer),
            pairing_lost = session(Counter::PairingLost),
            "counted"
        );
    }
}

/// Counts as [`Shell::ConnectionsActive`] while it lives, however its task ends.
#[derive(Debug)]
pub struct OpenConnection<'a>(&'a Stats);

impl Drop for OpenConnection<'_> {
    fn drop(&mut self) {
        self.0.shell[Shell::ConnectionsActive as usize].fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::fmt;
    use std::sync::{Arc, Mutex};

    use tracing::field::{Field, Visit};
    use tracing::{Event, Subscriber};
    use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

    use super::*;

    /// The fields of each event that have a value, except for its message.
    #[derive(Clone, Default)]
    struct Fields(Arc<Mutex<Vec<(&'static str, u64)>>>);

    impl<S: Subscriber> Layer<S> for Fields {
        fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
            event.record(&mut self.clone());
        }
    }

    impl Visit for Fields {
        fn record_u64(&mut self, field: &Field, value: u64) {
            self.0.lock().unwrap().push((field.name(), value));
        }

        fn record_debug(&mut self, field: &Field, _value: &dyn fmt::Debug) {
            assert_eq!(field.name(), "message");
        }
    }

    #[test]
    fn the_line_at_the_end_has_every_counter_that_is_not_zero() {
        let (stats, fields) = (Stats::default(), Fields::default());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(fields.clone()), || {
            stats.log();
            assert_eq!(*fields.0.lock().unwrap(), [], "nothing was counted, nothing is said");
            stats.add(Shell::UpstreamFailures, 3);
            stats.log();
            assert_eq!(std::mem::take(&mut *fields.0.lock().unwrap()), [("upstream_failures", 3)]);
            for (value, counter) in (1..).zip(stats.shell.iter().chain(&stats.sessions)) {
                counter.store(value, Ordering::Relaxed);
            }
            stats.log();
        });
        assert_eq!(*fields.0.lock().unwrap(), stats.all().collect::<Vec<_>>());
    }

    #[test]
    fn every_counter_is_listed_under_its_own_name() {
        let stats = Stats::default();
        stats.add(Shell::BytesFromServers, 7);
        stats.add(Shell::ConnectionsAccepted, 2);
        let listed: Vec<_> = stats.all().filter(|(_, value)| *value > 0).collect();
        assert_eq!(listed, [("connections_accepted", 2), ("bytes_from_servers", 7)]);
        assert_eq!(stats.all().count(), Shell::NAMES.len() + Counter::NAMES.len());
    }

    #[test]
    fn transits_are_measured_by_the_wall_clock_and_impossible_ones_do_no_harm() {
        const SECOND: u64 = 1_000_000_000;
        let (stats, mut out) = (Stats::default(), Output::default());
        out.wall_offset = 50 * SECOND as i64;
        let at = |seconds: u64| UnixNanos(seconds * SECOND);
        // It is 150 by the wall clock.
        out.published_at = vec![at(149), at(150), at(151), UnixNanos(u64::MAX), at(0)];
        stats.add_times(&out, at(100));
        let reading = stats.transit.read();
        assert_eq!((reading.count, reading.sum), (3, (1 + 150) * SECOND));
        assert_eq!(stats.get(Shell::TransitNegative), 2);
        out.published_at = vec![UnixNanos(0); 20];
        stats.add_times(&out, UnixNanos(u64::MAX));
        assert_eq!(stats.transit.read().sum, 151 * SECOND + 20 * LONGEST_TRANSIT);
    }

    #[test]
    fn a_connection_is_active_until_it_is_dropped() {
        let stats = Stats::default();
        let open = stats.connection();
        assert_eq!(stats.get(Shell::ConnectionsActive), 1);
        drop(open);
        assert_eq!(stats.get(Shell::ConnectionsActive), 0);
    }
}
