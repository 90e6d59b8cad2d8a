//! The command line.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::web::Version;

/// Measures what the proxy costs beside HAProxy and beside no proxy
#[derive(Debug, Parser)]
#[command(name = "redistributed-bench", version, max_term_width = 120)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start everything, measure, print the table and the targets
    Run(Run),
    /// Compare the core's instructions and allocations with the baseline
    Core(Core),
    /// Judge the inference of causes by recordings and by real services
    Causes(Causes),
    /// Become a program that ends when the run does
    #[command(hide = true)]
    Launch {
        parent: u32,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<OsString>,
    },
    /// Be the collector of a measurement
    #[command(hide = true)]
    Sink { address: SocketAddr },
    /// Be the service behind the HTTP ports of a measurement
    #[command(hide = true)]
    Web { version: Version, address: SocketAddr },
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) programs: Programs,

    /// Only workloads whose name contains one of these words
    #[arg(long, value_name = "TEXT", value_delimiter = ',')]
    pub(crate) only: Vec<String>,

    /// The few workloads that the targets need most, briefly: some minutes
    #[arg(long, conflicts_with = "full")]
    pub(crate) quick: bool,

    /// Every combination of size, pipeline and connections
    #[arg(long)]
    pub(crate) full: bool,

    /// How often each workload goes round all targets
    #[arg(long, value_name = "N")]
    pub(crate) rounds: Option<usize>,

    /// Length of one measurement at saturation
    #[arg(long, value_name = "SECONDS")]
    pub(crate) seconds: Option<f64>,

    /// List the workloads and end
    #[arg(long)]
    pub(crate) list: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Core {
    /// The core's bench
    #[arg(long, value_name = "PATH")]
    pub(crate) bench: PathBuf,
    #[arg(long, value_name = "PATH")]
    pub(crate) baseline: PathBuf,
    #[arg(long, value_name = "PATH", default_value = "valgrind")]
    pub(crate) valgrind: PathBuf,
    /// Write the baseline instead of comparing with it
    #[arg(long)]
    pub(crate) update: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Causes {
    /// The folders of recordings, each of which is NAME.log and NAME.truth, also compressed as .xz
    #[arg(value_name = "DIR", default_values = ["proxy/core/tests/causes/recordings", "proxy/bench/recordings"])]
    pub(crate) recordings: Vec<PathBuf>,
    /// The core's example `replay`
    #[arg(long, value_name = "PATH", default_value = "target/release/examples/replay")]
    pub(crate) replay: PathBuf,
    /// Compare recall with other answers, those to NAME being in DIR/NAME.jsonl
    #[arg(long, value_name = "DIR")]
    pub(crate) against: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) services: Option<Services>,
}

/// What real services behind sidecars need. Without `--services` there are only recordings.
#[derive(Debug, Args)]
pub(crate) struct Services {
    /// The folder of the services' sources
    #[arg(long, value_name = "DIR", required = false, value_parser = absolute)]
    pub(crate) services: PathBuf,
    /// The service in Rust
    #[arg(long, value_name = "PATH", required = false, requires = "services", value_parser = absolute)]
    pub(crate) plain_service: PathBuf,
    /// A Python that has what the services' requirements.txt names
    #[arg(long, value_name = "PATH", required = false, requires = "services", value_parser = absolute)]
    pub(crate) python: PathBuf,
    /// The folder that holds ioredis
    #[arg(long, value_name = "DIR", required = false, requires = "services", value_parser = absolute)]
    pub(crate) node_modules: PathBuf,
    #[arg(long, value_name = "PATH", default_value = "target/release/redistributed", value_parser = absolute)]
    pub(crate) redistributed: PathBuf,
    #[arg(long, value_name = "PATH", default_value = "redis-server")]
    pub(crate) redis_server: PathBuf,
    /// Only services and levels whose name contains one of these words
    #[arg(long, value_name = "TEXT", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
}

/// Where the programs are.
#[derive(Debug, Args)]
pub(crate) struct Programs {
    #[arg(long, value_name = "PATH", default_value = "target/release/redistributed")]
    pub(crate) redistributed: PathBuf,
    #[arg(long, value_name = "PATH", default_value = "redis-server")]
    pub(crate) redis_server: PathBuf,
    #[arg(long, value_name = "PATH", default_value = "haproxy")]
    pub(crate) haproxy: PathBuf,
    /// Compare with Envoy's redis_proxy too
    #[arg(long, value_name = "PATH")]
    pub(crate) envoy: Option<PathBuf>,
}

impl Run {
    /// Whether the filter lets through what has this name.
    pub(crate) fn wants(&self, name: &str) -> bool {
        wants(&self.only, name)
    }
}

impl Services {
    /// Whether the filter lets through what has this name.
    pub(crate) fn wants(&self, name: &str) -> bool {
        wants(&self.only, name)
    }
}

/// An absolute path, because programs have other working folders. Links are kept: a Python finds its libraries by its own path.
fn absolute(path: &str) -> Result<PathBuf, std::io::Error> {
    std::path::absolute(path)
}

fn wants(only: &[String], name: &str) -> bool {
    let name = name.to_lowercase();
    let mut words = only.iter().filter(|word| !word.is_empty()).peekable();
    words.peek().is_none() || words.any(|word| name.contains(&word.to_lowercase()))
}
