//! A context in the options of a job of BullMQ, which the script that adds the job has as a map in MessagePack.
//!
//! One member is added at the end of the map. Its value is what `telemetry.metadata` stands for in `src/classes/job.ts`, as `bullmq-otel`
//! writes and reads it:
//!
//! ```text
//! tm  {"traceparent":"00-<trace id>-<span id>-<flags>","tracestate":"<entries>"}
//! ```

use alloc::vec::Vec;

use crate::carrier::json;
use crate::carrier::msgpack::Map;
use crate::trace::Context;

/// The member that holds the context.
pub(crate) const CONTEXT: &str = "tm";

/// The member by which the application says that a job has no context (`telemetry.omitContext`).
const OMITS_CONTEXT: &[u8] = b"omc";

/// The member of a job that repeats. A worker hands the options of such a job on to the next one, so that a context in them would
/// be that of all further jobs (`src/classes/repeat.ts`).
const REPEATS: &[u8] = b"repeat";

/// Reads the options. `None` if they get no context: they have one, or say that they have none, or are handed on to other jobs, or
/// may be read in two ways.
pub(crate) fn read(options: &[u8]) -> Option<Map<'_>> {
    Map::read(options).filter(|map| ![CONTEXT.as_bytes(), OMITS_CONTEXT, REPEATS].iter().any(|name| map.has(name)))
}

/// The options with this context.
pub(crate) fn with_context(options: &Map<'_>, context: &Context) -> Vec<u8> {
    let mut texts = Vec::from(*b"{");
    json::write_plain(context, &mut texts);
    texts.push(b'}');
    options.with(CONTEXT.as_bytes(), &texts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::carrier::msgpack;
    use crate::trace::SpanContext;

    const OPTIONS: &[u8] = b"\xde\0\x01\xa8attempts\0";
    const PARENT: &[u8] = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_context_is_the_last_member() {
        let context = Context::from(SpanContext::parse_traceparent(PARENT).unwrap());
        let added = with_context(&read(OPTIONS).unwrap(), &context);
        let text = b"{\"traceparent\":\"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\"}";
        assert_eq!(added, [&b"\xde\0\x02\xa8attempts\0\xa2tm\xd9\x49"[..], text].concat());
        assert_eq!(msgpack::member(&added, CONTEXT.as_bytes()), Some(&text[..]));
        let state = Context { trace_state: Some("congo=t61".into()), ..context };
        assert!(with_context(&read(OPTIONS).unwrap(), &state).ends_with(b"\"tracestate\":\"congo=t61\"}"));
    }

    #[test]
    fn a_job_that_has_a_context_or_is_to_have_none_or_repeats_gets_none() {
        for options in [
            &b"\x81\xa2tm\xa2{}"[..],
            b"\x81\xa2tm\xc0",
            b"\x81\xa3omc\xc3",
            b"\x82\xa1a\0\xa3omc\xc2",
            b"\x81\xa6repeat\xde\0\x01\xa5every\xcd\x02\xbc",
            b"\x91\0",
        ] {
            assert!(read(options).is_none(), "{options:?}");
        }
    }
}
