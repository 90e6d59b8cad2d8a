//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{Parser, Subcommand};

/// The Redis that is started unless the command line names another.
pub(crate) const REDIS_SERVER: &str = "redis-server";

/// Follows reports through plain services, and prints each transaction as a tree
///
/// With OTEL_EXPORTER_OTLP_ENDPOINT set (and OTEL_EXPORTER_OTLP_PROTOCOL, `http/protobuf` or `grpc`), every span is
/// also sent there. JAEGER_UI is the address of Jaeger's pages if it is not port 16686 of the same host.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub(crate) struct Options {
    /// Leave everything running until Ctrl-C, and print new transactions as they happen; without a collector also show them on
    /// a web page
    #[arg(long, env = "KEEP", value_parser = FalseyValueParser::new())]
    pub(crate) keep: bool,

    /// Show transactions on a web page, too, and leave everything running until Ctrl-C
    #[arg(long, env = "VIEW", value_parser = FalseyValueParser::new())]
    pub(crate) view: bool,

    /// The folder of the programs `redistributed`, `demo-api` and `demo-worker` [default: this program's own]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) programs: Option<PathBuf>,

    /// The Redis server to start
    #[arg(long, value_name = "FILE", default_value = REDIS_SERVER)]
    pub(crate) redis_server: PathBuf,

    /// A Python that can import `redis`, for the Python worker [default: run without that worker]
    #[arg(long, value_name = "FILE", requires = "python_worker")]
    pub(crate) python: Option<PathBuf>,

    /// The Python worker's source
    #[arg(long, value_name = "FILE")]
    pub(crate) python_worker: Option<PathBuf>,

    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// How this program starts others; see the module `launch`
    #[command(hide = true)]
    Launch {
        parent: u32,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<OsString>,
    },
}

impl Options {
    /// Exits with the parser's message if the command line is wrong.
    pub(crate) fn from_process() -> Self {
        Self::parse()
    }

    /// Whether transactions are shown on a web page. One who keeps the demo running without a collector has no other place to
    /// look at them.
    pub(crate) fn views(&self, has_collector: bool) -> bool {
        self.view || (self.keep && !has_collector)
    }

    /// Whether everything is left running until Ctrl-C.
    pub(crate) fn keeps(&self) -> bool {
        self.keep || self.view
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_consistent_and_a_launched_command_keeps_its_options() {
        Options::command().debug_assert();
        let options = Options::parse_from(["demo", "launch", "7", "redis-server", "--port", "1", "--save", ""]);
        let Some(Command::Launch { parent: 7, command }) = options.command else { panic!("{options:?}") };
        assert_eq!(command, ["redis-server", "--port", "1", "--save", ""]);
    }

    #[test]
    fn what_is_kept_running_is_shown_unless_a_collector_shows_it() {
        let views = |arguments: &[&str], has_collector| {
            Options::parse_from([&["demo"][..], arguments].concat()).views(has_collector)
        };
        assert!(!views(&[], false) && !views(&[], true));
        assert!(views(&["--keep"], false) && !views(&["--keep"], true));
        assert!(views(&["--view"], false) && views(&["--view"], true));
    }
}
