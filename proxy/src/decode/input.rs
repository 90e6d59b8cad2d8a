//! The ways in which a payload can be written down.

use std::io;

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
}

/// The payload.
pub(super) fn read(bytes: Vec<u8>, written: InputArg) -> io::Result<Vec<u8>> {
    let read = match written {
        InputArg::Raw => Ok(bytes),
        InputArg::Hex => hex(&bytes).ok_or(InputError::Hex),
        InputArg::Base64 => {
            const EITHER: GeneralPurposeConfig =
                GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
            GeneralPurpose::new(&STANDARD, EITHER).decode(dense(&bytes)).map_err(|_| InputError::Base64)
        }
        InputArg::Escaped => escaped(&bytes).ok_or(InputError::Escaped),
    };
    read.map_err(|problem| io::Error::new(io::ErrorKind::InvalidInput, problem))
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

/// Undoes `sdscatrepr`, the form in which redis-cli shows strings.
fn escaped(bytes: &[u8]) -> Option<Vec<u8>> {
    let text = bytes.trim_ascii();
    let quoted = text.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    let mut rest = quoted.unwrap_or(text);
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
