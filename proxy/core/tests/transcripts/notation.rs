//! The words and bytes of a line.

use super::macros::expand;
use crate::support::{bulk, multibulk};

/// The bytes of a request: a multibulk of the words in `text`, or what follows `raw`.
pub(crate) fn request(text: &str) -> Vec<u8> {
    match text.strip_prefix("raw ") {
        Some(raw) => bytes(raw),
        None => multibulk(&words(text)),
    }
}

/// The words of `text`, which spaces separate outside of quotes and macros.
fn words(text: &str) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (mut word, mut quote, mut in_macro) = (String::new(), None, false);
        let mut end = rest.len();
        for (at, letter) in rest.char_indices() {
            match (letter, quote) {
                ('"' | '\'', None) if !in_macro => quote = Some(letter),
                (_, Some(open)) if letter == open => quote = None,
                (' ', None) if !in_macro => {
                    end = at;
                    break;
                }
                _ => {
                    in_macro = (in_macro || letter == '<') && letter != '>';
                    word.push(letter);
                }
            }
        }
        words.push(bytes(&word));
        rest = rest[end..].trim_start();
    }
    words
}

/// The bytes that `text` stands for.
pub(crate) fn bytes(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let after = &rest[letter.len_utf8()..];
        rest = match letter {
            '␍' => {
                out.extend_from_slice(b"\r\n");
                after
            }
            '\\' if after.starts_with('x') => {
                out.push(u8::from_str_radix(&after[1..3], 16).unwrap());
                &after[3..]
            }
            '\\' => {
                out.push(after.as_bytes()[0]);
                &after[1..]
            }
            '$' if after.starts_with('(') => {
                let end = after.find(')').expect("a closing parenthesis");
                bulk(&bytes(&after[1..end]), &mut out);
                &after[end + 1..]
            }
            '<' => {
                let end = after.find('>').expect("the end of a macro");
                expand(&after[..end], &mut out);
                &after[end + 1..]
            }
            _ => {
                out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                after
            }
        };
    }
    out
}
