//! The latest decision about each channel on which services publish in mode `auto`.
//!
//! Sessions look decisions up at every publish, so a look-up waits for nobody. A channel is added by the first publish on it,
//! or before that when a proxy announces a subscriber of it, so that the first publish finds a decision. It is removed when
//! nobody is announced and there has been no publish for a while.
//!
//! What a snapshot has shown holds for two intervals. In between, the reply to each publish with a context reports the
//! number of receivers. If that is not the number that was expected, the decision is void until the receivers have been
//! proven anew.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use redistributed_core::service::{ExpectedReceivers, NotProven, SubscriptionKind};
use tokio::sync::Notify;

use super::decision::{Decision, ProvenReceivers};
use super::news::Withdrawal;
use super::patterns::{PatternEvidence, PatternReceivers};
use super::topic::Topic;

/// The largest number of channels in the cache of one route. On further channels the receivers stay unknown.
pub const MAX_CHANNELS: usize = 4096;

/// The number of channels that are added for their announced subscribers alone. Further ones are added only if their names are
/// like those of channels on which a service has published (see `shape`), as those of replies to single requests are.
pub const MAX_ADOPTED: usize = 256;

/// The number of channels without a publish in the cache, whatever their names.
const MAX_ADOPTED_BY_SHAPE: usize = MAX_CHANNELS / 2;

/// The largest number of shapes that are remembered.
const MAX_SHAPES: usize = 1024;

/// This bit is set in the state of a slot whose receivers are proven.
const PROVEN: u64 = 1 << 63;

/// The number of evidence that rests on subscriptions to patterns. No slot has this index.
const BY_PATTERN: u64 = u32::MAX as u64;

/// The reasons why receivers are unknown, each at the index that stands for it in the state of a slot.
const REASONS: [NotProven; 9] = [
    NotProven::NoEvidence,
    NotProven::Unproxied,
    NotProven::Pattern,
    NotProven::Replicas,
    NotProven::Cluster,
    NotProven::Nobody,
    NotProven::Proving,
    NotProven::Contradicted,
    NotProven::Order,
];

/// The decisions of one route. All times are in nanoseconds of [`crate::clock::now`].
#[derive(Debug)]
pub struct DecisionCache {
    table: RwLock<Table>,
    /// Until when the decisions hold.
    fresh_until: AtomicU64,
    /// Until when it holds that nobody is known to be subscribed to a pattern that may match companion channels.
    unseen_until: AtomicU64,
    /// Notified when Redis should be asked sooner than in the next interval: a channel was added by a publish, or a
    /// decision was voided.
    pub outdated: Notify,
}

#[derive(Debug, Default)]
struct Table {
    channels: HashMap<Box<[u8]>, usize>,
    shard_channels: HashMap<Box<[u8]>, usize>,
    slots: Vec<Slot>,
    /// The indices of slots without a topic.
    free: Vec<usize>,
    /// The shapes of the names of channels on which services have published.
    shapes: HashSet<Box<[u8]>>,
    /// What is known of channels that are not here.
    patterns: PatternEvidence,
}

/// The decision about one channel. A slot is used again for another channel when its channel was removed.
#[derive(Debug, Default)]
struct Slot {
    /// Tells the channel from those that had the slot before.
    generation: u32,
    topic: Option<Topic>,
    /// [`PROVEN`] and the number of receivers, or an index into [`REASONS`].
    state: AtomicU64,
    search_limit: AtomicU64,
    last_publish: AtomicU64,
    /// Whether a proxy has announced a subscriber of the channel.
    adopted: AtomicBool,
    /// Whether the decision was contradicted, or some of the subscribers withdrawn, since the cache was last asked for the
    /// topics to poll.
    invalidated: AtomicBool,
}

/// The number of channels in the cache, by their decision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DecisionCounts {
    /// Channels whose receivers are all known to be behind proxies.
    pub proven: u64,
    /// The other channels, by reason.
    pub unknown: HashMap<NotProven, u64>,
}

impl std::iter::Sum for DecisionCounts {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |mut sum, Self { proven, unknown }| {
            sum.proven += proven;
            unknown.into_iter().for_each(|(reason, count)| *sum.unknown.entry(reason).or_default() += count);
            sum
        })
    }
}

impl Default for DecisionCache {
    fn default() -> Self {
        Self {
            table: RwLock::default(),
            fresh_until: AtomicU64::new(0),
            unseen_until: AtomicU64::new(0),
            outdated: Notify::new(),
        }
    }
}

