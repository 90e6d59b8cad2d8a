//! Text without what may be secret in it, for errors, logs and pages.
//!
//! Any value may be a URL with a password that was put in the wrong place, so every value that is shown passes through here.

use std::path::Path;

use redistributed_core::printable::printable;

/// `text` without anything that could be a credential, a query or a fragment of a URL. Three stars stand in their place, and in
/// place of a port that is no number, because it may be a password whose end was cut off. The rest is [`printable`].
pub fn redact(text: &str) -> String {
    printable(masked(text)).to_string()
}

fn masked(text: &str) -> String {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) if scheme.chars().all(|c| c.is_ascii_alphabetic() || c == '+') => {
            (format!("{scheme}://"), rest)
        }
        _ => (String::new(), text),
    };
    // The last `@`, because a password may hold one.
    let (mask, rest) = match rest.rsplit_once('@') {
        Some((_, rest)) => ("***@", rest),
        None => ("", rest),
    };
    let end = rest.find(['?', '#']);
    let tail = if end.is_some() { "?***" } else { "" };
    let shown = format!("{scheme}{mask}{}{tail}", &rest[..end.unwrap_or(rest.len())]);
    let Some((before, (host, port))) = shown
        .rsplit_once("://")
        .and_then(|(before, authority)| Some((before, authority.split_once(':')?)))
        .filter(|(_, (host, _))| !host.starts_with('['))
    else {
        return shown;
    };
    let digits = port.split('/').next().unwrap_or_default();
    let is_port = digits.len() <= 5 && !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_port && !host.is_empty() { shown } else { format!("{before}://{host}:***") }
}

/// `text` redacted if it is a URL with credentials, which it can be only by mistake. Any other text is [`printable`].
pub fn redact_url(text: &str) -> String {
    if text.contains("://") && text.contains('@') { redact(text) } else { printable(text).to_string() }
}

/// The path of a file, redacted, because it may be a URL in the wrong place.
pub fn redact_path(path: &Path) -> String {
    redact_url(&path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        for (text, shown) in [
            ("redis://user:hunter2@cache:6379/3", "redis://***@cache:6379/3"),
            ("redis://:hun@ter2@cache", "redis://***@cache"),
            (":hunter2@cache", "***@cache"),
            ("user:hunter2://x@cache", "***@cache"),
            ("redis://cache?password=hunter2", "redis://cache?***"),
            ("redis://cache:6379", "redis://cache:6379"),
            ("redis://[::1]:6379", "redis://[::1]:6379"),
            ("redis://:hunter2", "redis://:***"),
            ("redis://:12345", "redis://:***"),
            ("redis://user:hunter2/3", "redis://user:***"),
            ("a=127.0.0.1:1,redis://user:hun", "a=127.0.0.1:1,redis://user:***"),
            ("127.0.0.1:x", "127.0.0.1:x"),
        ] {
            assert_eq!(redact(text), shown, "{text}");
        }
    }

    #[test]
    fn what_is_shown_breaks_no_line_and_keeps_other_alphabets() {
        for shown in [redact, redact_url] {
            assert_eq!(shown("a\nb\u{1b}[31m\u{9b}é"), "a\\nb\\u{1b}[31m\\u{9b}é");
        }
        assert_eq!(redact_url("redis://u:hunter2\n@h\t"), "redis://***@h\\t");
    }
}
