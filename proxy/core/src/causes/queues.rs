//! What the service takes out of queues: items of lists, sorted sets and streams, as work to do.
//!
//! An item is a candidate like a message. Whether a command takes work or looks something up is told by the command, if it
//! waits, and otherwise by what is known of its key.

use core::num::NonZeroU32;

use super::Causes;
use super::candidates::{Kind, Ticket};
use super::hash::HashKey;
use super::outbound::Connection;
use super::slots::{Slot, SlotSet};
use super::table::{Table, id};
use super::tokens::Tokens;
use crate::trace::UnixNanos;

/// The most tokens of an item, and of a key.
const MAX_TOKENS: usize = 48;
const MAX_KEY_TOKENS: usize = 8;

/// How much a read of a key counts that comes while no request and no message is in work. One that comes while somebody is in work
/// takes one off. From the limit on the service reads it by itself, and there is a most so that this is forgotten again.
const BY_ITSELF: u8 = 4;
const READS_BY_ITSELF: u8 = 32;
const MOST_BY_ITSELF: u8 = 64;

id! {
    /// A key from which work is taken, or may be.
    Place < 256
}

/// A command that takes items out of a list, a sorted set or a stream.
#[derive(Clone, Copy, Debug)]
pub struct QueueRead<'a> {
    /// The first key that it names.
    pub key: &'a [u8],
    /// Whether it takes work for certain, because it waits for it or because nobody else gets the same.
    pub takes_work: bool,
}

/// What a command is that takes items out of a list, a sorted set or a stream.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Taking {
    /// It takes work. Its items are reported by [`Causes::item`].
    Work,
    /// It waits for the answer to what this one has asked: its key names an id that only this one has. The reply belongs to the
    /// ticket.
    Answer(Ticket),
    /// It may be anything, and is to be reported as a command.
    Unknown,
}

/// An item that was handed over.
#[derive(Clone, Copy, Debug)]
pub struct QueueItem<'a> {
    /// The caller's id of the item, which answers will name.
    pub id: u64,
    /// The trace that the item belongs to, as any number that is the same for all of the trace.
    pub trace: Option<u64>,
    /// The key that it was taken from.
    pub key: &'a [u8],
    /// The id of an entry of a stream. It is empty for others.
    pub entry: &'a [u8],
}

/// The keys that were read, as hashes.
pub(super) struct Queues {
    known: Table<Place, Known>,
}

#[derive(Clone, Copy, Default)]
struct Known {
    hash: u64,
    last_seen: u64,
    /// Whether the service has waited for work from this key.
    has_waited: bool,
    by_itself: u8,
}

impl Known {
    fn is_queue(&self) -> bool {
        self.has_waited || self.by_itself >= READS_BY_ITSELF
    }
}

impl Queues {
    pub(super) fn new() -> Self {
        Self { known: Table::new(Known::default()) }
    }

    pub(super) fn memory(&self) -> usize {
        self.known.memory()
    }

    /// What is known of a key. The one that was not read for longest makes room for it.
    fn of(&mut self, hash: u64, now: u64) -> Option<&mut Known> {
        let found = self.known.ids().find(|place| self.known[*place].hash == hash);
        let place = match found {
            Some(place) => place,
            None => {
                let oldest = self.known.ids().min_by_key(|place| self.known[*place].last_seen)?;
                self.known[oldest] = Known { hash, ..Known::default() };
                oldest
            }
        };
        let known = &mut self.known[place];
        known.last_seen = now;
        Some(known)
    }

    fn is_queue(&self, hash: u64) -> bool {
        self.known.iter().any(|known| known.hash == hash && known.is_queue())
    }
}

