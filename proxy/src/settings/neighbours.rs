//! Whether the proxy finds out what its upstream is.

use clap::Args;
use redistributed_core::choice::choice;

use super::choices::parser;
use super::values::Values;

/// The option about other proxies.
#[derive(Clone, Args)]
#[command(next_help_heading = "Other proxies")]
pub(crate) struct NeighbourOptions {
    /// Whether the proxy asks its upstream if it is another redistributed, or leads back to this one
    ///
    /// It sends one PING on a connection of its own: at the start, and after the upstream was away. Behind another
    /// redistributed, a proxy leaves the messages of that one's services alone. One that leads back to itself refuses clients.
    #[arg(long, value_parser = parser::<DetectProxies>(), default_value_t)]
    pub(super) detect_proxies: DetectProxies,
}

choice! {
    /// Whether the upstream is asked what it is: `--detect-proxies`.
    pub(super) enum DetectProxies, default On {
        /// Ask
        On = "on",
        /// Take it for a Redis
        Off = "off",
    }
}

impl NeighbourOptions {
    pub(super) fn is_on(&self) -> bool {
        self.detect_proxies == DetectProxies::On
    }
}

/// The value of `--detect-proxies` that is in effect.
pub(super) fn effective(detect_proxies: bool) -> Values {
    let choice = if detect_proxies { DetectProxies::On } else { DetectProxies::Off };
    vec![("detect-proxies", choice.to_string())]
}
