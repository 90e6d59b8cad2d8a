//! What connections count and time.
//!
//! Each counter is defined once, in [`ProxyCounter`] or in the core's [`Counter`]. The log line at the end and the metrics
//! page follow from these definitions.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redistributed_core::service::Event;
use redistributed_core::trace::{Operation, SpanRecord, UnixNanos};
use redistributed_core::{Counter, Counts, Side, counters};
use tracing::callsite::DefaultCallsite;
use tracing::field::{FieldSet, Value};
use tracing::metadata::Kind;
use tracing::{Level, Metadata, callsite, dispatcher};

use super::histogram::{Bounds, Histogram};
use crate::logging::LIFECYCLE;

counters! {
    /// What the proxy counts outside of its sessions, which have the [`Counter`]s.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[repr(usize)]
    pub enum ProxyCounter {
        "connections_accepted_total", "Client connections accepted, those over the limit included" {
            ConnectionsAccepted: "connections_accepted",
        }
        "connections_active", "Client connections open now" { ConnectionsActive: "connections_active" }
        "connections_refused_total" by "reason", "Client connections answered with an error and closed, by the reason" {
            /// `--max-connections` was reached.
            ConnectionsRefused: "connections_refused" = "limit",
            /// The upstream leads back to this proxy.
            ConnectionsInCircle: "connections_in_circle" = "circle",
        }
        "connections_from_proxies_total", "Client connections of another redistributed, which deals with their messages" {
            ConnectionsFromProxies: "connections_from_proxies",
        }
        "handshakes_failed_total", "Client connections closed because their TLS handshake failed" {
            HandshakesFailed: "handshakes_failed",
        }
        "upstream_failures_total" by "reason", "Client connections closed because there was none to Redis, by the reason" {
            /// Redis refused the connection or the proxy's login, or did not answer.
            UpstreamFailures: "upstream_failures" = "unreachable",
            /// The proxy had run out of file descriptors, memory or local ports.
            UpstreamExhausted: "upstream_exhausted" = "exhausted",
        }
        "upstream_retries_total", "Attempts to reach Redis that failed and were followed by another" {
            UpstreamRetries: "upstream_retries",
        }
        "received_bytes_total" by "from", "Bytes read" {
            /// From services, and from the HTTP clients of services.
            BytesFromClients: "bytes_from_clients" = "client",
            /// From Redis, and from services behind HTTP ports.
            BytesFromServers: "bytes_from_servers" = "server",
        }
        "sent_bytes_total" by "to", "Bytes passed on, with contexts added or removed" {
            /// To services, and to the HTTP clients of services.
            BytesToClients: "bytes_to_clients" = "client",
            /// To Redis, and to services behind HTTP ports.
            BytesToServers: "bytes_to_servers" = "server",
        }
        "contexts_told_total", "Contexts of items told to other proxies that listened" { ContextsTold: "contexts_told" }
        "contexts_not_told_total", "Contexts of items that were not told, because there were too many or Redis could not be asked" {
            ContextsNotTold: "contexts_not_told",
        }
        "contexts_heard_total", "Contexts of items heard from other proxies" { ContextsHeard: "contexts_heard" }
        "transit_negative_total", "Messages that came before they had been published, by the clocks of two machines" {
            TransitNegative: "transit_negative",
        }
    }
}

/// The longest transit that is believed, in nanoseconds: one hour. Redis keeps no message, so a longer one comes from a wrong
/// clock or a forged time, and must not make the sum overflow.
const LONGEST_TRANSIT: u64 = 3_600_000_000_000;

/// The counters and times of one service, or the sums of several. Tasks add without waiting; a reader sees each number whole,
/// but not all numbers at one instant.
#[derive(Debug)]
pub struct Stats {
    proxy: [AtomicU64; ProxyCounter::NAMES.len()],
    sessions: [AtomicU64; Counter::NAMES.len()],
    /// From a publish's first byte to Redis's reply.
    pub round_trips: Histogram,
    /// From a publish's first byte to the message's last one at a subscriber's proxy.
    pub transit: Histogram,
    /// The time that attempts to connect to Redis took: those that succeeded, then those that failed.
    pub connects: [Histogram; 2],
}

impl Default for Stats {
    fn default() -> Self {
        let histogram = || Histogram::new(&Bounds::REDIS);
        Self {
            proxy: Default::default(),
            sessions: [const { AtomicU64::new(0) }; Counter::NAMES.len()],
            round_trips: histogram(),
            transit: histogram(),
            connects: [histogram(), histogram()],
        }
    }
}

