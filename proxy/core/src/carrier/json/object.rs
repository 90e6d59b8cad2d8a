//! What a proxy has to know of a JSON object that it did not write: which context is in it, and where another one would go.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::closing_brace;
use crate::carrier::texts::{self, TRACEPARENT, TRACESTATE};
use crate::trace::{Context, Propagators};

/// Where an object holds the text of a `traceparent`: the names of the objects around it, and the member's own name. Names are
/// found whatever their case. The other members of a context are found beside it, under the names that their formats have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonPath {
    objects: Vec<String>,
    member: String,
}

impl JsonPath {
    /// The largest number of names.
    pub const MAX_NAMES: usize = 8;

    /// Reads names with dots between them, such as `headers.traceparent`; `None` if there are too many, or if one is empty.
    pub fn parse(text: &str) -> Option<Self> {
        let mut objects: Vec<String> = text.split('.').map(String::from).collect();
        if objects.len() > Self::MAX_NAMES || objects.iter().any(String::is_empty) {
            return None;
        }
        Some(Self { member: objects.pop()?, objects })
    }
}

impl Default for JsonPath {
    /// A member `traceparent` of the outermost object.
    fn default() -> Self {
        Self { objects: Vec::new(), member: TRACEPARENT.into() }
    }
}

impl fmt::Display for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.objects.iter().try_for_each(|name| write!(f, "{name}."))?;
        f.write_str(&self.member)
    }
}

/// What a proxy has to know of a JSON object.
#[derive(Debug, PartialEq)]
pub struct Object {
    /// The context that the application put among the members.
    pub supplied: Option<Context>,
    /// Whether a member is called `traceparent` or `tracestate`, whatever its value. No context is added then.
    pub names_context: bool,
    /// Whether the object has no members.
    pub is_empty: bool,
    /// Position of the closing brace in the payload.
    pub end: usize,
}

impl Object {
    /// Reads a payload that is one JSON object, and the context at `path` in it; `None` for any other payload. Values are skipped
    /// without recursion.
    pub fn parse(payload: &[u8], formats: Propagators, path: &JsonPath) -> Option<Self> {
        if payload.trim_ascii_start().first() != Some(&b'{') {
            return None;
        }
        let end = closing_brace(payload)?;
        let next = path.objects.first().unwrap_or(&path.member);
        let outermost = Members::read(payload, &[next], false)?;
        let names_context = outermost.get(TRACEPARENT).or(outermost.get(TRACESTATE)).is_some();
        let is_empty = outermost.count == 0;
        Some(Self { supplied: outermost.context_at(path, formats), names_context, is_empty, end })
    }
}

/// The context among the members of a JSON object, or among those of an object within it, by the first of these names that leads to
/// one. An empty name stands for the outermost object, and behind a point stands the name of an object within another. Of an object
/// that is cut off, the members count that are complete.
pub(crate) fn wrapped_context(
    object: &[u8],
    is_cut_off: bool,
    wrappers: &[&str],
    formats: Propagators,
) -> Option<Context> {
    let names: Vec<&str> = wrappers.iter().filter_map(|path| path.split('.').next()).collect();
    let outermost = Members::read(object, &names, is_cut_off)?;
    let context = |wrapper: &&str| match *wrapper {
        "" => outermost.context(TRACEPARENT, formats),
        path => {
            let (name, inner) = path.split_once('.').unwrap_or((path, ""));
            let object = Members::read(outermost.get(name)?.get().as_bytes(), &[inner], false)?;
            if inner.is_empty() {
                return object.context(TRACEPARENT, formats);
            }
            Members::read(object.get(inner)?.get().as_bytes(), &[], false)?.context(TRACEPARENT, formats)
        }
    };
    wrappers.iter().find_map(context)
}

/// The text that is the value of this member of a JSON object, in any case of its name. Of an object that is cut off, the members
/// count that are complete.
pub(crate) fn text_member<'a>(object: &'a [u8], is_cut_off: bool, name: &str) -> Option<Cow<'a, str>> {
    Members::read(object, &[name], is_cut_off)?.text(name)
}

