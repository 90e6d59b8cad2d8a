//! The members of an object by their places: those of an application's own context, to be removed (`--strip-supplied`), and those
//! of an envelope that gets a context (`--envelope`).

use alloc::vec::Vec;
use core::ops::Range;

use super::is_object;
use super::object::{JsonPath, Object};
use crate::carrier::texts::{ALL_B3, BAGGAGE, JAEGER, TRACEPARENT, TRACESTATE};
use crate::trace::{Context, Propagators};

/// The context that the application put among the members of a JSON object, and the ranges of the payload that have to go so
/// that the object is what it would be without. They are in order. Members of other formats than those that are read stay, and
/// all stay if they hold no valid context.
pub fn supplied_members(payload: &[u8], formats: Propagators) -> Option<(Context, Vec<Range<usize>>)> {
    let context = Object::parse(payload, formats, &JsonPath::default())?.supplied?;
    let is_asked_for = |name: &[u8]| {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        formats.trace_context && (is(TRACEPARENT) || is(TRACESTATE))
            || formats.baggage && is(BAGGAGE)
            || formats.jaeger && is(JAEGER)
            || formats.b3 && ALL_B3.into_iter().any(is)
    };
    Some((context, ranges(payload, is_asked_for)))
}

/// The ranges of an object without which the members that `goes` names are gone, each with one comma.
fn ranges(object: &[u8], goes: impl Fn(&[u8]) -> bool) -> Vec<Range<usize>> {
    let mut scan = Scan { bytes: object, pos: 0 };
    scan.past(b'{');
    let mut ranges: Vec<Range<usize>> = Vec::new();
    // The end of the last member that stays, if there is one.
    let mut kept_end = None;
    while let Some(Place { name, range, .. }) = scan.member() {
        if goes(object.get(name).unwrap_or_default()) {
            let start = kept_end.unwrap_or(range.start);
            match ranges.last_mut() {
                Some(last) if last.start == start || kept_end.is_none() => last.end = range.end,
                _ => ranges.push(start..range.end),
            }
        } else {
            // A comma in front of the first member that stays goes with what was before it.
            if let (None, Some(last)) = (kept_end, ranges.last_mut()) {
                last.end = range.start;
            }
            kept_end = Some(range.end);
        }
    }
    ranges
}

/// A member of an object, as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Member<'a> {
    /// The name, without quotation marks.
    pub(crate) name: &'a str,
    pub(crate) value: &'a str,
    /// Position of the value in the object.
    pub(crate) value_at: usize,
}

/// The members of a text that is one JSON object. `None` if it has more than `most`, or if readers may differ about what it says:
/// a name has an escape, or repeats in any case.
pub(crate) fn members(object: &str, most: usize) -> Option<Vec<Member<'_>>> {
    is_object(object.as_bytes()).then_some(())?;
    let mut scan = Scan { bytes: object.as_bytes(), pos: 0 };
    scan.past(b'{');
    let mut members: Vec<Member<'_>> = Vec::new();
    while let Some(Place { name, value, .. }) = scan.member() {
        let (name, value_at) = (object.get(name)?, value.start);
        let is_certain = !name.contains('\\') && !members.iter().any(|member| member.name.eq_ignore_ascii_case(name));
        (is_certain && members.len() < most).then_some(())?;
        members.push(Member { name, value: object.get(value)?, value_at });
    }
    Some(members)
}

/// The places of a member of an object: its name without quotation marks, its value, and all of it.
struct Place {
    name: Range<usize>,
    value: Range<usize>,
    range: Range<usize>,
}

/// Reads a JSON object that is known to be one. Of other bytes it reads something, and ends.
struct Scan<'a> {
    bytes: &'a [u8],
    pos: usize,
}

