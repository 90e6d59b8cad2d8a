//! From what stands on standard input to payloads: one, or those of all messages in it.

use std::io;

use redistributed_core::carrier::trailer;
use serde_json::Value;

use super::frames::{self, Message};
use super::input::{self, InputError};
use super::{CarrierArg, Finding, InputArg, find};

/// How an input was read, and what was in it.
#[derive(Debug)]
pub(super) struct Reading {
    /// Never [`InputArg::Auto`].
    pub(super) input: InputArg,
    pub(super) shape: Shape,
    /// Those that are worth a word; at least one.
    pub(super) parts: Vec<Part>,
    /// Bytes that are there, and bytes that should be, of a string at the end that is not whole.
    pub(super) cut_off: Option<(usize, usize)>,
}

/// What an input holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Nothing but a payload.
    Payload,
    /// Messages and other strings as they pass between client and Redis.
    Resp,
    /// Strings in quotation marks, as redis-cli prints messages and replies.
    Quoted,
    /// Trailers among anything else.
    Capture,
}

/// A payload, or for a capture what ends in a trailer.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) message: Option<Message>,
    /// Where the payload begins, if there may be others.
    pub(super) at: Option<usize>,
    pub(super) payload: Vec<u8>,
    pub(super) finding: Finding,
    /// Whether a line break behind it was left out.
    pub(super) line_end: bool,
}

impl Reading {
    /// Of its parts, how many carry a context.
    pub(super) fn carrying(&self) -> usize {
        self.parts.iter().filter(|part| part.finding != Finding::Nothing).count()
    }

    fn new(input: InputArg, shape: Shape, parts: Vec<Part>) -> Self {
        Self { input, shape, parts, cut_off: None }
    }
}

/// Reads `bytes` as `input` says, and looks in them for contexts of the form `carrier`.
///
/// # Errors
/// [`InputError`]: they are not what they were said to be.
pub(super) fn read(bytes: &[u8], input: InputArg, carrier: CarrierArg) -> io::Result<Reading> {
    let reading = match input {
        InputArg::Auto => return Ok(guess(bytes, carrier)),
        InputArg::Raw => Ok(Reading::new(input, Shape::Payload, vec![payload(bytes.to_vec(), carrier)])),
        InputArg::Hex | InputArg::Base64 => input::read(bytes, input).map(|bytes| written(bytes, input, carrier)),
        InputArg::Escaped => escaped(bytes, carrier),
        InputArg::Resp => resp(bytes, input, carrier).ok_or(InputError::Resp),
        InputArg::Capture => Ok(capture(bytes, carrier)),
    };
    reading.map_err(|problem| io::Error::new(io::ErrorKind::InvalidInput, problem))
}

/// What redis-cli writes first, if it is told to subscribe and its output is a pipe or a file: everything as it is, in lines.
const CONFIRMATIONS: [&[u8]; 3] = [b"subscribe\n", b"psubscribe\n", b"ssubscribe\n"];

/// The reading that finds most contexts, and of several the plainest: hardly anything has the form of one by chance, and the
/// answer says how the input was read.
fn guess(bytes: &[u8], carrier: CarrierArg) -> Reading {
    let mut best = Reading::new(InputArg::Raw, Shape::Payload, vec![payload(bytes.to_vec(), carrier)]);
    // A last payload that stands behind lines of others is none by itself.
    let mut found = if CONFIRMATIONS.iter().any(|line| bytes.starts_with(line)) { 0 } else { best.carrying() };
    // redis-cli leaves nothing else unescaped; and what stands in quotation marks within JSON is not what proxies look at.
    let is_shown = bytes.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace())
        && serde_json::from_slice::<Value>(bytes).map_or(true, |value| value.is_string());
    let others = [InputArg::Resp, InputArg::Escaped, InputArg::Hex, InputArg::Base64, InputArg::Capture];
    for input in others.into_iter().filter(|input| is_shown || *input != InputArg::Escaped) {
        // What it is not written as it cannot be read as.
        let Ok(reading) = read(bytes, input, carrier) else { continue };
        let carrying = reading.carrying();
        let has_messages = reading.parts.iter().any(|part| part.message.is_some()) || reading.cut_off.is_some();
        if carrying > found || found == 0 && input == InputArg::Resp && has_messages {
            (best, found) = (reading, carrying);
        }
    }
    best
}