/// The members of an object, as far as they may have something to do with a context.
struct Members<'a> {
    count: usize,
    /// Names, and values as they are written.
    kept: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Members<'a> {
    /// Reads an object, and keeps the members of all formats and those with one of these names. If it is cut off, those are kept
    /// that are complete.
    fn read(object: &'a [u8], names: &[&str], is_cut_off: bool) -> Option<Self> {
        let mut members = Self { count: 0, kept: Vec::new() };
        let mut deserializer = serde_json::Deserializer::from_slice(object);
        let reader = Reader { names, members: &mut members };
        match reader.deserialize(&mut deserializer).and_then(|()| deserializer.end()) {
            Ok(()) => Some(members),
            Err(error) if is_cut_off && error.is_eof() => Some(members),
            Err(_) => None,
        }
    }

    /// The member with this name, in any case; the last, if there are several.
    fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.kept.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    /// The text of the member with this name. That of a number or a boolean is as it is written.
    fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        let written = self.get(name)?.get();
        match written.as_bytes().first()? {
            b'"' => serde_json::from_str::<Text<'a>>(written).ok().map(|Text(text)| text),
            b'{' | b'[' => None,
            _ => Some(Cow::Borrowed(written)),
        }
    }

    /// The context that stands where `path` says.
    fn context_at(self, path: &JsonPath, formats: Propagators) -> Option<Context> {
        let mut members = self;
        let mut objects = path.objects.iter();
        while let Some(name) = objects.next() {
            let next = objects.as_slice().first().unwrap_or(&path.member);
            members = Members::read(members.get(name)?.get().as_bytes(), &[next], false)?;
        }
        members.context(&path.member, formats)
    }

    fn context(&self, traceparent: &str, formats: Propagators) -> Option<Context> {
        let bytes = |text| match text {
            Cow::Borrowed(text) => Cow::Borrowed(str::as_bytes(text)),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        texts::context(|name| self.text(name).map(bytes), traceparent, formats)
    }
}

/// Reads the members of an object, and keeps those of all formats and those with one of these names.
struct Reader<'n, 'm, 'a> {
    names: &'n [&'n str],
    members: &'m mut Members<'a>,
}

