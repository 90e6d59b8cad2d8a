//! Messages that carry no context, and the contexts that other proxies tell of them: which is whose.
//!
//! Both ends name a message by its bytes, and the same bytes may be published again, by somebody without a proxy too. So no match
//! is made at once. What has one name is put into one [window](window) until nothing more comes for a moment. Only if all contexts
//! by then come from one connection, and each subscription has got as many messages, these are the messages that were told, in
//! their order. Otherwise nobody can tell which is whose, and for a while nothing is matched by that name.
//!
//! Redis sends a message before it answers the publish, and so before the context is told. What could still come of the same name has
//! therefore reached this machine in that moment, and is read before anything is decided: [`Lateness`] knows of connections
//! that lag behind, and whoever asks for what is decided has let every thread have its turn.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use redistributed_core::carrier::out_of_band::{About, Notice};
use redistributed_core::trace::{Context, PublishNumber, SpanContext, TraceId, UnixNanos};

use super::lateness::Lateness;
use recent::Recent;
use window::Window;

mod recent;
mod window;

const MILLISECOND: u64 = 1_000_000;

/// For how long nothing more may come before a window is decided, in nanoseconds.
const QUIET: u64 = 50 * MILLISECOND;

/// The same for payloads that hold an id and have come once.
const QUIET_WITH_ID: u64 = 10 * MILLISECOND;

/// How long a message waits for its context, or a context for its message, in nanoseconds.
pub(super) const PATIENCE: u64 = 250 * MILLISECOND;

/// The most windows. With more, the oldest is decided as if nothing had been told.
const MAX_WINDOWS: usize = 16_384;

/// How long a context counts as likely to come, in nanoseconds, after one was told at the same Redis.
const TOLD: u64 = 60_000 * MILLISECOND;

/// After so many messages in vain, nobody seems to tell anything, and messages are not named before somebody does.
const MOST_IN_VAIN: u64 = 10_000;

/// A name at the Redis with this number.
type Key = (u64, TraceId);

/// A subscription of a connection, by the number of the connection and a hash of the pattern.
type Subscription = (u32, u64);

/// The windows that are not decided, of one service.
#[derive(Debug, Default)]
pub(super) struct Messages {
    windows: HashMap<Key, Window>,
    /// When each window has to be looked at next. A window that got more meanwhile is looked at again.
    due: VecDeque<(UnixNanos, Key)>,
    /// Those that are due sooner, because their payloads hold an id.
    due_soon: VecDeque<(UnixNanos, Key)>,
    /// The names by which nothing is matched for a while after something was not matched.
    doubted: Recent<Key>,
    /// The publishes whose messages were found, so that a context that is told again later is of no other message.
    found: Recent<(u64, PublishNumber)>,
    has_begun: bool,
    /// Until when every name is doubted.
    all_doubted_until: UnixNanos,
    /// When something was told last at each Redis.
    told: HashMap<u64, UnixNanos>,
    /// How many messages have waited in vain since something was told.
    in_vain: u64,
}

/// A message that is delivered.
#[derive(Clone, Debug)]
pub(super) struct Message {
    /// The id of its span.
    pub(super) delivery: u64,
    pub(super) subscription: Subscription,
    pub(super) holds_id: bool,
    /// The context that follows from what names it, if its span has a link to that where nothing is told.
    pub(super) derived: Option<SpanContext>,
    /// How far its connection lags behind.
    pub(super) lateness: Arc<Lateness>,
}

/// A message that waits no longer, by the id of its span.
pub(super) type Decided = (u64, Found);

/// What is known of the publish that a message comes from.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Found {
    /// Its context.
    Context(Context),
    /// That it has this context or a link to it, which follows from what names the message.
    Derived(SpanContext),
    /// Nothing.
    Nothing,
}

impl Messages {
    /// A message is delivered that has this name. Returns whether its context may come.
    pub(super) fn delivered(&mut self, now: UnixNanos, redis: u64, name: TraceId, message: Message) -> bool {
        let key = (redis, name);
        let is_late = message.lateness.is_late(now);
        if is_late
            && !message.holds_id
            && let Some(window) = self.windows.get_mut(&key)
        {
            window.put_in_doubt();
        }
        if is_late && !message.holds_id || self.is_doubted(now, key) {
            self.doubted.keep(now, key);
            return false;
        }
        self.window(now, key, message.holds_id).add_message(message, is_late);
        true
    }

    /// Whether a message of this name that is delivered now is the first of its moment.
    pub(super) fn is_first(&self, redis: u64, name: TraceId) -> bool {
        self.windows.get(&(redis, name)).is_none_or(|window| !window.has_messages())
    }