impl Stats {
    /// Adds `n` to a counter of the proxy.
    pub fn add(&self, counter: ProxyCounter, n: u64) {
        self.proxy[counter as usize].fetch_add(n, Ordering::Relaxed);
    }

    /// Adds `came` bytes that were read from `side`, and `left` bytes that were passed on to the other one.
    pub fn add_bytes(&self, side: Side, came: usize, left: usize) {
        let (from, to) = match side {
            Side::Client => (ProxyCounter::BytesFromClients, ProxyCounter::BytesToServers),
            Side::Server => (ProxyCounter::BytesFromServers, ProxyCounter::BytesToClients),
        };
        self.add(from, came as u64);
        self.add(to, left as u64);
    }

    /// Adds what a session has counted.
    pub fn add_counts(&self, counts: &Counts) {
        for (index, n) in counts.nonzero() {
            self.sessions[index].fetch_add(n, Ordering::Relaxed);
        }
    }

    /// Adds the round trips and transits that a session has reported at the time `now`.
    pub fn add_times(&self, events: &[Event], now: UnixNanos, wall_offset: i64) {
        if events.is_empty() {
            return;
        }
        let mut has_transits = false;
        let round_trip = |event: &Event| match event {
            Event::PublishedAt(_) => {
                has_transits = true;
                None
            }
            Event::RoundTrip(nanos) => Some(*nanos),
            Event::SpanEnded(SpanRecord {
                operation: Operation::Publish { receivers: Some(_), .. },
                start,
                end,
                ..
            }) => Some(end.0.saturating_sub(start.0)),
            _ => None,
        };
        let mut round_trips = events.iter().filter_map(round_trip).peekable();
        if round_trips.peek().is_some() {
            self.round_trips.observe_all(round_trips);
        }
        if !has_transits {
            return;
        }
        let arrived = now.0.saturating_add_signed(wall_offset);
        let transits = || {
            events.iter().filter_map(|event| match event {
                Event::PublishedAt(published) => Some(arrived.checked_sub(published.0)),
                _ => None,
            })
        };
        self.transit.observe_all(transits().flatten().map(|transit| transit.min(LONGEST_TRANSIT)));
        self.add(ProxyCounter::TransitNegative, transits().filter(Option::is_none).count() as u64);
    }

    /// Adds the time that an attempt to connect to Redis took, whether it `succeeded` or failed.
    pub fn connected(&self, succeeded: bool, took: Duration) {
        self.connects[usize::from(!succeeded)].observe(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Adds what `other` has counted and timed.
    pub fn merge(&self, other: &Self) {
        let sums = self.proxy.iter().chain(&self.sessions);
        for (sum, more) in sums.zip(other.proxy.iter().chain(&other.sessions)) {
            sum.fetch_add(more.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        self.round_trips.merge(&other.round_trips);
        self.transit.merge(&other.transit);
        self.connects.iter().zip(&other.connects).for_each(|(sum, more)| sum.merge(more));
    }

    /// Counts one more open connection until the returned guard is dropped.
    pub fn connection(&self) -> OpenConnection<'_> {
        self.add(ProxyCounter::ConnectionsActive, 1);
        OpenConnection(self)
    }

    /// The value of a counter of the proxy.
    pub fn get(&self, counter: ProxyCounter) -> u64 {
        self.proxy[counter as usize].load(Ordering::Relaxed)
    }

    /// The value of a counter of the sessions.
    pub fn get_session(&self, counter: Counter) -> u64 {
        self.sessions[counter as usize].load(Ordering::Relaxed)
    }

    /// All counters with the names that the log has for them.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let names = ProxyCounter::NAMES.iter().chain(&Counter::NAMES);
        names.zip(self.proxy.iter().chain(&self.sessions)).map(|(name, value)| (*name, value.load(Ordering::Relaxed)))
    }

    /// Logs all counters that are not zero in one line; nothing if there are none.
    pub fn log(&self) {
        let values: Vec<u64> = self.all().map(|(_, value)| value).collect();
        if values.iter().any(|value| *value > 0) {
            log_line::write(&values);
        }
    }
}

/// The log line of all counters, with a field for each.
///
/// The macros of `tracing` take the names of fields as tokens. They are a table here, so the event is made without a macro.
mod log_line {
    use super::*;

    const COUNTERS: usize = ProxyCounter::NAMES.len() + Counter::NAMES.len();

    /// The field that `tracing` shows as the line's text, and the counters' names.
    static FIELDS: [&str; 1 + COUNTERS] = {
        let mut fields = ["message"; 1 + COUNTERS];
        let mut index = 0;
        while index < COUNTERS {
            fields[1 + index] = match index.checked_sub(ProxyCounter::NAMES.len()) {
                None => ProxyCounter::NAMES[index],
                Some(index) => Counter::NAMES[index],
            };
            index += 1;
        }
        fields
    };

    static CALLSITE: DefaultCallsite = DefaultCallsite::new(&METADATA);

    static METADATA: Metadata<'static> = Metadata::new(
        "counted",
        LIFECYCLE,
        Level::INFO,
        Some(file!()),
        Some(line!()),
        Some(module_path!()),
        FieldSet::new(&FIELDS, callsite::Identifier(&CALLSITE)),
        Kind::EVENT,
    );

    /// Writes the line, without the fields of counters that are zero.
    pub(super) fn write(counters: &[u64]) {
        if CALLSITE.interest().is_never() || !dispatcher::get_default(|current| current.enabled(&METADATA)) {
            return;
        }
        let message = format_args!("counted");
        let mut values: Vec<Option<&dyn Value>> = vec![Some(&message)];
        values.extend(counters.iter().map(|value| (*value > 0).then_some(value as &dyn Value)));
        tracing::Event::dispatch(&METADATA, &METADATA.fields().value_set_all(&values));
    }
}

/// Counts as [`ProxyCounter::ConnectionsActive`] while it lives, however its task ends.
#[derive(Debug)]
pub struct OpenConnection<'a>(&'a Stats);