impl Causes {
    /// The service sends a command that takes items out of a list, a sorted set or a stream.
    pub fn takes(&mut self, now: UnixNanos, connection: &mut Connection, read: &QueueRead<'_>) -> Taking {
        self.age(now.0 / 1000);
        let hash = hash_of(self.key, read.key);
        if !self.queues.is_queue(hash)
            && let Some(asking) = self.asking(read.key)
        {
            return if read.takes_work { Taking::Answer(self.ticket(asking)) } else { Taking::Unknown };
        }
        let is_by_itself = self.is_blind().is_none() && self.in_work().minus(&self.items).is_empty();
        let now = self.now;
        let Some(known) = self.queues.of(hash, now) else { return Taking::Unknown };
        known.by_itself = match known.by_itself {
            often if is_by_itself => often.saturating_add(BY_ITSELF).min(MOST_BY_ITSELF),
            often => often.saturating_sub(1),
        };
        known.has_waited |= read.takes_work;
        if !known.is_queue() {
            return Taking::Unknown;
        }
        connection.item = None;
        if let Some(last) = connection.read.take() {
            self.reads_again(last);
        }
        Taking::Work
    }

    /// An item was handed over by a command that takes work. This has to be said before the service gets it. The values are those of
    /// the entry's fields, or the item.
    pub fn item<'v>(
        &mut self,
        now: UnixNanos,
        connection: &mut Connection,
        item: &QueueItem<'_>,
        values: impl IntoIterator<Item = &'v [u8]>,
    ) {
        self.age(now.0 / 1000);
        let now = self.now;
        // Of several keys that the command names, this one has work.
        self.queues.of(hash_of(self.key, item.key), now);
        let class = self.class(b"\0item", item.key);
        let slot = self.arrive(Kind::Message, item.id, class, item.trace);
        self.items.insert(slot);
        let is_only_one = connection.read.is_none();
        let read = *connection.read.get_or_insert_with(|| {
            self.reads = self.reads.wrapping_add(1);
            NonZeroU32::new(self.reads).unwrap_or(NonZeroU32::MIN)
        });
        self.candidates[slot].read = Some(read);
        let mut tokens = Tokens::<MAX_TOKENS>::new();
        tokens.add(self.key, 0, item.entry);
        for value in values {
            tokens.add(self.key, 0, value);
        }
        let mut key = Tokens::<MAX_KEY_TOKENS>::new();
        key.add(self.key, 0, item.key);
        tokens.as_slice().iter().chain(key.as_slice()).for_each(|token| self.own(slot, token.hash));
        // Of several it is not known which of them comes first.
        connection.item = is_only_one.then(|| self.ticket(slot));
        connection.last = connection.item;
        self.hear(slot);
    }

    /// The item that a connection has taken, if it is the only one, and is in work as far as is known.
    pub(super) fn taken_by(&self, connection: &Connection) -> Option<Slot> {
        connection.item.and_then(|item| self.find(item)).filter(|slot| (self.items & self.messages).contains(*slot))
    }

    /// Whether nothing else is done on the connection that has taken such an item.
    pub(super) fn keeps_connection(&self, item: Slot) -> bool {
        self.candidates[item].class.is_some_and(|class| self.classes[class].holding.is_known())
    }

    /// The one that alone has an id that this key names, if the key names one that anybody has.
    fn asking(&self, key: &[u8]) -> Option<Slot> {
        let mut tokens = Tokens::<MAX_KEY_TOKENS>::new();
        tokens.add(self.key, 0, key);
        let known = self.requests | self.messages | self.unattributed;
        let mut asking = SlotSet::EMPTY;
        for token in tokens.as_slice().iter().filter(|token| token.is_id) {
            asking = asking | self.owners.of(token.hash) & known;
        }
        asking.single()
    }

    /// The connection reads again that has handed over the items of this read.
    fn reads_again(&mut self, read: NonZeroU32) {
        let items = self.items;
        for slot in items.iter() {
            let candidate = &mut self.candidates[slot];
            if candidate.read != Some(read) {
                continue;
            }
            candidate.has_read_again = true;
            let Some(class) = candidate.class.filter(|class| self.classes[*class].ending.is_known()) else { continue };
            if self.messages.contains(slot) {
                self.by_phase.remove(&mut self.classes[class].at_work, slot);
                self.messages.remove(slot);
                self.finished.insert(slot);
                self.learn_flow(slot);
            }
        }
    }
}

/// The hash of a whole key, which is no token's.
fn hash_of(key: HashKey, name: &[u8]) -> u64 {
    key.hash(name) ^ 1
}
