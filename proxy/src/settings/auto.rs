//! The settings of mode `auto`.

use std::time::Duration;

use super::options::Options;
use super::units;
use super::validation::Check;

/// How subscriptions are announced and subscribers are polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AutoSettings {
    /// The time between two snapshots, and between two heartbeats.
    pub interval: Duration,
    /// Whether to announce subscriptions even if no channel's mode is `auto`.
    pub announce: bool,
    /// Whether the operator says that nobody subscribes on replicas.
    pub ignore_replicas: bool,
}

impl AutoSettings {
    /// The interval unless it is set.
    pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(1);
    /// The shortest interval that can be set.
    pub const SHORTEST_INTERVAL: Duration = Duration::from_millis(50);
    /// The longest interval that can be set.
    pub const LONGEST_INTERVAL: Duration = Duration::from_secs(60);
}

impl Default for AutoSettings {
    fn default() -> Self {
        Self { interval: Self::DEFAULT_INTERVAL, announce: false, ignore_replicas: false }
    }
}

impl Check<'_> {
    pub(super) fn auto(&mut self, args: &Options) -> AutoSettings {
        const REMEDY: &str = "write a time from 50ms to 60s";
        let value = ("--auto-interval", args.auto_interval.as_str(), REMEDY);
        let interval = self.or_refuse(units::duration(&args.auto_interval), value);
        if !(AutoSettings::SHORTEST_INTERVAL..=AutoSettings::LONGEST_INTERVAL).contains(&interval)
            && units::duration(&args.auto_interval).is_ok()
        {
            self.refuse("--auto-interval", Some(&args.auto_interval), "it is too short or too long", REMEDY);
        }
        AutoSettings { interval, announce: args.announce, ignore_replicas: args.auto_ignore_replicas }
    }
}
