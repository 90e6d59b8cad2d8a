//! Which payloads an input holds: a single one, or those of all messages in it.

use redistributed_core::carrier::trailer;
use serde_json::Value;

use super::args::{CarrierFilter, InputFormat};
use super::encoding::{self, InputError};
use super::entry::{self, EntryFields};
use super::payload_context::PayloadContext;
use super::resp::{self, MessageHeader, Truncated};

/// An input, read in one of the possible ways.
#[derive(Debug)]
pub(super) struct Interpretation {
    /// The format that the input was read in; never [`InputFormat::Auto`].
    pub(super) format: InputFormat,
    pub(super) content: Content,
    /// The payloads to report; at least one.
    pub(super) payloads: Vec<Payload>,
    /// Set if the input ends within a string.
    pub(super) truncated: Option<Truncated>,
}

/// The kind of content that was found in an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// One payload and nothing else.
    Payload,
    /// RESP, with messages and other strings.
    Resp,
    /// Strings in quotation marks, as redis-cli prints messages and replies.
    Quoted,
    /// Trailers among other bytes.
    Capture,
}

/// A payload, or in a capture only a trailer.
#[derive(Debug)]
pub(super) struct Payload {
    /// The message that the payload belongs to, if the input tells.
    pub(super) message: Option<MessageHeader>,
    /// The offset of the payload in the input, if there may be others.
    pub(super) offset: Option<usize>,
    pub(super) bytes: Vec<u8>,
    pub(super) context: PayloadContext,
    /// Whether a line break that followed the payload was left out.
    pub(super) trimmed: bool,
}

impl Payload {
    fn new(bytes: Vec<u8>, carrier: CarrierFilter) -> Self {
        let context = PayloadContext::find(&bytes, carrier);
        Self { message: None, offset: None, bytes, context, trimmed: false }
    }

    /// The same for bytes that `echo` or a text editor may have ended with a line break, which would hide a trailer.
    fn maybe_with_line_break(bytes: Vec<u8>, carrier: CarrierFilter) -> Self {
        let mut payload = Self::new(bytes, carrier);
        if payload.context.is_none()
            && let Some(without) = payload.bytes.strip_suffix(b"\n")
        {
            let context = PayloadContext::find(without, carrier);
            if !context.is_none() {
                payload.bytes.pop();
                (payload.context, payload.trimmed) = (context, true);
            }
        }
        payload
    }

    /// The fields of an entry whose first one begins at this byte of the input.
    fn of_entry(offset: usize, entry: EntryFields) -> Self {
        let context = PayloadContext::Fields(entry.added);
        Self { message: None, offset: Some(offset), bytes: entry.bytes, context, trimmed: false }
    }

    /// Whether the payload is that of a message or carries a context.
    fn is_noteworthy(&self) -> bool {
        self.message.is_some() || !self.context.is_none()
    }
}

impl Interpretation {
    /// Reads `input` in the format `format`, and looks in its payloads for contexts of `carrier`.
    ///
    /// # Errors
    /// The input does not have this format.
    pub(super) fn of(input: &[u8], format: InputFormat, carrier: CarrierFilter) -> Result<Self, InputError> {
        match format {
            InputFormat::Auto => Ok(best(input, carrier)),
            InputFormat::Raw => {
                let payload = Payload::maybe_with_line_break(input.to_vec(), carrier);
                Ok(Self::new(format, Content::Payload, vec![payload]))
            }
            InputFormat::Hex | InputFormat::Base64 => Ok(decoded(encoding::decode(input, format)?, format, carrier)),
            InputFormat::Escaped => escaped(input, carrier),
            InputFormat::Resp => resp_strings(input, format, carrier).ok_or(InputError::Resp),
            InputFormat::Capture => Ok(capture(input, carrier)),
        }
    }

    /// The number of payloads that carry a context.
    pub(super) fn contexts(&self) -> usize {
        self.payloads.iter().filter(|payload| !payload.context.is_none()).count()
    }

    fn new(format: InputFormat, content: Content, payloads: Vec<Payload>) -> Self {
        Self { format, content, payloads, truncated: None }
    }
}

/// How redis-cli begins its output if it is told to subscribe and writes to a pipe or a file: with each string as it is, in a
/// line of its own.
const CONFIRMATIONS: [&[u8]; 3] = [b"subscribe\n", b"psubscribe\n", b"ssubscribe\n"];

/// The interpretation with the most contexts, and among equals the plainest. Hardly any bytes have the form of a context by
/// chance, and the report says how the input was read.
fn best(input: &[u8], carrier: CarrierFilter) -> Interpretation {
    let whole = Payload::maybe_with_line_break(input.to_vec(), carrier);
    let mut best = Interpretation::new(InputFormat::Raw, Content::Payload, vec![whole]);
    // The last payload after lines of others is not the only one.
    let mut contexts = if CONFIRMATIONS.iter().any(|line| input.starts_with(line)) { 0 } else { best.contexts() };
    // redis-cli escapes every other byte. Strings within a JSON document are not what a proxy reads.
    let may_be_escaped = input.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace())
        && serde_json::from_slice::<Value>(input).map_or(true, |value| value.is_string());
    for format in [InputFormat::Resp, InputFormat::Escaped, InputFormat::Hex, InputFormat::Base64, InputFormat::Capture]
    {
        if format == InputFormat::Escaped && !may_be_escaped {
            continue;
        }
        let Ok(interpretation) = Interpretation::of(input, format, carrier) else { continue };
        let has_messages = interpretation.payloads.iter().any(|payload| payload.message.is_some())
            || interpretation.truncated.is_some();
        let found = interpretation.contexts();
        if found > contexts || contexts == 0 && format == InputFormat::Resp && has_messages {
            (best, contexts) = (interpretation, found);
        }
    }
    best
}