impl Scan<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.pos).copied()
    }

    fn space(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.pos += 1;
        }
    }

    /// Reads white space, and `byte` if it is there.
    fn past(&mut self, byte: u8) {
        self.space();
        if self.peek() == Some(byte) {
            self.pos += 1;
        }
    }

    /// Reads a string from its first quotation mark to the last. Returns the range between them.
    fn string(&mut self) -> Range<usize> {
        self.pos += 1;
        let start = self.pos;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => {
                    self.pos += 1;
                    return start..self.pos - 1;
                }
                b'\\' => self.pos += 2,
                _ => self.pos += 1,
            }
        }
        start..self.pos
    }

    /// Reads a value without recursion.
    fn value(&mut self) {
        let mut depth = 0usize;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => {
                    self.string();
                    if depth == 0 {
                        return;
                    }
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' if depth <= 1 => {
                    self.pos += depth; // at depth 0 it closes the object around the value
                    return;
                }
                b'}' | b']' => depth -= 1,
                b',' | b' ' | b'\t' | b'\r' | b'\n' if depth == 0 => return,
                _ => {}
            }
            self.pos += 1;
        }
    }

    /// Reads the next member, and the comma behind it.
    fn member(&mut self) -> Option<Place> {
        self.space();
        let start = self.pos;
        if self.peek() != Some(b'"') {
            return None;
        }
        let name = self.string();
        self.past(b':');
        self.space();
        let value_at = self.pos;
        self.value();
        let end = self.pos.min(self.bytes.len());
        self.past(b',');
        Some(Place { name, value: value_at.min(end)..end, range: start..end })
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn stripped(payload: &str, formats: Propagators) -> Option<String> {
        let (_, ranges) = supplied_members(payload.as_bytes(), formats)?;
        let mut out = String::from(payload);
        ranges.iter().rev().for_each(|range| out.replace_range(range.clone(), ""));
        Some(out)
    }

    #[test]
    fn the_members_of_a_context_go_with_their_commas_and_nothing_else() {
        for (payload, expected) in [
            (r#"{"traceparent":"P"}"#, "{}"),
            (r#"{"traceparent":"P","tracestate":"a=1"}"#, "{}"),
            (r#"{"id":7,"traceparent":"P"}"#, r#"{"id":7}"#),
            (r#"{"traceparent":"P","id":7}"#, r#"{"id":7}"#),
            (r#"{"a":1,"traceparent":"P","b":2,"tracestate":"a=1","c":3}"#, r#"{"a":1,"b":2,"c":3}"#),
            (r#"{"traceparent":"P","a":1,"tracestate":"a=1"}"#, r#"{"a":1}"#),
            (
                r#"{"traceparent":"P","tracestate":"a=1","a":{"b":[1,"}"]},"c":"\"\\"}"#,
                r#"{"a":{"b":[1,"}"]},"c":"\"\\"}"#,
            ),
            (r#"{"a":-1.5e3,"b":null,"traceparent":"P","baggage":"x=1"}"#, r#"{"a":-1.5e3,"b":null}"#),
            ("\n{ \"id\" : 7 ,\n  \"TraceParent\" : \"P\" \n} ", "\n{ \"id\" : 7 \n} "),
            ("{ \"traceparent\" : \"P\" , \"id\" : [ 7 ] }", "{ \"id\" : [ 7 ] }"),
        ] {
            let payload = payload.replace("\"P\"", &alloc::format!("\"{PARENT}\""));
            assert_eq!(stripped(&payload, Propagators::default()).as_deref(), Some(expected), "{payload}");
        }
    }

    #[test]
    fn what_holds_no_context_or_that_of_another_format_stays() {
        for payload in [
            r#"{"traceparent":"00-x"}"#,
            r#"{"id":7}"#,
            "hello",
            r#"{"b3":"80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1"}"#,
        ] {
            assert_eq!(stripped(payload, Propagators::default()), None);
        }
        let b3 = Propagators { trace_context: false, baggage: false, b3: true, b3_multi: false, jaeger: false };
        let payload =
            r#"{"traceparent":"x","X-B3-TraceId":"a4fe8b2a57d3eff7","id":7,"X-B3-SpanId":"e457b5a2e4d86bd1"}"#;
        assert_eq!(stripped(payload, b3).as_deref(), Some(r#"{"traceparent":"x","id":7}"#));
    }

    #[test]
    fn a_scan_of_any_bytes_ends() {
        for bytes in [&b""[..], b"{", b"{\"", b"{\"a\\", b"{\"a\":", b"{\"a\":[", b"{\"a\" 1 \"b\"", b"}{,\"\\\"\\"] {
            ranges(bytes, |_| true);
        }
    }
}