/// As `echo` and text editors leave it, a line break may stand behind it, which would hide a trailer.
fn payload(mut payload: Vec<u8>, carrier: CarrierArg) -> Part {
    let mut finding = find(&payload, carrier);
    let mut line_end = false;
    if finding == Finding::Nothing
        && let Some(without) = payload.strip_suffix(b"\n")
    {
        finding = find(without, carrier);
        line_end = finding != Finding::Nothing;
        payload.truncate(payload.len() - usize::from(line_end));
    }
    Part { message: None, at: None, payload, finding, line_end }
}

/// `bytes` that were written as `input`: a payload, or if that carries nothing maybe RESP.
fn written(bytes: Vec<u8>, input: InputArg, carrier: CarrierArg) -> Reading {
    let whole = payload(bytes, carrier);
    if whole.finding == Finding::Nothing
        && let Some(reading) = resp(&whole.payload, input, carrier)
        && reading.parts.iter().any(|part| part.message.is_some() || part.finding != Finding::Nothing)
    {
        return reading;
    }
    Reading::new(input, Shape::Payload, vec![whole])
}

/// `None` if it holds no string.
fn resp(bytes: &[u8], input: InputArg, carrier: CarrierArg) -> Option<Reading> {
    let strings = frames::strings(bytes);
    let parts = strings.found.into_iter().map(|found| {
        let payload = bytes[found.range.clone()].to_vec();
        let finding = find(&payload, carrier);
        Part { message: found.message, at: Some(found.range.start), payload, finding, line_end: false }
    });
    let parts = worth_a_word(parts.collect());
    let cut_off = strings.cut_off;
    (!parts.is_empty()).then(|| Reading { cut_off, ..Reading::new(input, Shape::Resp, parts) })
}

fn escaped(bytes: &[u8], carrier: CarrierArg) -> Result<Reading, InputError> {
    let Some(strings) = input::quoted(bytes) else {
        return Ok(written(input::read(bytes, InputArg::Escaped)?, InputArg::Escaped, carrier));
    };
    let part = |(at, payload): &(usize, Vec<u8>), message| {
        let finding = find(payload, carrier);
        Part { message, at: Some(*at), payload: payload.clone(), finding, line_end: false }
    };
    let words: Vec<&[u8]> = strings.iter().map(|(_, word)| &word[..]).collect();
    let mut parts = Vec::new();
    let mut next = 0;
    while let Some(string) = strings.get(next) {
        let message = frames::message(&words[next..]);
        // The channel that is subscribed to may have the name of a message.
        let confirmed = words[next].to_ascii_lowercase().ends_with(b"subscribe");
        let count = message.as_ref().map_or(1 + usize::from(confirmed), |(_, count)| *count);
        next += count;
        match message {
            Some((message, _)) => parts.push(part(&strings[next - 1], Some(message))),
            None => parts.push(part(string, None)),
        }
    }
    match &strings[..] {
        [] => Err(InputError::Escaped),
        // May be RESP, as a program shows it.
        [(_, only)] => Ok(written(only.clone(), InputArg::Escaped, carrier)),
        _ => Ok(Reading::new(InputArg::Escaped, Shape::Quoted, worth_a_word(parts))),
    }
}

/// The messages, and what else carries a context. If there is nothing of that, the first.
fn worth_a_word(mut parts: Vec<Part>) -> Vec<Part> {
    let is_worth = |part: &Part| part.message.is_some() || part.finding != Finding::Nothing;
    if parts.iter().any(is_worth) {
        parts.retain(is_worth);
    } else {
        parts.truncate(1);
    }
    parts
}

/// Every trailer in `bytes`. Where the payload before it begins cannot be told.
fn capture(bytes: &[u8], carrier: CarrierArg) -> Reading {
    let ends = bytes.windows(trailer::MAGIC.len()).enumerate().filter(|(_, window)| *window == trailer::MAGIC);
    let parts: Vec<Part> = ends
        .filter_map(|(at, _)| {
            let before = &bytes[..at + trailer::MAGIC.len()];
            let start = before.len().saturating_sub(trailer::MAX_LEN);
            let len = trailer::find(&before[start..])?.range.len();
            let (at, payload) = (before.len() - len, before[before.len() - len..].to_vec());
            let finding = find(&payload, carrier);
            let found = finding != Finding::Nothing;
            found.then_some(Part { message: None, at: Some(at), payload, finding, line_end: false })
        })
        .collect();
    if parts.is_empty() {
        let nothing =
            Part { message: None, at: None, payload: bytes.to_vec(), finding: Finding::Nothing, line_end: false };
        return Reading::new(InputArg::Capture, Shape::Payload, vec![nothing]);
    }
    Reading::new(InputArg::Capture, Shape::Capture, parts)
}
