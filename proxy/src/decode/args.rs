//! The command line of `redistributed decode`.

use clap::{Parser, ValueEnum};

use crate::report_format::ReportFormat;

const AFTER_HELP: &str = "\
Examples:
  redis-cli --raw GET saved | redistributed decode
  timeout 5 redis-cli SUBSCRIBE orders | redistributed decode
  redistributed decode      then paste what redis-cli shows, as in \"hello\\x00K\\xf9/5...\"
  redistributed decode --input capture < packets.pcap

Unless --input says how standard input is written, the way that finds most contexts is taken, and
the answer says which.

Exit codes:
  0    there is a context
  1    there is none
  2    an option is wrong, or the input cannot be read";

/// The options of `decode`.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "redistributed decode",
    about = "Says what trace context payloads carry: one, or those of messages, from standard input",
    after_help = AFTER_HELP,
    max_term_width = 120
)]
pub struct DecodeArgs {
    /// Where to look for a context
    #[arg(long, value_enum, default_value_t = CarrierFilter::Auto)]
    pub carrier: CarrierFilter,

    /// How standard input is written
    #[arg(long, value_enum, default_value_t = InputFormat::Auto)]
    pub input: InputFormat,

    /// Form of the answer; as json one object a line for each payload
    #[arg(long, value_enum, default_value_t = ReportFormat::Text)]
    pub format: ReportFormat,

    /// Write the payload without the context to standard output, and the answer to standard error
    #[arg(long)]
    pub strip: bool,
}

/// The choices of `--carrier`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CarrierFilter {
    /// In all three forms
    Auto,
    /// Behind the payload
    Trailer,
    /// Among the members of a JSON object
    Json,
    /// In front of the payload
    Opencensus,
}

/// The choices of `--input`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum InputFormat {
    /// The one of these that finds most contexts
    Auto,
    /// One payload, byte by byte as it is
    Raw,
    /// Two hexadecimal digits a byte; white space does not count
    Hex,
    /// Base64, with or without padding
    Base64,
    /// As redis-cli shows it: \x00 and such; one payload, or messages and replies with quotes around each string
    Escaped,
    /// RESP, as it passes between client and Redis: messages and other strings, from any byte on
    Resp,
    /// Anything, as in a file of tcpdump: every trailer that is not split by something else
    Capture,
}
