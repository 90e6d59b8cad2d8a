//! The traces of which spans are still coming, and what is remembered of those that were printed.
//!
//! A trace is due when none of its spans has come for a while, and in the end whatever comes. What comes after that is a part of
//! its own, which says that it continues what was printed before. Nothing here reads a clock.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use redistributed_core::trace::TraceId;
use span_tree::{Before, Span, Trace};

/// How much longer than its patience a trace is held at most from its first span on, if spans keep coming.
pub(super) const LONGEST: Duration = Duration::from_secs(10);
/// The most spans that are held. With more, the trace that has been held longest is printed.
const MAX_SPANS: usize = 8_192;
/// The most traces that are held.
const MAX_TRACES: usize = 1_024;
/// The most spans of one part of a trace: more are printed at once.
const MAX_PART: usize = 1_024;
/// The most spans that are remembered after they were printed, with the names that continuations show.
const MAX_REMEMBERED: usize = 4_096;

/// Traces whose spans are still coming. Each span has a receipt, which is handed back with it.
#[derive(Debug)]
pub(super) struct Held<R> {
    patience: Duration,
    /// By their serial numbers, so in the order in which they began to be held.
    traces: BTreeMap<u64, Open<R>>,
    serials: HashMap<TraceId, u64>,
    next_serial: u64,
    spans: usize,
    printed: Printed,
}

/// A trace that is held.
#[derive(Debug)]
struct Open<R> {
    id: TraceId,
    spans: Vec<Span>,
    receipts: Vec<R>,
    first: Instant,
    last: Instant,
}

/// What is to be printed.
#[derive(Debug)]
pub(super) struct Part<R> {
    pub(super) trace: Trace,
    /// Whether a part of the trace was printed before.
    pub(super) continues: bool,
    pub(super) receipts: Vec<R>,
}

/// What is remembered of traces that were printed, the oldest first.
#[derive(Debug, Default)]
struct Printed {
    traces: HashMap<TraceId, (u64, Before)>,
    order: VecDeque<TraceId>,
    spans: usize,
}

impl<R> Held<R> {
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            patience,
            traces: BTreeMap::new(),
            serials: HashMap::new(),
            next_serial: 0,
            spans: 0,
            printed: Printed::default(),
        }
    }

    /// Adds a span. Returns what has to be printed at once to make room.
    pub(super) fn add(&mut self, id: TraceId, span: Span, receipt: R, now: Instant) -> Option<Part<R>> {
        let serial = *self.serials.entry(id).or_insert_with(|| {
            self.next_serial += 1;
            self.next_serial
        });
        let fresh = || Open { id, spans: Vec::new(), receipts: Vec::new(), first: now, last: now };
        let open = self.traces.entry(serial).or_insert_with(fresh);
        open.spans.push(span);
        open.receipts.push(receipt);
        open.last = now;
        self.spans += 1;
        if open.spans.len() >= MAX_PART {
            return self.close(serial);
        }
        let oldest = *self.traces.first_key_value()?.0;
        let is_full = self.spans > MAX_SPANS || self.traces.len() > MAX_TRACES;
        if is_full { self.close(oldest) } else { None }
    }

    /// When the next trace is due, if one is held.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.traces.values().map(|open| open.due(self.patience)).min()
    }

    /// A trace that is due, the one that has been held longest first.
    pub(super) fn due(&mut self, now: Instant) -> Option<Part<R>> {
        let (&serial, _) = self.traces.iter().find(|(_, open)| open.due(self.patience) <= now)?;
        self.close(serial)
    }

    /// Any trace that is held, the one that has been held longest first: for the end.
    pub(super) fn any(&mut self) -> Option<Part<R>> {
        let serial = *self.traces.first_key_value()?.0;
        self.close(serial)
    }

    fn close(&mut self, serial: u64) -> Option<Part<R>> {
        let open = self.traces.remove(&serial)?;
        self.serials.remove(&open.id);
        self.spans -= open.spans.len();
        let mut trace = Trace::new(open.id.to_string(), open.spans);
        let before = self.printed.get(open.id);
        let continues = before.is_some();
        if let Some((origin, before)) = before {
            (trace.origin, trace.before) = (origin, before);
        }
        self.printed.remember(open.id, &trace);
        Some(Part { trace, continues, receipts: open.receipts })
    }
}

impl<R> Open<R> {
    fn due(&self, patience: Duration) -> Instant {
        (self.last + patience).min(self.first + patience + LONGEST)
    }
}

impl Printed {
    fn get(&self, id: TraceId) -> Option<(u64, Before)> {
        self.traces.get(&id).cloned()
    }

