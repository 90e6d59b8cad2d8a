//! The command line of `redistributed view`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Parser;
use redistributed_view::{DEFAULT_MEMORY, LEAST_MEMORY};

use crate::settings::units;
use crate::settings::{HostPort, ListenAddress};

const AFTER_HELP: &str = "\
As in: redistributed view, and then open http://127.0.0.1:16680/

Proxies send their spans to localhost:4318 unless OTEL_EXPORTER_OTLP_ENDPOINT says otherwise, so they are shown without a setting.
Nothing is written to disk. When the memory is full, the transactions that have been without news for longest are forgotten.

Exit codes:
  0    stopped by SIGINT or SIGTERM
  1    failed while it ran
  2    an option is wrong, or a file cannot be opened
  3    a listen address cannot be had";

/// The options of `view`.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "redistributed view",
    about = "Receives spans and shows transactions as they happen, on a web page",
    after_help = AFTER_HELP,
    max_term_width = 120
)]
pub struct ViewArgs {
    /// Where the page is served: a port alone is one of 127.0.0.1, and 0 lets the system choose
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:16680", value_parser = page)]
    pub listen: HostPort,

    /// Where spans come in by OTLP over HTTP, or off
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4318")]
    pub otlp_http: Port,

    /// Where spans come in by OTLP over gRPC, or off
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4317")]
    pub otlp_grpc: Port,

    /// The most memory that spans may take
    #[arg(long, value_name = "SIZE", default_value_t = Memory(DEFAULT_MEMORY))]
    pub memory: Memory,

    /// A further name or address by which the page may be asked for; repeatable
    #[arg(long, value_name = "HOST", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub allow_host: Vec<String>,

    /// Traces that were saved before, in Jaeger's JSON or in that of OTLP
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// A port that may be left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Port {
    /// There is none.
    Off,
    /// The port is bound to this address.
    At(HostPort),
}

/// A size in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory(pub usize);

/// Reads the address of a page: TCP, without TLS.
///
/// # Errors
/// What is wrong with it.
pub fn page(text: &str) -> Result<HostPort, String> {
    match ListenAddress::parse_http(text) {
        Ok(ListenAddress::Tcp(address)) => Ok(address),
        Ok(_) => Err("it must be an address of TCP without TLS, as in 127.0.0.1:16680".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

impl FromStr for Port {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" { Ok(Self::Off) } else { page(text).map(Self::At) }
    }
}

impl FromStr for Memory {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = units::bytes(text).map_err(|error| error.to_string())?;
        if bytes < LEAST_MEMORY {
            return Err("it is less than 1MiB".to_owned());
        }
        Ok(Self(bytes))
    }
}

impl std::fmt::Display for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}MiB", self.0 >> 20)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_sizes_are_read_as_elsewhere() {
        let read = |words: &[&str]| ViewArgs::try_parse_from([&["view"], words].concat());
        let usual = read(&[]).unwrap();
        assert_eq!((usual.listen.to_string(), usual.memory), ("127.0.0.1:16680".to_owned(), Memory(256 << 20)));
        let given =
            read(&["--listen", "0", "--otlp-grpc", "off", "--otlp-http", "[::1]:7", "--memory", "64MiB"]).unwrap();
        assert_eq!((given.listen.to_string(), given.otlp_grpc), ("127.0.0.1:0".to_owned(), Port::Off));
        assert_eq!(given.otlp_http, Port::At(HostPort { host: "::1".to_owned(), port: 7 }));
        for wrong in [["--listen", "unix:/tmp/x"], ["--listen", "https://a:1"], ["--memory", "1KiB"], ["--memory", "2"]]
        {
            assert!(read(&wrong).is_err(), "{wrong:?}");
        }
    }
}