impl DecisionCache {
    /// The decision about a channel on which a service publishes now.
    ///
    /// # Errors
    /// The reason why the receivers are not known to be behind proxies.
    pub fn receivers(&self, kind: SubscriptionKind, channel: &[u8], now: u64) -> Result<ExpectedReceivers, NotProven> {
        let table = self.read();
        let by_pattern = || {
            let receivers = table.patterns.receivers(channel, now).filter(|_| kind == SubscriptionKind::Channel);
            let known =
                receivers.map(|(count, max_payload)| ExpectedReceivers { count, max_payload, evidence: BY_PATTERN });
            known.ok_or(NotProven::NoEvidence)
        };
        let Some(&index) = table.indices(kind).get(channel) else {
            let receivers = by_pattern();
            // With a new channel for each request the cache is always full. Such publishes need not wait for the lock.
            let full = table.is_full();
            drop(table);
            if !full {
                self.add(Topic::new(kind, channel), now);
            }
            return receivers;
        };
        let slot = table.slots.get(index).ok_or(NotProven::NoEvidence)?;
        slot.last_publish.store(now, Ordering::Relaxed);
        if now > self.fresh_until.load(Ordering::Acquire) {
            // The task that polls stops while no service publishes in this mode.
            self.outdated.notify_one();
            return Err(NotProven::NoEvidence);
        }
        let receivers = match slot.decision() {
            // Redis has not been asked yet.
            Err(NotProven::NoEvidence) if !slot.adopted.load(Ordering::Relaxed) => return by_pattern(),
            decision => decision?,
        };
        let max_payload = usize::try_from(slot.search_limit.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        Ok(ExpectedReceivers { count: receivers, max_payload, evidence: evidence(index, slot.generation) })
    }

    /// Whether nobody is known to be subscribed to a pattern that may match the channels on which proxies tell each other contexts.
    pub fn companions_are_unseen(&self, now: u64) -> bool {
        let is_unseen = now <= self.unseen_until.load(Ordering::Acquire);
        if !is_unseen {
            // The task that polls stops while no service publishes in this mode.
            self.outdated.notify_one();
        }
        is_unseen
    }

    /// Stores until when what a snapshot has shown of that holds. It is 0 if somebody may be subscribed to such a pattern.
    pub fn update_unseen(&self, until: u64) {
        self.unseen_until.store(until, Ordering::Release);
    }

    /// Voids a decision, because Redis has reported another number of receivers. `evidence` identifies it, as in
    /// [`ExpectedReceivers::evidence`].
    pub fn contradict(&self, evidence: u64) {
        let table = self.read();
        if evidence == BY_PATTERN {
            table.patterns.invalidate();
            self.outdated.notify_one();
            return;
        }
        let slot = usize::try_from(evidence & u64::from(u32::MAX)).ok().and_then(|index| table.slots.get(index));
        if let Some(slot) = slot.filter(|slot| u64::from(slot.generation) == evidence >> 32) {
            slot.invalidate(NotProven::Contradicted);
            self.outdated.notify_one();
        }
    }

    /// Voids the decisions that a withdrawal concerns. One of a pattern concerns all of them.
    pub fn withdraw(&self, withdrawal: &Withdrawal) {
        let table = self.read();
        match withdrawal {
            Withdrawal::Topics(topics) if topics.iter().all(|topic| topic.kind != SubscriptionKind::Pattern) => {
                let slots = topics.iter().filter_map(|topic| table.slot(topic));
                slots.for_each(|slot| slot.invalidate(NotProven::Proving));
            }
            _ => {
                table.slots.iter().for_each(|slot| slot.invalidate(NotProven::Proving));
                table.patterns.invalidate();
            }
        }
        self.outdated.notify_one();
    }

    /// Adds channels that proxies announce subscribers of, as far as there is room for channels without a publish.
    pub fn adopt<'a>(&self, announced: impl Iterator<Item = &'a Topic>) {
        let new = self.read().adoptable(announced);
        if new.is_empty() {
            return;
        }
        // Only here do look-ups wait.
        let mut table = self.write();
        for topic in new {
            if table.is_full() {
                return;
            }
            if table.slot(topic).is_none() {
                table.insert(topic.clone(), 0);
            }
        }
    }