    /// Takes what was told.
    pub(super) fn heard(&mut self, now: UnixNanos, redis: u64, notices: Vec<Notice>) {
        if !self.are_awaited() {
            // Messages that came just before were not counted.
            self.begin(now);
        }
        self.in_vain = 0;
        self.told.insert(redis, now);
        for Notice { name, context, about } in notices {
            let key = (redis, name);
            let (Some(context), About::Message(publish)) = (context, about) else { continue };
            if self.found.is_kept(now, &(redis, publish)) {
                continue;
            }
            if self.is_doubted(now, key) {
                self.doubted.keep(now, key);
                continue;
            }
            self.window(now, key, false).add_context(publish, context);
        }
    }

    /// Whether a context is likely to come, so that what a message causes waits with it.
    pub(super) fn is_likely(&self, now: UnixNanos, redis: u64) -> bool {
        self.told.get(&redis).is_some_and(|last| now.0.saturating_sub(last.0) < TOLD)
    }

    /// Whether messages are worth to be named, because somebody may tell their contexts.
    pub(super) fn are_awaited(&self) -> bool {
        self.in_vain < MOST_IN_VAIN
    }

    /// Messages and contexts are told from now on. If they were before, with a gap, those on both sides of it are not matched.
    pub(super) fn begin(&mut self, now: UnixNanos) {
        if !std::mem::replace(&mut self.has_begun, true) {
            return;
        }
        self.all_doubted_until = after(now, 2 * PATIENCE);
        self.interrupt();
    }

    /// Messages and contexts are not told any more for a while, so that of what waits some may be missing.
    pub(super) fn interrupt(&mut self) {
        self.windows.values_mut().for_each(Window::put_in_doubt);
    }

    /// The messages of the windows to which nothing more has come for long enough. Every thread that carries connections has to have had
    /// its turn since `now`.
    pub(super) fn take_decided(&mut self, now: UnixNanos) -> Vec<Decided> {
        let mut decided = Vec::new();
        for is_soon in [true, false] {
            while let Some(key) = self.next_due(now, is_soon) {
                self.look_at(now, key, is_soon, &mut decided);
            }
        }
        while self.windows.len() > MAX_WINDOWS
            && let Some((_, key)) = self.due.pop_front()
        {
            self.windows.get_mut(&key).into_iter().for_each(Window::put_in_doubt);
            self.decide(now, key, false, &mut decided);
        }
        self.doubted.forget_old(now);
        self.found.forget_old(now);
        decided
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }

    fn next_due(&mut self, now: UnixNanos, is_soon: bool) -> Option<Key> {
        let due = if is_soon { &mut self.due_soon } else { &mut self.due };
        let (at, key) = due.front().copied()?;
        (at <= now).then(|| {
            due.pop_front();
            key
        })
    }

    fn look_at(&mut self, now: UnixNanos, key: Key, is_soon: bool, decided: &mut Vec<Decided>) {
        let Some(window) = self.windows.get(&key) else { return };
        let is_certain = window.is_certain(now);
        if is_certain || window.is_over(now) {
            return self.decide(now, key, is_certain, decided);
        }
        if !is_soon {
            // When it is over, others wait with it no longer.
            let over = window.patience_ends();
            let next = if over > now { over.min(after(now, QUIET)) } else { after(now, QUIET) };
            self.due.push_back((next, key));
        }
    }

    fn decide(&mut self, now: UnixNanos, key: Key, is_certain: bool, decided: &mut Vec<Decided>) {
        let Some(window) = self.windows.remove(&key) else { return };
        if !window.has_contexts() {
            self.in_vain += 1;
        }
        if is_certain {
            window.publishes().for_each(|publish| self.found.keep(now, (key.0, publish)));
        } else if !window.relies_on_id() {
            // A payload that holds an id is not published again as long as nobody has seen that it was.
            self.doubted.keep(now, key);
        }
        decided.extend(window.decide(is_certain));
    }

    /// The window of this name, to which something comes now.
    fn window(&mut self, now: UnixNanos, key: Key, holds_id: bool) -> &mut Window {
        let is_new = !self.windows.contains_key(&key);
        if is_new {
            self.due.push_back((after(now, QUIET), key));
        }
        let window = self.windows.entry(key).or_insert_with(|| Window::new(now));
        window.touch(now, holds_id);
        if window.relies_on_id() {
            self.due_soon.push_back((after(now, QUIET_WITH_ID), key));
        }
        window
    }

    fn is_doubted(&self, now: UnixNanos, key: Key) -> bool {
        now < self.all_doubted_until
            || self.doubted.is_kept(now, &key)
            || self.windows.get(&key).is_some_and(Window::is_in_doubt)
    }
}

fn after(now: UnixNanos, nanos: u64) -> UnixNanos {
    UnixNanos(now.0.saturating_add(nanos))
}

#[cfg(test)]
mod tests;
