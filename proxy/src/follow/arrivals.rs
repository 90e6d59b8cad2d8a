//! The contexts of items that other proxies tell, and the items that wait for one.
//!
//! A context may come before its item or behind it. An item that is handed over before waits for a moment, and with it what it causes: when
//! the context comes, the span of the item moves to its trace.

use std::collections::{HashMap, VecDeque};

use redistributed_core::carrier::out_of_band::Notice;
use redistributed_core::service::{NamedItem, Told};
use redistributed_core::trace::{Companion, Context, SpanContext, TraceId, UnixNanos};

/// The most contexts that are kept for items that have not come yet: about 5 MiB.
const MAX_CONTEXTS: usize = 32_768;

/// How long such a context is kept, in nanoseconds.
const KEPT: u64 = 600_000_000_000;

/// The most items that wait.
const MAX_WAITING: usize = 16_384;

/// How long what an item causes waits with it for its context, in nanoseconds. The span of the item waits at least as long.
pub(super) const PATIENCE: u64 = 250_000_000;

/// How long an item waits for its context, in nanoseconds, if its span does.
pub(super) const LONGEST: u64 = 2_000_000_000;

/// How long a key counts as one whose contexts are told, in nanoseconds, after a context was told there.
const TOLD: u64 = 60_000_000_000;

/// The most keys of which that is known.
const MAX_KEYS: usize = 4096;

/// An item, by its name and the number of its Redis.
type Item = (u64, TraceId);

/// What is known of contexts out of band, in one service.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    /// `None` if an item was told more than once, with different contexts.
    contexts: HashMap<Item, Option<Context>>,
    contexts_by_age: VecDeque<(UnixNanos, Item)>,
    /// Deliveries that wait, by the ids of their spans.
    waiting: HashMap<u64, Waiting>,
    /// Those that others wait with.
    young: VecDeque<(UnixNanos, u64)>,
    waiting_by_age: VecDeque<(UnixNanos, u64)>,
    by_item: HashMap<Item, Vec<u64>>,
    /// When a context was told last of the items at a key.
    told: HashMap<(u64, Companion), UnixNanos>,
}

/// A delivery that waits for its context.
#[derive(Debug)]
struct Waiting {
    /// `None` if it is a message, of which others know what names it.
    item: Option<Item>,
    /// Its own span, if that is nobody's without a context.
    own: Option<SpanContext>,
    is_shared: bool,
    /// Whether what it causes may still wait with it.
    is_young: bool,
    /// Whether its context is likely to come, so that what the delivery causes waits as well.
    is_likely: bool,
    /// Whether something was told the context that the delivery has for now.
    is_used: bool,
    held: Vec<Held>,
}

/// A command that waits until the traces of its causes are certain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) command: u64,
    pub(super) causes: Vec<u64>,
    /// The rule by which its only cause was found. Without one, the causes are those of a batch.
    pub(super) rule: Option<&'static str>,
}

/// A delivery that waits no longer.
#[derive(Debug, PartialEq)]
pub(super) struct Settled {
    /// The id of its span.
    pub(super) delivery: u64,
    /// The context of who has added the item, if it came.
    pub(super) context: Option<Context>,
    /// Its own span, if that is nobody's without a context.
    pub(super) own: Option<SpanContext>,
    /// Whether the span of the delivery has to stay in its trace, because something was told that.
    pub(super) is_used: bool,
    /// The commands that have waited for it.
    pub(super) held: Vec<Held>,
}

impl Arrivals {
    /// What was told of an item that is about to be handed over.
    pub(super) fn told(&mut self, redis: u64, item: &NamedItem) -> Told {
        let key = (redis, item.name);
        let context = match self.contexts.get(&key) {
            Some(Some(context)) => context.clone(),
            Some(None) => return Told::Nothing,
            None => return Told::NothingYet,
        };
        if !item.is_shared {
            self.contexts.remove(&key);
        }
        Told::Context(context)
    }

    /// An item is handed over whose context had not come when it was [asked for](Self::told). Its span has this id.
    /// Returns the context if it has come since, as it may: notices are heard on another thread.
    pub(super) fn wait(&mut self, now: UnixNanos, redis: u64, delivery: u64, item: &NamedItem) -> Option<Context> {
        match self.told(redis, item) {
            Told::Context(context) => return Some(context),
            Told::NothingYet if self.waiting.len() < MAX_WAITING => {}
            Told::NothingYet | Told::Nothing => return None,
        }
        let last = self.told.get(&(redis, item.companion));
        let is_likely = last.is_some_and(|last| now.0.saturating_sub(last.0) < TOLD);
        let key = (redis, item.name);
        let waiting = Waiting { item: Some(key), is_shared: item.is_shared, ..Waiting::new(is_likely) };
        self.add(now, delivery, waiting);
        self.by_item.entry(key).or_default().push(delivery);
        None
    }

