//! The ways in which bytes can be written as text.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::args::InputFormat;

/// Why the input cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// The input was said to be hexadecimal, but is not.
    #[error("the input is not hexadecimal: two digits a byte, as in 68656c6c6f")]
    Hex,
    /// The input was said to be Base64, but is not.
    #[error("the input is not Base64")]
    Base64,
    /// The input was said to be escaped, but holds a backslash that redis-cli would not write.
    #[error(
        "the input is not as redis-cli shows payloads: behind a backslash stands one of x, n, r, t, a, b, \\ and \""
    )]
    Escaped,
    /// The input was said to be RESP, but holds no complete bulk string.
    #[error("the input is not RESP: it holds no whole string, as in $5, a line end, and hello")]
    Resp,
    /// `--strip` needs one payload, and the input holds several.
    #[error("the input is not one payload but holds several strings: --strip writes the payload of one")]
    Several,
}

/// Undoes the encoding. Formats that are not an encoding leave the bytes as they are.
pub(super) fn decode(text: &[u8], format: InputFormat) -> Result<Vec<u8>, InputError> {
    match format {
        InputFormat::Hex => hex(text).ok_or(InputError::Hex),
        InputFormat::Base64 => {
            const EITHER: GeneralPurposeConfig =
                GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
            GeneralPurpose::new(&STANDARD, EITHER).decode(without_whitespace(text)).map_err(|_| InputError::Base64)
        }
        InputFormat::Escaped => unescape(text.trim_ascii()).ok_or(InputError::Escaped),
        InputFormat::Auto | InputFormat::Raw | InputFormat::Resp | InputFormat::Capture => Ok(text.to_vec()),
    }
}

/// The strings in quotation marks, each with the offset at which it begins, and without its escapes. Strings that redis-cli
/// would write differently are left out. Returns `None` if there is no quotation mark that is not escaped.
pub(super) fn quoted_strings(text: &[u8]) -> Option<Vec<(usize, Vec<u8>)>> {
    let mut strings = None;
    let mut at = 0;
    while let Some(start) = quotation_mark(text, at, false).map(|open| open + 1) {
        let strings = strings.get_or_insert_with(Vec::new);
        // A quotation mark without another one in its line is not the beginning of a string.
        let Some(end) = quotation_mark(text, start, true) else {
            at = start;
            continue;
        };
        strings.extend(unescape(&text[start..end]).map(|string| (start, string)));
        at = end + 1;
    }
    strings
}

/// The offset of the next quotation mark that is not escaped.
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

fn without_whitespace(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect()
}

fn hex(bytes: &[u8]) -> Option<Vec<u8>> {
    let digits = without_whitespace(bytes);
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
