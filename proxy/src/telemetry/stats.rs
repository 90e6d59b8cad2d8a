//! Counters of the whole process, with their names in one table.

use std::sync::atomic::{AtomicU64, Ordering};

use redistributed_core::{Counter, Counts};

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
    /// Client connections closed because Redis could not be reached.
    UpstreamFailures,
    /// Bytes read from services.
    BytesFromClients,
    /// Bytes read from Redis.
    BytesFromServers,
}

impl Shell {
    /// All of them, in order, with their names as metrics spell them.
    pub const NAMES: [&'static str; 6] = [
        "connections_accepted",
        "connections_active",
        "connections_refused",
        "upstream_failures",
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
    use super::*;

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