    /// A message is delivered whose context may come, and whose `own` span is nobody's without one, if it is there.
    pub(super) fn wait_for_message(
        &mut self,
        now: UnixNanos,
        delivery: u64,
        own: Option<SpanContext>,
        is_likely: bool,
    ) {
        if self.waiting.len() < MAX_WAITING {
            self.add(now, delivery, Waiting { own, ..Waiting::new(is_likely) });
        }
    }

    fn add(&mut self, now: UnixNanos, delivery: u64, waiting: Waiting) {
        self.waiting.insert(delivery, waiting);
        self.young.push_back((now, delivery));
        self.waiting_by_age.push_back((now, delivery));
    }

    /// Whether all of these causes have their traces for certain. Otherwise what they cause may be [held](Self::hold), or has to be told
    /// the traces that they have now, after which these stay.
    pub(super) fn may_tell(&mut self, causes: &[u64]) -> bool {
        if self.waiting.is_empty() {
            return true;
        }
        let is_held = causes.iter().any(|cause| self.waiting.get(cause).is_some_and(|waiting| waiting.is_likely));
        if !is_held {
            for cause in causes {
                if let Some(waiting) = self.waiting.get_mut(cause) {
                    waiting.is_used = true;
                }
            }
        }
        !is_held
    }

    /// Holds a command until the traces of its causes are certain. One of them waits.
    pub(super) fn hold(&mut self, held: Held) -> Option<Held> {
        let waits = |cause: &&u64| self.waiting.get(cause).is_some_and(|waiting| waiting.is_likely);
        let cause = held.causes.iter().find(waits).copied();
        match cause.and_then(|cause| self.waiting.get_mut(&cause)) {
            Some(waiting) => {
                waiting.held.push(held);
                None
            }
            None => Some(held),
        }
    }

    /// Takes what was told of items at a key. Returns the deliveries that need not wait any more.
    pub(super) fn heard(
        &mut self,
        now: UnixNanos,
        redis: u64,
        companion: Companion,
        notices: Vec<Notice>,
    ) -> Vec<Settled> {
        if self.told.len() >= MAX_KEYS {
            self.told.retain(|_, last| now.0.saturating_sub(last.0) < TOLD);
        }
        if self.told.len() < MAX_KEYS {
            self.told.insert((redis, companion), now);
        }
        let mut settled = Vec::new();
        for Notice { name, context } in notices {
            let item = (redis, name);
            let deliveries = self.by_item.get(&item).cloned().unwrap_or_default();
            let is_shared = deliveries.iter().all(|id| self.waiting.get(id).is_some_and(|waiting| waiting.is_shared));
            if deliveries.is_empty() || is_shared {
                self.keep(now, item, context.clone());
            }
            // Of two that are alike, nobody can tell which one was added by whom.
            let context = context.filter(|_| is_shared || deliveries.len() == 1);
            settled.extend(deliveries.into_iter().filter_map(|delivery| self.settle(delivery, context.clone())));
        }
        settled
    }

    fn keep(&mut self, now: UnixNanos, item: Item, context: Option<Context>) {
        if let Some(known) = self.contexts.get_mut(&item) {
            if *known != context {
                *known = None;
            }
            return;
        }
        if self.contexts_by_age.len() >= MAX_CONTEXTS
            && let Some((_, oldest)) = self.contexts_by_age.pop_front()
        {
            self.contexts.remove(&oldest);
        }
        self.contexts_by_age.push_back((now, item));
        self.contexts.insert(item, context);
    }

    /// A delivery waits no longer, because its context has come, or will not come. `None` if it does not wait.
    pub(super) fn settle(&mut self, delivery: u64, context: Option<Context>) -> Option<Settled> {
        let Waiting { item, own, is_used, held, .. } = self.waiting.remove(&delivery)?;
        if let Some(item) = item
            && let Some(deliveries) = self.by_item.get_mut(&item)
        {
            deliveries.retain(|other| *other != delivery);
            if deliveries.is_empty() {
                self.by_item.remove(&item);
            }
        }
        Some(Settled { delivery, context, own, is_used, held })
    }

    /// The commands that have waited for long enough. The traces of their causes stay as they are.
    pub(super) fn take_held(&mut self, now: UnixNanos) -> Vec<Held> {
        let mut due = Vec::new();
        while let Some((_, delivery)) = take_old(&mut self.young, now, PATIENCE) {
            let Some(waiting) = self.waiting.get_mut(&delivery) else { continue };
            (waiting.is_young, waiting.is_likely) = (false, false);
            waiting.is_used |= !waiting.held.is_empty();
            due.append(&mut waiting.held);
        }
        due
    }

