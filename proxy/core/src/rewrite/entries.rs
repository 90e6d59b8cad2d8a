//! The plan for entries of streams, which adds a context to an `XADD` and removes it from the entries in replies
//! (`--stream-carrier`).

use alloc::boxed::Box;
use core::ops::Range;

use super::context::{child_of, inferred, linked_to, parent_and_link, record};
use super::{Edits, exceeds};
use crate::carrier::field;
use crate::carrier::texts::{TRACEPARENT, TRACESTATE};
use crate::counts::Counter;
use crate::handover::id_and_options;
use crate::output::Call;
use crate::policy::{Forged, Policy};
use crate::resp::complete::{self, BulkStrings};
use crate::service::Attribution;
use crate::trace::context::limited_trace_state;
use crate::trace::{Change, Context, Operation, Sent, SpanContext, SpanRecord, UnixNanos};

/// Fewest words of an `XADD` that adds an entry: its name, the key, the id, and a field.
pub(crate) const MIN_WORDS: u64 = 5;

/// Most words of a request that Redis takes before authentication. With more it closes the connection (`unauthenticated multibulk
/// length`, seen on Redis 7.0 and 8.2 and on Valkey 9.1).
const UNAUTHENTICATED_WORDS: usize = 10;

/// The longest request, in bytes, that is held back although memory is scarce.
const LEN_WHEN_SCARCE: usize = 16 * 1024;

/// Why a request that has come to this length cannot get a context, if it cannot.
pub(crate) fn too_long(len: u64, call: &Call<'_>) -> Option<Counter> {
    if exceeds(len, call.env.policy.inject_limit) {
        Some(Counter::EntriesSkippedSize)
    } else if call.env.memory_is_scarce && exceeds(len, LEN_WHEN_SCARCE) {
        Some(Counter::EntriesSkippedMemory)
    } else {
        None
    }
}

/// An `XADD` to which a context may be added.
#[derive(Debug, PartialEq)]
pub(crate) struct NewEntry {
    /// The line with the number of words.
    line: Range<usize>,
    words: usize,
    /// The names and values of the fields in RESP, which end the request.
    fields: Range<usize>,
}

impl NewEntry {
    /// Reads a complete request.
    ///
    /// # Errors
    ///
    /// The counter of requests that go on as they came. Redis might refuse such a request and accept it with two fields more;
    /// or the entry has a context of its own; or Redis compares its fields with those of earlier ones.
    pub(crate) fn read(request: &[u8]) -> Result<Self, Counter> {
        Self::certain(request).ok_or(Counter::EntriesSkippedCarrier)
    }

    fn certain(request: &[u8]) -> Option<Self> {
        let (words, line) = complete::count(request)?;
        let mut strings = BulkStrings::new(request, line);
        strings.nth(1)?;
        let options = id_and_options(&mut strings)?;
        let start = strings.pos;
        let mut count = options.words + 2;
        let is_own =
            |name: &[u8]| [TRACEPARENT, TRACESTATE].iter().any(|own| name.eq_ignore_ascii_case(own.as_bytes()));
        while let Some(name) = strings.next() {
            strings.next()?;
            count += 2;
            if is_own(name) {
                return None;
            }
        }
        let is_whole = count == words && strings.pos == request.len() && start < request.len();
        let is_certain = is_whole && is_id(options.id) && !options.is_told_by_fields;
        is_certain.then_some(Self { line: 0..line, words, fields: start..request.len() })
    }

    /// Adds the context of the span to this `request`, if it then is no longer than allowed.
    ///
    /// # Errors
    ///
    /// The counter of requests that go on as they came.
    pub(crate) fn add(
        &self,
        request: &[u8],
        context: &Context,
        is_authenticated: bool,
        call: &Call<'_>,
        edits: &mut Edits,
    ) -> Result<(), Counter> {
        let words = self.words.saturating_add(field::ADDED_ELEMENTS);
        if !is_authenticated && (self.words..words).contains(&UNAUTHENTICATED_WORDS) {
            return Err(Counter::EntriesSkippedUnauthenticated);
        }
        let bytes = edits.begin();
        field::write(context, request.get(self.fields.clone()).unwrap_or_default(), &call.env.policy.keys, bytes);
        let added = bytes.len();
        let len = u64::try_from(request.len().saturating_add(added)).unwrap_or(u64::MAX);
        if let Some(skipped) = too_long(len, call) {
            return Err(skipped);
        }
        edits.replace_number(self.line.clone(), b'*', words);
        edits.replace(request.len()..request.len(), 0..added);
        Ok(())
    }
}

/// Whether a word is an id that `XADD` takes: `*`, a number, or two numbers with a hyphen between them, of which the second may be
/// `*`.
fn is_id(word: &[u8]) -> bool {
    let is_number = |digits: &[u8]| {
        complete::decimal(digits).is_some() || digits.len() == 20 && digits.iter().all(u8::is_ascii_digit)
    };
    let mut parts = word.splitn(2, |byte| *byte == b'-');
    match (parts.next(), parts.next()) {
        (Some(b"*"), None) => true,
        (Some(milliseconds), None | Some(b"*")) => is_number(milliseconds),
        (Some(milliseconds), Some(sequence)) => is_number(milliseconds) && is_number(sequence),
        _ => false,
    }
}

