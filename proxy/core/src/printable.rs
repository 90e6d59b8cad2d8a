//! Text from elsewhere, made fit for a person to read.
//!
//! A server's error, a channel's name or a setting may hold characters that a terminal or a reader of lines would obey instead
//! of showing: one that ends the line begins a line of its own in a log, an escape sequence clears the screen, a bidirectional
//! control turns the order of what follows. Whatever shows such text writes it by this module.

use alloc::borrow::Cow;
use alloc::string::String;
use core::fmt::{self, Write};

/// Whether `c` does something to the text around it instead of being shown: the control characters C0 and C1 and `DEL`, the
/// separators of lines and paragraphs, and the controls of the Unicode Bidirectional Algorithm (UAX #9, section 2).
pub fn is_unfit(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `value` as text in which every unfit character is escaped as in Rust: `\n`, `\u{1b}`. Nothing else is changed.
pub fn printable<T: fmt::Display>(value: T) -> Printable<T> {
    Printable(value)
}

/// The same for bytes, in which a byte that is not UTF-8 becomes as `\xff`.
pub fn printable_bytes(bytes: &[u8]) -> PrintableBytes<'_> {
    PrintableBytes(bytes)
}

/// `text` by its lines, each of them [`printable`]. The lines are the writer's own: nothing in them may be from elsewhere and
/// hold a line feed.
pub fn printable_lines(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
        // Writing to a string cannot fail.
        let _ = write!(shown, "{}{end}", printable(line));
    }
    shown
}

/// `json` with the same characters escaped as in JSON, so that it means the same to a program. It must be valid, and may hold
/// white space only within strings.
pub fn printable_json(json: &str) -> Cow<'_, str> {
    if !json.contains(is_unfit) {
        return Cow::Borrowed(json);
    }
    let mut shown = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if is_unfit(c) {
            // All of them are in the Basic Multilingual Plane, so four digits are enough.
            let _ = write!(shown, "\\u{:04x}", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// What [`printable`] returns.
#[derive(Clone, Copy, Debug)]
pub struct Printable<T>(T);

/// What [`printable_bytes`] returns.
#[derive(Clone, Copy, Debug)]
pub struct PrintableBytes<'a>(&'a [u8]);

impl<T: fmt::Display> fmt::Display for Printable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

impl fmt::Display for PrintableBytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            Escaping(f).write_str(chunk.valid())?;
            chunk.invalid().iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))?;
        }
        Ok(())
    }
}

/// Passes text on, with unfit characters escaped.
struct Escaping<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some((before, c)) = rest.find(is_unfit).and_then(|at| {
            let (before, after) = rest.split_at_checked(at)?;
            Some((before, after.chars().next()?))
        }) {
            self.0.write_str(before)?;
            write!(self.0, "{}", c.escape_default())?;
            rest = rest.get(before.len() + c.len_utf8()..).unwrap_or_default();
        }
        self.0.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_escaped_and_the_rest_is_not() {
        for (text, shown) in [
            ("a\nb\r\tc", r"a\nb\r\tc"),
            ("\u{1b}[2J\u{7f}\0", r"\u{1b}[2J\u{7f}\u{0}"),
            ("\u{85}\u{9b}31m", r"\u{85}\u{9b}31m"),
            ("\u{2028}\u{2029}", r"\u{2028}\u{2029}"),
            ("\u{202a}\u{202e}\u{2066}\u{2069}", r"\u{202a}\u{202e}\u{2066}\u{2069}"),
            ("\u{200e}\u{200f}\u{61c}", r"\u{200e}\u{200f}\u{61c}"),
            (r#"caf\u00e9 'é' "日本" עברית \n"#, r#"caf\u00e9 'é' "日本" עברית \n"#),
            ("", ""),
        ] {
            assert_eq!(printable(text).to_string(), shown);
            assert_eq!(printable_bytes(text.as_bytes()).to_string(), shown);
        }
        assert_eq!(printable_bytes(b"a\xff\xc3(\xe2\x80").to_string(), r"a\xff\xc3(\xe2\x80");
    }

    #[test]
    fn lines_of_the_writer_stay_lines() {
        assert_eq!(printable_lines("one\x1b\r\ntwo\n\nthree\u{9b}"), "one\\u{1b}\\r\ntwo\n\nthree\\u{9b}");
        assert_eq!(printable_lines(""), "");
    }

    #[test]
    fn json_means_the_same_to_a_program() {
        let value = serde_json::json!({ "a\u{9b}": "\n\u{1b}\u{202e}\u{7f} \u{e9}\u{1f600}" });
        let text = value.to_string();
        let shown = printable_json(&text);
        assert_eq!(shown, "{\"a\\u009b\":\"\\n\\u001b\\u202e\\u007f \u{e9}\u{1f600}\"}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
        assert!(matches!(printable_json("{}"), Cow::Borrowed("{}")));
    }
}
