//! `redistributed decode`: says in plain words what context a payload carries, or each message of those that were captured.
//!
//! It reads as a proxy does at delivery, with every carrier and format at once. A payload is never shown, and of baggage
//! only the keys are; the payload without the context is written only if asked for.
//!
//! | module | what it knows |
//! |---|---|
//! | `input` | the ways in which bytes can be written down |
//! | `frames` | payloads in RESP, from any byte on |
//! | `reading` | which payloads an input holds, and how it is best read if nobody says |
//! | `report` | the answer, for people and for programs |

mod frames;
mod input;
mod reading;
mod report;

use std::io::{self, Read, Write};

use clap::{Parser, ValueEnum};
use redistributed_core::carrier::Carrier;
use redistributed_core::carrier::{self, Added, json, opencensus, trailer};
use redistributed_core::trace::Context;
use redistributed_core::trace::Propagators;

pub use input::InputError;
use reading::Shape;

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

/// What `decode` may be told.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "redistributed decode",
    about = "Says what trace context payloads carry: one, or those of messages, from standard input",
    after_help = AFTER_HELP,
    max_term_width = 120
)]
pub struct DecodeArgs {
    /// Where to look for a context
    #[arg(long, value_enum, default_value_t = CarrierArg::Auto)]
    pub carrier: CarrierArg,

    /// How standard input is written
    #[arg(long, value_enum, default_value_t = InputArg::Auto)]
    pub input: InputArg,

    /// Form of the answer
    #[arg(long, value_enum, default_value_t = FormatArg::Text)]
    pub format: FormatArg,

    /// Write the payload without the context to standard output, and the answer to standard error
    #[arg(long)]
    pub strip: bool,
}

/// `--carrier`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CarrierArg {
    /// In all three forms
    Auto,
    /// Behind the payload
    Trailer,
    /// Among the members of a JSON object
    Json,
    /// In front of the payload
    Opencensus,
}

/// `--input`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum InputArg {
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

/// `--format`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FormatArg {
    /// For people
    Text,
    /// One JSON object for each payload, a line each
    Json,
}

/// What a payload carries.
#[derive(Clone, Debug, PartialEq)]
pub enum Finding {
    /// A proxy added it, and a proxy removes it.
    Added {
        /// Where it is, and what it says if that is understood.
        added: Added,
        /// Of the form, as it is written there.
        version: u8,
    },
    /// The application put it there itself; it stays.
    Supplied {
        /// How it is written.
        form: Carrier,
        /// What it says.
        context: Context,
    },
    /// None.
    Nothing,
}

/// Every format that a payload may hold.
const ALL_FORMATS: Propagators = Propagators { trace_context: true, baggage: true, b3: true, jaeger: true };

/// Looks for a context in `payload`: what a proxy added before what an application did.
pub fn find(payload: &[u8], carrier: CarrierArg) -> Finding {
    let wanted = |form| carrier == CarrierArg::Auto || carrier == form;
    let trailer = || trailer::find(payload).filter(|_| wanted(CarrierArg::Trailer));
    let members = || json::find(payload).filter(|_| wanted(CarrierArg::Json));
    let prefix = || opencensus::find(payload).filter(|_| wanted(CarrierArg::Opencensus));
    if let Some(added) = trailer().or_else(members) {
        let version = if added.form == Carrier::Trailer { trailer_version(payload) } else { 0 };
        return Finding::Added { added, version };
    }
    if let Some(prefix) = prefix() {
        let context = Context::from(prefix.context);
        return if prefix.is_added() {
            let added = Added { form: Carrier::OpenCensus, range: 0..opencensus::LEN, context: Some(context) };
            Finding::Added { added, version: 0 }
        } else {
            Finding::Supplied { form: Carrier::OpenCensus, context }
        };
    }
    let supplied = || carrier::find_supplied(payload, Carrier::Json, true, ALL_FORMATS);
    match wanted(CarrierArg::Json).then(supplied).flatten() {
        Some(context) => Finding::Supplied { form: Carrier::Json, context },
        None => Finding::Nothing,
    }
}

/// The byte in front of checksum and magic.
fn trailer_version(payload: &[u8]) -> u8 {
    payload.len().checked_sub(13).and_then(|at| payload.get(at)).copied().unwrap_or_default()
}

/// `payload` without what a proxy added.
pub fn stripped(payload: &[u8], finding: &Finding) -> Vec<u8> {
    match finding {
        Finding::Added { added, .. } => [&payload[..added.range.start], &payload[added.range.end..]].concat(),
        Finding::Supplied { .. } | Finding::Nothing => payload.to_vec(),
    }
}

/// Reads what is in `from`, and answers. True if it carries a context.
///
/// # Errors
/// The input is not written as `args` say, or not one payload where one is needed, or one of the streams broke.
pub fn run(args: &DecodeArgs, from: &mut dyn Read, to: &mut dyn Write, aside: &mut dyn Write) -> io::Result<bool> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes)?;
    let reading = reading::read(&bytes, args.input, args.carrier)?;
    let answer = report::report(&reading, args.format);
    if args.strip {
        let ([part], Shape::Payload | Shape::Resp | Shape::Quoted) = (&reading.parts[..], reading.shape) else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, InputError::Several));
        };
        aside.write_all(answer.as_bytes())?;
        to.write_all(&stripped(&part.payload, &part.finding))?;
    } else {
        to.write_all(answer.as_bytes())?;
    }
    to.flush()?;
    Ok(reading.carrying() > 0)
}

#[cfg(test)]
mod tests;
