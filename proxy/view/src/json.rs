//! JSON, walked without making a tree of all of it.
//!
//! Some bytes of JSON become a hundred in memory once they are parsed. So lists are walked element by element, and only what is as
//! small as a span is parsed.

use std::fmt;

use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Error, Value};

use crate::entry::MAX_SPAN;

/// The longest text of a span in JSON, in bytes. Its names and digits take more room than in protobuf.
const MAX_TEXT: usize = 3 * MAX_SPAN;

/// What the sender of a span that [`parse`] does not take is told.
pub(crate) const TOO_LARGE: &str = "a span in JSON may have 3 MiB, and be nested 127 times";

/// Calls `each` with every element of the list `raw`. Null counts as empty.
///
/// # Errors
/// The text is no list, or `each` returned an error.
pub(crate) fn elements<'a>(
    raw: &'a RawValue,
    each: impl FnMut(&'a RawValue) -> Result<(), Error>,
) -> Result<(), Error> {
    struct Elements<F>(F);
    impl<'de, F: FnMut(&'de RawValue) -> Result<(), Error>> Visitor<'de> for Elements<F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_unit<E>(self) -> Result<(), E> {
            Ok(())
        }

        fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
            while let Some(element) = list.next_element::<&RawValue>()? {
                (self.0)(element).map_err(A::Error::custom)?;
            }
            Ok(())
        }
    }
    serde_json::Deserializer::from_str(raw.get()).deserialize_any(Elements(each))
}

/// Calls `each` with the name and the value of every member of the object `raw`. Null counts as empty.
///
/// # Errors
/// The text is no object, or `each` returned an error.
pub(crate) fn members<'a>(
    raw: &'a RawValue,
    each: impl FnMut(&str, &'a RawValue) -> Result<(), Error>,
) -> Result<(), Error> {
    struct Members<F>(F);
    impl<'de, F: FnMut(&str, &'de RawValue) -> Result<(), Error>> Visitor<'de> for Members<F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_unit<E>(self) -> Result<(), E> {
            Ok(())
        }

        fn visit_map<A: MapAccess<'de>>(mut self, mut object: A) -> Result<(), A::Error> {
            while let Some((name, value)) = object.next_entry::<String, &RawValue>()? {
                (self.0)(&name, value).map_err(A::Error::custom)?;
            }
            Ok(())
        }
    }
    serde_json::Deserializer::from_str(raw.get()).deserialize_any(Members(each))
}

/// The member of the object `raw` with this name in camel case, or in snake case, which readers of protobuf's JSON take too.
///
/// # Errors
/// The text is no object.
pub(crate) fn member<'a>(raw: &'a RawValue, name: &str) -> Result<Option<&'a RawValue>, Error> {
    let mut found = None;
    members(raw, |of_member, value| {
        if is_called(of_member, name) {
            found = Some(value);
        }
        Ok(())
    })?;
    Ok(found)
}

/// Parses what is as small as a span.
///
/// # Errors
/// The text is longer, or nested more than 127 times.
pub(crate) fn parse(raw: &RawValue) -> Result<Value, Error> {
    if raw.get().len() > MAX_TEXT {
        return Err(Error::custom("a span, a resource or a scope is larger than 3 MiB"));
    }
    serde_json::from_str(raw.get())
}

/// The member of `object` with this name, as [`member`].
pub(crate) fn get<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    let object = object.as_object()?;
    let found = object.get(name).or_else(|| object.iter().find(|(of, _)| is_called(of, name)).map(|(_, value)| value));
    found.filter(|value| !value.is_null())
}

/// The elements of the list with this name in `object`; none if there is no list.
pub(crate) fn list<'a>(object: &'a Value, name: &str) -> &'a [Value] {
    get(object, name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The text with this name in `object`; empty if there is none.
pub(crate) fn text<'a>(object: &'a Value, name: &str) -> &'a str {
    get(object, name).and_then(Value::as_str).unwrap_or_default()
}

/// The number with this name in `object`, which may be written as a text; `None` if there is none.
pub(crate) fn number<N: TryFrom<i128>>(object: &Value, name: &str) -> Option<N> {
    let number = match get(object, name)? {
        Value::Number(number) => number.as_i128()?,
        Value::String(text) => text.parse().ok()?,
        _ => return None,
    };
    N::try_from(number).ok()
}

/// Whether `member` is `name`, which is in camel case, in either spelling.
fn is_called(member: &str, name: &str) -> bool {
    if member == name {
        return true;
    }
    let mut rest = member.chars();
    let is_same = name.chars().all(|c| {
        if c.is_ascii_uppercase() {
            rest.next() == Some('_') && rest.next() == Some(c.to_ascii_lowercase())
        } else {
            rest.next() == Some(c)
        }
    });
    is_same && rest.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> &RawValue {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn lists_and_objects_are_walked_in_place() {
        let mut seen = Vec::new();
        elements(raw("[1, [2], {\"a\":3}]"), |element| {
            seen.push(element.get());
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, ["1", "[2]", "{\"a\":3}"]);
        let object = raw("{\"resourceSpans\":[1],\"other\":null}");
        assert_eq!(member(object, "resourceSpans").unwrap().unwrap().get(), "[1]");
        assert!(member(raw("[]"), "a").is_err() && elements(raw("{}"), |_| Ok(())).is_err());
        elements(raw("null"), |_| Ok(())).unwrap();
    }

    #[test]
    fn names_may_be_in_snake_case_and_numbers_in_quotes() {
        let object = serde_json::json!({"trace_id": "a", "startTimeUnixNano": "7", "kind": 2, "x": null, "big": "1e3"});
        assert_eq!(text(&object, "traceId"), "a");
        assert_eq!(number::<u64>(&object, "startTimeUnixNano"), Some(7));
        assert_eq!(number::<i32>(&object, "kind"), Some(2));
        assert_eq!(number::<u8>(&object, "big"), None);
        assert_eq!(get(&object, "x"), None);
        assert!(
            !is_called("trace_", "traceId") && !is_called("traceid", "traceId") && !is_called("trace_idx", "traceId")
        );
    }
}
