//! The command line of `redistributed decode`.

use clap::{Parser, ValueEnum};

use crate::report_format::ReportFormat;

const AFTER_HELP: &str = "\
Examples:
  redis-cli --raw GET saved | redistributed decode
  timeout 5 redis-cli SUBSCRIBE orders | redistributed decode
  redis-cli --no-raw XRANGE jobs - + | redistributed decode
  redistributed decode      then paste what redis-cli shows, as in \"hello\\x00K\\xf9/5...\"
  redistributed decode --input capture < packets.pcap

Without --input, standard input is read in the format in which most contexts are found. The report
says which format that is.

Exit codes:
  0    there is a context
  1    there is no context
  2    an option is wrong, or the input cannot be read";

/// The options of `decode`.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "redistributed decode",
    about = "Says which trace contexts payloads on standard input carry: one payload, or those of messages and entries",
    after_help = AFTER_HELP,
    max_term_width = 120
)]
pub struct DecodeArgs {
    /// Where to look for a context
    #[arg(long, value_enum, default_value_t = CarrierFilter::Auto)]
    pub carrier: CarrierFilter,

    /// The format of standard input
    #[arg(long, value_enum, default_value_t = InputFormat::Auto)]
    pub input: InputFormat,

    /// The form of the report; with json, one object in a line for each payload
    #[arg(long, value_enum, default_value_t = ReportFormat::Text)]
    pub format: ReportFormat,

    /// Write the payload without its context to standard output, and the report to standard error
    #[arg(long)]
    pub strip: bool,
}

/// The choices of `--carrier`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CarrierFilter {
    /// In every place
    Auto,
    /// After the payload
    Trailer,
    /// Among the members of a JSON object
    Json,
    /// Before the payload
    Opencensus,
    /// In the last two fields of a stream's entry
    Field,
}

/// The choices of `--input`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum InputFormat {
    /// The format in which most contexts are found
    Auto,
    /// One payload, exactly as it is
    Raw,
    /// Two hexadecimal digits for each byte; white space is ignored
    Hex,
    /// Base64, with or without padding
    Base64,
    /// As redis-cli prints it, with \x00 and such: one payload, or messages and replies with each string in quotes
    Escaped,
    /// RESP, as clients and Redis exchange it: messages and other strings, beginning at any byte
    Resp,
    /// Any bytes, such as a file of tcpdump: every trailer that is not interrupted by other bytes
    Capture,
}