    /// Whether a service has published since `since`.
    pub fn has_publishes(&self, since: u64) -> bool {
        let is_recent = |slot: &Slot| slot.topic.is_some() && slot.last_publish.load(Ordering::Relaxed) >= since;
        self.read().slots.iter().any(is_recent)
    }

    /// Whether what is known of subscriptions to patterns was voided since the previous call.
    pub fn take_patterns_invalidated(&self) -> bool {
        self.write().patterns.take_invalidated()
    }

    /// Stores what a snapshot has shown of subscriptions to patterns, and the channels that anybody was subscribed to. It holds
    /// until `fresh_until`.
    pub fn update_patterns(&self, shown: Option<(PatternReceivers, Arc<HashSet<Vec<u8>>>)>, fresh_until: u64) {
        self.write().patterns.update(shown, fresh_until);
    }

    /// The channels to poll Redis about, each with whether it was invalidated since the previous call. Removes the channels
    /// that are not announced, and on which nothing was published since `idle`, or since `gone` if nobody subscribes. An
    /// invalidation after this call is kept by the [`update`](Self::update) that follows.
    pub fn topics_to_poll(&self, idle: u64, gone: u64, is_announced: impl Fn(&Topic) -> bool) -> Vec<(Topic, bool)> {
        let mut table = self.write();
        let Table { channels, shard_channels, slots, free, .. } = &mut *table;
        let mut topics = Vec::with_capacity(slots.len());
        for (index, slot) in slots.iter_mut().enumerate() {
            let invalidated = slot.invalidated.swap(false, Ordering::AcqRel);
            let since = if slot.decision() == Err(NotProven::Nobody) { gone } else { idle };
            if slot.last_publish.load(Ordering::Relaxed) >= since || slot.topic.as_ref().is_some_and(&is_announced) {
                topics.extend(slot.topic.clone().map(|topic| (topic, invalidated)));
            } else if let Some(topic) = slot.topic.take() {
                slot.generation = slot.generation.wrapping_add(1);
                let indices = if topic.kind == SubscriptionKind::Shard { &mut *shard_channels } else { &mut *channels };
                indices.remove(&topic.name);
                free.push(index);
            }
        }
        topics
    }

    /// Stores the decisions from a snapshot, which hold until `fresh_until`. Returns the channels that were invalidated
    /// since [`topics_to_poll`](Self::topics_to_poll), about which the snapshot says nothing.
    pub fn update(&self, decisions: Vec<(Topic, Decision)>, fresh_until: u64) -> Vec<Topic> {
        // No invalidation can come in between, because it takes the read side of this lock.
        let table = self.write();
        let mut invalidated = Vec::new();
        for (topic, decision) in decisions {
            let Some(slot) = table.slot(&topic) else { continue };
            if slot.invalidated.load(Ordering::Acquire) {
                invalidated.push(topic);
                continue;
            }
            let state = match decision {
                Ok(ProvenReceivers { count, search_limit, .. }) => {
                    slot.search_limit.store(search_limit, Ordering::Relaxed);
                    PROVEN | u64::from(count)
                }
                Err(reason) => reason_index(reason),
            };
            slot.state.store(state, Ordering::Release);
        }
        self.fresh_until.store(fresh_until, Ordering::Release);
        invalidated
    }

    /// Voids all decisions, because they may be about another server or can no longer be kept up to date.
    pub fn clear(&self) {
        self.fresh_until.store(0, Ordering::Release);
        self.update_unseen(0);
        self.write().patterns.update(None, 0);
        for slot in &self.read().slots {
            slot.state.store(reason_index(NotProven::NoEvidence), Ordering::Release);
        }
    }

    /// Counts the channels by their decision.
    pub fn counts(&self, now: u64) -> DecisionCounts {
        let is_fresh = now <= self.fresh_until.load(Ordering::Acquire);
        let mut counts = DecisionCounts::default();
        for slot in self.read().slots.iter().filter(|slot| slot.topic.is_some()) {
            match if is_fresh { slot.decision() } else { Err(NotProven::NoEvidence) } {
                Ok(_) => counts.proven += 1,
                Err(reason) => *counts.unknown.entry(reason).or_default() += 1,
            }
        }
        counts
    }