impl<'de> DeserializeSeed<'de> for Reader<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        let Self { names, members } = self;
        while let Some(Text(name)) = map.next_key()? {
            members.count += 1;
            let is = |known: &str| name.eq_ignore_ascii_case(known);
            if texts::names().any(is) || names.iter().copied().any(is) {
                let value = map.next_value()?;
                // Of those that repeat, the last counts. So an object of many members costs no memory.
                members.kept.retain(|(other, _)| !other.eq_ignore_ascii_case(&name));
                members.kept.push((name, value));
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// A string, copied only if it has escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Cow<'de, str>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(text))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(text.into()))
            }
        }
        deserializer.deserialize_str(Either).map(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::SpanContext;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const NONE: Propagators =
        Propagators { trace_context: false, baggage: false, b3: false, b3_multi: false, jaeger: false };

    fn parse(payload: &str, formats: Propagators, path: &str) -> Option<Object> {
        Object::parse(payload.as_bytes(), formats, &JsonPath::parse(path).unwrap())
    }

    fn read(payload: &str) -> Option<Object> {
        parse(payload, Propagators::default(), TRACEPARENT)
    }

    fn parent() -> SpanContext {
        SpanContext::parse_traceparent(PARENT.as_bytes()).unwrap()
    }

    #[test]
    fn an_applications_own_context_is_read_whatever_its_case_its_spacing_and_its_escapes() {
        for payload in [
            alloc::format!(r#"{{"id":7,"traceparent":"{PARENT}","tracestate":"a=1"}}"#),
            alloc::format!("{{ \"TraceParent\" :\t\"{PARENT}\" ,\r\n \"TRACESTATE\" : \"a=1\" }} "),
            alloc::format!(r#"{{"trace\u0070arent":"\u0030{}","tracestate":"a\u003d1"}}"#, &PARENT[1..]),
            alloc::format!(r#"{{"traceparent":"x","tracestate":"a=1","traceparent":"{PARENT}"}}"#),
        ] {
            let object = read(&payload).unwrap();
            assert!(object.names_context);
            let supplied = object.supplied.unwrap();
            assert_eq!((supplied.span, supplied.trace_state.as_deref()), (parent(), Some("a=1")), "{payload}");
        }
    }

    #[test]
    fn a_context_in_an_envelope_is_read_where_the_path_says() {
        let payload = alloc::format!(
            r#"{{"labels":{{"traceparent":"x"}},"Headers":{{"a":1,"TraceParent":"{PARENT}","tracestate":"a=1"}},"m":{{"n":{{"ctx":"{PARENT}"}}}}}}"#
        );
        let supplied = |path| parse(&payload, Propagators::default(), path).unwrap().supplied;
        assert_eq!(supplied("headers.traceparent").unwrap().trace_state.as_deref(), Some("a=1"));
        assert_eq!(supplied("m.n.ctx").unwrap().span, parent());
        for path in ["traceparent", "labels.traceparent", "headers", "headers.a.b", "m.ctx", "m.n.ctx.x", "none.ctx"] {
            assert_eq!(supplied(path), None, "{path}");
        }
        assert!(!read(&payload).unwrap().names_context);
        for bad in ["", ".", "a.", ".a", "a..b", "a.b.c.d.e.f.g.h.i"] {
            assert_eq!(JsonPath::parse(bad), None, "{bad}");
        }
        assert_eq!(alloc::format!("{}", JsonPath::parse("a.b").unwrap()), "a.b");
    }

    #[test]
    fn other_formats_are_read_only_if_asked_for() {
        let b3 = r#"{"b3":"80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1"}"#;
        let jaeger = r#"{"uber-trace-id":"abc:12:0:1","baggage":"a=1"}"#;
        let supplied = |payload: &str, formats| parse(payload, formats, TRACEPARENT).unwrap().supplied;
        assert_eq!(supplied(b3, Propagators::default()), None);
        assert!(supplied(b3, Propagators { b3: true, ..NONE }).is_some());
        assert_eq!(supplied(jaeger, Propagators { jaeger: true, ..NONE }).unwrap().baggage, None);
        let with_baggage = Propagators { jaeger: true, baggage: true, ..NONE };
        assert_eq!(supplied(jaeger, with_baggage).unwrap().baggage.as_deref(), Some("a=1"));
    }

    #[test]
    fn b3_in_several_members_is_read() {
        let supplied = |payload: &str| {
            let read = parse(payload, Propagators { b3: true, ..NONE }, TRACEPARENT).unwrap().supplied;
            read.map(|context| context.span)
        };
        let ids = r#""X-B3-TraceId":"4bf92f3577b34da6a3ce929d0e0e4736","X-B3-SpanId":"00f067aa0ba902b7""#;
        for (decision, sampled) in [
            (r#","X-B3-Sampled":"1""#, true),
            (r#","x-b3-sampled" : 1"#, true),
            (r#","X-B3-Sampled":"true""#, true),
            (r#","X-B3-Sampled":true"#, true),
            (r#","X-B3-Flags":"1""#, true),
            (r#","X-B3-Sampled":"0","X-B3-ParentSpanId":"05e3ac9a4f6e3b90""#, false),
            (r#","X-B3-Sampled":"false""#, false),
            ("", false),
        ] {
            let span = supplied(&alloc::format!("{{{ids}{decision}}}")).unwrap();
            assert_eq!(span, SpanContext { flags: parent().flags.with_sampled(sampled), ..parent() }, "{decision}");
        }
        for payload in [
            r#"{"X-B3-TraceId":"4bf92f3577b34da6a3ce929d0e0e4736"}"#.into(),
            alloc::format!("{{{ids},\"X-B3-Sampled\":\"x\"}}"),
            alloc::format!("{{{}}}", ids.replace("4bf9", "4bfg")),
            alloc::format!("{{{}}}", ids.replace("TraceId\":\"4b", "TraceId\":\"")),
        ] {
            assert_eq!(supplied(&payload), None, "{payload}");
        }
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for payload in ["", "{", "[]", "\"{}\"", "{} {}", "{\"a\":1,}", "null", "x{}"] {
            assert_eq!(read(payload), None, "{payload}");
        }
    }

    #[test]
    fn nesting_of_any_depth_is_passed_over() {
        for name in ["a", "traceparent"] {
            let deep = alloc::format!("{{\"{name}\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
            assert!(read(&deep).is_some());
        }
    }

    #[test]
    fn a_context_of_another_type_is_the_applications_and_stays() {
        for value in ["1", "-1", "1.5", "null", "true", "[1]", "{\"a\":1}", "\"\""] {
            let payload = alloc::format!("{{\"traceparent\":{value}}}");
            let object = read(&payload).unwrap();
            assert!(object.names_context, "{value}");
            assert_eq!(object.supplied, None);
        }
    }
}
