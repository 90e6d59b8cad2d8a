//! Following causes: what a service sends is attributed to what it has received.

use std::ops::RangeInclusive;
use std::time::Duration;

use clap::Args;
use redistributed_core::glob::Glob;
use redistributed_core::policy::{Follow, OutOfBand, Policy};

use super::choices::{parser, switch};
use super::units::{self, format_duration};
use super::validation::Validation;
use super::values::Values;

/// The options that say what becomes of causes.
#[derive(Clone, Args)]
#[command(next_help_heading = "What caused it")]
pub(crate) struct FollowOptions {
    /// What becomes of the request or message for which a service sends a command, where it can be told for certain
    ///
    /// It is told from what is seen on the wire, and nothing in the service's traffic changes. See proxy/docs/causes.md.
    #[arg(long, value_parser = parser::<Follow>(), default_value_t = Follow::Parent)]
    pub(super) follow: Follow,

    /// How long the span of a delivery stays open after the last work that is known to be caused by the message
    ///
    /// From 10ms to 10s. Spans of deliveries are exported this much later. A span ends with the work, not with this time.
    #[arg(long, value_name = "TIME", default_value_t = format_duration(FollowSettings::DEFAULT_WINDOW))]
    follow_window: String,

    /// How long the span of an entry of a stream waits for its XACK
    ///
    /// From 10ms to 10m. The span ends with the XACK, however early it comes. One that is not acknowledged in time says so, and ends
    /// with the last work that the entry is known to have caused.
    #[arg(long, value_name = "TIME", default_value_t = format_duration(FollowSettings::DEFAULT_ACK_WINDOW))]
    ack_window: String,

    /// Link what reads a value from Redis to the request or message whose work wrote the value, where both are known for certain
    ///
    /// It needs --follow, and concerns GET, MGET, HGET, HMGET and HGETALL. Writers are known that write through this process.
    #[arg(long, value_parser = switch)]
    link_writers: bool,

    /// Tell other proxies the contexts of what services add to queues and streams, and hear theirs
    ///
    /// It is told by PUBLISH on channels of the proxies' own, so that what is added and what is done with it are in one trace. Nothing is
    /// written to Redis. Without it, the two are linked. It needs --follow, and a --mode that adds contexts. See proxy/docs/queues.md.
    #[arg(long, value_parser = parser::<OutOfBand>(), default_value_t = OutOfBand::On)]
    pub(super) out_of_band: OutOfBand,

    /// Take the lists and sorted sets at keys that match this glob for queues, as in 'jobs:*'; repeatable
    ///
    /// A command that adds items to a queue has a span, and what is taken out of it is work. Streams, and the queues of well-known
    /// libraries, are found without it. See proxy/docs/queues.md.
    #[arg(long = "queue", value_name = "GLOB")]
    pub(crate) queues: Vec<String>,
}

/// How long work is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowSettings {
    /// How long the span of a delivery stays open without further work.
    pub window: Duration,
    /// How long the span of an entry of a stream waits for its acknowledgement.
    pub ack_window: Duration,
    /// Whether reads are linked to those who have written what is read.
    pub links_writers: bool,
}

impl FollowSettings {
    /// The window unless it is set.
    pub const DEFAULT_WINDOW: Duration = Duration::from_secs(2);
    /// The shortest window that can be set.
    pub const SHORTEST_WINDOW: Duration = Duration::from_millis(10);
    /// The longest window that can be set: as long as causes are remembered.
    pub const LONGEST_WINDOW: Duration = Duration::from_secs(10);
    /// The time for acknowledgements unless it is set: as long as people let a worker take before others claim its entries.
    pub const DEFAULT_ACK_WINDOW: Duration = Duration::from_secs(30);
    /// The longest time for acknowledgements: as long as an entry is remembered that is not acknowledged.
    pub const LONGEST_ACK_WINDOW: Duration = Duration::from_secs(600);

    pub(super) fn effective(&self, policy: &Policy) -> Values {
        vec![
            ("follow", policy.follow.to_string()),
            ("follow-window", format_duration(self.window)),
            ("ack-window", format_duration(self.ack_window)),
            ("link-writers", self.links_writers.to_string()),
            ("out-of-band", policy.out_of_band.to_string()),
            ("queue", policy.queues.iter().map(Glob::as_str).collect::<Vec<_>>().join(" ")),
        ]
    }
}

impl Default for FollowSettings {
    fn default() -> Self {
        Self { window: Self::DEFAULT_WINDOW, ack_window: Self::DEFAULT_ACK_WINDOW, links_writers: false }
    }
}

impl Validation<'_> {
    pub(super) fn follow(&mut self, options: &FollowOptions) -> FollowSettings {
        const SHORTEST: Duration = FollowSettings::SHORTEST_WINDOW;
        let window = ("--follow-window", options.follow_window.as_str(), "write a time from 10ms to 10s");
        let ack_window = ("--ack-window", options.ack_window.as_str(), "write a time from 10ms to 10m");
        FollowSettings {
            window: self.window(window, SHORTEST..=FollowSettings::LONGEST_WINDOW),
            ack_window: self.window(ack_window, SHORTEST..=FollowSettings::LONGEST_ACK_WINDOW),
            links_writers: options.link_writers,
        }
    }

    /// Reads a time. `value` is the option, the text, and what to do about a wrong one.
    fn window(&mut self, value: (&'static str, &str, &'static str), range: RangeInclusive<Duration>) -> Duration {
        let window = match units::duration(value.1) {
            Ok(window) if !range.contains(&window) => Err("it is too short or too long".to_owned()),
            parsed => parsed.map_err(|problem| problem.to_string()),
        };
        self.or_reject(window, value)
    }
}