    /// The deliveries that have waited for long enough. What was told of items that have not come for long is forgotten.
    pub(super) fn take_due(&mut self, now: UnixNanos) -> Vec<Settled> {
        while let Some((_, item)) = take_old(&mut self.contexts_by_age, now, KEPT) {
            self.contexts.remove(&item);
        }
        let mut due = Vec::new();
        while let Some((_, delivery)) = take_old(&mut self.waiting_by_age, now, LONGEST) {
            due.extend(self.settle(delivery, None));
        }
        due
    }

    /// Whether a delivery waits for its context, and what it causes may wait with it.
    pub(super) fn is_young(&self, delivery: u64) -> bool {
        self.waiting.get(&delivery).is_some_and(|waiting| waiting.is_young)
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl Waiting {
    fn new(is_likely: bool) -> Self {
        Self { item: None, own: None, is_shared: false, is_young: true, is_likely, is_used: false, held: Vec::new() }
    }
}

/// Takes the oldest of these, if it came as long ago as the limit says.
fn take_old<T: Copy>(by_age: &mut VecDeque<(UnixNanos, T)>, now: UnixNanos, limit: u64) -> Option<(UnixNanos, T)> {
    let (since, _) = by_age.front()?;
    if now.0.saturating_sub(since.0) >= limit { by_age.pop_front() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REDIS: u64 = 1;
    const KEY: Companion = Companion(7);

    fn at(millis: u64) -> UnixNanos {
        UnixNanos(millis * 1_000_000)
    }

    fn context(id: u64) -> Context {
        let text = format!("00-{id:032x}-00f067aa0ba902b7-01");
        SpanContext::parse_traceparent(text.as_bytes()).unwrap().into()
    }

    fn item(id: u64, is_shared: bool) -> NamedItem {
        NamedItem { name: context(id).span.trace_id, companion: KEY, is_shared }
    }

    fn notice(id: u64, told: Option<u64>) -> Vec<Notice> {
        vec![Notice { name: context(id).span.trace_id, context: told.map(context) }]
    }

    #[test]
    fn a_context_that_has_come_before_its_item_is_there_for_one_or_for_all_who_take_it() {
        let mut arrivals = Arrivals::default();
        for is_shared in [false, true] {
            let item = item(1, is_shared);
            assert_eq!(arrivals.told(REDIS, &item), Told::NothingYet);
            assert_eq!(arrivals.heard(at(1), REDIS, KEY, notice(1, Some(10))), []);
            assert_eq!(arrivals.told(REDIS + 1, &item), Told::NothingYet, "another Redis");
            assert_eq!(arrivals.told(REDIS, &item), Told::Context(context(10)));
            let again = if is_shared { Told::Context(context(10)) } else { Told::NothingYet };
            assert_eq!(arrivals.told(REDIS, &item), again);
        }
        arrivals.take_due(UnixNanos(at(1).0 + KEPT));
        assert_eq!(arrivals.told(REDIS, &item(1, true)), Told::NothingYet, "it was too long ago");
        assert_eq!((arrivals.contexts.len(), arrivals.contexts_by_age.len()), (0, 0));
    }

    #[test]
    fn an_item_that_was_told_twice_has_no_context() {
        let mut arrivals = Arrivals::default();
        arrivals.heard(at(1), REDIS, KEY, notice(1, Some(10)));
        arrivals.heard(at(1), REDIS, KEY, notice(1, Some(10)));
        assert_eq!(arrivals.told(REDIS, &item(1, true)), Told::Context(context(10)), "the same is no other");
        arrivals.heard(at(1), REDIS, KEY, notice(1, Some(11)));
        assert_eq!(arrivals.told(REDIS, &item(1, true)), Told::Nothing);
        arrivals.heard(at(1), REDIS, KEY, notice(2, None));
        assert_eq!(arrivals.told(REDIS, &item(2, false)), Told::Nothing);
        arrivals.heard(at(1), REDIS, KEY, notice(2, Some(10)));
        assert_eq!(arrivals.told(REDIS, &item(2, false)), Told::Nothing);
    }

    #[test]
    fn an_item_waits_for_its_context_for_a_moment() {
        let mut arrivals = Arrivals::default();
        arrivals.wait(at(10), REDIS, 5, &item(1, false));
        arrivals.wait(at(20), REDIS, 6, &item(2, false));
        let settled = arrivals.heard(at(30), REDIS, KEY, notice(1, Some(10)));
        let expected = Settled { delivery: 5, context: Some(context(10)), own: None, is_used: false, held: vec![] };
        assert_eq!(settled, [expected]);
        assert_eq!(arrivals.told(REDIS, &item(1, false)), Told::NothingYet, "it belongs to who has waited");
        assert_eq!(arrivals.take_due(at(2019)), []);
        let due = arrivals.take_due(at(2020));
        assert_eq!(due, [Settled { delivery: 6, context: None, own: None, is_used: false, held: vec![] }]);
        arrivals.take_held(at(2020));
        let ages = (arrivals.young.len(), arrivals.waiting_by_age.len());
        assert_eq!((arrivals.is_empty(), arrivals.by_item.len(), ages), (true, 0, (0, 0)));
    }

    #[test]
    fn a_context_that_comes_between_the_question_and_the_item_is_the_items() {
        for is_shared in [false, true] {
            let mut arrivals = Arrivals::default();
            let item = item(1, is_shared);
            assert_eq!(arrivals.told(REDIS, &item), Told::NothingYet);
            assert_eq!(arrivals.heard(at(1), REDIS, KEY, notice(1, Some(10))), []);
            assert_eq!(arrivals.wait(at(1), REDIS, 5, &item), Some(context(10)));
            let again = arrivals.wait(at(1), REDIS, 6, &item);
            assert_eq!(again, is_shared.then(|| context(10)), "another one that is alike has to wait");
            assert_eq!(arrivals.is_empty(), is_shared);
        }
    }

    #[test]
    fn a_contradiction_between_the_question_and_the_item_leaves_nothing_to_wait_for() {
        let mut arrivals = Arrivals::default();
        arrivals.heard(at(1), REDIS, KEY, notice(1, None));
        assert_eq!(arrivals.wait(at(1), REDIS, 5, &item(1, false)), None);
        assert!(arrivals.is_empty());
    }

    #[test]
    fn two_elements_that_are_alike_have_no_context_and_two_readers_of_one_entry_have_the_same() {
        for is_shared in [false, true] {
            let mut arrivals = Arrivals::default();
            arrivals.wait(at(1), REDIS, 5, &item(1, is_shared));
            arrivals.wait(at(1), REDIS, 6, &item(1, is_shared));
            let settled = arrivals.heard(at(2), REDIS, KEY, notice(1, Some(10)));
            let contexts: Vec<_> = settled.into_iter().map(|settled| settled.context).collect();
            assert_eq!(contexts, vec![is_shared.then(|| context(10)); 2]);
        }
    }

    #[test]
    fn what_an_item_causes_waits_with_it_where_contexts_are_told_and_fixes_its_trace_elsewhere() {
        let mut arrivals = Arrivals::default();
        let held = |command, causes: &[u64]| Held { command, causes: causes.to_vec(), rule: Some("only") };
        arrivals.wait(at(1), REDIS, 5, &item(1, false));
        assert!(arrivals.may_tell(&[5]), "nothing was told at this key so far");
        let settled = arrivals.heard(at(2), REDIS, KEY, notice(1, Some(10)));
        assert!(settled[0].is_used);
        arrivals.wait(at(3), REDIS, 6, &item(2, false));
        assert!(arrivals.may_tell(&[7]) && !arrivals.may_tell(&[7, 6]));
        assert_eq!(arrivals.hold(held(77, &[7, 6])), None);
        assert_eq!(arrivals.hold(held(78, &[7])), Some(held(78, &[7])));
        let settled = arrivals.heard(at(4), REDIS, KEY, notice(2, Some(10)));
        assert_eq!((settled[0].is_used, &settled[0].held), (false, &vec![held(77, &[7, 6])]));
        arrivals.wait(at(5), REDIS, 7, &item(4, false));
        arrivals.hold(held(79, &[7]));
        assert_eq!(arrivals.take_held(at(254)), []);
        assert_eq!(arrivals.take_held(at(255)), [held(79, &[7])], "it waits no longer than others notice");
        assert!(arrivals.may_tell(&[7]));
        let settled = arrivals.heard(at(300), REDIS, KEY, notice(4, Some(10)));
        assert_eq!((settled[0].is_used, settled[0].context.is_some()), (true, true), "it waits itself for longer");
        arrivals.wait(UnixNanos(at(300).0 + TOLD), REDIS, 8, &item(3, false));
        assert!(arrivals.may_tell(&[8]), "nothing was told there for long");
    }

    #[test]
    fn there_is_a_most_of_contexts_and_of_items_that_wait() {
        let mut arrivals = Arrivals::default();
        for id in 1..=MAX_CONTEXTS as u64 + 1 {
            arrivals.heard(at(1), REDIS, KEY, notice(id, Some(10)));
        }
        assert_eq!((arrivals.contexts.len(), arrivals.told(REDIS, &item(1, true))), (MAX_CONTEXTS, Told::NothingYet));
        for id in 0..=MAX_WAITING as u64 {
            arrivals.wait(at(1), REDIS, id, &item(1_000_000 + id, false));
        }
        assert_eq!((arrivals.waiting.len(), arrivals.by_item.len()), (MAX_WAITING, MAX_WAITING));
    }
}
