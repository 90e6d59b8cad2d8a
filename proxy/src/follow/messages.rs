//! Messages that carry no context, and the contexts that other proxies tell of them: which is whose.
//!
//! Both ends name a message by its bytes, and the same bytes may be published again, by somebody without a proxy too. So no match
//! is made at once. What has one name is put into one window until nothing more comes for a moment. Only if there is one context
//! by then, and each subscription has got one message, that message is the one that was told. Otherwise nobody can tell which is
//! whose, and for a while nothing is matched by that name.
//!
//! Redis sends a message before it answers the publish, and so before the context is told. What could still come of the same name has
//! therefore reached this machine in that moment, and is read before anything is decided: [`Lateness`] knows of connections
//! that lag behind, and whoever asks for what is decided has let every thread have its turn.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use redistributed_core::carrier::out_of_band::Notice;
use redistributed_core::trace::{Context, TraceId, UnixNanos};

use super::lateness::Lateness;

const MILLISECOND: u64 = 1_000_000;

/// For how long nothing more may come before a window is decided, in nanoseconds.
const QUIET: u64 = 50 * MILLISECOND;

/// The same for payloads that hold an id.
const QUIET_WITH_ID: u64 = 10 * MILLISECOND;

/// How long a message waits for its context, or a context for its message, in nanoseconds.
pub(super) const PATIENCE: u64 = 250 * MILLISECOND;

/// How long nothing is matched by a name after something was not matched, in nanoseconds.
const DOUBT: u64 = 10_000 * MILLISECOND;

/// The most windows. With more, the oldest is decided as if nothing had been told.
const MAX_WINDOWS: usize = 16_384;

/// The most names that are doubted. The oldest makes room.
const MAX_DOUBTED: usize = 65_536;

/// How long a context counts as likely to come, in nanoseconds, after one was told at the same Redis.
const TOLD: u64 = 60_000 * MILLISECOND;

/// After so many messages in vain, nobody seems to tell anything, and messages are not named before somebody does.
const MOST_IN_VAIN: u64 = 10_000;

/// The most messages and contexts of one window. With more, nothing of it is matched.
const MAX_OF_WINDOW: usize = 4096;

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
    doubted: HashMap<Key, UnixNanos>,
    doubted_by_age: VecDeque<(UnixNanos, Key)>,
    has_begun: bool,
    /// Until when every name is doubted.
    all_doubted_until: UnixNanos,
    /// When something was told last at each Redis.
    told: HashMap<u64, UnixNanos>,
    /// How many messages have waited in vain since something was told.
    in_vain: u64,
}

#[derive(Debug)]
struct Window {
    last: UnixNanos,
    contexts: Vec<Context>,
    messages: HashMap<Subscription, (u64, Arc<Lateness>)>,
    /// Further messages of a subscription that has got one.
    others: Vec<u64>,
    holds_id: bool,
    /// Whether nothing of it can be matched.
    is_in_doubt: bool,
}

/// A message that is delivered.
#[derive(Clone, Debug)]
pub(super) struct Message {
    /// The id of its span.
    pub(super) delivery: u64,
    pub(super) subscription: Subscription,
    pub(super) holds_id: bool,
    /// How far its connection lags behind.
    pub(super) lateness: Arc<Lateness>,
}

/// A message that waits no longer, with its context if it is certain.
pub(super) type Decided = (u64, Option<Context>);

impl Messages {
    /// A message is delivered that has this name. Returns whether its context may come.
    pub(super) fn delivered(&mut self, now: UnixNanos, redis: u64, name: TraceId, message: Message) -> bool {
        let key = (redis, name);
        if !message.holds_id && message.lateness.is_late(now) {
            if let Some(window) = self.windows.get_mut(&key) {
                window.is_in_doubt = true;
            }
            self.doubt(now, key);
            return false;
        }
        if self.is_doubted(now, key) {
            self.doubt(now, key);
            return false;
        }
        let window = self.window(now, key, message.holds_id);
        let message = (message.subscription, (message.delivery, message.lateness));
        if let Some((other, _)) = window.messages.insert(message.0, message.1) {
            window.others.push(other);
            window.is_in_doubt = true;
        }
        true
    }