/// The identity of the PRODUCER span of an `XADD` whose entry gets the span's context, and whether the span is recorded. The span
/// is below the context that the entry carries in another place, or else below its cause.
pub(crate) struct Producer<'a> {
    pub(crate) context: SpanContext,
    is_recorded: bool,
    parent: Option<&'a Context>,
    link: Option<&'a Context>,
    inferred: Option<Box<crate::trace::Inferred>>,
}

impl<'a> Producer<'a> {
    #[cold]
    pub(crate) fn of(carried: Option<&'a Context>, attribution: Option<&'a Attribution>, call: &mut Call<'_>) -> Self {
        let policy = &**call.env.policy;
        let attribution = attribution.filter(|_| carried.is_none());
        let (parent, link) =
            attribution.map_or((carried, None), |attribution| parent_and_link(attribution, policy.follow));
        let (context, is_sampled) = match link {
            None => child_of(parent, policy, call.env.ids),
            link => linked_to(link, policy, call.env.ids),
        };
        let is_recorded = is_sampled || call.env.watched;
        Self { context, is_recorded, parent, link, inferred: attribution.and_then(inferred) }
    }

    /// The context that the entry gets.
    pub(crate) fn outgoing(&self) -> Context {
        let trace_state = self.parent.and_then(|parent| parent.trace_state.as_ref()).map(limited_trace_state);
        Context { trace_state, ..self.context.into() }
    }

    /// The record of the span, which has begun at `start`, if it is recorded.
    pub(crate) fn record(self, start: UnixNanos, sent: Sent) -> Option<SpanRecord> {
        self.is_recorded.then(|| {
            let operation = Operation::Send(Box::new(sent));
            let record = record(self.context, self.parent, self.link, start, Change::Injected, operation);
            SpanRecord { inferred: self.inferred, ..record }
        })
    }
}

/// Removes the context that a proxy has added to an entry, whose `fields` are an array in RESP with its header. Returns whether
/// `edits` change it.
pub(crate) fn hide(fields: &[u8], edits: &mut Edits, call: &mut Call<'_>) -> bool {
    let policy: &Policy = call.env.policy;
    let Some((elements, line)) = complete::count(fields) else { return false };
    let Some(found) = field::find(fields.get(line..).unwrap_or_default(), &policy.keys) else { return false };
    if found.context.is_none() {
        call.out.counts.count(Counter::Forged);
        if policy.forged == Forged::Keep {
            return false;
        }
    }
    call.out.counts.count(Counter::EntriesStripped);
    edits.begin();
    edits.replace_number(0..line, b'*', elements.saturating_sub(field::ADDED_ELEMENTS));
    edits.replace(line + found.start..fields.len(), 0..0);
    true
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;
    use alloc::vec::Vec;

    use super::*;

    fn request(words: &str) -> String {
        let words: Vec<_> = words.split(' ').collect();
        let bulks: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
        format!("*{}\r\n{bulks}", words.len())
    }

    #[test]
    fn only_an_xadd_that_redis_is_certain_to_read_alike_gets_a_context() {
        for words in [
            "XADD s * f v",
            "XADD s 5 f v g w",
            "XADD s 5-1 f v",
            "XADD s 5-* f v",
            "XADD s 18446744073709551615-18446744073709551615 f v",
            "xadd s nomkstream maxlen ~ 1000 limit 10 * f v",
            "XADD s MAXLEN = 5 * f v",
            "XADD s MINID 5-0 KEEPREF * f v",
            "XADD s DELREF MAXLEN 5 1-1 f v",
            "XADD s ACKED IDMP producer 7 * f v",
            "XADD MAXLEN * MAXLEN 5",
            "XADD s * f v f v",
            "XADD s * traceparents v",
        ] {
            let request = request(words);
            let entry = NewEntry::read(request.as_bytes()).unwrap();
            assert_eq!(entry.words, words.split(' ').count());
            assert!(request[entry.fields.start..].starts_with('$') && entry.fields.end == request.len());
        }
        for words in [
            "XADD s",
            "XADD s *",
            "XADD s * f",
            "XADD s * f v g",
            "XADD s MAXLEN 5 1-1",
            "XADD s MAXLEN 5 1-1 f",
            "XADD s + f v",
            "XADD s $ f v",
            "XADD s *-1 f v",
            "XADD s 1-1-1 f v",
            "XADD s 01 f v",
            "XADD s -1 f v",
            "XADD s UNKNOWN * f v",
            "XADD s IDMPAUTO producer * f v",
            "XADD s * traceparent x",
            "XADD s * f v TraceParent x",
            "XADD s * tracestate x f v",
        ] {
            assert_eq!(NewEntry::read(request(words).as_bytes()), Err(Counter::EntriesSkippedCarrier), "{words}");
        }
        // Redis 7.0 and 8.2 do not look at the two bytes behind a word. Replies have CRLF there, so the checksum would be wrong.
        let other_end = request("XADD s * f v").replace("v\r\n", "vxx");
        assert!(NewEntry::read(other_end.as_bytes()).is_err());
    }
}
