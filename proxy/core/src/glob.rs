//! Redis-style patterns, with the rules of `PSUBSCRIBE` (Redis's `stringmatchlen`).
//!
//! `*` matches any bytes and `?` one byte. `[a-c]` matches a byte of the class, and `[^a]` a byte that is not in it. `\x`
//! matches the byte `x` itself. Patterns match bytes, and upper and lower case differ.

use alloc::boxed::Box;
use core::fmt;

/// A pattern whose form has been checked.
#[derive(Clone, PartialEq, Eq)]
pub struct Glob {
    pattern: Box<[u8]>,
}

/// Why a pattern is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GlobError {
    /// The pattern is empty, so it would only match a channel without a name.
    Empty,
    /// A `[` has no `]`. Redis accepts this and reads to the end, which is never what was meant.
    OpenClass,
    /// The pattern ends in `\`, which escapes nothing.
    DanglingEscape,
}

impl fmt::Display for GlobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the pattern is empty",
            Self::OpenClass => "a `[` has no closing `]` (write `\\[` for the character itself)",
            Self::DanglingEscape => "it ends in `\\`, which escapes nothing (write `\\\\` for the character itself)",
        })
    }
}

impl core::error::Error for GlobError {}

impl Glob {
    /// Checks the form of `pattern`.
    ///
    /// # Errors
    ///
    /// [`GlobError`] if the pattern cannot have been meant as it is.
    pub fn new(pattern: &str) -> Result<Self, GlobError> {
        let bytes = pattern.as_bytes();
        if bytes.is_empty() {
            return Err(GlobError::Empty);
        }
        let mut rest = bytes;
        while let Some((&first, after)) = rest.split_first() {
            rest = match first {
                b'\\' => after.get(1..).ok_or(GlobError::DanglingEscape)?,
                b'[' => class(after, 0).ok_or(GlobError::OpenClass)?.1,
                _ => after,
            };
        }
        Ok(Self { pattern: bytes.into() })
    }

    /// Whether the pattern matches all of `text`. The time is at most proportional to the product of both lengths, because
    /// only the last `*` is tried again.
    pub fn matches(&self, text: &[u8]) -> bool {
        let (mut pattern, mut text) = (&*self.pattern, text);
        let mut retry: Option<(&[u8], &[u8])> = None;
        loop {
            if let [b'*', after @ ..] = pattern {
                retry = Some((after, text));
                pattern = after;
                continue;
            }
            match text.split_first() {
                None if pattern.is_empty() => return true,
                None => return false,
                Some((&byte, text_after)) => {
                    if let Some(pattern_after) = one(pattern, byte) {
                        (pattern, text) = (pattern_after, text_after);
                    } else {
                        let Some((after_star, [_, shorter @ ..])) = retry else { return false };
                        retry = Some((after_star, shorter));
                        (pattern, text) = (after_star, shorter);
                    }
                }
            }
        }
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.pattern).unwrap_or_default()
    }
}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

/// Matches one byte against the first element of `pattern`, and returns what follows that element.
fn one(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    match pattern {
        [b'?', after @ ..] => Some(after),
        [b'\\', literal, after @ ..] => (*literal == byte).then_some(after),
        [b'[', after @ ..] => class(after, byte).and_then(|(matched, after)| matched.then_some(after)),
        [literal, after @ ..] => (*literal == byte).then_some(after),
        [] => None,
    }
}

/// Reads a class whose `[` has been taken: whether it matches `byte`, and what follows its `]`.
fn class(mut rest: &[u8], byte: u8) -> Option<(bool, &[u8])> {
    let negated = if let [b'^', after @ ..] = rest {
        rest = after;
        true
    } else {
        false
    };
    let mut found = false;
    loop {
        match rest {
            [b'\\', literal, after @ ..] => {
                found |= *literal == byte;
                rest = after;
            }
            [b']', after @ ..] => return Some((found != negated, after)),
            [from, b'-', to, after @ ..] => {
                found |= (*from.min(to)..=*from.max(to)).contains(&byte);
                rest = after;
            }
            [literal, after @ ..] => {
                found |= *literal == byte;
                rest = after;
            }
            [] => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_as_psubscribe_does() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("*", "anything", true),
            ("orders.*", "orders.created", true),
            ("orders.*", "orders", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-c]llo", "hbllo", true),
            ("h[c-a]llo", "hbllo", true),
            ("h[a-c]llo", "hdllo", false),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("[\\]]", "]", true),
            ("*.*.end", "a.b.c.end", true),
            ("*ab*ab", "abxab", true),
            ("*ab*ab", "ab", false),
            ("a*", "ba", false),
            ("abc", "ab", false),
            ("ab", "abc", false),
        ] {
            assert_eq!(Glob::new(pattern).unwrap().matches(text.as_bytes()), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn patterns_that_cannot_be_meant_are_refused() {
        assert_eq!(Glob::new(""), Err(GlobError::Empty));
        assert_eq!(Glob::new("a[bc"), Err(GlobError::OpenClass));
        assert_eq!(Glob::new("a\\"), Err(GlobError::DanglingEscape));
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        let pattern = Glob::new(&"a*".repeat(100)).unwrap();
        assert!(!pattern.matches(&[b'b'; 10_000]));
        assert!(!Glob::new(&("*a".repeat(100) + "b")).unwrap().matches(&[b'a'; 10_000]));
    }
}