    /// Takes what was told.
    pub(super) fn heard(&mut self, now: UnixNanos, redis: u64, notices: Vec<Notice>) {
        if !self.are_awaited() {
            // Messages that came just before were not counted.
            self.begin(now);
        }
        self.in_vain = 0;
        self.told.insert(redis, now);
        for Notice { name, context, .. } in notices {
            let key = (redis, name);
            let Some(context) = context else { continue };
            if self.is_doubted(now, key) {
                self.doubt(now, key);
                continue;
            }
            let window = self.window(now, key, false);
            // It is told once for each of the service's subscriptions that match.
            if !window.contexts.contains(&context) {
                window.contexts.push(context);
                window.is_in_doubt |= window.contexts.len() > 1;
            }
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
        self.windows.values_mut().for_each(|window| window.is_in_doubt = true);
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
            self.give_up(now, key, &mut decided);
        }
        self.forget_doubts(now);
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
        let quiet = if window.holds_id { QUIET_WITH_ID } else { QUIET };
        let since = now.0.saturating_sub(window.last.0);
        let is_whole = since >= quiet && window.is_matched() && window.is_read();
        if is_whole || window.is_in_doubt || since >= PATIENCE {
            return self.decide(now, key, decided);
        }
        if is_soon {
            return;
        }
        self.due.push_back((after(now, QUIET), key));
    }

    fn decide(&mut self, now: UnixNanos, key: Key, decided: &mut Vec<Decided>) {
        let Some(window) = self.windows.remove(&key) else { return };
        let context = if window.is_matched() && window.is_read() { window.contexts.first() } else { None };
        // A payload that holds an id is not published again as long as nobody has seen that it was.
        if window.contexts.is_empty() {
            self.in_vain += 1;
        }
        if context.is_none() && (window.is_in_doubt || !window.holds_id) {
            self.doubt(now, key);
        }
        let messages = window.messages.values().map(|(delivery, _)| delivery).chain(&window.others);
        decided.extend(messages.map(|delivery| (*delivery, context.cloned())));
    }

    fn give_up(&mut self, now: UnixNanos, key: Key, decided: &mut Vec<Decided>) {
        if let Some(window) = self.windows.get_mut(&key) {
            window.is_in_doubt = true;
            self.decide(now, key, decided);
        }
    }

    /// The window of this name, to which something comes now.
    fn window(&mut self, now: UnixNanos, key: Key, holds_id: bool) -> &mut Window {
        let is_new = !self.windows.contains_key(&key);
        if is_new {
            self.due.push_back((after(now, QUIET), key));
        }
        let window = self.windows.entry(key).or_insert_with(|| Window {
            last: now,
            contexts: Vec::new(),
            messages: HashMap::new(),
            others: Vec::new(),
            holds_id: false,
            is_in_doubt: false,
        });
        window.last = now;
        window.holds_id |= holds_id;
        window.is_in_doubt |= window.messages.len() >= MAX_OF_WINDOW;
        if window.holds_id {
            self.due_soon.push_back((after(now, QUIET_WITH_ID), key));
        }
        window
    }

    fn is_doubted(&self, now: UnixNanos, key: Key) -> bool {
        now < self.all_doubted_until || self.doubted.get(&key).is_some_and(|until| now < *until)
    }

    fn doubt(&mut self, now: UnixNanos, key: Key) {
        let until = after(now, DOUBT);
        if self.doubted.insert(key, until).is_some() {
            return;
        }
        self.doubted_by_age.push_back((until, key));
        if self.doubted_by_age.len() > MAX_DOUBTED
            && let Some((_, oldest)) = self.doubted_by_age.pop_front()
        {
            self.doubted.remove(&oldest);
        }
    }

    fn forget_doubts(&mut self, now: UnixNanos) {
        while let Some((_, key)) = self.doubted_by_age.front().copied().filter(|(until, _)| *until <= now) {
            self.doubted_by_age.pop_front();
            match self.doubted.get(&key) {
                // There was further reason for it.
                Some(until) if *until > now => self.doubted_by_age.push_back((*until, key)),
                _ => drop(self.doubted.remove(&key)),
            }
        }
    }
}

fn after(now: UnixNanos, nanos: u64) -> UnixNanos {
    UnixNanos(now.0.saturating_add(nanos))
}

impl Window {
    /// Whether there is one context, and one message of each subscription that has got any.
    fn is_matched(&self) -> bool {
        !self.is_in_doubt && self.contexts.len() == 1 && !self.messages.is_empty()
    }

    /// Whether all that had come when the last message or context came has been read.
    fn is_read(&self) -> bool {
        self.messages.values().all(|(_, lateness)| lateness.has_been_read_since(self.last))
    }
}

#[cfg(test)]
mod tests;