    fn add(&self, topic: Topic, now: u64) {
        let mut table = self.write();
        if table.shapes.len() < MAX_SHAPES {
            table.shapes.insert(shape(&topic.name));
        }
        if !table.is_full() {
            table.insert(topic, now);
            drop(table);
            self.outdated.notify_one();
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Table> {
        // A panic leaves no change half done.
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Marks those of the announced channels that are here, and returns those that are to be added.
    fn adoptable<'a>(&self, announced: impl Iterator<Item = &'a Topic>) -> Vec<&'a Topic> {
        let is_adopted = |slot: &&Slot| slot.topic.is_some() && slot.last_publish.load(Ordering::Relaxed) == 0;
        let mut adopted = self.slots.iter().filter(is_adopted).count();
        let mut new = Vec::new();
        for topic in announced {
            if let Some(slot) = self.slot(topic) {
                slot.adopted.store(true, Ordering::Relaxed);
            }
            if adopted >= MAX_ADOPTED_BY_SHAPE || self.is_full() {
                break;
            }
            if self.slot(topic).is_none() && (adopted < MAX_ADOPTED || self.shapes.contains(&shape(&topic.name))) {
                new.push(topic);
                adopted += 1;
            }
        }
        new
    }

    fn is_full(&self) -> bool {
        self.channels.len() + self.shard_channels.len() >= MAX_CHANNELS
    }

    fn indices(&self, kind: SubscriptionKind) -> &HashMap<Box<[u8]>, usize> {
        if kind == SubscriptionKind::Shard { &self.shard_channels } else { &self.channels }
    }

    fn slot(&self, topic: &Topic) -> Option<&Slot> {
        self.slots.get(*self.indices(topic.kind).get(&topic.name)?)
    }

    /// Adds a topic that there is room for, unless it is there.
    fn insert(&mut self, topic: Topic, last_publish: u64) {
        let Self { channels, shard_channels, slots, free, .. } = self;
        let indices = if topic.kind == SubscriptionKind::Shard { shard_channels } else { channels };
        let Entry::Vacant(entry) = indices.entry(topic.name.clone()) else { return };
        let index = free.pop().unwrap_or_else(|| {
            slots.push(Slot::default());
            slots.len() - 1
        });
        entry.insert(index);
        if let Some(slot) = slots.get_mut(index) {
            slot.topic = Some(topic);
            slot.state.store(reason_index(NotProven::NoEvidence), Ordering::Release);
            slot.last_publish.store(last_publish, Ordering::Relaxed);
            slot.adopted.store(last_publish == 0, Ordering::Relaxed);
        }
    }
}

/// The name of a channel in which each word with a digit in it is replaced, so that channels which differ in an id have the
/// same shape. A word ends at any byte that is neither a letter nor a digit nor beyond ASCII. Groups of four, eight or twelve
/// hexadecimal digits count as well, because some groups of a UUID have no digit.
fn shape(name: &[u8]) -> Box<[u8]> {
    let is_of_word = |byte: &u8| byte.is_ascii_alphanumeric() || !byte.is_ascii();
    let is_id = |word: &[u8]| {
        word.iter().any(u8::is_ascii_digit)
            || [4, 8, 12].contains(&word.len()) && word.iter().all(u8::is_ascii_hexdigit)
    };
    let mut shape = Vec::with_capacity(name.len());
    for part in name.chunk_by(|one, next| is_of_word(one) == is_of_word(next)) {
        shape.extend_from_slice(if is_id(part) { b"#" } else { part });
    }
    shape.into()
}

impl Slot {
    /// The number of receivers, if they are proven.
    fn decision(&self) -> Result<u32, NotProven> {
        let state = self.state.load(Ordering::Acquire);
        if state & PROVEN != 0 {
            // The number was stored as 32 bits.
            return Ok(state as u32);
        }
        let reason = usize::try_from(state).ok().and_then(|index| REASONS.get(index));
        Err(reason.copied().unwrap_or(NotProven::NoEvidence))
    }

    fn invalidate(&self, reason: NotProven) {
        self.invalidated.store(true, Ordering::Release);
        self.state.store(reason_index(reason), Ordering::Release);
    }
}

/// Identifies the decision about the channel that has a slot now. There are at most [`MAX_CHANNELS`] slots.
fn evidence(index: usize, generation: u32) -> u64 {
    u64::from(generation) << 32 | index as u64
}

fn reason_index(reason: NotProven) -> u64 {
    REASONS.iter().position(|other| *other == reason).unwrap_or_default() as u64
}

#[cfg(test)]
mod tests;