    /// Remembers what `trace` has shown, and forgets what was printed longest ago if that is too much.
    fn remember(&mut self, id: TraceId, trace: &Trace) {
        let (_, before) = self.traces.entry(id).or_insert_with(|| {
            self.order.push_back(id);
            (trace.origin, Before::default())
        });
        let ids: HashSet<&str> = trace.spans.iter().map(|span| &*span.id).collect();
        for span in &trace.spans {
            before.awaited.remove(&span.id);
            self.spans += usize::from(before.names.insert(span.id.clone(), span.name.clone()).is_none());
        }
        let awaited =
            trace.spans.iter().map(|span| &span.parent).filter(|parent| {
                !parent.is_empty() && !ids.contains(&***parent) && !before.names.contains_key(*parent)
            });
        before.awaited.extend(awaited.cloned().collect::<Vec<_>>());
        while self.spans > MAX_REMEMBERED {
            let Some(oldest) = self.order.pop_front() else { break };
            let forgotten = self.traces.remove(&oldest);
            self.spans -= forgotten.map_or(0, |(_, before)| before.names.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(3);

    fn id(number: u128) -> TraceId {
        TraceId::from_u128(number).unwrap()
    }

    fn span(id: &str, parent: &str) -> Span {
        Span { id: id.to_owned(), parent: parent.to_owned(), name: format!("name of {id}"), ..Span::default() }
    }

    /// The trace of each part that is due, its spans and whether it continues.
    fn due(held: &mut Held<()>, now: Instant) -> Vec<(String, Vec<String>, bool)> {
        let parts = std::iter::from_fn(|| held.due(now));
        parts
            .map(|part| {
                let spans = part.trace.spans.into_iter().map(|span| span.id).collect();
                (part.trace.id.trim_start_matches('0').to_owned(), spans, part.continues)
            })
            .collect()
    }

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn a_trace_is_due_when_none_of_its_spans_has_come_for_a_while() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut held = Held::new(PATIENCE);
        assert_eq!(held.next_due(), None);
        held.add(id(1), span("b", "a"), (), at(0));
        held.add(id(2), span("x", ""), (), at(1));
        held.add(id(1), span("a", ""), (), at(2));
        assert_eq!(held.next_due(), Some(at(4)));
        assert_eq!(due(&mut held, at(3)), []);
        assert_eq!(due(&mut held, at(4)), [("2".to_owned(), words("x"), false)]);
        assert_eq!(held.next_due(), Some(at(5)));
        assert_eq!(due(&mut held, at(5)), [("1".to_owned(), words("b a"), false)]);
        assert_eq!((held.next_due(), held.spans), (None, 0));
    }

    #[test]
    fn a_trace_that_goes_on_is_printed_in_parts_and_the_later_ones_say_so() {
        let start = Instant::now();
        let mut held = Held::new(PATIENCE);
        for second in 0..=13 {
            let now = start + Duration::from_secs(second);
            assert_eq!(due(&mut held, now - Duration::from_millis(1)), []);
            held.add(id(1), span(&format!("s{second}"), "later"), (), now);
        }
        let end = start + PATIENCE + LONGEST;
        assert_eq!(held.next_due(), Some(end));
        assert_eq!(due(&mut held, end).len(), 1);
        held.add(id(1), Span { start: 7, ..span("t", "s3") }, (), end);
        held.add(id(1), Span { start: 9, ..span("later", "") }, (), end);
        let part = held.due(end + PATIENCE).unwrap();
        assert!(part.continues);
        assert_eq!(part.trace.origin, 0, "times go on from the first start");
        assert_eq!(part.trace.before.names["s3"], "name of s3");
        assert!(part.trace.before.awaited.contains("later"));
        assert!(!part.trace.before.awaited.contains("s3"));
    }

    #[test]
    fn what_is_held_is_bounded_and_nothing_is_lost() {
        let now = Instant::now();
        let count = |parts: &[Part<u32>]| parts.iter().map(|part| part.receipts.len()).sum::<usize>();
        // Many traces, few spans of many traces, one large trace.
        for (spans, traces) in [(3_000, 3_000), (20_000, 200), (5_000, 1)] {
            let mut held = Held::new(PATIENCE);
            let mut parts = Vec::new();
            for number in 0..spans {
                let id = id(u128::from(1 + number % traces));
                parts.extend(held.add(id, span(&number.to_string(), ""), number, now));
                assert!(held.spans <= MAX_SPANS && held.traces.len() <= MAX_TRACES);
                assert!(held.printed.spans <= MAX_REMEMBERED);
            }
            assert!(!parts.is_empty() && parts.iter().all(|part| part.trace.spans.len() <= MAX_PART));
            parts.extend(std::iter::from_fn(|| held.any()));
            assert_eq!(count(&parts), usize::try_from(spans).unwrap());
            let mut receipts: Vec<u32> = parts.into_iter().flat_map(|part| part.receipts).collect();
            receipts.sort_unstable();
            assert!(receipts.into_iter().eq(0..spans));
        }
    }

    #[test]
    fn the_trace_that_has_been_held_longest_makes_room() {
        let now = Instant::now();
        let mut held = Held::new(PATIENCE);
        for number in 1..=MAX_TRACES as u128 {
            assert!(held.add(id(number), span("a", ""), (), now).is_none());
        }
        let part = held.add(id(1 << 20), span("a", ""), (), now).unwrap();
        assert_eq!(part.trace.id, id(1).to_string());
    }
}
