//! Counters of the whole process, with their names in one table.

use std::sync::atomic::{AtomicU64, Ordering};

use redistributed_core::{Counter, Counts};

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
    /// Bytes read from services.
    BytesFromClients,
    /// Bytes read from Redis.
    BytesFromServers,
}

impl Shell {
    /// All of them, in order, with their names as metrics spell them.
    pub const NAMES: [&'static str; 8] = [
        "connections_accepted",
        "connections_active",
        "connections_refused",
        "handshakes_failed",
        "upstream_failures",
        "upstream_retries",
        "bytes_from_clients",
        "bytes_from_servers",
    ];
}

/// The counters. Every task adds to them without waiting; a reader sees each one whole, not all at one instant.
#[derive(Debug, Default)]
pub struct Stats {
    shell: [AtomicU64; Shell::NAMES.len()],
    sessions: [AtomicU64; Counter::NAMES.len()],
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

    /// One connection more that is open, until the answer is dropped.
    pub fn connection(&self) -> OpenConnection<'_> {
        self.add(Shell::ConnectionsActive, 1);
        OpenConnection(self)
    }

    /// A counter of the shell.
    pub fn get(&self, counter: Shell) -> u64 {
        self.shell[counter as usize].load(Ordering::Relaxed)
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
            bytes_from_clients = shell(Shell::BytesFromClients),
            bytes_from_servers = shell(Shell::BytesFromServers),
            published = session(Counter::Published),
            injected = session(Counter::Injected),
            skipped_inline = session(Counter::SkippedInline),
            skipped_channel = session(Counter::SkippedChannel),
            skipped_size = session(Counter::SkippedSize),
            skipped_carrier = session(Counter::SkippedCarrier),
            skipped_unauthenticated = session(Counter::SkippedUnauthenticated),
            skipped_mode = session(Counter::SkippedMode),
            delivered = session(Counter::Delivered),
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
    fn a_connection_is_active_until_it_is_dropped() {
        let stats = Stats::default();
        let open = stats.connection();
        assert_eq!(stats.get(Shell::ConnectionsActive), 1);
        drop(open);
        assert_eq!(stats.get(Shell::ConnectionsActive), 0);
    }
}
