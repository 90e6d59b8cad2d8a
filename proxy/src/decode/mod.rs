//! `redistributed decode`: says in plain words which contexts payloads carry, given one payload or captured messages.
//!
//! It reads contexts as a proxy does at delivery, but in every carrier and format at once. The report never contains a
//! payload, and only the keys of baggage. The payload without its context is written only on request.
//!
//! | module | contents |
//! |---|---|
//! | `args` | the command line |
//! | `encoding` | the ways in which bytes can be written as text |
//! | `entry` | the fields of a stream's entry to which a proxy has added two |
//! | `resp` | the strings in a stream of RESP, from any byte on |
//! | `interpretation` | which payloads an input holds, and which way of reading it fits best |
//! | `payload_context` | the context in one payload |
//! | `report` | the answer, for people and for programs |

mod args;
mod encoding;
mod entry;
mod interpretation;
mod payload_context;
mod report;
mod resp;

use std::io::{self, Read, Write};

pub use args::{CarrierFilter, DecodeArgs, InputFormat};
pub use encoding::InputError;
use interpretation::{Content, Interpretation};
pub use payload_context::PayloadContext;

/// Reads `input` to its end, and writes the report to `output`. With `--strip`, the payload goes to `output` and the report
/// to `diagnostics`. Returns whether any payload carries a context.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] with an [`InputError`] if the input does not have the form that `args` name, or holds
/// several payloads where `--strip` needs one. Otherwise the error of the stream that failed.
pub fn run(
    args: &DecodeArgs,
    input: &mut dyn Read,
    output: &mut dyn Write,
    diagnostics: &mut dyn Write,
) -> io::Result<bool> {
    let mut bytes = Vec::new();
    input.read_to_end(&mut bytes)?;
    let invalid = |error: InputError| io::Error::new(io::ErrorKind::InvalidInput, error);
    let interpretation = Interpretation::of(&bytes, args.input, args.carrier).map_err(invalid)?;
    let report = report::report(&interpretation, args.format);
    if args.strip {
        let ([payload], Content::Payload | Content::Resp | Content::Quoted) =
            (&interpretation.payloads[..], interpretation.content)
        else {
            return Err(invalid(InputError::Several));
        };
        diagnostics.write_all(report.as_bytes())?;
        output.write_all(&payload.context.strip_from(&payload.bytes))?;
    } else {
        output.write_all(report.as_bytes())?;
    }
    output.flush()?;
    Ok(interpretation.contexts() > 0)
}

#[cfg(test)]
mod tests;