/// Bytes whose encoding has been undone: one payload, or RESP if that has something to report and the payload does not.
fn decoded(bytes: Vec<u8>, format: InputFormat, carrier: CarrierFilter) -> Interpretation {
    let whole = Payload::maybe_with_line_break(bytes, carrier);
    if whole.context.is_none()
        && let Some(interpretation) = resp_strings(&whole.bytes, format, carrier)
        && interpretation.payloads.iter().any(Payload::is_noteworthy)
    {
        return interpretation;
    }
    Interpretation::new(format, Content::Payload, vec![whole])
}

/// Whether entries of streams are looked for.
fn has_entries(carrier: CarrierFilter) -> bool {
    matches!(carrier, CarrierFilter::Auto | CarrierFilter::Field)
}

/// Returns `None` if `bytes` hold no complete string of RESP.
fn resp_strings(bytes: &[u8], format: InputFormat, carrier: CarrierFilter) -> Option<Interpretation> {
    let strings = resp::strings(bytes);
    let payloads = strings.found.into_iter().map(|string| Payload {
        message: string.message,
        offset: Some(string.range.start),
        ..Payload::new(bytes[string.range].to_vec(), carrier)
    });
    let mut payloads: Vec<_> = payloads.collect();
    if has_entries(carrier) {
        payloads.extend(strings.entries.into_iter().map(|(offset, entry)| Payload::of_entry(offset, entry)));
        payloads.sort_by_key(|payload| payload.offset);
    }
    let payloads = noteworthy(payloads);
    if payloads.is_empty() {
        return None;
    }
    let truncated = strings.truncated;
    Some(Interpretation { truncated, ..Interpretation::new(format, Content::Resp, payloads) })
}

fn escaped(input: &[u8], carrier: CarrierFilter) -> Result<Interpretation, InputError> {
    let format = InputFormat::Escaped;
    let Some(quoted) = encoding::quoted_strings(input) else {
        return Ok(decoded(encoding::decode(input, format)?, format, carrier));
    };
    match quoted.as_slice() {
        [] => Err(InputError::Escaped),
        // The string may be RESP, as a program has printed it.
        [(_, only)] => Ok(decoded(only.clone(), format, carrier)),
        _ => Ok(Interpretation::new(format, Content::Quoted, noteworthy(quoted_payloads(&quoted, carrier)))),
    }
}

/// The payloads of messages, and the strings that belong to none, of strings that redis-cli has printed one after the other.
fn quoted_payloads(quoted: &[(usize, Vec<u8>)], carrier: CarrierFilter) -> Vec<Payload> {
    let strings: Vec<&[u8]> = quoted.iter().map(|(_, string)| string.as_slice()).collect();
    let payload = |(offset, bytes): &(usize, Vec<u8>), message| Payload {
        message,
        offset: Some(*offset),
        ..Payload::new(bytes.clone(), carrier)
    };
    let mut payloads = Vec::new();
    let mut next = 0;
    while let Some(string) = quoted.get(next) {
        match resp::message(&strings[next..]) {
            Some((message, count)) => {
                next += count;
                payloads.push(payload(&quoted[next - 1], Some(message)));
            }
            None => {
                // The channel in the confirmation of a subscription may be called `message`.
                let is_confirmation = strings[next].to_ascii_lowercase().ends_with(b"subscribe");
                payloads.push(payload(string, None));
                // The last string of an entry's fields may be this one.
                if let Some(entry) = entry::ending(&strings[..=next]).filter(|_| has_entries(carrier)) {
                    let first = next + 1 - entry.strings;
                    payloads.push(Payload::of_entry(quoted[first].0, entry));
                }
                next += 1 + usize::from(is_confirmation);
            }
        }
    }
    payloads
}

/// The payloads that are noteworthy; if there are none, the first.
fn noteworthy(mut payloads: Vec<Payload>) -> Vec<Payload> {
    if payloads.iter().any(Payload::is_noteworthy) {
        payloads.retain(Payload::is_noteworthy);
    } else {
        payloads.truncate(1);
    }
    payloads
}

/// Every trailer in `input`. Where the payload in front of a trailer begins cannot be told.
fn capture(input: &[u8], carrier: CarrierFilter) -> Interpretation {
    let format = InputFormat::Capture;
    let ends = input.windows(trailer::MARK_LEN).enumerate();
    let ends = ends.filter(|(_, window)| [trailer::END, trailer::END_WITH_FIELDS].iter().any(|end| window == end));
    let trailers = ends.filter_map(|(at, _)| {
        let up_to_end = &input[..at + trailer::MARK_LEN];
        let start = up_to_end.len().saturating_sub(trailer::MAX_LEN);
        let len = trailer::find(&up_to_end[start..])?.range.len();
        let offset = up_to_end.len() - len;
        let payload = Payload { offset: Some(offset), ..Payload::new(up_to_end[offset..].to_vec(), carrier) };
        (!payload.context.is_none()).then_some(payload)
    });
    let payloads: Vec<Payload> = trailers.collect();
    if payloads.is_empty() {
        let nothing = Payload { context: PayloadContext::None, ..Payload::new(input.to_vec(), carrier) };
        return Interpretation::new(format, Content::Payload, vec![nothing]);
    }
    Interpretation::new(format, Content::Capture, payloads)
}
