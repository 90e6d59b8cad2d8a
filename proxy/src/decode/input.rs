//! The ways in which a payload can be written down.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::InputArg;

/// What is not written as it was said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// Not hexadecimal digits.
    #[error("the input is not hexadecimal: two digits a byte, as in 68656c6c6f")]
    Hex,
    /// Not Base64.
    #[error("the input is not Base64")]
    Base64,
    /// A backslash with something else behind it.
    #[error(
        "the input is not as redis-cli shows payloads: behind a backslash stands one of x, n, r, t, a, b, \\ and \""
    )]
    Escaped,
    /// No string in it.
    #[error("the input is not RESP: it holds no whole string, as in $5, a line end, and hello")]
    Resp,
    /// Several payloads where one is needed.
    #[error("the input is not one payload but holds several strings: --strip writes the payload of one")]
    Several,
}

/// The bytes that `bytes` were written for. What is not a way of writing is left as it is.
pub(super) fn read(bytes: &[u8], written: InputArg) -> Result<Vec<u8>, InputError> {
    match written {
        InputArg::Hex => hex(bytes).ok_or(InputError::Hex),
        InputArg::Base64 => {
            const EITHER: GeneralPurposeConfig =
                GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
            GeneralPurpose::new(&STANDARD, EITHER).decode(dense(bytes)).map_err(|_| InputError::Base64)
        }
        InputArg::Escaped => unescape(bytes.trim_ascii()).ok_or(InputError::Escaped),
        InputArg::Auto | InputArg::Raw | InputArg::Resp | InputArg::Capture => Ok(bytes.to_vec()),
    }
}

/// The strings in quotation marks, with where each begins; `None` if there are no quotation marks but escaped ones. A string
/// that is not as redis-cli writes it is passed over.
pub(super) fn quoted(text: &[u8]) -> Option<Vec<(usize, Vec<u8>)>> {
    let mut strings = None;
    let mut at = 0;
    while let Some(start) = quotation_mark(text, at, false).map(|open| open + 1) {
        let strings = strings.get_or_insert_with(Vec::new);
        // One that ends with its line is none: what follows it may be whole.
        let Some(end) = quotation_mark(text, start, true) else {
            at = start;
            continue;
        };
        strings.extend(unescape(&text[start..end]).map(|string| (start, string)));
        at = end + 1;
    }
    strings
}

/// Where the next one is that is not escaped.
fn quotation_mark(text: &[u8], mut at: usize, in_this_line: bool) -> Option<usize> {
    loop {
        match text.get(at)? {
            b'"' => return Some(at),
            b'\n' if in_this_line => return None,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

fn dense(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect()
}

fn hex(bytes: &[u8]) -> Option<Vec<u8>> {
    let digits = dense(bytes);
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    pairs.iter().map(|pair| pair_value(*pair)).collect()
}

fn pair_value([high, low]: [u8; 2]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

/// Undoes `sdscatrepr`, the form in which redis-cli shows strings, between its quotation marks.
fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let mut rest = text;
    let mut payload = Vec::with_capacity(rest.len());
    while let Some((&byte, after)) = rest.split_first() {
        if byte != b'\\' {
            payload.push(byte);
            rest = after;
            continue;
        }
        let (&kind, after) = after.split_first()?;
        rest = after;
        payload.push(match kind {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'a' => 0x07,
            b'b' => 0x08,
            b'\\' | b'"' => kind,
            b'x' => {
                let (pair, after) = rest.split_first_chunk::<2>()?;
                rest = after;
                pair_value(*pair)?
            }
            _ => return None,
        });
    }
    Some(payload)
}
