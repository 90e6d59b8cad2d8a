//! How soon a path on which packets are lost without a word is given up: to Redis, and to clients.

use std::time::Duration;

use clap::Args;

use super::units::{self, format_duration};
use super::validation::Validation;
use super::values::Values;

/// The options of both hops' TCP connections.
#[derive(Clone, Args)]
#[command(next_help_heading = "TCP")]
pub(crate) struct TcpOptions {
    /// How long sent bytes may wait for their acknowledgement before a connection is given up, to Redis or to a client; 0s:
    /// as long as the system lets them, about 15 minutes
    #[arg(long, value_name = "TIME", default_value = "20s")]
    tcp_user_timeout: String,

    /// After how long without a packet an idle connection is probed; three probes without an answer, each half that time
    /// after the one before, end it; 0s: no probes
    #[arg(long, value_name = "TIME", default_value = "10s")]
    tcp_keepalive: String,
}

/// How soon a path without answers is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpTimeouts {
    /// The time that sent bytes may wait for their acknowledgement: `TCP_USER_TIMEOUT`, in whole milliseconds; `None` for the
    /// system's own limit.
    pub user_timeout: Option<Duration>,
    /// The time without a packet after which an idle connection is probed: `TCP_KEEPIDLE`, in whole seconds; `None` for never.
    pub keepalive: Option<Duration>,
}

impl Validation<'_> {
    pub(super) fn tcp(&mut self, options: &TcpOptions) -> TcpTimeouts {
        const TIME: &str = "write a time of at most a day with its unit, as in 20s or 1m, or 0s to switch it off";
        const SECONDS: &str = "write whole seconds, as in 10s or 1m, or 0s to switch it off";
        let user_timeout = self.or_reject(
            units::duration(&options.tcp_user_timeout),
            ("--tcp-user-timeout", &options.tcp_user_timeout, TIME),
        );
        let keepalive = match units::duration(&options.tcp_keepalive) {
            Ok(time) if time.subsec_nanos() != 0 => Err("the system counts it in seconds".to_owned()),
            // What the system takes at most.
            Ok(time) if time > Duration::from_secs(32_767) => Err("it is above 32767s".to_owned()),
            parsed => parsed.map_err(|problem| problem.to_string()),
        };
        let keepalive = self.or_reject(keepalive, ("--tcp-keepalive", &options.tcp_keepalive, SECONDS));
        let unless_zero = |time: Duration| (!time.is_zero()).then_some(time);
        TcpTimeouts { user_timeout: unless_zero(user_timeout), keepalive: unless_zero(keepalive) }
    }
}

impl TcpTimeouts {
    pub(super) fn effective(&self) -> Values {
        let shown = |time: Option<Duration>| format_duration(time.unwrap_or_default());
        vec![("tcp-user-timeout", shown(self.user_timeout)), ("tcp-keepalive", shown(self.keepalive))]
    }
}
