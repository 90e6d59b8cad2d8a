//! Text without what may be secret in it, for errors, logs and pages.
//!
//! Any value may be a URL with a password that was put in the wrong place, so every value that is shown passes through here.

use std::net::IpAddr;
use std::path::Path;

use redistributed_core::printable::printable;

/// `text` without anything that could be a credential, a query or a fragment of a URL. Three stars stand in their place, and in
/// place of what stands where a port belongs but does not resemble one, because it may be a password whose end was cut off. The rest is [`printable`].
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
    let port = port.split('/').next().unwrap_or_default();
    if may_show_port(host, port) { shown } else { format!("{before}://{host}:***") }
}

/// Whether what stands where a port belongs can be shown, so that a person sees what is wrong with it. Without an `@` behind it, it
/// may still be a password whose end was cut off, with its user in place of the host.
fn may_show_port(host: &str, port: &str) -> bool {
    /// One more than the longest port has.
    const LONGEST: usize = 6;
    let is_host = host == "localhost" || host.parse::<IpAddr>().is_ok();
    let digits = port.bytes().filter(u8::is_ascii_digit).count();
    let resembles_a_port = port.len() <= 2 || port.len() <= LONGEST && digits > 0 && port.chars().count() <= digits + 1;
    port.is_empty() || is_host || resembles_a_port && !host.is_empty()
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
            ("redis://127.0.0.1:port/3", "redis://127.0.0.1:port/3"),
            ("rediss://localhost:redis", "rediss://localhost:redis"),
            ("redis://cache:", "redis://cache:"),
            ("redis://cache:x", "redis://cache:x"),
            ("redis://cache:637x9", "redis://cache:637x9"),
            ("redis://cache:99999", "redis://cache:99999"),
            ("redis://cache:-6379", "redis://cache:-6379"),
            ("redis://cache:637999/0", "redis://cache:637999/0"),
            ("redis://cache:6379999", "redis://cache:***"),
            ("redis://user:s3cret", "redis://user:***"),
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
