//! The command line of `redistributed top`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Parser};

use super::port::{self, Address};
use crate::settings::units;

/// The address that is read unless one is named: the port that the documents use.
const USUAL_ADDRESS: &str = "127.0.0.1:9127";

const AFTER_HELP: &str = "\
Examples:
  redistributed top
  redistributed top --admin api:9127 --admin worker:9127
  redistributed top --admin unix:/run/redistributed/admin.sock --interval 5s
  redistributed top --once                what one interval shows, as plain text

Nothing is asked of a proxy but /metrics, and while channels are shown /tap, which needs permission
(--admin-control, or the token of --admin-token-file). The key `?` lists the keys.

Exit codes:
  0    ended by a key or a signal; with --once, every port was read
  1    with --once, a port could not be read
  2    an option is wrong";

/// The options of `top`.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "redistributed top",
    about = "Shows services, channels, rates, latencies and what was skipped, as running proxies tell of them",
    after_help = AFTER_HELP,
    max_term_width = 120
)]
pub struct TopArgs {
    /// The admin port of a proxy: a port of 127.0.0.1, host:port, or unix:/path; repeatable
    #[arg(long, value_name = "[HOST:]PORT", env = "REDISTRIBUTED_ADMIN", action = ArgAction::Append,
          default_value = USUAL_ADDRESS, value_parser = port::parse)]
    pub(super) admin: Vec<Address>,

    /// How often the ports are read, from 100ms on
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    pub(super) interval: Duration,

    /// Print what one interval shows and end, as is done where standard output is no terminal
    #[arg(long)]
    pub(super) once: bool,

    /// With --once, show channels too, for which messages are watched during the interval
    #[arg(long)]
    pub(super) channels: bool,

    /// A file with the token of the admin ports, for channels
    #[arg(long, value_name = "FILE", env = "REDISTRIBUTED_ADMIN_TOKEN_FILE")]
    pub(super) admin_token_file: Option<PathBuf>,
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = units::duration(text).map_err(|error| error.to_string())?;
    if interval < Duration::from_millis(100) { Err("it is shorter than 100ms".to_owned()) } else { Ok(interval) }
}
