//! The settings of mode `auto`: how evidence of a channel's subscribers is collected.

use std::time::Duration;

use clap::Args;

use super::choices::switch;
use super::units::{self, format_duration};
use super::validation::Validation;
use super::values::Values;

/// The options of mode `auto`.
#[derive(Clone, Args)]
#[command(next_help_heading = "Mode auto")]
pub(crate) struct AutoOptions {
    /// In mode auto: how often Redis is asked who is subscribed, and told of this proxy's own subscriptions
    ///
    /// From 50ms to 60s. More is asked and told as soon as something changes. Where a proxy is too busy to answer at once, a
    /// channel gets contexts three to four intervals after its last subscriber's proxy has announced it.
    #[arg(long, value_name = "TIME", default_value_t = format_duration(AutoSettings::DEFAULT_INTERVAL))]
    auto_interval: String,

    /// In mode auto: no client subscribes on a replica, so that replicas need not be counted
    #[arg(long, value_parser = switch)]
    auto_ignore_replicas: bool,

    /// Announce subscriptions to proxies in mode auto, even if no channel has this mode here
    #[arg(long, value_parser = switch)]
    announce: bool,
}

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

impl Validation<'_> {
    pub(super) fn auto(&mut self, options: &AutoOptions) -> AutoSettings {
        const RANGE: std::ops::RangeInclusive<Duration> =
            AutoSettings::SHORTEST_INTERVAL..=AutoSettings::LONGEST_INTERVAL;
        let interval = match units::duration(&options.auto_interval) {
            Ok(interval) if !RANGE.contains(&interval) => Err("it is too short or too long".to_owned()),
            parsed => parsed.map_err(|problem| problem.to_string()),
        };
        let value = ("--auto-interval", options.auto_interval.as_str(), "write a time from 50ms to 60s");
        AutoSettings {
            interval: self.or_reject(interval, value),
            announce: options.announce,
            ignore_replicas: options.auto_ignore_replicas,
        }
    }
}

impl AutoSettings {
    pub(super) fn effective(&self) -> Values {
        vec![
            ("auto-interval", format_duration(self.interval)),
            ("auto-ignore-replicas", self.ignore_replicas.to_string()),
            ("announce", self.announce.to_string()),
        ]
    }
}