impl Drop for OpenConnection<'_> {
    fn drop(&mut self) {
        self.0.proxy[ProxyCounter::ConnectionsActive as usize].fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::fmt;
    use std::sync::{Arc, Mutex};

    use tracing::Subscriber;
    use tracing::field::{Field, Visit};
    use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

    use super::*;

    /// The fields of each event that have a value, except for its message.
    #[derive(Clone, Default)]
    struct Fields(Arc<Mutex<Vec<(&'static str, u64)>>>);

    impl<S: Subscriber> Layer<S> for Fields {
        fn on_event(&self, event: &tracing::Event<'_>, _context: Context<'_, S>) {
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
            stats.add(ProxyCounter::UpstreamFailures, 3);
            stats.log();
            assert_eq!(std::mem::take(&mut *fields.0.lock().unwrap()), [("upstream_failures", 3)]);
            for (value, counter) in (1..).zip(stats.proxy.iter().chain(&stats.sessions)) {
                counter.store(value, Ordering::Relaxed);
            }
            stats.log();
        });
        assert_eq!(*fields.0.lock().unwrap(), stats.all().collect::<Vec<_>>());
    }

    #[test]
    fn every_counter_is_listed_under_its_own_name() {
        let stats = Stats::default();
        stats.add(ProxyCounter::BytesFromServers, 7);
        stats.add(ProxyCounter::ConnectionsAccepted, 2);
        let listed: Vec<_> = stats.all().filter(|(_, value)| *value > 0).collect();
        assert_eq!(listed, [("connections_accepted", 2), ("bytes_from_servers", 7)]);
        assert_eq!(stats.all().count(), ProxyCounter::NAMES.len() + Counter::NAMES.len());
    }

    #[test]
    fn transits_are_measured_by_the_wall_clock_and_impossible_ones_do_no_harm() {
        const SECOND: u64 = 1_000_000_000;
        let (stats, offset) = (Stats::default(), 50 * SECOND as i64);
        let at = |seconds: u64| UnixNanos(seconds * SECOND);
        // It is 150 by the wall clock.
        let published = [at(149), at(150), at(151), UnixNanos(u64::MAX), at(0)].map(Event::PublishedAt);
        stats.add_times(&published, at(100), offset);
        let reading = stats.transit.read();
        assert_eq!((reading.count, reading.sum), (3, (1 + 150) * SECOND));
        assert_eq!(stats.get(ProxyCounter::TransitNegative), 2);
        stats.add_times(&vec![Event::PublishedAt(UnixNanos(0)); 20], UnixNanos(u64::MAX), offset);
        assert_eq!(stats.transit.read().sum, 151 * SECOND + 20 * LONGEST_TRANSIT);
    }

    #[test]
    fn a_connection_is_active_until_it_is_dropped() {
        let stats = Stats::default();
        let open = stats.connection();
        assert_eq!(stats.get(ProxyCounter::ConnectionsActive), 1);
        drop(open);
        assert_eq!(stats.get(ProxyCounter::ConnectionsActive), 0);
    }
}
