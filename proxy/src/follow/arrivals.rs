//! The contexts of items that other proxies tell, and the items that wait for one.
//!
//! A context may come before its item or behind it. An item that is handed over before waits for a moment, and with it what it causes: when
//! the context comes, the span of the item moves to its trace.

use std::collections::{HashMap, VecDeque};

use redistributed_core::carrier::out_of_band::{About, Notice, Turn};
use redistributed_core::service::{NamedItem, Told};
use redistributed_core::trace::{Companion, Context, SpanContext, SpanId, TraceId, UnixNanos};

use super::ids::{Ids, Item, Outcome};

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

/// What is known of contexts out of band, in one service.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    /// `None` if an item was told more than once, with different contexts.
    contexts: HashMap<Item, Option<Context>>,
    contexts_by_age: VecDeque<(UnixNanos, Item)>,
    /// The elements that are nothing but an id.
    ids: Ids,
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
    own: Option<Own>,
    is_shared: bool,
    /// Whether it is nothing but an id.
    is_id: bool,
    /// Whether what it causes may still wait with it.
    is_young: bool,
    /// Whether its context is likely to come, so that what the delivery causes waits as well.
    is_likely: bool,
    /// Whether something was told the context that the delivery has for now.
    is_used: bool,
    held: Vec<Held>,
}

/// The span of a delivery that waits, whether or not its [context is kept](super::contexts): many may come meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Own {
    pub(super) span: SpanContext,
    /// Whether it is nobody's unless a context comes, so that nothing that the delivery causes was told it.
    pub(super) is_nobodys: bool,
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
    /// The context that follows from what names a message of which nothing was told, if something does.
    pub(super) derived: Option<SpanContext>,
    /// Its own span, if it has one.
    pub(super) own: Option<Own>,
    /// Whether the span of the delivery has to stay in its trace, because something was told that.
    pub(super) is_used: bool,
    /// The commands that have waited for it.
    pub(super) held: Vec<Held>,
}

impl Arrivals {
    /// What was told of an item that is about to be handed over.
    pub(super) fn told(&mut self, now: UnixNanos, redis: u64, item: &NamedItem) -> Told {
        let key = (redis, item.name);
        if item.is_id {
            return self.ids.takes(now, key);
        }
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
    pub(super) fn wait(
        &mut self,
        now: UnixNanos,
        redis: u64,
        delivery: u64,
        own: Option<Own>,
        item: &NamedItem,
    ) -> Option<Context> {
        let key = (redis, item.name);
        let told = if item.is_id { self.ids.waits(key) } else { self.told(now, redis, item) };
        match told {
            Told::Context(context) => return Some(context),
            Told::NothingYet if self.waiting.len() < MAX_WAITING => {}
            Told::NothingYet | Told::Nothing => {
                self.ids.waits_no_longer(key);
                return None;
            }
        }
        let last = self.told.get(&(redis, item.companion));
        let is_likely = last.is_some_and(|last| now.0.saturating_sub(last.0) < TOLD);
        let waiting =
            Waiting { item: Some(key), is_shared: item.is_shared, is_id: item.is_id, ..Waiting::new(own, is_likely) };
        self.add(now, delivery, waiting);
        self.by_item.entry(key).or_default().push(delivery);
        None
    }

    /// A message is delivered whose context may come.
    pub(super) fn wait_for_message(&mut self, now: UnixNanos, delivery: u64, own: Option<Own>, is_likely: bool) {
        if self.waiting.len() < MAX_WAITING {
            self.add(now, delivery, Waiting::new(own, is_likely));
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
        let has_additions = notices.iter().any(|notice| notice.about != About::Id(Turn::Taken));
        if has_additions && self.told.len() < MAX_KEYS {
            self.told.insert((redis, companion), now);
        }
        let mut settled = Vec::new();
        for Notice { name, context, about } in notices {
            let item = (redis, name);
            if let (About::Id(turn), Some(context)) = (about, &context) {
                settled.extend(self.heard_of_id(now, item, turn, context));
                continue;
            }
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

    fn heard_of_id(&mut self, now: UnixNanos, item: Item, turn: Turn, context: &Context) -> Vec<Settled> {
        let deliveries = self.by_item.get(&item).cloned().unwrap_or_default();
        let context = match self.ids.heard(now, item, turn, context.clone(), !deliveries.is_empty()) {
            Outcome::Found(context) => Some(context).filter(|_| deliveries.len() == 1),
            Outcome::Unclear => None,
            Outcome::Kept => return Vec::new(),
        };
        deliveries.into_iter().filter_map(|delivery| self.settle(delivery, context.clone())).collect()
    }

    /// The service adds an id by the span with this id. Returns whether the addition before, if there was one, was taken for
    /// certain.
    pub(super) fn adds_id(&mut self, now: UnixNanos, redis: u64, name: TraceId, by: SpanId) -> bool {
        self.ids.adds(now, (redis, name), by)
    }

    /// An id was not added after all.
    pub(super) fn id_not_added(&mut self, redis: u64, name: TraceId) {
        self.ids.not_added((redis, name));
    }

    /// Some of what has happened to ids at this Redis was not told, or was not heard; or at any Redis if none is named.
    pub(super) fn missed(&mut self, now: UnixNanos, redis: Option<u64>) {
        self.ids.missed(now, redis);
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
        Some(Settled { delivery, context, derived: None, own, is_used, held })
    }

    /// The commands that have waited for long enough. The traces of their causes stay as they are.
    pub(super) fn take_held(&mut self, now: UnixNanos) -> Vec<Held> {
        let mut due = Vec::new();
        while let Some((_, delivery)) = take_old(&mut self.young, now, PATIENCE) {
            let Some(waiting) = self.waiting.get_mut(&delivery) else { continue };
            (waiting.is_young, waiting.is_likely) = (false, false);
            waiting.is_used |= !waiting.held.is_empty();
            due.append(&mut waiting.held);
            // What comes later may be of a further addition.
            if waiting.is_id {
                waiting.item.into_iter().for_each(|item| self.ids.waits_no_longer(item));
                self.settle(delivery, None);
            }
        }
        due
    }

    /// The deliveries that have waited for long enough. What was told of items that have not come for long is forgotten.
    pub(super) fn take_due(&mut self, now: UnixNanos) -> Vec<Settled> {
        while let Some((_, item)) = take_old(&mut self.contexts_by_age, now, KEPT) {
            self.contexts.remove(&item);
        }
        self.ids.forget_old(now);
        let mut due = Vec::new();
        while let Some((_, delivery)) = take_old(&mut self.waiting_by_age, now, LONGEST) {
            due.extend(self.settle(delivery, None));
        }
        due
    }

    /// Whether the span of a delivery has to wait for its context: as long as what it causes may wait with it, and that of a
    /// message until it is decided whose it is.
    pub(super) fn has_to_wait(&self, delivery: u64) -> bool {
        self.waiting.get(&delivery).is_some_and(|waiting| waiting.is_young || waiting.item.is_none())
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl Waiting {
    fn new(own: Option<Own>, is_likely: bool) -> Self {
        let (item, held) = (None, Vec::new());
        Self { item, own, is_shared: false, is_id: false, is_young: true, is_likely, is_used: false, held }
    }
}

/// Takes the oldest of these, if it came as long ago as the limit says.
fn take_old<T: Copy>(by_age: &mut VecDeque<(UnixNanos, T)>, now: UnixNanos, limit: u64) -> Option<(UnixNanos, T)> {
    let (since, _) = by_age.front()?;
    if now.0.saturating_sub(since.0) >= limit { by_age.pop_front() } else { None }
}

#[cfg(test)]
mod tests;
